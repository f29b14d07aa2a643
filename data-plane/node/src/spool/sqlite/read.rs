//! Reading what is committed, on a connection of its own beside the writer's.

use sluice_host::clock::TimeMark;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, Row, Transaction, params};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};

use super::{
    catalog,
    damage::Damage,
    dead_letters, disk, file, reports,
    rows::{self, DeliveryRow},
    state::{delivery_counts, event_counts},
};
use crate::spool::{
    limits::SpoolLimits,
    store::{
        Backlog, Damaged, DeadLetterPage, DeadLetterQuery, Due, DueDelivery, DueQuery, LaneKey, LaneRow, LaneStats,
        Ledger, Reports, Selection, Stats, StoreError, StoreReader, StoredCatalog,
    },
};

/// A reader.
pub(super) struct SqliteReader {
    connection: Connection,
    folder: PathBuf,
    limits: SpoolLimits,
    damage: Damage,
}

impl SqliteReader {
    pub(super) fn open(folder: &Path, limits: SpoolLimits, damage: Damage) -> Result<Self, StoreError> {
        let connection = file::open_to_read(&folder.join(super::FILE))?;
        Ok(Self { connection, folder: folder.to_owned(), limits, damage })
    }

    pub(super) fn sql(&self) -> &Connection {
        &self.connection
    }

    /// One consistent view for several questions.
    fn view(&self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.unchecked_transaction()?)
    }

    /// What is due, from the index alone: the place of each, the earliest first.
    fn waiting(&self, query: &DueQuery) -> Result<Vec<(i64, i64)>, StoreError> {
        let limit = i64::try_from(query.except.len() + query.limit + 1).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(
            "SELECT delivery, due_ms FROM deliveries INDEXED BY waiting WHERE lane = ? AND due_ms <= ?
             ORDER BY due_ms, delivery LIMIT ?",
        )?;
        let mut rows = statement.query(params![query.lane, query.now_ms, limit])?;
        let mut found = Vec::new();
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let delivery = row.get(0)?;
                    if !query.except.contains(&delivery) {
                        found.push((delivery, row.get(1)?));
                    }
                }
                Ok(None) => return Ok(found),
                Err(error) => {
                    let error = StoreError::from(error);
                    if !error.is_damage() {
                        return Err(error);
                    }
                    self.damage.found_index(query.lane);
                    // What lies before the damage is served.
                    return if found.is_empty() { Err(error) } else { Ok(found) };
                }
            }
        }
    }

    /// The row of a waiting delivery; `Err` if it cannot be read, none if there is none.
    fn row(&self, lane: i64, delivery: i64) -> Result<Option<Result<DeliveryRow, Unreadable>>, StoreError> {
        match DeliveryRow::get(&self.connection, lane, delivery) {
            Ok(found) => Ok(found.map(|(row, whole)| if whole { Ok(row) } else { Err(Unreadable) })),
            Err(error) if error.is_damage() => Ok(Some(Err(Unreadable))),
            Err(error) => Err(error),
        }
    }
}

/// A row that is there and cannot be read.
struct Unreadable;

impl StoreReader for SqliteReader {
    fn spool_id(&self) -> Result<String, StoreError> {
        Ok(self.connection.query_row("SELECT spool_id FROM state", [], |row| row.get(0))?)
    }

    fn time_mark(&self) -> Result<Option<TimeMark>, StoreError> {
        let mark = self.connection.query_row("SELECT newest_ms, boot_id, since_boot_ms FROM state", [], |row| {
            Ok(TimeMark { wall_ms: row.get(0)?, boot_id: row.get(1)?, since_boot_ms: row.get(2)? })
        })?;
        Ok(Some(mark).filter(|mark| mark.wall_ms > 0))
    }

    fn lanes(&self) -> Result<Vec<LaneRow>, StoreError> {
        let rows = self
            .connection
            .prepare_cached(
                "SELECT lane, uid, name, held_since_ms, held_total_ms,
                 (SELECT MIN(due_ms) FROM deliveries WHERE deliveries.lane = lanes.lane) FROM lanes ORDER BY lane",
            )?
            .query_map([], |row| {
                Ok(LaneRow {
                    lane: row.get(0)?,
                    key: LaneKey { uid: row.get::<_, String>(1)?.into(), name: row.get::<_, String>(2)?.into() },
                    held_since_ms: row.get(3)?,
                    held_total_ms: row.get(4)?,
                    next_due_ms: row.get(5)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    fn due(&self, query: &DueQuery) -> Result<Due, StoreError> {
        let _view = self.view()?;
        let mut due = Due::default();
        let mut bytes = 0;
        for (delivery, due_ms) in self.waiting(query)? {
            if due.deliveries.len() + due.damaged.len() >= query.limit || bytes >= query.max_bytes {
                due.more = true;
                break;
            }
            let row = match self.row(query.lane, delivery)? {
                Some(Ok(row)) => row,
                Some(Err(Unreadable)) => {
                    self.damage.found("delivery", delivery);
                    let (event, state) = (EventId([0; 16]), DeliveryState::new());
                    due.damaged.push(Damaged { delivery, event_row: 0, state, event, accept_ms: 0 });
                    continue;
                }
                None => {
                    self.damage.found_index(query.lane);
                    continue;
                }
            };
            let (event_row, state) = (row.event, row.state);
            match rows::read_event(&self.connection, event_row)? {
                Ok(event) => {
                    bytes += event.json.len();
                    due.deliveries.push(DueDelivery { delivery, event_row, due_ms, state, event: Arc::new(event) });
                }
                Err(remains) => {
                    self.damage.found("event", event_row);
                    let (event, accept_ms) = (remains.id, remains.accept_ms);
                    due.damaged.push(Damaged { delivery, event_row, state, event, accept_ms });
                }
            }
        }
        due.next_due_ms = self
            .connection
            .prepare_cached("SELECT MIN(due_ms) FROM deliveries WHERE lane = ? AND due_ms > ?")?
            .query_row(params![query.lane, query.now_ms], |row| row.get(0))?;
        Ok(due)
    }

    fn reports(&self, sequence: u64, limit: usize) -> Result<Reports, StoreError> {
        let _view = self.view()?;
        reports::read(&self.connection, &self.damage, sequence, limit)
    }

    fn catalog(&self) -> Result<Option<StoredCatalog>, StoreError> {
        let _view = self.view()?;
        catalog::read(&self.connection, &self.damage)
    }

    fn ledger(&self) -> Result<Ledger, StoreError> {
        let _view = self.view()?;
        let mut ledger = Ledger::default();
        let mut projects = self.connection.prepare_cached(
            "SELECT project, received, rejected, duplicates, unmatched, matched, created FROM ledger ORDER BY project",
        )?;
        let mut rows = projects.query([])?;
        while let Some(row) = rows.next()? {
            let counts = event_counts(row)?;
            let events = &mut ledger.events;
            events.received += counts.received;
            events.rejected += counts.rejected;
            events.duplicates += counts.duplicates;
            events.unmatched += counts.unmatched;
            events.matched += counts.matched;
            events.created += counts.created;
            ledger.projects.push((row.get(0)?, counts));
        }
        let mut lanes = self.connection.prepare_cached(
            "SELECT uid, name, created, redelivered, delivered, expired, discarded, pending, dead_letters, removed
             FROM lanes ORDER BY uid",
        )?;
        let mut rows = lanes.query([])?;
        while let Some(row) = rows.next()? {
            let key = LaneKey { uid: row.get::<_, String>(0)?.into(), name: row.get::<_, String>(1)?.into() };
            ledger.deliveries.push((key, delivery_counts(row, 2)?));
        }
        Ok(ledger)
    }

    fn backlogs(&self, now_ms: i64) -> Result<Vec<Backlog>, StoreError> {
        let _view = self.view()?;
        // A delivery whose window is not open yet is due when its first round is; one whose window is open, later than that.
        let mut lanes = self.connection.prepare_cached(
            "SELECT uid, name, pending,
               min((SELECT ifnull(min(due_ms), 9223372036854775807) FROM deliveries WHERE lane = lanes.lane),
                   (SELECT ifnull(min(window_open_ms), 9223372036854775807) FROM deliveries
                    WHERE lane = lanes.lane AND window_open_ms IS NOT NULL)),
               ifnull(held_since_ms, ?1) - held_total_ms
             FROM lanes WHERE pending > 0 ORDER BY uid",
        )?;
        let backlog = |row: &rusqlite::Row<'_>| {
            let (oldest_ms, lane_now_ms): (i64, i64) = (row.get(3)?, row.get(4)?);
            Ok(Backlog {
                key: LaneKey { uid: row.get::<_, String>(0)?.into(), name: row.get::<_, String>(1)?.into() },
                pending: row.get(2)?,
                oldest_wait_ms: (oldest_ms < i64::MAX).then(|| lane_now_ms.saturating_sub(oldest_ms).max(0)),
            })
        };
        Ok(lanes.query_map([now_ms], backlog)?.collect::<Result<_, _>>()?)
    }

    fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, StoreError> {
        let _view = self.view()?;
        dead_letters::read(&self.connection, &self.damage, query)
    }

    fn count_dead_letters(&self, selection: &Selection) -> Result<(u64, u64), StoreError> {
        let _view = self.view()?;
        dead_letters::count(&self.connection, selection)
    }

    fn stats(&self) -> Result<Stats, StoreError> {
        let _view = self.view()?;
        let mut stats = self.connection.query_row(
            "SELECT unexported, report_count, report_bytes, reports_dropped, keys, oldest_key_ms, damaged FROM state",
            [],
            |row| {
                Ok(Stats {
                    unexported: count(row, 0)?,
                    reports: count(row, 1)?,
                    report_bytes: count(row, 2)?,
                    reports_dropped: count(row, 3)?,
                    keys: count(row, 4)?,
                    oldest_key_ms: row.get(5)?,
                    damaged: count(row, 6)?.max(self.damage.count()),
                    ..Stats::default()
                })
            },
        )?;
        // Of the first row some may be acked already.
        let acked: i64 = self.connection.query_row(
            "SELECT COALESCE(MAX(acked_report - first + 1), 0) FROM state, (SELECT MIN(first) AS first FROM reports)
             WHERE first <= acked_report",
            [],
            |row| row.get(0),
        )?;
        stats.reports = stats.reports.saturating_sub(acked.unsigned_abs());
        let mut lanes = self.connection.prepare_cached(
            "SELECT uid, name, pending, pending_bytes, dead_letters, dead_letter_bytes FROM lanes ORDER BY uid",
        )?;
        let mut rows = lanes.query([])?;
        while let Some(row) = rows.next()? {
            stats.lanes.push(LaneStats {
                key: LaneKey { uid: row.get::<_, String>(0)?.into(), name: row.get::<_, String>(1)?.into() },
                pending: count(row, 2)?,
                pending_bytes: count(row, 3)?,
                dead_letters: count(row, 4)?,
                dead_letter_bytes: count(row, 5)?,
            });
        }
        stats.file_bytes = self.file_bytes()?;
        stats.disk_free_bytes = disk::free_bytes(&self.folder).unwrap_or_default();
        stats.max_bytes = self.limits.max_bytes;
        Ok(stats)
    }

    fn file_bytes(&self) -> Result<u64, StoreError> {
        disk::file_bytes(&self.folder)
    }
}

/// A count; one that damage has made negative is none.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or_default())
}
