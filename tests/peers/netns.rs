//! A small network of namespaces: a client, a site router with a firewall, and a server behind it.
//!
//! ```text
//! client 10.88.1.2 ── 10.88.1.1 router 10.88.2.1 ── 10.88.2.2 server
//!    fd88:1::2          fd88:1::1  fd88:2::1           fd88:2::2
//! ```
//! Each network has names of its own, so several can stand at once; nothing in it reaches further than
//! the three namespaces. Needs root, iproute2 and nftables. Include it with
//! `#[path = "peers/netns.rs"] mod netns;`.
#![allow(dead_code, reason = "each test that includes this uses its own part")]

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The three namespaces; removed when dropped, also by a test that fails.
pub struct Network {
    prefix: String,
}

/// A namespace of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Where probes start.
    Client,
    /// What lies between.
    Router,
    /// Where hosts listen.
    Server,
}

impl Node {
    const ALL: [Self; 3] = [Self::Client, Self::Router, Self::Server];

    fn letter(self) -> char {
        match self {
            Self::Client => 'c',
            Self::Router => 'r',
            Self::Server => 's',
        }
    }
}

impl Network {
    /// Builds it.
    pub fn build() -> Self {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let network = Self { prefix: format!("kw{}-{number}-", std::process::id()) };
        for node in Node::ALL {
            run(Command::new("ip").args(["netns", "add", &network.name(node)]));
            network.ip(node, "link set lo up");
            // Without it, IPv6 addresses cannot be used for a second or so.
            network.sysctl(node, "net.ipv6.conf.all.accept_dad=0");
            network.sysctl(node, "net.ipv6.conf.default.accept_dad=0");
        }
        network.join(Node::Client, 1);
        network.join(Node::Server, 2);
        for setting in [
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        ] {
            network.sysctl(Node::Router, setting);
        }
        network
    }

    /// Joins a node to the router by a link of its own: the subnets `10.88.N.0/24` and `fd88:N::/64`.
    fn join(&self, node: Node, subnet: u8) {
        let name = self.name(node);
        self.ip(
            Node::Router,
            &format!("link add eth{subnet} type veth peer name eth0 netns {name}"),
        );
        for (end, device, host) in
            [(Node::Router, format!("eth{subnet}"), 1), (node, "eth0".to_owned(), 2)]
        {
            self.ip(end, &format!("addr add 10.88.{subnet}.{host}/24 dev {device}"));
            self.ip(end, &format!("addr add fd88:{subnet}::{host}/64 dev {device} nodad"));
            self.ip(end, &format!("link set {device} up"));
        }
        self.ip(node, &format!("route add default via 10.88.{subnet}.1"));
        self.ip(node, &format!("-6 route add default via fd88:{subnet}::1"));
    }

    /// The namespace's name.
    pub fn name(&self, node: Node) -> String {
        format!("{}{}", self.prefix, node.letter())
    }

    /// Runs `ip` for a node, e.g. `route add prohibit 10.98.0.0/16`.
    pub fn ip(&self, node: Node, arguments: &str) {
        let name = self.name(node);
        run(Command::new("ip").args(["-n", &name]).args(arguments.split_whitespace()));
    }

    /// A command that will run inside a node.
    pub fn command(&self, node: Node, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(node)]).arg(program);
        command
    }

    /// Makes this the router's whole ruleset: what it does with TCP to this port; empty for nothing.
    pub fn firewall(&self, port: u16, action: &str) {
        match action {
            "" => self.forward(""),
            action => self.forward(&format!("tcp dport {port} {action}")),
        }
    }

    /// Makes these the router's whole rules for what it forwards.
    pub fn forward(&self, rules: &str) {
        let rules = format!(
            "flush ruleset; table inet filter {{ chain forward {{ \
             type filter hook forward priority 0; {rules}; }}; }}"
        );
        let mut nft = self
            .command(Node::Router, "nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nft runs");
        let mut input = nft.stdin.take().expect("a pipe");
        input.write_all(rules.as_bytes()).expect("nft reads");
        drop(input);
        assert!(nft.wait().expect("nft ends").success(), "nft refuses {rules}");
    }

    /// Sets a kernel setting of a node, e.g. `net.ipv4.ip_forward=1`.
    pub fn sysctl(&self, node: Node, setting: &str) {
        run(self.command(node, "sysctl").args(["-qw", setting]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in Node::ALL {
            // What was never added cannot be removed.
            let _ = Command::new("ip")
                .args(["netns", "del", &self.name(node)])
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("iproute2 is installed");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
    output
}
