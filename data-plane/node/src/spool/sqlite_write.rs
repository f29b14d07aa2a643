//! One transaction of the SQLite store: each kind of change, in SQL.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use rusqlite::{OptionalExtension as _, Transaction, params};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::store::{
    Accept, CatalogChange, Change, Created, Effect, Item, LaneKey, Settled, Settlement, StoreError, StoredEvent,
};
use crate::report;

/// One transaction under way.
pub(super) struct Writer<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) lanes: &'a mut HashMap<Arc<str>, i64>,
    pub(super) next_event: &'a mut i64,
    pub(super) next_delivery: &'a mut i64,
    pub(super) next_report: &'a mut i64,
    pub(super) reporter: &'a report::Reporter,
    pub(super) now_ms: i64,
}

impl Writer<'_> {
    /// Makes one change; gives what it did.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Effect, StoreError> {
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
