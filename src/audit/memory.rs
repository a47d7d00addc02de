//! What an auditor that watches for long remembers of its own: since when findings have been there, and
//! until when hosts were up. It tells the journal what changes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};

use crate::model::finding::{Evidence, FindingId};
use crate::model::journal::{Entry, Event, EventKind, Remembered, SeenUp};
use crate::model::snapshot::{HostStatus, HostView};
use crate::model::{Check, Finding, Host, Plan, Severity};

use super::known::Acknowledged;

/// What a watching auditor remembers.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Since when each finding has been there without a break.
    since: HashMap<FindingId, Timestamp, FixedState>,
    hosts: HashMap<Host, LastUp, FixedState>,
    /// What was said of findings.
    pub(super) acknowledged: Acknowledged,
    entries: Vec<Entry>,
}

/// What is remembered of a host.
#[derive(Debug, Clone, Copy, Default)]
struct LastUp {
    at: Option<Timestamp>,
    is_up: bool,
    /// What it was when that could be told last: down (`true`) or up.
    was_down: Option<bool>,
}

/// So many hosts that nobody publishes are remembered beside the published ones.
const MAX_DEPARTED: usize = 4096;

impl Watched {
    /// Goes on where what is remembered ends.
    pub(super) fn remember(&mut self, remembered: &Remembered) {
        self.since.extend(remembered.findings.iter().cloned());
        self.acknowledged.remember(&remembered.acknowledgements);
        for SeenUp { of, last_up, is_up } in &remembered.hosts {
            let last_up = LastUp { at: Some(*last_up), is_up: *is_up, was_down: Some(!*is_up) };
            self.hosts.insert(of.clone(), last_up);
        }
    }

    /// What the journal has to keep since the last call.
    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(self.acknowledged.take_entries());
        entries
    }

    /// Until when a host was up.
    pub(super) fn last_up(&self, host: &Host) -> Option<Timestamp> {
        self.hosts.get(host)?.at
    }

    /// Takes in how a host looks now, and completes its view.
    pub(super) fn saw_host(&mut self, view: &mut HostView, now: Timestamp) {
        // Before anything was probed, nothing is known.
        let is_told = view.status != HostStatus::Unknown
            || view.endpoints.iter().any(|endpoint| endpoint.probe.is_some());
        let known = self.hosts.get(&view.host).copied();
        if !is_told {
            view.last_up = known.and_then(|known| known.at);
            return;
        }
        let known = known.unwrap_or_default();
        let is_up = view.status.is_up();
        let is_down = match view.status {
            HostStatus::Unknown => known.was_down,
            status => Some(status == HostStatus::Down),
        };
        let at = view.last_up.max(known.at);
        view.last_up = at;
        if let Some(last_up) = at.filter(|_| is_up != known.is_up) {
            self.entries.push(Entry::Host(SeenUp { of: view.host.clone(), last_up, is_up }));
        }
        if let (Some(was_down), Some(is_down)) = (known.was_down, is_down)
            && was_down != is_down
        {
            self.entries.push(Entry::Event(turned(view, is_down, known.at, now)));
        }
        self.hosts.insert(view.host.clone(), LastUp { at, is_up, was_down: is_down });
    }

    /// Forgets hosts that nobody publishes any more, where they are too many.
    pub(super) fn prune(&mut self, shown: usize, is_shown: impl Fn(&Host) -> bool) {
        if self.hosts.len() > shown + MAX_DEPARTED {
            self.hosts.retain(|host, _| is_shown(host));
        }
    }

    /// Divergence is critical once it has lasted for `settle`. Returns the last moment at which that is
    /// still the same of all that was not yet.
    pub(super) fn settle(
        &self,
        plan: &Plan,
        findings: &mut [Arc<Finding>],
        now: Timestamp,
    ) -> Timestamp {
        let mut expires = Timestamp::MAX;
        let differing = findings.iter_mut().filter(|one| one.check == Check::ServerDivergence);
        for finding in differing {
            let since = self.since.get(&finding.id).copied().unwrap_or(now);
            let settles = after(since, plan.settle);
            if settles < now {
                Arc::make_mut(finding).severity = Severity::Critical;
            } else {
                expires = expires.min(settles);
            }
        }
        expires
    }

    /// Tells of a finding that will be looked at again since when it has been there, so that
    /// [`Watched::with_since`] need not copy it each time.
    pub(super) fn stamp(&self, finding: &mut Arc<Finding>) {
        if let (None, Some(began)) = (finding.since, self.since.get(&finding.id)) {
            Arc::make_mut(finding).since = Some(*began);
        }
    }

    /// Tells of each finding since when it has been there.
    pub(super) fn with_since(
        &mut self,
        mut findings: Vec<Arc<Finding>>,
        now: Timestamp,
    ) -> Vec<Arc<Finding>> {
        let mut before = std::mem::take(&mut self.since);
        self.since.reserve(findings.len());
        for finding in &mut findings {
            let id = finding.id.clone();
            let began = before.remove(&id).unwrap_or_else(|| {
                self.entries.push(Entry::Finding { id: id.clone(), since: Some(now) });
                now
            });
            if finding.since != Some(began) {
                Arc::make_mut(finding).since = Some(began);
            }
            self.since.insert(id, began);
        }
        let ended = before.into_keys().map(|id| Entry::Finding { id, since: None });
        self.entries.extend(ended);
        findings
    }
}

/// That a host went down, or is up again.
fn turned(view: &HostView, is_down: bool, before: Option<Timestamp>, now: Timestamp) -> Event {
    let mut evidence = Evidence::new();
    let outcome = |endpoint: &crate::model::snapshot::EndpointView| {
        let outcome = endpoint.probe.as_ref()?.outcome;
        Some((endpoint.address.to_string(), outcome.as_str().into()))
    };
    let endpoints = view.endpoints.iter().filter_map(outcome).collect();
    evidence.insert("endpoints".to_owned(), serde_json::Value::Object(endpoints));
    evidence.extend(before.map(|at| ("last_up".to_owned(), at.to_string().into())));
    let kind = if is_down { EventKind::HostDown } else { EventKind::HostUp };
    let host = Some(view.host.clone());
    Event { at: now, kind, domain: None, host, servers: Vec::new(), evidence }
}

/// So long after that moment.
pub(super) fn after(moment: Timestamp, duration: std::time::Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    moment.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Name;

    #[test]
    fn hosts_that_nobody_publishes_are_forgotten_once_they_are_too_many() {
        let host = |port| Host { target: Name::parse("kms.test").expect("a name"), port };
        let up = |port| SeenUp { of: host(port), last_up: Timestamp::UNIX_EPOCH, is_up: true };
        let mut watched = Watched::default();
        let ports = 1..=u16::try_from(MAX_DEPARTED).expect("few") + 2;
        let remembered = Remembered { hosts: ports.map(up).collect(), ..Remembered::default() };
        watched.remember(&remembered);
        let is_shown = |host: &Host| host.port <= 2;
        watched.prune(2, is_shown);
        assert_eq!(watched.hosts.len(), MAX_DEPARTED + 2, "not too many yet");
        watched.prune(1, is_shown);
        assert_eq!(watched.hosts.len(), 2);
        assert!(watched.last_up(&host(1)).is_some() && watched.last_up(&host(3)).is_none());
    }
}
