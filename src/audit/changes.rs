//! What changed between two snapshots, as events for the journal: servers and the status of domains. What
//! records and hosts do is told where it is remembered, by [`crate::observe::history`] and the auditor.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::finding::Evidence;
use crate::model::journal::{Event, EventKind};
use crate::model::snapshot::DomainEntry;
use crate::model::{Check, Finding, Snapshot, Subject, Upstream};

/// The events that lead from one snapshot to the next.
pub fn events(before: &Snapshot, after: &Snapshot) -> Vec<Event> {
    let mut events = Vec::new();
    servers(before, after, &mut events);
    statuses(before, after, &mut events);
    events
}

fn servers(before: &Snapshot, after: &Snapshot, events: &mut Vec<Event>) {
    let [earlier, later] = [before, after].map(failures);
    let new = later.iter().filter(|(upstream, _)| !has(&earlier, upstream));
    events.extend(new.map(|(upstream, finding)| {
        let evidence = finding.evidence.clone();
        event(after, EventKind::ServerFailing, upstream, evidence)
    }));
    let mut ended: Vec<&Arc<Upstream>> =
        earlier.iter().map(|(upstream, _)| *upstream).filter(|one| !has(&later, one)).collect();
    if ended.is_empty() {
        return;
    }
    // One that is not asked any more, or only overdue, does not answer again.
    let answering = answering(after);
    ended.retain(|upstream| answering.contains(&***upstream));
    let path = |upstream: &Upstream| {
        Evidence::from_iter([("path".to_owned(), upstream.path.to_string().into())])
    };
    events.extend(
        ended.into_iter().map(|one| event(after, EventKind::ServerAnswering, one, path(one))),
    );
}

fn failures(snapshot: &Snapshot) -> Vec<(&Arc<Upstream>, &Finding)> {
    let all = snapshot.findings.iter();
    let findings = all.filter(|finding| finding.check == Check::ServerFailure);
    let about = findings.filter_map(|finding| match &finding.subject {
        Subject::Server(upstream) => Some((upstream, &**finding)),
        _ => None,
    });
    about.collect()
}

fn has(failures: &[(&Arc<Upstream>, &Finding)], upstream: &Arc<Upstream>) -> bool {
    failures.iter().any(|(one, _)| *one == upstream)
}

/// The servers whose latest answer is usable for some domain, or for what a profile searches.
fn answering(snapshot: &Snapshot) -> HashSet<&Upstream> {
    let of_domains = snapshot.domains.iter().flat_map(|entry| &entry.view.answers);
    let of_profiles = snapshot.profiles.iter().flat_map(|entry| &entry.view.answers);
    let all = of_domains.chain(of_profiles.map(|(_, answer)| answer));
    let usable = all.filter(|view| view.answer.outcome.is_usable());
    usable.map(|view| &*view.upstream).collect()
}

fn event(after: &Snapshot, kind: EventKind, upstream: &Upstream, evidence: Evidence) -> Event {
    let servers = vec![upstream.server.to_string().into()];
    Event { at: after.at, kind, domain: None, host: None, servers, evidence }
}

/// Both are sorted by name, and the same domains where the plan is the same: then no name is looked at.
fn statuses(before: &Snapshot, after: &Snapshot, events: &mut Vec<Event>) {
    let mut earlier = before.domains.iter().peekable();
    for entry in &after.domains {
        let domain = &entry.view.domain;
        let name = &domain.name;
        let is_it = |one: &&DomainEntry| Arc::ptr_eq(&one.view.domain, domain);
        let was = earlier.next_if(is_it).or_else(|| {
            while earlier.next_if(|one| one.view.domain.name < *name).is_some() {}
            earlier.next_if(|one| one.view.domain.name == *name)
        });
        let Some(was) = was else { continue };
        if was.status != entry.status {
            let values = [("was", was.status), ("status", entry.status)];
            let values = values.map(|(key, status)| (key.to_owned(), status.as_str().into()));
            let (evidence, domain) = (Evidence::from_iter(values), Some(name.clone()));
            let (at, kind) = (after.at, EventKind::Status);
            events.push(Event { at, kind, domain, host: None, servers: Vec::new(), evidence });
        }
    }
}
