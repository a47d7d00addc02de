//! What the pages show in these tests.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use kmswatch::config;
use kmswatch::daemon::{Signals, Start};
use kmswatch::demo::{ANY_PORT, Act, Behaviour, Data, DnsServer, Lab, RpcListener, Zones};
use tokio::task::JoinHandle;

use crate::daemon::request;
use crate::lab::Bench;
use crate::program::wait_for;
use crate::{PATIENCE, past};

/// A small estate that is well, until something is done to it.
///
/// `north.test` and `south.test` share two hosts, `east.test` and `west.test` have one, the third.
pub struct Estate {
    pub zones: Zones,
    server: DnsServer,
    hosts: Vec<RpcListener>,
    bench: Bench,
}

/// Domains, and the numbers of their hosts.
const DOMAINS: [(&str, &[usize]); 4] =
    [("north.test", &[1, 2]), ("south.test", &[1, 2]), ("east.test", &[3]), ("west.test", &[3])];

impl Estate {
    /// Starts its server and its hosts.
    pub fn start() -> Self {
        let (bench, zones) = (Bench::new(), Zones::new());
        zones.add_zone("test");
        let hosts: Vec<RpcListener> = (0..3).map(|_| bench.host(Behaviour::Kms)).collect();
        let server = bench.dns(&zones);
        let estate = Self { zones, server, hosts, bench };
        for (domain, numbers) in DOMAINS {
            for number in numbers {
                let target = format!("kms{number}.test");
                estate.zones.insert(&target, Data::A(Ipv4Addr::LOCALHOST));
                estate.publish(domain, &target, *number);
            }
        }
        estate
    }

    /// A record more, which leads to this host.
    pub fn publish(&self, domain: &str, target: &str, number: usize) {
        let port = self.address(number).port();
        self.zones.insert(&owner(domain), Data::srv(0, 0, port, target));
    }

    /// All records of the domain leave DNS.
    pub fn unpublish(&self, domain: &str) {
        assert!(self.zones.remove(&owner(domain)) > 0);
    }

    /// The host dies: its port refuses connections.
    pub fn kill(&self, number: usize) {
        self.bench.wait(self.hosts[number - 1].close());
    }

    /// It runs again, where it was.
    pub fn revive(&mut self, number: usize) {
        let again = RpcListener::start(Behaviour::Kms, self.address(number));
        self.hosts[number - 1] = self.bench.wait(again).expect("its port is free");
    }

    /// Questions and connections so far.
    pub fn traffic(&self) -> (u64, u64) {
        (self.server.query_count(), self.hosts.iter().map(RpcListener::connections).sum())
    }

    /// A config of these settings, of all domains of this estate and these more.
    pub fn config(&self, settings: &str, more: &[&str]) -> String {
        let mut text = format!(
            "{settings}[[resolver]]\nname = \"hq\"\nservers = [\"{}\"]\n\
             [[exception]]\nchecks = [\"redundancy-none\", \"port-unusual\"]\nseverity = \"off\"\nreason = \"it is a test\"\n",
            self.server.address()
        );
        for domain in DOMAINS.iter().map(|(domain, _)| domain).chain(more) {
            let _ = write!(text, "[[domain]]\nname = \"{domain}\"\n");
        }
        text + PROFILES
    }

    fn address(&self, number: usize) -> SocketAddr {
        self.hosts[number - 1].address()
    }
}

/// One whose clients look in `east.test`.
const PROFILES: &str =
    "[[profile]]\nname = \"branch\"\nsuffixes = [\"east.test\"]\nresolver = \"hq\"\n";

/// Where a domain's records are.
pub fn owner(domain: &str) -> String {
    format!("_vlmcs._tcp.{domain}")
}

/// The demo's estate, with a domain for each fault, and a daemon that watches it once a second, as if
/// for a month.
pub struct Demo {
    pub address: SocketAddr,
    lab: Lab,
    daemon: JoinHandle<()>,
    bench: Bench,
    _folder: tempfile::TempDir,
}

impl Demo {
    /// Starts it, and waits for the first audit.
    pub fn start() -> Self {
        let (bench, folder) = (Bench::new(), tempfile::tempdir().expect("a folder"));
        let journal = folder.path().join("kmswatch.db");
        past::write(&journal);
        let started = bench.wait(async {
            let lab = Lab::start().await.expect("a lab");
            let in_file = format!("path = {:?}", journal.display().to_string());
            let text = lab.config(ANY_PORT).replace("path = \"\"", &in_file);
            let mut plan = config::parse(&text, "demo").expect("a config").plan;
            plan.kms_port = lab.kms_port();
            let listener = tokio::net::TcpListener::bind(ANY_PORT).await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let reload = Box::new(|| Err("there is no config file".to_owned()));
            let signals = Signals::new().expect("signals");
            let start = Start { signals, plan, listener, reload };
            let daemon = tokio::spawn(async {
                kmswatch::daemon::run(start).await.expect("it runs");
            });
            (address, lab, daemon)
        });
        let (address, lab, daemon) = started;
        wait_for("the first audit", PATIENCE, || {
            match request(address, "GET", "/-/ready", "").status {
                200 => Ok(()),
                status => Err(status.to_string()),
            }
        });
        Self { address, lab, daemon, bench, _folder: folder }
    }

    /// Lets something happen, and waits until the findings have this check.
    pub fn play(&self, act: Act, seen: &str) {
        self.bench.wait(self.lab.play(act)).expect("played");
        wait_for(seen, PATIENCE, || {
            let findings = request(self.address, "GET", "/api/v1/findings", "").text();
            if findings.contains(seen) { Ok(()) } else { Err(findings) }
        });
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.daemon.abort();
    }
}
