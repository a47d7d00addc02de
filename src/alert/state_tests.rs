use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::model::alert::SendTo::{Alertmanager, Nobody};
use crate::model::{Check, Plan, Subject};
use crate::report::fixture;

/// Of two minutes and an interval of one: what is gone holds for as long.
fn rules() -> Rules {
    let plan = Plan {
        alert: crate::model::alert::AlertSettings { send_to: Alertmanager, ..Default::default() },
        ..Plan::empty()
    };
    Rules::of(&plan).expect("somebody is told")
}

fn down(severity: Severity) -> Finding {
    let subject = Subject::Host(fixture::named_host("kms.east.example"));
    fixture::finding(Check::HostDown, severity, subject, &["east.example"], "it is down")
}

fn snapshot(seconds: i64, findings: Vec<Finding>) -> Snapshot {
    let at = at(seconds);
    let findings = findings.into_iter().map(Arc::new).collect();
    Snapshot { at, ..fixture::snapshot(Vec::new(), Vec::new(), findings) }
}

fn at(seconds: i64) -> Timestamp {
    fixture::time("2026-03-01T12:00:00Z") + SignedDuration::from_secs(seconds)
}

/// A ledger, and what its journal holds.
struct Watch {
    ledger: Ledger,
    journal: BTreeMap<FindingId, String>,
}

impl Watch {
    fn new(rules: Rules) -> Self {
        Self { ledger: Ledger::restore(rules, &[]).0, journal: BTreeMap::new() }
    }

    fn see(&mut self, seconds: i64, findings: Vec<Finding>) {
        let before = self.ledger.board();
        let outcome = self.ledger.observe(&snapshot(seconds, findings));
        for entry in outcome.entries {
            let Entry::Alert { id, state } = entry else { panic!("{entry:?}") };
            match state {
                Some(state) => self.journal.insert(id, state),
                None => self.journal.remove(&id),
            };
        }
        assert_eq!(
            outcome.is_news,
            before != self.ledger.board(),
            "news is what changes the board"
        );
    }

    fn restart(&mut self) {
        let states: Vec<_> = self.journal.clone().into_iter().collect();
        let (ledger, unreadable) = Ledger::restore(self.ledger.rules.clone(), &states);
        assert_eq!(unreadable, []);
        self.ledger = ledger;
    }

    /// `severity begin[..end]` of each alert, in seconds.
    fn board(&self) -> Vec<String> {
        let line = |alert: &Arc<Alert>| {
            let seconds = |time: Timestamp| time.duration_since(at(0)).as_secs();
            let end = alert.ends_at.map(|end| format!("..{}", seconds(end))).unwrap_or_default();
            format!("{} {}{end}", alert.labels["severity"], seconds(alert.starts_at))
        };
        self.ledger.board().iter().map(line).collect()
    }

    fn annotation(&self, name: &str) -> Option<String> {
        self.ledger.board()[0].annotations.get(name).cloned()
    }
}

#[test]
fn what_somebody_knows_of_or_works_on_ends_at_once_and_says_why() {
    for (state, word) in
        [(FindingState::Acknowledged, "acknowledged"), (FindingState::Maintenance, "maintenance")]
    {
        let mut watch = Watch::new(rules());
        let there = || down(Severity::Critical);
        [0, 120].into_iter().for_each(|second| watch.see(second, vec![there()]));
        assert_eq!(watch.board(), ["critical 120"]);
        watch.see(130, vec![Finding { state, ..there() }]);
        assert_eq!(watch.board(), ["critical 120..130"], "{word}");
        let why = watch.annotation("resolved_because").expect("a reason");
        assert!(why.contains(word), "{why}");
        // What is known of from the beginning is never told.
        let mut watch = Watch::new(rules());
        (0..10).for_each(|turn| watch.see(turn * 60, vec![Finding { state, ..there() }]));
        assert!(watch.board().is_empty(), "{word}");
    }
}

#[test]
fn a_finding_fires_after_a_while_and_resolves_after_a_while() {
    let mut watch = Watch::new(rules());
    let there = || vec![down(Severity::Critical)];
    for (seconds, findings, expected) in [
        (0, there(), vec![]),
        (119, there(), vec![]),
        (120, there(), vec!["critical 120"]),
        (200, vec![], vec!["critical 120"]),
        (319, vec![], vec!["critical 120"]),
        (320, vec![], vec!["critical 120..320"]),
        (619, vec![], vec!["critical 120..320"]),
        (620, vec![], vec![]),
    ] {
        watch.see(seconds, findings);
        assert_eq!(watch.board(), expected, "at {seconds}");
    }
    assert!(watch.journal.is_empty(), "nothing is left of what is over");
}

#[test]
fn one_that_flaps_is_one_alert_that_says_so() {
    let mut watch = Watch::new(rules());
    watch.see(0, vec![down(Severity::Warning)]);
    watch.see(120, vec![down(Severity::Warning)]);
    assert_eq!(watch.annotation("flaps"), None);
    for time in (180..1000).step_by(60) {
        let is_there = time % 120 == 0;
        watch.see(time, if is_there { vec![down(Severity::Warning)] } else { vec![] });
        assert_eq!(watch.board(), ["warning 120"], "at {time}");
    }
    let flaps = "flaps: went and came back 7 times within the last hour";
    assert_eq!(watch.annotation("flaps").as_deref(), Some(flaps));
    watch.restart();
    let once = "went and came back once within the last hour";
    for (seconds, expected) in [(960 + 3599, Some(once)), (960 + 3600, None)] {
        watch.see(seconds, vec![down(Severity::Warning)]);
        assert_eq!(watch.annotation("flaps").as_deref(), expected, "at {seconds}");
    }
}

#[test]
fn another_severity_ends_the_one_and_begins_the_other_in_one_step() {
    let mut watch = Watch::new(rules());
    watch.see(0, vec![down(Severity::Warning)]);
    watch.see(120, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["warning 120"], "it was not critical for long");
    watch.see(239, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["warning 120"]);
    watch.restart();
    watch.see(240, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["critical 240", "warning 120..240"]);
    watch.see(300, vec![down(Severity::Warning)]);
    watch.see(419, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["critical 240", "warning 120..240"], "to and fro wakes nobody");
    watch.see(420, vec![down(Severity::Warning)]);
    watch.see(540, vec![down(Severity::Warning)]);
    assert_eq!(watch.board(), ["warning 540", "critical 240..540"], "and none is told twice");
}

#[test]
fn a_severity_must_have_lasted_to_be_that_of_what_fires() {
    let mut watch = Watch::new(rules());
    watch.see(0, vec![down(Severity::Critical)]);
    watch.see(60, vec![down(Severity::Warning)]);
    watch.see(61, vec![down(Severity::Critical)]);
    watch.see(120, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["warning 120"]);
    watch.see(181, vec![down(Severity::Critical)]);
    assert_eq!(watch.board(), ["critical 181", "warning 120..181"]);
}

#[test]
fn what_is_explained_or_too_little_is_not_told() {
    let suppressed = Finding { state: FindingState::Suppressed, ..down(Severity::Critical) };
    for finding in [suppressed, down(Severity::Info)] {
        let mut watch = Watch::new(rules());
        watch.see(0, vec![finding.clone()]);
        watch.see(1000, vec![finding.clone()]);
        assert_eq!((watch.board(), watch.journal.len()), (vec![], 0));
        // And what fires then ends as if it were gone.
        watch.see(2000, vec![down(Severity::Warning)]);
        watch.see(2120, vec![down(Severity::Warning)]);
        watch.see(2200, vec![finding.clone()]);
        assert_eq!(watch.board(), ["warning 2120"]);
        watch.see(2320, vec![finding]);
        assert_eq!(watch.board(), ["warning 2120..2320"]);
    }
}

#[test]
fn labels_hold_identity_and_annotations_the_rest() {
    let mut rules = rules();
    rules.vantage = Some("berlin".into());
    rules.external_url = "https://k.example".into();
    let mut finding = down(Severity::Critical);
    let own = [("site", "hq"), ("target", "no"), ("empty", "")];
    finding.labels = Arc::new(own.map(|(name, value)| (name.into(), value.into())).into());
    finding.remedy = "Start it:\n  net start\u{1b}[31m".to_owned();
    finding.client_error = Some(crate::model::finding::ClientError(0xC004_F074));
    let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let id = finding.id.to_string();
    let expected = [
        ("alertname", "host-down"),
        ("finding", &id),
        ("severity", "warning"),
        ("target", "kms.east.example"),
        ("port", "1688"),
        ("vantage", "berlin"),
        ("site", "hq"),
    ];
    assert_eq!(labels(&finding, Severity::Warning, &rules), text(&expected));
    let link = format!("https://k.example/findings?q={id}");
    let runbook = format!("{}/blob/main/docs/checks/host-down.md", env!("CARGO_PKG_REPOSITORY"));
    let expected = [
        ("summary", "it is down"),
        ("description", "Start it:\n  net start\u{fffd}[31m"),
        ("client_error", "0xC004F074"),
        ("domains", "east.example"),
        ("since", "2026-03-01T12:00:05Z"),
        ("runbook_url", &runbook),
        ("link", &link),
    ];
    assert_eq!(annotations(&finding, at(5), 0, &rules), text(&expected));
    let subject = Subject::Domain(fixture::name("east.example"));
    let many: Vec<String> = (0..22).map(|at| format!("d{at:02}.example")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let missing = fixture::finding(Check::SrvMissing, Severity::Critical, subject, &many, "gone");
    let annotations = annotations(&missing, at(5), 0, &rules);
    assert!(annotations["domains"].ends_with("d19.example, and 2 more"), "{annotations:?}");
    assert_eq!(annotations["link"], "https://k.example/domains/east.example");
}

#[test]
fn a_label_of_the_config_that_changes_ends_the_one_and_begins_the_other() {
    let mut watch = Watch::new(rules());
    watch.see(0, vec![down(Severity::Warning)]);
    watch.see(120, vec![down(Severity::Warning)]);
    let mut rules = rules();
    rules.vantage = Some("hq".into());
    watch.ledger.replan(rules);
    watch.see(130, vec![down(Severity::Warning)]);
    assert_eq!(watch.board(), ["warning 130", "warning 120..130"]);
}

#[test]
fn what_is_gone_holds_for_two_intervals_at_least() {
    let hold = |interval, true_interval, send_to| {
        let [interval, true_interval] = [interval, true_interval].map(Duration::from_mins);
        let alert = crate::model::alert::AlertSettings { send_to, ..Default::default() };
        let rules = Rules::of(&Plan { interval, true_interval, alert, ..Plan::empty() });
        rules.map(|rules| rules.hold.as_secs() / 60)
    };
    assert_eq!(hold(0, 0, Alertmanager), Some(2), "as long as it must be there");
    assert_eq!(hold(5, 0, Alertmanager), Some(10));
    assert_eq!(hold(1, 7, Alertmanager), Some(14), "as long as they really are");
    assert_eq!(hold(1, 1, Nobody), None);
}

#[test]
fn a_state_of_another_version_is_told_and_left_out() {
    let id = down(Severity::Warning).id;
    let (ledger, unreadable) = Ledger::restore(rules(), &[(id.clone(), "{}}".to_owned())]);
    assert_eq!((ledger.board(), unreadable), (vec![], vec![id]));
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    There,
    Gone,
    Explained,
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![4 => Just(Seen::There), 2 => Just(Seen::Gone), 1 => Just(Seen::Explained)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes and goes: what was there for `after` fires, once; what was gone for `hold` ends, and
    /// not before; and a restart at any point changes nothing.
    #[test]
    fn it_fires_and_ends_in_time_and_restarts_do_not_show(
        steps in proptest::collection::vec((1..100_i64, seen(), any::<bool>(), any::<bool>()), 1..60),
    ) {
        let rules = Rules { hold: Duration::from_mins(3), ..rules() };
        let (mut watch, mut restarted) = (Watch::new(rules.clone()), Watch::new(rules.clone()));
        let (mut now, mut is_firing) = (0, false);
        let (mut there_since, mut gone_since) = (None, None);
        let wanted = [rules.after, rules.hold].map(|wanted| i64::try_from(wanted.as_secs()).expect("little"));
        for (pause, seen, is_critical, is_restarted) in steps {
            now += pause;
            let severity = if is_critical { Severity::Critical } else { Severity::Warning };
            let findings = match seen {
                Seen::There => vec![down(severity)],
                Seen::Gone => vec![],
                Seen::Explained => vec![Finding { state: FindingState::Suppressed, ..down(severity) }],
            };
            if is_restarted {
                restarted.restart();
            }
            watch.see(now, findings.clone());
            restarted.see(now, findings);
            prop_assert_eq!(watch.ledger.board(), restarted.ledger.board());
            if seen == Seen::There {
                gone_since = None;
                is_firing |= now - *there_since.get_or_insert(now) >= wanted[0];
            } else {
                there_since = None;
                is_firing &= now - *gone_since.get_or_insert(now) < wanted[1];
            }
            let board = watch.ledger.board();
            let firing: Vec<_> = board.iter().filter(|alert| alert.ends_at.is_none()).collect();
            prop_assert_eq!(firing.len(), usize::from(is_firing), "at {}: {:?}", now, watch.board());
            let over = board.iter().filter(|alert| alert.ends_at.is_some());
            for over in over {
                prop_assert!(firing.iter().all(|alert| alert.labels != over.labels));
                prop_assert!(over.ends_at.is_some_and(|end| end >= over.starts_at));
            }
        }
    }

    /// Without a break, it is one alert from `after` on, with one beginning.
    #[test]
    fn what_stays_fires_exactly_once(pauses in proptest::collection::vec(1..30_i64, 1..40)) {
        let mut watch = Watch::new(rules());
        let (mut now, mut begun) = (0, None);
        watch.see(0, vec![down(Severity::Critical)]);
        for pause in pauses {
            now += pause;
            watch.see(now, vec![down(Severity::Critical)]);
            if now >= 120 {
                let begun = *begun.get_or_insert(now);
                prop_assert_eq!(watch.board(), vec![format!("critical {begun}")]);
            } else {
                prop_assert_eq!(watch.board(), Vec::<String>::new());
            }
        }
    }
}
