//! Debian's Alertmanager on loopback, asked with its own amtool.
//!
//! Include it with `#[path = "peers/alertmanager.rs"] mod alertmanager;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A port where it listens, sooner or later.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    port: u16,
}

impl Place {
    /// A port that nobody has.
    pub fn free() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { port: listener.local_addr().expect("an address").port() }
    }

    pub fn address(self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn url(self) -> String {
        format!("http://{}", self.address())
    }
}

/// A process; it ends when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    pub place: Place,
    child: Child,
    _folder: TempDir,
}

impl Alertmanager {
    /// Starts one by the shipped example. It listens a little later.
    pub fn start(place: Place) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/alertmanager/alertmanager.yml");
        let child = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={example}"))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", place.port))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package prometheus-alertmanager");
        Self { place, child, _folder: folder }
    }

    /// The alerts that it has and that have not ended.
    pub fn active(&self) -> Result<Vec<Value>, String> {
        let mut query =
            amtool(&["alert", "query", "-o", "json", "--alertmanager.url", &self.place.url()]);
        let output = query.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its command.
pub fn amtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("amtool");
    command.args(arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}
