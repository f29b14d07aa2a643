//! Rows of deliveries that outlive their first round or wait on disk, of dead letters, and of the events that they share.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sluice_pipeline::{
    delivery::DeliveryState,
    event::{EventId, WebhookId},
};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::record::{self, Remains};
use crate::spool::store::{StoreError, StoredEvent};

/// An event as it lies on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawEvent<'a> {
    pub(super) head: &'a [u8],
    pub(super) json: &'a [u8],
}

impl RawEvent<'_> {
    /// Whether its checksums match.
    pub(super) fn is_whole(&self, event_row: i64) -> bool {
        record::decode(event_row, self.head, Bytes::copy_from_slice(self.json)).is_ok()
    }

    /// When it was accepted, if that can be read.
    pub(super) fn accept_ms(&self, event_row: i64) -> Option<i64> {
        record::remains(event_row, self.head).map(|remains| remains.accept_ms)
    }
}

/// An open delivery's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeliveryRow {
    pub(super) lane: i64,
    pub(super) delivery: i64,
    pub(super) event: i64,
    /// Bytes of the event's JSON.
    pub(super) bytes: i64,
    pub(super) due_ms: i64,
    pub(super) state: DeliveryState,
}

/// The columns that [`DeliveryRow::read`] expects, in its order.
pub(super) const DELIVERY_COLUMNS: &str = "lane, delivery, event, bytes, due_ms, window_open_ms, schedule, position, \
     round, attempts, round_began_ms, round_attempts, crc";

impl DeliveryRow {
    /// The row, and whether its checksum matches.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, bool)> {
        let found = Self {
            lane: row.get(0)?,
            delivery: row.get(1)?,
            event: row.get(2)?,
            bytes: row.get(3)?,
            due_ms: row.get(4)?,
            state: DeliveryState {
                window_open_ms: row.get(5)?,
                schedule: row.get(6)?,
                position: row.get(7)?,
                round: row.get(8)?,
                attempts: row.get(9)?,
                round_began_ms: row.get(10)?,
                round_attempts: row.get(11)?,
            },
        };
        let whole = found.crc() == row.get::<_, i64>(12)?;
        Ok((found, whole))
    }

    /// The row of a delivery, and whether its checksum matches.
    pub(super) fn get(sql: &Connection, lane: i64, delivery: i64) -> Result<Option<(Self, bool)>, StoreError> {
        let text = format!("SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE lane = ? AND delivery = ?");
        Ok(sql.prepare_cached(&text)?.query_row([lane, delivery], Self::read).optional()?)
    }

    /// Writes a row that is not there.
    pub(super) fn insert(&self, sql: &Connection) -> Result<(), StoreError> {
        let state = &self.state;
        sql.prepare_cached(
            "INSERT INTO deliveries (lane, delivery, event, bytes, due_ms, window_open_ms, schedule, position, round,
             attempts, round_began_ms, round_attempts, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            self.lane,
            self.delivery,
            self.event,
            self.bytes,
            self.due_ms,
            state.window_open_ms,
            state.schedule,
            state.position,
            state.round,
            state.attempts,
            state.round_began_ms,
            state.round_attempts,
            self.crc()
        ])?;
        Ok(())
    }

    /// Writes the row of another round.
    pub(super) fn update(&self, sql: &Connection) -> Result<(), StoreError> {
        let state = &self.state;
        sql.prepare_cached(
            "UPDATE deliveries SET due_ms = ?, window_open_ms = ?, schedule = ?, position = ?, round = ?, attempts = ?,
             round_began_ms = ?, round_attempts = ?, crc = ?, event = ?, bytes = ? WHERE lane = ? AND delivery = ?",
        )?
        .execute(params![
            self.due_ms,
            state.window_open_ms,
            state.schedule,
            state.position,
            state.round,
            state.attempts,
            state.round_began_ms,
            state.round_attempts,
            self.crc(),
            self.event,
            self.bytes,
            self.lane,
            self.delivery
        ])?;
        Ok(())
    }

    /// Takes the row away; the event stays.
    pub(super) fn delete(sql: &Connection, lane: i64, delivery: i64) -> Result<(), StoreError> {
        sql.prepare_cached("DELETE FROM deliveries WHERE lane = ? AND delivery = ?")?.execute([lane, delivery])?;
        Ok(())
    }

    fn crc(&self) -> i64 {
        let state = &self.state;
        checksum(&[
            self.lane,
            self.delivery,
            self.event,
            self.bytes,
            self.due_ms,
            state.window_open_ms.unwrap_or(i64::MIN),
            state.schedule.into(),
            state.position.into(),
            state.round.into(),
            state.attempts.into(),
            state.round_began_ms.unwrap_or(i64::MIN),
            state.round_attempts.into(),
        ])
    }
}

/// A dead letter's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeadRow {
    pub(super) delivery: i64,
    pub(super) lane: i64,
    pub(super) event: i64,
    /// Bytes of the event's JSON.
    pub(super) bytes: i64,
    pub(super) webhook_id: WebhookId,
    pub(super) event_id: EventId,
    pub(super) accept_ms: i64,
    pub(super) event_type: String,
    pub(super) outcome: EndingOutcome,
    pub(super) reason: EndingReason,
    pub(super) end_ms: i64,
    /// Where the delivery stood: schedule, round, attempts, and when a round under way began.
    pub(super) state: DeliveryState,
    pub(super) exported: bool,
}

/// The columns that [`DeadRow::read`] expects, in its order.
pub(super) const DEAD_COLUMNS: &str = "delivery, lane, event, bytes, webhook_id, event_id, accept_ms, event_type, \
     outcome, reason, end_ms, schedule, round, attempts, round_began_ms, exported, crc";

impl DeadRow {
    /// The row, and whether its checksum matches.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, bool)> {
        let found = Self {
            delivery: row.get(0)?,
            lane: row.get(1)?,
            event: row.get(2)?,
            bytes: row.get(3)?,
            webhook_id: WebhookId(row.get(4)?),
            event_id: EventId(row.get(5)?),
            accept_ms: row.get(6)?,
            event_type: row.get(7)?,
            outcome: EndingOutcome::try_from(row.get::<_, i32>(8)?).unwrap_or_default(),
            reason: EndingReason::try_from(row.get::<_, i32>(9)?).unwrap_or_default(),
            end_ms: row.get(10)?,
            state: DeliveryState {
                schedule: row.get(11)?,
                round: row.get(12)?,
                attempts: row.get(13)?,
                round_began_ms: row.get(14)?,
                ..DeliveryState::new()
            },
            exported: row.get(15)?,
        };
        let whole = found.crc() == row.get::<_, i64>(16)?;
        Ok((found, whole))
    }

    /// Writes a row that is not there.
    pub(super) fn insert(&self, sql: &Connection) -> Result<(), StoreError> {
        sql.prepare_cached("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?
            .execute(params![
                self.delivery,
                self.lane,
                self.event,
                self.bytes,
                self.webhook_id.0,
                self.event_id.0,
                self.accept_ms,
                self.event_type,
                self.outcome as i32,
                self.reason as i32,
                self.end_ms,
                self.state.schedule,
                self.state.round,
                self.state.attempts,
                self.state.round_began_ms,
                self.exported,
                self.crc()
            ])?;
        Ok(())
    }

    /// Takes the row away; the event stays.
    pub(super) fn delete(sql: &Connection, delivery: i64) -> Result<(), StoreError> {
        sql.prepare_cached("DELETE FROM dead_letters WHERE delivery = ?")?.execute([delivery])?;
        Ok(())
    }

    fn crc(&self) -> i64 {
        let numbers = checksum(&[
            self.delivery,
            self.lane,
            self.event,
            self.bytes,
            self.accept_ms,
            (self.outcome as i32).into(),
            (self.reason as i32).into(),
            self.end_ms,
            self.state.schedule.into(),
            self.state.round.into(),
            self.state.attempts.into(),
            self.state.round_began_ms.unwrap_or(i64::MIN),
        ]);
        let parts: [&[u8]; 3] = [&self.webhook_id.0, &self.event_id.0, self.event_type.as_bytes()];
        let seed = u32::try_from(numbers).unwrap_or_default();
        i64::from(parts.into_iter().fold(seed, crc32c::crc32c_append))
    }
}

/// Writes an event for one more row; `shared` says whether another one may have written it.
pub(super) fn keep_event(
    sql: &Connection,
    event_row: i64,
    event: RawEvent<'_>,
    shared: bool,
) -> Result<(), StoreError> {
    let known =
        shared && sql.prepare_cached("UPDATE events SET open = open + 1 WHERE event = ?")?.execute([event_row])? > 0;
    if !known {
        sql.prepare_cached("INSERT INTO events (event, open, head, json) VALUES (?, 1, ?, ?)")?
            .execute(params![event_row, event.head, event.json])?;
    }
    Ok(())
}

/// A row has gone that needed the event.
pub(super) fn release_event(sql: &Connection, event_row: i64) -> Result<(), StoreError> {
    // Most events have one delivery: then there is nothing to count down.
    let gone = sql.prepare_cached("DELETE FROM events WHERE event = ? AND open <= 1")?.execute([event_row])?;
    if gone == 0 {
        sql.prepare_cached("UPDATE events SET open = open - 1 WHERE event = ?")?.execute([event_row])?;
    }
    Ok(())
}

/// The event of a row, or what can be told of a damaged one.
pub(super) fn read_event(sql: &Connection, event_row: i64) -> Result<Result<StoredEvent, Remains>, StoreError> {
    let found = sql
        .prepare_cached("SELECT head, json FROM events WHERE event = ?")?
        .query_row([event_row], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional();
    match found {
        Ok(found) => {
            let (head, json) = found.unwrap_or_default();
            Ok(record::decode(event_row, &head, Bytes::from(json)))
        }
        Err(error) => {
            let error = StoreError::from(error);
            // What SQLite finds damaged is lost like what the checksum does.
            if error.is_damage() { Ok(record::decode(event_row, &[], Bytes::new())) } else { Err(error) }
        }
    }
}

/// What the head of a row's event says; none if it cannot be read.
pub(super) fn read_remains(sql: &Connection, event_row: i64) -> Result<Option<Remains>, StoreError> {
    let found = sql
        .prepare_cached("SELECT head FROM events WHERE event = ?")?
        .query_row([event_row], |row| row.get::<_, Vec<u8>>(0))
        .optional();
    match found.map_err(StoreError::from) {
        Ok(head) => Ok(head.and_then(|head| record::remains(event_row, &head))),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

fn checksum(numbers: &[i64]) -> i64 {
    i64::from(numbers.iter().fold(0, |crc, number| crc32c::crc32c_append(crc, &number.to_le_bytes())))
}
