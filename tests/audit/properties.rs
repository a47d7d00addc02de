//! What holds of every estate and every order of what is seen of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kmswatch::audit::{Auditor, Memory};
use kmswatch::model::finding::FindingId;
use kmswatch::model::journal::{Acknowledgement, Remembered, SeenUp};
use kmswatch::model::observation::MAX_RECORDS;
use kmswatch::model::{
    Answer, Check, FindingState, LookupKey, LookupOutcome, Name, Observation, Plan, Record,
    RecordKind, Severity, Snapshot, Status,
};
use kmswatch::observe::state::{Changes, State};
use proptest::prelude::*;
use proptest::sample::Index;

use super::estate::{self, observations, plans, start, steps};
use super::{keys_backwards, watching, when};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Audit after audit gives what one audit of everything gives, whenever one looks; and where
    /// nothing is due, nothing would be new.
    /// A full audit is told what one that watches remembers of its own.
    #[test]
    fn incremental_audit_equals_full_audit(
        plan in plans(),
        steps in steps(1..100),
        looks in proptest::collection::vec((any::<bool>(), 0..400_i64), 100),
        says in proptest::collection::vec((any::<Index>(), 0..6_i64), 100),
    ) {
        let mut state = watching(&plan);
        let mut changes = Changes::default();
        let mut auditor = Auditor::new(plan.clone(), start(), Memory::Watching);
        let mut last: Option<Snapshot> = None;
        let mut remembered = Remembered::default();
        let seen = observations(&plan, &steps);
        for (position, ((observation, (looks, later)), said)) in seen.iter().zip(looks).zip(says).enumerate() {
            state.record(observation.clone());
            merge(&mut changes, state.take_changes());
            if !looks {
                continue;
            }
            // Not beyond the next observation: time does not run backwards.
            let next = seen.get(position + 1).map_or(Timestamp::MAX, when);
            let now = (when(observation) + SignedDuration::from_secs(later)).min(next);
            let found = auditor.audit(&state, &std::mem::take(&mut changes), now);
            let whole = full_after(&remembered, &plan, &state, now);
            same("incremental and full", &found, &whole)?;
            learn(&mut remembered, &found);
            if let Some(next) = seen.get(position + 1).map(when) && !auditor.is_due(&Changes::default(), next) {
                same("nothing due and full", &found, &full_after(&remembered, &plan, &state, next))?;
            }
            consistent(&found)?;
            say(said, &mut auditor, &mut remembered, &found);
            last = Some(found);
        }
        prop_assert!(last.is_none_or(|last| last.domains.len() == plan.domains.len()));
    }

    /// What is seen again costs the domain that it is about, and nothing else: all other views are
    /// those of the snapshot before.
    #[test]
    fn what_nobody_saw_anew_is_shared(plan in plans(), steps in steps(1..80), which in any::<Index>()) {
        let seen = observations(&plan, &steps);
        let lookups: Vec<&Observation> = seen.iter().filter(|seen| owner_of(seen).is_some()).collect();
        prop_assume!(!lookups.is_empty());
        let now = when(seen.last().expect("a step"));
        let mut state = state_of(&plan, seen.iter().cloned());
        let mut auditor = Auditor::new(plan.clone(), start(), Memory::Watching);
        let changes = state.take_changes();
        let before = auditor.audit(&state, &changes, now);
        prop_assert!(!auditor.is_due(&Changes::default(), now));
        let owner = owner_of(lookups[which.index(lookups.len())]).expect("a lookup of records");
        let again = latest(&state, &plan, &owner, now);
        // A server may be asked for what the plan does not ask it.
        prop_assume!(!again.is_empty());
        again.into_iter().for_each(|again| state.record(again));
        let changes = state.take_changes();
        let after = auditor.audit(&state, &changes, now);
        for (one, other) in before.domains.iter().zip(&after.domains) {
            let is_shared = Arc::ptr_eq(&one.view, &other.view);
            prop_assert_eq!(is_shared, one.view.domain.owner != owner, "{}", one.view.domain.name);
        }
        prop_assert!(before.hosts.iter().zip(&after.hosts).all(|(one, other)| Arc::ptr_eq(one, other)));
    }

    /// A reload leaves nothing behind of the domains that are not watched any more, though resolvers and
    /// hosts be the same.
    #[test]
    fn an_audit_after_a_reload_equals_a_full_audit(
        plan in plans(),
        steps in steps(1..80),
        which in any::<Index>(),
    ) {
        let seen = observations(&plan, &steps);
        let now = when(seen.last().expect("a step"));
        let state = state_of(&plan, seen.iter().cloned());
        let mut auditor = Auditor::new(plan.clone(), start(), Memory::Once);
        auditor.audit(&state, &Changes::default(), now);
        let mut fewer = Plan::clone(&plan);
        fewer.domains.remove(which.index(plan.domains.len()));
        let fewer = Arc::new(fewer);
        auditor.replan(fewer.clone());
        let reloaded = auditor.audit(&state, &Changes::default(), now);
        same("reloaded and full", &reloaded, &full(&fewer, &state, now))?;
    }

    #[test]
    fn the_order_of_keys_changes_nothing(plan in plans(), steps in steps(1..80), later in 0..400_i64) {
        let seen = observations(&plan, &steps);
        let now = when(seen.last().expect("a step")) + SignedDuration::from_secs(later);
        let forwards = full(&plan, &state_of(&plan, seen.iter().cloned()), now);
        let backwards = full(&plan, &state_of(&plan, keys_backwards(&seen).cloned()), now);
        same("forwards and backwards", &forwards, &backwards)?;
    }

    /// Where all servers tell one truth whenever they answer usably, a timeout in place of any answer
    /// makes nothing absent.
    ///
    /// Where they do not agree, it may: one server denies, the other's records are replaced by a
    /// timeout, and then "every usable answer says that the name does not exist" (design section 8).
    /// What holds there is told by the next two properties.
    #[test]
    fn a_timeout_makes_nothing_absent_where_servers_agree(
        plan in plans(),
        steps in steps(1..80),
        srv in proptest::collection::vec(estate::srv_answers(), 5),
        addresses in proptest::collection::vec(estate::addresses(), 16),
        replaced in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let seen = observations(&plan, &steps);
        let truthful = seen.iter().map(|observation| tell(&plan, &srv, &addresses, observation));
        let seen: Vec<Observation> = truthful.collect();
        let silent = |position: usize, _: &Answer| replaced[position];
        no_new_absence(&plan, &seen, silent, |_| true)?;
    }

    /// A timeout in place of a denial makes nothing absent, whatever else is said. Where records were denied,
    /// and the timeout leaves those that were seen before, their targets count again: what is absent of
    /// those was absent all along, and is left out here.
    #[test]
    fn a_timeout_in_place_of_a_denial_makes_nothing_absent(
        plan in plans(),
        steps in steps(1..80),
        replaced in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let seen = observations(&plan, &steps);
        let is_of_records = |at: usize| owner_of(&seen[at]).is_some();
        let is_replaced = |at: usize, answer: &Answer| replaced[at] && answer.outcome.is_denial();
        let is_of_domain = |check| check != Check::TargetUnresolvable;
        no_new_absence(&plan, &seen, |at, answer| is_of_records(at) && is_replaced(at, answer), is_of_domain)?;
        no_new_absence(&plan, &seen, |at, answer| !is_of_records(at) && is_replaced(at, answer), |_| true)?;
    }

    /// A resolver whose servers are all silent says of nothing that it is absent.
    #[test]
    fn silence_denies_nothing(plan in plans(), steps in steps(1..80), which in any::<Index>()) {
        let silent = which.get(&plan.resolvers);
        let mut seen = observations(&plan, &steps);
        for observation in &mut seen {
            if let Observation::Lookup { key, answer, .. } = observation
                && silent.upstreams.contains(&key.upstream)
            {
                *answer = Arc::new(Answer::bare(LookupOutcome::Timeout));
            }
        }
        let now = when(seen.last().expect("a step"));
        let snapshot = full(&plan, &state_of(&plan, seen.into_iter()), now);
        for finding in snapshot.findings.iter().filter(|finding| is_absence(finding.check)) {
            let named = finding.evidence.get("resolvers").and_then(|names| names.as_array());
            let is_named = named.is_some_and(|names| names.iter().any(|name| name == &*silent.name));
            prop_assert!(!is_named && finding.resolver.as_ref() != Some(&silent.name), "{finding:?}");
        }
    }

    /// As many records as an answer may hold, with any bytes for names.
    #[test]
    fn no_answer_is_too_much(
        plan in plans(),
        names in proptest::collection::vec(hostile_labels(), MAX_RECORDS),
        numbers in proptest::collection::vec(any::<(u16, u16, u16, u32)>(), MAX_RECORDS),
    ) {
        let record = |(labels, (priority, weight, port, ttl)): (Vec<Vec<u8>>, _)| {
            let target = Name::from_labels(labels.iter().map(Vec::as_slice));
            Record { priority, weight, port, target, ttl }
        };
        let mut records: Vec<Record> = names.into_iter().zip(numbers).map(record).collect();
        records.sort_unstable();
        let answer = Answer { records, ..Answer::bare(LookupOutcome::Records) };
        let mut state = watching(&plan);
        for key in kmswatch::observe::work::srv_keys(&plan) {
            state.record(Observation::Lookup { key, answer: Arc::new(answer.clone()), at: start() });
        }
        let snapshot = full(&plan, &state, start());
        consistent(&snapshot)?;
        prop_assert!(!snapshot.hosts.is_empty());
    }
}

/// The owner of a lookup of SRV records.
fn owner_of(seen: &Observation) -> Option<Name> {
    match seen {
        Observation::Lookup { key, .. } if key.kind == RecordKind::Srv => Some(key.name.clone()),
        _ => None,
    }
}

/// What the servers said last of this owner, said again.
fn latest(state: &State, plan: &Plan, owner: &Name, at: Timestamp) -> Vec<Observation> {
    let keys = kmswatch::observe::work::srv_keys(plan).into_iter().filter(|key| key.name == *owner);
    let again = |key: LookupKey| {
        let answer = state.lookup(&key)?.latest.value.clone();
        Some(Observation::Lookup { key, answer, at })
    };
    keys.filter_map(again).collect()
}

/// No label: the root.
fn hostile_labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..8)
}

fn state_of(plan: &Plan, seen: impl Iterator<Item = Observation>) -> State {
    let mut state = watching(plan);
    seen.for_each(|observation| state.record(observation));
    state
}

fn full(plan: &Arc<Plan>, state: &State, now: Timestamp) -> Snapshot {
    Auditor::new(plan.clone(), start(), Memory::Once).audit(state, &Changes::default(), now)
}

/// Everything anew, but for what an auditor that watches remembers.
fn full_after(
    remembered: &Remembered,
    plan: &Arc<Plan>,
    state: &State,
    now: Timestamp,
) -> Snapshot {
    let mut auditor = Auditor::new(plan.clone(), start(), Memory::Watching);
    auditor.remember(remembered);
    auditor.audit(state, &Changes::default(), now)
}

/// Somebody says of some finding that it is known, for none to a few minutes, or that it is not.
fn say(
    (which, minutes): (Index, i64),
    auditor: &mut Auditor,
    remembered: &mut Remembered,
    latest: &Snapshot,
) {
    let known: Vec<FindingId> = latest.findings.iter().map(|one| one.id.clone()).collect();
    if known.is_empty() {
        return;
    }
    let (id, at) = (which.get(&known).clone(), latest.at);
    remembered.acknowledgements.retain(|said| said.id != id);
    if minutes == 0 {
        let _ = auditor.unacknowledge(&id, latest, at);
        return;
    }
    let until = at + SignedDuration::from_secs(60 * minutes);
    let said = Acknowledgement { id, at, until, reason: Some("known".to_owned()) };
    auditor.acknowledge(said.clone(), latest).expect("it is there");
    remembered.acknowledgements.push(said);
}

/// What an auditor that watches remembers after this snapshot.
fn learn(remembered: &mut Remembered, snapshot: &Snapshot) {
    let since = snapshot.findings.iter().map(|one| (one.id.clone(), one.since.expect("watched")));
    remembered.findings = since.collect();
    for view in &snapshot.hosts {
        let Some(last_up) = view.last_up else { continue };
        remembered.hosts.retain(|known| known.of != view.host);
        let (of, is_up) = (view.host.clone(), view.status.is_up());
        remembered.hosts.push(SeenUp { of, last_up, is_up });
    }
}

fn merge(changes: &mut Changes, more: Changes) {
    changes.owners.extend(more.owners);
    changes.targets.extend(more.targets);
    changes.endpoints.extend(more.endpoints);
}

/// Everything but the generation and the times of audits.
fn same(what: &str, one: &Snapshot, other: &Snapshot) -> Result<(), TestCaseError> {
    let differs = |one: &Snapshot, other: &Snapshot| -> Vec<String> {
        let mine = one.findings.iter().filter(|finding| !other.findings.contains(finding));
        mine.map(|finding| format!("{:?} {}: {}", finding.state, finding.id, finding.message))
            .collect()
    };
    let (mine, theirs) = (differs(one, other), differs(other, one));
    prop_assert!(mine.is_empty() && theirs.is_empty(), "{what}: {mine:#?} and {theirs:#?}");
    prop_assert_eq!(&one.hosts, &other.hosts);
    prop_assert_eq!(&one.departed, &other.departed);
    prop_assert_eq!((one.status, one.summary), (other.status, other.summary));
    let profiles = |of: &Snapshot| -> Vec<_> {
        of.profiles.iter().map(|entry| (entry.status, entry.view.clone())).collect()
    };
    prop_assert_eq!(profiles(one), profiles(other));
    prop_assert_eq!(one.domains.len(), other.domains.len());
    for (one, other) in one.domains.iter().zip(&other.domains) {
        prop_assert_eq!(one.status, other.status);
        prop_assert_eq!(&one.view.domain, &other.view.domain);
        prop_assert_eq!(&one.view.answers, &other.view.answers);
        prop_assert_eq!(&one.view.records, &other.view.records);
        prop_assert_eq!(&one.view.hosts, &other.view.hosts);
        prop_assert_eq!(&one.view.seen, &other.view.seen);
    }
    Ok(())
}

/// What holds of every snapshot.
fn consistent(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let findings = &snapshot.findings;
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    prop_assert_eq!(ids.len(), findings.len());
    for finding in findings {
        prop_assert!(!finding.message.is_empty() && !finding.remedy.contains('{'), "{finding:?}");
        // The greater one is not suppressed (so there is no cycle) and hits whatever the lesser one hits.
        let Some(id) = &finding.suppressed_by else {
            prop_assert!(finding.is_active() || finding.is_known());
            continue;
        };
        prop_assert_eq!(finding.state, FindingState::Suppressed);
        let greater = findings.iter().find(|other| other.id == *id).expect("it is there");
        prop_assert!(greater.is_active() || greater.is_known());
        let is_hit = |domain: &Name| greater.domains.contains(domain);
        prop_assert!(finding.domains.iter().all(is_hit), "{finding:?} by {greater:?}");
    }
    let worst = |of: &dyn Fn(&[Name]) -> bool| {
        let active = findings.iter().filter(|one| one.is_active() && of(&one.domains));
        active.map(|finding| Status::from(finding.severity)).max().unwrap_or(Status::Ok)
    };
    prop_assert_eq!(snapshot.status, worst(&|_| true));
    let count = |severity| {
        findings.iter().filter(|one| one.is_active() && one.severity == severity).count()
    };
    let summary = snapshot.summary;
    prop_assert_eq!(
        (summary.critical, summary.warning, summary.info),
        (count(Severity::Critical), count(Severity::Warning), count(Severity::Info))
    );
    for entry in &snapshot.domains {
        let name = &entry.view.domain.name;
        prop_assert_eq!(entry.status, worst(&|hit| hit.contains(name)));
        let hosts = &entry.view.hosts;
        let sum = |part: fn(&kmswatch::model::snapshot::DomainHost) -> f64| {
            hosts.iter().map(part).sum::<f64>()
        };
        let whole = |is_some: bool| if is_some { 1.0 } else { 0.0 };
        prop_assert!((sum(|host| host.share) - whole(!hosts.is_empty())).abs() < 1e-9);
        let is_up = hosts.iter().any(|host| host.status.is_up());
        prop_assert!((sum(|host| host.live_share) - whole(is_up)).abs() < 1e-9);
    }
    Ok(())
}

fn is_absence(check: Check) -> bool {
    use Check::{RecordMissing, SrvDeclined, SrvEmpty, SrvMissing, TargetUnresolvable};
    matches!(check, SrvMissing | SrvEmpty | SrvDeclined | RecordMissing | TargetUnresolvable)
}

/// Which absence is found of what; that the name does not exist and that it is empty are one.
fn absences(snapshot: &Snapshot, counts: impl Fn(Check) -> bool) -> BTreeSet<String> {
    let absence = |finding: &&Arc<kmswatch::model::Finding>| {
        is_absence(finding.check) && counts(finding.check)
    };
    let shown = |finding: &Arc<kmswatch::model::Finding>| match finding.check {
        Check::SrvMissing | Check::SrvEmpty => {
            format!("no records: {} at {:?}", finding.subject, finding.resolver)
        }
        // Whether one resolver lacks it or two, it is the same finding.
        check => format!("{check}: {}", finding.subject),
    };
    snapshot.findings.iter().filter(absence).map(shown).collect()
}

/// Every absence that counts and is found once `is_replaced` answers are timeouts was found before.
fn no_new_absence(
    plan: &Arc<Plan>,
    seen: &[Observation],
    is_replaced: impl Fn(usize, &Answer) -> bool,
    counts: impl Fn(Check) -> bool,
) -> Result<(), TestCaseError> {
    let replace = |(position, observation): (usize, &Observation)| match observation {
        Observation::Lookup { key, answer, at } if is_replaced(position, answer) => {
            let answer = Arc::new(Answer::bare(LookupOutcome::Timeout));
            Observation::Lookup { key: key.clone(), answer, at: *at }
        }
        kept => kept.clone(),
    };
    let replaced = seen.iter().enumerate().map(replace);
    let now = when(seen.last().expect("a step"));
    let before = absences(&full(plan, &state_of(plan, seen.iter().cloned()), now), &counts);
    let after = absences(&full(plan, &state_of(plan, replaced), now), &counts);
    prop_assert!(after.is_subset(&before), "{:?}", after.difference(&before).collect::<Vec<_>>());
    Ok(())
}

/// The one truth of each name, where a server answers usably at all.
fn tell(plan: &Plan, srv: &[Answer], addresses: &[Answer], seen: &Observation) -> Observation {
    let Observation::Lookup { key, answer, at } = seen else { return seen.clone() };
    if !answer.outcome.is_usable() {
        return seen.clone();
    }
    let mut truth = match key.kind {
        RecordKind::Srv => {
            let domain = plan.domains.iter().position(|domain| domain.owner == key.name);
            srv[domain.expect("a planned domain")].clone()
        }
        kind => {
            let target = estate::targets().iter().position(|target| *target == key.name);
            addresses[2 * target.expect("a target") + usize::from(kind == RecordKind::Aaaa)].clone()
        }
    };
    if key.kind != RecordKind::Srv {
        truth.addresses.retain(|address| address.is_ipv4() == (key.kind == RecordKind::A));
        if truth.outcome == LookupOutcome::Records && truth.addresses.is_empty() {
            truth = Answer::bare(LookupOutcome::Nodata);
        }
    }
    Observation::Lookup { key: key.clone(), answer: Arc::new(truth), at: *at }
}
