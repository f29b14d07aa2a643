//! One commit under way: each change turned into rows, for the tables or for the journal, and into the writer's memory.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _};
use sluice_host::clock::TimeMark;
use sluice_pipeline::event::EventId;
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::{
    chunk,
    damage::Damage,
    dead_letters::Resume,
    dedup::Dedup,
    image::{Image, Totals},
    merge::Target,
    record::Remains,
    reports,
    rows::{self, DeadRow, DeliveryRow},
    state::State,
};
use crate::{
    report,
    spool::{
        limits::SpoolLimits,
        store::{Change, Effect, LaneKey, Producer, StoreError},
    },
};

/// A commit.
pub(super) struct Commit<'a> {
    /// The tables, to read; with [`Target::Tables`] a transaction.
    pub(super) sql: &'a Connection,
    pub(super) to: Target<'a>,
    pub(super) state: &'a mut State,
    pub(super) dedup: &'a mut Dedup,
    pub(super) limits: &'a SpoolLimits,
    pub(super) reporter: &'a report::Reporter,
    pub(super) damage: &'a Damage,
    pub(super) resume: &'a mut Option<Resume>,
    pub(super) now_ms: i64,
    /// The time of this commit, for the next start.
    pub(super) mark: Option<TimeMark>,
    /// Chunks that cannot become rows.
    pub(super) stuck: &'a HashSet<i64>,
    /// Whether events may be taken in.
    pub(super) disk_has_room: bool,
    pub(super) building: chunk::Building,
    /// Chunks that were made.
    pub(super) made: usize,
    pub(super) reports: reports::Building,
}

impl<'a> Commit<'a> {
    /// Makes one change; gives what it did.
    pub(super) fn apply(&mut self, change: &Change) -> Result<Effect, StoreError> {
        match change {
            Change::Open { producer, first_sequence } => {
                let known = self.next_sequence(producer)?;
                if known.is_none() {
                    self.set_next_sequence(producer, *first_sequence)?;
                }
                return Ok(Effect::Opened { known: known.is_some(), next_sequence: known.unwrap_or(*first_sequence) });
            }
            Change::Accept(accept) => return self.accept(accept),
            Change::Settle(settlement) => self.settle(settlement)?,
            Change::AckReports { sequence_inclusive } => reports::ack(&self.to, self.state, *sequence_inclusive)?,
            Change::SaveCatalog(change) => super::catalog::save(self.sql, change)?,
            Change::Hold { lane } => {
                let (lane, now_ms) = (self.state.lane_of(self.sql, lane)?, self.now_ms);
                self.state.change_lane(lane, |lane| lane.held_since_ms = lane.held_since_ms.or(Some(now_ms)));
            }
            Change::Resume { lane } => {
                let (lane, now_ms) = (self.state.lane_of(self.sql, lane)?, self.now_ms);
                self.state.change_lane(lane, |lane| {
                    if let Some(since_ms) = lane.held_since_ms.take() {
                        lane.held_total_ms += now_ms.saturating_sub(since_ms).max(0);
                    }
                });
            }
            Change::EndLane { lane, limit } => return self.end_lane(*lane, *limit),
            Change::Shelve { deliveries } => self.shelve(deliveries)?,
            Change::Trim { lane, keep, except, limit } => return self.trim(*lane, *keep, except, *limit),
            Change::ExpireDown { lane, now_ms, window_ms, probe_ms, except, limit } => {
                let opened_by_ms = now_ms.saturating_sub(*window_ms);
                return self.expire_down(*lane, opened_by_ms, *probe_ms, except, *limit);
            }
            Change::Redeliver { selection, ended_before_ms, lanes, limit } => {
                return self.redeliver(selection, *ended_before_ms, lanes, *limit);
            }
            Change::MarkExported { selection } => return self.mark_exported(selection),
        }
        Ok(Effect::Done { next_report: self.next_report() })
    }

    /// Writes what was gathered; the commit is complete then. Gives where it went.
    pub(super) fn finish(mut self) -> Result<Target<'a>, StoreError> {
        self.write_chunk()?;
        // Room for what comes: more go than one commit makes.
        if matches!(self.to, Target::Tables(_)) && self.state.chunks.over_bound() {
            for chunk in self.state.chunks.oldest(self.made + 2, self.stuck) {
                self.move_chunk(chunk)?;
            }
        }
        self.reports.write(&mut self.to, self.state)?;
        self.state.chunks.save(&mut self.to, &mut self.state.pending)?;
        self.state.save(&mut self.to)?;
        if let Some(keys) = self.dedup.staged(self.now_ms) {
            self.to.put(&keys)?;
            if let (Target::Journal(_), Image::Keys { batch, at_ms, body }) = (&self.to, &keys) {
                self.state.pending.add_keys(*batch, *at_ms, body);
            }
        }
        let (keys, oldest_key_ms) = self.dedup.figures(self.now_ms);
        let counters = &mut self.state.counters;
        counters.newest_ms = counters.newest_ms.max(self.now_ms);
        let (keys, damaged) = (keys as i64, self.damage.count().cast_signed());
        let mark = self.mark.as_ref().map(|mark| (mark.wall_ms, &*mark.boot_id, mark.since_boot_ms));
        let totals = Totals { counters: *counters, keys, oldest_key_ms, damaged, mark };
        self.to.put(&Image::Totals(totals))?;
        Ok(self.to)
    }

    /// Closes the chunk under way.
    pub(super) fn write_chunk(&mut self) -> Result<(), StoreError> {
        let (events, deliveries) = self.building.counts();
        let first_event = self.state.counters.next_event - events;
        let id = self.state.counters.next_delivery - deliveries;
        self.made += usize::from(deliveries > 0);
        self.building.write(&mut self.to, self.state, id, first_event, self.now_ms)
    }

    /// Sequence after the newest report.
    pub(super) fn next_report(&self) -> u64 {
        self.state.counters.next_report.cast_unsigned()
    }

    pub(super) fn add_report(&mut self, report: &[u8]) -> Result<(), StoreError> {
        self.reports.push(&mut self.to, self.state, report)
    }

    /// Makes a dead letter of a delivery that no row holds any more, and whose event one does. `known` says what its event
    /// was, where that is at hand.
    pub(super) fn bury(
        &mut self,
        row: &DeliveryRow,
        known: Option<Remains>,
        outcome: EndingOutcome,
        reason: EndingReason,
    ) -> Result<Remains, StoreError> {
        let event = match known {
            Some(event) => event,
            None => rows::read_remains(self.sql, row.event)?.unwrap_or(Remains {
                id: EventId([0; 16]),
                accept_ms: 0,
                event_type: String::new(),
            }),
        };
        let Some(lane) = self.state.lane(row.lane) else { return Ok(event) };
        let dead = DeadRow {
            delivery: row.delivery,
            lane: row.lane,
            event: row.event,
            bytes: row.bytes,
            webhook_id: sluice_pipeline::event::WebhookId::new(event.id, &lane.key.uid),
            event_id: event.id,
            accept_ms: event.accept_ms,
            event_type: event.event_type.clone(),
            outcome,
            reason,
            end_ms: self.now_ms,
            state: row.state,
            exported: false,
        };
        dead.insert(self.sql)?;
        self.state.counters.unexported += 1;
        self.state.change_lane(row.lane, |lane| lane.ended(outcome, row.bytes));
        Ok(event)
    }

    /// Ends an open delivery's row without a round: it becomes a dead letter, and a report tells of it.
    pub(super) fn end_row(
        &mut self,
        key: &LaneKey,
        row: &DeliveryRow,
        outcome: EndingOutcome,
        reason: EndingReason,
    ) -> Result<(), StoreError> {
        DeliveryRow::delete(self.sql, row.lane, row.delivery)?;
        let event = self.bury(row, None, outcome, reason)?;
        let ending = self.reporter.ending(
            &report::Subject::of(key, event.id, event.accept_ms),
            &report::End {
                schedule: row.state.schedule,
                attempts: row.state.attempts,
                outcome,
                reason,
                end_ms: self.now_ms,
            },
        );
        self.add_report(&ending)
    }

    /// Where a known producer stands. A damaged row is as good as none: events that come again keep their ids.
    pub(super) fn next_sequence(&mut self, producer: &Producer) -> Result<Option<u64>, StoreError> {
        if let Some((next, _)) = self.state.producers.get(producer) {
            return Ok(Some(*next));
        }
        let stored: Option<(i64, i64, i64)> = self
            .sql
            .prepare_cached("SELECT next_sequence, seen_ms, crc FROM producers WHERE project = ? AND producer_id = ?")?
            .query_row([&*producer.project, &*producer.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((next, seen_ms, crc)) = stored else { return Ok(None) };
        if producer_crc(producer, next, seen_ms) != crc {
            tracing::error!(producer = &*producer.id, "the stored position of a producer is damaged");
            self.damage.found("producer", i64::from(crc32c::crc32c(producer.id.as_bytes())));
            return Ok(None);
        }
        // Bits are kept, so that every u64 fits.
        self.state.producers.insert(producer.clone(), (next.cast_unsigned(), seen_ms));
        Ok(Some(next.cast_unsigned()))
    }

    pub(super) fn set_next_sequence(&mut self, producer: &Producer, next_sequence: u64) -> Result<(), StoreError> {
        let (project, id, seen_ms) = (&*producer.project, &*producer.id, self.now_ms);
        self.to.put(&Image::Producer { project, id, next_sequence, seen_ms })?;
        self.state.producers.insert(producer.clone(), (next_sequence, seen_ms));
        if let Target::Journal(_) = self.to {
            self.state.pending.producers.insert(producer.clone());
        }
        Ok(())
    }
}

/// A producer row's checksum.
pub(super) fn producer_crc(producer: &Producer, next: i64, seen_ms: i64) -> i64 {
    let parts: [&[u8]; 5] =
        [producer.project.as_bytes(), b"/", producer.id.as_bytes(), &next.to_le_bytes(), &seen_ms.to_le_bytes()];
    i64::from(parts.into_iter().fold(0, crc32c::crc32c_append))
}
