//! What a lookup costs: system calls, allocations and queries. Times differ from machine to machine, these
//! do not; `benches/engine.rs` compares times.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kmswatch::clock::Clock;
use kmswatch::dns::Engine;
use kmswatch::model::plan::DnsSettings;
use kmswatch::model::{
    LookupKey, LookupOutcome, Name, Observation, Path, RecordKind, Server, Transport, Upstream,
};
use kmswatch::stats::Stats;
use tokio::sync::mpsc;

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

/// What is kept of it: the answer, its records, and their target, whose text is made first. The fraction is
/// what lookups share: queues and the observations on their way.
const ALLOCATIONS_OF_SRV: f64 = 4.5;
/// The answer and its addresses.
const ALLOCATIONS_OF_A: f64 = 2.5;
/// One to read each answer, and few beside it: queries leave together.
const SYSTEM_CALLS: f64 = 1.3;

/// Only one at a time may use the heap that is measured.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_lookup_allocates_little_more_than_what_is_kept_of_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::start();
    let _profiler = dhat::Profiler::builder().testing().build();
    for (kind, most) in [(RecordKind::Srv, ALLOCATIONS_OF_SRV), (RecordKind::A, ALLOCATIONS_OF_A)] {
        let each = allocations(&peer, kind);
        eprintln!("{kind}: {each:.2} allocations a lookup");
        assert!(each <= most, "{kind}: {each:.2} allocations a lookup, and not {most}");
    }
}

#[test]
fn a_lookup_takes_one_query() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::start();
    block_on(async {
        ask(&mut Asked::of(peer.address), keys(peer.address, RecordKind::A, 5_000)).await;
    });
    assert_eq!(peer.queries.load(Ordering::Relaxed), 5_000);
}

#[test]
fn a_lookup_takes_few_system_calls() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let peer = Peer::start();
    let (few, many) = (1_000, 5_000);
    // What it takes to start and end is the same in both.
    let more = system_calls(peer.address, many) - system_calls(peer.address, few);
    let each = more / f64::from(many - few);
    eprintln!("{each:.2} system calls a lookup");
    assert!((1.0..=SYSTEM_CALLS).contains(&each), "{each:.2} system calls a lookup");
}

/// What `strace` watches: as many lookups as the environment says.
#[test]
#[ignore = "only under strace, by the test above"]
fn lookups_to_be_watched() {
    let variable = |name| std::env::var(name).expect("set by who starts this");
    let address = variable("COST_ADDRESS").parse().expect("an address");
    let count = variable("COST_LOOKUPS").parse().expect("a number");
    block_on(async {
        ask(&mut Asked::of(address), keys(address, RecordKind::A, count)).await;
    });
}

/// System calls of a process that makes so many lookups.
fn system_calls(address: SocketAddr, lookups: u32) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let table = folder.path().join("table");
    let output = Command::new("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&table)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "lookups_to_be_watched", "--ignored", "--test-threads=1"])
        .env("COST_ADDRESS", address.to_string())
        .env("COST_LOOKUPS", lookups.to_string())
        .output()
        .expect("strace is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = std::fs::read_to_string(table).expect("its table");
    let total = table.lines().rev().find_map(|line| line.trim().strip_prefix("total"));
    total.expect("a total").trim().parse().expect("a number")
}

/// Allocations a lookup, once everything that is kept for the next has been allocated.
fn allocations(peer: &Peer, kind: RecordKind) -> f64 {
    const LOOKUPS: u32 = 2_000;
    block_on(async {
        let mut asked = Asked::of(peer.address);
        ask(&mut asked, keys(peer.address, kind, LOOKUPS)).await;
        let keys = keys(peer.address, kind, LOOKUPS);
        let before = dhat::HeapStats::get().total_blocks;
        ask(&mut asked, keys).await;
        let blocks =
            u32::try_from(dhat::HeapStats::get().total_blocks - before).expect("not so many");
        f64::from(blocks) / f64::from(LOOKUPS)
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

fn upstream(address: SocketAddr) -> Arc<Upstream> {
    let server = Server { transport: Transport::Udp, address };
    Arc::new(Upstream { server, path: Path::default() })
}

fn keys(address: SocketAddr, kind: RecordKind, count: u32) -> Vec<LookupKey> {
    let upstream = upstream(address);
    let name =
        |number| Name::parse(&format!("_vlmcs._tcp.d{number}.contoso.test")).expect("a name");
    (0..count)
        .map(|number| LookupKey { upstream: upstream.clone(), name: name(number), kind })
        .collect()
}

/// An engine that asks one server, as fast as that answers.
struct Asked {
    engine: Engine,
    upstream: Arc<Upstream>,
    observations: mpsc::Receiver<Vec<Observation>>,
}

impl Asked {
    fn of(address: SocketAddr) -> Self {
        let settings = DnsSettings { rate: u32::MAX, ..DnsSettings::default() };
        let (sender, observations) = mpsc::channel(64);
        let mut engine = Engine::new(settings, Clock::start(), Stats::new(), sender);
        let upstream = upstream(address);
        engine.apply(settings, std::slice::from_ref(&upstream));
        Self { engine, upstream, observations }
    }
}

async fn ask(asked: &mut Asked, mut keys: Vec<LookupKey>) {
    let mut open = keys.len();
    while open > 0 {
        let batch = keys.split_off(keys.len().saturating_sub(kmswatch::dns::QUEUE));
        keys.extend(asked.engine.submit(&asked.upstream, batch));
        for observation in asked.observations.recv().await.expect("the engine lives") {
            let Observation::Lookup { answer, .. } = observation else { panic!("no lookup") };
            assert_eq!(answer.outcome, LookupOutcome::Records);
            open -= 1;
        }
    }
}

/// Answers whatever it is asked with one record, and allocates nothing while it does.
struct Peer {
    address: SocketAddr,
    queries: Arc<AtomicU64>,
}

impl Peer {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a larger buffer");
        let (address, queries) =
            (socket.local_addr().expect("its address"), Arc::<AtomicU64>::default());
        let seen = queries.clone();
        std::thread::spawn(move || {
            let mut message = [0; 1024];
            while let Ok((length, from)) = socket.recv_from(&mut message) {
                seen.fetch_add(1, Ordering::Relaxed);
                let length = answer(&mut message, length);
                socket.send_to(&message[..length], from).expect("loopback");
            }
        });
        Self { address, queries }
    }
}

/// Makes an answer of a query in its place: an authoritative one without EDNS.
fn answer(message: &mut [u8], query: usize) -> usize {
    let mut end = 12;
    while message[end] != 0 {
        end += 1 + usize::from(message[end]);
    }
    let is_srv = message[end + 2] == 33;
    end += 5;
    assert!(end < query, "a query carries EDNS");
    message[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    let srv: &[u8] =
        b"\xc0\x0c\0\x21\0\x01\0\0\x01\x2c\0\x18\0\0\0\0\x06\x98\x03kms\x07contoso\x04test\0";
    let a: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\x7f\0\0\x01";
    let record = if is_srv { srv } else { a };
    message[end..end + record.len()].copy_from_slice(record);
    end + record.len()
}
