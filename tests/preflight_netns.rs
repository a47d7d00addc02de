//! `preflight` by clients of a subnet behind a router with a real firewall: what is in the way fails its
//! own step. Needs root, iproute2, nftables and dnsmasq.

#[path = "peers/impacket.rs"]
mod impacket;
#[path = "peers/netns.rs"]
mod netns;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use netns::{Network, Node};
use program::{Config, Ended, set};
use serde_json::Value;
use site::Site;
use tokio::time::Instant;

/// The clients' address, and what answers them: DNS, and KMS at port 1688 of the same machine. At the
/// other address of that machine every port is closed.
const CLIENT: &str = "10.88.1.2";
const CLIENT_V6: &str = "fd88:1::2";
const SECOND: &str = "10.88.3.2";
const SERVER_V6: &str = "fd88:2::2";

/// `dead.test` names a host whose port is closed; `good.test` one that answers, by IPv4 and IPv6.
fn site() -> Site {
    let record =
        |domain: &str, host: &str| format!("srv-host=_vlmcs._tcp.{domain},{host},1688,0,0");
    let site = Site::start(&[
        record("dead.test", "dead.test"),
        record("good.test", "kms.good.test"),
        record("six.test", "kms.six.test"),
        "host-record=dead.test,10.88.2.3".to_owned(),
        "host-record=kms.good.test,10.88.2.2".to_owned(),
        format!("host-record=kms.six.test,{SERVER_V6}"),
    ]);
    site.network.ip(Node::Server, "addr add 10.88.2.3/24 dev eth0");
    site
}

const SETTINGS: &str = "[dns]\ntimeout = \"500ms\"\nattempts = 2\n[probe]\ntimeout = \"1s\"\n\
    [[resolver]]\nname = \"four\"\nservers = [\"10.88.2.2\"]\n\
    [[resolver]]\nname = \"six\"\nservers = [\"[fd88:2::2]\"]\n";
/// All dead ends, by these settings: 2 × timeout × attempts, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(2 * 500 * 2 / 1000 + 3);

/// What one run must show.
struct Expected<'a> {
    /// The state of each step, in their order: source, servers, suffixes, hosts, connect, shares, counts,
    /// verdict.
    steps: &'a str,
    client_error: Option<&'a str>,
    exit: i32,
}

const ALL_GOOD: Expected = Expected {
    steps: "passed passed passed passed passed info skipped passed",
    client_error: None,
    exit: 0,
};

#[test]
fn each_thing_in_the_way_fails_its_own_step() {
    let site = site();
    let lab = profile("four", "[\"nowhere.test\", \"good.test\"]", CLIENT, "10.88.1.0/24");
    let drop = "timeout";
    for (name, firewall, expected, outcome) in [
        ("all good", "", ALL_GOOD, "kms"),
        ("1688 dropped", "tcp dport 1688 drop", all_dead(), drop),
        ("1688 rejected", "tcp dport 1688 reject with tcp reset", all_dead(), "refused"),
        (
            "1688 prohibited",
            "tcp dport 1688 reject with icmp type admin-prohibited",
            all_dead(),
            "prohibited",
        ),
        (
            "DNS over UDP only",
            "tcp dport 53 drop",
            Expected {
                steps: "passed warning passed passed passed info skipped passed",
                exit: 1,
                ..ALL_GOOD
            },
            "kms",
        ),
        (
            "DNS dropped",
            "meta l4proto { tcp, udp } th dport 53 drop",
            Expected {
                steps: "passed failed failed skipped skipped skipped skipped failed",
                client_error: Some("0x800705B4"),
                exit: 2,
            },
            "",
        ),
    ] {
        let watch = Watch::begin(&site.network, firewall);
        let run = preflight(&site, &lab, name);
        run.expect(name, &expected);
        let connect = run.step("connect");
        let seen = connect["evidence"][0]["outcome"].as_str().unwrap_or_default();
        assert_eq!(seen, outcome, "{name}: {connect}");
        if name == "DNS dropped" {
            let says = "none of 2 suffixes is known to have a KMS record: the lookup in nowhere.test fails (timeout)";
            assert_eq!(run.step("suffixes")["message"], says, "unknown is not absent");
        }
        let remedy = run.step("verdict")["remedy"].as_str().unwrap_or_default().to_owned();
        let mends = match name {
            "1688 dropped" => {
                "Open the way for these clients to TCP port 1688 of kms.good.test on the firewall on the way. "
            }
            "1688 prohibited" => {
                "Open the way for these clients to TCP port 1688 of kms.good.test on 10.88.1.1. "
            }
            "1688 rejected" => "Start the host and open its firewall",
            "DNS dropped" => "Mend the DNS servers of these clients, or open UDP and TCP port 53",
            _ => "",
        };
        assert!(remedy.starts_with(mends), "{name}: {remedy}");
        assert_eq!(remedy.is_empty(), mends.is_empty(), "{name}: {remedy}");
        let (sent, arrived) = watch.end();
        let is_dns_only = outcome.is_empty();
        assert_eq!(sent, from(CLIENT, !is_dns_only), "{name}: what left the subnet");
        let is_kms_let_through = outcome == "kms";
        let expected = if is_dns_only { set([]) } else { from(CLIENT, is_kms_let_through) };
        assert_eq!(arrived, expected, "{name}: what the servers saw");
    }
}

/// Every step up to the hosts passes, and none of them answers.
fn all_dead() -> Expected<'static> {
    Expected {
        steps: "passed passed passed passed failed skipped skipped failed",
        client_error: Some("0xC004F074"),
        exit: 2,
    }
}

#[test]
fn a_dead_first_suffix_hides_the_second() {
    let site = site();
    let lab = profile("four", "[\"dead.test\", \"good.test\"]", CLIENT, "10.88.1.0/24");
    let watch = Watch::begin(&site.network, "");
    let run = preflight(&site, &lab, "hidden");
    run.expect("hidden", &all_dead());
    let verdict = run.step("verdict");
    assert_eq!(
        verdict["message"],
        "Windows and Office will fail with 0xC004F074: no host that it names answers (dead.test); \
         kms.good.test in good.test is up, but is never asked for"
    );
    assert!(
        verdict["remedy"].as_str().is_some_and(|text| text.starts_with("Remove the dead records"))
    );
    let suffixes = run.step("suffixes");
    assert_eq!(suffixes["evidence"][0]["then"], "ends the search");
    assert_eq!(suffixes["evidence"][1]["then"], "is not reached");
    assert!(run.checks().contains("profile-shadowed"), "{:?}", run.checks());
    assert_eq!(watch.end().1, from(CLIENT, true));
}

#[test]
fn a_machine_outside_the_subnet_says_so_and_goes_on() {
    let site = site();
    let lab = "[[profile]]\nname = \"lab\"\nresolver = \"four\"\nsuffixes = [\"good.test\"]\n\
               subnet = \"10.77.0.0/24\"\n";
    let watch = Watch::begin(&site.network, "");
    let run = preflight(&site, lab, "outside");
    let expected = Expected {
        steps: "warning passed passed passed passed info skipped passed",
        exit: 1,
        ..ALL_GOOD
    };
    run.expect("outside", &expected);
    let source = run.step("source")["message"].as_str().expect("a text").to_owned();
    assert!(
        source.starts_with("this machine asks from 10.88.1.2 (eth0), outside 10.77.0.0/24"),
        "{source}"
    );
    assert_eq!(watch.end().1, from(CLIENT, true));
}

#[test]
fn a_second_interface_is_the_way() {
    let site = site();
    let network = &site.network;
    let client = network.name(Node::Client);
    network.ip(Node::Router, &format!("link add eth3 type veth peer name eth9 netns {client}"));
    for (node, device, address) in
        [(Node::Router, "eth3", "10.88.3.1"), (Node::Client, "eth9", SECOND)]
    {
        network.ip(node, &format!("addr add {address}/24 dev {device}"));
        network.ip(node, &format!("link set {device} up"));
    }
    network.ip(Node::Client, "route add default via 10.88.3.1 dev eth9 metric 200");
    let lab = "[[profile]]\nname = \"lab\"\nresolver = \"four\"\nsuffixes = [\"good.test\"]\n\
               subnet = \"10.88.3.0/24\"\ninterface = \"eth9\"\n";
    let watch = Watch::begin(network, "");
    let run = preflight(&site, lab, "interface");
    run.expect("interface", &ALL_GOOD);
    assert_eq!(
        run.step("source")["message"],
        "this machine asks from 10.88.3.2 (eth9), within 10.88.3.0/24"
    );
    assert_eq!(watch.end(), (from(SECOND, true), from(SECOND, true)));
    for (node, device, says) in [
        (Node::Router, "eth3", "the interface eth9 has no link"),
        (Node::Client, "eth9", "the interface eth9 is down"),
    ] {
        network.ip(node, &format!("link set {device} down"));
        let run = preflight(&site, lab, says);
        assert_eq!((&run.step("source")["message"], run.exit), (&says.into(), Some(2)));
        assert_eq!(run.step("verdict")["state"], "unknown");
    }
}

#[test]
fn ipv6_alone_is_enough() {
    let site = site();
    let _relay = Relay::start(&site.network);
    let lab = profile("six", "[\"six.test\"]", CLIENT_V6, "fd88:1::/64");
    let watch = Watch::begin(&site.network, "");
    preflight(&site, &lab, "IPv6").expect("IPv6", &ALL_GOOD);
    assert_eq!(watch.end().1, from(CLIENT_V6, true));
    // The host of this one has no address in the family of the clients.
    let lab = profile("six", "[\"good.test\"]", CLIENT_V6, "fd88:1::/64");
    let run = preflight(&site, &lab, "no IPv6 address");
    assert_eq!(run.step("hosts")["state"], "unknown");
    assert_eq!(run.step("hosts")["evidence"][0]["addresses"], "has no IPv6 address");
}

#[test]
fn a_preset_host_that_is_dead_switches_the_good_ones_off() {
    let site = site();
    let mut lab = profile("four", "[\"good.test\"]", CLIENT, "10.88.1.0/24");
    lab.push_str("kms_host = \"dead.test\"\n");
    let watch = Watch::begin(&site.network, "");
    let run = preflight(&site, &lab, "preset");
    let expected = Expected {
        steps: "passed passed skipped passed failed skipped skipped failed",
        ..all_dead()
    };
    run.expect("preset", &expected);
    assert!(run.checks().contains("profile-pinned"), "{:?}", run.checks());
    assert_eq!(watch.end().1, from(CLIENT, true));
    // Office alone has its own: Windows is served.
    let mut lab = profile("four", "[\"good.test\"]", CLIENT, "10.88.1.0/24");
    lab.push_str("office_kms_host = \"dead.test\"\n");
    let run = preflight(&site, &lab, "preset for Office");
    assert_eq!(
        run.step("verdict")["message"],
        "Windows will find kms.good.test through good.test; Office will fail with 0xC004F074: the fixed host \
         does not answer"
    );
    assert_eq!(run.exit, Some(2));
}

/// A profile from a source.
fn profile(resolver: &str, suffixes: &str, source: &str, subnet: &str) -> String {
    format!(
        "[[profile]]\nname = \"lab\"\nresolver = \"{resolver}\"\nsuffixes = {suffixes}\n\
         source = \"{source}\"\nsubnet = \"{subnet}\"\n"
    )
}

/// What a preflight said.
struct Run {
    json: Value,
    exit: Option<i32>,
    took: Duration,
}

fn preflight(site: &Site, profile: &str, name: &str) -> Run {
    let config = Config::new(&[SETTINGS, profile].concat());
    let began = Instant::now();
    let mut command = site.client();
    let ended = Ended::of(command.args(["preflight", "--format", "json", "-c"]).arg(config.path()));
    let took = began.elapsed();
    let json = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{name}: {error}: {ended:?}"));
    Run { json, exit: ended.code, took }
}

impl Run {
    fn expect(&self, name: &str, expected: &Expected) {
        let steps = self.json["preflight"][0]["steps"].as_array().expect("steps");
        let states: Vec<&str> = steps.iter().filter_map(|step| step["state"].as_str()).collect();
        assert_eq!(states.join(" "), expected.steps, "{name}: {:#}", self.json["preflight"]);
        let code = &self.json["preflight"][0]["client_error"];
        assert_eq!(code.as_str(), expected.client_error, "{name}");
        assert_eq!(self.exit, Some(expected.exit), "{name}");
        assert!(self.took < BOUND, "{name} took {:?}", self.took);
    }

    fn step(&self, id: &str) -> &Value {
        let steps = self.json["preflight"][0]["steps"].as_array().expect("steps");
        steps.iter().find(|step| step["id"] == id).expect("every step stands in the report")
    }

    fn checks(&self) -> BTreeSet<String> {
        let findings = self.json["findings"].as_array().expect("findings");
        findings.iter().filter_map(|finding| finding["check"].as_str()).map(str::to_owned).collect()
    }
}

/// Ports 53, and 1688 if KMS was tried, each from this source.
fn from(source: &str, with_kms: bool) -> BTreeSet<String> {
    let ports = [Some("53"), with_kms.then_some("1688")];
    ports.into_iter().flatten().map(|port| format!("{port} from {source}")).collect()
}

/// Who sends to which of the two ports: as it leaves the subnet, and as it arrives at the servers.
struct Watch<'n>(&'n Network);

impl<'n> Watch<'n> {
    /// Also makes these the router's rules for what it forwards.
    fn begin(network: &'n Network, forward: &str) -> Self {
        let towards = "iifname != \"eth2\" th dport { 53, 1688 } add";
        rules(
            network,
            Node::Router,
            &format!(
                "table inet filter {{ chain forward {{ type filter hook forward priority 0; {forward}; }}; }}\n\
                 table inet watch {{ {SETS} chain come {{ type filter hook prerouting priority -300; \
                 meta l4proto {{ tcp, udp }} ip saddr != 0.0.0.0 {towards} @four {{ th dport . ip saddr }}; \
                 meta l4proto {{ tcp, udp }} ip6 saddr != :: {towards} @six {{ th dport . ip6 saddr }}; }}; }}"
            ),
        );
        let towards = "iifname eth0 th dport { 53, 1688 } add";
        rules(
            network,
            Node::Server,
            &format!(
                "table inet watch {{ {SETS} chain come {{ type filter hook input priority -300; \
                 meta l4proto {{ tcp, udp }} ip saddr != 0.0.0.0 {towards} @four {{ th dport . ip saddr }}; \
                 meta l4proto {{ tcp, udp }} ip6 saddr != :: {towards} @six {{ th dport . ip6 saddr }}; }}; }}"
            ),
        );
        Self(network)
    }

    /// `PORT from SOURCE`, at the router and at the servers.
    fn end(self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.seen(Node::Router), self.seen(Node::Server))
    }

    fn seen(&self, node: Node) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        for name in ["four", "six"] {
            let mut nft = self.0.command(node, "nft");
            let output =
                nft.args(["-n", "list", "set", "inet", "watch", name]).output().expect("nft runs");
            let text = String::from_utf8(output.stdout).expect("text");
            let Some((_, elements)) = text.split_once("elements = {") else { continue };
            let elements = elements.split('}').next().unwrap_or_default();
            for element in elements.split(',') {
                let (port, source) = element.trim().split_once(" . ").expect("a pair");
                seen.insert(format!("{port} from {source}"));
            }
        }
        seen
    }
}

const SETS: &str = "set four { type inet_service . ipv4_addr; flags dynamic; size 64; }; \
    set six { type inet_service . ipv6_addr; flags dynamic; size 64; };";

/// Makes these all rules of a node.
fn rules(network: &Network, node: Node, rules: &str) {
    let mut command = network.command(node, "nft");
    let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft runs");
    let mut input = nft.stdin.take().expect("a pipe");
    input.write_all(format!("flush ruleset\n{rules}\n").as_bytes()).expect("nft reads");
    drop(input);
    assert!(nft.wait().expect("nft ends").success(), "nft refuses {rules}");
}

/// impacket listens on IPv4 only: what comes by IPv6 goes on to it. Killed when dropped.
struct Relay(Child);

impl Relay {
    const PROGRAM: &str = "
import socket, threading
def pipe(one, other):
    try:
        while data := one.recv(4096): other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError: other.close()
listener = socket.create_server(('fd88:2::2', 1688), family=socket.AF_INET6)
print('ready', flush=True)
while True:
    one = listener.accept()[0]
    other = socket.create_connection(('10.88.2.2', 1688))
    for pair in ((one, other), (other, one)): threading.Thread(target=pipe, args=pair).start()
";

    fn start(network: &Network) -> Self {
        let mut command = network.command(Node::Server, "python3");
        let spawned = command.args(["-c", Self::PROGRAM]).stdout(Stdio::piped()).spawn();
        let mut process = spawned.expect("python3 runs");
        let mut line = String::new();
        let output = process.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self(process)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
