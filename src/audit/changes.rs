//! What changed between two snapshots, for the journal to keep: servers and the status of domains. What
//! records and hosts do is told where it is remembered, by [`crate::observe::history`] and the auditor.

use std::collections::HashSet;
use std::iter::from_fn;
use std::sync::Arc;

use crate::model::finding::Evidence;
use crate::model::journal::{Entry, Event, EventKind, SeenStatus};
use crate::model::{Check, Finding, Name, Snapshot, Status, Subject, Upstream};

/// What leads from one snapshot to the next.
pub fn entries(before: &Snapshot, after: &Snapshot) -> Vec<Entry> {
    let mut events = Vec::new();
    servers(before, after, &mut events);
    let mut entries: Vec<Entry> = events.into_iter().map(Entry::Event).collect();
    let earlier = before.domains.iter().map(|entry| (&entry.view.domain.name, entry.status));
    entries.extend(statuses(earlier, after).into_iter().flat_map(Turn::entries));
    entries
}

/// What leads to the first snapshot of a process from what the journal remembers. That may be an entry for
/// each domain, so they are made one by one.
pub fn first_entries(
    mut remembered: Vec<SeenStatus>,
    first: &Snapshot,
) -> impl Iterator<Item = Entry> + use<> {
    remembered.sort_unstable_by(|one, other| one.domain.cmp(&other.domain));
    let turns = statuses(remembered.iter().map(|seen| (&seen.domain, seen.status)), first);
    turns.into_iter().flat_map(Turn::entries)
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

/// What became of a domain's status.
enum Turn {
    /// It is that, and was another, or is seen for the first time.
    Seen(SeenStatus, Option<Status>),
    /// The domain is watched no more.
    Forgotten(Name),
}

/// Both are sorted by name. Names that are clones of each other are equal without a look at their text, and
/// as long as the plan is the same, all are.
fn statuses<'n>(before: impl Iterator<Item = (&'n Name, Status)>, after: &Snapshot) -> Vec<Turn> {
    let mut turns = Vec::new();
    let mut earlier = before.peekable();
    let forgotten = |(name, _): (&Name, Status)| Turn::Forgotten(name.clone());
    for entry in &after.domains {
        let (name, status) = (&entry.view.domain.name, entry.status);
        let is_it = |(other, _): &(&Name, Status)| *other == name;
        let was = earlier.next_if(is_it).or_else(|| {
            turns.extend(from_fn(|| earlier.next_if(|(other, _)| *other < name)).map(forgotten));
            earlier.next_if(is_it)
        });
        let was = was.map(|(_, was)| was);
        if was != Some(status) {
            let seen = SeenStatus { domain: name.clone(), status, since: after.at };
            turns.push(Turn::Seen(seen, was));
        }
    }
    turns.extend(earlier.map(forgotten));
    turns
}

impl Turn {
    fn entries(self) -> impl Iterator<Item = Entry> {
        let entries = match self {
            Self::Seen(seen, was) => {
                [Some(Entry::Event(turned(&seen, was))), Some(Entry::Status(seen))]
            }
            Self::Forgotten(domain) => [Some(Entry::ForgetStatus(domain)), None],
        };
        entries.into_iter().flatten()
    }
}

/// That a domain has another status than it had, or the first.
fn turned(seen: &SeenStatus, was: Option<Status>) -> Event {
    let values = [("was", was), ("status", Some(seen.status))].into_iter();
    let values = values.filter_map(|(key, value)| Some((key.to_owned(), value?.as_str().into())));
    let (evidence, domain) = (values.collect(), Some(seen.domain.clone()));
    let (at, kind) = (seen.since, EventKind::Status);
    Event { at, kind, domain, host: None, servers: Vec::new(), evidence }
}
