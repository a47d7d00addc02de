//! One batch, as SQL.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Result, Statement, Transaction, params};

use super::pending::{Batch, Key, Packed};
use super::schema;
use super::store::Known;
use crate::model::Host;
use crate::model::journal::{Entry, Event, SeenRecord, SeenStatus, Witness};

/// Writes rows and events. The first event gets the number `first`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    known: &mut Known,
    batch: &Batch,
    first: i64,
) -> Result<()> {
    let numbers = &mut Numbers::new(transaction, known)?;
    write_rows(transaction, numbers, batch)?;
    let mut insert = transaction.prepare_cached(
        // A commit that failed may have reached the disk all the same.
        "INSERT OR REPLACE INTO events (id, at, kind, domain, host, servers, evidence) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut begin_day = transaction.prepare_cached(
        // A journal that became empty counts from the start again.
        "INSERT INTO days VALUES (?1, ?2) \
         ON CONFLICT DO UPDATE SET first_event = min(first_event, excluded.first_event)",
    )?;
    for (number, event) in (first..).zip(&batch.events) {
        write_event(&mut insert, numbers, number, event)?;
        let day = schema::day(schema_time(event.at()));
        if numbers.known.day.replace(day) != Some(day) {
            begin_day.execute([day, number])?;
        }
    }
    Ok(())
}

fn write_event(
    insert: &mut Statement<'_>,
    numbers: &mut Numbers<'_, '_>,
    number: i64,
    packed: &Packed,
) -> Result<()> {
    let (Event { at, kind, domain, host, servers, .. }, evidence) = packed.parts();
    let domain = domain.as_ref().map(|domain| numbers.of_name(domain.as_str())).transpose()?;
    let host = host.as_ref().map(|host| numbers.of_host(host)).transpose()?;
    let servers = (!servers.is_empty())
        .then(|| numbers.of_name(&servers.join(BETWEEN_SERVERS)))
        .transpose()?;
    let (at, kind) = (schema_time(*at), schema::code(*kind));
    insert.execute(params![number, at, kind, domain, host, servers, evidence])?;
    Ok(())
}

/// The servers of an event are one text; none of them holds a line break.
pub(super) const BETWEEN_SERVERS: &str = "\n";

/// A time as the database has it.
pub(super) fn schema_time(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A time of the database; what is out of range is its end.
pub(super) fn time(milliseconds: i64) -> Timestamp {
    let end = if milliseconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(milliseconds).unwrap_or(end)
}

fn write_rows(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers<'_, '_>,
    batch: &Batch,
) -> Result<()> {
    let mut replace_record = transaction
        .prepare_cached("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut replace_status =
        transaction.prepare_cached("INSERT OR REPLACE INTO statuses VALUES (?1, ?2, ?3)")?;
    let mut heartbeat =
        transaction.prepare_cached("UPDATE witnesses SET heartbeat = ?2 WHERE id = ?1")?;
    for (key, entry) in &batch.rows {
        match entry {
            Entry::Record(record) => replace(&mut replace_record, numbers, record)?,
            Entry::Status(SeenStatus { domain, status, since }) => {
                let domain = numbers.of_name(domain.as_str())?;
                let row = params![domain, status.as_str(), schema_time(*since)];
                replace_status.execute(row)?;
            }
            Entry::Heartbeat { witness, at } => {
                heartbeat.execute(params![numbers.of_witness(witness)?, schema_time(*at)])?;
            }
            _ => write_rare(transaction, numbers, key, entry)?,
        }
    }
    Ok(())
}

fn replace(
    statement: &mut Statement<'_>,
    numbers: &mut Numbers<'_, '_>,
    record: &SeenRecord,
) -> Result<()> {
    let SeenRecord { domain, witness, host, priority, weight, first_seen, last_seen, gone } =
        record;
    let row = params![
        numbers.of_name(domain.as_str())?,
        numbers.of_witness(witness)?,
        numbers.of_host(host)?,
        priority,
        weight,
        schema_time(*first_seen),
        schema_time(*last_seen),
        gone.map(schema_time),
    ];
    statement.execute(row).map(drop)
}

/// What comes a few times a day.
fn write_rare(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers<'_, '_>,
    key: &Key,
    entry: &Entry,
) -> Result<()> {
    let execute =
        |sql: &str, row: &[&dyn rusqlite::ToSql]| transaction.prepare_cached(sql)?.execute(row);
    match (key, entry) {
        (Key::Record(domain, witness, host), _) => execute(
            "DELETE FROM records WHERE domain = ?1 AND witness = ?2 AND host = ?3",
            params![
                numbers.of_name(domain.as_str())?,
                numbers.of_witness(witness)?,
                numbers.of_host(host)?
            ],
        ),
        (Key::Endpoint(of), Entry::Endpoint(row)) => execute(
            "INSERT OR REPLACE INTO endpoints VALUES (?1, ?2, ?3, ?4)",
            params![
                of.address.to_string(),
                numbers.of_witness(&of.witness)?,
                schema_time(row.last_up),
                row.is_up
            ],
        ),
        (Key::Host(host), Entry::Host(row)) => execute(
            "INSERT OR REPLACE INTO hosts VALUES (?1, ?2, ?3)",
            params![numbers.of_host(host)?, schema_time(row.last_up), row.is_up],
        ),
        (Key::Finding(id), Entry::Finding { since: Some(since), .. }) => execute(
            "INSERT OR REPLACE INTO findings VALUES (?1, ?2)",
            params![id.as_str(), schema_time(*since)],
        ),
        (Key::Acknowledgement(id), Entry::Acknowledged(row)) => execute(
            "INSERT OR REPLACE INTO acknowledgements VALUES (?1, ?2, ?3, ?4)",
            params![id.as_str(), schema_time(row.at), schema_time(row.until), row.reason],
        ),
        (Key::Alert(id), Entry::Alert { state: Some(state), .. }) => {
            execute("INSERT OR REPLACE INTO alerts VALUES (?1, ?2)", params![id.as_str(), state])
        }
        (Key::Finding(id), _) => {
            execute("DELETE FROM findings WHERE id = ?1", params![id.as_str()])
        }
        (Key::Acknowledgement(id), _) => {
            execute("DELETE FROM acknowledgements WHERE id = ?1", params![id.as_str()])
        }
        (Key::Alert(id), _) => execute("DELETE FROM alerts WHERE id = ?1", params![id.as_str()]),
        (Key::Status(domain), _) => execute(
            "DELETE FROM statuses WHERE domain = ?1",
            params![numbers.of_name(domain.as_str())?],
        ),
        (Key::Watched, Entry::Watched(until)) => {
            execute("INSERT OR REPLACE INTO watched VALUES (1, ?1)", params![schema_time(*until)])
        }
        // A key is made of its entry.
        (Key::Endpoint(_) | Key::Host(_) | Key::Heartbeat(_) | Key::Watched, _) => Ok(0),
    }
    .map(drop)
}

/// The numbers of names and witnesses, which are added where they are new.
struct Numbers<'t, 'k> {
    known: &'k mut Known,
    find_name: CachedStatement<'t>,
    add_name: CachedStatement<'t>,
    find_witness: CachedStatement<'t>,
    add_witness: CachedStatement<'t>,
}

impl<'t, 'k> Numbers<'t, 'k> {
    fn new(transaction: &'t Transaction<'_>, known: &'k mut Known) -> Result<Self> {
        Ok(Self {
            known,
            find_name: transaction.prepare_cached("SELECT id FROM names WHERE text = ?1")?,
            add_name: transaction
                .prepare_cached("INSERT INTO names (text) VALUES (?1) RETURNING id")?,
            find_witness: transaction
                .prepare_cached("SELECT id FROM witnesses WHERE server = ?1 AND path = ?2")?,
            add_witness: transaction.prepare_cached(
                "INSERT INTO witnesses (server, path) VALUES (?1, ?2) RETURNING id",
            )?,
        })
    }

    fn of_name(&mut self, name: &str) -> Result<i64> {
        if let Some(number) = self.known.names.get(name) {
            return Ok(*number);
        }
        let number = found_or_added(&mut self.find_name, &mut self.add_name, params![name])?;
        Ok(remember(&mut self.known.names, name.to_owned(), number))
    }

    fn of_host(&mut self, host: &Host) -> Result<i64> {
        self.of_name(&host.to_string())
    }

    fn of_witness(&mut self, witness: &Witness) -> Result<i64> {
        if let Some(number) = self.known.witnesses.get(witness) {
            return Ok(*number);
        }
        let row = params![&*witness.server, &*witness.path];
        let number = found_or_added(&mut self.find_witness, &mut self.add_witness, row)?;
        Ok(remember(&mut self.known.witnesses, witness.clone(), number))
    }
}

fn found_or_added(
    find: &mut Statement<'_>,
    add: &mut Statement<'_>,
    row: &[&dyn rusqlite::ToSql],
) -> Result<i64> {
    match find.query_row(row, |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => add.query_row(row, |row| row.get(0)),
        other => other,
    }
}

fn remember<K: Hash + Eq>(known: &mut HashMap<K, i64, RandomState>, key: K, number: i64) -> i64 {
    known.insert(key, number);
    number
}
