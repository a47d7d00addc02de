//! Hands what outlives the process to the journal, and says how the journal is.

use std::sync::Arc;

use crate::journal::Journal;
use crate::model::finding::Evidence;
use crate::model::journal::{Entry, Event, EventKind, JournalCondition};
use crate::model::{Plan, Snapshot};
use crate::stats::Stats;

use jiff::{SignedDuration, Timestamp};

/// The daemon's side of the journal.
#[derive(Debug)]
pub(super) struct Keeper {
    journal: Arc<Journal>,
    stats: Arc<Stats>,
    /// As the last snapshot tells it.
    told: JournalCondition,
    /// When the journal was told last that the daemon watches.
    watched: Option<Timestamp>,
}

/// A killed daemon is remembered to have watched until so long before its end.
const WATCHED_EVERY: SignedDuration = SignedDuration::from_mins(1);

impl Keeper {
    pub(super) fn new(journal: Arc<Journal>, stats: Arc<Stats>) -> Self {
        let told = journal.condition();
        let mut keeper = Self { journal, stats, told, watched: None };
        keeper.look();
        keeper
    }

    /// Keeps entries; never waits.
    pub(super) fn keep(&self, entries: impl IntoIterator<Item = Entry>) {
        self.journal.record(entries);
    }

    /// Keeps that the daemon begins to watch, and until when another one did.
    pub(super) fn started(&mut self, watched_until: Option<Timestamp>, at: Timestamp) {
        // A clock that was wrong and was set back tells of the future.
        let until = watched_until.map(|until| until.min(at).to_string().into());
        let evidence = until.map(|until| ("watched_until".to_owned(), until));
        let (kind, servers) = (EventKind::Started, Vec::new());
        let evidence = evidence.into_iter().collect();
        let event = Event { at, kind, domain: None, host: None, servers, evidence };
        self.keep(vec![Entry::Event(event)]);
        self.watched(at);
    }

    /// Keeps that the daemon watches now, once in a while.
    pub(super) fn watched(&mut self, now: Timestamp) {
        if self.watched.is_none_or(|last| now.duration_since(last) >= WATCHED_EVERY) {
            self.watched = Some(now);
            self.keep(vec![Entry::Watched(now)]);
        }
    }

    /// Keeps that the config was taken over.
    pub(super) fn reloaded(&self, plan: &Plan, at: Timestamp) {
        let counts = [("domains", plan.domains.len()), ("resolvers", plan.resolvers.len())];
        let counts = counts.map(|(name, count)| (name.to_owned(), count.into()));
        let evidence = Evidence::from_iter(counts);
        let (kind, servers) = (EventKind::Reloaded, Vec::new());
        let event = Event { at, kind, domain: None, host: None, servers, evidence };
        self.keep(vec![Entry::Event(event)]);
    }

    /// Looks how the journal is; true where that is not what the last snapshot told.
    pub(super) fn look(&mut self) -> bool {
        let condition = self.journal.condition();
        self.stats.set_journal_ok(!matches!(condition, JournalCondition::Degraded { .. }));
        let has_changed = condition != self.told;
        self.told = condition;
        has_changed
    }

    /// The snapshot, which tells how the journal is.
    pub(super) fn tell(&self, snapshot: Snapshot) -> Snapshot {
        Snapshot { journal: Some(self.told.clone()), ..snapshot }
    }

    /// Writes what is left.
    pub(super) fn close(&self, now: Timestamp) {
        self.keep(vec![Entry::Watched(now)]);
        self.journal.close();
    }
}
