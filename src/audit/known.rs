//! What people know of already: findings that somebody acknowledged, and those of known work. A greater
//! finding goes first: what it explains is suppressed, and it goes on explaining when it is known itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::model::finding::{Evidence, FindingId};
use crate::model::journal::{Acknowledgement, Entry, Event, EventKind};
use crate::model::maintenance::{Maintenance, before};
use crate::model::snapshot::{DomainView, HostStatus};
use crate::model::{Check, Finding, FindingState, Host, Plan, Snapshot, Subject};

use super::exceptions::covers;

/// Why something that was said of a finding is not heeded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AcknowledgeError {
    /// There is no such finding now.
    #[error("there is no finding {0} now; `kmswatch check` and /api/v1/findings list the ids")]
    NotFound(FindingId),
    /// It would have ended already.
    #[error("{0} is past; write a time to come, such as \"7d\"")]
    Past(Timestamp),
    /// What is known for longer is accepted.
    #[error("{0} is more than a year away; write an [[exception]] for what is accepted for good")]
    TooFar(Timestamp),
    /// Nobody said that it is known.
    #[error("{0} is not acknowledged")]
    NotAcknowledged(FindingId),
}

/// What was said of findings, and has not ended.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    by_id: BTreeMap<FindingId, Acknowledgement>,
    entries: Vec<Entry>,
}

/// A year, and a day for one that leaps.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Acknowledged {
    /// Goes on with what was said before.
    pub(super) fn remember(&mut self, said: &[Acknowledgement]) {
        self.by_id.extend(said.iter().map(|said| (said.id.clone(), said.clone())));
    }

    /// What the journal has to keep since the last call.
    pub(super) fn take_entries(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }

    /// Takes in what somebody says of a finding of this snapshot; it replaces what was said before.
    pub(super) fn say(
        &mut self,
        said: Acknowledgement,
        snapshot: &Snapshot,
    ) -> Result<(), AcknowledgeError> {
        let Acknowledgement { id, at, until, .. } = &said;
        if until <= at {
            return Err(AcknowledgeError::Past(*until));
        }
        if until.duration_since(*at) > LONGEST {
            return Err(AcknowledgeError::TooFar(*until));
        }
        let of = find(&snapshot.findings, id);
        let of = of.ok_or_else(|| AcknowledgeError::NotFound(id.clone()))?;
        let reason = said.reason.as_deref().map(|reason| ("reason", reason.to_owned()));
        let values = [Some(("until", until.to_string())), reason];
        let event = event(EventKind::Acknowledged, id, *at, Some(of), values);
        self.entries.extend([Entry::Acknowledged(said.clone()), Entry::Event(event)]);
        self.by_id.insert(id.clone(), said);
        Ok(())
    }

    /// Takes back what was said of a finding, which may be over.
    pub(super) fn unsay(
        &mut self,
        id: &FindingId,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(), AcknowledgeError> {
        let said = self.by_id.remove(id);
        said.ok_or_else(|| AcknowledgeError::NotAcknowledged(id.clone()))?;
        self.ended(id, &snapshot.findings, now, None);
        Ok(())
    }

    /// Forgets what has ended. Returns the last moment at which all the rest holds.
    fn expire(&mut self, findings: &[Arc<Finding>], now: Timestamp) -> Timestamp {
        let over = self.by_id.extract_if(.., |_, said| said.until <= now).collect::<Vec<_>>();
        for (id, said) in over {
            self.ended(&id, findings, now, Some(said.until));
        }
        let ends = self.by_id.values().map(|said| before(said.until));
        ends.min().unwrap_or(Timestamp::MAX)
    }

    /// By itself, where it ends at a time that was given.
    fn ended(
        &mut self,
        id: &FindingId,
        findings: &[Arc<Finding>],
        now: Timestamp,
        by_itself: Option<Timestamp>,
    ) {
        let values = [by_itself.map(|until| ("until", until.to_string()))];
        let event = event(EventKind::Unacknowledged, id, now, find(findings, id), values);
        self.entries.extend([Entry::Unacknowledged(id.clone()), Entry::Event(event)]);
    }
}

/// Marks what is known. Returns the last moment at which it still is, and nothing else is.
pub(super) fn mark<'a>(
    plan: &'a Plan,
    acknowledged: Option<&mut Acknowledged>,
    findings: &mut [Arc<Finding>],
    view: impl Fn(&Subject) -> Option<&'a DomainView>,
    now: Timestamp,
) -> Timestamp {
    let mut expires = Timestamp::MAX;
    let mut known = None;
    if let Some(acknowledged) = acknowledged {
        expires = acknowledged.expire(findings, now);
        known = Some(&acknowledged.by_id);
    }
    let looks = plan.maintenance.iter().map(|work| (work, work.window.look(now)));
    let mut open: Vec<(&Maintenance, Timestamp)> = Vec::new();
    for (work, look) in looks {
        expires = expires.min(look.expires);
        open.extend(look.closes.map(|closes| (work, closes)));
    }
    if open.is_empty() && known.is_none_or(BTreeMap::is_empty) {
        return expires;
    }
    for finding in findings.iter_mut().filter(|finding| finding.is_active()) {
        if let Some(said) = known.and_then(|known| known.get(&finding.id)) {
            let words = (FindingState::Acknowledged, "acknowledged");
            set(finding, words, said.until, said.reason.as_deref());
        } else if let Some((work, closes)) =
            open.iter().find(|(work, _)| is_of(work, plan, finding, &view))
        {
            let words = (FindingState::Maintenance, "maintenance");
            set(finding, words, *closes, work.reason.as_deref());
        }
    }
    expires
}

fn set(
    finding: &mut Arc<Finding>,
    (state, word): (FindingState, &str),
    until: Timestamp,
    because: Option<&str>,
) {
    let finding = Arc::make_mut(finding);
    finding.state = state;
    finding.evidence.insert(format!("{word}_until"), until.to_string().into());
    let because = because.map(|because| (format!("{word}_because"), because.into()));
    finding.evidence.extend(because);
}

/// Whether a finding comes of this work.
fn is_of<'a>(
    work: &Maintenance,
    plan: &Plan,
    finding: &Finding,
    view: impl Fn(&Subject) -> Option<&'a DomainView>,
) -> bool {
    let is_worked_on = |host: &Host| work.hosts.iter().any(|one| one.is(host));
    covers(&work.domains, finding)
        || finding.host().is_some_and(is_worked_on)
        || finding.resolver.as_ref().is_some_and(|name| work.resolvers.contains(name))
        || matches!(&finding.subject, Subject::Server(upstream) if plan.asked_resolvers().any(|one| {
            work.resolvers.contains(&one.name) && one.upstreams.contains(upstream)
        }))
        || is_of_down_hosts(finding, view(&finding.subject), is_worked_on)
}

/// What a domain lost with its hosts comes of work on all of those that are down.
fn is_of_down_hosts(
    finding: &Finding,
    view: Option<&DomainView>,
    is_worked_on: impl Fn(&Host) -> bool,
) -> bool {
    let is_of_hosts =
        matches!(finding.check, Check::AllHostsDown | Check::TierDown | Check::RedundancyLost);
    let hosts = view.filter(|_| is_of_hosts).into_iter().flat_map(|view| &view.hosts);
    let mut down = hosts.filter(|host| host.status == HostStatus::Down).peekable();
    down.peek().is_some() && down.all(|host| is_worked_on(&host.host))
}

fn find<'a>(findings: &'a [Arc<Finding>], id: &FindingId) -> Option<&'a Arc<Finding>> {
    findings.iter().find(|finding| finding.id == *id)
}

fn event<const N: usize>(
    kind: EventKind,
    id: &FindingId,
    at: Timestamp,
    of: Option<&Arc<Finding>>,
    values: [Option<(&str, String)>; N],
) -> Event {
    let id = Some(("id", id.to_string()));
    let values = [id].into_iter().chain(values).flatten();
    let evidence =
        values.map(|(name, value)| (name.to_owned(), value.into())).collect::<Evidence>();
    let domain = of.and_then(|finding| match finding.domains.as_slice() {
        [only] => Some(only.clone()),
        _ => None,
    });
    let host = of.and_then(|finding| finding.host().cloned());
    Event { at, kind, domain, host, servers: Vec::new(), evidence }
}
