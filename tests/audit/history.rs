//! What holds of the history of every estate: what it is made of, and that a restart forgets nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kmswatch::audit::{Auditor, Memory};
use kmswatch::model::finding::FindingId;
use kmswatch::model::journal::{Entry, Remembered, SeenEndpoint, SeenRecord, SeenUp, Witness};
use kmswatch::model::snapshot::SeenHost;
use kmswatch::model::srv::naming_hosts;
use kmswatch::model::{
    Check, EndpointKey, Finding, Host, LookupKey, Name, Observation, Plan, PlannedDomain, Record,
    Snapshot, Upstream,
};
use kmswatch::observe::state::{Changes, State};
use proptest::prelude::*;

use super::estate::{observations, plans, start, steps};
use super::{keys_backwards, watching, when};

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is there and what vanished follows from the usable answers of each server by itself: neither
    /// silence, nor the order of keys, nor a restart at any moment makes a record vanish.
    #[test]
    fn only_usable_answers_make_a_record_vanish(
        plan in plans(),
        steps in steps(1..120),
        restarts in proptest::collection::vec(proptest::bool::weighted(0.1), 120),
        is_backwards in any::<bool>(),
    ) {
        let plan = forever(&plan);
        let mut seen = observations(&plan, &steps);
        if is_backwards {
            seen = keys_backwards(&seen).cloned().collect();
        }
        let mut journal = Journal::default();
        let mut state = watching(&plan);
        for (observation, restarts) in seen.iter().zip(&restarts) {
            state.record(observation.clone());
            if *restarts {
                journal.keep(state.take_last_entries());
                state = State::default();
                state.remember(&plan, &journal.remembered());
            }
        }
        let now = seen.iter().map(when).max().expect("a step");
        let mut auditor = Auditor::new(plan.clone(), start(), Memory::Once);
        let snapshot = auditor.audit(&state, &Changes::default(), now);
        let was_restarted = restarts[..seen.len()].contains(&true);
        for entry in &snapshot.domains {
            let mut found = entry.view.seen.clone();
            let mut expected = model(&entry.view.domain, &seen);
            if was_restarted {
                // A heartbeat may be later than what it stands for.
                for (found, expected) in found.iter_mut().zip(&mut expected) {
                    prop_assert!(found.last_seen >= expected.last_seen);
                    found.last_seen = expected.last_seen;
                }
            }
            for seen in found.iter_mut().chain(&mut expected) {
                // Which server counts where two differ is not what this is about.
                (seen.priority, seen.weight) = (0, 0);
            }
            prop_assert_eq!(found, expected, "{}", entry.view.domain.name);
        }
    }

    /// Once everything was observed again after a restart, the audit sees what it would have seen without.
    #[test]
    fn a_restart_forgets_nothing_that_the_audit_sees(plan in plans(), steps in steps(1..100), pause in 0..200_i64) {
        let seen = observations(&plan, &steps);
        let mut watch = Watch::new(&plan, &Remembered::default());
        let mut journal = Journal::default();
        for observation in &seen {
            watch.look(std::slice::from_ref(observation), when(observation));
            journal.keep(watch.state.take_entries());
            journal.keep(watch.auditor.take_entries());
        }
        journal.keep(watch.state.take_last_entries());
        let mut restarted = Watch::new(&plan, &journal.remembered());
        let now = when(seen.last().expect("a step")) + SignedDuration::from_secs(pause);
        let again = again(&watch.state, &seen, now);
        let (one, other) = (watch.look(&again, now), restarted.look(&again, now));
        let findings = |of: &Snapshot| -> BTreeMap<FindingId, Finding> {
            // A host's heartbeat may be later than what it stands for.
            let findings = of.findings.iter().filter(|one| one.check != Check::RecordStale);
            findings.map(|one| (one.id.clone(), (**one).clone())).collect()
        };
        prop_assert_eq!(findings(&one), findings(&other));
        for (one, other) in one.domains.iter().zip(&other.domains) {
            prop_assert_eq!(&one.view.seen, &other.view.seen);
        }
        for (one, other) in one.hosts.iter().zip(&other.hosts) {
            prop_assert!(one.last_up <= other.last_up && one.last_up.is_some() == other.last_up.is_some());
        }
    }

    /// What one keeps and what is kept of it after a restart are the same rows: nothing is told twice.
    #[test]
    fn the_same_again_is_told_once(plan in plans(), steps in steps(1..80)) {
        let seen = observations(&plan, &steps);
        let mut journal = Journal::default();
        let mut state = watching(&plan);
        seen.iter().for_each(|observation| state.record(observation.clone()));
        journal.keep(state.take_last_entries());
        let now = when(seen.last().expect("a step"));
        let again = again(&state, &seen, now);
        let mut restarted = State::default();
        restarted.remember(&plan, &journal.remembered());
        for state in [&mut state, &mut restarted] {
            again.iter().for_each(|observation| state.record(observation.clone()));
            let told = state.take_last_entries();
            let is_news = |entry: &&Entry| !matches!(entry, Entry::Heartbeat { .. });
            prop_assert_eq!(told.iter().find(is_news), None);
        }
    }
}

/// The plan, where what vanished stays.
fn forever(plan: &Plan) -> Arc<Plan> {
    Arc::new(Plan { vanished_for: Duration::from_hours(24 * 365), ..plan.clone() })
}

struct Watch {
    state: State,
    auditor: Auditor,
}

impl Watch {
    fn new(plan: &Arc<Plan>, remembered: &Remembered) -> Self {
        let mut state = State::default();
        state.remember(plan, remembered);
        let mut auditor = Auditor::new(plan.clone(), start(), Memory::Watching);
        auditor.remember(remembered);
        Self { state, auditor }
    }

    fn look(&mut self, seen: &[Observation], now: Timestamp) -> Snapshot {
        seen.iter().for_each(|observation| self.state.record(observation.clone()));
        let changes = self.state.take_changes();
        self.auditor.audit(&self.state, &changes, now)
    }
}

/// All that is known, seen again: of a lookup the last usable answer, then the latest.
fn again(state: &State, seen: &[Observation], at: Timestamp) -> Vec<Observation> {
    let mut keys: BTreeSet<LookupKey> = BTreeSet::new();
    let mut endpoints: BTreeSet<EndpointKey> = BTreeSet::new();
    for observation in seen {
        match observation {
            Observation::Lookup { key, .. } => drop(keys.insert(key.clone())),
            Observation::Probe { key, .. } => drop(endpoints.insert(key.clone())),
        }
    }
    let lookups = keys.into_iter().flat_map(|key| {
        let known = state.lookup(&key).expect("it was seen");
        let usable = known.usable.iter().map(|usable| usable.value.clone());
        let answers: Vec<_> = usable.chain([known.latest.value.clone()]).collect();
        answers.into_iter().map(move |answer| Observation::Lookup { key: key.clone(), answer, at })
    });
    let probes = endpoints.into_iter().map(|key| {
        let probe = state.probe(&key).expect("it was seen").value.clone();
        Observation::Probe { key, probe, at }
    });
    lookups.chain(probes).collect()
}

/// What one server showed of a host: when first, when last, and since when it does not.
#[derive(Clone, Copy)]
struct Shown {
    first: Timestamp,
    last: Timestamp,
    gone: Option<Timestamp>,
}

/// What was seen of a domain, straight from the answers of each of its servers.
fn model(domain: &PlannedDomain, seen: &[Observation]) -> Vec<SeenHost> {
    let own = domain.resolvers.iter().flat_map(|resolver| &resolver.upstreams);
    let own: BTreeSet<&Upstream> = own.map(|upstream| &**upstream).collect();
    let mut hosts: BTreeMap<Host, Vec<Shown>> = BTreeMap::new();
    for upstream in own {
        for (host, shown) in of_server(domain, upstream, seen) {
            hosts.entry(host).or_default().push(shown);
        }
    }
    let merged = hosts.into_iter().map(|(host, shown)| SeenHost {
        host,
        priority: 0,
        weight: 0,
        first_seen: shown.iter().map(|one| one.first).min().expect("one at least"),
        last_seen: shown.iter().map(|one| one.last).max().expect("one at least"),
        gone: shown
            .iter()
            .map(|one| one.gone)
            .collect::<Option<Vec<_>>>()
            .and_then(|all| all.into_iter().max()),
    });
    merged.collect()
}

fn of_server(
    domain: &PlannedDomain,
    upstream: &Upstream,
    seen: &[Observation],
) -> BTreeMap<Host, Shown> {
    let mut shown: BTreeMap<Host, Shown> = BTreeMap::new();
    for observation in seen {
        let Observation::Lookup { key, answer, at } = observation else { continue };
        if *key.upstream != *upstream || key.name != domain.owner || !answer.outcome.is_usable() {
            continue;
        }
        let named: Vec<Host> =
            naming_hosts(answer.records.iter()).into_iter().map(Record::host).collect();
        for host in &named {
            let new = Shown { first: *at, last: *at, gone: None };
            let known = shown.entry(host.clone()).or_insert(new);
            (known.last, known.gone) = (*at, None);
        }
        for (_, left) in shown.iter_mut().filter(|(host, _)| !named.contains(host)) {
            left.gone = left.gone.or(Some(*at));
        }
    }
    shown
}

/// A journal in memory: what it is given replaces what was kept of the same thing.
#[derive(Default)]
struct Journal {
    records: HashMap<(Name, Witness, Host), SeenRecord>,
    endpoints: HashMap<SeenEndpoint, SeenUp<SeenEndpoint>>,
    hosts: HashMap<Host, SeenUp<Host>>,
    findings: HashMap<FindingId, Timestamp>,
    beats: HashMap<Witness, Timestamp>,
}

impl Journal {
    fn keep(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            match entry {
                Entry::Record(seen) => {
                    let key = (seen.domain.clone(), seen.witness.clone(), seen.host.clone());
                    self.records.insert(key, seen);
                }
                Entry::ForgetRecord { domain, witness, host } => {
                    self.records.remove(&(domain, witness, host));
                }
                Entry::Endpoint(seen) => drop(self.endpoints.insert(seen.of.clone(), seen)),
                Entry::Host(seen) => drop(self.hosts.insert(seen.of.clone(), seen)),
                Entry::Finding { id, since: Some(since) } => {
                    assert_eq!(self.findings.insert(id, since), None, "it had not begun");
                }
                Entry::Finding { id, since: None } => {
                    assert!(self.findings.remove(&id).is_some(), "it had begun");
                }
                Entry::Heartbeat { witness, at } => {
                    let beat = self.beats.entry(witness).or_insert(at);
                    *beat = at.max(*beat);
                }
                _ => {}
            }
        }
    }

    fn remembered(&self) -> Remembered {
        let mut remembered = Remembered {
            records: self.records.values().cloned().collect(),
            endpoints: self.endpoints.values().cloned().collect(),
            hosts: self.hosts.values().cloned().collect(),
            findings: self.findings.clone().into_iter().collect(),
            ..Remembered::default()
        };
        for seen in remembered.records.iter_mut().filter(|seen| seen.gone.is_none()) {
            seen.last_seen = self.beat(&seen.witness).max(Some(seen.last_seen)).expect("its own");
        }
        for seen in remembered.endpoints.iter_mut().filter(|seen| seen.is_up) {
            seen.last_up = self.beat(&seen.of.witness).max(Some(seen.last_up)).expect("its own");
        }
        let probed = self.beats.iter().filter(|(witness, _)| witness.server.is_empty());
        let latest = probed.map(|(_, at)| *at).max();
        for seen in remembered.hosts.iter_mut().filter(|seen| seen.is_up) {
            seen.last_up = latest.max(Some(seen.last_up)).expect("its own");
        }
        remembered
    }

    fn beat(&self, witness: &Witness) -> Option<Timestamp> {
        self.beats.get(witness).copied()
    }
}
