//! An RPC runtime that somebody else wrote: impacket's, in a Python environment that
//! `tests/tools/venv.sh` makes. Include it with `#[path = "peers/impacket.rs"] mod impacket;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The KMS interface.
pub const KMS: [&str; 2] = ["51c82175-844e-4750-b0d8-ec255555bc06", "1.0"];
/// Another interface.
pub const ENDPOINT_MAPPER: [&str; 2] = ["e1af8308-5d1f-11c9-91a4-08002b14a0fa", "3.0"];

/// Killed when dropped.
pub struct RpcServer {
    process: Child,
    address: SocketAddr,
}

impl RpcServer {
    /// Starts it on a free port of 127.0.0.1, with one interface registered.
    pub fn start(interface: [&str; 2]) -> Self {
        let (python, script) = program();
        let mut command = Command::new(python);
        command.arg(script).args(interface);
        let (process, port) = Self::spawn(&mut command);
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// Starts it elsewhere: `command` makes a command that runs a program there.
    pub fn start_at(
        address: SocketAddr,
        interface: [&str; 2],
        command: impl FnOnce(&OsStr) -> Command,
    ) -> Self {
        let (python, script) = program();
        let mut command = command(python.as_ref());
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        command.arg(script).args(interface).args([ip, port]);
        let (process, _) = Self::spawn(&mut command);
        Self { process, address }
    }

    fn spawn(command: &mut Command) -> (Child, u16) {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the environment's Python");
        let mut port = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut port).expect("a line");
        (process, port.trim().parse().expect("the server prints its port"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for RpcServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Python that has impacket, and the script.
fn program() -> (String, PathBuf) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let made = Command::new(tests.join("tools/venv.sh"))
        .arg(target_directory())
        .stderr(Stdio::inherit())
        .output()
        .expect("bash runs");
    assert!(made.status.success(), "no Python environment");
    let python = String::from_utf8(made.stdout).expect("a path");
    (python.trim().to_owned(), tests.join("peers/rpc_server.py"))
}

/// Where this test was built, two directories above it.
fn target_directory() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    test.ancestors().nth(3).expect("target/PROFILE/deps/TEST").to_owned()
}
