//! PURE. Plan and state in, findings out.
//!
//! [`Auditor::audit`] audits the domains that may have changed, then the estate: hosts, servers,
//! causes. What it makes is the same as if it had audited everything anew.

mod causes;
pub mod changes;
mod domain;
mod draft;
mod exceptions;
mod hosts;
mod known;
mod lookups;
mod memory;
mod past;
mod profiles;
mod records;
mod servers;
mod sight;
mod sights;
pub mod texts;
mod tiers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;

use crate::model::finding::FindingId;
use crate::model::journal::{Acknowledgement, Entry, Remembered};
use crate::model::snapshot::{DomainEntry, HostView, ProfileEntry, Summary};
use crate::model::{Finding, Host, Plan, Resolver, Severity, Snapshot, Status, Subject};
use crate::observe::state::{Changes, Horizon, State};

use causes::Causes;
use domain::{DomainAudit, audit_domain};
use hosts::Case;
pub use known::AcknowledgeError;
use memory::Watched;
use profiles::ProfileAudit;
use sight::Sight;
use sights::{Place, Sights, Use, place};

/// Turns state into snapshots, and remembers what it need not work out again.
#[derive(Debug)]
pub struct Auditor {
    plan: Arc<Plan>,
    started: Timestamp,
    generation: u64,
    /// In the order of the plan.
    domains: Vec<Option<DomainAudit>>,
    sights: Sights,
    /// The hosts of the last snapshot.
    shown: HashMap<Host, Shown, FixedState>,
    /// Until then, only a new observation changes what concerns more than one domain.
    expires: Timestamp,
    /// `None` where nobody watches for long.
    watched: Option<Watched>,
}

/// A host's view in a snapshot, and what it was made of.
#[derive(Debug)]
struct Shown {
    view: Arc<HostView>,
    domains: Vec<u32>,
    sights: Vec<Arc<Sight>>,
}

impl Shown {
    fn is_of(&self, domains: &[u32], sights: &[Arc<Sight>]) -> bool {
        let is_same = |(one, other): (&Arc<Sight>, &Arc<Sight>)| Arc::ptr_eq(one, other);
        self.domains == domains
            && self.sights.len() == sights.len()
            && self.sights.iter().zip(sights).all(is_same)
    }
}

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
        let watched = (memory == Memory::Watching).then(Watched::default);
        let (sights, shown, expires) = (Sights::default(), HashMap::default(), Timestamp::MAX);
        Self { plan, started, generation: 0, domains, sights, shown, expires, watched }
    }

    /// Goes on where what is remembered ends: since when findings have been there, until when hosts were up.
    pub fn remember(&mut self, remembered: &Remembered) {
        self.watched.iter_mut().for_each(|watched| watched.remember(remembered));
    }

    /// A finding of the latest snapshot is known, from the next audit on, which is due at once.
    ///
    /// # Errors
    /// There is no such finding, or it is to be known until the past or for more than a year.
    pub fn acknowledge(
        &mut self,
        said: Acknowledgement,
        latest: &Snapshot,
    ) -> Result<(), AcknowledgeError> {
        let Some(watched) = &mut self.watched else {
            return Err(AcknowledgeError::NotFound(said.id));
        };
        watched.acknowledged.say(said, latest)?;
        self.expires = Timestamp::MIN;
        Ok(())
    }

    /// It is not known any more, whether it is still there or not.
    ///
    /// # Errors
    /// It was not.
    pub fn unacknowledge(
        &mut self,
        id: &FindingId,
        latest: &Snapshot,
        now: Timestamp,
    ) -> Result<(), AcknowledgeError> {
        let Some(watched) = &mut self.watched else {
            return Err(AcknowledgeError::NotAcknowledged(id.clone()));
        };
        watched.acknowledged.unsay(id, latest, now)?;
        self.expires = Timestamp::MIN;
        Ok(())
    }

    /// What the journal has to keep since the last call: findings that began and ended, were acknowledged or
    /// not any more, hosts that went up and down. Nothing where nobody watches for long.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.watched.as_mut().map(Watched::take_entries).unwrap_or_default()
    }

    /// Takes over another plan; everything is audited anew.
    pub fn replan(&mut self, plan: Arc<Plan>) {
        self.domains = plan.domains.iter().map(|_| None).collect();
        self.sights.clear();
        self.shown.clear();
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
            || self.sights.iter().any(|sight| sight.expires < now)
    }

    /// Audits at `now` what `changes` or the passing of time touch, and makes a snapshot of
    /// everything.
    pub fn audit(&mut self, state: &State, changes: &Changes, now: Timestamp) -> Snapshot {
        let moved = self.sights.refresh(&self.plan, state, changes, now);
        self.audit_domains(state, changes, &moved, now);
        let profiles = self.audit_profiles(state, now);
        let (hosts, findings) = self.audit_estate(state, &profiles, now);
        let findings = match &mut self.watched {
            Some(watched) => watched.with_since(findings, now),
            None => findings,
        };
        self.generation += 1;
        self.snapshot(hosts, profiles, findings, now)
    }

    fn audit_domains(
        &mut self,
        state: &State,
        changes: &Changes,
        moved: &HashSet<Place, FixedState>,
        now: Timestamp,
    ) {
        let (plan, sights) = (&self.plan, &mut self.sights);
        let mut is_touched = vec![false; plan.domains.len()];
        for owner in &changes.owners {
            // The plan sorts them by name, and what stands before it in the owner is the same.
            let at = plan.domains.binary_search_by(|domain| domain.owner.cmp(owner));
            at.into_iter().for_each(|at| is_touched[at] = true);
        }
        let all = (0..).zip(&plan.domains).zip(&mut self.domains);
        for (((number, domain), audit), is_touched) in all.zip(is_touched) {
            let is_clean = |audit: &DomainAudit| {
                audit.expires >= now
                    && !is_touched
                    && (moved.is_empty()
                        || !audit.sights.iter().any(|sight| moved.contains(&place(sight))))
            };
            if audit.as_ref().is_some_and(is_clean) {
                continue;
            }
            let fresh = audit_domain(plan, domain, state, now, |resolver, host| {
                sights.of(plan, state, (resolver, host), now)
            });
            let before = audit.as_ref().map_or(&[][..], |audit| &audit.sights);
            sights.lead(number, before, &fresh.sights);
            *audit = Some(fresh);
        }
        sights.settle();
    }

    /// Every profile anew: they are few, and each looks at a few domains.
    fn audit_profiles(&mut self, state: &State, now: Timestamp) -> Vec<ProfileAudit> {
        let (plan, sights) = (&self.plan, &mut self.sights);
        let horizon = Horizon::new(now, plan.stale_after());
        let mut sight =
            |resolver: &Arc<Resolver>, host: &Host| sights.of(plan, state, (resolver, host), now);
        let audits = plan.profiles.iter();
        let audits =
            audits.map(|profile| profiles::audit(profile, state, &horizon, &mut sight)).collect();
        self.expires = horizon.expires();
        audits
    }

    /// What concerns more than one domain: hosts, servers, exceptions, causes.
    fn audit_estate(
        &mut self,
        state: &State,
        profiles: &[ProfileAudit],
        now: Timestamp,
    ) -> (Vec<Arc<HostView>>, Vec<Arc<Finding>>) {
        let mut findings = Vec::new();
        for finding in self.domains.iter_mut().flatten().flat_map(|audit| &mut audit.findings) {
            self.watched.iter().for_each(|watched| watched.stamp(finding));
            findings.push(finding.clone());
        }
        let (hosts, used, hosts_expire) = self.audit_hosts(profiles, &mut findings, now);
        let audits = || self.domains.iter().flatten();
        let horizon = Horizon::new(now, self.plan.stale_after());
        let sights = self.sights.iter().filter(|sight| used.contains(&place(sight)));
        let answers = profiles.iter().flat_map(|audit| &audit.view.answers);
        let seen = servers::Seen { audits: audits(), answers, sights };
        let dead = servers::check(&self.plan, state, seen, &horizon, &mut findings);
        profiles::check(&self.plan, profiles, &hosts, &mut findings);
        let settles = match &self.watched {
            Some(watched) => watched.settle(&self.plan, &mut findings, now),
            None => Timestamp::MAX,
        };
        let (findings, accepted) = exceptions::apply(&self.plan, findings, now);
        let mut causes = Causes::new(findings, accepted);
        causes.explain_by_servers(&dead);
        causes.explain_hosts();
        audits().for_each(|audit| causes.explain_domain(audit));
        let mut findings = causes.done();
        let known = self.mark_known(&mut findings, now);
        let expires = horizon.expires().min(exceptions::expire(&self.plan, now));
        self.expires = self.expires.min(expires).min(settles).min(hosts_expire).min(known);
        self.sights.keep(&used);
        findings.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        (hosts, findings)
    }

    /// Which of the active findings people know of; until when that is so.
    fn mark_known(&mut self, findings: &mut [Arc<Finding>], now: Timestamp) -> Timestamp {
        let (plan, audits) = (&self.plan, &self.domains);
        let view = |subject: &Subject| {
            let Subject::Domain(name) = subject else { return None };
            let at = plan.domains.binary_search_by(|domain| domain.name.cmp(name)).ok()?;
            audits[at].as_ref().map(|audit| &*audit.view)
        };
        let acknowledged = self.watched.as_mut().map(|watched| &mut watched.acknowledged);
        known::mark(plan, acknowledged, findings, view, now)
    }

    /// Every host that is published or that profiles come to, and who is seen to lead there. What nobody
    /// saw anything new of is shared with the snapshot before.
    fn audit_hosts(
        &mut self,
        profiles: &[ProfileAudit],
        findings: &mut Vec<Arc<Finding>>,
        now: Timestamp,
    ) -> (Vec<Arc<HostView>>, HashSet<Place, FixedState>, Timestamp) {
        let mut watched = self.watched.take();
        let mut expires = Timestamp::MAX;
        let mut before = std::mem::take(&mut self.shown);
        let mut shown = HashMap::default();
        let mut used = HashSet::default();
        for (host, Use { domains, sights }) in self.sights.uses(&self.domains, profiles) {
            used.extend(sights.iter().map(place));
            let (plan, audits) = (&self.plan, &self.domains);
            let case =
                Case { plan, host, sights: sights.iter().collect(), domains: &domains, audits };
            let view = match before.remove(host) {
                Some(last) if last.is_of(&domains, &sights) => last.view,
                _ => {
                    let mut view = hosts::view(&case);
                    watched.iter_mut().for_each(|watched| watched.saw_host(&mut view, now));
                    Arc::new(view)
                }
            };
            hosts::check(&case, &view, findings);
            if watched.is_some() {
                expires = expires.min(past::stale(plan, &view, case.domains(), now, findings));
            }
            shown.insert(host.clone(), Shown { view, domains, sights });
        }
        if let Some(watched) = &mut watched {
            watched.prune(shown.len(), |host| shown.contains_key(host));
        }
        (self.shown, self.watched) = (shown, watched);
        let mut hosts: Vec<_> = self.shown.values().map(|shown| shown.view.clone()).collect();
        hosts.sort_unstable_by(|one, other| one.host.cmp(&other.host));
        (hosts, used, expires)
    }

    /// Until when those hosts were up that have left all that is published.
    fn departed(&self) -> Vec<(Host, Timestamp)> {
        let Some(watched) = &self.watched else { return Vec::new() };
        let audits = self.domains.iter().flatten();
        let gone = audits.filter(|audit| audit.has_gone).flat_map(|audit| audit.view.vanished());
        let departed = gone.map(|(seen, _)| &seen.host);
        let departed: BTreeSet<&Host> =
            departed.filter(|host| !self.shown.contains_key(host)).collect();
        let until = |host: &Host| Some((host.clone(), watched.last_up(host)?));
        departed.into_iter().filter_map(until).collect()
    }

    fn snapshot(
        &self,
        hosts: Vec<Arc<HostView>>,
        profiles: Vec<ProfileAudit>,
        findings: Vec<Arc<Finding>>,
        now: Timestamp,
    ) -> Snapshot {
        let domain =
            |audit: &DomainAudit| DomainEntry { status: Status::Ok, view: audit.view.clone() };
        let profile = |audit: ProfileAudit| ProfileEntry { status: Status::Ok, view: audit.view };
        let summary = Summary {
            domains: self.plan.domains.len(),
            hosts: hosts.len(),
            endpoints: hosts.iter().map(|host| host.endpoints.len()).sum(),
            ..Summary::default()
        };
        let snapshot = Snapshot {
            vantage: self.plan.vantage.clone(),
            generation: self.generation,
            started: self.started,
            at: now,
            status: Status::Ok,
            domains: self.domains.iter().flatten().map(domain).collect(),
            hosts,
            profiles: profiles.into_iter().map(profile).collect(),
            findings: Vec::new(),
            departed: self.departed(),
            summary,
            journal: None,
        };
        snapshot.with_findings(findings)
    }
}

/// Worst first, then by check, subject and id.
fn order(
    finding: &Finding,
) -> (std::cmp::Reverse<Severity>, crate::model::Check, &Subject, &FindingId) {
    (std::cmp::Reverse(finding.severity), finding.check, &finding.subject, &finding.id)
}
