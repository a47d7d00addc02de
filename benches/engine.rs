//! The engine against hickory-resolver and dnsperf: 10,000 SRV and 20,000 A lookups at one Knot, CPU,
//! wall time and memory; then the same behind a relay of 10 ms, without and with loss. Each run is a
//! process of its own; the median of five counts, memory, loss and extra queries by the worst.
//!
//! `-- relay` runs only what is behind the relay. Exits with 1 where a bound of the design is broken.

#[path = "../tests/peers/dns.rs"]
mod peers;
#[path = "../tests/peers/relay.rs"]
mod relay;

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
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use relay::{Relay, Weather};
use tokio::sync::mpsc;
use tokio::time::Instant;

const SRV: u32 = 10_000;
const A: u32 = 20_000;
const RUNS: usize = 5;
/// Of what hickory-resolver takes where it is best.
const MOST_CPU: f64 = 1.0 / 6.0;
const MOST_WALL: f64 = 0.25;
/// Of what dnsperf takes, which sends the same questions and hardly reads the answers.
const MOST_CPU_OF_DNSPERF: f64 = 1.5;
const MOST_KIB: u64 = 12 * 1024;
/// Seconds behind the relay: this machine's, not a ratio.
const MOST_DELAYED: f64 = 0.3;
const MOST_LOSSY: f64 = 0.6;
/// Of the lookups of all runs with loss: three attempts of one are lost by chance once in a million.
const MOST_LOST: usize = 1;
/// Queries for each lookup where one exchange in a hundred is lost.
const MOST_QUERIES: f64 = 1.03;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [side, address] = &arguments[..] {
        println!("{}", measure(side, address.parse().expect("an address")));
        return ExitCode::SUCCESS;
    }
    compare(arguments.first().is_some_and(|argument| argument == "relay"))
}

fn compare(is_only_relay: bool) -> ExitCode {
    let mut records = String::new();
    for index in 0..SRV {
        writeln!(records, "_vlmcs._tcp.d{index} SRV 0 0 1688 k{index}").expect("a string grows");
    }
    for index in 0..A {
        let [_, _, high, low] = index.to_be_bytes();
        writeln!(records, "k{index} A 127.1.{high}.{low}").expect("a string grows");
    }
    let server = peers::knot(&[peers::Zone { name: "bench.test", records: &records }]);
    let idle = is_only_relay || at_idle_server(server.address());
    let behind = behind_relays(server.address());
    let holds = idle && behind;
    println!("{}", if holds { "all bounds hold" } else { "A BOUND IS BROKEN" });
    ExitCode::from(u8::from(!holds))
}

fn at_idle_server(address: SocketAddr) -> bool {
    let dnsperf = Dnsperf::new();
    let sides = ["ours", "32", "64", "128"];
    let mut others = Vec::new();
    // In turns, so that whatever else the machine does hits all of them.
    let rounds: Vec<_> = (0..RUNS)
        .map(|_| {
            others.push(dnsperf.cpu(address));
            sides.map(|side| run(side, address))
        })
        .collect();
    let costs = [0, 1, 2, 3].map(|at| median(sides[at], rounds.iter().map(|round| round[at])));
    let [ours, theirs @ ..] = &costs;
    let dnsperf = middle(others);
    println!("{:22} CPU {dnsperf:.3} s ({:.1} µs a lookup)", "dnsperf", each(dnsperf));
    // Each against the concurrency that is best at it.
    let best = |cost: fn(&Cost) -> f64| theirs.iter().map(cost).fold(f64::INFINITY, f64::min);
    let (cpu, wall) = (ours.cpu / best(|cost| cost.cpu), ours.wall / best(|cost| cost.wall));
    let against_dnsperf = ours.cpu / dnsperf;
    println!("CPU of hickory-resolver's: {cpu:.3} (at most {MOST_CPU:.3})");
    println!("CPU of dnsperf's: {against_dnsperf:.2} (at most {MOST_CPU_OF_DNSPERF})");
    println!("wall of hickory-resolver's: {wall:.3} (at most {MOST_WALL})");
    println!("above idle: {} KiB (at most {MOST_KIB})", ours.above_idle);
    cpu <= MOST_CPU
        && against_dnsperf <= MOST_CPU_OF_DNSPERF
        && wall <= MOST_WALL
        && ours.above_idle <= MOST_KIB
        && ours.lost == 0
}

fn behind_relays(server: SocketAddr) -> bool {
    let still =
        Weather { seed: 1, delay: Duration::ZERO, jitter: Duration::ZERO, lost: 0, doubled: 0 };
    let delayed = Weather { delay: Duration::from_millis(5), ..still };
    // In a thousand datagrams each way: one exchange in a hundred.
    let lossy = Weather { lost: 5, ..delayed };
    let carried = behind_relay("relay, no delay", server, still);
    println!("the relay carries {:.0} lookups a second", f64::from(SRV + A) / carried.wall);
    let delayed = behind_relay("10 ms round trip", server, delayed);
    println!("wall: {:.3} s (at most {MOST_DELAYED})", delayed.wall);
    let lossy = behind_relay("10 ms and 1 % loss", server, lossy);
    println!("wall: {:.3} s (at most {MOST_LOSSY})", lossy.wall);
    println!("queries a lookup: {:.3} (at most {MOST_QUERIES})", lossy.queries);
    delayed.wall <= MOST_DELAYED
        && lossy.wall <= MOST_LOSSY
        && lossy.queries <= MOST_QUERIES
        && delayed.lost == 0
        && lossy.lost <= MOST_LOST
}

/// What the engine takes behind a relay.
struct Behind {
    /// Seconds, the median.
    wall: f64,
    /// Queries a lookup, the most of all runs.
    queries: f64,
    /// Lookups without their records, of all runs.
    lost: usize,
}

fn behind_relay(name: &str, server: SocketAddr, weather: Weather) -> Behind {
    let mut queries: f64 = 0.0;
    let runs: Vec<Cost> = (0..RUNS)
        .map(|number| {
            let relay = Relay::start(server, Weather { seed: number as u64, ..weather });
            let cost = run("ours", relay.address());
            let sent = u32::try_from(relay.count(|counts| &counts.queries)).expect("not so many");
            queries = queries.max(f64::from(sent) / f64::from(SRV + A));
            cost
        })
        .collect();
    let lost = runs.iter().map(|run| run.lost).sum();
    let wall = middle(runs.iter().map(|run| run.wall).collect());
    println!("{name:22} wall {wall:.3} s, {queries:.3} queries a lookup, lost {lost}");
    Behind { wall, queries, lost }
}

/// dnsperf with the same questions.
struct Dnsperf {
    folder: tempfile::TempDir,
}

impl Dnsperf {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: Vec<String> = names().map(|(name, kind)| format!("{name} {kind}\n")).collect();
        std::fs::write(folder.path().join("all"), lines.concat()).expect("written");
        std::fs::write(folder.path().join("one"), &lines[0]).expect("written");
        Self { folder }
    }

    /// Seconds of CPU time for all questions, without what it takes to start and end.
    fn cpu(&self, address: SocketAddr) -> f64 {
        self.run("all", address) - self.run("one", address)
    }

    fn run(&self, file: &str, address: SocketAddr) -> f64 {
        let before = children_cpu();
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let output = Command::new("dnsperf")
            .args(["-s", &ip, "-p", &port, "-n", "1", "-d"])
            .arg(self.folder.path().join(file))
            .output()
            .expect("dnsperf is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        children_cpu() - before
    }
}

/// Seconds of CPU time of the processes that ended.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is known");
    let spent = usage.user_time() + usage.system_time();
    Duration::from_micros(u64::try_from(spent.num_microseconds()).expect("positive")).as_secs_f64()
}

/// The median.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Microseconds a lookup.
fn each(seconds: f64) -> f64 {
    seconds * 1e6 / f64::from(SRV + A)
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
    let runs: Vec<Cost> = runs.collect();
    let lost = runs.iter().map(|run| run.lost).max().unwrap_or(0);
    let above_idle = runs.iter().map(|run| run.above_idle).max().unwrap_or(0);
    let wall = middle(runs.iter().map(|run| run.wall).collect());
    let cpu = middle(runs.iter().map(|run| run.cpu).collect());
    let name = if side == "ours" { "kmswatch".into() } else { format!("hickory-resolver x{side}") };
    println!(
        "{name:22} CPU {cpu:.3} s ({:.1} µs a lookup), wall {wall:.3} s, above idle {above_idle} KiB, lost {lost}",
        each(cpu)
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
    let (mut open, mut good, mut room) = (keys.len(), 0, 8192);
    while open > 0 {
        let batch = keys.split_off(keys.len().saturating_sub(room));
        keys.extend(engine.submit(&upstream, batch));
        let batch = observations.recv().await.expect("the engine lives");
        // Little more than it has room for: to carry keys back and forth is no cost of the engine.
        room = batch.len() + 64;
        for observation in batch {
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
