//! Active Directory's DNS as Samba plays it: no EDNS, no truncation, denials of its own kind.

#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/samba_dns.rs"]
mod samba_dns;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::UdpSocket;
use std::time::Duration;

use dns::Server;
use program::{Ended, kmswatch, set};
use serde_json::Value;

/// As many as make nearly 3.5 KB of an answer.
const MANY: u16 = 60;

fn publish(server: &Server) {
    let mut lines = String::new();
    let mut add = |record: &str| writeln!(lines, "update add {record}\nsend").expect("it grows");
    add("_vlmcs._tcp.contoso.test. 300 SRV 10 75 1688 kms1.contoso.test.");
    add("_vlmcs._tcp.contoso.test. 300 SRV 10 25 1688 kms2.contoso.test.");
    add("kms1.contoso.test. 300 A 127.0.0.1");
    add("kms2.contoso.test. 300 CNAME kms1.contoso.test.");
    add("_vlmcs._tcp.text.contoso.test. 300 TXT nothing");
    add("_vlmcs._tcp.alias.contoso.test. 300 CNAME _vlmcs._tcp.contoso.test.");
    for weight in 0..MANY {
        add(&format!(
            "_vlmcs._tcp.large.contoso.test. 300 SRV 0 {weight} 1688 kms-host-with-a-rather-long-name-{weight}.contoso.test."
        ));
    }
    server.update(&lines);
}

/// The report of `check` about these domains.
fn check(server: &Server, domains: &[&str]) -> Value {
    let mut command = kmswatch();
    command.args(["check", "--format", "json", "--server", &server.address().to_string()]);
    Ended::of(command.args(domains)).report().json
}

#[test]
fn what_active_directory_says_is_understood() {
    let samba = samba_dns::samba_dns();
    publish(&samba);
    let domains = ["contoso.test", "alias.contoso.test", "text.contoso.test"];
    let others = ["nothing.contoso.test", "large.contoso.test", "elsewhere.test"];
    let report = check(&samba, &[domains, others].concat());
    let told = |domain: &Value| {
        let [answer] = domain["answers"].as_array().expect("a list").as_slice() else {
            panic!("one server was asked: {domain}")
        };
        let records = answer["records"].as_array().expect("a list").len();
        let (name, outcome) = (domain["name"].as_str(), answer["outcome"].as_str());
        let told = format!("{} {records} {}", outcome.expect("an outcome"), answer["flags"]);
        (name.expect("a name").to_owned(), told)
    };
    let told: BTreeMap<String, String> =
        report["domains"].as_array().expect("a list").iter().map(told).collect();
    // That it has validated (ad) is no more than our question, echoed.
    let expected = [
        ("contoso.test", r#"records 2 ["aa","ad"]"#),
        // It follows a CNAME for addresses, and not for SRV records.
        ("alias.contoso.test", r#"nodata 0 ["aa","ad"]"#),
        ("text.contoso.test", r#"nodata 0 ["aa","ad"]"#),
        ("nothing.contoso.test", r#"nxdomain 0 ["aa","ad"]"#),
        ("large.contoso.test", r#"records 60 ["aa","ad"]"#),
        // Neither authority nor SOA record: it knows no such zone, and says that no such name is.
        ("elsewhere.test", r#"nxdomain 0 ["ad"]"#),
    ];
    let expected = expected.map(|(name, told)| (name.to_owned(), told.to_owned()));
    assert_eq!(told, BTreeMap::from(expected));
    // The alias behind a host's name is seen through.
    let hosts = report["hosts"].as_array().expect("a list");
    let of = |target: &str| {
        let host = hosts.iter().find(|host| host["target"] == target).expect("a host");
        host["endpoints"][0]["address"].clone()
    };
    assert_eq!([of("kms1.contoso.test"), of("kms2.contoso.test")], ["127.0.0.1", "127.0.0.1"]);
}

#[test]
fn its_large_answers_need_neither_edns_nor_tcp() {
    let samba = samba_dns::samba_dns();
    publish(&samba);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(samba.address()).expect("loopback");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout above zero");
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x06_vlmcs\x04_tcp\x05large\x07contoso\x04test\0\0\x21\0\x01";
    socket.send(query).expect("it listens");
    let mut answer = vec![0; 65_535];
    let length = socket.recv(&mut answer).expect("an answer within 5 s");
    assert!(length > 3400, "{length} octets, though nobody said that more than 512 are taken");
    assert_eq!((answer[2] & 2, answer[7]), (0, 60), "whole");
    let report = check(&samba, &["large.contoso.test"]);
    let records = report["domains"][0]["answers"][0]["records"].as_array().expect("a list");
    let weights = records.iter().map(|record| record["weight"].to_string());
    let expected: Vec<String> = (0..MANY).map(|weight| weight.to_string()).collect();
    assert_eq!(
        weights.collect::<std::collections::BTreeSet<_>>(),
        set(expected.iter().map(String::as_str))
    );
}
