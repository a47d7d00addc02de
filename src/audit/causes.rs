//! One finding per cause: the greater suppresses the lesser (design section 8).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::model::finding::FindingId;
use crate::model::snapshot::{DomainHost, HostStatus};
use crate::model::{Check, Finding, FindingState, Host, Name, Subject};

use super::domain::DomainAudit;

/// The findings of the estate on their way to be told apart into causes and effects.
pub(super) struct Causes {
    findings: Vec<Arc<Finding>>,
    index: HashMap<FindingId, usize, FixedState>,
    /// The finding that a host is down, or not KMS.
    down: HashMap<Host, usize, FixedState>,
    /// They explain nothing: who accepts a cause has not accepted what follows from it.
    accepted: HashSet<FindingId>,
}

impl Causes {
    pub(super) fn new(findings: Vec<Arc<Finding>>, accepted: HashSet<FindingId>) -> Self {
        let index =
            findings.iter().enumerate().map(|(at, finding)| (finding.id.clone(), at)).collect();
        let mut down = HashMap::default();
        for (at, finding) in findings.iter().enumerate() {
            if let (Check::HostDown | Check::HostNotKms, Subject::Host(host)) =
                (finding.check, &finding.subject)
            {
                down.insert(host.clone(), at);
            }
        }
        Self { findings, index, down, accepted }
    }

    /// server-failure of all servers of a resolver > its dns-failures.
    pub(super) fn explain_by_servers(&mut self, dead: &[(Arc<str>, Vec<FindingId>)]) {
        for at in 0..self.findings.len() {
            if self.findings[at].check != Check::DnsFailure {
                continue;
            }
            let resolver = self.findings[at].resolver.clone();
            // Over a profile's path, a resolver of the same name may be dead or not.
            for (_, failures) in dead.iter().filter(|(name, _)| Some(name) == resolver.as_ref()) {
                let known = failures.iter().filter(|id| !self.accepted.contains(id));
                let known: Vec<usize> =
                    known.filter_map(|id| self.index.get(id).copied()).collect();
                // One of those that hit the domain: another server may be overdue there.
                let hits = |greater: &&usize| {
                    let domains = &self.findings[**greater].domains;
                    self.findings[at].domains.iter().all(|domain| domains.contains(domain))
                };
                if let Some(greater) = known.iter().find(hits).copied()
                    && known.len() == failures.len()
                {
                    self.suppress(at, greater);
                }
            }
        }
    }

    /// target-unresolvable, port-mismatch > the same host's host-down, unless that hits more domains:
    /// theirs has another cause.
    pub(super) fn explain_hosts(&mut self) {
        for at in 0..self.findings.len() {
            let finding = &self.findings[at];
            let Subject::Host(host) = &finding.subject else { continue };
            if !matches!(finding.check, Check::TargetUnresolvable | Check::PortMismatch) {
                continue;
            }
            let Some(down) = self.down.get(host).copied() else { continue };
            let hit = &self.findings[down].domains;
            if hit.iter().all(|domain| finding.domains.contains(domain)) {
                self.suppress(down, at);
            }
        }
    }

    /// What one domain lost, by the hosts that it lost.
    pub(super) fn explain_domain(&mut self, audit: &DomainAudit) {
        self.explain_missing(audit);
        if !audit.has_down {
            return;
        }
        let down: Vec<&DomainHost> =
            audit.view.hosts.iter().filter(|host| host.status == HostStatus::Down).collect();
        let wide: Vec<Option<usize>> = down.iter().map(|host| self.wide(&host.host)).collect();
        let of = |check| {
            audit.findings.iter().find(|finding| finding.check == check).map(|finding| &finding.id)
        };
        let at = |causes: &Self, check| of(check).and_then(|id| causes.index.get(id)).copied();
        let lowest = audit.view.hosts.iter().map(|host| host.priority).min();
        let tier: Vec<Option<usize>> = down
            .iter()
            .zip(&wide)
            .filter(|(host, _)| Some(host.priority) == lowest)
            .map(|(_, wide)| *wide)
            .collect();
        let all = at(self, Check::AllHostsDown);
        let (tier_down, lost) = (at(self, Check::TierDown), at(self, Check::RedundancyLost));
        self.suppress_by_all(all, &wide);
        self.suppress_by_all(tier_down, &tier);
        self.suppress_by_all(lost, &wide);
        self.suppress_by_active(lost, tier_down);
        for host in &down {
            let narrow = self
                .down
                .get(&host.host)
                .copied()
                .filter(|at| self.hits_only(*at, &audit.view.domain.name));
            for greater in [all, tier_down, lost] {
                self.suppress_by_active(narrow, greater);
            }
        }
    }

    pub(super) fn done(self) -> Vec<Arc<Finding>> {
        self.findings
    }

    /// srv-missing and srv-empty > record-vanished > record-missing; the former where they hold for every
    /// resolver that lost or lacks it.
    fn explain_missing(&mut self, audit: &DomainAudit) {
        for (id, resolvers) in audit.vanished.lost.iter().chain(&audit.lacking) {
            let Some(lesser) = self.index.get(id).copied() else { continue };
            let absent = |resolver: &Arc<str>| {
                let is = |finding: &&Arc<Finding>| {
                    matches!(finding.check, Check::SrvMissing | Check::SrvEmpty)
                        && finding.resolver.as_ref() == Some(resolver)
                };
                audit
                    .findings
                    .iter()
                    .find(is)
                    .and_then(|finding| self.index.get(&finding.id))
                    .copied()
            };
            let greater: Option<Vec<usize>> = resolvers.iter().map(absent).collect();
            if let Some(first) = greater.and_then(|greater| greater.first().copied()) {
                self.suppress(lesser, first);
            }
        }
        for (missing, vanished) in &audit.vanished.explains {
            let at = |id| self.index.get(id).copied();
            if let (Some(lesser), Some(greater)) = (at(missing), at(vanished)) {
                self.suppress(lesser, greater);
            }
        }
    }

    /// The finding that a host is down, if it hits several domains and was not accepted.
    fn wide(&self, host: &Host) -> Option<usize> {
        let at = self.down.get(host).copied()?;
        let finding = &self.findings[at];
        (finding.domains.len() > 1 && !self.accepted.contains(&finding.id)).then_some(at)
    }

    fn hits_only(&self, at: usize, domain: &Name) -> bool {
        matches!(self.findings[at].domains.as_slice(), [only] if only == domain)
    }

    fn suppress_by_all(&mut self, lesser: Option<usize>, greater: &[Option<usize>]) {
        if let (Some(lesser), Some(Some(first))) = (lesser, greater.first())
            && greater.iter().all(Option::is_some)
        {
            self.suppress(lesser, *first);
        }
    }

    fn suppress_by_active(&mut self, lesser: Option<usize>, greater: Option<usize>) {
        if let (Some(lesser), Some(greater)) = (lesser, greater)
            && self.findings[greater].is_active()
        {
            self.suppress(lesser, greater);
        }
    }

    /// The first explanation counts; it names the finding that is active itself.
    fn suppress(&mut self, lesser: usize, greater: usize) {
        let greater = &self.findings[greater];
        if self.accepted.contains(&greater.id) {
            return;
        }
        let root = greater.suppressed_by.clone().unwrap_or_else(|| greater.id.clone());
        let lesser = &mut self.findings[lesser];
        if lesser.is_active() && lesser.id != root {
            let lesser = Arc::make_mut(lesser);
            lesser.state = FindingState::Suppressed;
            lesser.suppressed_by = Some(root);
        }
    }
}
