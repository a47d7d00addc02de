//! What a daemon remembers over restarts: records that left while it was down, and since when trouble has
//! been there; and what a silent server must not make it believe.

#[path = "peers/daemon.rs"]
mod daemon;
#[path = "peers/dns.rs"]
mod dns;
#[path = "peers/estate.rs"]
mod estate;
#[path = "peers/program.rs"]
mod program;
#[path = "peers/rpc.rs"]
mod rpc;

use std::path::Path;

use daemon::Daemon;
use estate::{Estate, LISTED, OWNER};
use jiff::Timestamp;
use kmswatch::clock::Clock;
use program::{Ended, findings_of, kmswatch, set};
use serde_json::{Value, json};

#[test]
fn a_record_that_left_while_nobody_watched_is_found_at_start() {
    let (estate, folder) = (Estate::start(), tempfile::tempdir().expect("a folder"));
    let config = config(&estate, folder.path(), LISTED);
    let daemon = started(&config);
    assert_eq!(daemon.json("/api/v1/findings"), Value::Array(Vec::new()));
    ended(daemon);
    estate.update(&format!("update delete {OWNER} SRV 10 25 PORT kms2.contoso.test."));

    let daemon = started(&config);
    let findings = daemon.json("/api/v1/findings");
    let expected = [
        "record-vanished record:contoso.test/kms2.contoso.test:PORT critical active",
        "record-missing record:contoso.test/kms2.contoso.test:PORT critical suppressed",
        "redundancy-none domain:contoso.test info active",
    ];
    assert_eq!(findings_of(&findings, &estate.names()), set(expected));
    let series = daemon.metrics("kmswatch_record_last_seen_timestamp_seconds{");
    assert!(series.iter().any(|line| line.contains("target=\"kms2.contoso.test\"")), "{series:?}");
    let since = since(&findings);
    ended(daemon);

    let daemon = started(&config);
    let again = daemon.json("/api/v1/findings");
    assert_eq!(self::since(&again), since, "a restart is no new beginning");
    ended(daemon);
    let events = journal(folder.path(), &[]);
    let vanished: Vec<&Value> = events.iter().filter(|event| event["kind"] == "vanished").collect();
    assert_eq!(vanished.len(), 1, "{events:?}");
    assert_eq!(vanished[0]["host"], format!("kms2.contoso.test:{}", estate.port));
    assert_eq!(vanished[0]["domain"], "contoso.test");
    let elsewhere = journal(folder.path(), &["elsewhere.test"]);
    assert_eq!(kinds(&elsewhere), ["started"; 3], "and nothing else");
}

/// The kinds of events.
fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["kind"].as_str().expect("a kind")).collect()
}

#[test]
fn what_changed_while_nobody_watched_is_told_with_the_time_that_nobody_did() {
    let (estate, folder) = (Estate::start(), tempfile::tempdir().expect("a folder"));
    let config = config(&estate, folder.path(), LISTED);
    let clock = Clock::start();
    let daemon = started(&config);
    let stopping = clock.now();
    ended(daemon);
    let stopped = clock.now();
    estate.update(&format!("update delete {OWNER} SRV"));
    let daemon = started(&config);
    // The status is committed within a second; then it is killed.
    let told = daemon.wait_for("the status", || {
        let told = journal(folder.path(), &["contoso.test"]);
        let statuses = told.iter().filter(|event| event["kind"] == "status").count();
        if statuses == 2 { Ok(told) } else { Err(format!("{told:?}")) }
    });
    let last = time(&told[0]["time"]);
    drop(daemon);
    let killed = clock.now();
    ended(started(&config));
    let events = journal(folder.path(), &["contoso.test"]);
    let of = |kind: &str| -> Vec<&Value> {
        events.iter().rev().filter(|event| event["kind"] == kind).collect()
    };
    let statuses: Vec<&Value> = of("status").iter().map(|event| &event["evidence"]).collect();
    let expected = [json!({ "status": "ok" }), json!({ "status": "critical", "was": "ok" })];
    assert_eq!(statuses, expected.iter().collect::<Vec<_>>(), "once each");
    let until: Vec<&Value> =
        of("started").iter().map(|event| &event["evidence"]["watched_until"]).collect();
    assert_eq!((until.len(), until[0]), (3, &Value::Null));
    let (after_stop, after_kill) = (time(until[1]), time(until[2]));
    assert!(stopping <= after_stop && after_stop <= stopped, "{stopping} {after_stop} {stopped}");
    assert!(last <= after_kill && after_kill <= killed, "{last} {after_kill} {killed}");
}

/// To the millisecond, as the journal has it.
fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn a_server_that_is_silent_after_a_restart_makes_nothing_vanish() {
    let (estate, folder) = (Estate::start(), tempfile::tempdir().expect("a folder"));
    let config = config(&estate, folder.path(), LISTED);
    ended(started(&config));
    estate.update(&format!("update delete {OWNER} SRV"));
    // One server says that the records are gone; the other, which had them too, says nothing.
    estate.second.pause();
    let daemon = started(&config);
    let checks = || -> Vec<String> {
        let findings = daemon.json("/api/v1/findings");
        let all = findings.as_array().expect("a list").iter();
        all.map(|finding| finding["check"].as_str().expect("a check").to_owned()).collect()
    };
    assert!(checks().iter().any(|check| check == "server-failure"), "{:?}", checks());
    assert!(!checks().iter().any(|check| check == "record-vanished"), "{:?}", checks());
    estate.second.resume();
    daemon.wait_for("the records to have vanished", || {
        let checks = checks();
        let vanished = checks.iter().filter(|check| *check == "record-vanished").count();
        if vanished == 2 { Ok(()) } else { Err(format!("{checks:?}")) }
    });
    ended(daemon);
}

#[test]
fn a_second_daemon_on_the_same_journal_is_refused_and_the_first_goes_on() {
    let (estate, folder) = (Estate::start(), tempfile::tempdir().expect("a folder"));
    let config = config(&estate, folder.path(), LISTED);
    let daemon = started(&config);
    let file = folder.path().join("second.toml");
    std::fs::write(&file, format!("{config}\n[web]\nlisten = \"127.0.0.1:0\"\n")).expect("written");
    let second = Ended::of(kmswatch().args(["run", "-c"]).arg(&file));
    assert_eq!(second.code, Some(3), "{}", second.stderr);
    assert!(second.stderr.contains("another kmswatch"), "{}", second.stderr);
    assert_eq!(daemon.metrics("kmswatch_journal_ok"), ["kmswatch_journal_ok 1"]);
    assert_eq!(daemon.json("/api/v1/report")["journal"]["condition"], "durable");
    ended(daemon);
}

fn config(estate: &Estate, folder: &Path, domains: &str) -> String {
    let path = folder.join("kmswatch.db").display().to_string();
    let settings = format!("[audit]\ninterval = \"1s\"\n[journal]\npath = {path:?}\n");
    estate.config(&settings, domains)
}

fn started(config: &str) -> Daemon {
    let daemon = Daemon::start(config);
    daemon.wait_until_ready();
    daemon
}

fn ended(mut daemon: Daemon) {
    daemon.signal("-TERM");
    assert_eq!(daemon.wait().0, Some(0), "{}", daemon.log());
}

/// Check and beginning of each finding.
fn since(findings: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = findings.as_array().expect("a list").iter();
    all.map(|finding| (text(&finding["check"]), text(&finding["since"]))).collect()
}

fn journal(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let shown = Ended::of(
        kmswatch().current_dir(folder).args(["journal", "--format", "json"]).args(arguments),
    );
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    serde_json::from_str(&shown.stdout).expect("a list")
}
