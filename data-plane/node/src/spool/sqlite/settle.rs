//! What follows a round, and the ways from a chunk to rows.

use std::collections::BTreeMap;

use sluice_pipeline::delivery::DeliveryState;
use sluice_proto::delivery::v1::EndingOutcome;

use super::{
    chunk::{Body, Held},
    commit::Commit,
    record::{self, Remains},
    rows::{self, DeliveryRow, RawEvent},
};
use crate::spool::store::{Settled, Settlement, StoreError, StoredEvent};

impl Commit<'_> {
    /// A round is over. One that is not open any more changes nothing; its reports are kept.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        for report in &settlement.reports {
            self.add_report(report)?;
        }
        if let Some(held) = self.held(settlement.delivery)? {
            self.settle_held(settlement, &held)?;
            self.state.chunks.finish(&held);
            return Ok(());
        }
        let Some((mut row, whole)) = DeliveryRow::get(self.sql, settlement.lane, settlement.delivery)? else {
            return Ok(());
        };
        if !whole {
            self.damage.found("delivery", row.delivery);
            row.event = settlement.event;
        }
        match &settlement.outcome {
            Settled::Ended { outcome: EndingOutcome::Delivered, .. } => {
                DeliveryRow::delete(self.sql, row.lane, row.delivery)?;
                rows::release_event(self.sql, row.event)?;
                self.state.change_lane(row.lane, |lane| lane.ended(EndingOutcome::Delivered, row.bytes));
            }
            // Of a schedule that was over before.
            Settled::Again { state, .. } | Settled::Ended { state, .. }
                if whole && state.schedule < row.state.schedule => {}
            Settled::Again { state, due_ms } => {
                DeliveryRow { due_ms: *due_ms, state: *state, ..row }.update(self.sql)?;
            }
            Settled::Ended { outcome, reason, state } => {
                DeliveryRow::delete(self.sql, row.lane, row.delivery)?;
                let known = settlement.body.as_deref().map(remains);
                self.bury(&DeliveryRow { state: *state, ..row }, known, *outcome, *reason)?;
            }
        }
        Ok(())
    }

    /// The open delivery, if a chunk holds it.
    fn held(&mut self, delivery: i64) -> Result<Option<Held>, StoreError> {
        let (_, building) = self.building.counts();
        if delivery >= self.state.counters.next_delivery - building {
            self.write_chunk()?;
        }
        Ok(self.state.chunks.find(delivery))
    }

    fn settle_held(&mut self, settlement: &Settlement, held: &Held) -> Result<(), StoreError> {
        match &settlement.outcome {
            Settled::Ended { outcome: EndingOutcome::Delivered, .. } => {
                self.state.change_lane(held.lane, |lane| lane.ended(EndingOutcome::Delivered, held.bytes));
            }
            Settled::Again { state, due_ms } => {
                self.keep_event(held, settlement.body.as_deref())?;
                row(held, *due_ms, *state).insert(self.sql)?;
            }
            Settled::Ended { outcome, reason, state } => {
                self.keep_event(held, settlement.body.as_deref())?;
                let known = settlement.body.as_deref().map(remains);
                self.bury(&row(held, 0, *state), known, *outcome, *reason)?;
            }
        }
        Ok(())
    }

    /// The event gets a row, from memory if it is there.
    fn keep_event(&mut self, held: &Held, event: Option<&StoredEvent>) -> Result<(), StoreError> {
        match event {
            Some(event) => {
                let mut head = Vec::new();
                record::encode_head(held.event, event, &mut head);
                rows::keep_event(self.sql, held.event, RawEvent { head: &head, json: &event.json }, true)
            }
            None => {
                let body = self.body(held.chunk)?;
                rows::keep_event(self.sql, held.event, body.event(held.event), true)
            }
        }
    }

    /// Deliveries that memory has no room for become rows.
    pub(super) fn shelve(&mut self, deliveries: &[i64]) -> Result<(), StoreError> {
        let mut by_chunk: BTreeMap<i64, Vec<Held>> = BTreeMap::new();
        for delivery in deliveries {
            if let Some(held) = self.held(*delivery)? {
                by_chunk.entry(held.chunk).or_default().push(held);
            }
        }
        by_chunk.into_iter().try_for_each(|(chunk, held)| self.move_to_rows(chunk, &held))
    }

    /// Everything open in a chunk becomes rows.
    pub(super) fn move_chunk(&mut self, chunk: i64) -> Result<(), StoreError> {
        let held = self.state.chunks.open_in(chunk);
        self.move_to_rows(chunk, &held)
    }

    fn move_to_rows(&mut self, chunk: i64, deliveries: &[Held]) -> Result<(), StoreError> {
        // The body is only borrowed from the chunks while rows are written: what is over is noted afterwards.
        let body = self.body(chunk)?;
        for held in deliveries {
            let event = body.event(held.event);
            rows::keep_event(self.sql, held.event, event, true)?;
            let accept_ms = event.accept_ms(held.event).unwrap_or_default();
            // Due since it was accepted: in the lane's time any moment that has passed will do.
            let due_ms = self.state.lane(held.lane).map_or(accept_ms, |lane| lane.time(accept_ms));
            row(held, due_ms, DeliveryState::new()).insert(self.sql)?;
        }
        for held in deliveries {
            self.state.chunks.finish(held);
        }
        Ok(())
    }

    /// The events of a chunk; none if they cannot be read, which is found out event by event.
    fn body(&self, chunk: i64) -> Result<Body<'_>, StoreError> {
        match self.state.chunks.read(self.sql, chunk) {
            Err(error) if error.is_damage() => {
                self.damage.found("chunk", chunk);
                Ok(Body::unreadable())
            }
            body => body,
        }
    }
}

fn row(held: &Held, due_ms: i64, state: DeliveryState) -> DeliveryRow {
    DeliveryRow { lane: held.lane, delivery: held.delivery, event: held.event, bytes: held.bytes, due_ms, state }
}

fn remains(event: &StoredEvent) -> Remains {
    Remains { id: event.id, accept_ms: event.accept_ms, event_type: event.event_type.clone() }
}
