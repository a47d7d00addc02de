//! The engine against hickory-resolver: 10,000 SRV and 20,000 A lookups at one Knot, CPU, wall time
//! and memory. Each run is a process of its own; the median of five counts, memory and loss by the worst.
//!
//! Exits with 1 where a bound of the design is broken.

#[path = "../tests/peers/dns.rs"]
mod peers;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use kmswatch::clock::Clock;
use kmswatch::dns::Engine;
use kmswatch::model::plan::DnsSettings;
use kmswatch::model::{
    LookupKey, LookupOutcome, Name, Observation, Path, RecordKind, Server, Transport, Upstream,
};
use kmswatch::stats::Stats;
use tokio::sync::mpsc;
use tokio::time::Instant;

const SRV: u32 = 10_000;
const A: u32 = 20_000;
const RUNS: usize = 5;
const MOST_CPU: f64 = 0.25;
const MOST_WALL: f64 = 1.0 / 3.0;
const MOST_KIB: u64 = 12 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [side, address] = &arguments[..] {
        println!("{}", measure(side, address.parse().expect("an address")));
        return ExitCode::SUCCESS;
    }
    compare()
}

fn compare() -> ExitCode {
    let mut records = String::new();
    for index in 0..SRV {
        writeln!(records, "_vlmcs._tcp.d{index} SRV 0 0 1688 k{index}").expect("a string grows");
    }
    for index in 0..A {
        let [_, _, high, low] = index.to_be_bytes();
        writeln!(records, "k{index} A 127.1.{high}.{low}").expect("a string grows");
    }
    let server = peers::knot(&[peers::Zone { name: "bench.test", records: &records }]);
    let sides = ["ours", "32", "64", "128"];
    // In turns, so that whatever else the machine does hits all of them.
    let rounds: Vec<_> = (0..RUNS).map(|_| sides.map(|side| run(side, server.address()))).collect();
    let costs = [0, 1, 2, 3].map(|at| median(sides[at], rounds.iter().map(|round| round[at])));
    let [ours, theirs @ ..] = &costs;
    // Each against the concurrency that is best at it.
    let best = |cost: fn(&Cost) -> f64| theirs.iter().map(cost).fold(f64::INFINITY, f64::min);
    let (cpu, wall) = (ours.cpu / best(|cost| cost.cpu), ours.wall / best(|cost| cost.wall));
    println!("ratios: CPU {cpu:.3} (at most {MOST_CPU}), wall {wall:.3} (at most {MOST_WALL:.3})");
    println!("above idle: {} KiB (at most {MOST_KIB})", ours.above_idle);
    let holds =
        cpu <= MOST_CPU && wall <= MOST_WALL && ours.above_idle <= MOST_KIB && ours.lost == 0;
    println!("{}", if holds { "all bounds hold" } else { "A BOUND IS BROKEN" });
    ExitCode::from(u8::from(!holds))
}

/// What one run took; as a line of four numbers between processes.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Seconds of CPU time, user and system.
    cpu: f64,
    /// Seconds.
    wall: f64,
    /// KiB.
    above_idle: u64,
    /// Lookups without their records.
    lost: usize,
}

fn median(side: &str, runs: impl Iterator<Item = Cost>) -> Cost {
    let mut runs: Vec<Cost> = runs.collect();
    let lost = runs.iter().map(|run| run.lost).max().unwrap_or(0);
    let above_idle = runs.iter().map(|run| run.above_idle).max().unwrap_or(0);
    runs.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    let wall = runs[RUNS / 2].wall;
    runs.sort_by(|one, other| one.cpu.total_cmp(&other.cpu));
    let cpu = runs[RUNS / 2].cpu;
    let each = cpu * 1e6 / f64::from(SRV + A);
    let name = if side == "ours" { "kmswatch".into() } else { format!("hickory-resolver x{side}") };
    println!(
        "{name:22} CPU {cpu:.3} s ({each:.1} µs a lookup), wall {wall:.3} s, above idle {above_idle} KiB, lost {lost}"
    );
    Cost { cpu, wall, above_idle, lost }
}

fn run(side: &str, address: SocketAddr) -> Cost {
    let program = std::env::current_exe().expect("this program");
    let output =
        Command::new(program).args([side, &address.to_string()]).output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [cpu, wall, above_idle, lost] = fields[..] else {
        panic!("{side}: {}", String::from_utf8_lossy(&output.stderr));
    };
    Cost {
        cpu: cpu.parse().expect("a number"),
        wall: wall.parse().expect("a number"),
        above_idle: above_idle.parse().expect("a number"),
        lost: lost.parse().expect("a number"),
    }
}

fn measure(side: &str, address: SocketAddr) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (lost, idle, cpu, started) = if side == "ours" {
            ask_ours(address).await
        } else {
            ask_hickory(address, side.parse().expect("a number")).await
        };
        let wall = started.elapsed().as_secs_f64();
        let above_idle = status("VmHWM:").saturating_sub(idle);
        format!("{} {wall} {above_idle} {lost}", cpu_seconds() - cpu)
    })
}

/// Lost lookups, and the memory, CPU time and instant of the start.
type Measured = (usize, u64, f64, Instant);

async fn ask_ours(address: SocketAddr) -> Measured {
    let server = Server { transport: Transport::Udp, address };
    let upstream = Arc::new(Upstream { server, path: Path::default() });
    let settings = DnsSettings { rate: u32::MAX, ..DnsSettings::default() };
    let (sender, mut observations) = mpsc::channel(64);
    let mut engine = Engine::new(settings, Clock::start(), Stats::new(), sender);
    engine.apply(settings, std::slice::from_ref(&upstream));
    let mut keys: Vec<LookupKey> = names()
        .map(|(name, kind)| LookupKey {
            upstream: upstream.clone(),
            name: Name::parse(&name).expect("a name"),
            kind,
        })
        .collect();
    let (idle, cpu, started) = (status("VmRSS:"), cpu_seconds(), Instant::now());
    let (mut open, mut good) = (keys.len(), 0);
    while open > 0 {
        let batch = keys.split_off(keys.len().saturating_sub(1024));
        keys.extend(engine.submit(&upstream, batch));
        for observation in observations.recv().await.expect("the engine lives") {
            let Observation::Lookup { answer, .. } = observation else { continue };
            open -= 1;
            good += usize::from(answer.outcome == LookupOutcome::Records);
        }
    }
    ((SRV + A) as usize - good, idle, cpu, started)
}

async fn ask_hickory(address: SocketAddr, concurrency: usize) -> Measured {
    let mut server = NameServerConfig::udp(address.ip());
    server.connections[0].port = address.port();
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.num_concurrent_reqs = 1;
    options.attempts = 2;
    options.timeout = Duration::from_secs(2);
    let resolver = Arc::new(builder.build().expect("a resolver"));
    let names: Arc<Vec<(hickory_resolver::proto::rr::Name, RecordType)>> = Arc::new(
        names()
            .map(|(name, kind)| {
                let kind = if kind == RecordKind::Srv { RecordType::SRV } else { RecordType::A };
                (format!("{name}.").parse().expect("a name"), kind)
            })
            .collect(),
    );
    let (next, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (idle, cpu, started) = (status("VmRSS:"), cpu_seconds(), Instant::now());
    let tasks: Vec<_> = (0..concurrency)
        .map(|_| {
            let (resolver, names) = (resolver.clone(), names.clone());
            let (next, good) = (next.clone(), good.clone());
            tokio::spawn(async move {
                while let Some((name, kind)) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let answer = resolver.lookup(name.clone(), *kind).await;
                    good.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("it ends");
    }
    ((SRV + A) as usize - good.load(Ordering::Relaxed), idle, cpu, started)
}

fn names() -> impl Iterator<Item = (String, RecordKind)> {
    let services =
        (0..SRV).map(|index| (format!("_vlmcs._tcp.d{index}.bench.test"), RecordKind::Srv));
    let hosts = (0..A).map(|index| (format!("k{index}.bench.test"), RecordKind::A));
    services.chain(hosts)
}

/// KiB, from `/proc/self/status`.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Of all threads, user and system, in nanosecond precision: the ticks of `/proc/self/stat` are too
/// coarse for a run of 150 ms.
fn cpu_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let spent = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0)
    };
    let nanoseconds = threads.flatten().map(|thread| spent(thread.path())).sum();
    Duration::from_nanos(nanoseconds).as_secs_f64()
}
