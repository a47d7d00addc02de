//! The thread that writes: a commit a second at most, and what it does when it cannot.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::error::JournalError;
use super::pending::{Batch, MOST_EVENTS, Pending};
use super::reader::Reader;
use super::store::{Store, lock};
use crate::clock::Clock;
use crate::model::journal::{Entry, Event, EventQuery, JournalCondition, Remembered};

/// Entries wait so long for others to be committed with: a kill loses that much, and what a commit
/// takes, which together stay below a second.
const GATHER: Duration = Duration::from_millis(500);
/// After a failure, at first; then twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// What is too old is removed so often.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// What the thread and everybody else share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    pending: Pending,
    /// As published; `lost` stands in `pending`.
    condition: JournalCondition,
    /// The number of the first event of this process; `None` until the database was read.
    first_event: Option<i64>,
    is_closing: bool,
}

/// Opens the database and starts to write it.
pub(super) fn start(
    path: PathBuf,
    keep: Duration,
    clock: Clock,
) -> Result<(Arc<Shared>, JoinHandle<()>, Remembered), JournalError> {
    let mut opened = Opened::open(&path, keep, clock.now())?;
    let shared = Shared::new(opened.condition(), opened.first_event);
    let remembered = std::mem::take(&mut opened.remembered);
    let writer = Writer {
        shared: shared.clone(),
        retry: FIRST_RETRY,
        pruned: clock.now(),
        store: opened.store,
        is_suspect: false,
        lock: opened.lock,
        path: path.clone(),
        keep,
        clock,
    };
    let spawned = std::thread::Builder::new().name("journal".to_owned()).spawn(|| writer.run());
    let thread = spawned.map_err(|source| JournalError::File {
        path,
        doing: "start the thread that writes it",
        source,
    })?;
    Ok((shared, thread, remembered))
}

/// What came of opening it first.
struct Opened {
    lock: Option<File>,
    store: Option<Store>,
    problem: Option<String>,
    remembered: Remembered,
    first_event: Option<i64>,
}

impl Opened {
    fn open(path: &std::path::Path, keep: Duration, now: Timestamp) -> Result<Self, JournalError> {
        let mut opened = Self {
            lock: None,
            store: None,
            problem: None,
            remembered: Remembered::default(),
            first_event: None,
        };
        let tried: Result<Store, JournalError> = (|| {
            opened.lock = Some(lock(path)?);
            let mut store = Store::open_whole(path, now)?;
            store.prune(now, keep)?;
            opened.remembered = store.remembered()?;
            opened.first_event = Some(store.next_event()?);
            Ok(store)
        })();
        match tried {
            Ok(store) => opened.store = Some(store),
            Err(error) if error.is_refusal() => return Err(error),
            Err(error) => {
                tell_degraded(&error);
                opened.problem = Some(error.to_string());
                opened.read_only(path)?;
            }
        }
        Ok(opened)
    }

    /// What cannot be written may still be read.
    fn read_only(&mut self, path: &std::path::Path) -> Result<(), JournalError> {
        match Reader::open(path).and_then(|reader| reader.remembered()) {
            Ok((remembered, next)) => {
                self.remembered = remembered;
                self.first_event = Some(next);
                Ok(())
            }
            Err(error) if error.is_refusal() => Err(error),
            Err(_) => Ok(()),
        }
    }

    fn condition(&self) -> JournalCondition {
        match &self.problem {
            None => JournalCondition::Durable,
            Some(reason) => JournalCondition::Degraded { reason: reason.clone(), lost: 0 },
        }
    }
}

impl Shared {
    fn new(condition: JournalCondition, first_event: Option<i64>) -> Arc<Self> {
        let pending = Pending::default();
        let state = State { pending, condition, first_event, is_closing: false };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Of a journal that ends with the process.
    pub(super) fn in_memory() -> Arc<Self> {
        Self::new(JournalCondition::InMemory, None)
    }

    pub(super) fn record(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        let in_memory = state.condition == JournalCondition::InMemory;
        let was_empty = state.pending.is_empty();
        for entry in entries {
            // Nobody reads rows of a journal that ends with the process.
            if !in_memory || matches!(entry, Entry::Event(_)) {
                state.pending.add(entry);
            }
        }
        if was_empty && !state.pending.is_empty() {
            self.changed.notify_one();
        }
    }

    /// The events in memory, and the number below which those on the disk are older; `None` where
    /// there is no disk that can be read.
    pub(super) fn events(&self, query: &EventQuery) -> (Vec<Event>, Option<i64>) {
        let state = self.lock();
        let (events, before) = state.pending.events(query);
        (events, state.first_event.map(|first| first.saturating_add(before)))
    }

    pub(super) fn condition(&self) -> JournalCondition {
        let state = self.lock();
        match &state.condition {
            JournalCondition::Degraded { reason, .. } => {
                JournalCondition::Degraded { reason: reason.clone(), lost: state.pending.lost }
            }
            other => other.clone(),
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closing = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked held whole entries only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    keep: Duration,
    clock: Clock,
    /// Held as long as the process writes; `None` where it could not be made yet.
    lock: Option<File>,
    /// `None` after a failure.
    store: Option<Store>,
    /// It may be broken, or another file than before: it is looked through when it is opened again.
    is_suspect: bool,
    retry: Duration,
    pruned: Timestamp,
}

impl Writer {
    fn run(mut self) {
        loop {
            let is_closing = self.wait();
            let batch = self.shared.lock().pending.batch();
            match self.write(&batch) {
                Ok(()) => self.succeeded(&batch),
                Err(error) => self.failed(batch, &error),
            }
            if let Err(error) = self.prune() {
                self.failed(Batch::default(), &error);
            }
            if is_closing {
                return self.tell_end();
            }
        }
    }

    /// Until there is something to do; whether it is the last.
    fn wait(&self) -> bool {
        let shared = &*self.shared;
        let sleep = |state, longest, until: fn(&mut State) -> bool| {
            let waited = shared.changed.wait_timeout_while(state, longest, |state| !until(state));
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        let hour = PRUNE_EVERY.unsigned_abs();
        let mut state = shared.lock();
        if self.store.is_some() {
            state = sleep(state, hour, |state| state.is_closing || !state.pending.is_empty());
            sleep(state, GATHER, |state| state.is_closing).is_closing
        } else {
            sleep(state, self.retry, |state| state.is_closing).is_closing
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), JournalError> {
        if self.lock.is_none() {
            self.lock = Some(lock(&self.path)?);
            // Whoever held it until now has written more events.
            self.shared.lock().first_event = None;
        }
        self.regain()?;
        if self.store.is_none() {
            self.open()?;
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        let known = self.shared.lock().first_event;
        let first = match known {
            Some(first) => first,
            // The events before this batch found no room, and have no number.
            None => store.next_event()?.saturating_sub(batch.before),
        };
        store.write(batch, first.saturating_add(batch.before))?;
        self.shared.lock().first_event = Some(first);
        Ok(())
    }

    /// Opens it again.
    fn open(&mut self) -> Result<(), JournalError> {
        self.store = Some(if self.is_suspect {
            self.shared.lock().first_event = None;
            Store::open_whole(&self.path, self.clock.now())?
        } else {
            Store::open(&self.path)?
        });
        self.is_suspect = false;
        Ok(())
    }

    /// Somebody may have taken the file away, and what is written into that nobody will ever read.
    fn regain(&mut self) -> Result<(), JournalError> {
        let Some(store) = self.store.take_if(|store| !store.is_in_place()) else { return Ok(()) };
        (self.is_suspect, self.shared.lock().first_event) = (true, None);
        let what = if store.put_back()? {
            "was removed while it was written, and was put back as it was"
        } else {
            "was replaced while it was written; what is there is written from now on"
        };
        tracing::error!("{}: the journal {what}", self.path.display());
        Ok(())
    }

    fn prune(&mut self) -> Result<(), JournalError> {
        let now = self.clock.now();
        match &mut self.store {
            Some(store) if now.duration_since(self.pruned) >= PRUNE_EVERY => {
                self.pruned = now;
                store.prune(now, self.keep)
            }
            _ => Ok(()),
        }
    }

    fn succeeded(&mut self, batch: &Batch) {
        self.retry = FIRST_RETRY;
        let lost = {
            let pending = &mut self.shared.lock().pending;
            pending.written(batch);
            std::mem::take(&mut pending.lost)
        };
        if !self.is_durable() {
            tracing::info!(
                "{}: the journal is written again; events lost meanwhile: {lost}",
                self.path.display()
            );
            self.shared.lock().condition = JournalCondition::Durable;
        }
    }

    fn failed(&mut self, batch: Batch, error: &JournalError) {
        self.is_suspect |= error.is_corrupt();
        // What a transaction that failed knew is not there, and the next try opens what may be new.
        if self.store.take().is_none() {
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
        if self.is_durable() {
            tell_degraded(error);
        }
        let mut state = self.shared.lock();
        state.pending.not_written(batch);
        state.condition = JournalCondition::Degraded { reason: error.to_string(), lost: 0 };
    }

    /// As published; nobody else changes it.
    fn is_durable(&self) -> bool {
        self.shared.lock().condition == JournalCondition::Durable
    }

    fn tell_end(&self) {
        let state = self.shared.lock();
        if !state.pending.is_empty() {
            tracing::error!(
                "{}: the journal ends without what could not be written",
                self.path.display()
            );
        }
    }
}

fn tell_degraded(error: &JournalError) {
    tracing::error!(
        "{error}; the journal goes on in memory, with {MOST_EVENTS} events at most, and tries again"
    );
}
