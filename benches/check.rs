//! `kmswatch check` of 10,000 domains that share 200 hosts, against the lookups alone: CPU of whole
//! processes, and memory. Then the whole cycle (plan, lookups, probes, audit, snapshot, metrics) at
//! 1,000, 10,000 and 100,000 domains, 50 a host: CPU a domain. One run of all; the median of five counts,
//! of 25 where a process takes but a few milliseconds. All sizes take turns, for a machine that others
//! use is not the same from minute to minute.
//!
//! Exits with 1 where a bound of the design is broken.

#[path = "../tests/peers/dns.rs"]
mod peers;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use kmswatch::clock::Clock;
use kmswatch::demo::{Behaviour, RpcListener};
use kmswatch::dns::Engine;
use kmswatch::model::plan::DnsSettings;
use kmswatch::model::srv::KMS_PORT;
use kmswatch::model::{
    LookupKey, Name, Path as NetworkPath, RecordKind, Server, Transport, Upstream,
};
use kmswatch::stats::Stats;
use nix::sys::resource::{UsageWho, getrusage};
use tokio::sync::mpsc;
use tokio::time::Instant;

const DOMAINS: usize = 10_000;
/// The middle one is [`DOMAINS`].
const SIZES: [usize; 3] = [1_000, DOMAINS, 100_000];
const DOMAINS_OF_A_HOST: usize = 50;
const HOSTS: usize = DOMAINS / DOMAINS_OF_A_HOST;
const MOST_HOSTS: usize = SIZES[2] / DOMAINS_OF_A_HOST;
const RUNS: usize = 5;
/// In one turn, of processes so short that whatever else wakes up would show.
const SHORT_RUNS: usize = 5;
const MOST_CPU: f64 = 2.0;
const MOST_KIB: i64 = 80 * 1024;
/// How far the CPU a domain may be from that of [`DOMAINS`].
const MOST_OFF: f64 = 0.15;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [address] = &arguments[..] {
        look_up_alone(address.parse().expect("an address"));
        return ExitCode::SUCCESS;
    }
    let holds = compare().unwrap_or(false);
    println!("{}", if holds { "all bounds hold" } else { "A BOUND IS BROKEN" });
    ExitCode::from(u8::from(!holds))
}

/// Whether all bounds hold; `None` where a process failed and there is nothing to compare.
fn compare() -> Option<bool> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let listeners = runtime.block_on(listen());
    let server = peers::knot(&[peers::Zone { name: "bench.test", records: &records() }]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = write_config(folder.path(), server.address(), DOMAINS);
    let program = std::env::current_exe().expect("this program");
    let alone = median("lookups alone", || {
        Command::new(&program)
            .arg(server.address().to_string())
            .status()
            .is_ok_and(|status| status.success())
    })?;
    let before = listeners.iter().map(RpcListener::connections).sum::<u64>();
    let check = median("kmswatch check", || check(&config, "human"))?;
    let probes = listeners.iter().map(RpcListener::connections).sum::<u64>() - before;
    let ratio = check.cpu / alone.cpu;
    println!(
        "ratio: CPU {ratio:.2} (at most {MOST_CPU}); {} KiB resident (at most {MOST_KIB})",
        check.resident
    );
    println!("probes: {probes} of {HOSTS} endpoints in {RUNS} runs");
    let holds = ratio <= MOST_CPU && check.resident <= MOST_KIB && probes == (HOSTS * RUNS) as u64;
    Some(is_linear(folder.path(), server.address())? && holds)
}

/// Whether the whole cycle costs the same a domain, however many there are. What counts is how much more
/// a process with so many costs than one with a single domain: a start has its price, whatever follows. All
/// that the process takes, divided by its domains, is told beside it.
fn is_linear(folder: &Path, server: SocketAddr) -> Option<bool> {
    let [one, small, middle, large] = measure_sizes(folder, server)?;
    let each = |cpu: f64, domains: usize| {
        cpu * 1e6 / f64::from(u32::try_from(domains).expect("a small number"))
    };
    let [marginal_of_middle, plain_of_middle] =
        [each(middle - one, DOMAINS - 1), each(middle, DOMAINS)];
    let mut holds = true;
    for (domains, cpu) in SIZES.into_iter().zip([small, middle, large]) {
        let (marginal, plain) = (each(cpu - one, domains - 1), each(cpu, domains));
        let off = marginal / marginal_of_middle - 1.0;
        println!(
            "{domains:6} domains: CPU {cpu:.4} s; {marginal:.1} us each beyond the {one:.4} s of one, {:+.0} % (at most {:.0}); {plain:.1} us each with it, {:+.0} %",
            100.0 * off,
            100.0 * MOST_OFF,
            100.0 * (plain / plain_of_middle - 1.0)
        );
        holds &= off.abs() <= MOST_OFF;
    }
    Some(holds)
}

/// CPU seconds of a process with one domain and with each of [`SIZES`].
fn measure_sizes(folder: &Path, server: SocketAddr) -> Option<[f64; 4]> {
    let [small, middle, large] = SIZES;
    let sizes = [(1, SHORT_RUNS), (small, SHORT_RUNS), (middle, 1), (large, 1)];
    let mut costs = sizes.map(|_| Vec::new());
    for _ in 0..RUNS {
        for ((domains, runs), costs) in sizes.iter().zip(&mut costs) {
            let config = write_config(folder, server, *domains);
            for _ in 0..*runs {
                let cost = cost(&format!("{domains} domains"), &|| check(&config, "prometheus"))?;
                costs.push(cost.cpu);
            }
        }
    }
    Some(costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    }))
}

/// All is well there: exit code 0. On a machine that is too busy to answer in time, it is not.
fn check(config: &Path, format: &str) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kmswatch"));
    command.args(["check", "--format", format, "-c"]).arg(config).stdout(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

async fn listen() -> Vec<RpcListener> {
    let mut listeners: Vec<RpcListener> = Vec::new();
    for host in 0..MOST_HOSTS {
        let address = SocketAddr::from((address(host), KMS_PORT));
        listeners.push(RpcListener::start(Behaviour::Kms, address).await.expect("a free port"));
    }
    listeners
}

fn address(host: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(host + 1).expect("a small number").to_be_bytes();
    Ipv4Addr::new(127, 2, high, low)
}

fn records() -> String {
    let mut records = String::new();
    for domain in 0..SIZES[2] {
        for host in hosts(domain) {
            writeln!(records, "_vlmcs._tcp.d{domain} SRV 0 0 {KMS_PORT} k{host}")
                .expect("a string grows");
        }
    }
    for host in 0..MOST_HOSTS {
        writeln!(records, "k{host} A {}", address(host)).expect("a string grows");
    }
    records
}

/// Both of a pair, so that the first domains have the first hosts.
fn hosts(domain: usize) -> [usize; 2] {
    let host = domain / DOMAINS_OF_A_HOST;
    [host, host ^ 1]
}

fn write_config(folder: &Path, server: SocketAddr, domains: usize) -> std::path::PathBuf {
    let domains: String = (0..domains).fold(String::new(), |mut text, domain| {
        let _ = writeln!(text, "d{domain}.bench.test");
        text
    });
    std::fs::write(folder.join("domains.txt"), domains).expect("written");
    let text = format!(
        "[dns]\nrate = 100000\n[[resolver]]\nname = \"knot\"\nservers = [\"{server}\"]\n[[domain_list]]\nfile = \"domains.txt\"\n"
    );
    let file = folder.join("kmswatch.toml");
    std::fs::write(&file, text).expect("written");
    file
}

/// The same names, asked by the engine with nothing around it.
fn look_up_alone(address: SocketAddr) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Server { transport: Transport::Udp, address };
        let upstream = Arc::new(Upstream { server, path: NetworkPath::default() });
        let settings = DnsSettings { rate: 100_000, ..DnsSettings::default() };
        let (sender, mut observations) = mpsc::channel(64);
        let mut engine = Engine::new(settings, Clock::start(), Stats::new(), sender);
        engine.apply(settings, std::slice::from_ref(&upstream));
        let key = |name: String, kind| LookupKey {
            upstream: upstream.clone(),
            name: Name::parse(&name).expect("a name"),
            kind,
        };
        let services = (0..DOMAINS)
            .map(|domain| key(format!("_vlmcs._tcp.d{domain}.bench.test"), RecordKind::Srv));
        let both = [RecordKind::A, RecordKind::Aaaa];
        let addresses = (0..HOSTS).flat_map(|host| both.map(|kind| (host, kind)));
        let addresses = addresses.map(|(host, kind)| key(format!("k{host}.bench.test"), kind));
        let mut keys: Vec<LookupKey> = services.chain(addresses).collect();
        // In the order of the plan, from the end: queries of one length leave together, and to have all
        // of one length in a row would be another work.
        keys.sort_unstable_by(|one, other| other.name.cmp(&one.name));
        let mut open = keys.len();
        while open > 0 {
            let batch = keys.split_off(keys.len().saturating_sub(1024));
            keys.extend(engine.submit(&upstream, batch));
            open -= observations.recv().await.expect("the engine lives").len();
        }
    });
}

/// What a child process took.
#[derive(Debug, Clone, Copy)]
struct Cost {
    /// Seconds, user and system.
    cpu: f64,
    wall: f64,
    /// KiB; of the greatest child so far.
    resident: i64,
}

/// `None`: a run failed, and it was told.
fn median(name: &str, run: impl Fn() -> bool) -> Option<Cost> {
    let costs: Option<Vec<Cost>> = (0..RUNS).map(|_| cost(name, &run)).collect();
    let mut costs = costs?;
    costs.sort_by(|one, other| one.cpu.total_cmp(&other.cpu));
    let middle = costs[RUNS / 2];
    println!("{name:15} CPU {:.3} s, wall {:.3} s", middle.cpu, middle.wall);
    Some(middle)
}

fn cost(name: &str, run: &impl Fn() -> bool) -> Option<Cost> {
    let (before, started) = (children(), Instant::now());
    if !run() {
        println!("{name:15} FAILS: its exit code is not 0");
        return None;
    }
    let after = children();
    Some(Cost { cpu: after.0 - before.0, wall: started.elapsed().as_secs_f64(), resident: after.1 })
}

/// Seconds of CPU time of all children that ended, and the KiB of the greatest.
fn children() -> (f64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("Linux has it");
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    ((time(usage.user_time()) + time(usage.system_time())).as_secs_f64(), usage.max_rss())
}
