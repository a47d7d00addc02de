//! A UDP relay that is as bad as it is told: delay, loss, duplicates and reordering, by a seed.
//!
//! Include it with `#[path = "peers/relay.rs"] mod relay;`. The fate of the n-th datagram of a
//! direction depends on the seed and n alone, so that a run loses as many as the one before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// What happens to datagrams, each way.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub seed: u64,
    /// Every datagram takes at least this long.
    pub delay: Duration,
    /// And up to this much more, which is what reorders them.
    pub jitter: Duration,
    /// Of so many datagrams in a thousand nothing arrives.
    pub lost: u32,
    /// So many in a thousand arrive twice.
    pub doubled: u32,
}

/// What happened, over both ways.
#[derive(Debug, Default)]
pub struct Counts {
    /// Datagrams of the clients.
    pub queries: AtomicU64,
    pub lost: AtomicU64,
    pub doubled: AtomicU64,
    /// Datagrams that arrived after one that came later.
    pub overtaken: AtomicU64,
}

/// A running relay; ends when dropped.
pub struct Relay {
    address: SocketAddr,
    counts: Arc<Counts>,
    _task: JoinSet<()>,
}

impl Relay {
    /// Starts one in front of a server.
    pub async fn start(server: SocketAddr, weather: Weather) -> Self {
        let front = Arc::new(socket().await);
        let address = front.local_addr().expect("its address");
        let counts = Arc::<Counts>::default();
        let mut task = JoinSet::new();
        task.spawn(serve(front, server, weather, counts.clone()));
        Self { address, counts, _task: task }
    }

    /// Where clients ask.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened so far.
    pub fn count(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        of(&self.counts).load(Ordering::Relaxed)
    }
}

/// Loses nothing by itself, as far as the kernel lets it.
async fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a larger buffer");
    socket
}

async fn serve(front: Arc<UdpSocket>, server: SocketAddr, weather: Weather, counts: Arc<Counts>) {
    let there = Arc::new(Way::new(weather, 0, counts.clone()));
    let back = Arc::new(Way::new(weather, 1, counts.clone()));
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    // What is on its way, and who listens for answers.
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    while let Ok((length, client)) = front.recv_from(&mut buffer).await {
        counts.queries.fetch_add(1, Ordering::Relaxed);
        let upstream = match clients.entry(client) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let upstream = Arc::new(socket().await);
                upstream.connect(server).await.expect("loopback");
                tasks.spawn(answer(upstream.clone(), back.clone(), front.clone(), client));
                entry.insert(upstream)
            }
        };
        there.carry(&buffer[..length], upstream, None, &mut tasks);
    }
}

/// Carries what the server answers to one client.
async fn answer(
    upstream: Arc<UdpSocket>,
    back: Arc<Way>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
) {
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    while let Ok(length) = upstream.recv(&mut buffer).await {
        back.carry(&buffer[..length], &front, Some(client), &mut tasks);
    }
}

/// One direction.
struct Way {
    weather: Weather,
    direction: u64,
    counts: Arc<Counts>,
    /// How many came, and the last one that arrived.
    came: AtomicU64,
    last: AtomicU64,
}

impl Way {
    fn new(weather: Weather, direction: u64, counts: Arc<Counts>) -> Self {
        Self { weather, direction, counts, came: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    /// Sends a datagram on its way: once, twice, or not at all.
    fn carry(
        self: &Arc<Self>,
        datagram: &[u8],
        to: &Arc<UdpSocket>,
        client: Option<SocketAddr>,
        tasks: &mut JoinSet<()>,
    ) {
        while tasks.try_join_next().is_some() {}
        let (weather, now) = (self.weather, Instant::now());
        let number = self.came.fetch_add(1, Ordering::Relaxed) + 1;
        let seed = weather.seed << 40 | self.direction << 39 | number;
        let mut dice = StdRng::seed_from_u64(seed);
        if dice.random_range(0..1000) < weather.lost {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_doubled = dice.random_range(0..1000) < weather.doubled;
        if is_doubled {
            self.counts.doubled.fetch_add(1, Ordering::Relaxed);
        }
        for _ in 0..=u8::from(is_doubled) {
            let at = now + weather.delay + weather.jitter.mul_f64(dice.random());
            let (way, to, datagram) = (self.clone(), to.clone(), datagram.to_vec());
            tasks.spawn(async move {
                sleep_until(at).await;
                if way.last.fetch_max(number, Ordering::Relaxed) > number {
                    way.counts.overtaken.fetch_add(1, Ordering::Relaxed);
                }
                // Who has closed its socket wants no more.
                let _ = match client {
                    Some(client) => to.send_to(&datagram, client).await,
                    None => to.send(&datagram).await,
                };
            });
        }
    }
}
