//! Events, read beside whoever writes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::batch::{BETWEEN_SERVERS, schema_time, time};
use super::error::JournalError;
use super::pack;
use super::pending::count;
use super::remembered::{self, host_of};
use super::schema::{self, MIGRATIONS};
use super::store::{BUSY, beside};
use crate::model::journal::{Event, EventKind, EventQuery, Remembered};
use crate::model::{Host, Name};

/// A journal that is only read: it takes no lock, and a daemon may write it meanwhile.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens a journal of this version.
    ///
    /// # Errors
    /// There is none, it is of another version or no journal, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        if !path.exists() {
            return Err(JournalError::Missing { path: path.to_owned() });
        }
        let reader = match Self::open_as(path, path) {
            // Whoever may not write the folder cannot share the memory of a write-ahead log. Where there
            // is no log, nobody writes.
            Err(JournalError::Database { .. }) if !beside(path, "-wal").exists() => {
                Self::open_as(path, Path::new(&immutable(path)))
            }
            other => other,
        }?;
        let (found, known) =
            (schema::version(&reader.connection, path)?, schema::version_of(MIGRATIONS));
        let path = path.to_owned();
        match found {
            0 => Err(JournalError::Missing { path }),
            _ if found > known => Err(JournalError::Newer { path, found, known }),
            _ if found < known => Err(JournalError::Older { path, found, known }),
            _ => Ok(reader),
        }
    }

    fn open_as(path: &Path, address: &Path) -> Result<Self, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(address, flags).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            // The file is opened lazily, and so is what may go wrong with it.
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        let fault =
            |source| JournalError::Database { path: path.to_owned(), doing: "read", source };
        opened.map(|connection| Self { connection, path: path.to_owned() }).map_err(fault)
    }

    /// The events that are asked for, the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<Event>, JournalError> {
        self.events_before(query, i64::MAX)
    }

    /// Those of them that have a number below `end`.
    pub(super) fn events_before(
        &self,
        query: &EventQuery,
        end: i64,
    ) -> Result<Vec<Event>, JournalError> {
        self.select(query, end).map_err(|source| self.fault(source))
    }

    /// The hosts that some server showed for this domain, now or once, sorted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn hosts_of(&self, domain: &Name) -> Result<Vec<Host>, JournalError> {
        let read = || {
            let mut statement = self.connection.prepare(HOSTS_OF)?;
            let texts = statement.query_map([domain.as_str()], |row| row.get::<_, String>(0))?;
            texts.collect::<rusqlite::Result<Vec<_>>>()
        };
        let texts = read().map_err(|source| self.fault(source))?;
        let mut hosts: Vec<Host> = texts.iter().filter_map(|text| host_of(text)).collect();
        hosts.sort_unstable();
        Ok(hosts)
    }

    /// Everything but the events, and the number of the next event.
    pub(super) fn remembered(&self) -> Result<(Remembered, i64), JournalError> {
        let read =
            || Ok((remembered::read(&self.connection)?, remembered::next_event(&self.connection)?));
        read().map_err(|source| self.fault(source))
    }

    fn select(&self, query: &EventQuery, end: i64) -> rusqlite::Result<Vec<Event>> {
        let since = query.since.map_or(i64::MIN, schema_time);
        let find = "SELECT min(first_event) FROM days WHERE day >= ?1";
        let first = self.connection.query_row(find, [schema::day(since)], |row| row.get(0))?;
        // On no such day was there an event.
        let Some(first) = first else { return Ok(Vec::new()) };
        let window: [i64; 4] = [first, end, since, count(query.limit)];
        let mut statement = self.connection.prepare(&self.sql(query)?)?;
        let mut names = Texts::new(&self.connection)?;
        let rows = statement.query_map(window, |row| event(row, &mut names))?;
        rows.filter_map(Result::transpose).collect()
    }

    /// The statement for a window: the number of its first event, the number behind its last, the oldest
    /// time, and how many.
    fn sql(&self, query: &EventQuery) -> rusqlite::Result<String> {
        let kinds = if query.kinds.is_empty() { EventKind::ALL } else { &query.kinds };
        let kinds = listed(kinds.iter().map(|kind| schema::code(*kind)));
        let about = if query.domains.is_empty() && query.hosts.is_empty() {
            WINDOW.to_owned()
        } else {
            format!("id IN ({})", self.found(query, &kinds)?)
        };
        Ok(format!(
            "SELECT at, kind, domain, host, servers, evidence FROM events \
             WHERE {about} AND at >= ?3 AND kind IN ({kinds}) ORDER BY id DESC LIMIT ?4"
        ))
    }

    /// The statement for the numbers of the events in the window that are about what is named. Indices
    /// answer it alone: the events themselves are read in their order on the disk, and only those.
    fn found(&self, query: &EventQuery, kinds: &str) -> rusqlite::Result<String> {
        let domains = self.numbers(query.domains.iter().map(Name::as_str))?;
        let hosts = self.numbers(query.hosts.iter().map(ToString::to_string))?;
        let by = |index: &str, that: &str| {
            format!(
                "SELECT id FROM events INDEXED BY {index} \
                 WHERE {that} AND kind IN ({kinds}) AND {WINDOW}"
            )
        };
        let started = schema::code(EventKind::Started);
        let mut parts = vec![by("events_of_start", &format!("kind = {started}"))];
        // No index finds what is among none.
        if !domains.is_empty() {
            parts.push(by("events_of_domain", &format!("domain IN ({domains})")));
        }
        if !hosts.is_empty() {
            parts.push(by("events_of_host", &format!("domain IS NULL AND host IN ({hosts})")));
        }
        Ok(parts.join(" UNION ALL "))
    }

    /// The numbers of those texts that the journal knows, as a list in SQL.
    fn numbers(&self, texts: impl Iterator<Item: AsRef<str>>) -> rusqlite::Result<String> {
        let mut find = self.connection.prepare("SELECT id FROM names WHERE text = ?1")?;
        let numbers = texts.map(|text| {
            let number = find.query_row([text.as_ref()], |row| row.get::<_, i64>(0));
            number.optional()
        });
        let known = numbers.filter_map(rusqlite::Result::transpose);
        Ok(listed(known.collect::<rusqlite::Result<Vec<i64>>>()?.into_iter()))
    }

    fn fault(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), doing: "read", source }
    }
}

const WINDOW: &str = "id >= ?1 AND id < ?2";

const HOSTS_OF: &str = "
    SELECT DISTINCT hosts.text
    FROM names AS domains JOIN records ON records.domain = domains.id
    JOIN names AS hosts ON hosts.id = records.host
    WHERE domains.text = ?1";

fn listed(numbers: impl Iterator<Item = i64>) -> String {
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

/// The event of a row; `None` where this version has no word for its kind.
fn event(row: &Row<'_>, names: &mut Texts<'_>) -> rusqlite::Result<Option<Event>> {
    let Some(kind) = schema::kind_of(row.get(1)?) else { return Ok(None) };
    let at = time(row.get(0)?);
    let servers = names.get(row.get(4)?)?.map(split);
    let evidence = row.get_ref(5)?.as_blob_or_null()?.and_then(|bytes| pack::unpack(bytes, at));
    Ok(Some(Event {
        at,
        kind,
        domain: names.get(row.get(2)?)?.map(Name::from_kept),
        host: names.get(row.get(3)?)?.and_then(host_of),
        servers: servers.unwrap_or_default(),
        evidence: evidence.unwrap_or_default(),
    }))
}

fn split(servers: &str) -> Vec<std::sync::Arc<str>> {
    servers.split(BETWEEN_SERVERS).map(Into::into).collect()
}

/// The texts of names that were asked for.
struct Texts<'c> {
    find: rusqlite::Statement<'c>,
    known: HashMap<i64, Option<String>>,
}

impl<'c> Texts<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let find = connection.prepare("SELECT text FROM names WHERE id = ?1")?;
        Ok(Self { find, known: HashMap::new() })
    }

    fn get(&mut self, number: Option<i64>) -> rusqlite::Result<Option<&str>> {
        let Some(number) = number else { return Ok(None) };
        let text = match self.known.entry(number) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let text = self.find.query_row([number], |row| row.get(0)).optional()?;
                new.insert(text)
            }
        };
        Ok(text.as_deref())
    }
}

/// The address of a file that nobody changes (`SQLite`, URI filenames).
fn immutable(path: &Path) -> String {
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            address.push(char::from(*byte));
        } else {
            let _ = write!(address, "%{byte:02x}");
        }
    }
    address + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_lead_to_the_events_of_a_query() {
        let (mut connection, path) = (Connection::open_in_memory().expect("memory"), Path::new(""));
        schema::migrate(&mut connection, path, MIGRATIONS).expect("a journal");
        connection
            .execute("INSERT INTO names VALUES (1, 'a.test'), (2, 'k:1')", [])
            .expect("names");
        let reader = Reader { connection, path: path.to_owned() };
        let domains = vec![Name::parse("a.test").expect("a name")];
        let hosts = Vec::from_iter(host_of("k:1"));
        let kinds = vec![EventKind::Status, EventKind::Started];
        for query in [
            EventQuery::default(),
            EventQuery { kinds: kinds.clone(), ..EventQuery::default() },
            EventQuery { domains: domains.clone(), ..EventQuery::default() },
            EventQuery { domains, hosts, kinds, ..EventQuery::default() },
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", reader.sql(&query).expect("SQL"));
            let mut statement = reader.connection.prepare(&sql).expect("SQL");
            let steps = statement.query_map([0; 4], |row| row.get(3)).expect("a plan");
            let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().expect("steps");
            let events = steps.iter().filter(|step| step.contains(" events "));
            let searched = events.clone().filter(|step| step.starts_with("SEARCH"));
            assert_eq!(searched.count(), events.count(), "{query:?}: {steps:?}");
            assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "sorted: {steps:?}");
        }
    }
}
