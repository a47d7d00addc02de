//! A daemon that watches 10,000 domains on 200 hosts once a minute, while records come and go: from its
//! start to its first answer, what its `/metrics` and its front page cost, three minutes of its steady
//! cycle while much changes, more while 200 browsers have a page open, and one of a usual day for what the
//! journal costs.
//! Run with `cargo bench --bench daemon`; a number of seconds as argument makes each minute shorter.
//!
//! Exits with 1 where a bound of the design is broken.

#[path = "../tests/peers/daemon.rs"]
mod daemon;
#[path = "../tests/peers/program.rs"]
mod program;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{park_timeout, spawn};
use std::time::Duration;

use kmswatch::demo::{Behaviour, Data, DnsServer, RpcListener, Zones};
use kmswatch::model::srv::KMS_PORT;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::daemon::{Daemon, request};
use crate::program::{Config, kmswatch};

const DOMAINS: usize = 10_000;
const HOSTS: usize = 200;
const MINUTES: usize = 3;
/// Domains that change one of their two records, each second: a storm, which nothing may grow in.
const CHANGES: usize = 10;
/// On a usual day: each domain some nine times, twice as much as the year of the journal's test.
const USUAL_CHANGES: usize = 1;
/// Requests of each kind; the median counts.
const REQUESTS: usize = 5;
/// Browsers that have a page open.
const WATCHERS: usize = 200;
/// A new generation is there, and nothing of the one before is used any more.
const GENERATION: Duration = Duration::from_millis(1300);

const MOST_SHARE: f64 = 3.0;
/// Of what the whole daemon takes, in percent.
const MOST_JOURNAL: f64 = 5.0;
const MOST_RESIDENT: f64 = 80.0;
const MOST_START: f64 = 50.0;
const MOST_BINARY: f64 = 15.0;
const MOST_RENDER: f64 = 150.0;
const MOST_PAGE: f64 = 100.0;
/// In thousands of bytes.
const MOST_PAGE_LENGTH: f64 = 300.0;
/// Of a core, beside the steady cycle.
const MOST_WATCHED: f64 = 5.0;
const MOST_ABOVE_IDLE: f64 = 40.0;
/// What is flat grows by no more than this from the first minute to the last.
const MOST_GROWTH: f64 = 3.0;

fn main() -> ExitCode {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let minute = Duration::from_secs(seconds.unwrap_or(60));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let zones = zones();
    let (server, _listeners) = runtime.block_on(serve(&zones));
    let mut bounds = Bounds { hold: true };
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_kmswatch")).expect("the program is there");
    bounds.at_most("binary, MiB", mebibytes(binary.len()), MOST_BINARY);
    let daemon = start(server.address(), &mut bounds);
    daemon.wait_until_ready();
    let churn = Churn::start(zones);
    measure_requests(&daemon, "/metrics", MOST_RENDER, &mut bounds);
    let length = measure_requests(&daemon, "/", MOST_PAGE, &mut bounds);
    bounds.at_most("/, KB", count(length) / 1e3, MOST_PAGE_LENGTH);
    measure_minutes(&daemon, minute, &mut bounds);
    measure_watchers(&runtime, &daemon, minute, &mut bounds);
    churn.each_second(USUAL_CHANGES);
    // What the storm left behind has gone then.
    wait_until(Instant::now() + minute);
    measure_journal(&daemon, minute, &mut bounds);
    println!("records changed: {}", churn.end());
    println!("{}", if bounds.hold { "all bounds hold" } else { "A BOUND IS BROKEN" });
    ExitCode::from(u8::from(!bounds.hold))
}

/// The bounds of the design, told as they are looked at.
struct Bounds {
    hold: bool,
}

impl Bounds {
    fn at_most(&mut self, what: &str, is: f64, most: f64) {
        let holds = is <= most;
        let verdict = if holds { "" } else { "  BROKEN" };
        println!("{what:44} {is:8.2}  (at most {most}){verdict}");
        self.hold &= holds;
    }
}

/// From the start of the process to its first answer over HTTP; the median of five.
fn start(server: SocketAddr, bounds: &mut Bounds) -> Daemon {
    let mut took = Vec::new();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.expect("a free port");
        let config = config(server, address);
        let mut command = kmswatch();
        // The journal is a file of that folder.
        command.args(["run", "-c"]).arg(config.path()).current_dir(config.folder());
        let began = Instant::now();
        let watcher = spawn(move || {
            while std::net::TcpStream::connect(address).is_err() {
                park_timeout(Duration::from_micros(200));
            }
            assert_eq!(request(address, "GET", "/-/healthy", "").status, 200);
            began.elapsed()
        });
        let daemon = Daemon::of(&mut command, config);
        took.push(milliseconds(watcher.join().expect("it serves")));
        if took.len() == REQUESTS {
            bounds.at_most("start to serving, ms", median(took), MOST_START);
            return daemon;
        }
    }
}

/// Of a new generation and again; and the memory that is needed meanwhile. Tells how long it is.
fn measure_requests(daemon: &Daemon, path: &str, most: f64, bounds: &mut Bounds) -> usize {
    let mut length = 0;
    for (name, header) in [("gzip", "Accept-Encoding: gzip\r\n"), ("plain", "")] {
        let (mut cold, mut cached, mut above) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REQUESTS {
            park_timeout(GENERATION);
            let idle = daemon.status("VmRSS:");
            daemon.reset_peak();
            for times in [&mut cold, &mut cached] {
                let began = Instant::now();
                let response = daemon.request("GET", path, header);
                times.push(milliseconds(began.elapsed()));
                assert_eq!(response.status, 200);
                length = response.body.len();
            }
            above.push((daemon.status("VmHWM:") - idle).max(0.0));
        }
        println!("{path} as {name}: {} KiB", length / 1024);
        bounds.at_most(&format!("  new generation, ms ({name})"), median(cold), most);
        println!("  again, ms {:.2}", median(cached));
        let greatest = above.into_iter().fold(0.0, f64::max);
        bounds.at_most(&format!("  above idle, MiB ({name})"), greatest, MOST_ABOVE_IDLE);
    }
    length
}

/// What a minute of the steady cycle looks like at its end.
#[derive(Debug, Clone, Copy)]
struct Reading {
    cpu: f64,
    /// Of the journal's thread, in seconds.
    journal: f64,
    resident: f64,
    descriptors: f64,
    series: f64,
}

impl Reading {
    fn of(daemon: &Daemon) -> Self {
        let series = daemon.metrics("kmswatch_").len();
        Self {
            cpu: daemon.cpu(),
            journal: daemon.thread_cpu("journal"),
            resident: daemon.status("VmRSS:"),
            descriptors: count(daemon.descriptors()),
            series: count(series),
        }
    }

    /// The journal's part of what the daemon took since then, in percent.
    fn journal_since(&self, before: &Self) -> f64 {
        100.0 * (self.journal - before.journal) / (self.cpu - before.cpu)
    }
}

/// What the journal takes on a usual day.
fn measure_journal(daemon: &Daemon, minute: Duration, bounds: &mut Bounds) {
    let before = Reading::of(daemon);
    wait_until(Instant::now() + minute);
    let after = Reading::of(daemon);
    let cpu = 100.0 * (after.cpu - before.cpu) / minute.as_secs_f64();
    println!("a usual day, {USUAL_CHANGES} change a second: CPU {cpu:.2} %");
    let share = after.journal_since(&before);
    bounds.at_most("  of it for the journal, %", share, MOST_JOURNAL);
}

/// One scrape a minute, as Prometheus would make, is part of the cycle.
fn measure_minutes(daemon: &Daemon, minute: Duration, bounds: &mut Bounds) {
    let began = Instant::now();
    let mut readings = vec![Reading::of(daemon)];
    for number in 1..=MINUTES {
        wait_until(began + minute * u32::try_from(number).expect("a small number"));
        readings.push(Reading::of(daemon));
        let (last, before) = (readings[number], readings[number - 1]);
        println!(
            "minute {number}: CPU {:.2} %, resident {:.1} MiB, descriptors {}, series {}",
            100.0 * (last.cpu - before.cpu) / minute.as_secs_f64(),
            last.resident,
            last.descriptors,
            last.series
        );
    }
    let (first, last) = (readings[1], readings[MINUTES]);
    let share = 100.0 * (last.cpu - readings[0].cpu) / began.elapsed().as_secs_f64();
    bounds.at_most("steady cycle, % of a core", share, MOST_SHARE);
    println!("{:44} {:8.2}", "  of it for the journal, %", last.journal_since(&readings[0]));
    let resident = readings.iter().map(|reading| reading.resident).fold(0.0, f64::max);
    bounds.at_most("  resident, MiB", resident, MOST_RESIDENT);
    let growth = |of: fn(&Reading) -> f64| 100.0 * (of(&last) / of(&first) - 1.0);
    bounds.at_most("  growth of memory, %", growth(|reading| reading.resident), MOST_GROWTH);
    bounds.at_most(
        "  growth of descriptors, %",
        growth(|reading| reading.descriptors),
        MOST_GROWTH,
    );
    bounds.at_most("  growth of series, %", growth(|reading| reading.series), MOST_GROWTH);
}

/// What open pages cost: each holds a stream of events, and then loads the page again after each, as the
/// page's script does. Compared with the same time before anybody looks.
fn measure_watchers(runtime: &Runtime, daemon: &Daemon, minute: Duration, bounds: &mut Bounds) {
    let without = share_within(daemon, minute);
    for (what, renews) in [("streams of events", false), ("pages that renew themselves", true)] {
        let seen = Arc::new(AtomicUsize::new(0));
        let watcher = || runtime.spawn(watch(daemon.address(), renews, seen.clone()));
        let watchers: Vec<_> = (0..WATCHERS).map(|_| watcher()).collect();
        while seen.load(Ordering::Relaxed) < WATCHERS {
            assert!(watchers.iter().all(|watcher| !watcher.is_finished()), "a stream ended");
            park_timeout(Duration::from_millis(10));
        }
        let before = seen.load(Ordering::Relaxed);
        let above = share_within(daemon, minute) - without;
        let told = count(seen.load(Ordering::Relaxed) - before) / count(WATCHERS);
        println!("{WATCHERS} {what}: {:.2} events a second each", told / minute.as_secs_f64());
        match renews {
            false => bounds.at_most("  % of a core above none", above, MOST_WATCHED),
            true => println!("  % of a core above none {above:.2}"),
        }
        let asked = Instant::now();
        assert_eq!(daemon.get("/-/healthy").status, 200);
        println!("  somebody else is answered within {:.1} ms", milliseconds(asked.elapsed()));
        assert!(watchers.iter().all(|watcher| !watcher.is_finished()), "a stream ended");
        watchers.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What the daemon takes from now on, in percent of a core.
fn share_within(daemon: &Daemon, length: Duration) -> f64 {
    let (began, cpu) = (Instant::now(), daemon.cpu());
    wait_until(began + length);
    100.0 * (daemon.cpu() - cpu) / began.elapsed().as_secs_f64()
}

fn wait_until(end: Instant) {
    while Instant::now() < end {
        park_timeout(end - Instant::now());
    }
}

/// Reads events for ever, and counts them.
async fn watch(address: SocketAddr, renews: bool, seen: Arc<AtomicUsize>) {
    let connect = async || BufReader::new(TcpStream::connect(address).await.expect("it listens"));
    let mut events = connect().await;
    ask(&mut events, "/api/v1/events").await;
    let mut lines = events.lines();
    let mut page: Option<BufReader<TcpStream>> = None;
    while let Some(line) = lines.next_line().await.expect("it goes on") {
        if !line.starts_with("data:") {
            continue;
        }
        seen.fetch_add(1, Ordering::Relaxed);
        if renews {
            let mut kept = match page.take() {
                Some(kept) => kept,
                None => connect().await,
            };
            ask(&mut kept, "/").await;
            page = read_answer(&mut kept).await.then_some(kept);
        }
    }
}

async fn ask(stream: &mut BufReader<TcpStream>, path: &str) {
    let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.expect("it reads");
}

/// Reads the whole of an answer, and tells whether the connection stays.
async fn read_answer(stream: &mut BufReader<TcpStream>) -> bool {
    let (mut line, mut length, mut stays) = (String::new(), 0, true);
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).await.expect("a head") > 0, "a whole head");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        stays &= line != "connection: close\r\n";
    }
    stream.read_exact(&mut vec![0; length]).await.expect("a body");
    stays
}

/// Records that change all the time: each domain keeps two, one of which moves to another host.
struct Churn {
    stop: Arc<AtomicBool>,
    each_second: Arc<AtomicUsize>,
    thread: std::thread::JoinHandle<usize>,
}

impl Churn {
    fn start(zones: Zones) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = stop.clone();
        let each_second = Arc::new(AtomicUsize::new(CHANGES));
        let rate = each_second.clone();
        let thread = spawn(move || {
            let mut changed = 0;
            while !is_over.load(Ordering::Relaxed) {
                for _ in 0..rate.load(Ordering::Relaxed) {
                    let (domain, turn) = (changed * 37 % DOMAINS, changed / DOMAINS + 1);
                    zones.remove(&owner(domain));
                    publish(&zones, domain, turn);
                    changed += 1;
                }
                park_timeout(Duration::from_secs(1));
            }
            changed
        });
        Self { stop, each_second, thread }
    }

    /// So many domains change from now on.
    fn each_second(&self, changes: usize) {
        self.each_second.store(changes, Ordering::Relaxed);
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().expect("it only changes records")
    }
}

fn zones() -> Zones {
    let zones = Zones::new();
    zones.add_zone("bench.test");
    (0..DOMAINS).for_each(|domain| publish(&zones, domain, 0));
    (0..HOSTS).for_each(|host| zones.insert(&target(host), Data::A(address(host))));
    zones
}

fn publish(zones: &Zones, domain: usize, turn: usize) {
    for host in [domain % HOSTS, (domain + 7 + turn) % HOSTS] {
        zones.insert(&owner(domain), Data::srv(0, 0, KMS_PORT, &target(host)));
    }
}

async fn serve(zones: &Zones) -> (DnsServer, Vec<RpcListener>) {
    let mut listeners = Vec::new();
    for host in 0..HOSTS {
        let address = SocketAddr::from((address(host), KMS_PORT));
        listeners.push(RpcListener::start(Behaviour::Kms, address).await.expect("a free port"));
    }
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (DnsServer::start(zones.clone(), any).await.expect("a free port"), listeners)
}

fn config(server: SocketAddr, listen: SocketAddr) -> Config {
    let config = Config::new(&format!(
        "[web]\nlisten = \"{listen}\"\n[audit]\nvanished_for = \"1m\"\n[dns]\nrate = 10000\n[[resolver]]\nname = \"lab\"\n\
         servers = [\"{server}\"]\n[[domain_list]]\nfile = \"domains.txt\"\n"
    ));
    let mut domains = String::new();
    for domain in 0..DOMAINS {
        writeln!(domains, "{}", name(domain)).expect("a string grows");
    }
    std::fs::write(config.beside("domains.txt"), domains).expect("the folder is there");
    config
}

fn name(domain: usize) -> String {
    format!("d{domain}.bench.test")
}

fn owner(domain: usize) -> String {
    format!("_vlmcs._tcp.{}", name(domain))
}

fn target(host: usize) -> String {
    format!("k{host}.bench.test")
}

fn address(host: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(host + 1).expect("a small number").to_be_bytes();
    Ipv4Addr::new(127, 3, high, low)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "no binary is that long")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[expect(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}
