//! What the audit says of what was seen, by scenarios: `tests/scenarios/` has a file for each check,
//! with a case in which it fires and the nearest one in which it must not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use kmswatch::audit::{Auditor, Memory};
use kmswatch::model::journal::Remembered;
use kmswatch::model::snapshot::HostStatus;
use kmswatch::model::{Check, EndpointKey, LookupKey, Observation, Plan, Snapshot};
use kmswatch::observe::state::{Changes, State};

#[path = "audit/auditor.rs"]
mod auditor;
#[path = "audit/config.rs"]
mod config;
#[path = "audit/estate.rs"]
mod estate;
#[path = "audit/history.rs"]
mod history;
#[path = "audit/journal.rs"]
mod journal;
#[path = "audit/properties.rs"]
mod properties;
#[path = "audit/scenario.rs"]
mod scenario;

use scenario::{Case, clients, findings, hosts, start, told};

#[test]
fn every_scenario_has_exactly_its_findings() {
    let mut wrong = Vec::new();
    for case in all_cases() {
        let snapshot = watched(&case);
        compare(&mut wrong, &case, &case.findings, &findings(&snapshot));
        if let Some(expected) = &case.hosts {
            compare(&mut wrong, &case, expected, &hosts(&snapshot));
        }
        if let Some(expected) = &case.clients {
            compare(&mut wrong, &case, expected, &clients(&snapshot));
        }
        let told = told(&snapshot);
        let untold: Vec<String> =
            case.told.iter().filter(|line| !told.contains(line)).cloned().collect();
        if !untold.is_empty() {
            compare(&mut wrong, &case, &untold, &told);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_built_check_has_a_firing_and_a_quiet_case() {
    let mut fires: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    for case in all_cases() {
        let is_of_file = |line: &String| line.split_whitespace().nth(1) == Some(case.file.as_str());
        fires.entry(case.file.clone()).or_default().insert(case.findings.iter().any(is_of_file));
    }
    for check in Check::ALL.iter().filter(|check| check.is_built()) {
        let seen = fires.get(check.as_str()).cloned().unwrap_or_default();
        assert_eq!(seen, [false, true].into(), "{check}: a case that fires, and one that must not");
    }
}

#[test]
fn every_finding_speaks_and_has_its_own_id() {
    for case in all_cases() {
        let snapshot = watched(&case);
        let ids: BTreeSet<&str> = snapshot.findings.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), snapshot.findings.len(), "{}: {}: {ids:?}", case.file, case.name);
        for finding in &snapshot.findings {
            let place = format!("{}: {}: {}", case.file, case.name, finding.check);
            assert!(!finding.message.trim().is_empty(), "{place}");
            assert!(!finding.remedy.is_empty() && !finding.remedy.contains('{'), "{place}");
        }
    }
}

#[test]
fn the_summary_counts_what_the_snapshot_holds() {
    for case in all_cases() {
        let snapshot = audited(&case, case.seen.iter());
        let (summary, hosts) = (snapshot.summary, &snapshot.hosts);
        let endpoints: usize = hosts.iter().map(|host| host.endpoints.len()).sum();
        let counts = (summary.domains, summary.hosts, summary.endpoints);
        let held = (snapshot.domains.len(), hosts.len(), endpoints);
        assert_eq!(counts, held, "{}: {}", case.file, case.name);
    }
}

#[test]
fn no_remedy_against_a_failure_removes_a_host_that_works() {
    let against_failure = [
        Check::AllHostsDown,
        Check::TierDown,
        Check::RedundancyLost,
        Check::HostDown,
        Check::HostNotKms,
        Check::TargetUnresolvable,
    ];
    let mut removals = 0;
    for case in all_cases() {
        let snapshot = watched(&case);
        for finding in snapshot.findings.iter().filter(|one| against_failure.contains(&one.check)) {
            let is_removal =
                |line: &&str| line.contains("Remove-Dns") || line.contains("update delete");
            for line in finding.remedy.lines().filter(is_removal) {
                let names = |target: &str| line.contains(&format!("{target}."));
                let working = snapshot.hosts.iter().filter(|host| host.status == HostStatus::Up);
                let hit =
                    working.map(|host| &host.host.target).find(|target| names(target.as_str()));
                assert_eq!(hit, None, "{}: {}: {line}", case.file, case.name);
                removals += 1;
            }
        }
    }
    assert!(removals > 0, "no scenario has such a remedy");
}

#[test]
fn the_order_of_observations_changes_nothing() {
    for case in all_cases() {
        let forwards = audited(&case, case.seen.iter());
        let backwards = audited(&case, keys_backwards(&case.seen));
        assert_eq!(forwards.findings, backwards.findings, "{}: {}", case.file, case.name);
    }
}

#[test]
fn auditing_after_every_observation_ends_the_same() {
    for case in all_cases() {
        let mut state = watching(&case.plan);
        let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Once);
        for observation in &case.seen {
            let at = when(observation);
            state.record(observation.clone());
            let changes = state.take_changes();
            auditor.audit(&state, &changes, at);
        }
        let last = auditor.audit(&state, &Changes::default(), case.now);
        let whole = audited(&case, case.seen.iter());
        assert_eq!(last.findings, whole.findings, "{}: {}", case.file, case.name);
        assert_eq!(hosts(&last), hosts(&whole), "{}: {}", case.file, case.name);
        assert_eq!(clients(&last), clients(&whole), "{}: {}", case.file, case.name);
    }
}

/// Every case of every file, in the order of the files' names.
fn all_cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("tests/scenarios")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        scenario::cases(&name, &std::fs::read_to_string(path).expect("a text"))
    };
    files.iter().flat_map(read).collect()
}

fn audited<'a>(case: &Case, seen: impl Iterator<Item = &'a Observation>) -> Snapshot {
    let mut state = watching(&case.plan);
    seen.for_each(|observation| state.record(observation.clone()));
    let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Once);
    let changes = state.take_changes();
    auditor.audit(&state, &changes, case.now)
}

/// As the daemon sees it: an audit at each moment at which something was seen, and one at the end.
fn watched(case: &Case) -> Snapshot {
    let mut state = watching(&case.plan);
    let mut auditor = Auditor::new(case.plan.clone(), start(), Memory::Watching);
    for moment in case.seen.chunk_by(|one, next| when(one) == when(next)) {
        moment.iter().for_each(|observation| state.record(observation.clone()));
        let changes = state.take_changes();
        auditor.audit(&state, &changes, when(&moment[0]));
    }
    auditor.audit(&state, &Changes::default(), case.now)
}

/// A state that keeps a history, and remembers nothing yet.
fn watching(plan: &Plan) -> State {
    let mut state = State::default();
    state.remember(plan, &Remembered::default());
    state
}

fn when(observation: &Observation) -> jiff::Timestamp {
    match observation {
        Observation::Lookup { at, .. } | Observation::Probe { at, .. } => *at,
    }
}

/// The last key first; the observations of one key stay in the order of their times.
fn keys_backwards(seen: &[Observation]) -> impl Iterator<Item = &Observation> {
    let mut first: HashMap<Key, usize> = HashMap::new();
    for (position, observation) in seen.iter().enumerate() {
        first.entry(key(observation)).or_insert(position);
    }
    let mut backwards: Vec<&Observation> = seen.iter().collect();
    backwards.sort_by_key(|observation| std::cmp::Reverse(first[&key(observation)]));
    backwards.into_iter()
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    Lookup(LookupKey),
    Endpoint(EndpointKey),
}

fn key(observation: &Observation) -> Key {
    match observation {
        Observation::Lookup { key, .. } => Key::Lookup(key.clone()),
        Observation::Probe { key, .. } => Key::Endpoint(key.clone()),
    }
}

fn compare(wrong: &mut Vec<String>, case: &Case, expected: &[String], found: &[String]) {
    if expected == found {
        return;
    }
    wrong.push(format!("{}: {}", case.file, case.name));
    let only_expected = expected.iter().filter(|line| !found.contains(line));
    wrong.extend(only_expected.map(|line| format!("  expected {line}")));
    let only_found = found.iter().filter(|line| !expected.contains(line));
    wrong.extend(only_found.map(|line| format!("  found    {line}")));
}
