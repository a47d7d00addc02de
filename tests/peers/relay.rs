//! A UDP relay that is as bad as it is told: delay, loss, duplicates and reordering, by a seed.
//!
//! Include it with `#[path = "peers/relay.rs"] mod relay;`. The fate of the n-th datagram of a
//! direction depends on the seed and n alone, so that a run loses as many as the one before.
//!
//! It works in ticks on a thread of its own, and receives and sends datagrams of one length together, so
//! that it costs less than what it carries. It loses nothing that the dice do not say: its buffers are
//! large, and the server gets no more than its own buffer holds.

#![allow(dead_code, reason = "each file that includes it uses its own part")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

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
    is_over: Arc<AtomicBool>,
}

impl Relay {
    /// Starts one in front of a server.
    pub fn start(server: SocketAddr, weather: Weather) -> Self {
        let front = socket();
        setsockopt(&front, sockopt::UdpGroSegment, &true).expect("a Linux since 5.0");
        let address = front.local_addr().expect("its address");
        let (counts, is_over) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let mut work = Work {
            front,
            server,
            weather,
            counts: counts.clone(),
            clients: Vec::new(),
            ways: [Way::default(); 2],
            under_way: [BinaryHeap::new(), BinaryHeap::new()],
            at_server: 0,
            heard: Instant::now(),
            buffer: vec![0; 65_535],
        };
        let until = is_over.clone();
        std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                work.receive();
                work.deliver();
                std::thread::sleep(TICK);
            }
        });
        Self { address, counts, is_over }
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

impl Drop for Relay {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// How exact delays are.
const TICK: Duration = Duration::from_micros(100);
/// As many as Linux takes at once; also what is delivered in a tick, since a thread that had to wait would
/// else bring at once what came over milliseconds, and overrun the server's buffer as no network does.
const MOST_SEGMENTS: usize = 64;
/// The server has at most so many to answer, the others queue here as before any bottleneck: Linux's
/// default buffer holds 166 small datagrams, which a server that waits for a core cannot read.
const MOST_AT_SERVER: usize = 128;
/// Without an answer for this long, those at the server are taken for lost.
const PATIENCE: Duration = Duration::from_millis(50);
/// Towards the server.
const THERE: usize = 0;
/// Towards the clients.
const BACK: usize = 1;

/// Loses nothing by itself, as far as the kernel lets it.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a larger buffer");
    socket.set_nonblocking(true).expect("it waits for nothing");
    socket
}

/// A datagram on its way; the first to arrive is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Datagram {
    at: Instant,
    /// Which of its direction.
    number: u64,
    way: usize,
    client: usize,
    bytes: Vec<u8>,
}

/// One direction: how many came, and the last one that arrived.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    came: u64,
    last: u64,
}

struct Work {
    front: UdpSocket,
    server: SocketAddr,
    weather: Weather,
    counts: Arc<Counts>,
    /// Each with the socket that asks the server for it.
    clients: Vec<(SocketAddr, UdpSocket)>,
    ways: [Way; 2],
    /// One for each direction.
    under_way: [BinaryHeap<Reverse<Datagram>>; 2],
    /// Sent to the server and not answered.
    at_server: usize,
    /// When the server answered last, or had nothing to answer.
    heard: Instant,
    buffer: Vec<u8>,
}

impl Work {
    fn receive(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some((length, segment, from)) = self.burst(&mut buffer) {
            let client = self.client(from);
            for query in buffer[..length].chunks(segment) {
                self.counts.queries.fetch_add(1, Ordering::Relaxed);
                self.carry(THERE, client, query);
            }
        }
        for client in 0..self.clients.len() {
            while let Ok(length) = self.clients[client].1.recv(&mut buffer) {
                self.carry(BACK, client, &buffer[..length]);
                self.at_server = self.at_server.saturating_sub(1);
                self.heard = Instant::now();
            }
        }
        self.buffer = buffer;
    }

    /// What a client sent at once: how long it all is, how long each, and whose.
    fn burst(&self, buffer: &mut [u8]) -> Option<(usize, usize, SocketAddr)> {
        let mut room = nix::cmsg_space!(i32);
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = self.front.as_raw_fd();
        let received =
            recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut room), MsgFlags::empty()).ok()?;
        let from = SocketAddr::V4((*received.address?.as_sockaddr_in()?).into());
        let segment = received.cmsgs().ok()?.find_map(|message| match message {
            ControlMessageOwned::UdpGroSegments(length) => usize::try_from(length).ok(),
            _ => None,
        });
        Some((received.bytes, segment.unwrap_or(received.bytes).max(1), from))
    }

    fn client(&mut self, from: SocketAddr) -> usize {
        if let Some(known) = self.clients.iter().position(|(address, _)| *address == from) {
            return known;
        }
        let upstream = socket();
        upstream.connect(self.server).expect("loopback");
        self.clients.push((from, upstream));
        self.clients.len() - 1
    }

    /// Takes a datagram on its way: once, twice, or not at all.
    fn carry(&mut self, way: usize, client: usize, datagram: &[u8]) {
        let (weather, now) = (self.weather, Instant::now());
        self.ways[way].came += 1;
        let number = self.ways[way].came;
        let mut dice = StdRng::seed_from_u64(weather.seed << 40 | (way as u64) << 39 | number);
        if dice.random_range(0..1000) < weather.lost {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_doubled = dice.random_range(0..1000) < weather.doubled;
        self.counts.doubled.fetch_add(is_doubled.into(), Ordering::Relaxed);
        for _ in 0..=u8::from(is_doubled) {
            let at = now + weather.delay + weather.jitter.mul_f64(dice.random());
            let bytes = datagram.to_vec();
            self.under_way[way].push(Reverse(Datagram { at, number, way, client, bytes }));
        }
    }

    /// Sends on what has arrived.
    fn deliver(&mut self) {
        let now = Instant::now();
        if self.at_server == 0 || now > self.heard + PATIENCE {
            (self.at_server, self.heard) = (0, now);
        }
        let room = MOST_AT_SERVER.saturating_sub(self.at_server);
        self.at_server += self.deliver_some(THERE, room.min(MOST_SEGMENTS), now);
        self.deliver_some(BACK, MOST_SEGMENTS, now);
    }

    /// At most so many of one direction; says how many.
    fn deliver_some(&mut self, way: usize, most: usize, now: Instant) -> usize {
        let mut group: Vec<Datagram> = Vec::new();
        let mut count = 0;
        while count < most
            && let Some(next) = self.arrived(way, now)
        {
            count += 1;
            let last = &mut self.ways[next.way].last;
            self.counts.overtaken.fetch_add((*last > next.number).into(), Ordering::Relaxed);
            *last = next.number.max(*last);
            let kind = |each: &Datagram| (each.way, each.client, each.bytes.len());
            let is_alike = group.first().is_none_or(|first| kind(first) == kind(&next));
            if !is_alike {
                self.send(&group);
                group.clear();
            }
            group.push(next);
        }
        self.send(&group);
        count
    }

    /// The next that is there by now.
    fn arrived(&mut self, way: usize, now: Instant) -> Option<Datagram> {
        if self.under_way[way].peek()?.0.at > now {
            return None;
        }
        self.under_way[way].pop().map(|Reverse(next)| next)
    }

    /// Sends datagrams of one way, client and length.
    fn send(&self, group: &[Datagram]) {
        let Some(first) = group.first() else { return };
        let (address, upstream) = &self.clients[first.client];
        let (from, to) = match first.way {
            THERE => (upstream, None),
            _ => (&self.front, Some(SockaddrStorage::from(*address))),
        };
        let slices: Vec<_> = group.iter().map(|each| IoSlice::new(&each.bytes)).collect();
        let length = u16::try_from(first.bytes.len()).expect("a datagram");
        let segments = [ControlMessage::UdpGsoSegments(&length)];
        // Longer ones than fit into a frame cannot be segments.
        let segments = if group.len() > 1 { &segments[..] } else { &[] };
        // Who has closed its socket wants no more.
        let _ = sendmsg(from.as_raw_fd(), &slices, segments, MsgFlags::empty(), to.as_ref());
    }
}
