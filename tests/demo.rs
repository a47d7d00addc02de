//! The demo: what each of its domains shows, at first and after each thing that happens.

#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/program.rs"]
mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use daemon::{Daemon, request};
use kmswatch::config;
use kmswatch::daemon::{Signals, Start};
use kmswatch::demo::{ANY_PORT, Act, Lab, intro};
use program::{Config, Ended, kmswatch, wait_for};
use serde_json::Value;

/// What each domain shows, all of it: active findings, and in parentheses those that they explain.
const SHOWN: &str = "
east.contoso.test
west.contoso.test
guests.contoso.test
missing.contoso.test     srv-missing/critical
empty.contoso.test       srv-empty/critical
declined.contoso.test    srv-declined/critical
broken.contoso.test      dns-failure/critical
cut-off.contoso.test     server-failure/critical server-failure/critical (dns-failure/critical)
lame.contoso.test        server-failure/warning
split.contoso.test       server-divergence/warning
rogue.contoso.test       record-unexpected/critical
incomplete.contoso.test  record-missing/critical
drift.contoso.test       record-drift/warning
dotless.contoso.test     target-suffix-doubled/critical target-unresolvable/critical (host-down/warning)
port.contoso.test        port-mismatch/critical (host-down/warning)
web.contoso.test         host-not-kms/warning
any.contoso.test         host-accepts-any/warning
half.contoso.test        host-degraded/warning
silent.contoso.test      host-unconfirmed/warning
tier.contoso.test        tier-down/warning (host-down/warning)
last.contoso.test        redundancy-lost/warning (host-down/warning)
dead.contoso.test        all-hosts-down/critical (host-down/critical) (host-down/critical)
";

/// The findings that hit each domain, sorted.
type Shown = BTreeMap<String, Vec<String>>;

fn at_first() -> Shown {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let domain = words.next().expect("a domain");
        let mut findings: Vec<String> = words.collect();
        findings.sort();
        (domain, findings)
    };
    SHOWN.trim().lines().map(of_line).collect()
}

fn document(address: SocketAddr, path: &str) -> Value {
    let response = request(address, "GET", path, "");
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.body).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// What a daemon finds now. A finding that hits no domain fails the test.
fn shown(address: SocketAddr) -> Shown {
    let report = document(address, "/api/v1/report");
    let list = |key: &str| report[key].as_array().expect("a list").clone();
    let mut shown: Shown =
        list("domains").iter().map(|domain| (text(&domain["name"]), Vec::new())).collect();
    for finding in list("findings") {
        if text(&finding["subject"]).starts_with("profile:") {
            continue;
        }
        let told = format!("{}/{}", text(&finding["check"]), text(&finding["severity"]));
        let told = match finding["state"].as_str() {
            Some("active") => told,
            Some("suppressed") => format!("({told})"),
            other => panic!("{other:?}: {finding}"),
        };
        let hit = finding["domains"].as_array().expect("a list");
        assert!(!hit.is_empty(), "{finding}");
        for domain in hit {
            shown.get_mut(domain.as_str().expect("a name")).expect("a domain").push(told.clone());
        }
    }
    shown.values_mut().for_each(|findings| findings.sort());
    shown
}

/// What each profile's clients show, and the findings about it.
fn profiles(address: SocketAddr) -> Vec<(String, Value, Vec<String>)> {
    let report = document(address, "/api/v1/report");
    let findings = report["findings"].as_array().expect("a list");
    let about = |name: &str| {
        let subject = format!("profile:{name}");
        let about = findings.iter().filter(|finding| finding["subject"] == *subject);
        about.map(|finding| text(&finding["check"])).collect()
    };
    let profiles = report["profiles"].as_array().expect("a list").iter();
    profiles
        .map(|profile| {
            let name = text(&profile["name"]);
            let findings = about(&name);
            (name, profile["client_error"].clone(), findings)
        })
        .collect()
}

/// Waits until a daemon finds exactly this.
fn wait_until_shown(what: &str, address: SocketAddr, expected: &Shown) {
    wait_for(what, std::time::Duration::from_secs(20), || match shown(address) {
        found if found == *expected => Ok(()),
        found => {
            let differ = |(domain, findings): &(&String, &Vec<String>)| {
                expected.get(*domain) != Some(*findings)
            };
            Err(format!("{:?}", found.iter().filter(differ).collect::<Vec<_>>()))
        }
    });
}

/// The command itself, from its first word to its exit.
#[test]
fn the_demo_shows_what_it_tells_and_ends_when_asked() {
    for signal in ["-INT", "-TERM"] {
        let mut command = kmswatch();
        command.args(["demo", "--listen", "127.0.0.1:0"]);
        let mut demo = Daemon::of(&mut command, Config::new(""));
        demo.wait_until_ready();
        wait_until_shown("the demo", demo.address(), &at_first());
        let shown = profiles(demo.address());
        let expected = [
            ("east-office", Value::Null, &[][..]),
            ("new-subnet", "0x8007251D".into(), &["profile-no-kms"]),
            ("branch", "0xC004F074".into(), &["profile-shadowed"]),
            ("kiosks", Value::Null, &["profile-pinned"]),
        ];
        let expected = expected.map(|(name, code, checks)| {
            (name.to_owned(), code, checks.iter().map(ToString::to_string).collect())
        });
        assert_eq!(shown, expected);
        assert_eq!(request(demo.address(), "POST", "/-/reload", "").status, 403);
        let log = demo.log();
        let server = log.split_once("--server ").and_then(|(_, rest)| rest.split(' ').next());
        let mut check = kmswatch();
        check.args(["check", "missing.contoso.test", "--server", server.expect("an example")]);
        let checked = Ended::of(&mut check);
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stdout.contains("srv-missing"), "{checked:?}");
        demo.signal(signal);
        assert_eq!(demo.wait().0, Some(0), "{}", demo.log());
    }
}

/// The daemon of this process against the lab, which plays one act after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_appears_and_resolves() {
    let lab = Lab::start().await.expect("a lab");
    let mut plan = config::parse(&lab.config(ANY_PORT), "demo").expect("a config").plan;
    plan.kms_port = lab.kms_port();
    let listener = tokio::net::TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let told = intro(&lab, address, std::time::Duration::from_secs(10));
    let reload = Box::new(|| Err("there is no config file".to_owned()));
    let signals = Signals::new().expect("signals");
    let daemon = tokio::spawn(kmswatch::daemon::run(Start { signals, plan, listener, reload }));
    let blocking = tokio::runtime::Handle::current();
    let watched = tokio::task::spawn_blocking(move || {
        wait_for("the first audit", std::time::Duration::from_secs(20), || {
            match request(address, "GET", "/-/ready", "").status {
                200 => Ok(()),
                status => Err(status.to_string()),
            }
        });
        wait_until_shown("at first", address, &at_first());
        assert_eq!(told_by(&told), checks_of(&at_first()));
        for (act, hit, findings) in [
            (
                Act::LeaveDns,
                &["west.contoso.test"][..],
                "(record-missing/critical) record-vanished/critical",
            ),
            (Act::ReturnToDns, &[], ""),
            (Act::Die, &["east.contoso.test", "west.contoso.test"], "host-down/warning"),
            (Act::Revive, &[], ""),
        ] {
            blocking.block_on(lab.play(act)).expect("played");
            let mut expected = at_first();
            for domain in hit {
                let findings = findings.split(' ').map(str::to_owned);
                expected.get_mut(*domain).expect("a domain").extend(findings);
            }
            wait_until_shown(&format!("{act:?}"), address, &expected);
        }
    });
    watched.await.expect("all of it was seen");
    daemon.abort();
}

/// The checks that the intro names for each domain.
fn told_by(intro: &str) -> BTreeMap<String, BTreeSet<String>> {
    let of_line = |line: &str| {
        let (domain, shows) = line.trim().split_once(' ')?;
        let (ids, _) = shows.trim().split_once(": ")?;
        let ids = ids.split(", ").filter(|id| *id != "well").map(str::to_owned).collect();
        domain.ends_with(".contoso.test").then(|| (domain.to_owned(), ids))
    };
    let (_, table) = intro.split_once("Each domain").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    table.lines().filter_map(of_line).collect()
}

/// The checks of the active findings of each domain.
fn checks_of(shown: &Shown) -> BTreeMap<String, BTreeSet<String>> {
    let check = |finding: &String| finding.split_once('/').map(|(check, _)| check.to_owned());
    let active = |findings: &Vec<String>| {
        findings.iter().filter(|finding| !finding.starts_with('(')).filter_map(check).collect()
    };
    shown.iter().map(|(domain, findings)| (domain.clone(), active(findings))).collect()
}
