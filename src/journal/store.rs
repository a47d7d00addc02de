//! The database as one process writes it: opened, brought up to date, written and pruned.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::batch;
use super::error::JournalError;
use super::pending::Batch;
use super::remembered;
use super::schema::{self, MIGRATIONS};
use crate::model::journal::{Remembered, Witness};

/// A connection that writes, and the numbers of what it has written names of.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    /// What the connection writes, and its log.
    file: FileId,
    log: Option<FileId>,
    known: Known,
}

/// The numbers of names and witnesses in the database. What a transaction that failed has added is not
/// there: whoever sees one fail opens the store anew.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) names: HashMap<String, i64, RandomState>,
    pub(super) witnesses: HashMap<Witness, i64, RandomState>,
    /// That of the last event.
    pub(super) day: Option<i64>,
}

impl Store {
    /// Opens it for the first time in this process. A database that is no whole one is set aside.
    ///
    /// # Errors
    /// A refusal ([`JournalError::is_refusal`]), or why it cannot be written now.
    pub(super) fn open_whole(path: &Path, now: Timestamp) -> Result<Self, JournalError> {
        if let Err(error) = check(path) {
            if error.is_refusal() {
                return Err(error);
            }
            // What cannot be read for another reason is told when it is opened.
            if error.is_corrupt() {
                let aside = set_aside(path, now)?;
                tracing::error!(
                    "{error}: this journal is broken and was set aside as {}; a new one is begun, \
                     which knows nothing of what was",
                    aside.display()
                );
            }
        }
        Self::open(path)
    }

    /// Opens it, and shows that it can be written.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let fault =
            |source| JournalError::Database { path: path.to_owned(), doing: "open", source };
        let mut connection = Connection::open(path).map_err(fault)?;
        connection.busy_timeout(BUSY).map_err(fault)?;
        schema::version(&connection, path)?;
        // Readers beside a writer, and one sequential write a commit. NORMAL syncs at checkpoints only:
        // a commit is in the kernel's hands at once, so the death of the process loses none. Without
        // power those of the last half minute or so may go, never a part of one, and the database is
        // whole; for that, a sync every second is not worth its price.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fault)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(fault)?;
        connection.pragma_update(None, "journal_size_limit", LARGEST_LOG).map_err(fault)?;
        // What a second changes is a few pages; SQLite would keep twice as much.
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fault)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        schema::migrate(&mut connection, path, MIGRATIONS)?;
        let file = identity(path).map_err(|source| JournalError::File {
            path: path.to_owned(),
            doing: "open",
            source,
        })?;
        let log = identity(&beside(path, "-wal")).ok();
        Ok(Self { connection, path: path.to_owned(), file, log, known: Known::default() })
    }

    /// Whether the path leads to what is written: `SQLite` goes on with a file that was removed.
    pub(super) fn is_in_place(&self) -> bool {
        identity(&self.path).is_ok_and(|file| file == self.file)
    }

    /// Writes what a file held that was removed to where it was; true if that was done, false where
    /// another file has taken its place.
    pub(super) fn put_back(self) -> Result<bool, JournalError> {
        let parts = ["-wal", "-shm"].map(|part| beside(&self.path, part));
        if self.path.exists() {
            // Else it would be taken for the other file's. The index beside it is made from it.
            if self.log.is_some() && identity(&parts[0]).ok() == self.log {
                let _ = fs::remove_file(&parts[0]);
            }
            return Ok(false);
        }
        let copy = beside(&self.path, ".copy");
        // Left behind by one that was killed.
        let _ = fs::remove_file(&copy);
        let copied = self.connection.execute("VACUUM INTO ?1", [copy.to_string_lossy()]);
        copied.map_err(|source| self.fault("copy", source))?;
        let path = self.path.clone();
        drop(self);
        // A log of the file that is gone would be taken for one of the copy.
        for part in parts {
            let _ = fs::remove_file(part);
        }
        let moved = fs::rename(&copy, &path);
        moved.map_err(|source| JournalError::File { path, doing: "put back", source })?;
        Ok(true)
    }

    /// Everything that is kept but the events.
    pub(super) fn remembered(&self) -> Result<Remembered, JournalError> {
        remembered::read(&self.connection).map_err(|source| self.fault("read", source))
    }

    /// The number that the next event gets.
    pub(super) fn next_event(&self) -> Result<i64, JournalError> {
        remembered::next_event(&self.connection).map_err(|source| self.fault("read", source))
    }

    /// Writes all of a batch, or nothing; `first` is the number of its first event.
    pub(super) fn write(&mut self, batch: &Batch, first: i64) -> Result<(), JournalError> {
        let (connection, known) = (&mut self.connection, &mut self.known);
        let written = (|| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            batch::write(&transaction, known, batch, first)?;
            transaction.commit()
        })();
        if self.known.names.len() > MOST_KNOWN {
            self.known = Known::default();
        }
        written.map_err(|source| self.fault("write", source))
    }

    /// Removes what is older than is kept, and what has ended.
    pub(super) fn prune(&mut self, now: Timestamp, keep: Duration) -> Result<(), JournalError> {
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(keep).unwrap_or(Timestamp::MIN).as_millisecond();
        let pruned = (|| {
            let behavior = TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(behavior)?;
            let mut removed = 0;
            for sql in PRUNED {
                removed += transaction.execute(sql, params![oldest])?;
            }
            let sql = "DELETE FROM acknowledgements WHERE until <= ?1";
            transaction.execute(sql, params![now.as_millisecond()])?;
            if removed > 0 {
                transaction.execute_batch(UNUSED_NAMES)?;
            }
            transaction.commit()
        })();
        // Numbers of names may be gone.
        self.known = Known::default();
        pruned.map_err(|source| self.fault("prune", source))
    }

    fn fault(&self, doing: &'static str, source: rusqlite::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), doing, source }
    }
}

/// Only checkpoints and recovery after a crash make one wait for another.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Of the pages that are kept in memory, in KiB.
const CACHE_KIB: i64 = 1024;
/// Every kind that a batch needs, so that none is parsed twice.
const STATEMENTS: usize = 32;
/// Of the write-ahead log after a large transaction, in bytes.
const LARGEST_LOG: i64 = 4 << 20;
/// Names to remember the numbers of.
const MOST_KNOWN: usize = 100_000;

/// What is too old, by the oldest time that is kept.
const PRUNED: [&str; 6] = [
    "DELETE FROM events WHERE at < ?1",
    "DELETE FROM days WHERE day < ?1 / 86400000",
    "DELETE FROM records WHERE gone < ?1",
    "DELETE FROM endpoints WHERE NOT is_up AND last_up < ?1",
    "DELETE FROM hosts WHERE NOT is_up AND last_up < ?1",
    "DELETE FROM witnesses WHERE heartbeat < ?1
        AND id NOT IN (SELECT witness FROM records UNION SELECT witness FROM endpoints)",
];

const UNUSED_NAMES: &str = "
    DELETE FROM names WHERE id NOT IN (
        SELECT domain FROM records UNION SELECT host FROM records UNION SELECT host FROM hosts
        UNION SELECT domain FROM statuses
        UNION SELECT domain FROM events WHERE domain IS NOT NULL
        UNION SELECT host FROM events WHERE host IS NOT NULL
        UNION SELECT servers FROM events WHERE servers IS NOT NULL
    )";

/// Device and inode.
type FileId = (u64, u64);

fn identity(path: &Path) -> std::io::Result<FileId> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Takes the journal for this process, until the file is dropped.
///
/// # Errors
/// [`JournalError::InUse`], or why it cannot be known.
pub(super) fn lock(path: &Path) -> Result<File, JournalError> {
    let lock = beside(path, ".lock");
    let fault =
        |source| JournalError::File { path: lock.clone(), doing: "lock the journal", source };
    let mut options = File::options();
    let written = options.read(true).write(true).create(true).truncate(false).open(&lock);
    // Where nothing can be written, a reader can still hold the lock.
    let mut file = written.or_else(|error| File::open(&lock).map_err(|_| error)).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut said = String::new();
            let by = match file.read_to_string(&mut said) {
                Ok(_) => said.trim().parse::<u32>().ok(),
                Err(_) => None,
            };
            let by = by.map_or(String::new(), |process| format!(" (process {process})"));
            return Err(JournalError::InUse { path: path.to_owned(), by });
        }
        Err(fs::TryLockError::Error(error)) => return Err(fault(error)),
    }
    // Only for whoever is refused: a full disk is no reason not to go on.
    let process = format!("{}\n", std::process::id());
    let _ = file.set_len(0).and_then(|()| file.rewind());
    let _ = file.write_all(process.as_bytes());
    Ok(file)
}

/// Looks through the database, if there is one, without a change to it: what is broken is left as it is.
fn check(path: &Path) -> Result<(), JournalError> {
    let fault = |source| JournalError::Database { path: path.to_owned(), doing: "check", source };
    if fs::metadata(path).is_ok_and(|file| file.len() > 0) {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
        connection.busy_timeout(BUSY).map_err(fault)?;
        schema::version(&connection, path)?;
        let sql = "PRAGMA quick_check(1)";
        let said: String = connection.query_row(sql, [], |row| row.get(0)).map_err(fault)?;
        if said != "ok" {
            let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
            return Err(fault(rusqlite::Error::SqliteFailure(failure, Some(said))));
        }
    }
    Ok(())
}

/// Gives a database and what belongs to it another name.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, JournalError> {
    let aside = beside(path, &format!(".corrupt-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    for part in ["", "-wal", "-shm"] {
        let (from, to) = (beside(path, part), beside(&aside, part));
        match fs::rename(&from, &to) {
            Err(error) if part.is_empty() || from.exists() => {
                return Err(JournalError::File { path: from, doing: "set aside", source: error });
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// The path with something behind it.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
