//! The tables, version by version, and how a database is brought up to date.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::JournalError;
use crate::model::journal::EventKind;

/// Each brings a database from the version that is its index to the next. Append only: what was
/// released is never edited.
///
/// Names, hosts and servers stand once, in `names`; everything else names them by number. Times are
/// milliseconds since 1970. An event has no index by time: `days` has the first event of each day, from
/// which on one reads.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE witnesses (
        id INTEGER PRIMARY KEY,
        server TEXT NOT NULL,
        path TEXT NOT NULL,
        heartbeat INTEGER,
        UNIQUE (server, path)
    ) STRICT;
    CREATE TABLE records (
        domain INTEGER NOT NULL,
        witness INTEGER NOT NULL,
        host INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        weight INTEGER NOT NULL,
        first_seen INTEGER NOT NULL,
        last_seen INTEGER NOT NULL,
        gone INTEGER,
        PRIMARY KEY (domain, witness, host)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE endpoints (
        address TEXT NOT NULL,
        witness INTEGER NOT NULL,
        last_up INTEGER NOT NULL,
        is_up INTEGER NOT NULL,
        PRIMARY KEY (address, witness)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hosts (
        host INTEGER PRIMARY KEY,
        last_up INTEGER NOT NULL,
        is_up INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE findings (id TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE acknowledgements (
        id TEXT PRIMARY KEY,
        at INTEGER NOT NULL,
        until INTEGER NOT NULL,
        reason TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE alerts (id TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        domain INTEGER,
        host INTEGER,
        servers INTEGER,
        evidence BLOB
    ) STRICT;
    CREATE INDEX events_of_domain ON events (domain) WHERE domain IS NOT NULL;
",
    "
    CREATE TABLE statuses (
        domain INTEGER PRIMARY KEY,
        status TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE watched (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        until INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE days (day INTEGER PRIMARY KEY, first_event INTEGER NOT NULL) STRICT;
    INSERT INTO days SELECT at / 86400000, min(id) FROM events GROUP BY 1;
    DROP INDEX events_of_domain;
    CREATE INDEX events_of_domain ON events (domain, kind) WHERE domain IS NOT NULL;
    CREATE INDEX events_of_host ON events (host, kind) WHERE host IS NOT NULL AND domain IS NULL;
    CREATE INDEX events_of_start ON events (kind) WHERE kind = 12;
",
];

/// The day of a time of the database, as `days` counts them.
pub(super) fn day(milliseconds: i64) -> i64 {
    milliseconds / 86_400_000
}

/// Tells our databases from those of other programs: `kmsw`.
const APPLICATION: i64 = 0x6b6d_7377;

/// The number of a kind of event in the database; never another, once released.
pub(super) fn code(kind: EventKind) -> i64 {
    match kind {
        EventKind::Appeared => 1,
        EventKind::Vanished => 2,
        EventKind::Changed => 3,
        EventKind::HostDown => 4,
        EventKind::HostUp => 5,
        EventKind::ServerFailing => 6,
        EventKind::ServerAnswering => 7,
        EventKind::Status => 8,
        EventKind::Reloaded => 9,
        EventKind::Acknowledged => 10,
        EventKind::Unacknowledged => 11,
        EventKind::Started => 12,
    }
}

/// The kind of a number; `None` for numbers that no version wrote.
pub(super) fn kind_of(number: i64) -> Option<EventKind> {
    EventKind::ALL.iter().copied().find(|kind| code(*kind) == number)
}

/// Brings a database up to date, and shows by a write that it can be written.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), JournalError> {
    let known = version_of(migrations);
    let found = version(connection, path)?;
    if found > known {
        return Err(JournalError::Newer { path: path.to_owned(), found, known });
    }
    let missing = usize::try_from(found).ok().and_then(|found| migrations.get(found..));
    let migrated = (|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in missing.unwrap_or_default() {
            transaction.execute_batch(migration)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", known)?;
        transaction.commit()
    })();
    migrated.map_err(|source| JournalError::Database {
        path: path.to_owned(),
        doing: "write",
        source,
    })
}

/// The version of a database; 0 of one that is empty. One of another program is refused.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64, JournalError> {
    let read = || {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get(0));
        let tables =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok::<(i64, i64, i64), _>((number("user_version")?, number("application_id")?, tables))
    };
    let (version, application, tables) = read().map_err(|source| JournalError::Database {
        path: path.to_owned(),
        doing: "read",
        source,
    })?;
    let is_empty = tables == 0 && version == 0 && application == 0;
    if is_empty || application == APPLICATION {
        return Ok(version);
    }
    Err(JournalError::Foreign { path: path.to_owned() })
}

/// The version that these migrations lead to.
pub(super) fn version_of(migrations: &[&str]) -> i64 {
    super::pending::count(migrations.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal as it is, and a version that changes what is in it.
    const NEXT: &[&str] = &[
        MIGRATIONS[0],
        "ALTER TABLE findings ADD COLUMN severity TEXT NOT NULL DEFAULT 'unknown';
         UPDATE findings SET severity = 'critical' WHERE id LIKE 'srv-missing-%';",
    ];

    fn empty() -> Connection {
        Connection::open_in_memory().expect("memory")
    }

    fn severity(connection: &Connection) -> String {
        let sql = "SELECT severity FROM findings";
        connection.query_row(sql, [], |row| row.get(0)).expect("one finding")
    }

    #[test]
    fn every_version_is_brought_to_the_present_one() {
        for of in 1..=MIGRATIONS.len() {
            let (mut old, path) = (empty(), Path::new("j"));
            migrate(&mut old, path, &MIGRATIONS[..of]).expect("an old one");
            migrate(&mut old, path, MIGRATIONS).expect("brought up to date");
            let tables = |connection: &Connection| -> Vec<String> {
                let mut all =
                    connection.prepare("SELECT sql FROM sqlite_schema ORDER BY name").expect("SQL");
                let rows = all.query_map([], |row| row.get::<_, Option<String>>(0)).expect("rows");
                rows.filter_map(|row| row.expect("a row")).collect()
            };
            let mut new = empty();
            migrate(&mut new, path, MIGRATIONS).expect("a new one");
            assert_eq!(tables(&old), tables(&new));
            assert_eq!(version(&old, path).expect("readable"), version_of(MIGRATIONS));
        }
    }

    #[test]
    fn a_migration_keeps_what_is_there_and_runs_once() {
        let (mut database, path) = (empty(), Path::new("j"));
        migrate(&mut database, path, &NEXT[..1]).expect("version 1");
        database.execute("INSERT INTO findings VALUES ('srv-missing-1', 5)", []).expect("a row");
        migrate(&mut database, path, NEXT).expect("version 2");
        assert_eq!(severity(&database), "critical");
        database.execute("UPDATE findings SET severity = 'info'", []).expect("changed");
        migrate(&mut database, path, NEXT).expect("still version 2");
        assert_eq!(severity(&database), "info");
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let (mut database, path) = (empty(), Path::new("j"));
        migrate(&mut database, path, &NEXT[..1]).expect("version 1");
        let broken = [NEXT[0], "DROP TABLE alerts; SELECT nonsense"];
        migrate(&mut database, path, &broken).expect_err("nonsense");
        assert_eq!(version(&database, path).expect("readable"), 1);
        database.execute("DELETE FROM alerts", []).expect("the table is still there");
    }

    #[test]
    fn a_newer_version_and_a_foreign_database_are_refused() {
        let (mut newer, path) = (empty(), Path::new("j"));
        migrate(&mut newer, path, NEXT).expect("version 2");
        let refused = migrate(&mut newer, path, &NEXT[..1]).expect_err("newer");
        assert_eq!(
            refused.to_string(),
            "j: the journal is of version 2, and this kmswatch knows none above 1; run the kmswatch \
             that wrote it, or give another [journal] path"
        );
        let mut foreign = empty();
        foreign.execute_batch("CREATE TABLE mails (text TEXT)").expect("another program");
        let refused = migrate(&mut foreign, path, MIGRATIONS).expect_err("foreign");
        assert!(refused.to_string().contains("another program"), "{refused}");
    }

    #[test]
    fn every_kind_of_event_has_its_number() {
        for kind in EventKind::ALL {
            assert_eq!(kind_of(code(*kind)), Some(*kind));
        }
        assert_eq!(kind_of(0), None);
    }
}
