//! What a journal knows when a process begins.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Row};

use super::batch::time;
use crate::model::finding::FindingId;
use crate::model::journal::{
    Acknowledgement, Remembered, SeenEndpoint, SeenRecord, SeenStatus, SeenUp, Witness,
};
use crate::model::{Host, Name, Status};

/// Reads all that is kept but the events.
pub(super) fn read(connection: &Connection) -> Result<Remembered> {
    let mut names = Names::read(connection)?;
    let witnesses = witnesses(connection)?;
    Ok(Remembered {
        records: records(connection, &mut names, &witnesses)?,
        endpoints: endpoints(connection, &witnesses)?,
        hosts: hosts(connection, &mut names, &witnesses)?,
        findings: rows(connection, "SELECT id, since FROM findings", |row| {
            Ok((id(row)?, time(row.get(1)?)))
        })?,
        acknowledgements: rows(connection, ACKNOWLEDGEMENTS, |row| {
            let (at, until) = (time(row.get(1)?), time(row.get(2)?));
            Ok(Acknowledgement { id: id(row)?, at, until, reason: row.get(3)? })
        })?,
        alerts: rows(connection, "SELECT id, state FROM alerts", |row| {
            Ok((id(row)?, row.get(1)?))
        })?,
        statuses: rows(connection, "SELECT domain, status, since FROM statuses", |row| {
            let status = Status::of_word(row.get_ref(1)?.as_str()?).ok_or_else(|| nonsense(1))?;
            Ok(SeenStatus { domain: names.domain(row, 0)?, status, since: time(row.get(2)?) })
        })?,
        watched_until: connection
            .query_row(WATCHED_UNTIL, [], |row| row.get::<_, Option<i64>>(0))?
            .map(time),
    })
}

/// Whoever heard of a server, or wrote an event, lived then.
const WATCHED_UNTIL: &str = "SELECT max(at) FROM (
    SELECT until AS at FROM watched UNION ALL SELECT heartbeat FROM witnesses
    UNION ALL SELECT at FROM events WHERE id = (SELECT max(id) FROM events))";

const ACKNOWLEDGEMENTS: &str = "SELECT id, at, until, reason FROM acknowledgements";

/// The number that the next event gets.
pub(super) fn next_event(connection: &Connection) -> Result<i64> {
    let last = connection
        .query_row("SELECT max(id) FROM events", [], |row| row.get::<_, Option<i64>>(0))?;
    Ok(last.map_or(0, |last| last.saturating_add(1)))
}

/// The host of a text that [`Host`] was displayed as.
pub(super) fn host_of(text: &str) -> Option<Host> {
    let (target, port) = text.rsplit_once(':')?;
    Some(Host { target: Name::from_kept(target), port: port.parse().ok()? })
}

/// A witness, and when it gave its last usable answer.
type Heard = (Witness, Option<Timestamp>);

fn witnesses(connection: &Connection) -> Result<HashMap<i64, Heard, RandomState>> {
    let mut witnesses = HashMap::default();
    let sql = "SELECT id, server, path, heartbeat FROM witnesses";
    rows(connection, sql, |row| {
        let (server, path) = (row.get::<_, String>(1)?.into(), row.get::<_, String>(2)?.into());
        let heartbeat = row.get::<_, Option<i64>>(3)?.map(time);
        witnesses.insert(row.get(0)?, (Witness { server, path }, heartbeat));
        Ok(())
    })?;
    Ok(witnesses)
}

fn records(
    connection: &Connection,
    names: &mut Names,
    witnesses: &HashMap<i64, Heard, RandomState>,
) -> Result<Vec<SeenRecord>> {
    let sql = "SELECT domain, witness, host, priority, weight, first_seen, last_seen, gone \
               FROM records";
    rows(connection, sql, |row| {
        let (witness, heartbeat) = known(witnesses, row, 1)?;
        let gone = row.get::<_, Option<i64>>(7)?.map(time);
        let last_seen = time(row.get(6)?);
        Ok(SeenRecord {
            domain: names.domain(row, 0)?,
            witness: witness.clone(),
            host: names.host(row, 2)?,
            priority: row.get(3)?,
            weight: row.get(4)?,
            first_seen: time(row.get(5)?),
            // It was opened after the last heartbeat, if that is older.
            last_seen: if gone.is_none() { last_seen.max(heartbeat) } else { last_seen },
            gone,
        })
    })
}

fn endpoints(
    connection: &Connection,
    witnesses: &HashMap<i64, Heard, RandomState>,
) -> Result<Vec<SeenUp<SeenEndpoint>>> {
    rows(connection, "SELECT address, witness, last_up, is_up FROM endpoints", |row| {
        let address = row.get::<_, String>(0)?;
        let address = address.parse().map_err(|_| nonsense(0))?;
        let (witness, heartbeat) = known(witnesses, row, 1)?;
        let of = SeenEndpoint { address, witness: witness.clone() };
        seen_up(of, row, heartbeat)
    })
}

/// A host is probed over every path, so it was up when any of them was heard of last.
fn hosts(
    connection: &Connection,
    names: &mut Names,
    witnesses: &HashMap<i64, Heard, RandomState>,
) -> Result<Vec<SeenUp<Host>>> {
    let probing = witnesses.values().filter(|(witness, _)| witness.server.is_empty());
    let heartbeat = probing.filter_map(|(_, heartbeat)| *heartbeat).max();
    rows(connection, "SELECT host, NULL, last_up, is_up FROM hosts", |row| {
        seen_up(names.host(row, 0)?, row, heartbeat.unwrap_or(Timestamp::MIN))
    })
}

/// While it is up, it was so at the last heartbeat.
fn seen_up<K>(of: K, row: &Row<'_>, heartbeat: Timestamp) -> Result<SeenUp<K>> {
    let (last_up, is_up) = (time(row.get(2)?), row.get(3)?);
    Ok(SeenUp { of, last_up: if is_up { last_up.max(heartbeat) } else { last_up }, is_up })
}

fn known<'w>(
    witnesses: &'w HashMap<i64, Heard, RandomState>,
    row: &Row<'_>,
    column: usize,
) -> Result<(&'w Witness, Timestamp)> {
    let (witness, heartbeat) = witnesses.get(&row.get(column)?).ok_or_else(|| nonsense(column))?;
    Ok((witness, heartbeat.unwrap_or(Timestamp::MIN)))
}

/// The dictionary; each name is made once, and shared.
struct Names {
    texts: HashMap<i64, String, RandomState>,
    domains: HashMap<i64, Name, RandomState>,
    hosts: HashMap<i64, Host, RandomState>,
}

impl Names {
    fn read(connection: &Connection) -> Result<Self> {
        let pairs =
            rows(connection, "SELECT id, text FROM names", |row| Ok((row.get(0)?, row.get(1)?)))?;
        let texts = pairs.into_iter().collect();
        Ok(Self { texts, domains: HashMap::default(), hosts: HashMap::default() })
    }

    fn domain(&mut self, row: &Row<'_>, column: usize) -> Result<Name> {
        let number = row.get(column)?;
        if let Some(name) = self.domains.get(&number) {
            return Ok(name.clone());
        }
        let text = self.texts.get(&number).ok_or_else(|| nonsense(column))?;
        Ok(self.domains.entry(number).or_insert(Name::from_kept(text)).clone())
    }

    fn host(&mut self, row: &Row<'_>, column: usize) -> Result<Host> {
        let number = row.get(column)?;
        if let Some(host) = self.hosts.get(&number) {
            return Ok(host.clone());
        }
        let text = self.texts.get(&number);
        let host = text.and_then(|text| host_of(text)).ok_or_else(|| nonsense(column))?;
        Ok(self.hosts.entry(number).or_insert(host).clone())
    }
}

fn id(row: &Row<'_>) -> Result<FindingId> {
    Ok(FindingId::from_kept(row.get_ref(0)?.as_str()?))
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

/// What this program never wrote there.
fn nonsense(column: usize) -> Error {
    Error::InvalidColumnType(column, "a value that nothing explains".to_owned(), Type::Null)
}
