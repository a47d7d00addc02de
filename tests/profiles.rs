//! `check` of declared clients on a real BIND: what they see over their own paths, and from where they
//! are seen.

#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/rpc.rs"]
mod rpc;

use std::collections::BTreeSet;

use dns::{Bind, Zone};
use program::{Config, Ended, check, kmswatch, set};
use rpc::{Behaviour, RpcPeer};
use serde_json::{Value, json};

/// A BIND that answers everybody but 127.0.0.42, and a KMS listener that `contoso.test` names.
fn site() -> (Bind, RpcPeer) {
    let host = RpcPeer::start(Behaviour::Kms);
    let records = format!("_vlmcs._tcp SRV 0 0 {} kms\nkms A 127.0.0.1\n", host.address().port());
    let zones = [
        Zone { name: "contoso.test", records: &records },
        Zone { name: "berlin.contoso.test", records: "" },
    ];
    let bind = Bind::start_with("querylog yes; allow-query { !127.0.0.42; any; };", &zones);
    (bind, host)
}

fn config(bind: &Bind, profiles: &str) -> String {
    format!(
        "[dns]\ntimeout = \"1s\"\nattempts = 1\n[probe]\ntimeout = \"2s\"\n\
         [[resolver]]\nname = \"hq\"\nservers = [\"{}\"]\n{profiles}",
        bind.address()
    )
}

const LAB: &str = "[[profile]]\nname = \"lab\"\nsource = \"127.0.0.41\"\nsubnet = \"127.0.0.0/24\"\n\
                   suffixes = [\"berlin.contoso.test\", \"contoso.test\"]\n";
const SHOP: &str = "[[profile]]\nname = \"shop\"\nsource = \"127.0.0.42\"\n\
                    suffixes = [\"contoso.test\"]\n";

/// Who asked for SRV records, and for whose, as the server saw it.
fn asked(bind: &Bind) -> BTreeSet<String> {
    let log = bind.log();
    let queries = log.lines().filter_map(|line| {
        let (before, query) = line.split_once(" query: ")?;
        let name = query.split_once(" IN SRV ")?.0;
        let (_, client) = before.split_once("client @")?;
        let source = client.split_whitespace().nth(1)?.split('#').next()?;
        Some(format!("{source} {name}"))
    });
    queries.collect()
}

#[test]
fn each_profile_asks_and_connects_from_its_own_source() {
    let (bind, host) = site();
    let report = check(&config(&bind, &[LAB, SHOP].concat()));
    assert_eq!(report.code, Some(2), "{}", report.json);
    let told = |profile: &Value| {
        let keys = ["name", "status", "domain", "kms_hosts", "client_error", "path"];
        Value::from_iter(keys.map(|key| profile[key].clone()))
    };
    let kms = format!("kms.contoso.test:{}", host.address().port());
    let profiles: Vec<Value> =
        report.json["profiles"].as_array().expect("a list").iter().map(told).collect();
    assert_eq!(
        profiles,
        [
            json!(["lab", "ok", "contoso.test", [kms], null, "127.0.0.41"]),
            json!(["shop", "critical", null, [], "0x8007232D", "127.0.0.42"]),
        ]
    );
    let expected = [
        "127.0.0.41 _vlmcs._tcp.berlin.contoso.test",
        "127.0.0.41 _vlmcs._tcp.contoso.test",
        "127.0.0.42 _vlmcs._tcp.contoso.test",
    ];
    assert_eq!(asked(&bind), set(expected));
    let seen: Vec<String> = host.seen().iter().map(|seen| seen.source.ip().to_string()).collect();
    assert_eq!(seen, ["127.0.0.41"], "one bind, from the only profile that finds it");
}

#[test]
fn the_human_report_shows_who_finds_what() {
    let (bind, host) = site();
    let config = Config::new(&config(&bind, &[LAB, SHOP].concat()));
    let mut command = kmswatch();
    let ended = Ended::of(command.args(["check", "-c"]).arg(config.path()));
    let port = host.address().port();
    let column = format!("kms.contoso.test:{port}");
    let matrix: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .skip_while(|line| !line.contains("finds hosts in"))
        .take_while(|line| !line.is_empty())
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let expected = [
        vec!["profile", "finds hosts in", "clients show", column.as_str()],
        vec!["✔ lab", "contoso.test", "nothing", "100 % up"],
        vec!["✘ shop", "none", "0x8007232D", "-"],
    ];
    assert_eq!(matrix, expected, "{}", ended.stdout);
}

#[test]
fn profiles_that_named_domains_leave_out_are_told() {
    let (bind, _host) = site();
    let config = Config::new(&config(&bind, &[LAB, SHOP].concat()));
    let told = |domains: &[&str]| {
        let mut command = kmswatch();
        let ended = Ended::of(command.arg("check").args(domains).arg("-c").arg(config.path()));
        (ended.code, ended.stderr.contains("are not audited: 2"))
    };
    assert_eq!(told(&[]), (Some(2), false));
    assert_eq!(told(&["contoso.test"]), (Some(0), true), "asked of the resolver itself");
}

#[test]
fn a_source_that_is_not_here_is_told_and_says_nothing_of_the_clients() {
    let (bind, host) = site();
    let profile =
        LAB.replace("127.0.0.41", "192.0.2.41").replace("subnet = \"127.0.0.0/24\"\n", "");
    let report = check(&config(&bind, &profile));
    assert_eq!(report.code, Some(2), "{}", report.json);
    let failure = report.finding("server-failure");
    let message = failure["message"].as_str().expect("a text");
    let server = bind.address();
    assert_eq!(
        message,
        format!(
            "{server} cannot be asked over its path: the source 192.0.2.41 is not on this machine, \
             which says nothing of the server"
        )
    );
    let remedy = failure["remedy"].as_str().expect("a text");
    assert!(remedy.starts_with("Give this machine the source or interface"), "{remedy}");
    assert!(remedy.contains("ip address add 192.0.2.41 dev INTERFACE"), "{remedy}");
    assert!(!remedy.contains("Restart-Service"), "{remedy}");
    let findings = report.json["findings"].as_array().expect("a list");
    let unknown = || findings.iter().filter(|finding| finding["check"] == "dns-failure");
    assert_eq!(unknown().count(), 2, "of two suffixes");
    assert!(unknown().all(|finding| finding["client_error"].is_null()), "nothing was asked");
    let profile = &report.json["profiles"][0];
    assert_eq!((&profile["status"], &profile["client_error"]), (&json!("ok"), &Value::Null));
    assert_eq!(profile["windows"]["verdict"], "unknown");
    assert_eq!((asked(&bind), host.connections()), (BTreeSet::new(), 0), "no other path is taken");
}
