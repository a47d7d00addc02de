//! Probes of 20,000 endpoints, connect and bind, against `nmap -sT` that only connects: CPU, how long
//! connects take, and what is left behind. One run of both against one peer, which is a process of
//! its own; the median of five counts, outcomes and leftovers by the worst.
//!
//! Exits with 1 where a bound of the design is broken.

#[path = "../tests/peers/rpc.rs"]
mod rpc;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kmswatch::clock::Clock;
use kmswatch::model::plan::ProbeSettings;
use kmswatch::model::{EndpointKey, Observation, ProbeOutcome};
use kmswatch::probe::Prober;
use kmswatch::stats::Stats;
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

const ENDPOINTS: u32 = 20_000;
const RUNS: usize = 5;
const MOST_CPU: f64 = 2.0;
const MOST_CONNECT: Duration = Duration::from_millis(10);
/// Of all endpoints; a kernel may leave a handful whatever one does.
const MOST_TIME_WAIT: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match &arguments[..] {
        [side] if side == "peer" => answer_binds(),
        [side, port] if side == "ours" => println!("{}", probe_all(port.parse().expect("a port"))),
        _ => return compare(),
    }
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let mut peer = Peer::start();
    let folder = tempfile::tempdir().expect("a folder");
    let (all, one) = (folder.path().join("all"), folder.path().join("one"));
    write_addresses(&all, ENDPOINTS);
    write_addresses(&one, 1);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(run_ours(&mut peer));
        // What starting it costs is not the price of its connects.
        let (start, _) = run_nmap(&one, peer.port);
        let (cpu, connected) = run_nmap(&all, peer.port);
        assert!(connected > ENDPOINTS / 10 * 9, "nmap connected to {connected} only");
        theirs.push((cpu - start) / f64::from(connected) * f64::from(ENDPOINTS));
    }
    let ours = Measured::of(&ours);
    let theirs = median(&theirs);
    println!("nmap -sT  CPU {theirs:.3} s ({:.1} µs a connect)", micros(theirs));
    judge(&ours, theirs)
}

fn judge(ours: &Measured, theirs: f64) -> ExitCode {
    let Measured { cpu, p50, p99, time_wait, not_kms } = *ours;
    println!("kmswatch  CPU {cpu:.3} s ({:.1} µs a probe)", micros(cpu));
    let ratio = cpu / theirs;
    println!("ratio: CPU {ratio:.2} (at most {MOST_CPU})");
    println!("connect: p50 {p50:.1?}, p99 {p99:.1?} (at most {MOST_CONNECT:?})");
    println!("sockets in TIME_WAIT: {time_wait} (at most {MOST_TIME_WAIT})");
    println!("probes whose outcome is not kms: {not_kms} of {ENDPOINTS} (none)");
    let holds =
        ratio <= MOST_CPU && p99 <= MOST_CONNECT && time_wait <= MOST_TIME_WAIT && not_kms == 0;
    println!("{}", if holds { "all bounds hold" } else { "A BOUND IS BROKEN" });
    ExitCode::from(u8::from(!holds))
}

fn micros(cpu: f64) -> f64 {
    cpu * 1e6 / f64::from(ENDPOINTS)
}

/// What a run of ours took; as a line of numbers between processes.
#[derive(Debug, Clone, Copy)]
struct Measured {
    /// Seconds, user and system.
    cpu: f64,
    p50: Duration,
    p99: Duration,
    /// Sockets.
    time_wait: usize,
    /// Probes.
    not_kms: usize,
}

impl Measured {
    fn of(runs: &[Self]) -> Self {
        let nanoseconds = |of: fn(&Self) -> Duration| {
            let seconds: Vec<f64> = runs.iter().map(|run| of(run).as_secs_f64()).collect();
            Duration::from_secs_f64(median(&seconds))
        };
        Self {
            cpu: median(&runs.iter().map(|run| run.cpu).collect::<Vec<_>>()),
            p50: nanoseconds(|run| run.p50),
            p99: nanoseconds(|run| run.p99),
            time_wait: runs.iter().map(|run| run.time_wait).max().unwrap_or(0),
            not_kms: runs.iter().map(|run| run.not_kms).max().unwrap_or(0),
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A process that answers binds at every loopback address.
struct Peer {
    process: Child,
    said: BufReader<std::process::ChildStdout>,
    port: u16,
}

impl Peer {
    fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .arg("peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut said = BufReader::new(process.stdout.take().expect("piped"));
        let port = number(&mut said).try_into().expect("a port");
        Self { process, said, port }
    }

    /// How many connections it accepted, ever.
    fn connections(&mut self) -> u64 {
        let asked = self.process.stdin.as_mut().expect("piped");
        writeln!(asked).expect("it lives");
        number(&mut self.said)
    }

    /// Waits until it has accepted so many more than `before`.
    fn wait_for(&mut self, before: u64, more: u32) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.connections() < before + u64::from(more) {
            assert!(Instant::now() < deadline, "not every endpoint was connected to");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn number(said: &mut impl BufRead) -> u64 {
    let mut line = String::new();
    said.read_line(&mut line).expect("the peer lives");
    line.trim().parse().expect("a number")
}

/// The peer: says its port, then for each line that comes how many connections it accepted. It is as
/// cheap as can be, so that nobody's connects wait for it in the kernel's queue.
fn answer_binds() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None).expect("a socket");
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    socket.bind(&everywhere.into()).expect("a free port");
    socket.listen(QUEUE).expect("a socket");
    let accepted = Arc::new(AtomicU64::new(0));
    let count = accepted.clone();
    let _entered = runtime.enter();
    let listener = TcpListener::from_std(socket.into()).expect("a runtime");
    println!("{}", listener.local_addr().expect("bound").port());
    runtime.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer_bind(stream));
        }
    });
    for _ in std::io::stdin().lines() {
        println!("{}", accepted.load(Ordering::Relaxed));
    }
}

/// Connections that wait to be accepted: nmap makes them faster than anybody accepts.
const QUEUE: i32 = 4096;

/// Who only connects is gone before its bind, which is no error.
async fn answer_bind(mut stream: TcpStream) {
    let mut bind = [0; 116];
    if stream.read_exact(&mut bind).await.is_ok() {
        let mut reply = rpc::bind_ack(2, (0, 0), (2, 1));
        reply[CALL_ID].copy_from_slice(&bind[CALL_ID]);
        let _ = stream.write_all(&reply).await;
        let _ = stream.read(&mut bind).await;
    }
}

const CALL_ID: std::ops::Range<usize> = 12..16;

fn run_ours(peer: &mut Peer) -> Measured {
    let (accepted, before) = (peer.connections(), time_wait(peer.port));
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["ours", &peer.port.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let fields: Vec<f64> = text.split_whitespace().flat_map(str::parse).collect();
    let [cpu, p50, p99, not_kms] = fields[..] else { panic!("no figures: {text}") };
    peer.wait_for(accepted, ENDPOINTS);
    Measured {
        cpu,
        p50: Duration::from_secs_f64(p50),
        p99: Duration::from_secs_f64(p99),
        time_wait: time_wait(peer.port).saturating_sub(before),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        not_kms: not_kms as usize,
    }
}

fn probe_all(port: u16) -> String {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let path = Arc::default();
        let mut keys: Vec<EndpointKey> = addresses(ENDPOINTS)
            .map(|address| EndpointKey { path: Arc::clone(&path), address: (address, port).into() })
            .collect();
        let settings = ProbeSettings::default();
        let (sender, mut inbox) = mpsc::channel(256);
        let prober = Prober::new(settings, Clock::start(), Stats::new(), sender);
        let (mut connects, mut not_kms, mut seen) = (Vec::new(), 0, Vec::new());
        let cpu = of_process(UsageWho::RUSAGE_SELF);
        let first = keys.split_off(keys.len() - settings.concurrency);
        assert!(prober.submit(first).is_empty(), "there is room for these");
        let mut open = ENDPOINTS as usize;
        while open > 0 {
            let batches = inbox.recv_many(&mut seen, settings.concurrency).await;
            open -= batches;
            let next = keys.split_off(keys.len().saturating_sub(batches));
            assert!(prober.submit(next).is_empty(), "as many ended");
            for observation in seen.drain(..).flatten() {
                let Observation::Probe { probe, .. } = observation else { continue };
                not_kms += u32::from(probe.outcome != ProbeOutcome::Kms);
                connects.extend(probe.connect);
            }
        }
        let cpu = of_process(UsageWho::RUSAGE_SELF) - cpu;
        connects.sort();
        let percentile = |percent: usize| connects[connects.len() * percent / 100].as_secs_f64();
        format!("{cpu} {} {} {not_kms}", percentile(50), percentile(99))
    })
}

/// Seconds of CPU, and how many endpoints it found open.
fn run_nmap(addresses: &Path, port: u16) -> (f64, u32) {
    let cpu = of_process(UsageWho::RUSAGE_CHILDREN);
    let output = Command::new("nmap")
        .args(["-n", "-Pn", "-sT", "--max-retries", "0", "-oG", "-"])
        .args(["-p", &port.to_string(), "-iL"])
        .arg(addresses)
        .output()
        .expect("nmap is installed");
    assert!(output.status.success(), "nmap: {}", output.status);
    let open = String::from_utf8_lossy(&output.stdout).matches("/open/").count();
    (of_process(UsageWho::RUSAGE_CHILDREN) - cpu, open.try_into().expect("a few"))
}

fn write_addresses(file: &Path, count: u32) {
    let text = addresses(count).fold(String::new(), |mut text, address| {
        let _ = writeln!(text, "{address}");
        text
    });
    std::fs::write(file, text).expect("written");
}

fn addresses(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(127, 1, 0, 1));
    (first..first + count).map(Ipv4Addr::from)
}

/// How many sockets of this machine to this port wait for the end of time.
fn time_wait(port: u16) -> usize {
    const TIME_WAIT: &str = "06";
    let text = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let of_port = format!(":{port:04X}");
    text.lines()
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let ends = [fields.next(), fields.next()];
            ends.iter().flatten().any(|end| end.ends_with(&of_port))
                && fields.next() == Some(TIME_WAIT)
        })
        .count()
}

/// Seconds of CPU time, user and system.
fn of_process(who: UsageWho) -> f64 {
    let usage: Usage = getrusage(who).expect("Linux has it");
    let time = |time: TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs())
            + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    (time(usage.user_time()) + time(usage.system_time())).as_secs_f64()
}
