//! What an auditor remembers from one audit to the next.

use jiff::{SignedDuration, Timestamp};
use kmswatch::audit::{Auditor, Memory};
use kmswatch::model::snapshot::DomainEntry;
use kmswatch::model::{Observation, Snapshot};
use kmswatch::observe::state::{Changes, State};

use super::scenario::{Case, cases, start};
use super::watching;

/// A case with this config and these lines of what was seen.
fn case(config: &str, seen: &str) -> Case {
    let text = format!(
        "[config]\ninterval = \"6h\"\n{config}\n\
         [[case]]\nname = \"\"\nfindings = []\nseen = \"\"\"\n{seen}\n\"\"\""
    );
    cases("auditor", &text).pop().expect("one case")
}

const DOMAINS: &str = r#"domain = [{ name = "east.test" }, { name = "west.test" }]"#;

/// A host each.
const HEALTHY: &str = "
    srv  east.test * 10 50 1688 kms1.test
    srv  west.test * 10 50 1688 kms2.test
    host kms1.test 10.1.0.1 kms
    host kms2.test 10.1.0.2 kms";

struct Watch {
    auditor: Auditor,
    state: State,
}

impl Watch {
    fn of(case: &Case) -> Self {
        let auditor = Auditor::new(case.plan.clone(), start(), Memory::Watching);
        Self { auditor, state: watching(&case.plan) }
    }

    fn audit(&mut self, seen: &[Observation], now: Timestamp) -> Snapshot {
        seen.iter().for_each(|observation| self.state.record(observation.clone()));
        let changes = self.state.take_changes();
        self.auditor.audit(&self.state, &changes, now)
    }
}

/// What is seen in `case` makes the auditor due just after `until`, when nothing else is seen.
fn assert_due_after(case: &Case, until: Timestamp) {
    let mut watch = Watch::of(case);
    assert!(watch.auditor.is_due(&Changes::default(), start()), "nothing was audited yet");
    watch.audit(&case.seen, case.now);
    assert!(!watch.auditor.is_due(&Changes::default(), case.now));
    assert!(!watch.auditor.is_due(&Changes::default(), until), "it still holds then");
    let after = until + SignedDuration::from_nanos(1);
    assert!(watch.auditor.is_due(&Changes::default(), after));
    case.seen.iter().for_each(|observation| watch.state.record(observation.clone()));
    assert!(watch.auditor.is_due(&watch.state.take_changes(), case.now), "something was seen");
}

fn stale(case: &Case) -> SignedDuration {
    SignedDuration::try_from(case.plan.stale_after()).expect("it is short")
}

#[test]
fn it_is_due_when_an_answer_that_still_counts_grows_stale() {
    let later = "\nat 1m\nsrv east.test * timeout\nsrv west.test * timeout
        addr kms1.test 10.1.0.1\naddr kms2.test 10.1.0.2\nprobe 10.1.0.1:1688 kms\nprobe 10.1.0.2:1688 kms";
    let case = case(DOMAINS, &format!("{HEALTHY}{later}"));
    assert_due_after(&case, start() + stale(&case));
}

#[test]
fn it_is_due_when_a_probe_grows_stale() {
    let later =
        "\nat 1m\nsrv east.test * 10 50 1688 kms1.test\nsrv west.test * 10 50 1688 kms2.test
        addr kms1.test 10.1.0.1\naddr kms2.test 10.1.0.2\nprobe 10.1.0.2:1688 kms";
    let case = case(DOMAINS, &format!("{HEALTHY}{later}"));
    assert_due_after(&case, start() + stale(&case));
}

#[test]
fn it_is_due_when_an_exception_expires() {
    let exception =
        r#"exception = [{ checks = ["host-slow"], severity = "off", expires = 2026-06-30 }]"#;
    let midnight: Timestamp = "2026-07-01T00:00:00Z".parse().expect("a time");
    assert_due_after(
        &case(&format!("{DOMAINS}\n{exception}"), HEALTHY),
        midnight - SignedDuration::from_nanos(1),
    );
}

#[test]
fn it_is_due_when_divergence_has_settled() {
    let servers = r#"resolver = [{ name = "hq", servers = ["10.0.0.53", "10.0.0.54"] }]"#;
    let differ = "\nsrv east.test 10.0.0.54 10 60 1688 kms1.test";
    let case = case(&format!("{servers}\n{DOMAINS}"), &format!("{HEALTHY}{differ}"));
    assert_due_after(&case, case.now + SignedDuration::from_mins(30));
}

#[test]
fn it_is_due_when_what_vanished_is_no_news_any_more() {
    let config = format!("vanished_for = \"1h\"\n{DOMAINS}");
    let case = case(&config, &format!("{HEALTHY}\nat 1m\nsrv east.test * nxdomain"));
    assert_due_after(&case, start() + SignedDuration::from_mins(61));
}

#[test]
fn it_is_due_when_a_record_grows_stale() {
    let config = format!("stale_after = \"1h\"\n{DOMAINS}");
    let case = case(&config, &HEALTHY.replace("10.1.0.1 kms", "10.1.0.1 refused"));
    assert_due_after(&case, start() + SignedDuration::from_hours(1));
}

#[test]
fn snapshots_count_up_and_tell_their_times() {
    let case = case(DOMAINS, HEALTHY);
    let mut watch = Watch::of(&case);
    for generation in 1..=3 {
        let now = case.now + SignedDuration::from_secs(generation);
        let snapshot = watch.audit(&[], now);
        assert_eq!(i64::try_from(snapshot.generation), Ok(generation));
        assert_eq!((snapshot.started, snapshot.at), (start(), now));
    }
}

#[test]
fn a_domain_that_nothing_touched_is_not_audited_again() {
    let case = case(DOMAINS, &format!("{HEALTHY}\nat 1m\nprobe 10.1.0.2:1688 refused"));
    let (last, first) = case.seen.split_last().expect("observations");
    let mut watch = Watch::of(&case);
    let before = case.now - SignedDuration::from_secs(30);
    watch.audit(first, before);
    let snapshot = watch.audit(std::slice::from_ref(last), case.now);
    assert_eq!(audited(&snapshot), [before, case.now]);
    let snapshot = watch.audit(std::slice::from_ref(last), case.now + SignedDuration::from_secs(1));
    assert_eq!(audited(&snapshot), [before, case.now], "the same again changes nothing for it");
}

fn audited(snapshot: &Snapshot) -> Vec<Timestamp> {
    snapshot.domains.iter().map(|one| one.view.audited).collect()
}

#[test]
fn another_plan_is_audited_anew() {
    let before = case(DOMAINS, HEALTHY);
    let after = case(&DOMAINS.replace("west", "north"), &HEALTHY.replace("west", "north"));
    let mut watch = Watch::of(&before);
    watch.audit(&before.seen, before.now);
    watch.auditor.replan(after.plan);
    let snapshot = watch.audit(&[], before.now);
    let name = |entry: &DomainEntry| entry.view.domain.name.to_string();
    assert_eq!(snapshot.domains.iter().map(name).collect::<Vec<_>>(), ["east.test", "north.test"]);
}

#[test]
fn a_finding_tells_since_when_it_has_been_there_without_a_break() {
    let case = case(DOMAINS, HEALTHY);
    let mut watch = Watch::of(&case);
    let since =
        |snapshot: &Snapshot| snapshot.findings.iter().map(|one| one.since).collect::<Vec<_>>();
    let (first, later) = (case.now, case.now + SignedDuration::from_mins(1));
    assert_eq!(since(&watch.audit(&case.seen, first)), [Some(first); 2], "redundancy-none, twice");
    assert_eq!(since(&watch.audit(&[], later)), [Some(first); 2]);
    let mut once = Auditor::new(case.plan.clone(), start(), Memory::Once);
    assert_eq!(since(&once.audit(&watch.state, &Changes::default(), later)), [None; 2]);
}
