//! The real daemon on a free port, and a plain HTTP client. Include it with
//! `#[path = "peers/daemon.rs"] mod daemon;`, beside `program`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::program::{Config, kmswatch, wait_for};

/// `kmswatch run`; killed when dropped.
pub struct Daemon {
    pub config: Config,
    child: Child,
    log: Arc<Mutex<String>>,
    address: SocketAddr,
}

/// An HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// Nothing here takes longer, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

impl Daemon {
    /// Starts it with this config and `[web] listen` on a free port, and waits until it listens.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same, with these files beside the config.
    pub fn start_with(config: &str, files: &[(&str, &str)]) -> Self {
        let written = Config::new("");
        for (name, text) in files {
            std::fs::write(written.beside(name), text).expect("the folder is there");
        }
        written.write(&with_port(config, &written));
        let config = written;
        let mut command = kmswatch();
        command.args(["run", "-c"]).arg(config.path()).current_dir(config.folder());
        Self::of(&mut command, config)
    }

    /// Starts another command that says on stderr where it listens.
    pub fn of(command: &mut Command, config: Config) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is there");
        let log = Arc::new(Mutex::new(String::new()));
        let (told, stderr) = (log.clone(), child.stderr.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *told.lock().expect("nobody panics") += &(line + "\n");
            }
        });
        let address = wait_for("the daemon listens", PATIENCE, || {
            let log = log.lock().expect("nobody panics").clone();
            let address = log.split_once("http://").and_then(|(_, rest)| rest.split_once('/'));
            address.and_then(|(address, _)| address.parse().ok()).ok_or(log)
        });
        Self { config, child, log, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it said on stderr.
    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics").clone()
    }

    /// Waits for the first audit.
    pub fn wait_until_ready(&self) {
        self.wait_for("ready", || {
            let ready = self.get("/-/ready");
            if ready.status == 200 { Ok(()) } else { Err(format!("{ready:?}")) }
        });
    }

    /// Asks again and again; a failure shows the log, too.
    pub fn wait_for<T>(&self, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
        wait_for(what, PATIENCE, || ask().map_err(|last| format!("{last}\n{}", self.log())))
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "")
    }

    /// A request with more header lines, each ended by `\r\n`.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Response {
        request(self.address, method, path, headers)
    }

    /// Its unix socket.
    pub fn socket(&self) -> std::path::PathBuf {
        self.config.beside(SOCKET)
    }

    /// A request over the unix socket, by whoever may.
    pub fn request_by_socket(&self, method: &str, path: &str, headers: &str) -> Response {
        let stream = UnixStream::connect(self.socket()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        exchange(stream, "localhost", method, path, headers)
    }

    /// A document of the API.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).expect("JSON")
    }

    /// The lines of /metrics that begin so.
    pub fn metrics(&self, start: &str) -> Vec<String> {
        let text = self.get("/metrics").text();
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    /// Puts another config in its place, which is not read yet.
    pub fn write_config(&self, text: &str) {
        self.config.write(&with_port(text, &self.config));
    }

    /// Sends a signal, such as `-HUP`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Seconds of CPU time that it took so far, user and system.
    pub fn cpu(&self) -> f64 {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("a stat").split(' ').collect();
        // Fields 14 and 15 of proc(5), counted from the state, which is field 3; a tick is 10 ms.
        let ticks = [11, 12].map(|at| fields[at].parse::<u32>().expect("a number"));
        f64::from(ticks[0] + ticks[1]) / 100.0
    }

    /// Seconds of CPU time of its threads of this name.
    pub fn thread_cpu(&self, name: &str) -> f64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("Linux");
        let spent = |folder: std::path::PathBuf| {
            let is_it = std::fs::read_to_string(folder.join("comm")).ok()?.trim() == name;
            let stat = std::fs::read_to_string(folder.join("schedstat")).ok().filter(|_| is_it)?;
            stat.split(' ').next()?.parse::<u64>().ok()
        };
        let nanoseconds = tasks.flatten().filter_map(|task| spent(task.path())).sum();
        Duration::from_nanos(nanoseconds).as_secs_f64()
    }

    /// A field of its status that is an amount of memory, in MiB.
    pub fn status(&self, field: &str) -> f64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        let kib: u32 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        f64::from(kib) / 1024.0
    }

    /// From now on `VmHWM:` is the greatest memory since now.
    pub fn reset_peak(&self) {
        let file = format!("/proc/{}/clear_refs", self.child.id());
        std::fs::write(file, "5").expect("a child may be told so");
    }

    /// How many file descriptors it has open.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("it runs").count()
    }

    fn proc(&self, file: &str) -> String {
        let file = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(file).expect("it runs")
    }

    /// Waits for its end: the exit code and how long that took.
    pub fn wait(&mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        let child = &mut self.child;
        let status = wait_for("the daemon ends", PATIENCE, || {
            child.try_wait().expect("its state").ok_or_else(|| "it runs".to_owned())
        });
        (status.code(), began.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if !std::thread::panicking() {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }
}

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, headers: &str) -> Response {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
    exchange(stream, &address.to_string(), method, path, headers)
}

fn exchange(
    mut stream: impl Read + Write,
    host: &str,
    method: &str,
    path: &str,
    headers: &str,
) -> Response {
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..at].to_vec()).expect("UTF-8");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Response { status: status.expect("a status"), headers, body: bytes[at + 4..].to_vec() }
}

/// The name of the socket, beside the config.
const SOCKET: &str = "kmswatch.sock";

fn with_port(config: &str, file: &Config) -> String {
    let journal = if config.contains("[journal]") { "" } else { "[journal]\npath = \"\"\n" };
    let socket = file.beside(SOCKET).display().to_string();
    // What a test says of [web] itself stands at its end.
    let (config, web) = config.split_once("[web]\n").unwrap_or((config, ""));
    format!("{config}\n{journal}[web]\nlisten = \"127.0.0.1:0\"\nsocket = {socket:?}\n{web}")
}
