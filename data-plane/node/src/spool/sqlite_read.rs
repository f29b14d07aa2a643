//! Reading the SQLite store, on a connection of its own beside the writer's.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::sync::v1::Sync;

use super::store::{
    Damaged, DeliveryCounts, Due, DueDelivery, DueQuery, EventCounts, LaneKey, LaneRow, Ledger, Reports, StoreError,
    StoreReader, StoredCatalog, StoredEvent,
};

/// A reader.
pub(super) struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.execute_batch("PRAGMA cache_size = -8000;")?;
        Ok(Self { connection })
    }

    /// The event, or what can be told of a damaged one.
    fn event(&self, event_row: i64) -> Result<Result<StoredEvent, (EventId, i64)>, StoreError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT event_id, accept_ms, event_type, json, traceparent, tracestate, crc FROM events WHERE event = ?",
            )?
            .query_row([event_row], |row| {
                let event = StoredEvent {
                    id: EventId(row.get(0)?),
                    accept_ms: row.get(1)?,
                    event_type: row.get(2)?,
                    json: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                    traceparent: row.get(4)?,
                    tracestate: row.get(5)?,
                };
                Ok((event, row.get::<_, u32>(6)?))
            })
            .optional()?;
        Ok(match found {
            Some((event, crc)) if crc32c::crc32c(&event.json) == crc => Ok(event),
            Some((event, _)) => Err((event.id, event.accept_ms)),
            None => Err((EventId([0; 16]), 0)),
        })
    }
}

impl StoreReader for SqliteReader {
    fn spool_id(&self) -> Result<String, StoreError> {
        Ok(self.connection.query_row("SELECT spool_id FROM state", [], |row| row.get(0))?)
    }

    fn newest_ms(&self) -> Result<i64, StoreError> {
        Ok(self.connection.query_row("SELECT newest_ms FROM state", [], |row| row.get(0))?)
    }

    fn lanes(&self) -> Result<Vec<LaneRow>, StoreError> {
        let rows = self
            .connection
            .prepare(
                "SELECT lane, uid, name, held_since_ms, held_total_ms,
                 (SELECT MIN(due_ms) FROM deliveries WHERE deliveries.lane = lanes.lane AND due_ms IS NOT NULL)
                 FROM lanes",
            )?
            .query_map([], |row| {
                Ok(LaneRow {
                    lane: row.get(0)?,
                    key: LaneKey { uid: text(row, 1)?, name: text(row, 2)? },
                    held_since_ms: row.get(3)?,
                    held_total_ms: row.get(4)?,
                    next_due_ms: row.get(5)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(rows)
    }

    fn due(&self, query: &DueQuery) -> Result<Due, StoreError> {
        // One consistent view for both questions.
        let _view = self.connection.unchecked_transaction()?;
        let limit = i64::try_from(query.except.len() + query.limit + 1).unwrap_or(i64::MAX);
        let mut statement = self.connection.prepare_cached(
            "SELECT delivery, event, schedule, round, window_open_ms, attempts FROM deliveries
             WHERE lane = ? AND due_ms <= ? ORDER BY due_ms, delivery LIMIT ?",
        )?;
        let mut rows = statement.query(params![query.lane, query.now_ms, limit])?;
        let mut due = Due::default();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let delivery = row.get(0)?;
            if query.except.contains(&delivery) {
                continue;
            }
            if due.deliveries.len() + due.damaged.len() >= query.limit || bytes >= query.max_bytes {
                due.more = true;
                break;
            }
            let event_row = row.get(1)?;
            let state = DeliveryState {
                schedule: row.get(2)?,
                round: row.get(3)?,
                window_open_ms: row.get(4)?,
                attempts: row.get(5)?,
            };
            match self.event(event_row)? {
                Ok(event) => {
                    bytes += event.json.len();
                    due.deliveries.push(DueDelivery { delivery, event_row, state, event: Arc::new(event) });
                }
                Err((event, accept_ms)) => {
                    tracing::error!(delivery, event_row, %event, "the stored event does not match its checksum");
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
        let _view = self.connection.unchecked_transaction()?;
        let mut reports = Reports { first_sequence: sequence, ..Reports::default() };
        let mut statement = self
            .connection
            .prepare_cached("SELECT sequence, report FROM reports WHERE sequence >= ? ORDER BY sequence LIMIT ?")?;
        let mut rows = statement.query(params![sequence.cast_signed(), limit as i64])?;
        while let Some(row) = rows.next()? {
            if reports.reports.is_empty() {
                reports.first_sequence = row.get::<_, i64>(0)?.cast_unsigned();
            }
            reports.reports.push(Bytes::from(row.get::<_, Vec<u8>>(1)?));
        }
        reports.next_sequence =
            self.connection.query_row("SELECT next_report FROM state", [], |row| row.get::<_, i64>(0))?.cast_unsigned();
        if reports.reports.is_empty() {
            reports.first_sequence = reports.next_sequence.max(sequence);
        }
        Ok(reports)
    }

    fn catalog(&self) -> Result<Option<StoredCatalog>, StoreError> {
        let _view = self.connection.unchecked_transaction()?;
        let (epoch, revision): (String, i64) =
            self.connection.query_row("SELECT epoch, revision FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if epoch.is_empty() {
            return Ok(None);
        }
        let mut statement = self.connection.prepare("SELECT uid, latest, good, crc FROM catalog ORDER BY uid")?;
        let mut rows = statement.query([])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            let (uid, latest, good): (String, Vec<u8>, Option<Vec<u8>>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let crc = crc32c::crc32c_append(crc32c::crc32c(&latest), good.as_deref().unwrap_or_default());
            let whole = crc == row.get::<_, u32>(3)?;
            let latest = Sync::decode(&latest[..]).ok().filter(|_| whole);
            let good = good.map(|good| Sync::decode(&good[..])).transpose();
            let (Some(latest), Ok(good)) = (latest, good) else {
                return Err(StoreError::Damaged { record: format!("sync {uid} of the stored catalog") });
            };
            entries.push((latest, good));
        }
        Ok(Some(StoredCatalog { epoch, revision, entries }))
    }

    fn ledger(&self) -> Result<Ledger, StoreError> {
        let _view = self.connection.unchecked_transaction()?;
        let events = self.connection.query_row(
            "SELECT COALESCE(SUM(received), 0), COALESCE(SUM(rejected), 0), COALESCE(SUM(duplicates), 0),
             COALESCE(SUM(unmatched), 0), COALESCE(SUM(matched), 0) FROM ledger",
            [],
            |row| {
                Ok(EventCounts {
                    received: row.get(0)?,
                    rejected: row.get(1)?,
                    duplicates: row.get(2)?,
                    unmatched: row.get(3)?,
                    matched: row.get(4)?,
                })
            },
        )?;
        let deliveries = self
            .connection
            .prepare_cached("SELECT uid, created, delivered, expired, discarded FROM lanes ORDER BY uid")?
            .query_map([], |row| {
                let mut counts = DeliveryCounts {
                    created: row.get(1)?,
                    delivered: row.get(2)?,
                    expired: row.get(3)?,
                    discarded: row.get(4)?,
                    pending: 0,
                };
                counts.pending = counts.created - counts.delivered - counts.expired - counts.discarded;
                Ok((row.get(0)?, counts))
            })?
            .collect::<Result<_, _>>()?;
        Ok(Ledger { events, deliveries })
    }
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    Ok(Arc::from(row.get::<_, String>(column)?))
}
