//! What an auditor that watches tells the journal, and what it takes from it.

use jiff::{SignedDuration, Timestamp};
use kmswatch::audit::changes::{entries, first_entries};
use kmswatch::audit::{AcknowledgeError, Auditor, Memory};
use kmswatch::model::finding::FindingId;
use kmswatch::model::journal::{Acknowledgement, Entry, Event, Remembered, SeenStatus};
use kmswatch::model::{Name, Observation, Snapshot, Status};
use kmswatch::observe::state::{Changes, State};
use kmswatch::report::event_message;

use super::scenario::{Case, cases, start};
use super::when;

/// A case of one domain with two hosts.
fn case(config: &str, seen: &str) -> Case {
    let text = format!(
        "[config]\ndomain = [{{ name = \"east.test\" }}]\n{config}\n\
         [[case]]\nname = \"\"\nfindings = []\nseen = \"\"\"
         srv  east.test * 10 50 1688 kms1.test, 10 50 1688 kms2.test
         host kms1.test 10.1.0.1 kms\nhost kms2.test 10.1.0.2 kms\n{seen}\n\"\"\""
    );
    cases("journal", &text).pop().expect("one case")
}

/// An audit at each moment at which something was seen: the snapshots, and what the auditor told.
fn watch(case: &Case, remembered: &Remembered) -> (Vec<Snapshot>, Vec<Vec<Entry>>) {
    let mut state = State::default();
    state.remember(&case.plan, remembered);
    let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Watching);
    auditor.remember(remembered);
    let look = |moment: &[Observation]| {
        moment.iter().for_each(|observation| state.record(observation.clone()));
        let changes = state.take_changes();
        let snapshot = auditor.audit(&state, &changes, when(&moment[0]));
        (snapshot, auditor.take_entries())
    };
    case.seen.chunk_by(|one, next| when(one) == when(next)).map(look).unzip()
}

fn seconds(moment: Timestamp) -> i64 {
    moment.duration_since(start()).as_secs()
}

/// Events and what became of hosts, a line each.
fn lines(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| match entry {
        Entry::Host(seen) => {
            Some(format!("{} up {} last {}", seen.of, seen.is_up, seconds(seen.last_up)))
        }
        Entry::Event(event) => Some(shown(event)),
        _ => None,
    };
    entries.iter().filter_map(line).collect()
}

fn told_events(entries: &[Entry]) -> impl Iterator<Item = &Event> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Event(event) => Some(event),
        _ => None,
    })
}

fn shown(event: &Event) -> String {
    let evidence = serde_json::to_string(&event.evidence).expect("plain");
    let domain = event.domain.iter().map(ToString::to_string);
    let about = domain.chain(event.host.iter().map(ToString::to_string));
    let about = about.chain(event.servers.iter().map(ToString::to_string)).collect::<Vec<_>>();
    format!("{} {} at {} {evidence}", event.kind, about.join(" "), seconds(event.at))
}

fn findings(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| match entry {
        Entry::Finding { id, since } => {
            let check = id.as_str().rsplit_once('-').expect("check and hash").0.to_owned();
            Some(format!("{check} {:?}", since.map(seconds)))
        }
        _ => None,
    };
    entries.iter().filter_map(line).collect()
}

#[test]
fn a_host_that_turns_is_told_once_each_time() {
    let turns = "at 10s\nprobe 10.1.0.2:1688 kms\nat 20s\nprobe 10.1.0.2:1688 refused\nat 30s
        probe 10.1.0.2:1688 reset\nat 40s\nprobe 10.1.0.2:1688 kms";
    let (snapshots, entries) = watch(&case("", turns), &Remembered::default());
    let told: Vec<Vec<String>> = entries.iter().map(|entries| lines(entries)).collect();
    assert_eq!(told[0], ["kms1.test:1688 up true last 0", "kms2.test:1688 up true last 0"]);
    assert_eq!(told[1], [""; 0]);
    let down = "host-down kms2.test:1688 at 20 {\"endpoints\":{\"10.1.0.2\":\"refused\"},\"last_up\":\"2026-06-30T12:00:10Z\"}";
    assert_eq!(told[2], ["kms2.test:1688 up false last 10", down]);
    assert_eq!(told[3], [""; 0]);
    let said = told_events(&entries[2]).map(event_message).collect::<Vec<_>>();
    assert_eq!(said, ["kms2.test:1688 answers no more: 10.1.0.2 refused"]);
    let up = "host-up kms2.test:1688 at 40 {\"endpoints\":{\"10.1.0.2\":\"kms\"},\"last_up\":\"2026-06-30T12:00:10Z\"}";
    assert_eq!(told[4], ["kms2.test:1688 up true last 40", up]);
    let last_up = |at: usize| snapshots[at].hosts[1].last_up.map(seconds);
    assert_eq!([0, 1, 2, 3, 4].map(last_up), [0, 10, 10, 10, 40].map(Some));
}

#[test]
fn what_cannot_be_told_is_no_change() {
    let turns = "at 10s\nprobe 10.1.0.2:1688 silent\nat 20s\nprobe 10.1.0.2:1688 kms";
    let (_, told) = watch(&case("", turns), &Remembered::default());
    assert_eq!(lines(&told[1]), ["kms2.test:1688 up false last 0"], "but it is not up");
    assert_eq!(lines(&told[2]), ["kms2.test:1688 up true last 20"]);
}

#[test]
fn a_host_that_went_down_while_nobody_watched_is_told_of() {
    let (snapshots, told) = watch(&case("", ""), &Remembered::default());
    let hosts = told.into_iter().flatten().filter_map(|entry| match entry {
        Entry::Host(seen) => Some(seen),
        _ => None,
    });
    let remembered = Remembered { hosts: hosts.collect(), ..Remembered::default() };
    let down = case("", "probe 10.1.0.2:1688 refused");
    let (_, told) = watch(&down, &remembered);
    assert_eq!(lines(&told[0])[0], "kms2.test:1688 up false last 0");
    assert!(lines(&told[0])[1].starts_with("host-down kms2.test:1688 at 0"));
    assert_eq!(snapshots[0].hosts.len(), 2);
}

#[test]
fn before_anything_was_probed_nothing_is_told_of_a_host_but_that_it_has_no_address() {
    let (_, told) = watch(&case("", ""), &Remembered::default());
    let hosts = told.into_iter().flatten().filter_map(|entry| match entry {
        Entry::Host(seen) => Some(seen),
        _ => None,
    });
    let remembered = Remembered { hosts: hosts.collect(), ..Remembered::default() };
    let after = |seen: &str| {
        let mut case = case("", "");
        let text = format!(
            "[config]\ndomain = [{{ name = \"east.test\" }}]\n[[case]]\nname = \"\"\nfindings = []\n\
             seen = \"\"\"\nsrv east.test * 10 50 1688 kms1.test\n{seen}\n\"\"\""
        );
        case.seen = cases("journal", &text).pop().expect("one case").seen;
        let (_, told) = watch(&case, &remembered);
        lines(&told[0])
    };
    assert_eq!(after(""), [""; 0]);
    let denied = after("a kms1.test * nxdomain\naaaa kms1.test * nxdomain");
    assert_eq!(denied[0], "kms1.test:1688 up false last 0");
    assert!(denied[1].starts_with("host-down kms1.test:1688 at 0"), "{denied:?}");
}

#[test]
fn findings_tell_when_they_begin_and_end_and_go_on_after_a_restart() {
    let down = "at 10s\nprobe 10.1.0.2:1688 refused\nat 20s\nprobe 10.1.0.2:1688 reset\nat 30s
        probe 10.1.0.2:1688 kms";
    let (snapshots, told) = watch(&case("", down), &Remembered::default());
    let told: Vec<Vec<String>> = told.iter().map(|entries| findings(entries)).collect();
    assert_eq!(told[1], ["redundancy-lost Some(10)", "host-down Some(10)"]);
    assert_eq!((told[0].len(), told[2].len()), (0, 0));
    let mut ended = told[3].clone();
    ended.sort();
    assert_eq!(ended, ["host-down None", "redundancy-lost None"]);
    let since = start() - SignedDuration::from_hours(7);
    let ids = snapshots[2].findings.iter().map(|finding| (finding.id.clone(), since));
    let remembered = Remembered { findings: ids.collect(), ..Remembered::default() };
    let (snapshots, told) = watch(&case("", "probe 10.1.0.2:1688 refused"), &remembered);
    assert_eq!(findings(&told[0]), [""; 0]);
    assert!(snapshots[0].findings.iter().all(|finding| finding.since == Some(since)));
    let (_, told) = watch(&case("", ""), &remembered);
    assert_eq!(findings(&told[0]).len(), 2, "both ended meanwhile");
}

#[test]
fn divergence_goes_on_settling_over_a_restart() {
    let servers = "resolver = [{ name = \"hq\", servers = [\"10.0.0.53\", \"10.0.0.54\"] }]";
    let differ = case(servers, "srv east.test 10.0.0.54 10 60 1688 kms1.test");
    let (snapshots, _) = watch(&differ, &Remembered::default());
    let divergence = |snapshot: &Snapshot| -> (String, _) {
        let mut findings = snapshot.findings.iter();
        let one =
            findings.find(|one| one.check.as_str() == "server-divergence").expect("they differ");
        (one.severity.to_string(), one.id.clone())
    };
    let (severity, id) = divergence(&snapshots[0]);
    assert_eq!(severity, "warning");
    let since = start() - SignedDuration::from_mins(31);
    let remembered = Remembered { findings: vec![(id, since)], ..Remembered::default() };
    assert_eq!(divergence(&watch(&differ, &remembered).0[0]).0, "critical");
}

#[test]
fn who_left_is_remembered_as_long_as_its_record() {
    let left = "at 10s\nsrv east.test * 10 50 1688 kms1.test\nat 80s
        srv east.test * 10 50 1688 kms1.test";
    let (snapshots, _) = watch(&case("vanished_for = \"1m\"", left), &Remembered::default());
    let departed = |at: usize| -> Vec<String> {
        let departed = snapshots[at].departed.iter();
        departed.map(|(host, last_up)| format!("{host} {}", seconds(*last_up))).collect()
    };
    assert_eq!(departed(0), [""; 0]);
    assert_eq!(departed(1), ["kms2.test:1688 0"]);
    assert_eq!(departed(2), [""; 0]);
}

#[test]
fn one_that_looks_once_tells_nothing() {
    let case = case("", "");
    let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Once);
    auditor.audit(&State::default(), &Changes::default(), start());
    assert_eq!(auditor.take_entries(), []);
}

#[test]
fn servers_and_statuses_change_between_snapshots() {
    let fails = "at 10s\nsrv east.test * servfail\na kms1.test * servfail\naaaa kms1.test * servfail
        a kms2.test * servfail\naaaa kms2.test * servfail\nat 20s\nsrv east.test * servfail\nat 30s
        srv east.test * 10 50 1688 kms1.test, 10 50 1688 kms2.test\naddr kms1.test 10.1.0.1\naddr kms2.test 10.1.0.2";
    let (snapshots, _) = watch(&case("", fails), &Remembered::default());
    let between =
        |at: usize| -> Vec<String> { lines(&entries(&snapshots[at], &snapshots[at + 1])) };
    let failing = "server-failing 10.0.0.53 at 10 {\"failing\":3,\"names\":3,\"outcomes\":{\"servfail\":3},\"path\":\"\"}";
    let status = "status east.test at 10 {\"status\":\"critical\",\"was\":\"ok\"}";
    assert_eq!(between(0), [failing, status]);
    assert_eq!(between(1), [""; 0]);
    let answering = "server-answering 10.0.0.53 at 30 {\"path\":\"\"}";
    let status = "status east.test at 30 {\"status\":\"ok\",\"was\":\"critical\"}";
    assert_eq!(between(2), [answering, status]);
    let told = entries(&snapshots[0], &snapshots[1]);
    let said = told_events(&told).map(event_message).collect::<Vec<_>>();
    assert_eq!(
        said,
        [
            "server 10.0.0.53 gives no usable answer any more: servfail 3",
            "the status of east.test changed: now critical, was ok",
        ]
    );
    // A server that is not asked any more has not come back.
    let mut without = snapshots[2].clone();
    without.findings.clear();
    assert_eq!(entries(&snapshots[2], &without), []);
}

/// The first snapshot of a case with these domains, in which the one named `none.test` has no hosts.
fn snapshot_of(domains: &[&str]) -> Snapshot {
    let config = domains.iter().map(|name| format!("[[config.domain]]\nname = \"{name}\"\n"));
    let seen = domains.iter().map(|name| match *name {
        "none.test" => "srv none.test * nxdomain\n".to_owned(),
        name => format!("srv {name} * 10 50 1688 kms1.test\n"),
    });
    let text = format!(
        "[config]\n{}[[case]]\nname = \"\"\nfindings = []\nseen = \"\"\"\n{}\
         host kms1.test 10.1.0.1 kms\n\"\"\"",
        config.collect::<String>(),
        seen.collect::<String>()
    );
    let case = cases("journal", &text).pop().expect("one case");
    watch(&case, &Remembered::default()).0.remove(0)
}

/// What became of statuses, a line each, beside the events.
fn statuses(entries: &[Entry]) -> Vec<String> {
    let line = |entry: &Entry| match entry {
        Entry::Status(seen) => {
            Some(format!("{} is {} since {}", seen.domain, seen.status, seconds(seen.since)))
        }
        Entry::ForgetStatus(domain) => Some(format!("{domain} is forgotten")),
        _ => lines(std::slice::from_ref(entry)).pop(),
    };
    entries.iter().filter_map(line).collect()
}

#[test]
fn a_status_is_told_when_it_is_first_seen_and_when_it_changed_while_nobody_watched() {
    let first = snapshot_of(&["a.test", "b.test", "none.test"]);
    let told = statuses(&first_entries(Vec::new(), &first).collect::<Vec<_>>());
    let of = |name: &str, status: &str, was: &str| {
        let was = if was.is_empty() { String::new() } else { format!(",\"was\":\"{was}\"") };
        [
            format!("status {name} at 0 {{\"status\":\"{status}\"{was}}}"),
            format!("{name} is {status} since 0"),
        ]
    };
    let [a, b, none] =
        [of("a.test", "info", ""), of("b.test", "info", ""), of("none.test", "critical", "")];
    assert_eq!(told, [&a[..], &b, &none].concat());
    let remembered = |name: &str, status| {
        let domain = Name::parse(name).expect("a name");
        SeenStatus { domain, status, since: start() }
    };
    // In no order, and of more domains than there are.
    let before = vec![
        remembered("none.test", Status::Critical),
        remembered("z.test", Status::Ok),
        remembered("b.test", Status::Ok),
        remembered("aa.test", Status::Ok),
    ];
    let told = statuses(&first_entries(before, &first).collect::<Vec<_>>());
    let forgotten = |name: &str| vec![format!("{name} is forgotten")];
    let b = of("b.test", "info", "ok");
    assert_eq!(
        told,
        [&a[..], &forgotten("aa.test"), &b, &forgotten("z.test")].concat(),
        "none.test is as it was"
    );
}

#[test]
fn domains_that_a_reload_adds_and_removes_are_told_and_forgotten() {
    let [one, other] = [snapshot_of(&["a.test", "c.test"]), snapshot_of(&["b.test", "c.test"])];
    let told = statuses(&entries(&one, &other));
    let added = ["status b.test at 0 {\"status\":\"info\"}", "b.test is info since 0"];
    assert_eq!(told, [&["a.test is forgotten"][..], &added].concat());
}

#[test]
fn a_record_is_not_stale_for_who_looks_once() {
    let case = case("stale_after = \"1s\"", "at 1m\nprobe 10.1.0.2:1688 refused");
    let stale = |memory| {
        let mut state = State::default();
        state.remember(&case.plan, &Remembered::default());
        case.seen.iter().for_each(|observation| state.record(observation.clone()));
        let mut auditor = Auditor::new(case.plan.clone(), start(), memory);
        let snapshot = auditor.audit(&state, &Changes::default(), case.now);
        snapshot.findings.iter().filter(|one| one.check.as_str() == "record-stale").count()
    };
    assert_eq!((stale(Memory::Once), stale(Memory::Watching)), (0, 1));
}

/// Both hosts are down, and what is said of what that leads to.
struct Known {
    state: State,
    auditor: Auditor,
}

impl Known {
    fn start(remembered: &Remembered) -> (Self, Snapshot) {
        let case = case("", "probe 10.1.0.1:1688 refused\nprobe 10.1.0.2:1688 refused");
        let mut state = State::default();
        state.remember(&case.plan, remembered);
        case.seen.iter().for_each(|observation| state.record(observation.clone()));
        let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Watching);
        auditor.remember(remembered);
        let mut known = Self { state, auditor };
        let snapshot = known.at(1);
        (known, snapshot)
    }

    fn at(&mut self, second: i64) -> Snapshot {
        let changes = self.state.take_changes();
        self.auditor.audit(&self.state, &changes, start() + SignedDuration::from_secs(second))
    }

    fn say(
        &mut self,
        id: &FindingId,
        latest: &Snapshot,
        until: i64,
    ) -> Result<(), AcknowledgeError> {
        self.auditor.acknowledge(said(id, until), latest)
    }
}

fn said(id: &FindingId, until: i64) -> Acknowledgement {
    let at = start() + SignedDuration::from_secs(1);
    let until = start() + SignedDuration::from_secs(until);
    Acknowledgement { id: id.clone(), at, until, reason: Some("moved".to_owned()) }
}

/// Check and state of each finding, sorted.
fn states(snapshot: &Snapshot) -> Vec<String> {
    let all = snapshot.findings.iter();
    let mut states: Vec<String> =
        all.map(|finding| format!("{} {}", finding.check, finding.state)).collect();
    states.sort();
    states
}

fn id_of(snapshot: &Snapshot, check: &str) -> FindingId {
    let mut all = snapshot.findings.iter();
    all.find(|finding| finding.check.as_str() == check).expect("it is found").id.clone()
}

#[test]
fn what_is_acknowledged_counts_no_more_and_still_explains_until_it_ends_by_itself() {
    let (mut known, before) = Known::start(&Remembered::default());
    let suppressed = ["host-down suppressed", "host-down suppressed"];
    let active = [&["all-hosts-down active"][..], &suppressed].concat();
    assert_eq!(states(&before), active);
    known.auditor.take_entries();
    let id = id_of(&before, "all-hosts-down");
    assert!(!known.auditor.is_due(&Changes::default(), before.at));
    known.say(&id, &before, 100).expect("it is there");
    assert!(known.auditor.is_due(&Changes::default(), before.at));
    let told = known.auditor.take_entries();
    assert_eq!(told[0], Entry::Acknowledged(said(&id, 100)));
    let event = format!(
        "acknowledged east.test at 1 {{\"id\":\"{id}\",\"reason\":\"moved\",\"until\":\"2026-06-30T12:01:40Z\"}}"
    );
    assert_eq!(lines(&told), [event]);

    let after = known.at(99);
    let acknowledged = [&["all-hosts-down acknowledged"][..], &suppressed].concat();
    assert_eq!(states(&after), acknowledged);
    assert_eq!((after.status, after.summary.critical), (Status::Ok, 0));
    let evidence = &after.findings.iter().find(|one| one.id == id).expect("it stays").evidence;
    assert_eq!(evidence["acknowledged_until"], "2026-06-30T12:01:40Z");
    assert_eq!(evidence["acknowledged_because"], "moved");
    assert!(!known.auditor.is_due(&Changes::default(), after.at));
    assert!(known.auditor.is_due(&Changes::default(), said(&id, 100).until));

    let ended = known.at(100);
    assert_eq!((states(&ended), ended.status), (states(&before), Status::Critical));
    let told = known.auditor.take_entries();
    assert_eq!(told[0], Entry::Unacknowledged(id.clone()));
    let event = format!(
        "unacknowledged east.test at 100 {{\"id\":\"{id}\",\"until\":\"2026-06-30T12:01:40Z\"}}"
    );
    assert_eq!(lines(&told), [event]);
}

#[test]
fn an_acknowledgement_is_taken_back_or_goes_on_after_a_restart() {
    let (mut known, before) = Known::start(&Remembered::default());
    let id = id_of(&before, "all-hosts-down");
    known.say(&id, &before, 100).expect("it is there");
    let acknowledged = known.at(2);
    assert_eq!(states(&acknowledged)[0], "all-hosts-down acknowledged");
    known.auditor.take_entries();
    known.auditor.unacknowledge(&id, &acknowledged, acknowledged.at).expect("it is known");
    assert_eq!(known.auditor.take_entries()[0], Entry::Unacknowledged(id.clone()));
    assert_eq!(states(&known.at(3)), states(&before));
    let again = known.auditor.unacknowledge(&id, &before, before.at);
    assert_eq!(again, Err(AcknowledgeError::NotAcknowledged(id.clone())));

    let acknowledgements = vec![said(&id, 100)];
    let remembered = Remembered { acknowledgements, ..Remembered::default() };
    let (mut known, first) = Known::start(&remembered);
    assert_eq!(states(&first)[0], "all-hosts-down acknowledged");
    assert_eq!(states(&known.at(101))[0], "all-hosts-down active");
}

#[test]
fn a_suppressed_finding_may_be_acknowledged_and_a_greater_one_goes_first() {
    let (mut known, before) = Known::start(&Remembered::default());
    known.say(&id_of(&before, "host-down"), &before, 100).expect("it is there");
    assert_eq!(states(&known.at(2)), states(&before));
}

#[test]
fn what_cannot_be_acknowledged_is_refused_with_what_to_write() {
    let (mut known, before) = Known::start(&Remembered::default());
    let id = id_of(&before, "all-hosts-down");
    let nothing = FindingId::from_kept("srv-missing-0000000000000000");
    let mut refused =
        |id: &FindingId, until| known.say(id, &before, until).expect_err("refused").to_string();
    assert!(refused(&nothing, 100).starts_with("there is no finding srv-missing-0000"));
    assert!(refused(&id, 1).contains(" is past; write a time to come"));
    assert!(
        refused(&id, 367 * 86_400).contains("is more than a year away; write an [[exception]]")
    );
    let entries = known.auditor.take_entries();
    assert!(!entries.iter().any(|entry| matches!(entry, Entry::Acknowledged(_))));
    assert_eq!(states(&known.at(2)), states(&before));
}
