//! The store on SQLite (WAL, `synchronous = FULL`): one connection writes; a commit is one fsync.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::{
    sqlite_read::SqliteReader,
    store::{
        Accept, CatalogChange, Change, Created, Effect, Item, LaneKey, Settled, Settlement, Store, StoreError,
        StoreFactory, StoreReader, StoredEvent,
    },
};
use crate::report;

/// Format of the file, in `PRAGMA user_version`.
const FORMAT: i64 = 1;

/// Opens the store in a folder.
#[derive(Debug)]
pub struct SqliteFactory {
    path: PathBuf,
    reporter: report::Reporter,
}

impl SqliteFactory {
    /// The store is the file `spool.db` of `folder`. `reporter` names this node in reports about endings that no round
    /// brought about.
    #[must_use]
    pub fn new(folder: &Path, reporter: report::Reporter) -> Self {
        Self { path: folder.join("spool.db"), reporter }
    }
}

impl StoreFactory for SqliteFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(&self.path, self.reporter.clone())?))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.path)?))
    }
}

struct SqliteStore {
    connection: Connection,
    lanes: HashMap<Arc<str>, i64>,
    next_event: i64,
    next_delivery: i64,
    next_report: i64,
    reporter: report::Reporter,
}

impl SqliteStore {
    fn open(path: &Path, reporter: report::Reporter) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        restrict(path);
        // The writer checkpoints by itself every 4,000 pages: with a checkpointer beside it the log would grow.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;",
        )?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.execute(
                    "INSERT INTO state (id, spool_id) VALUES (1, ?)",
                    [uuid::Uuid::new_v4().simple().to_string()],
                )?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            FORMAT => {}
            found => return Err(StoreError::Format { found, expected: FORMAT }),
        }
        connection.set_prepared_statement_cache_capacity(64);
        let lanes = connection
            .prepare("SELECT uid, lane FROM lanes")?
            .query_map([], |row| Ok((Arc::from(row.get::<_, String>(0)?), row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let after = |table: &str, column: &str| {
            connection.query_row(&format!("SELECT COALESCE(MAX({column}), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        Ok(Self {
            lanes,
            next_event: after("events", "event")?,
            next_delivery: after("deliveries", "delivery")?,
            next_report: connection.query_row("SELECT next_report FROM state", [], |row| row.get(0))?,
            reporter,
            connection,
        })
    }
}

impl Store for SqliteStore {
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let before = (self.next_event, self.next_delivery, self.next_report);
        let result = self.try_apply(changes, now_ms);
        if result.is_err() {
            (self.next_event, self.next_delivery, self.next_report) = before;
            // Lanes that were made in the failed transaction are not there.
            self.lanes.clear();
        }
        result
    }
}

impl SqliteStore {
    fn try_apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let transaction = self.connection.transaction()?;
        let mut writer = Writer {
            transaction: &transaction,
            lanes: &mut self.lanes,
            next_event: &mut self.next_event,
            next_delivery: &mut self.next_delivery,
            next_report: &mut self.next_report,
            reporter: &self.reporter,
            now_ms,
        };
        let effects = changes.iter().map(|change| writer.apply(change)).collect::<Result<Vec<_>, _>>()?;
        transaction
            .prepare_cached("UPDATE state SET newest_ms = MAX(newest_ms, ?), next_report = ?")?
            .execute(params![now_ms, self.next_report])?;
        transaction.commit()?;
        Ok(effects)
    }
}

/// One transaction under way.
struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    lanes: &'a mut HashMap<Arc<str>, i64>,
    next_event: &'a mut i64,
    next_delivery: &'a mut i64,
    next_report: &'a mut i64,
    reporter: &'a report::Reporter,
    now_ms: i64,
}

impl Writer<'_> {
    fn apply(&mut self, change: &Change) -> Result<Effect, StoreError> {
        match change {
            Change::Open { producer, first_sequence } => {
                let known = self.next_sequence(&producer.project, &producer.id)?;
                if known.is_none() {
                    self.set_next_sequence(&producer.project, &producer.id, *first_sequence)?;
                }
                return Ok(Effect::Opened { known: known.is_some(), next_sequence: known.unwrap_or(*first_sequence) });
            }
            Change::Accept(accept) => return self.accept(accept),
            Change::Settle(settlement) => self.settle(settlement)?,
            Change::AckReports { sequence_inclusive } => {
                let last = i64::try_from(*sequence_inclusive).unwrap_or(i64::MAX);
                self.transaction.prepare_cached("DELETE FROM reports WHERE sequence <= ?")?.execute([last])?;
            }
            Change::SaveCatalog(change) => self.save_catalog(change)?,
            Change::Hold { lane } => {
                let lane = self.lane(lane)?;
                self.transaction
                    .prepare_cached("UPDATE lanes SET held_since_ms = ? WHERE lane = ? AND held_since_ms IS NULL")?
                    .execute(params![self.now_ms, lane])?;
            }
            Change::Resume { lane } => {
                let lane = self.lane(lane)?;
                self.transaction
                    .prepare_cached(
                        "UPDATE lanes SET held_total_ms = held_total_ms + MAX(0, ? - held_since_ms),
                         held_since_ms = NULL WHERE lane = ? AND held_since_ms IS NOT NULL",
                    )?
                    .execute(params![self.now_ms, lane])?;
            }
            Change::EndLane { lane, limit } => return self.end_lane(*lane, *limit),
        }
        Ok(Effect::Done { next_report: self.next_report.cast_unsigned() })
    }

    fn accept(&mut self, accept: &Accept) -> Result<Effect, StoreError> {
        let count = accept.items.len();
        let mut skip = 0;
        if let Some(producer) = &accept.producer {
            let expected = self.next_sequence(&producer.project, &producer.id)?.unwrap_or(accept.first_sequence);
            if accept.first_sequence > expected {
                return Ok(Effect::Gap { expected });
            }
            skip = usize::try_from(expected - accept.first_sequence).unwrap_or(usize::MAX).min(count);
            if skip < count {
                self.set_next_sequence(&producer.project, &producer.id, accept.first_sequence + count as u64)?;
            }
        }
        let mut created = Vec::new();
        let (mut rejected, mut unmatched, mut matched) = (0_i64, 0_i64, 0_i64);
        for item in accept.items.iter().skip(skip) {
            match item {
                Item::Rejected => rejected += 1,
                Item::Unmatched => unmatched += 1,
                Item::Matched(event) => {
                    matched += 1;
                    self.insert(&event.event, &event.lanes, &mut created)?;
                }
            }
        }
        self.transaction
            .prepare_cached(
                "INSERT INTO ledger (project, received, rejected, duplicates, unmatched, matched)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (project) DO UPDATE SET received = received + ?2, rejected = rejected + ?3,
                 duplicates = duplicates + ?4, unmatched = unmatched + ?5, matched = matched + ?6",
            )?
            .execute(params![&*accept.project, count as i64, rejected, skip as i64, unmatched, matched])?;
        Ok(Effect::Accepted(created))
    }

    fn insert(
        &mut self,
        event: &Arc<StoredEvent>,
        lanes: &[LaneKey],
        created: &mut Vec<Created>,
    ) -> Result<(), StoreError> {
        let event_row = *self.next_event;
        *self.next_event += 1;
        self.transaction.prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")?.execute(params![
            event_row,
            event.id.0,
            event.accept_ms,
            event.event_type,
            &event.json[..],
            event.traceparent,
            event.tracestate,
            lanes.len() as i64,
            crc32c::crc32c(&event.json),
        ])?;
        let new = DeliveryState::new();
        for key in lanes {
            let lane = self.lane(key)?;
            let delivery = *self.next_delivery;
            *self.next_delivery += 1;
            // Due at once: in the lane's time any moment that has passed will do.
            self.transaction
                .prepare_cached(
                    "INSERT INTO deliveries (delivery, event, lane, due_ms, schedule, round, window_open_ms, attempts)
                     VALUES (?, ?, ?, (SELECT ? - held_total_ms FROM lanes WHERE lane = ?3), ?, ?, ?, ?)",
                )?
                .execute(params![
                    delivery,
                    event_row,
                    lane,
                    event.accept_ms,
                    new.schedule,
                    new.round,
                    new.window_open_ms,
                    new.attempts
                ])?;
            self.transaction
                .prepare_cached("UPDATE lanes SET created = created + 1 WHERE lane = ?")?
                .execute([lane])?;
            created.push(Created { delivery, event_row, lane, key: key.clone(), event: event.clone() });
        }
        Ok(())
    }

    fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        match &settlement.outcome {
            Settled::Again { state, due_ms } => {
                self.transaction
                    .prepare_cached(
                        "UPDATE deliveries SET due_ms = ?, schedule = ?, round = ?, window_open_ms = ?, attempts = ?
                         WHERE delivery = ?",
                    )?
                    .execute(params![
                        due_ms,
                        state.schedule,
                        state.round,
                        state.window_open_ms,
                        state.attempts,
                        settlement.delivery
                    ])?;
            }
            Settled::Ended { outcome: EndingOutcome::Delivered, .. } => {
                self.transaction
                    .prepare_cached("DELETE FROM deliveries WHERE delivery = ?")?
                    .execute([settlement.delivery])?;
                // Most events have one delivery: then there is nothing to count down.
                let gone = self
                    .transaction
                    .prepare_cached("DELETE FROM events WHERE event = ? AND open = 1")?
                    .execute([settlement.event])?;
                if gone == 0 {
                    self.transaction
                        .prepare_cached("UPDATE events SET open = open - 1 WHERE event = ?")?
                        .execute([settlement.event])?;
                }
                self.count_ending(settlement.lane, EndingOutcome::Delivered, 1)?;
            }
            Settled::Ended { outcome, reason, state } => {
                self.transaction
                    .prepare_cached(
                        "UPDATE deliveries SET due_ms = NULL, schedule = ?, round = ?, window_open_ms = ?,
                         attempts = ?, outcome = ?, reason = ?, end_ms = ? WHERE delivery = ?",
                    )?
                    .execute(params![
                        state.schedule,
                        state.round,
                        state.window_open_ms,
                        state.attempts,
                        *outcome as i32,
                        *reason as i32,
                        self.now_ms,
                        settlement.delivery
                    ])?;
                self.count_ending(settlement.lane, *outcome, 1)?;
            }
        }
        for report in &settlement.reports {
            self.add_report(report)?;
        }
        Ok(())
    }

    fn end_lane(&mut self, lane: i64, limit: usize) -> Result<Effect, StoreError> {
        let name: Option<(String, String)> = self
            .transaction
            .prepare_cached("SELECT uid, name FROM lanes WHERE lane = ?")?
            .query_row([lane], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((uid, name)) = name else {
            return Ok(Effect::LaneEnded { ended: 0, next_report: self.next_report.cast_unsigned() });
        };
        let key = LaneKey { uid: uid.into(), name: name.into() };
        let open = self
            .transaction
            .prepare_cached(
                "SELECT delivery, schedule, attempts, event_id, accept_ms FROM deliveries JOIN events USING (event)
                 WHERE lane = ? AND due_ms IS NOT NULL ORDER BY due_ms LIMIT ?",
            )?
            .query_map(params![lane, limit as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, [u8; 16]>(3)?, row.get(4)?))
            })?
            .collect::<Result<Vec<(i64, u32, u32, [u8; 16], i64)>, _>>()?;
        for (delivery, schedule, attempts, event_id, accept_ms) in &open {
            self.transaction
                .prepare_cached(
                    "UPDATE deliveries SET due_ms = NULL, outcome = ?, reason = ?, end_ms = ? WHERE delivery = ?",
                )?
                .execute(params![
                    EndingOutcome::Discarded as i32,
                    EndingReason::SyncDeleted as i32,
                    self.now_ms,
                    delivery
                ])?;
            let ending = self.reporter.ending(
                &report::Subject { key: &key, event: EventId(*event_id), accept_ms: *accept_ms },
                &report::End {
                    schedule: *schedule,
                    attempts: *attempts,
                    outcome: EndingOutcome::Discarded,
                    reason: EndingReason::SyncDeleted,
                    end_ms: self.now_ms,
                },
            );
            self.add_report(&Bytes::from(ending.encode_to_vec()))?;
        }
        self.count_ending(lane, EndingOutcome::Discarded, open.len())?;
        Ok(Effect::LaneEnded { ended: open.len(), next_report: self.next_report.cast_unsigned() })
    }

    fn save_catalog(&mut self, change: &CatalogChange) -> Result<(), StoreError> {
        if change.replace {
            self.transaction.execute("DELETE FROM catalog", [])?;
        }
        for uid in &change.deletions {
            self.transaction.prepare_cached("DELETE FROM catalog WHERE uid = ?")?.execute([uid])?;
        }
        for (latest, good) in &change.upserts {
            let (uid, latest) = (&latest.uid, latest.encode_to_vec());
            let good = good.as_ref().map(prost::Message::encode_to_vec);
            let crc = crc32c::crc32c_append(crc32c::crc32c(&latest), good.as_deref().unwrap_or_default());
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO catalog (uid, latest, good, crc) VALUES (?, ?, ?, ?)")?
                .execute(params![uid, latest, good, crc])?;
        }
        self.transaction
            .prepare_cached("UPDATE state SET epoch = ?, revision = ?")?
            .execute(params![change.epoch, change.revision])?;
        Ok(())
    }

    fn next_sequence(&self, project: &str, producer: &str) -> Result<Option<u64>, StoreError> {
        let stored: Option<i64> = self
            .transaction
            .prepare_cached("SELECT next_sequence FROM producers WHERE project = ? AND producer_id = ?")?
            .query_row([project, producer], |row| row.get(0))
            .optional()?;
        // Bits are kept, so that every u64 fits.
        Ok(stored.map(i64::cast_unsigned))
    }

    fn set_next_sequence(&self, project: &str, producer: &str, next: u64) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached(
                "INSERT INTO producers (project, producer_id, next_sequence, seen_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET next_sequence = ?3, seen_ms = ?4",
            )?
            .execute(params![project, producer, next.cast_signed(), self.now_ms])?;
        Ok(())
    }

    fn lane(&mut self, key: &LaneKey) -> Result<i64, StoreError> {
        if let Some(lane) = self.lanes.get(&key.uid) {
            return Ok(*lane);
        }
        self.transaction
            .prepare_cached("INSERT INTO lanes (uid, name) VALUES (?, ?) ON CONFLICT DO NOTHING")?
            .execute([&*key.uid, &*key.name])?;
        let lane = self
            .transaction
            .prepare_cached("SELECT lane FROM lanes WHERE uid = ?")?
            .query_row([&*key.uid], |row| row.get(0))?;
        self.lanes.insert(key.uid.clone(), lane);
        Ok(lane)
    }

    fn count_ending(&self, lane: i64, outcome: EndingOutcome, count: usize) -> Result<(), StoreError> {
        let statement = match outcome {
            EndingOutcome::Delivered => "UPDATE lanes SET delivered = delivered + ? WHERE lane = ?",
            EndingOutcome::Expired => "UPDATE lanes SET expired = expired + ? WHERE lane = ?",
            EndingOutcome::Discarded | EndingOutcome::Unspecified => {
                "UPDATE lanes SET discarded = discarded + ? WHERE lane = ?"
            }
        };
        self.transaction.prepare_cached(statement)?.execute(params![count as i64, lane])?;
        Ok(())
    }

    fn add_report(&mut self, report: &[u8]) -> Result<(), StoreError> {
        self.transaction
            .prepare_cached("INSERT INTO reports (sequence, report) VALUES (?, ?)")?
            .execute(params![*self.next_report, report])?;
        *self.next_report += 1;
        Ok(())
    }
}

/// The file holds events and secrets: for its owner alone.
fn restrict(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
            tracing::warn!(%error, "cannot restrict the spool's file to its owner");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}
