//! One answer of one server on its way into the past of a domain.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use jiff::Timestamp;

use crate::model::finding::Evidence;
use crate::model::journal::{Entry, Event, EventKind, SeenRecord, Witness};
use crate::model::{Host, Record, SharedNames, Upstream};

use super::{Beat, Past, Row, Track, shared};

/// So many records of one server that are gone are remembered, the latest: one that names another host
/// in each answer must not fill the memory.
pub(super) const MAX_GONE: usize = 32;

/// One answer of one server on its way into the past of a domain.
pub(super) struct Turn<'a> {
    pub(super) past: &'a mut Past,
    /// The place of the server's track.
    pub(super) at: usize,
    pub(super) servers: &'a HashMap<Arc<Upstream>, Beat, FixedState>,
    pub(super) now: Timestamp,
    pub(super) entries: &'a mut Vec<Entry>,
}

impl Turn<'_> {
    pub(super) fn shows(&mut self, record: &Record, targets: &mut SharedNames) {
        let Record { priority, weight, .. } = *record;
        let rows = &mut self.past.tracks[self.at].rows;
        let Some(place) = rows.iter().position(|row| row.is_of(record)) else {
            let (first_seen, last_seen) = (self.now, self.now);
            let host = shared(targets, record.host());
            rows.push(Row { host, priority, weight, first_seen, last_seen, gone: None });
            let place = rows.len() - 1;
            self.keep(place);
            if self.past.was_watched || self.past.tracks[self.at].is_heard {
                self.tell_appeared(place);
            }
            return;
        };
        let row = &mut rows[place];
        let was = (row.priority, row.weight);
        (row.priority, row.weight) = (priority, weight);
        if row.gone.is_some() {
            (row.gone, row.last_seen) = (None, self.now);
            self.keep(place);
            self.tell_appeared(place);
        } else if was != (priority, weight) {
            self.keep(place);
            self.tell_changed(place, was);
        }
    }

    /// What the server shows no more, by an answer that has all that there is.
    pub(super) fn lacks_others(&mut self, shown: &[&Record], before: Option<Timestamp>) {
        for place in 0..self.past.tracks[self.at].rows.len() {
            let row = &mut self.past.tracks[self.at].rows[place];
            if row.gone.is_some() || shown.iter().any(|record| row.is_of(record)) {
                continue;
            }
            row.gone = Some(self.now);
            row.last_seen = before.map_or(row.last_seen, |before| before.max(row.last_seen));
            self.keep(place);
            self.tell_vanished(place);
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let witness = self.witness();
        let rows = &mut self.past.tracks[self.at].rows;
        while rows.iter().filter(|row| row.gone.is_some()).count() > MAX_GONE {
            let gone = rows.iter().enumerate().filter_map(|(at, row)| Some((row.gone?, at)));
            let Some((_, oldest)) = gone.min() else { return };
            let host = rows.swap_remove(oldest).host;
            let domain = self.past.domain.clone();
            let witness = witness.clone();
            self.entries.push(Entry::ForgetRecord { domain, witness, host });
        }
    }

    /// The row's entry.
    fn keep(&mut self, place: usize) {
        let row = self.row(place);
        let entry = SeenRecord {
            domain: self.past.domain.clone(),
            witness: self.witness(),
            host: row.host.clone(),
            priority: row.priority,
            weight: row.weight,
            first_seen: row.first_seen,
            last_seen: row.last_seen,
            gone: row.gone,
        };
        self.entries.push(Entry::Record(entry));
    }

    fn tell_appeared(&mut self, place: usize) {
        let row = self.row(place);
        if !self.past.is_shown_beside(self.at, |other| other.host == row.host) {
            let earlier = self.rows_of(&row.host).map(|(_, row)| row.first_seen).min();
            let mut evidence = values(row);
            if let Some(first_seen) = earlier.filter(|earlier| *earlier < self.now) {
                evidence.insert("first_seen".to_owned(), first_seen.to_string().into());
            }
            self.tell(EventKind::Appeared, place, vec![self.witness().server], evidence);
        }
    }

    /// Once, not once a server: who comes second only follows.
    fn tell_changed(&mut self, place: usize, was: (u16, u16)) {
        let row = self.row(place);
        let is_same = |other: &Row| {
            other.host == row.host && (other.priority, other.weight) == (row.priority, row.weight)
        };
        if !self.past.is_shown_beside(self.at, is_same) {
            let mut evidence = values(row);
            evidence.insert("was_priority".to_owned(), was.0.into());
            evidence.insert("was_weight".to_owned(), was.1.into());
            self.tell(EventKind::Changed, place, vec![self.witness().server], evidence);
        }
    }

    fn tell_vanished(&mut self, place: usize) {
        let row = self.row(place);
        if self.past.is_shown_beside(self.at, |other| other.host == row.host) {
            return;
        }
        let mut evidence = values(row);
        let of_host = || self.rows_of(&row.host);
        let first_seen = of_host().map(|(_, row)| row.first_seen).min();
        let last_seen = of_host().map(|(_, row)| row.last_seen).max();
        for (name, at) in [("first_seen", first_seen), ("last_seen", last_seen)] {
            evidence.extend(at.map(|at| (name.to_owned(), at.to_string().into())));
        }
        let mut servers: Vec<Arc<str>> = of_host()
            .map(|(track, _)| self.servers[&track.upstream].witness.server.clone())
            .collect();
        servers.dedup();
        self.tell(EventKind::Vanished, place, servers, evidence);
    }

    fn tell(&mut self, kind: EventKind, place: usize, servers: Vec<Arc<str>>, evidence: Evidence) {
        let host = Some(self.row(place).host.clone());
        let domain = Some(self.past.domain.clone());
        self.entries.push(Entry::Event(Event {
            at: self.now,
            kind,
            domain,
            host,
            servers,
            evidence,
        }));
    }

    fn row(&self, place: usize) -> &Row {
        &self.past.tracks[self.at].rows[place]
    }

    /// What all servers showed of the host.
    fn rows_of(&self, host: &Host) -> impl Iterator<Item = (&Track, &Row)> {
        let tracks = self.past.tracks.iter();
        tracks
            .flat_map(|track| track.rows.iter().map(move |row| (track, row)))
            .filter(move |(_, row)| row.host == *host)
    }

    fn witness(&self) -> Witness {
        self.servers[&self.past.tracks[self.at].upstream].witness.clone()
    }
}

fn values(row: &Row) -> Evidence {
    let values = [("priority", row.priority), ("weight", row.weight)];
    values.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}
