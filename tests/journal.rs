//! The journal on real disks: what it remembers, and what a kill, a full disk, a read-only one, a broken
//! file and a second process do to it.
//!
//! `KMSWATCH_KILLS` and `KMSWATCH_DAYS` make two of these as long as one likes, with figures on stderr.

#[path = "peers/program.rs"]
mod program;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kmswatch::clock::Clock;
use kmswatch::journal::{Journal, JournalError, Reader};
use kmswatch::model::finding::FindingId;
use kmswatch::model::journal::{
    Acknowledgement, Entry, Event, EventKind, EventQuery, JournalCondition, Remembered,
    SeenEndpoint, SeenRecord, SeenStatus, SeenUp, Witness,
};
use kmswatch::model::plan::JournalSettings;
use kmswatch::model::{Host, Name, Status};
use program::{Ended, kmswatch, wait_for};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);
const ALL: EventQuery = EventQuery {
    domains: Vec::new(),
    hosts: Vec::new(),
    since: None,
    kinds: Vec::new(),
    limit: 1 << 24,
};

fn settings(path: &Path) -> JournalSettings {
    JournalSettings { path: Some(path.to_owned()), ..JournalSettings::default() }
}

fn open(path: &Path) -> (Journal, Remembered) {
    Journal::open(&settings(path), Clock::start()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> JournalError {
    Journal::open(&settings(path), Clock::start()).map(drop).expect_err("refused")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kmswatch.db");
    (folder, path)
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn host(target: &str, port: u16) -> Host {
    Host { target: name(target), port }
}

fn witness(server: &str) -> Witness {
    Witness { server: server.into(), path: "".into() }
}

/// So many seconds after a time that is never too old to be kept.
fn second(after: i64) -> Timestamp {
    Timestamp::from_second(4_000_000_000 + after).expect("in range")
}

fn record(domain: &str, server: &str) -> SeenRecord {
    SeenRecord {
        domain: name(domain),
        witness: witness(server),
        host: host("kms.contoso.com", 1688),
        priority: 10,
        weight: 75,
        first_seen: second(0),
        last_seen: second(1),
        gone: None,
    }
}

fn event(at: Timestamp, kind: EventKind, domain: &str, evidence: Value) -> Event {
    let Value::Object(evidence) = evidence else { panic!("no object: {evidence}") };
    let servers = vec!["10.0.0.53".into(), "tcp://10.0.0.54".into()];
    let host = Some(host("kms.contoso.com", 1689));
    Event { at, kind, domain: Some(name(domain)), host, servers, evidence }
}

fn numbered(number: i64, at: Timestamp) -> Entry {
    Entry::Event(event(at, EventKind::Changed, "contoso.com", json!({ "number": number })))
}

/// The numbers of events, the latest first.
fn numbers(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.evidence["number"].as_i64().expect("a number")).collect()
}

fn wait_until_durable(journal: &Journal) {
    wait_for("durable", PATIENCE, || match journal.condition() {
        JournalCondition::Durable => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn wait_until_degraded(journal: &Journal) -> String {
    wait_for("degraded", PATIENCE, || match journal.condition() {
        JournalCondition::Degraded { reason, .. } => Ok(reason),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn everything_is_there_after_a_restart() {
    let (_folder, path) = folder();
    let id = FindingId::from_kept("host-down-0123456789abcdef");
    let gone = SeenRecord {
        gone: Some(second(9)),
        host: Host { target: Name::from_labels([&b"a.\xff"[..], b"x"].into_iter()), port: 7 },
        ..record("contoso.com", "10.0.0.54")
    };
    let of = SeenEndpoint {
        address: "[2001:db8::1%3]:1688".parse().expect("an address"),
        witness: witness(""),
    };
    let down = SeenUp { of: host("kms.contoso.com", 1688), last_up: second(3), is_up: false };
    let acknowledged =
        Acknowledgement { id: id.clone(), at: second(1), until: second(1 << 30), reason: None };
    let what =
        event(second(5), EventKind::Vanished, "contoso.com", json!({ "last_seen": [1, "x"] }));
    let (journal, nothing) = open(&path);
    assert_eq!(nothing, Remembered::default());
    journal.record(vec![
        Entry::Record(record("contoso.com", "10.0.0.53")),
        Entry::Record(gone.clone()),
        Entry::Endpoint(SeenUp { of: of.clone(), last_up: second(2), is_up: true }),
        Entry::Host(down.clone()),
        Entry::Finding { id: id.clone(), since: Some(second(4)) },
        Entry::Acknowledged(acknowledged.clone()),
        Entry::Alert { id: id.clone(), state: Some("{}".to_owned()) },
        Entry::Heartbeat { witness: witness("10.0.0.53"), at: second(60) },
        Entry::Heartbeat { witness: witness(""), at: second(61) },
        status("contoso.com", Status::Ok),
        status("contoso.com", Status::Critical),
        Entry::Watched(second(63)),
        Entry::Watched(second(62)),
        Entry::Event(what.clone()),
    ]);
    assert_eq!(journal.condition(), JournalCondition::Durable);
    journal.close();
    let (journal, mut remembered) = open(&path);
    remembered.records.sort_by_key(|record| record.gone);
    // What was there was there at the last heartbeat; what was gone, or down, was not.
    let open_row = SeenRecord { last_seen: second(60), ..record("contoso.com", "10.0.0.53") };
    assert_eq!(remembered.records, [open_row, gone]);
    assert_eq!(remembered.endpoints, [SeenUp { of, last_up: second(61), is_up: true }]);
    assert_eq!(remembered.hosts, [down]);
    assert_eq!(remembered.findings, [(id.clone(), second(4))]);
    assert_eq!(remembered.acknowledgements, [acknowledged]);
    assert_eq!(remembered.alerts, [(id, "{}".to_owned())]);
    let [seen] = &*remembered.statuses else { panic!("{:?}", remembered.statuses) };
    assert_eq!(Entry::Status(seen.clone()), status("contoso.com", Status::Critical));
    assert_eq!(remembered.watched_until, Some(second(62)));
    assert_eq!(journal.events(&ALL).expect("readable"), [what]);
}

fn status(domain: &str, status: Status) -> Entry {
    Entry::Status(SeenStatus { domain: name(domain), status, since: second(3) })
}

#[test]
fn whatever_a_daemon_wrote_last_tells_until_when_it_watched() {
    let heartbeat = |at| Entry::Heartbeat { witness: witness("10.0.0.53"), at: second(at) };
    let event = |at| numbered(at, second(at));
    for (entries, until) in [
        (vec![Entry::Watched(second(5)), heartbeat(4), event(3), event(2)], 5),
        (vec![Entry::Watched(second(4)), heartbeat(5), event(3)], 5),
        (vec![Entry::Watched(second(4)), heartbeat(3), event(1), event(5)], 5),
        (vec![event(5)], 5),
    ] {
        let (_folder, path) = folder();
        let (journal, remembered) = open(&path);
        assert_eq!(remembered.watched_until, None);
        journal.record(entries.clone());
        drop(journal);
        assert_eq!(open(&path).1.watched_until, Some(second(until)), "{entries:?}");
    }
}

#[test]
fn what_is_over_is_forgotten() {
    let (_folder, path) = folder();
    let id = FindingId::from_kept("host-down-0123456789abcdef");
    let seen = record("contoso.com", "10.0.0.53");
    let SeenRecord { domain, witness, host, .. } = seen.clone();
    let until = second(1 << 30);
    let (journal, _) = open(&path);
    journal.record(vec![
        Entry::Record(seen),
        Entry::Finding { id: id.clone(), since: Some(second(0)) },
        Entry::Acknowledged(Acknowledgement { id: id.clone(), at: second(0), until, reason: None }),
        Entry::Alert { id: id.clone(), state: Some("{}".to_owned()) },
        status("a.test", Status::Ok),
    ]);
    journal.close();
    let (journal, remembered) = open(&path);
    let Remembered { records, alerts, statuses, .. } = remembered;
    assert_eq!((records.len(), alerts.len(), statuses.len()), (1, 1, 1));
    journal.record(vec![
        Entry::ForgetRecord { domain, witness, host },
        Entry::Finding { id: id.clone(), since: None },
        Entry::Unacknowledged(id.clone()),
        Entry::Alert { id, state: None },
        Entry::ForgetStatus(name("a.test")),
    ]);
    journal.close();
    assert_eq!(open(&path).1, Remembered::default());
}

#[test]
fn events_are_found_by_domain_time_and_kind_also_before_they_are_written() {
    let (_folder, path) = folder();
    let events: Vec<Event> = (0..6)
        .map(|at| {
            let kind = [EventKind::Appeared, EventKind::Vanished][usize::from(at % 2 == 0)];
            let domain = ["a.test", "b.test", "c.test"][usize::try_from(at / 2).expect("small")];
            event(second(at), kind, domain, json!({ "number": at }))
        })
        .collect();
    let asked =
        |journal: &Journal, query: EventQuery| numbers(&journal.events(&query).expect("readable"));
    let (journal, _) = open(&path);
    journal.record(events[..3].iter().cloned().map(Entry::Event));
    journal.close();
    let (journal, _) = open(&path);
    journal.record(events[3..].iter().cloned().map(Entry::Event));
    assert_eq!(asked(&journal, ALL), [5, 4, 3, 2, 1, 0]);
    assert_eq!(asked(&journal, EventQuery { limit: 4, ..ALL }), [5, 4, 3, 2]);
    assert_eq!(asked(&journal, EventQuery { since: Some(second(2)), ..ALL }), [5, 4, 3, 2]);
    let of = |domains: &[&str]| {
        let domains = domains.iter().map(|domain| name(domain)).collect();
        EventQuery { domains, ..ALL }
    };
    let of_b = || of(&["b.test"]);
    assert_eq!(asked(&journal, of_b()), [3, 2]);
    let kinds = vec![EventKind::Appeared];
    assert_eq!(asked(&journal, EventQuery { kinds: kinds.clone(), ..ALL }), [5, 3, 1]);
    assert_eq!(asked(&journal, EventQuery { kinds, ..of_b() }), [3]);
    assert_eq!(asked(&journal, of(&["d.test"])), [0; 0]);
    assert_eq!(asked(&journal, of(&["d.test", "c.test", "a.test"])), [5, 4, 1, 0]);
    let some = EventQuery { limit: 2, since: Some(second(1)), ..of(&["c.test", "a.test"]) };
    assert_eq!(asked(&journal, EventQuery { limit: 9, ..some.clone() }), [5, 4, 1]);
    assert_eq!(asked(&journal, some), [5, 4]);
    journal.close();
    assert_eq!(asked(&journal, of_b()), [3, 2], "all on the disk");
}

#[test]
fn what_hosts_do_and_when_nobody_watched_belongs_to_timelines() {
    let (_folder, path) = folder();
    let about = |number: i64, kind, domain: Option<&str>, port: Option<u16>| {
        let host = port.map(|port| host("kms.contoso.com", port));
        let domain = domain.map(name);
        let any = event(second(number), kind, "x.test", json!({ "number": number }));
        Entry::Event(Event { domain, host, ..any })
    };
    let entries = [
        about(0, EventKind::Started, None, None),
        about(1, EventKind::Appeared, Some("a.test"), Some(1)),
        about(2, EventKind::Appeared, Some("b.test"), Some(1)),
        about(3, EventKind::HostDown, None, Some(1)),
        about(4, EventKind::HostDown, None, Some(2)),
        about(5, EventKind::HostUp, None, Some(1)),
        about(6, EventKind::Reloaded, None, None),
    ];
    let look = |journal: &Journal, domains: &[&str], ports: &[u16], kinds: &[EventKind]| {
        let query = EventQuery {
            domains: domains.iter().map(|domain| name(domain)).collect(),
            hosts: ports.iter().map(|port| host("kms.contoso.com", *port)).collect(),
            kinds: kinds.to_vec(),
            ..ALL
        };
        numbers(&journal.events(&query).expect("readable"))
    };
    let (stored, _) = open(&path);
    stored.record(entries.to_vec());
    stored.close();
    let settings = JournalSettings { path: None, ..JournalSettings::default() };
    let (memory, _) = Journal::open(&settings, Clock::start()).expect("memory");
    memory.record(entries.to_vec());
    for (place, journal) in [("in memory", &memory), ("on the disk", &stored)] {
        let look = |domains: &[&str], ports: &[u16], kinds: &[EventKind]| {
            look(journal, domains, ports, kinds)
        };
        let [down, up] = [EventKind::HostDown, EventKind::HostUp];
        assert_eq!(look(&[], &[], &[]), [6, 5, 4, 3, 2, 1, 0], "{place}");
        assert_eq!(look(&["a.test"], &[], &[]), [1, 0], "{place}");
        assert_eq!(look(&["a.test"], &[1], &[]), [5, 3, 1, 0], "{place}: not of b.test");
        assert_eq!(look(&[], &[2, 9], &[]), [4, 0], "{place}");
        assert_eq!(look(&["a.test"], &[1, 2], &[up]), [5], "{place}");
        assert_eq!(look(&["c.test"], &[1], &[down, EventKind::Started]), [3, 0], "{place}");
    }
}

#[test]
fn a_journal_in_memory_has_the_latest_events_and_says_what_it_is() {
    let settings = JournalSettings { path: None, ..JournalSettings::default() };
    let (journal, remembered) = Journal::open(&settings, Clock::start()).expect("memory");
    assert_eq!(remembered, Remembered::default());
    journal.record((0..MOST_EVENTS + 3).map(|number| numbered(number, second(number))));
    assert_eq!(journal.condition(), JournalCondition::InMemory);
    let latest = numbers(&journal.events(&ALL).expect("memory"));
    assert_eq!((latest[0], latest.len()), (MOST_EVENTS + 2, 32_768));
}

/// As many events as find room.
const MOST_EVENTS: i64 = 32_768;

#[test]
fn that_the_daemon_started_is_never_forgotten() {
    let (folder, _) = folder();
    let path = folder.path().join("later/kmswatch.db");
    let (journal, _) = open(&path);
    let of = |kind, number| event(second(number), kind, "a.test", json!({ "number": number }));
    journal.record(vec![Entry::Event(of(EventKind::Started, -1))]);
    journal.record((0..MOST_EVENTS + 5).map(|number| numbered(number, second(number))));
    let expected: Vec<i64> = (6..MOST_EVENTS + 5).rev().chain([-1]).collect();
    assert!(numbers(&journal.events(&ALL).expect("memory")) == expected);
    fs::create_dir(folder.path().join("later")).expect("a folder");
    wait_until_durable(&journal);
    journal.close();
    assert!(numbers(&journal.events(&ALL).expect("readable")) == expected, "and written");
}

#[test]
fn what_is_older_than_keep_goes_and_what_is_open_stays() {
    let (_folder, path) = folder();
    let clock = Clock::start();
    let ago = |days: i64| clock.now() - SignedDuration::from_hours(24 * days);
    let old =
        |server, gone| SeenRecord { gone, first_seen: ago(900), ..record("contoso.com", server) };
    let up = |port, is_up| Entry::Host(SeenUp { of: host("k", port), last_up: ago(500), is_up });
    let id = |text: &str| FindingId::from_kept(text);
    let acknowledged = |text, until| {
        Entry::Acknowledged(Acknowledgement { id: id(text), at: ago(9), until, reason: None })
    };
    let (journal, _) = open(&path);
    journal.record(vec![
        Entry::Record(old("10.0.0.1", None)),
        Entry::Record(old("10.0.0.2", Some(ago(399)))),
        Entry::Record(old("10.0.0.3", Some(ago(401)))),
        up(1, true),
        up(2, false),
        acknowledged("ended", ago(1)),
        acknowledged("holds", ago(-1)),
        numbered(0, ago(401)),
        numbered(1, ago(399)),
        // A status holds for as long as it does.
        status("b.test", Status::Ok),
    ]);
    journal.close();
    let (journal, remembered) = open(&path);
    let mut servers: Vec<_> =
        remembered.records.iter().map(|record| record.witness.server.to_string()).collect();
    servers.sort();
    assert_eq!(servers, ["10.0.0.1", "10.0.0.2"]);
    let ports: Vec<u16> = remembered.hosts.iter().map(|host| host.of.port).collect();
    assert_eq!(ports, [1]);
    let ids: Vec<_> = remembered.acknowledgements.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["holds"]);
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [1]);
    drop(journal);
    let names = Connection::open(&path).expect("a database");
    let names: Vec<String> = names
        .prepare("SELECT text FROM names ORDER BY text")
        .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect())
        .expect("names");
    let still_used = ["10.0.0.53\ntcp://10.0.0.54", "b.test", "contoso.com", "k:1"];
    assert_eq!(names[..4], still_used, "{names:?}");
    assert!(!names.contains(&"k:2".to_owned()), "{names:?}");
}

#[test]
fn events_are_found_by_time_whatever_the_clock_did() {
    let (_folder, path) = folder();
    let day = |day: i64| second(day * 86_400);
    // A clock that was wrong twice: it began in the past, and leapt ahead for a while.
    let times = [day(1), day(5), day(-40), day(5) + SECOND, day(90), day(7), day(6)];
    for chunk in [&times[..3], &times[3..]] {
        let number = |at: &Timestamp| times.iter().position(|time| time == at).expect("there");
        let numbered = |at: &Timestamp| numbered(i64::try_from(number(at)).expect("few"), *at);
        let (journal, _) = open(&path);
        journal.record(chunk.iter().map(numbered));
    }
    let (journal, _) = open(&path);
    let since = |since| {
        let query = EventQuery { since: Some(since), ..ALL };
        numbers(&journal.events(&query).expect("readable"))
    };
    assert_eq!(since(day(-41)), [6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(since(day(5)), [6, 5, 4, 3, 1]);
    assert_eq!(since(day(5) + SECOND), [6, 5, 4, 3]);
    assert_eq!(since(day(8)), [4]);
    assert_eq!(since(day(91)), [0; 0]);
}

const SECOND: SignedDuration = SignedDuration::from_secs(1);

#[test]
fn a_journal_that_was_emptied_is_found_by_time_again() {
    let (_folder, path) = folder();
    let hour = JournalSettings { keep: Duration::from_hours(1), ..settings(&path) };
    let open = || Journal::open(&hour, Clock::start()).expect("a journal").0;
    let now = Clock::start().now();
    let ago = |hours: i64| now - SignedDuration::from_hours(hours);
    let journal = open();
    journal.record(vec![numbered(1, ago(50)), numbered(2, ago(2))]);
    drop(journal);
    let journal = open();
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [0; 0]);
    journal.record(vec![numbered(3, now)]);
    drop(journal);
    let lately = EventQuery { since: Some(now - SECOND), ..ALL };
    assert_eq!(numbers(&open().events(&lately).expect("readable")), [3]);
}

#[test]
fn the_hosts_that_a_domain_ever_published_are_known() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let of = |domain: &str, server: &str, port: u16, gone| {
        Entry::Record(SeenRecord { host: host("k.test", port), gone, ..record(domain, server) })
    };
    journal.record(vec![
        of("a.test", "10.0.0.53", 2, None),
        of("a.test", "10.0.0.54", 2, None),
        of("a.test", "10.0.0.54", 1, Some(second(9))),
        of("b.test", "10.0.0.54", 3, None),
    ]);
    journal.close();
    let hosts = |domain: &str| journal.hosts_of(&name(domain)).expect("readable");
    assert_eq!(hosts("a.test"), [host("k.test", 1), host("k.test", 2)]);
    assert_eq!(hosts("c.test"), []);
}

#[test]
fn one_process_writes_and_others_read() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    journal.record(vec![numbered(7, second(0))]);
    let refusal = refused(&path).to_string();
    let told = format!("another kmswatch (process {}) writes this journal", std::process::id());
    assert!(refusal.contains(&told), "{refusal}");
    let reader = Reader::open(&path).expect("readable");
    wait_for("the commit", PATIENCE, || {
        let seen = numbers(&reader.events(&ALL).expect("readable"));
        if seen == [7] { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    journal.close();
    drop((reader, journal));
    let (journal, _) = open(&path);
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [7]);
}

#[test]
fn versions_and_databases_of_others_are_refused_untouched() {
    let (_folder, path) = folder();
    assert!(matches!(Reader::open(&path), Err(JournalError::Missing { .. })));
    drop(open(&path));
    let database = Connection::open(&path).expect("a database");
    let version: i64 =
        database.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number");
    database.pragma_update(None, "user_version", version + 1).expect("writable");
    assert!(matches!(refused(&path), JournalError::Newer { .. }));
    assert!(matches!(Reader::open(&path), Err(JournalError::Newer { .. })));
    database.pragma_update(None, "application_id", 5).expect("writable");
    assert!(matches!(refused(&path), JournalError::Foreign { .. }));
    assert!(matches!(Reader::open(&path), Err(JournalError::Foreign { .. })));
    let left: i64 =
        database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("left");
    assert_eq!(left, 0);
}

/// What happens to the bytes of a file.
type Breaks = fn(&mut Vec<u8>);

#[test]
fn a_broken_database_is_set_aside_and_a_new_one_begun() {
    let ways: [(&str, Breaks); 4] = [
        ("no database", |bytes| *bytes = b"nonsense, and much of it. ".repeat(400)),
        ("half of it", |bytes| bytes.truncate(bytes.len() / 2)),
        ("an odd page", |bytes| bytes.truncate(bytes.len() - 100)),
        ("other bytes", |bytes| bytes[4096 * 2..4096 * 3].fill(0xa5)),
    ];
    for (way, breaks) in ways {
        let (folder, path) = folder();
        let (journal, _) = open(&path);
        journal.record((0..500).map(|number| numbered(number, second(number))));
        drop(journal);
        let mut bytes = fs::read(&path).expect("readable");
        breaks(&mut bytes);
        fs::write(&path, &bytes).expect("writable");
        let (journal, remembered) = open(&path);
        assert_eq!(remembered, Remembered::default(), "{way}");
        assert_eq!(journal.condition(), JournalCondition::Durable, "{way}");
        journal.record(vec![numbered(1000, second(0))]);
        assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [1000], "{way}");
        let aside = fs::read_dir(folder.path()).expect("a folder").find_map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.to_string_lossy().into_owned();
            (name.contains("kmswatch.db.corrupt-2") && name.ends_with('Z')).then_some(path)
        });
        let aside = aside.unwrap_or_else(|| panic!("{way}: nothing was set aside"));
        assert!(fs::read(aside).expect("readable") == bytes, "{way}: left as it was");
    }
}

#[test]
fn a_journal_that_is_removed_while_it_is_written_is_put_back() {
    for parts in [&["", "-wal", "-shm"][..], &[""]] {
        let (folder, path) = folder();
        let (journal, _) = open(&path);
        journal.record(vec![Entry::Record(record("contoso.com", "10.0.0.53"))]);
        journal.record(vec![numbered(1, second(0))]);
        wait_for("written", PATIENCE, || {
            let read = Reader::open(&path).and_then(|reader| reader.events(&ALL));
            read.ok().filter(|events| events.len() == 1).ok_or("not yet".to_owned())
        });
        for part in parts {
            fs::remove_file(folder.path().join(format!("kmswatch.db{part}"))).expect("removed");
        }
        journal.record(vec![numbered(2, second(1))]);
        drop(journal);
        let (journal, remembered) = open(&path);
        assert_eq!(remembered.records, [record("contoso.com", "10.0.0.53")], "{parts:?}");
        assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [2, 1], "{parts:?}");
    }
}

#[test]
fn a_journal_that_breaks_or_is_replaced_while_it_is_written_is_begun_anew() {
    type Harm = fn(&Path);
    let ways: [(&str, Harm); 2] = [
        ("replaced", |path| {
            let other = path.with_extension("other");
            fs::write(&other, b"nonsense, and much of it. ".repeat(400)).expect("written");
            fs::rename(&other, path).expect("moved");
        }),
        ("broken", |path| {
            let file = fs::File::options().write(true).open(path).expect("a file");
            for part in ["-wal", "-shm"] {
                let log = fs::File::options().write(true).open(format!("{}{part}", path.display()));
                let log = log.expect("a file");
                let length = log.metadata().expect("known").len();
                log.write_all_at(&vec![0xa5; length.try_into().expect("short")], 0)
                    .expect("written");
            }
            file.write_all_at(&[0xa5; 3 * 4096], 0).expect("written");
        }),
    ];
    for (way, harm) in ways {
        let (folder, path) = folder();
        let (journal, _) = open(&path);
        harm(&path);
        let is_aside = || {
            journal.record(vec![numbered(1, second(0))]);
            let mut entries = fs::read_dir(folder.path()).expect("a folder");
            let is_one = |name: &str| name.starts_with("kmswatch.db.corrupt-2");
            let found = entries
                .any(|entry| is_one(&entry.expect("an entry").file_name().to_string_lossy()));
            found.then_some(()).ok_or_else(|| format!("{:?}", journal.condition()))
        };
        wait_for(way, PATIENCE, is_aside);
        wait_until_durable(&journal);
        journal.record(vec![numbered(2, second(1))]);
        drop(journal);
        let (journal, _) = open(&path);
        assert_eq!(numbers(&journal.events(&ALL).expect("readable"))[0], 2, "{way}");
    }
}

#[test]
fn what_finds_no_room_is_counted_and_all_else_is_written_once_it_can_be() {
    let (folder, _) = folder();
    let path = folder.path().join("later/kmswatch.db");
    let (journal, remembered) = open(&path);
    assert_eq!(remembered, Remembered::default());
    let reason = wait_until_degraded(&journal);
    assert!(reason.contains("later/kmswatch.db"), "{reason}");
    journal.record((0..MOST_EVENTS + 5).map(|number| numbered(number, second(number))));
    // The rows of one thing are one row, and always find room.
    let seen = |weight| SeenRecord { weight, ..record("contoso.com", "10.0.0.53") };
    journal.record((0..40_000).map(|weight| Entry::Record(seen(weight))));
    let JournalCondition::Degraded { lost, .. } = journal.condition() else { panic!("degraded") };
    assert_eq!(lost, 5);
    let in_memory = numbers(&journal.events(&ALL).expect("memory"));
    assert_eq!((in_memory[0], in_memory.len()), (MOST_EVENTS + 4, 32_768));
    fs::create_dir(folder.path().join("later")).expect("a folder");
    wait_until_durable(&journal);
    journal.record(vec![numbered(-1, second(0))]);
    drop(journal);
    let (journal, remembered) = open(&path);
    assert_eq!(remembered.records, [seen(39_999)]);
    let written = numbers(&journal.events(&ALL).expect("readable"));
    assert_eq!(written[1..], in_memory);
    assert_eq!(written[0], -1);
}

#[test]
fn all_that_the_first_audit_of_a_large_estate_tells_finds_room() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let clock = Clock::start();
    let began = clock.now();
    // Each of 10,000 domains has another status, and lost two records.
    let entries = (0..10_000).flat_map(|number| {
        let domain = domain(number);
        let told = |kind| Entry::Event(event(began, kind, &domain, json!({ "number": number })));
        let vanished = told(EventKind::Vanished);
        [vanished.clone(), vanished, told(EventKind::Status), status(&domain, Status::Critical)]
    });
    journal.record(entries);
    journal.close();
    let took = clock.now().duration_since(began);
    let (journal, remembered) = open(&path);
    eprintln!("kept in {took:?}, read in {:?}", clock.now().duration_since(began) - took);
    let told = journal.events(&ALL).expect("readable");
    assert_eq!((remembered.statuses.len(), told.len()), (10_000, 30_000));
}

#[test]
fn nobody_waits_for_a_database_that_another_locks() {
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let other = Connection::open(&path).expect("a database");
    other.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    journal.record(vec![numbered(1, second(0))]);
    let reason = wait_until_degraded(&journal);
    assert!(reason.contains("locked"), "{reason}");
    journal.record(vec![numbered(2, second(0))]);
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [2, 1]);
    other.execute_batch("ROLLBACK").expect("no lock");
    wait_until_durable(&journal);
    let reader = Reader::open(&path).expect("readable");
    assert_eq!(numbers(&reader.events(&ALL).expect("readable")), [2, 1]);
}

/// `kmswatch journal` with these arguments, in this folder.
fn shown(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::of(kmswatch().current_dir(folder).arg("journal").args(arguments))
}

#[test]
fn the_command_shows_events_beside_a_daemon_that_writes() {
    let (folder, path) = folder();
    let (journal, _) = open(&path);
    let now = Clock::start().now();
    let values = json!({ "priority": 0, "weight": 5 });
    let hour = SignedDuration::from_hours(1);
    let down = event(now - hour * 2, EventKind::HostDown, "a.test", json!({}));
    let other = Some(host("other.contoso.com", 1688));
    journal.record(vec![
        Entry::Record(SeenRecord {
            host: down.host.clone().expect("a host"),
            gone: Some(now),
            ..record("a.test", "10.0.0.53")
        }),
        Entry::Event(event(now - hour * 200, EventKind::Appeared, "a.test", values.clone())),
        Entry::Event(event(now - hour * 3, EventKind::Vanished, "a.test", values.clone())),
        Entry::Event(Event { domain: None, ..down.clone() }),
        Entry::Event(Event { domain: None, host: other, ..down }),
        Entry::Event(event(now - hour, EventKind::Appeared, "b.test", values)),
    ]);
    let lines = |arguments: &[&str]| {
        let ended = shown(folder.path(), arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        ended.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = wait_for("the commit", PATIENCE, || match lines(&["--since", "30d"]) {
        all if all.len() == 5 => Ok(all),
        other => Err(format!("{other:?}")),
    });
    let second = now.strftime("%Y-%m-%dT%H:");
    assert!(!all[0].starts_with(&second.to_string()), "an hour ago: {all:?}");
    assert!(all[0].ends_with("kms.contoso.com:1689 appeared in b.test (priority 0, weight 5) on 10.0.0.53 and tcp://10.0.0.54"), "{all:?}");
    assert_eq!(lines(&[]), all[..4], "a week");
    assert!(all[1].ends_with("other.contoso.com:1688 answers no more"), "{all:?}");
    assert_eq!(lines(&["A.test", "--since", "30d"]), all[2..], "with its host's");
    let latest = lines(&["--since", "90m"]);
    assert!(latest.len() == 1 && latest[0].ends_with(all[0].split("  ").last().expect("words")));
    let json = shown(folder.path(), &["b.test", "--format", "json"]).report().json;
    assert_eq!((&json[0]["kind"], &json[0]["domain"]), (&json!("appeared"), &json!("b.test")));
    let config = folder.path().join("k.toml");
    let domain =
        "[[domain]]\nname = \"a\"\n[[resolver]]\nname = \"r\"\nservers = [\"192.0.2.1\"]\n";
    fs::write(&config, format!("[journal]\npath = {path:?}\n{domain}")).expect("written");
    let elsewhere = shown(Path::new("/"), &["-c", &config.to_string_lossy()]);
    assert_eq!(elsewhere.stdout.lines().collect::<Vec<_>>(), all[..4]);
    fs::write(&config, format!("[journal]\npath = \"\"\n{domain}")).expect("written");
    for (arguments, told) in [
        (["-c", "k.toml"], "keeps the journal in memory"),
        (["-c", "none.toml"], "none.toml"),
        (["--since", "7"], "7 has no unit"),
        (["--since", "-1d"], "unexpected argument"),
    ] {
        let ended = shown(folder.path(), &arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{arguments:?}");
        assert!(ended.stderr.contains(told), "{arguments:?}: {}", ended.stderr);
    }
    let nowhere = shown(Path::new("/"), &[]);
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (Some(3), ""));
    assert!(nowhere.stderr.contains("kmswatch.db: there is no journal"), "{}", nowhere.stderr);
}

/// Runs a test of this file again, as root of mounts of its own, and returns whether this is that run.
fn is_in_mount_namespace(test: &str) -> bool {
    const INNER: &str = "KMSWATCH_IN_NAMESPACE";
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command.arg(std::env::current_exe().expect("this test")).args(["--exact", test, "--nocapture"]);
    let ended = Ended::of(command.env(INNER, "1"));
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("1 passed"), "{}", ended.stdout);
    false
}

fn mount(options: &str, folder: &Path) {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder);
    let ended = Ended::of(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What is logged in this process, line by line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn start() -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .try_init()
            .expect("the only one");
        lines
    }

    fn count(&self, level: &str) -> usize {
        let bytes = self.0.lock().expect("whole");
        String::from_utf8_lossy(&bytes).lines().filter(|line| line.contains(level)).count()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_once_and_recovered_from() {
    if !is_in_mount_namespace("a_full_disk_is_told_once_and_recovered_from") {
        return;
    }
    let (folder, path) = folder();
    mount("size=16m", folder.path());
    let lines = Lines::start();
    let (journal, _) = open(&path);
    journal.record(vec![numbered(0, second(0))]);
    let mut file = fs::File::create(folder.path().join("filler")).expect("room");
    let full = (0..).find_map(|_| file.write_all(&[1; 4096]).err()).expect("a small disk");
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // What has room within the pages that are there is written; sooner or later, there is none.
    let mut last = 0;
    let reason = wait_for("a full disk", PATIENCE, || match journal.condition() {
        JournalCondition::Degraded { reason, .. } => Ok(reason),
        other => {
            journal.record((last + 1..=last + 100).map(|at| numbered(at, second(at))));
            last += 100;
            Err(format!("{other:?}"))
        }
    });
    assert!(reason.contains("full"), "{reason}");
    let seen = |weight| SeenRecord { weight, ..record("contoso.com", "10.0.0.53") };
    journal.record(vec![Entry::Record(seen(1)), Entry::Record(seen(2))]);
    let expected: Vec<i64> = (0..=last).rev().collect();
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), expected);
    assert_eq!((lines.count("ERROR"), lines.count("INFO")), (1, 0));
    file.set_len(0).expect("writable");
    wait_until_durable(&journal);
    assert_eq!((lines.count("ERROR"), lines.count("INFO")), (1, 1));
    drop(journal);
    let (journal, remembered) = open(&path);
    assert_eq!(remembered.records, [seen(2)]);
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), expected);
}

#[test]
fn a_read_only_disk_is_read_and_written_once_it_can_be() {
    if !is_in_mount_namespace("a_read_only_disk_is_read_and_written_once_it_can_be") {
        return;
    }
    let (folder, path) = folder();
    mount("size=4m", folder.path());
    let (journal, _) = open(&path);
    let seen = record("contoso.com", "10.0.0.53");
    journal.record(vec![Entry::Record(seen.clone()), numbered(0, second(0))]);
    drop(journal);
    mount("remount,ro", folder.path());
    let lines = Lines::start();
    let (journal, remembered) = open(&path);
    assert_eq!(remembered.records, [seen]);
    let reason = wait_until_degraded(&journal);
    assert!(reason.to_lowercase().contains("read"), "{reason}");
    journal.record(vec![numbered(1, second(1))]);
    assert_eq!(numbers(&journal.events(&ALL).expect("readable")), [1, 0]);
    assert_eq!((lines.count("ERROR"), lines.count("INFO")), (1, 0));
    // Whoever only looks can, too.
    let reader = Reader::open(&path).expect("readable");
    assert_eq!(numbers(&reader.events(&ALL).expect("readable")), [0]);
    drop(reader);
    mount("remount,rw", folder.path());
    wait_until_durable(&journal);
    assert_eq!((lines.count("ERROR"), lines.count("INFO")), (1, 1));
    drop(journal);
    assert_eq!(numbers(&open(&path).0.events(&ALL).expect("readable")), [1, 0]);
}

/// Where [`a_child_that_writes`] writes, and from which number on.
const CHILD: &str = "KMSWATCH_CHILD";

#[test]
#[ignore = "it is the process that kill_9_loses_at_most_the_last_second kills"]
fn a_child_that_writes() {
    let place = std::env::var(CHILD).expect("run by its parent");
    let (number, path) = place.split_once(' ').expect("two words");
    let clock = Clock::start();
    let (journal, _) = open(Path::new(path));
    assert_eq!(journal.condition(), JournalCondition::Durable);
    let mut stdout = std::io::stdout().lock();
    let first: i64 = number.parse().expect("a number");
    for number in (first..).step_by(10) {
        let at = clock.now();
        let mut entries: Vec<Entry> = (number..number + 10).map(|one| numbered(one, at)).collect();
        entries.push(Entry::Heartbeat { witness: witness("10.0.0.53"), at });
        let weight = u16::try_from(number % 60_000).expect("small");
        let domain = format!("d{}.test", number % 977);
        entries.push(Entry::Record(SeenRecord { weight, ..record(&domain, "10.0.0.53") }));
        journal.record(entries);
        writeln!(stdout, "wrote {} {}", number + 9, at.as_millisecond()).expect("a parent");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// What came of a number of kills.
#[derive(Debug, Default, PartialEq)]
struct Kills {
    times: usize,
    /// Events that were older than a second when the process was killed, and are not there.
    lost: i64,
    /// Events that are twice there, or after a gap.
    out_of_order: usize,
    corruptions: usize,
}

#[test]
fn kill_9_loses_at_most_the_last_second() {
    const LANES: usize = 4;
    let kills = std::env::var("KMSWATCH_KILLS").map_or(20, |kills| kills.parse().expect("a count"));
    let lanes: Vec<_> =
        (0..LANES).map(|_| std::thread::spawn(move || killed(kills / LANES))).collect();
    let mut total = Kills::default();
    for lane in lanes {
        let Kills { times, lost, out_of_order, corruptions } = lane.join().expect("a lane");
        total.times += times;
        total.lost += lost;
        total.out_of_order += out_of_order;
        total.corruptions += corruptions;
    }
    eprintln!("{total:?}");
    let expected = Kills { times: kills / LANES * LANES, ..Kills::default() };
    assert_eq!(total, expected);
}

/// Kills a writer of one journal again and again.
fn killed(times: usize) -> Kills {
    let (folder, path) = folder();
    let mut found = Kills::default();
    let mut next = 0;
    for _ in 0..times {
        let (wrote, killed_at) = write_and_kill(&path, next);
        found.times += 1;
        found.corruptions += usize::from(!is_whole(folder.path()));
        let there =
            Reader::open(&path).map(|reader| numbers(&reader.events(&ALL).expect("events")));
        // Killed before there was anything.
        let there = there.unwrap_or_default();
        let last = there.first().copied().unwrap_or(-1);
        let expected: Vec<i64> = (0..=last).rev().collect();
        found.out_of_order += usize::from(there != expected);
        let a_second_ago = killed_at.as_millisecond() - 1_000;
        let older = wrote.iter().rev().find(|(_, at)| *at < a_second_ago);
        found.lost += older.map_or(0, |(number, _)| (number - last).max(0));
        next = last + 1;
    }
    found
}

/// What a child said that it wrote, with its times, and when it was killed.
fn write_and_kill(path: &Path, first: i64) -> (Vec<(i64, i64)>, Timestamp) {
    let clock = Clock::start();
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_child_that_writes", "--ignored", "--nocapture"])
        .env(CHILD, format!("{first} {}", path.display()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs");
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let lines = std::thread::spawn(move || {
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok());
        let wrote = |line: String| {
            let mut words = line.strip_prefix("wrote ")?.split(' ');
            Some((number(words.next())?, number(words.next())?))
        };
        stdout.lines().map_while(Result::ok).filter_map(wrote).collect::<Vec<_>>()
    });
    std::thread::park_timeout(Duration::from_millis(rand::random_range(5..3_000)));
    let killed_at = clock.now();
    // SIGKILL.
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    (lines.join().expect("lines"), killed_at)
}

/// Whether a copy of the journal is whole; the journal itself is left for the next writer to recover.
fn is_whole(folder: &Path) -> bool {
    let copy = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    let database = Connection::open(copy.path().join("kmswatch.db")).expect("a database");
    let said = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    said.is_ok_and(|said| said == "ok")
}

#[test]
fn a_year_of_a_thousand_domains_is_below_100_mib() {
    let days = std::env::var("KMSWATCH_DAYS").map_or(20, |days| days.parse().expect("a count"));
    let (_folder, path) = folder();
    let (journal, _) = open(&path);
    let clock = Clock::start();
    let (began, mut events) = (clock.now(), 0_u32);
    for day in 0..days {
        for part in 0..10 {
            let entries: Vec<Entry> =
                (0..100).flat_map(|at| of_a_day(day, part * 100 + at)).collect();
            events += 4 * 100;
            journal.record(entries);
        }
        wait_for("the commit", PATIENCE, || {
            match journal.events(&EventQuery { limit: 1, ..ALL }) {
                Ok(latest) if day % 3 != 2 || is_committed(&path, &latest) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
    journal.close();
    let took = clock.now().duration_since(began);
    let size = fs::metadata(&path).expect("a file").len();
    let year = size * 365 / u64::try_from(days).expect("days");
    eprintln!(
        "{days} days: {events} events, {size} bytes, {:.1} a event; a year: {:.1} MiB; took {took:?}",
        float(size) / f64::from(events),
        float(year) / f64::from(1 << 20)
    );
    let opening = clock.now();
    let (journal, _) = open(&path);
    let reading = clock.now();
    let rare = EventQuery { kinds: vec![EventKind::Reloaded], ..ALL };
    assert_eq!(journal.events(&rare).expect("readable"), []);
    let looked = clock.now();
    // What a page of domains asks for.
    let kinds = vec![EventKind::Status, EventKind::Started];
    let domains = (0..100).map(|number| name(&domain(number * 10))).collect();
    let since = Some(second((days - 30).max(0) * 86_400));
    let page = EventQuery { domains, since, kinds, ..ALL };
    let shown = journal.events(&page).expect("readable").len();
    eprintln!(
        "opened in {:?}, looked through in {:?}, {shown} of a page in {:?}",
        reading.duration_since(opening),
        looked.duration_since(reading),
        clock.now().duration_since(looked)
    );
    assert_eq!(i64::try_from(shown), Ok(2 * 100 * days.min(30)));
    let count: i64 = Connection::open(&path)
        .and_then(|database| {
            database.query_row("SELECT count(*) FROM events", [], |row| row.get(0))
        })
        .expect("events");
    assert_eq!(count, i64::from(events), "none was lost");
    assert!(year < 100 << 20, "{year} bytes a year");
}

/// Sizes of files are far below where an f64 would round.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn float(number: u64) -> f64 {
    number as f64
}

/// So that no more is in memory than has room.
fn is_committed(path: &Path, latest: &[Event]) -> bool {
    let read = Reader::open(path).and_then(|reader| reader.events(&EventQuery { limit: 1, ..ALL }));
    read.is_ok_and(|read| {
        read.first().map(|event| event.at) == latest.first().map(|event| event.at)
    })
}

fn domain(number: i64) -> String {
    format!("site-{number}.corp.contoso.com")
}

/// What one domain of a thousand does in a day: its record goes from both servers and comes back.
fn of_a_day(day: i64, number: i64) -> Vec<Entry> {
    let at = |seconds| second(day * 86_400 + number * 60 + seconds);
    // As the clock gives it: to the nanosecond.
    let exact = |seconds| (at(seconds) + SignedDuration::from_nanos(123_456_789)).to_string();
    let domain = domain(number);
    let host = host(&format!("kms-{}.corp.contoso.com", number % 200), 1688);
    let servers: Vec<Arc<str>> = vec!["10.0.0.53".into(), "10.0.0.54".into()];
    let happened = |seconds, kind, evidence: Value| {
        let host = (kind != EventKind::Status).then(|| host.clone());
        let servers = if kind == EventKind::Status { Vec::new() } else { servers.clone() };
        Entry::Event(Event { host, servers, ..event(at(seconds), kind, &domain, evidence) })
    };
    let mut entries = vec![
        happened(
            0,
            EventKind::Vanished,
            json!({ "priority": 0, "weight": 100, "first_seen": exact(-86_100), "last_seen": exact(-60) }),
        ),
        happened(1, EventKind::Status, json!({ "status": "critical", "was": "ok" })),
        happened(
            300,
            EventKind::Appeared,
            json!({ "priority": 0, "weight": 100, "first_seen": exact(-86_400) }),
        ),
        happened(301, EventKind::Status, json!({ "status": "ok", "was": "critical" })),
    ];
    entries.extend(["10.0.0.53", "10.0.0.54"].map(|server| {
        let (first_seen, last_seen) = (at(300), at(300));
        let host = host.clone();
        Entry::Record(SeenRecord { host, first_seen, last_seen, ..record(&domain, server) })
    }));
    entries
}
