//! What outlives the process: an embedded `SQLite` database, written by a thread of its own.
//!
//! [`Journal`] takes entries and never makes anybody wait: `pending` holds them until the thread of
//! `writer` has committed them (`store`, `batch`), within a second. Where it cannot, it goes on in memory,
//! says so and tries again. [`Reader`] reads events beside whoever writes. `schema` has the tables,
//! `pack` the bytes of evidence.

mod batch;
mod error;
mod pack;
mod pending;
mod reader;
mod remembered;
mod schema;
mod store;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use error::JournalError;
pub use reader::Reader;

use crate::clock::Clock;
use crate::model::journal::{Entry, Event, EventQuery, JournalCondition, Remembered};
use crate::model::plan::JournalSettings;
use crate::model::{Host, Name};
use writer::Shared;

/// A journal that this process writes. Ends its thread, and writes what is left, when closed or dropped.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    path: Option<PathBuf>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal, or begins one, and reads what it knows. Takes as long as its database takes to
    /// be looked through once. One that cannot be written now is begun in memory, and tried again.
    ///
    /// # Errors
    /// Another process writes it, a later version wrote it, or it is another program's.
    pub fn open(
        settings: &JournalSettings,
        clock: Clock,
    ) -> Result<(Self, Remembered), JournalError> {
        let Some(path) = settings.path.clone() else {
            let journal =
                Self { shared: Shared::in_memory(), path: None, thread: Mutex::default() };
            return Ok((journal, Remembered::default()));
        };
        let (shared, thread, remembered) = writer::start(path.clone(), settings.keep, clock)?;
        let thread = Mutex::new(Some(thread));
        Ok((Self { shared, path: Some(path), thread }, remembered))
    }

    /// Takes entries; each replaces what was kept of the same thing. Never waits for the disk, and never
    /// fails.
    pub fn record(&self, entries: impl IntoIterator<Item = Entry>) {
        self.shared.record(entries);
    }

    /// The events that are asked for, the latest first; also those that are not written yet. Blocks
    /// while the database is read.
    ///
    /// # Errors
    /// The database cannot be read, though it can be written.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<Event>, JournalError> {
        let (mut events, end) = self.shared.events(query);
        if let (Some(path), Some(end)) = (&self.path, end) {
            let rest = EventQuery { limit: query.limit - events.len(), ..query.clone() };
            let read = Reader::open(path).and_then(|reader| reader.events_before(&rest, end));
            match read {
                Ok(older) => events.extend(older),
                // What is in memory is all there is, and the condition says so.
                Err(_) if self.is_degraded() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// Whether [`Self::events`] has all that was ever recorded and kept: while a disk fails, it may be that
    /// only what is in memory can be read. Blocks while it looks.
    pub fn is_whole(&self) -> bool {
        let is_read = |path| Reader::open(path).is_ok();
        !self.is_degraded() || self.path.as_deref().is_some_and(is_read)
    }

    /// The hosts that the domain is or was seen to publish, as far as the disk knows: none where there is
    /// no disk that can be read. Blocks while the database is read.
    ///
    /// # Errors
    /// The database cannot be read, though it can be written.
    pub fn hosts_of(&self, domain: &Name) -> Result<Vec<Host>, JournalError> {
        let Some(path) = &self.path else { return Ok(Vec::new()) };
        match Reader::open(path).and_then(|reader| reader.hosts_of(domain)) {
            Err(_) if self.is_degraded() => Ok(Vec::new()),
            other => other,
        }
    }

    /// How the journal is.
    pub fn condition(&self) -> JournalCondition {
        self.shared.condition()
    }

    /// Writes what is left, once, and ends. What is recorded later is lost.
    pub fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }

    fn is_degraded(&self) -> bool {
        matches!(self.condition(), JournalCondition::Degraded { .. })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}
