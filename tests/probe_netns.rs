//! What a probe says of everything that can be in the way, on a network of namespaces with a real
//! firewall. Needs root, iproute2 and nftables.

#[path = "peers/netns.rs"]
mod netns;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netns::{Network, Node};
use serde_json::{Value, json};

/// One thing in the way.
struct Row {
    name: &'static str,
    /// What the router does with TCP to port 1688; empty for nothing.
    firewall: &'static str,
    /// What is changed for this row and the rows after it.
    change: Option<(Node, &'static str)>,
    target: &'static str,
    outcome: &'static str,
    rejected_by: Option<&'static str>,
    detail: Option<&'static str>,
}

const V4: &str = "10.88.2.2:1688";
const V6: &str = "[fd88:2::2]:1688";
const ROUTER: Option<&str> = Some("10.88.1.1");
const ROUTER_V6: Option<&str> = Some("fd88:1::1");
const HOST_UNREACHABLE: Option<&str> = Some("host unreachable (ICMP type 3 code 1)");

/// A row without a change.
const fn row(
    name: &'static str,
    firewall: &'static str,
    target: &'static str,
    outcome: &'static str,
    rejected_by: Option<&'static str>,
    detail: Option<&'static str>,
) -> Row {
    Row { name, firewall, change: None, target, outcome, rejected_by, detail }
}

/// What a firewall on the way does.
const FIREWALL: &[Row] = &[
    row("open", "", V4, "open", None, None),
    row("open, IPv6", "", V6, "open", None, None),
    row("closed", "", "10.88.2.2:1689", "refused", None, None),
    row("closed, IPv6", "", "[fd88:2::2]:1689", "refused", None, None),
    row("drop", "drop", V4, "timeout", None, None),
    row("tcp reset", "reject with tcp reset", V4, "refused", None, None),
    row(
        "port-unreachable",
        "reject with icmp type port-unreachable",
        V4,
        "refused",
        ROUTER,
        Some("port unreachable (ICMP type 3 code 3)"),
    ),
    row(
        "host-unreachable",
        "reject with icmp type host-unreachable",
        V4,
        "unreachable",
        ROUTER,
        HOST_UNREACHABLE,
    ),
    row(
        "net-unreachable",
        "reject with icmp type net-unreachable",
        V4,
        "unreachable",
        ROUTER,
        Some("network unreachable (ICMP type 3 code 0)"),
    ),
    row(
        "admin-prohibited",
        "reject with icmp type admin-prohibited",
        V4,
        "prohibited",
        ROUTER,
        Some("communication administratively prohibited (ICMP type 3 code 13)"),
    ),
    row(
        "host-prohibited",
        "reject with icmp type host-prohibited",
        V4,
        "prohibited",
        ROUTER,
        Some("host administratively prohibited (ICMP type 3 code 10)"),
    ),
    row(
        "net-prohibited",
        "reject with icmp type net-prohibited",
        V4,
        "prohibited",
        ROUTER,
        Some("network administratively prohibited (ICMP type 3 code 9)"),
    ),
    row(
        "admin-prohibited, IPv6",
        "reject with icmpv6 type admin-prohibited",
        V6,
        "prohibited",
        ROUTER_V6,
        Some("communication administratively prohibited (ICMPv6 type 1 code 1)"),
    ),
    row(
        "no-route, IPv6",
        "reject with icmpv6 type no-route",
        V6,
        "unreachable",
        ROUTER_V6,
        Some("network unreachable (ICMPv6 type 1 code 0)"),
    ),
    row(
        "port-unreachable, IPv6",
        "reject with icmpv6 type port-unreachable",
        V6,
        "refused",
        ROUTER_V6,
        Some("port unreachable (ICMPv6 type 1 code 4)"),
    ),
];

/// What routes and links do, each change on top of those before it.
const ROUTING: &[Row] = &[
    row(
        "absent host beyond the router",
        "",
        "10.88.2.77:1688",
        "unreachable",
        ROUTER,
        HOST_UNREACHABLE,
    ),
    row(
        "absent host on the subnet",
        "",
        "10.88.1.77:1688",
        "unreachable",
        Some("10.88.1.2"),
        Some("host unreachable (ICMP type 3 code 1), says this machine itself"),
    ),
    Row {
        change: Some((Node::Router, "route add prohibit 10.95.0.0/16")),
        ..row(
            "the router's prohibit route",
            "",
            "10.95.0.1:1688",
            "prohibited",
            ROUTER,
            Some("communication administratively prohibited (ICMP type 3 code 13)"),
        )
    },
    Row {
        change: Some((Node::Router, "route add blackhole 10.94.0.0/16")),
        ..row("the router's blackhole route", "", "10.94.0.1:1688", "timeout", None, None)
    },
    Row {
        change: Some((Node::Client, "route add prohibit 10.98.0.0/16")),
        ..row(
            "a local prohibit route",
            "",
            "10.98.0.1:1688",
            "prohibited",
            None,
            Some("a prohibit route, firewall or security policy of this machine forbids it"),
        )
    },
    Row {
        change: Some((Node::Client, "route add blackhole 10.97.0.0/16")),
        ..row(
            "a local blackhole route",
            "",
            "10.97.0.1:1688",
            "unreachable",
            None,
            Some("a blackhole route of this machine, or an address without a scope"),
        )
    },
    Row {
        change: Some((Node::Client, "route del default")),
        ..row("no route", "", V4, "unreachable", None, Some("this machine has no route to it"))
    },
    Row {
        change: Some((Node::Client, "link set eth0 down")),
        ..row(
            "link down",
            "",
            "10.88.1.1:1688",
            "unreachable",
            None,
            Some("this machine has no route to it"),
        )
    },
];

#[test]
fn each_thing_in_the_way_has_its_outcome_and_its_sender() {
    let program = probe_program();
    let network = Network::build();
    let _listener = Listener::start(&network);
    for (node, device) in [(Node::Client, "eth0"), (Node::Router, "eth1"), (Node::Router, "eth2")] {
        // An absent host is known after 3 tries of a second each; that is only waiting.
        network.sysctl(node, &format!("net.ipv4.neigh.{device}.retrans_time_ms=100"));
    }
    for row in FIREWALL.iter().chain(ROUTING) {
        if let Some((node, change)) = row.change {
            network.ip(node, change);
        }
        network.firewall(1688, row.firewall);
        // Nobody answers where a timeout is expected; elsewhere there is time to.
        let timeout = if row.outcome == "timeout" { "500" } else { "8000" };
        let seen = probe(&network, &program, &[row.target, "--tcp", "--timeout-ms", timeout]);
        let expected = json!([row.outcome, row.rejected_by, row.detail]);
        assert_eq!(
            json!([seen["outcome"], seen["rejected_by"], seen["detail"]]),
            expected,
            "{}: {seen}",
            row.name
        );
        assert_eq!(seen["connect_seconds"].is_number(), row.outcome == "open", "{}", row.name);
    }
}

#[test]
fn a_longer_name_is_not_the_interface_that_the_kernel_would_make_of_it() {
    let program = probe_program();
    let network = Network::build();
    network.ip(Node::Client, "link add fifteen-letters type veth peer name other0");
    let from = |interface| probe(&network, &program, &[V4, "--interface", interface]);
    assert_eq!(from("fifteen-letters")["detail"], "this machine has no route to it");
    assert_eq!(
        from("fifteen-letters-and-more")["detail"],
        "the interface fifteen-letters-and-more is not on this machine"
    );
}

#[test]
fn a_network_leaves_nothing_behind() {
    let names = {
        let network = Network::build();
        [Node::Client, Node::Router, Node::Server].map(|node| network.name(node))
    };
    let listed = Command::new("ip").args(["netns", "list"]).output().expect("ip runs").stdout;
    let listed = String::from_utf8(listed).expect("names");
    assert!(names.iter().all(|name| !listed.contains(name.as_str())), "{listed}");
}

/// What the example prints inside the client.
fn probe(network: &Network, program: &Path, arguments: &[&str]) -> Value {
    let output = network.command(Node::Client, program).args(arguments).output().expect("ip runs");
    serde_json::from_slice(&output.stdout).expect("a line of JSON")
}

/// Takes connections on port 1688 of the server, of both families; killed when dropped.
struct Listener(Child);

impl Listener {
    const PROGRAM: &str = "\
import socket
listener = socket.create_server(('::', 1688), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready', flush=True)
while True: listener.accept()[0].close()";

    fn start(network: &Network) -> Self {
        let mut process = network
            .command(Node::Server, "python3")
            .args(["-c", Self::PROGRAM])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self(process)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example that probes one endpoint, built as this test was.
fn probe_program() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--locked", "--example", "probe"]);
    cargo.arg("--target-dir").arg(profile.parent().expect("target/PROFILE"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.expect("cargo runs").success(), "the example does not build");
    profile.join("examples/probe")
}
