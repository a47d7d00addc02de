//! `check` by a client behind a router with a real firewall: what is in the way shows in the report.
//! Needs root, iproute2, nftables and dnsmasq.

#[path = "peers/impacket.rs"]
mod impacket;
#[path = "peers/netns.rs"]
mod netns;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/site.rs"]
mod site;

use netns::Node;
use program::{Report, set};
use serde_json::{Value, json};
use site::Site;

const SETTINGS: &str = "[dns]\ntimeout = \"500ms\"\nattempts = 2\n[probe]\ntimeout = \"1s\"\n\
    [[resolver]]\nname = \"site\"\nservers = [\"10.88.2.2\"]\n";
const LISTED: &str = "[[domain]]\nname = \"contoso.test\"\nhosts = [\"kms.contoso.test\"]\n";

fn site() -> Site {
    Site::start(&[
        "srv-host=_vlmcs._tcp.contoso.test,kms.contoso.test,1688,0,0".to_owned(),
        "host-record=kms.contoso.test,10.88.2.2".to_owned(),
    ])
}

fn expect(name: &str, report: &Report, code: i32, expected: &[&str]) {
    assert_eq!(report.findings(&[]), set(expected.iter().copied()), "{name}: {}", report.json);
    assert_eq!(report.code, Some(code), "{name}");
}

const ROUTER: &str = "10.88.1.1";
const ONE_HOST: &str = "redundancy-none domain:contoso.test info active";
const ALL_DOWN: [&str; 3] = [
    "all-hosts-down domain:contoso.test critical active",
    "host-down host:kms.contoso.test:1688 critical suppressed",
    ONE_HOST,
];

#[test]
fn a_firewall_before_the_host_is_told_by_what_it_does() {
    let site = site();
    let config = [SETTINGS, LISTED].concat();
    expect("open", &site.check(&config), 0, &[ONE_HOST]);
    for (action, outcome, rejected_by) in [
        ("drop", "timeout", None),
        ("reject with tcp reset", "refused", None),
        ("reject with icmp type port-unreachable", "refused", Some(ROUTER)),
        ("reject with icmp type host-unreachable", "unreachable", Some(ROUTER)),
        ("reject with icmp type net-unreachable", "unreachable", Some(ROUTER)),
        ("reject with icmp type admin-prohibited", "prohibited", Some(ROUTER)),
        ("reject with icmp type host-prohibited", "prohibited", Some(ROUTER)),
        ("reject with icmp type net-prohibited", "prohibited", Some(ROUTER)),
    ] {
        site.network.firewall(1688, action);
        let report = site.check(&config);
        expect(action, &report, 2, &ALL_DOWN);
        let host = &report.json["hosts"][0];
        assert_eq!(host["status"], "down", "{action}");
        assert_eq!(host["endpoints"][0]["outcome"], outcome, "{action}");
        let by = rejected_by.map_or_else(String::new, |by| format!(" by {by}"));
        let message = format!("kms.contoso.test:1688 does not answer: 10.88.2.2 {outcome}{by}");
        assert_eq!(report.finding("host-down")["message"], message, "{action}");
        let told = &host["endpoints"][0]["rejected_by"];
        assert_eq!(*told, rejected_by.map_or(Value::Null, Value::from), "{action}");
    }
}

#[test]
fn dns_that_is_dropped_is_unknown_and_not_absent() {
    let site = site();
    site.network.forward("udp dport 53 drop");
    let report = site.check(&[SETTINGS, LISTED].concat());
    expect(
        "dropped",
        &report,
        2,
        &[
            "dns-failure domain:contoso.test critical suppressed",
            "server-failure server:10.88.2.2 critical active",
        ],
    );
    assert_eq!(report.json["domains"][0]["answers"][0]["outcome"], "timeout");
    assert_eq!(report.finding("dns-failure")["client_error"], "0x800705B4");
    site.network.forward("udp dport 53 reject with icmp type admin-prohibited");
    let report = site.check(&[SETTINGS, LISTED].concat());
    assert_eq!(report.json["domains"][0]["answers"][0]["outcome"], "unreachable");
}

#[test]
fn a_truncated_answer_is_not_used_where_tcp_is_refused() {
    let many = (1..=70)
        .map(|number| format!("srv-host=_vlmcs._tcp.many.test,kms{number}.contoso.test,1688,0,0"));
    let records: Vec<String> = many
        .chain([
            "srv-host=_vlmcs._tcp.contoso.test,kms.contoso.test,1688,0,0".to_owned(),
            "host-record=kms.contoso.test,10.88.2.2".to_owned(),
        ])
        .collect();
    let site = Site::start(&records);
    let config =
        [SETTINGS, LISTED, "[[domain]]\nname = \"many.test\"\nkms = \"optional\"\n"].concat();
    site.network.forward("tcp dport 53 reject with tcp reset");
    let report = site.check(&config);
    expect("refused", &report, 2, &[ONE_HOST, "dns-failure domain:many.test critical active"]);
    let answer = &report.json["domains"][1]["answers"][0];
    assert_eq!(answer["records"], json!([]));
    assert_eq!(answer["flags"], json!(["tc"]));
    site.network.forward("");
    let report = site.check(&config);
    let answer = &report.json["domains"][1]["answers"][0];
    assert_eq!(answer["outcome"], "records");
    assert_eq!(answer["records"].as_array().expect("a list").len(), 70);
}

/// What DNS points at is probed once and no more, and nowhere but there.
#[test]
fn targets_on_the_machine_itself_and_link_local_are_probed_like_any_other() {
    let site = Site::start(&[
        "srv-host=_vlmcs._tcp.contoso.test,self.contoso.test,1688,0,0".to_owned(),
        "srv-host=_vlmcs._tcp.contoso.test,metadata.contoso.test,80,0,0".to_owned(),
        "host-record=self.contoso.test,127.0.0.1".to_owned(),
        "host-record=metadata.contoso.test,169.254.169.254".to_owned(),
    ]);
    // Everything leads to the server, whose firewall counts what comes and refuses it.
    site.network.ip(Node::Server, "addr add 169.254.169.254/32 dev lo");
    site.network.ip(Node::Router, "route add 169.254.169.254/32 via 10.88.2.2");
    site.network.forward("ip daddr 169.254.169.254 tcp flags syn counter");
    let report = site.check(&[SETTINGS, "[[domain]]\nname = \"contoso.test\"\n"].concat());
    expect(
        "link-local",
        &report,
        2,
        &[
            "all-hosts-down domain:contoso.test critical active",
            "host-down host:metadata.contoso.test:80 critical suppressed",
            "host-down host:self.contoso.test:1688 critical suppressed",
            "port-unusual record:contoso.test/metadata.contoso.test:80 info active",
        ],
    );
    let rules = site.network.command(Node::Router, "nft").args(["-j", "list", "ruleset"]).output();
    let rules: Value =
        serde_json::from_slice(&rules.expect("nft runs").stdout).expect("nft's JSON");
    let packets = rules["nftables"].as_array().expect("a list").iter().find_map(|entry| {
        let counter = entry["rule"]["expr"].as_array()?;
        counter.iter().find_map(|word| word["counter"]["packets"].as_u64())
    });
    // The published port, and 1688 to tell a mismatch.
    assert_eq!(packets, Some(2), "{rules}");
}
