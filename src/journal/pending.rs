//! What the writer has not written yet: rows, the latest of each thing, and events, as many as fit.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;

use super::batch::{schema_time, time};
use super::pack;
use crate::model::finding::FindingId;
use crate::model::journal::{Entry, Event, EventKind, EventQuery, SeenEndpoint, Witness};
use crate::model::{Host, Name};

/// Events that are remembered while they cannot be written, or where nothing ever is: some five MiB, and
/// more than a large estate makes in a day. The first audit of 10,000 domains tells of the status of each,
/// beside what came of their records meanwhile.
pub(super) const MOST_EVENTS: usize = 32_768;

/// What an entry replaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Record(Name, Witness, Host),
    Endpoint(SeenEndpoint),
    Host(Host),
    Finding(FindingId),
    Acknowledgement(FindingId),
    Alert(FindingId),
    Heartbeat(Witness),
    Status(Name),
    Watched,
}

/// Rows by what they are of.
pub(super) type Rows = HashMap<Key, Entry, RandomState>;

/// Entries on their way to the disk. Rows are never lost: there are no more of them than things.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: Rows,
    events: VecDeque<Arc<Packed>>,
    /// How many events came before those.
    before: i64,
    /// What found no room since all was well.
    pub(super) lost: u64,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) rows: Rows,
    pub(super) events: Vec<Arc<Packed>>,
    /// How many events came before those.
    pub(super) before: i64,
}

/// An event whose evidence is packed: as a map, it takes most of a KiB.
#[derive(Debug)]
pub(super) struct Packed {
    /// Without its evidence.
    event: Event,
    evidence: Option<Box<[u8]>>,
}

impl Packed {
    fn new(mut event: Event) -> Self {
        // Milliseconds are what the time is read back as, and evidence is packed by it.
        event.at = time(schema_time(event.at));
        let evidence = pack::pack(&std::mem::take(&mut event.evidence), event.at);
        Self { event, evidence: evidence.map(Into::into) }
    }

    /// When it was.
    pub(super) fn at(&self) -> Timestamp {
        self.event.at
    }

    /// The event without its evidence, and that as the database has it.
    pub(super) fn parts(&self) -> (&Event, Option<&[u8]>) {
        (&self.event, self.evidence.as_deref())
    }

    /// With its evidence.
    pub(super) fn event(&self) -> Event {
        let Self { event, evidence } = self;
        let evidence = evidence.as_ref().and_then(|bytes| pack::unpack(bytes, event.at));
        Event { evidence: evidence.unwrap_or_default(), ..event.clone() }
    }
}

impl Pending {
    /// Takes an entry in; where an event finds no room, the oldest one goes. That the daemon started stays:
    /// without it, nobody could tell what is forgotten from what was never watched.
    pub(super) fn add(&mut self, entry: Entry) {
        match keyed(entry) {
            Ok((key, row)) => drop(self.rows.insert(key, row)),
            Err(event) => {
                if self.events.len() >= MOST_EVENTS {
                    let first = self.events.front();
                    let is_start =
                        first.is_some_and(|first| first.event.kind == EventKind::Started);
                    self.events.remove(usize::from(is_start));
                    self.before += 1;
                    self.lost += 1;
                }
                self.events.push_back(Arc::new(Packed::new(event)));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.events.is_empty()
    }

    /// Everything. The events stay here until they are written, so that readers never miss one.
    pub(super) fn batch(&mut self) -> Batch {
        Batch {
            rows: std::mem::take(&mut self.rows),
            events: self.events.iter().cloned().collect(),
            before: self.before,
        }
    }

    /// The batch is on the disk.
    pub(super) fn written(&mut self, batch: &Batch) {
        let end = batch.before + count(batch.events.len());
        while self.before < end && self.events.pop_front().is_some() {
            self.before += 1;
        }
    }

    /// The batch is not: what was not replaced meanwhile is still to be written.
    pub(super) fn not_written(&mut self, batch: Batch) {
        for (key, row) in batch.rows {
            self.rows.entry(key).or_insert(row);
        }
    }

    /// The events that are asked for, the latest first, and how many events came before all that are here.
    pub(super) fn events(&self, query: &EventQuery) -> (Vec<Event>, i64) {
        let filter = Filter::of(query);
        let wanted = self.events.iter().rev().filter(|packed| filter.wants(&packed.event));
        (wanted.take(query.limit).map(|packed| packed.event()).collect(), self.before)
    }
}

/// A query with its names at hand: many events are held against many names.
struct Filter<'q> {
    query: &'q EventQuery,
    domains: HashSet<&'q Name, RandomState>,
    hosts: HashSet<&'q Host, RandomState>,
}

impl<'q> Filter<'q> {
    fn of(query: &'q EventQuery) -> Self {
        let (domains, hosts) = (query.domains.iter().collect(), query.hosts.iter().collect());
        Self { query, domains, hosts }
    }

    fn wants(&self, event: &Event) -> bool {
        let EventQuery { since, kinds, .. } = self.query;
        // As on the disk: finer than milliseconds is nothing.
        since.is_none_or(|since| schema_time(event.at) >= schema_time(since))
            && (kinds.is_empty() || kinds.contains(&event.kind))
            && self.is_about(event)
    }

    fn is_about(&self, event: &Event) -> bool {
        if self.domains.is_empty() && self.hosts.is_empty() {
            return true;
        }
        match (&event.domain, &event.host) {
            (Some(domain), _) => self.domains.contains(domain),
            (None, Some(host)) => self.hosts.contains(host),
            (None, None) => event.kind == EventKind::Started,
        }
    }
}

/// An entry with what it replaces, or the event that it is.
fn keyed(entry: Entry) -> Result<(Key, Entry), Event> {
    let key = match &entry {
        Entry::Record(row) => {
            Key::Record(row.domain.clone(), row.witness.clone(), row.host.clone())
        }
        Entry::ForgetRecord { domain, witness, host } => {
            Key::Record(domain.clone(), witness.clone(), host.clone())
        }
        Entry::Endpoint(row) => Key::Endpoint(row.of.clone()),
        Entry::Host(row) => Key::Host(row.of.clone()),
        Entry::Finding { id, .. } => Key::Finding(id.clone()),
        Entry::Acknowledged(row) => Key::Acknowledgement(row.id.clone()),
        Entry::Unacknowledged(id) => Key::Acknowledgement(id.clone()),
        Entry::Alert { id, .. } => Key::Alert(id.clone()),
        Entry::Heartbeat { witness, .. } => Key::Heartbeat(witness.clone()),
        Entry::Status(row) => Key::Status(row.domain.clone()),
        Entry::ForgetStatus(domain) => Key::Status(domain.clone()),
        Entry::Watched(_) => Key::Watched,
        Entry::Event(_) => {
            let Entry::Event(event) = entry else { unreachable!("matched above") };
            return Err(event);
        }
    };
    Ok((key, entry))
}

/// Counts of entries in memory are far below 2⁶³.
pub(super) fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::finding::Evidence;

    /// On the disk there are milliseconds, and what is found there is found here.
    #[test]
    fn an_event_is_found_by_its_own_time() {
        let at: Timestamp = "2026-03-01T12:00:00.123987Z".parse().expect("a time");
        let (kind, evidence, servers) = (EventKind::Reloaded, Evidence::default(), Vec::new());
        let event = Event { at, kind, domain: None, host: None, servers, evidence };
        let mut pending = Pending::default();
        pending.add(Entry::Event(event));
        let since = |since| EventQuery { since: Some(since), limit: 9, ..EventQuery::default() };
        assert_eq!(pending.events(&since(at)).0.len(), 1);
        let later = at + jiff::SignedDuration::from_millis(1);
        assert_eq!(pending.events(&since(later)).0.len(), 0);
    }
}
