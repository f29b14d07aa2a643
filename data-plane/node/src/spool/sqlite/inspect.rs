//! Looking into a spool from outside: what it holds, and whether it is whole. Reads only; the node may run meanwhile.

use std::{collections::HashMap, path::Path};

use rusqlite::Connection;

use super::{
    catalog, chunk, chunks,
    commit::producer_crc,
    damage::Damage,
    dedup, journal, merge,
    read::SqliteReader,
    reports,
    rows::{DEAD_COLUMNS, DELIVERY_COLUMNS, DeadRow, DeliveryRow, RawEvent},
};
use crate::spool::{
    limits::SpoolLimits,
    store::{Producer, Stats, StoreError, StoreReader as _},
};

/// Problems that are named; beyond that they are counted.
const NAMED: usize = 1_000;

/// What checking a spool has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Events that were checked.
    pub events: u64,
    /// Open deliveries.
    pub deliveries: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Reports that wait for the control plane.
    pub reports: u64,
    /// Syncs in the stored catalog.
    pub catalog_entries: u64,
    /// Producers that are remembered.
    pub producers: u64,
    /// Commits that the tables do not have yet: a node takes them over about once a second, and when it starts.
    pub commits_in_journal: u64,
    /// What is wrong, a sentence each; at most 1,000.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub problem_count: u64,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, text: String) {
        self.problem_count += 1;
        if self.problems.len() < NAMED {
            self.problems.push(text);
        }
    }
}

/// What the spool in a node's data folder holds.
///
/// # Errors
/// If there is none, it is of another format, or it cannot be read.
pub fn stats(folder: &Path) -> Result<Stats, StoreError> {
    SqliteReader::open(folder, SpoolLimits::default(), Damage::default())?.stats()
}

/// Checks every record of the spool in a node's data folder, the counts, and the database file itself. Takes as long as
/// reading all of it does.
///
/// # Errors
/// If there is none, it is of another format, or it cannot be read at all; what is merely damaged is in the report.
pub fn verify(folder: &Path) -> Result<VerifyReport, StoreError> {
    let reader = SqliteReader::open(folder, SpoolLimits::default(), Damage::default())?;
    let sql = reader.sql();
    let view = sql.unchecked_transaction()?;
    let mut report = VerifyReport::default();
    let checks: [(&str, Check); 8] = [
        ("the database file", quick_check),
        ("producers", producers),
        ("chunks", check_chunks),
        ("events", events),
        ("deliveries", deliveries),
        ("reports", check_reports),
        ("keys", keys),
        ("the catalog", check_catalog),
    ];
    for (what, check) in checks {
        // A page that cannot be read ends the check of its table, not of the others.
        match check(sql, &mut report) {
            Err(error) if error.is_damage() => report.problem(format!("{what} cannot be read to the end: {error}")),
            result => result?,
        }
    }
    drop(view);
    check_journal(folder, sql, &mut report)?;
    Ok(report)
}

fn check_journal(folder: &Path, sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let named = || -> Result<(String, i64), StoreError> {
        Ok(sql.query_row("SELECT spool_id, journal FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    };
    let (spool_id, generation) = named()?;
    let walk = || journal::inspect(folder, &spool_id, generation);
    let Some(mut found) = walk()? else { return Ok(()) };
    if found.damaged > 0 {
        // An entry that was half written when it was looked at is whole by now.
        found = walk()?.unwrap_or_default();
    }
    // Else a node that runs has begun another meanwhile, over what was read.
    if named()? == (spool_id.clone(), generation) {
        report.commits_in_journal = found.entries;
        if found.newest > generation {
            report.problem("the journal is of a later state than the database file".to_owned());
        } else if found.damaged > 0 {
            report.problem(format!("the journal: commits at {} places cannot be read", found.damaged));
        }
    }
    Ok(())
}

type Check = fn(&Connection, &mut VerifyReport) -> Result<(), StoreError>;

fn quick_check(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut statement = sql.prepare("PRAGMA quick_check(100)")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" {
            report.problem(format!("the database file: {}", text.replace('\n', "; ")));
        }
    }
    Ok(())
}

fn producers(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut statement = sql.prepare("SELECT project, producer_id, next_sequence, seen_ms, crc FROM producers")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.producers += 1;
        let producer = Producer { project: row.get::<_, String>(0)?.into(), id: row.get::<_, String>(1)?.into() };
        if producer_crc(&producer, row.get(2)?, row.get(3)?) != row.get::<_, i64>(4)? {
            report.problem(format!("producer {} is damaged", producer.id));
        }
    }
    Ok(())
}

fn check_chunks(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let ids: Vec<i64> =
        sql.prepare("SELECT chunk FROM chunks")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for id in ids {
        match chunk::verify(sql, id)? {
            None => report.problem(format!("chunk {id} is damaged")),
            Some((count, damaged)) => {
                report.events += count;
                for event in damaged {
                    report.problem(format!("event {event} in chunk {id} is damaged"));
                }
            }
        }
    }
    Ok(())
}

fn events(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut statement = sql.prepare("SELECT event, head, json FROM events")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.events += 1;
        let event: i64 = row.get(0)?;
        let (head, json) = (row.get_ref(1)?.as_blob(), row.get_ref(2)?.as_blob());
        let raw = RawEvent { head: head.unwrap_or_default(), json: json.unwrap_or_default() };
        if !raw.is_whole(event) {
            report.problem(format!("event {event} is damaged"));
        }
    }
    let mut statement = sql.prepare(
        "SELECT event, SUM(needed) FROM (SELECT event, open AS needed FROM events
         UNION ALL SELECT event, -1 FROM deliveries UNION ALL SELECT event, -1 FROM dead_letters)
         GROUP BY event HAVING SUM(needed) <> 0",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (event, over): (i64, i64) = (row.get(0)?, row.get(1)?);
        report.problem(format!("event {event} is missing, or counts {over} deliveries more than need it"));
    }
    Ok(())
}

fn deliveries(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    // Open deliveries and dead letters of each lane, and their bytes.
    let mut found: HashMap<i64, [i64; 4]> = HashMap::new();
    let live = chunks::Chunks::load(sql)?;
    for held in live.all_open() {
        report.deliveries += 1;
        let [pending, bytes, ..] = found.entry(held.lane).or_default();
        (*pending, *bytes) = (*pending + 1, *bytes + held.bytes);
    }
    let mut statement = sql.prepare(&format!("SELECT {DELIVERY_COLUMNS} FROM deliveries"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (delivery, whole) = DeliveryRow::read(row)?;
        if !whole {
            report.problem(format!("delivery {} is damaged", delivery.delivery));
        }
        report.deliveries += 1;
        let [pending, bytes, ..] = found.entry(delivery.lane).or_default();
        (*pending, *bytes) = (*pending + 1, *bytes + delivery.bytes);
    }
    let mut unexported = 0;
    let mut statement = sql.prepare(&format!("SELECT {DEAD_COLUMNS} FROM dead_letters"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (dead, whole) = DeadRow::read(row)?;
        if !whole {
            report.problem(format!("dead letter {} is damaged", dead.delivery));
        }
        report.dead_letters += 1;
        unexported += i64::from(!dead.exported);
        let [.., letters, bytes] = found.entry(dead.lane).or_default();
        (*letters, *bytes) = (*letters + 1, *bytes + dead.bytes);
    }
    // Nothing can be said until the tables have all that the journal has.
    if merge::is_ahead(sql)? {
        return Ok(());
    }
    let mut statement = sql.prepare(
        "SELECT lane, name, pending, pending_bytes, dead_letters, dead_letter_bytes,
         created + redelivered - delivered - expired - discarded FROM lanes",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let counted: [i64; 4] = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
        let (name, worked_out): (String, i64) = (row.get(1)?, row.get(6)?);
        let there = found.remove(&row.get(0)?).unwrap_or_default();
        if counted != there {
            report.problem(format!(
                "{name}: open deliveries, their bytes, dead letters, their bytes are counted as {counted:?}; there are \
                 {there:?}"
            ));
        }
        let [pending, ..] = counted;
        if pending != worked_out {
            report.problem(format!("{name}: the ledger leaves {worked_out} open deliveries, {pending} are counted"));
        }
    }
    let counted: i64 = sql.query_row("SELECT unexported FROM state", [], |row| row.get(0))?;
    if counted != unexported {
        report.problem(format!("{counted} dead letters count as not exported; there are {unexported}"));
    }
    Ok(())
}

fn check_reports(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let (mut count, mut bytes) = (0_i64, 0_i64);
    let mut statement = sql.prepare("SELECT first, count, crc, body FROM reports ORDER BY first")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (first, in_row): (i64, i64) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(3)?.as_blob().unwrap_or_default();
        if reports::crc(first, in_row, body) != row.get::<_, i64>(2)? {
            report.problem(format!("reports from {first} on are damaged"));
        }
        count += in_row;
        bytes += body.len() as i64;
    }
    report.reports = count.unsigned_abs();
    let counted: (i64, i64) =
        sql.query_row("SELECT report_count, report_bytes FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if counted != (count, bytes) {
        report.problem(format!("reports and their bytes are counted as {counted:?}; there are {:?}", (count, bytes)));
    }
    Ok(())
}

fn keys(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut statement = sql.prepare("SELECT batch, at_ms, crc, body FROM keys")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (batch, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
        if dedup::crc(batch, at_ms, row.get_ref(3)?.as_blob().unwrap_or_default()) != row.get::<_, i64>(2)? {
            report.problem(format!("keys of commits up to {batch} are damaged"));
        }
    }
    Ok(())
}

fn check_catalog(sql: &Connection, report: &mut VerifyReport) -> Result<(), StoreError> {
    let mut statement = sql.prepare("SELECT uid, latest, good, crc FROM catalog")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        report.catalog_entries += 1;
        let (uid, latest, good): (String, Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if catalog::crc(&latest, good.as_deref()) != row.get::<_, i64>(3)? {
            report.problem(format!("sync {uid} of the stored catalog is damaged"));
        }
    }
    Ok(())
}
