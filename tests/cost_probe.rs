//! What a probe costs: system calls and allocations, and what it sends. These do not depend on the
//! machine, times do.
//!
//! It runs itself a second time, under strace, so that nothing but probes is counted.

#[path = "peers/rpc.rs"]
mod rpc;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kmswatch::clock::Clock;
use kmswatch::model::plan::ProbeSettings;
use kmswatch::model::{EndpointKey, Observation, ProbeOutcome};
use kmswatch::probe::Prober;
use kmswatch::stats::Stats;
use rpc::{Behaviour, Ended, RpcPeer};
use tokio::sync::mpsc;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Probes that are counted; as many run before, which fill what is kept for the next.
const PROBES: usize = 200;
/// Blocks: the task, its place in the set, the socket's registration, the bind, the reply, the probe and
/// its observation.
const BLOCKS: usize = 7;
/// For all of them together, such as the channel's: half a block each at most.
const SHARED_BLOCKS: usize = PROBES / 2;
/// What a process with a runtime does besides, whatever it is used for.
const BESIDES: usize = 10;

/// How often a probe makes each system call; what it does not name here it does not make.
const CALLS: [(&str, usize); 9] = [
    ("socket", 1),
    // No lingering; ICMP errors.
    ("setsockopt", 2),
    ("connect", 1),
    // Registers the socket, and takes it out again.
    ("epoll_ctl", 2),
    // Whether it is connected.
    ("getsockopt", 1),
    // Whether to itself.
    ("getsockname", 1),
    // The bind, and its reply.
    ("sendto", 1),
    ("recvfrom", 1),
    ("close", 1),
];
/// To wait is shared by all probes under way, the more the busier it is; at worst, each is waited for
/// alone: connection, reply, and each time the runtime's own wake.
const MOST_WAITS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, what, address] if what == "measure" => {
            println!("{}", measure(address.parse().expect("an address")));
        }
        _ => assert_costs(),
    }
}

fn assert_costs() {
    let peer = RpcPeer::start(Behaviour::Kms);
    let folder = tempfile::tempdir().expect("a folder");
    let summary = folder.path().join("calls");
    let output = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe().expect("this program"))
        .args(["measure", &peer.address().to_string()])
        .output()
        .expect("strace is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    let blocks: usize = said.trim().parse().unwrap_or_else(|_| panic!("no figure: {said}{words}"));
    let calls = calls(&summary);
    println!("{PROBES} probes: {blocks} blocks; twice as many: {calls:?}");
    assert!(blocks <= BLOCKS * PROBES + SHARED_BLOCKS, "{blocks} blocks for {PROBES} probes");
    assert_calls(calls);
    assert_one_bind_a_probe(&peer);
}

fn assert_calls(mut calls: BTreeMap<String, usize>) {
    if cfg!(debug_assertions) {
        // The standard library's own check that a descriptor is open.
        calls.remove("fcntl");
    }
    let mut waits = 0;
    for wait in ["epoll_wait", "write"] {
        waits += calls.remove(wait).unwrap_or(0);
    }
    assert!(waits <= MOST_WAITS * 2 * PROBES, "{waits} waits");
    for (name, each) in CALLS {
        let made = calls.remove(name).unwrap_or(0);
        let expected = each * 2 * PROBES;
        assert!((expected..=expected + BESIDES).contains(&made), "{name}: {made}, not {expected}");
    }
    for (name, made) in calls {
        assert!(made < PROBES, "{name}: {made} calls, which no probe should make");
    }
}

/// That nothing else was sent, and that each connection was reset, so that none is left waiting.
fn assert_one_bind_a_probe(peer: &RpcPeer) {
    let seen = peer.wait_until_ended(2 * PROBES);
    assert_eq!(seen.len(), 2 * PROBES);
    for connection in seen {
        assert_eq!(connection.packet_types(), Some(vec![BIND]));
        assert_eq!(connection.ended, Some(Ended::Reset));
    }
}

/// The packet type.
const BIND: u8 = 11;

/// The system calls of a summary of strace, by name.
fn calls(summary: &Path) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(summary).expect("strace writes it");
    let line = |line: &str| {
        let (count, name) = line.trim().split_once(' ')?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(line).filter(|(name, _)| name != "total").collect()
}

/// The blocks that are allocated for [`PROBES`] probes, after as many.
fn measure(address: SocketAddr) -> u64 {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _profiler = dhat::Profiler::builder().testing().build();
    runtime.block_on(async {
        let (sender, mut inbox) = mpsc::channel(256);
        let prober = Prober::new(ProbeSettings::default(), Clock::start(), Stats::new(), sender);
        probe_all(&prober, address, &mut inbox).await;
        let before = dhat::HeapStats::get().total_blocks;
        probe_all(&prober, address, &mut inbox).await;
        dhat::HeapStats::get().total_blocks - before
    })
}

async fn probe_all(
    prober: &Prober,
    address: SocketAddr,
    inbox: &mut mpsc::Receiver<Vec<Observation>>,
) {
    let keys = vec![EndpointKey { path: Arc::default(), address }; PROBES];
    assert!(prober.submit(keys).is_empty(), "there is room for all");
    let mut open = PROBES;
    while open > 0 {
        for observation in inbox.recv().await.expect("the prober lives") {
            let Observation::Probe { probe, .. } = observation else { continue };
            assert_eq!(probe.outcome, ProbeOutcome::Kms);
            open -= 1;
        }
    }
}
