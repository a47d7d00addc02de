//! A site in a network of namespaces: a client, and behind the router dnsmasq and impacket with the KMS
//! interface. Include it with `#[path = "peers/site.rs"] mod site;`, beside `netns`, `impacket` and
//! `program`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::impacket::{self, RpcServer};
use crate::netns::{Network, Node};
use crate::program::{Config, Ended, Report, wait_for};

/// The site: DNS at port 53 of 10.88.2.2 and `fd88:2::2`, KMS at 10.88.2.2:1688; `[fd88:2::2]:1688` is closed.
pub struct Site {
    pub network: Network,
    dns: Child,
    _kms: RpcServer,
}

/// Where DNS is.
pub const DNS: &str = "10.88.2.2";

impl Site {
    /// Starts it with these records, as dnsmasq's options without the dashes. It answers for `test`
    /// alone.
    pub fn start(records: &[String]) -> Self {
        let network = Network::build();
        let dns = network
            .command(Node::Server, "dnsmasq")
            .args(["-k", "-C", "/dev/null", "--bind-interfaces"])
            .args(["--listen-address=10.88.2.2", "--listen-address=fd88:2::2"])
            .args([
                "--no-resolv",
                "--no-hosts",
                "--local-ttl=300",
                "--log-facility=-",
                "--pid-file=",
                "--user=root",
            ])
            .arg("--local=/test/")
            .args(records.iter().map(|record| format!("--{record}")))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dnsmasq is installed");
        let address = "10.88.2.2:1688".parse().expect("an address");
        let kms = RpcServer::start_at(address, impacket::KMS, |python| {
            network.command(Node::Server, python)
        });
        let site = Self { network, dns, _kms: kms };
        wait_for("dnsmasq answers", Duration::from_secs(10), || site.ask_once());
        site
    }

    /// Audits from the client.
    pub fn check(&self, config: &str) -> Report {
        let config = Config::new(config);
        let mut command = self.client();
        Ended::of(command.args(["check", "--format", "json", "-c"]).arg(config.path())).report()
    }

    /// The program inside the client.
    pub fn client(&self) -> Command {
        self.network.command(Node::Client, env!("CARGO_BIN_EXE_kmswatch"))
    }

    fn ask_once(&self) -> Result<(), String> {
        let output = self
            .network
            .command(Node::Client, "dig")
            .args(["+tries=1", "+time=1", "@10.88.2.2", "test", "SOA"])
            .output();
        let output = output.expect("dig is installed");
        if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.dns.kill();
        let _ = self.dns.wait();
    }
}
