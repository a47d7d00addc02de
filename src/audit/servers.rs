//! server-failure: a server that gives no usable answer, for whatever name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use serde_json::{Map, Value};

use crate::model::finding::FindingId;
use crate::model::snapshot::{AnswerView, DomainView};
use crate::model::{
    Answer, Check, Finding, LookupKey, LookupOutcome, Name, Plan, PlannedDomain, Resolver,
    Severity, Subject, Upstream,
};
use crate::observe::resolution::ADDRESS_KINDS;
use crate::observe::state::{Horizon, State};

use super::domain::{Answered, DomainAudit};
use super::draft::{Draft, counted};
use super::sight::Sight;
use super::texts::{Key, Part};

/// What was asked of one server.
#[derive(Default)]
struct Record<'a> {
    /// How many names.
    names: usize,
    /// How many of them have no usable answer, of whatever type.
    failing: usize,
    /// For how many nothing was sent, as this machine lacks the path.
    lacking: usize,
    outcomes: BTreeMap<LookupOutcome, usize>,
    /// What else is known of a failure: of several, the same whatever order they come in.
    detail: Option<Arc<str>>,
    /// The domains whose own lookup fails.
    domains: Vec<&'a PlannedDomain>,
}

/// Half of the names are failing, and at least so many: the server, not the zones, is at fault.
const MANY: usize = 5;

impl Record<'_> {
    fn is_failure(&self) -> bool {
        let half = self.failing * 2 >= self.names && self.failing >= MANY;
        self.failing == self.names || half
    }

    /// Whether all that fails does so before it gets to the server.
    fn lacks_path(&self) -> bool {
        self.failing > 0 && self.lacking == self.failing
    }

    fn add(&mut self, is_usable: bool, answer: &Answer) {
        self.names += 1;
        if !is_usable {
            self.failing += 1;
            self.lacking += usize::from(answer.lacks_path());
            *self.outcomes.entry(answer.outcome).or_default() += 1;
            let details = self.detail.take().into_iter().chain(answer.detail.clone());
            self.detail = details.min();
        }
    }
}

/// What servers were asked for.
pub(super) struct Seen<D, A, S> {
    pub(super) audits: D,
    /// Of profiles, for the domains that they search.
    pub(super) answers: A,
    pub(super) sights: S,
}

/// Returns the findings, and for each resolver all of whose servers fail, theirs.
pub(super) fn check<'a>(
    plan: &Plan,
    state: &State,
    seen: Seen<
        impl Iterator<Item = &'a DomainAudit>,
        impl Iterator<Item = &'a (Arc<PlannedDomain>, AnswerView)>,
        impl Iterator<Item = &'a Arc<Sight>>,
    >,
    horizon: &Horizon,
    findings: &mut Vec<Arc<Finding>>,
) -> Vec<(Arc<str>, Vec<FindingId>)> {
    let mut records: HashMap<&'a Upstream, Record, FixedState> = HashMap::default();
    add_domains(seen.audits, horizon, &mut records);
    add_profiles(plan, seen.answers, horizon, &mut records);
    add_targets(state, seen.sights, horizon, &mut records);
    let asked: Vec<&Arc<Resolver>> = plan.asked_resolvers().collect();
    let dead_everywhere = fold(&asked, &mut records);
    let fails = |upstream: &Arc<Upstream>| records.get(&**upstream).is_some_and(Record::is_failure);
    let dead: Vec<&Arc<Resolver>> =
        asked.iter().copied().filter(|resolver| resolver.upstreams.iter().all(fails)).collect();
    let mut ids: HashMap<&Upstream, FindingId, FixedState> = HashMap::default();
    for upstream in asked.iter().flat_map(|resolver| &resolver.upstreams) {
        if !fails(upstream) || ids.contains_key(&**upstream) {
            continue;
        }
        if let Some(id) = dead_everywhere.get(&**upstream).and_then(|own| ids.get(own)).cloned() {
            ids.insert(upstream, id);
            continue;
        }
        let is_dead = dead.iter().any(|resolver| has(resolver, upstream));
        let finding = finding(plan, upstream, &records[&**upstream], is_dead);
        ids.insert(upstream, finding.id.clone());
        findings.push(finding);
    }
    let of = |resolver: &&Arc<Resolver>| {
        let ids = resolver.upstreams.iter().filter_map(|upstream| ids.get(&**upstream).cloned());
        (resolver.name.clone(), ids.collect())
    };
    dead.iter().map(of).collect()
}

/// The domains that all their servers answer are counted together, by whom they are asked of.
fn add_domains<'a>(
    audits: impl Iterator<Item = &'a DomainAudit>,
    horizon: &Horizon,
    records: &mut HashMap<&'a Upstream, Record<'a>, FixedState>,
) {
    let mut answered: HashMap<_, (&'a [Arc<Resolver>], usize), FixedState> = HashMap::default();
    for audit in audits {
        match &audit.answered {
            Some(Answered { resolvers, oldest }) if horizon.is_fresh(*oldest) => {
                answered.entry(Arc::as_ptr(resolvers)).or_insert((resolvers, 0)).1 += 1;
            }
            _ => add_domain(&audit.view, horizon, records),
        }
    }
    for (resolvers, names) in answered.into_values() {
        let mut upstreams: Vec<_> =
            resolvers.iter().flat_map(|resolver| &resolver.upstreams).collect();
        upstreams.sort_unstable();
        upstreams.dedup();
        for upstream in upstreams {
            records.entry(upstream).or_default().names += names;
        }
    }
}

fn add_domain<'a>(
    view: &'a DomainView,
    horizon: &Horizon,
    records: &mut HashMap<&'a Upstream, Record<'a>, FixedState>,
) {
    for (position, answer) in view.answers.iter().enumerate() {
        let before = &view.answers[..position];
        // A server of two resolvers is asked once.
        if !horizon.is_fresh(answer.at)
            || before.iter().any(|other| other.upstream == answer.upstream)
        {
            continue;
        }
        let record = records.entry(&answer.upstream).or_default();
        let is_usable = answer.answer.outcome.is_usable();
        record.add(is_usable, &answer.answer);
        if !is_usable {
            record.domains.push(&view.domain);
        }
    }
}

/// What profiles ask beyond the domains. It counts for the server, and hits no domain: that a profile's
/// clients fail is told of the profile.
fn add_profiles<'a>(
    plan: &Plan,
    answers: impl Iterator<Item = &'a (Arc<PlannedDomain>, AnswerView)>,
    horizon: &Horizon,
    records: &mut HashMap<&'a Upstream, Record<'a>, FixedState>,
) {
    let mut beyond: HashSet<LookupKey, FixedState> = plan.profile_keys().into_iter().collect();
    for (domain, view) in answers {
        if beyond.remove(&domain.srv_key(&view.upstream)) && horizon.is_fresh(view.at) {
            let record = records.entry(&view.upstream).or_default();
            record.add(view.answer.outcome.is_usable(), &view.answer);
        }
    }
}

/// A server that fails over a profile's path and over the resolver's own as well is one finding: that of
/// the resolver's own, which also hits the domains that only the profile asks it for.
fn fold<'r>(
    asked: &[&'r Arc<Resolver>],
    records: &mut HashMap<&Upstream, Record, FixedState>,
) -> HashMap<&'r Upstream, &'r Upstream, FixedState> {
    let mut folded = HashMap::default();
    for resolver in asked {
        for upstream in &resolver.upstreams {
            let bases = resolver.base.iter().flat_map(|base| &base.upstreams);
            let Some(own) = bases.into_iter().find(|own| own.server == upstream.server) else {
                continue;
            };
            let fails = |of: &Upstream| records.get(of).is_some_and(Record::is_failure);
            if !fails(upstream) || !fails(own) {
                continue;
            }
            let domains = records.get(&**upstream).map(|record| record.domains.clone());
            if let Some(record) = records.get_mut(&**own) {
                record.domains.extend(domains.unwrap_or_default());
            }
            folded.insert(&**upstream, &**own);
        }
    }
    folded
}

fn add_targets<'a>(
    state: &State,
    sights: impl Iterator<Item = &'a Arc<Sight>>,
    horizon: &Horizon,
    records: &mut HashMap<&'a Upstream, Record<'a>, FixedState>,
) {
    let mut seen: HashSet<(&Upstream, &Name), FixedState> = HashSet::default();
    for sight in sights {
        for upstream in &sight.resolver.upstreams {
            let target = &sight.host.target;
            if target.as_address().is_some() || !seen.insert((&**upstream, target)) {
                continue;
            }
            let latest = ADDRESS_KINDS.iter().filter_map(|kind| {
                let key =
                    LookupKey { upstream: upstream.clone(), name: target.clone(), kind: *kind };
                state
                    .lookup(&key)
                    .map(|lookup| &lookup.latest)
                    .filter(|latest| horizon.is_fresh(latest.at))
            });
            let answers: Vec<&Answer> = latest.map(|latest| &*latest.value).collect();
            if let Some(first) = answers.first() {
                let is_usable = answers.iter().any(|answer| answer.outcome.is_usable());
                records.entry(upstream).or_default().add(is_usable, first);
            }
        }
    }
}

fn finding(plan: &Plan, upstream: &Arc<Upstream>, record: &Record, is_dead: bool) -> Arc<Finding> {
    let mut domains: Vec<Name> = record.domains.iter().map(|domain| domain.name.clone()).collect();
    domains.sort_unstable();
    domains.dedup();
    let (subject, message) = (Subject::Server(upstream.clone()), message(upstream, record));
    let draft = Draft::new(Check::ServerFailure, subject, domains, message);
    let resolvers: Vec<&Arc<Resolver>> =
        plan.asked_resolvers().filter(|resolver| has(resolver, upstream)).collect();
    let draft = match resolvers.as_slice() {
        [only] => draft.at_resolver(only),
        _ => draft,
    };
    let severity = if is_dead { Severity::Critical } else { Severity::Warning };
    let outcomes: Map<String, Value> = record
        .outcomes
        .iter()
        .map(|(outcome, count)| (outcome.to_string(), (*count).into()))
        .collect();
    draft
        .scoped(&upstream.path.to_string())
        .severity(severity)
        .valued(plan, |values| {
            let values = values.server(&upstream.server).part(match record.lacks_path() {
                true => Part::PathLacking,
                false => Part::ServerFails,
            });
            let values = match upstream.path.source {
                Some(source) => values.set(Key::Clients, source),
                None => values,
            };
            match record.domains.first() {
                Some(domain) => {
                    values.set(Key::Owner, &domain.owner).set(Key::Domain, &domain.name)
                }
                None => values,
            }
        })
        .evidence("names", record.names)
        .evidence("failing", record.failing)
        .evidence("outcomes", Value::Object(outcomes))
        .evidence("path", upstream.path.to_string())
        .done()
}

fn message(upstream: &Upstream, record: &Record) -> String {
    if let (true, Some(what)) = (record.lacks_path(), &record.detail) {
        return format!(
            "{} cannot be asked over its path: {what}, which says nothing of the server",
            upstream.server
        );
    }
    let how_many = match record.names - record.failing {
        0 => format!("none of {}", counted(record.names, "name")),
        usable => format!("only {usable} of {}", counted(record.names, "name")),
    };
    let over = match upstream.path.to_string() {
        path if path.is_empty() => path,
        path => format!(" (from {path})"),
    };
    let tally: Vec<String> =
        record.outcomes.iter().map(|(outcome, count)| format!("{outcome} for {count}")).collect();
    let why = record.detail.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!(
        "{}{over} gives a usable answer for {how_many} asked of it: {}{why}",
        upstream.server,
        tally.join(", ")
    )
}

fn has(resolver: &Resolver, upstream: &Arc<Upstream>) -> bool {
    resolver.upstreams.iter().any(|other| **other == **upstream)
}
