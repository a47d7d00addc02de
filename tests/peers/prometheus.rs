//! A real Prometheus on loopback, in a folder of its own; killed when dropped.
//!
//! Include it with `#[path = "peers/prometheus.rs"] mod prometheus;`, beside `daemon` and `program`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::{Response, request};
use crate::program::wait_for;

/// A program that serves HTTP.
struct Served {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Served {
    /// Starts a program that is told its folder and where to listen, and waits until it does.
    fn start(program: &str, arguments: impl Fn(&str, SocketAddr) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let child = Command::new(program)
            .args(arguments(folder.path().to_str().expect("UTF-8"), address))
            .stdout(Stdio::null())
            .spawn()
            .expect("the program is installed");
        wait_for(program, Duration::from_secs(30), || {
            TcpStream::connect(address).map(drop).map_err(|error| error.to_string())
        });
        Self { child, address, folder }
    }

    fn json(&self, path: &str) -> Value {
        let answer = request(self.address, "GET", path, "");
        serde_json::from_slice(&unchunked(&answer)).unwrap_or(json!(null))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Prometheus that scrapes a daemon.
pub struct Prometheus(Served);

impl Prometheus {
    /// Scrapes each second, and alerts nobody.
    pub fn start(daemon: SocketAddr) -> Self {
        Self::alerting(daemon, "1s", "", &[])
    }

    /// Scrapes and evaluates `rules` (a rule file's text; may be empty) so often, for these Alertmanagers.
    pub fn alerting(
        daemon: SocketAddr,
        every: &str,
        rules: &str,
        alertmanagers: &[SocketAddr],
    ) -> Self {
        let mut text = format!(
            "global: {{ scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every} }}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n- job_name: kmswatch\n  static_configs:\n  - targets: ['{daemon}']\n"
        );
        if !alertmanagers.is_empty() {
            text += "alerting:\n  alertmanagers:\n  - static_configs:\n    - targets:\n";
            for alertmanager in alertmanagers {
                writeln!(text, "      - '{alertmanager}'").expect("a string grows");
            }
        }
        let rules = if rules.is_empty() { "groups: []\n" } else { rules };
        Self(Served::start("prometheus", |folder, address| {
            let config = format!("{folder}/prometheus.yml");
            std::fs::write(&config, &text).expect("written");
            std::fs::write(format!("{folder}/rules.yml"), rules).expect("written");
            vec![
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={folder}/data"),
                format!("--web.listen-address={address}"),
                "--log.level=error".to_owned(),
                "--storage.tsdb.retention.time=1h".to_owned(),
            ]
        }))
    }

    /// The series of an instant query, sorted: labels but for those of the scrape, and value.
    pub fn query(&self, query: &str) -> Vec<(BTreeMap<String, String>, String)> {
        let answer = self.0.json(&format!("/api/v1/query?query={query}"));
        let Some(result) = answer["data"]["result"].as_array() else { return Vec::new() };
        let mut series: Vec<_> = result
            .iter()
            .map(|series| {
                let mut labels: BTreeMap<String, String> =
                    serde_json::from_value(series["metric"].clone()).expect("labels");
                labels.retain(|name, _| !["__name__", "instance", "job"].contains(&name.as_str()));
                (labels, series["value"][1].as_str().expect("a value").to_owned())
            })
            .collect();
        series.sort();
        series
    }
}

/// The body of a response that came in chunks, if it did.
fn unchunked(response: &Response) -> Vec<u8> {
    if response.headers.get("transfer-encoding").is_none_or(|how| how != "chunked") {
        return response.body.clone();
    }
    let (mut rest, mut body) = (&response.body[..], Vec::new());
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).ok();
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok()).unwrap_or(0);
        if length == 0 {
            break;
        }
        body.extend(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 2 + length + 2..];
    }
    body
}
