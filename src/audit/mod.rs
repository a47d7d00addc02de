//! PURE. Plan and state in, findings out.
//!
//! [`Auditor::audit`] audits the domains that may have changed, then the estate: hosts, servers,
//! causes. What it makes is the same as if it had audited everything anew.

mod causes;
mod domain;
mod draft;
mod exceptions;
mod hosts;
mod lookups;
mod records;
mod servers;
mod sight;
pub mod texts;
mod tiers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;

use crate::model::finding::FindingId;
use crate::model::snapshot::{DomainEntry, DomainView, HostView, Summary};
use crate::model::{Finding, Host, Plan, Resolver, Severity, Snapshot, Status};
use crate::observe::state::{Changes, Horizon, State};

use causes::Causes;
use domain::{DomainAudit, audit_domain};
use hosts::Case;
use sight::Sight;

/// Turns state into snapshots, and remembers what it need not work out again.
#[derive(Debug)]
pub struct Auditor {
    plan: Arc<Plan>,
    started: Timestamp,
    generation: u64,
    /// In the order of the plan.
    domains: Vec<Option<DomainAudit>>,
    sights: Sights,
    /// Until then, only a new observation changes what concerns more than one domain.
    expires: Timestamp,
    /// Since when each finding has been there without a break; `None` where nobody watches for long.
    since: Option<HashMap<FindingId, Timestamp, FixedState>>,
}

type Sights = HashMap<SightKey, Arc<Sight>, FixedState>;

/// A resolver, by its place in memory (the plan keeps it there), and a host.
type SightKey = (usize, Host);

/// Whether an auditor watches for long, and so can say since when a finding has been there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// One audit and the end.
    Once,
    /// Audit after audit.
    Watching,
}

impl Auditor {
    /// An auditor that has seen nothing. `started`: when observing began.
    pub fn new(plan: Arc<Plan>, started: Timestamp, memory: Memory) -> Self {
        let domains = plan.domains.iter().map(|_| None).collect();
        let since = (memory == Memory::Watching).then(HashMap::default);
        let (sights, expires) = (Sights::default(), Timestamp::MAX);
        Self { plan, started, generation: 0, domains, sights, expires, since }
    }

    /// Takes over another plan; everything is audited anew.
    pub fn replan(&mut self, plan: Arc<Plan>) {
        self.domains = plan.domains.iter().map(|_| None).collect();
        self.sights.clear();
        self.plan = plan;
    }

    /// Whether an audit at `now` would see anything that the last one did not.
    pub fn is_due(&self, changes: &Changes, now: Timestamp) -> bool {
        !changes.is_empty()
            || self.expires < now
            || self
                .domains
                .iter()
                .any(|audit| audit.as_ref().is_none_or(|audit| audit.expires < now))
            || self.sights.values().any(|sight| sight.expires < now)
    }

    /// Audits at `now` what `changes` or the passing of time touch, and makes a snapshot of
    /// everything.
    pub fn audit(&mut self, state: &State, changes: &Changes, now: Timestamp) -> Snapshot {
        let moved = self.refresh_sights(state, changes, now);
        self.audit_domains(state, changes, &moved, now);
        let (hosts, findings) = self.audit_estate(state, now);
        let findings = self.with_since(findings, now);
        self.generation += 1;
        self.snapshot(hosts, findings, now)
    }

    /// Looks again at the hosts that were touched; tells which look different to a domain now.
    fn refresh_sights(
        &mut self,
        state: &State,
        changes: &Changes,
        now: Timestamp,
    ) -> HashSet<SightKey, FixedState> {
        let mut moved = HashSet::default();
        for (key, sight) in &mut self.sights {
            let is_touched = sight.expires < now
                || changes.targets.contains(&sight.host.target)
                || sight.watches(&self.plan, |endpoint| changes.endpoints.contains(endpoint));
            if !is_touched {
                continue;
            }
            let fresh = Sight::new(&self.plan, state, &sight.resolver, &sight.host, now);
            if !fresh.is_same_for_domains(sight) {
                moved.insert(key.clone());
            }
            *sight = Arc::new(fresh);
        }
        moved
    }

    fn audit_domains(
        &mut self,
        state: &State,
        changes: &Changes,
        moved: &HashSet<SightKey, FixedState>,
        now: Timestamp,
    ) {
        let (plan, sights) = (&self.plan, &mut self.sights);
        for (domain, audit) in plan.domains.iter().zip(&mut self.domains) {
            let is_clean = |audit: &DomainAudit| {
                audit.expires >= now
                    && !changes.owners.contains(&domain.owner)
                    && (moved.is_empty()
                        || !audit.sights.iter().any(|sight| moved.contains(&key_of(sight))))
            };
            if !audit.as_ref().is_some_and(is_clean) {
                *audit = Some(audit_domain(plan, domain, state, now, |resolver, host| {
                    let new = || Arc::new(Sight::new(plan, state, resolver, host, now));
                    sights.entry(key(resolver, host)).or_insert_with(new).clone()
                }));
            }
        }
    }

    /// What concerns more than one domain: hosts, servers, exceptions, causes.
    fn audit_estate(
        &mut self,
        state: &State,
        now: Timestamp,
    ) -> (Vec<Arc<HostView>>, Vec<Arc<Finding>>) {
        let audits = || self.domains.iter().flatten();
        let mut findings: Vec<Arc<Finding>> =
            audits().flat_map(|audit| &audit.findings).cloned().collect();
        let (mut hosts, mut used) = (Vec::new(), Sights::default());
        for (host, (domains, keys)) in uses(&self.domains) {
            used.extend(keys.iter().filter_map(|key| self.sights.remove_entry(key)));
            let sights = keys.iter().filter_map(|key| used.get(key)).collect();
            let case = Case { plan: &self.plan, host, sights, domains };
            let view = hosts::view(&case);
            hosts::check(&case, &view, &mut findings);
            hosts.push(Arc::new(view));
        }
        self.sights = used;
        let horizon = Horizon::new(now, self.plan.stale_after());
        let views = audits().map(|audit| &*audit.view);
        let sights = self.sights.values();
        let dead = servers::check(&self.plan, state, views, sights, &horizon, &mut findings);
        let (findings, accepted) = exceptions::apply(&self.plan, findings, now);
        let mut causes = Causes::new(findings, accepted);
        causes.explain_by_servers(&dead);
        causes.explain_hosts();
        audits().for_each(|audit| causes.explain_domain(audit));
        let mut findings = causes.done();
        self.expires = horizon.expires().min(exceptions::expire(&self.plan, now));
        findings.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        (hosts, findings)
    }

    /// Tells of each finding since when it has been there.
    fn with_since(&mut self, mut findings: Vec<Arc<Finding>>, now: Timestamp) -> Vec<Arc<Finding>> {
        let Some(since) = &mut self.since else { return findings };
        let mut present = HashMap::with_capacity_and_hasher(findings.len(), FixedState::default());
        for finding in &mut findings {
            let began = since.get(&finding.id).copied().unwrap_or(now);
            present.insert(finding.id.clone(), began);
            Arc::make_mut(finding).since = Some(began);
        }
        *since = present;
        findings
    }

    fn snapshot(
        &self,
        hosts: Vec<Arc<HostView>>,
        findings: Vec<Arc<Finding>>,
        now: Timestamp,
    ) -> Snapshot {
        let worst = worst_by_domain(&findings);
        let entry = |audit: &DomainAudit| DomainEntry {
            status: worst.get(audit.view.domain.name.as_str()).copied().unwrap_or(Status::Ok),
            view: audit.view.clone(),
        };
        let active = |severity| {
            findings
                .iter()
                .filter(|finding| finding.is_active() && finding.severity == severity)
                .count()
        };
        let summary = Summary {
            domains: self.plan.domains.len(),
            hosts: hosts.len(),
            endpoints: hosts.iter().map(|host| host.endpoints.len()).sum(),
            critical: active(Severity::Critical),
            warning: active(Severity::Warning),
            info: active(Severity::Info),
        };
        let statuses =
            findings.iter().filter(|finding| finding.is_active()).map(|finding| finding.severity);
        Snapshot {
            generation: self.generation,
            started: self.started,
            at: now,
            status: statuses.max().map_or(Status::Ok, Status::from),
            domains: self.domains.iter().flatten().map(entry).collect(),
            hosts,
            findings,
            summary,
        }
    }
}

/// The domains that publish a host, and who sees it.
type Uses<'a> = (Vec<&'a DomainView>, Vec<SightKey>);

/// Every published host.
fn uses(domains: &[Option<DomainAudit>]) -> BTreeMap<&Host, Uses<'_>> {
    let mut hosts: HashMap<&Host, Uses, FixedState> = HashMap::default();
    for audit in domains.iter().flatten() {
        for sight in &audit.sights {
            let (domains, keys) = hosts.entry(&sight.host).or_default();
            if !domains.last().is_some_and(|last| std::ptr::eq(*last, Arc::as_ptr(&audit.view))) {
                domains.push(&audit.view);
            }
            if !keys.iter().any(|(resolver, _)| *resolver == id(&sight.resolver)) {
                keys.push(key_of(sight));
            }
        }
    }
    hosts.into_iter().collect()
}

fn worst_by_domain(findings: &[Arc<Finding>]) -> HashMap<&str, Status, FixedState> {
    let mut worst: HashMap<&str, Status, FixedState> = HashMap::default();
    for finding in findings.iter().filter(|finding| finding.is_active()) {
        for domain in &finding.domains {
            let status = worst.entry(domain.as_str()).or_insert(Status::Ok);
            *status = (*status).max(finding.severity.into());
        }
    }
    worst
}

/// Worst first, then by check, subject and id.
fn order(
    finding: &Finding,
) -> (std::cmp::Reverse<Severity>, crate::model::Check, &crate::model::Subject, &FindingId) {
    (std::cmp::Reverse(finding.severity), finding.check, &finding.subject, &finding.id)
}

fn key(resolver: &Arc<Resolver>, host: &Host) -> SightKey {
    (id(resolver), host.clone())
}

fn key_of(sight: &Sight) -> SightKey {
    key(&sight.resolver, &sight.host)
}

fn id(resolver: &Arc<Resolver>) -> usize {
    Arc::as_ptr(resolver).addr()
}
