//! Why a journal cannot be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a journal cannot be used; each says what to do.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error(
        "{}: another kmswatch{by} writes this journal; end it, or give each its own [journal] path",
        .path.display()
    )]
    InUse {
        /// The journal.
        path: PathBuf,
        /// ` (process 123)`, where it says so.
        by: String,
    },
    /// It was written by a later version of this program.
    #[error(
        "{}: the journal is of version {found}, and this kmswatch knows none above {known}; run the \
         kmswatch that wrote it, or give another [journal] path",
        .path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// It was written by an earlier version, and whoever only reads cannot change that.
    #[error(
        "{}: the journal is of version {found}, and this kmswatch reads version {known}; start \
         `kmswatch run` of this version once, which brings it up to date",
        .path.display()
    )]
    Older {
        /// The journal.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// A database of another program.
    #[error("{}: this is the database of another program; give another [journal] path", .path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// There is none to read.
    #[error(
        "{}: there is no journal; `kmswatch run` begins one. A relative [journal] path is one of the \
         folder that it runs in, which is /var/lib/kmswatch for the service",
        .path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The database cannot do it.
    #[error("{}: cannot {doing}: {source}", .path.display())]
    Database {
        /// The journal.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
    /// The operating system cannot do it.
    #[error("{}: cannot {doing}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl JournalError {
    /// Whether the file is no whole database, so that trying again is of no use.
    pub(super) fn is_corrupt(&self) -> bool {
        use rusqlite::{Error, ErrorCode};
        let Self::Database { source, .. } = self else { return false };
        match source {
            Error::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => true,
            _ => false,
        }
    }

    /// Whether to go on without it would do harm, or hide what only a person can mend.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::InUse { .. } | Self::Newer { .. } | Self::Foreign { .. })
    }
}
