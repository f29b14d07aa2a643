//! A sync's lane: the part of its deliveries that is in memory. What waits beyond that stays on disk, so that memory does
//! not grow with the backlog. Decides only; the dispatcher acts.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use sluice_pipeline::delivery::DeliveryState;

use crate::spool::store::{Created, DueDelivery, DueQuery, LaneKey, LaneRow, StoredEvent};

/// Deliveries of one lane that are kept ready, beside those in flight.
const READY: usize = 256;

/// Bytes of their events; one is always taken.
const READY_BYTES: usize = 1 << 20;

/// The same of a lane that gets new ones while there is room to spare: what is made and sent within a moment costs no rows on disk.
const READY_NEW: usize = 4_096;
const READY_NEW_BYTES: usize = 4 << 20;

/// A delivery that is to be made now.
#[derive(Clone, Debug)]
pub struct Work {
    /// The delivery.
    pub delivery: i64,
    /// Row of its event.
    pub event_row: i64,
    /// Where it stands; times are the lane's.
    pub state: DeliveryState,
    /// The event.
    pub event: Arc<StoredEvent>,
    /// When it became due, by the node's clock.
    pub due_ms: i64,
    /// It was made a moment ago and has never been loaded: the disk finds it only after it was shelved.
    fresh: bool,
}

/// One sync's lane.
#[derive(Debug)]
pub struct Lane {
    /// Its row in the spool.
    pub row: i64,
    /// Its sync.
    pub key: LaneKey,
    /// The sync is not in the catalog any more.
    pub gone: bool,
    /// Deliveries whose round is under way or not yet recorded on disk: just these can come twice after a crash.
    in_flight: HashSet<i64>,
    ready: VecDeque<Work>,
    ready_bytes: usize,
    /// Deliveries that are in memory in any way: ready, in flight, settled and not yet on disk, or being shelved.
    in_hand: HashSet<i64>,
    /// Deliveries to be shelved, since [`Lane::take_shelved`] was asked.
    shelved: Vec<i64>,
    /// Waiting deliveries are being ended on disk: nothing may be taken into memory.
    ending: bool,
    held_since_ms: Option<i64>,
    held_total_ms: i64,
    /// Deliveries are due that are on disk only.
    backlog: bool,
    /// When the earliest delivery on disk that was not due when last asked will be, in the lane's time.
    next_due_ms: Option<i64>,
    loading: bool,
    /// Something was left on disk while a load was under way: its answer may not know.
    missed: bool,
    /// What a load under way brings may have been ended meanwhile.
    stale: bool,
}

impl Lane {
    /// A lane that has just been made.
    #[must_use]
    pub fn new(row: i64, key: LaneKey) -> Self {
        Self {
            row,
            key,
            gone: false,
            in_flight: HashSet::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            in_hand: HashSet::new(),
            shelved: Vec::new(),
            ending: false,
            held_since_ms: None,
            held_total_ms: 0,
            backlog: false,
            next_due_ms: None,
            loading: false,
            missed: false,
            stale: false,
        }
    }

    /// A lane as it was stored.
    #[must_use]
    pub fn stored(row: LaneRow) -> Self {
        Self {
            held_since_ms: row.held_since_ms,
            held_total_ms: row.held_total_ms,
            next_due_ms: row.next_due_ms,
            ..Self::new(row.lane, row.key)
        }
    }

    /// By how much the lane's time is behind the clock's: it stands still while the sync is disabled.
    #[must_use]
    pub fn behind_ms(&self) -> i64 {
        self.held_total_ms
    }

    /// Whether the sync is disabled.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_since_ms.is_some()
    }

    /// Whether no round is under way or waits to be recorded.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// A round broke off and will not be settled: its delivery stays in hand, to be found again at the next start.
    pub fn broke_off(&mut self, delivery: i64) {
        self.in_flight.remove(&delivery);
    }

    /// How many of its deliveries are in memory in any way.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.in_hand.len()
    }

    /// Bytes of the events that are ready.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Whether nothing of it is in memory.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_hand.is_empty() && !self.loading && !self.ending
    }

    /// The sync was disabled: what is not under way goes back to disk. Gives whether that is new.
    pub fn hold(&mut self, now_ms: i64) -> bool {
        if self.is_held() {
            return false;
        }
        self.held_since_ms = Some(now_ms);
        self.put_back();
        true
    }

    /// The sync was enabled. Gives whether that is new.
    pub fn resume(&mut self, now_ms: i64) -> bool {
        let Some(since_ms) = self.held_since_ms.take() else { return false };
        self.held_total_ms += (now_ms - since_ms).max(0);
        true
    }

    /// Takes what is ready back to disk.
    pub fn put_back(&mut self) {
        for work in std::mem::take(&mut self.ready) {
            self.leave_on_disk(work.delivery, work.fresh);
        }
        self.ready_bytes = 0;
    }

    /// Begins to end waiting deliveries on disk: what is ready goes back there, and nothing is taken into memory until
    /// [`Lane::ended`].
    pub fn begin_ending(&mut self) {
        self.ending = true;
        self.stale = self.loading;
        self.put_back();
    }

    /// Waiting deliveries were ended on disk.
    pub fn ended(&mut self) {
        self.ending = false;
    }

    /// Whether waiting deliveries are being ended.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// Deliveries whose round is under way or not yet recorded.
    #[must_use]
    pub fn in_flight(&self) -> &HashSet<i64> {
        &self.in_flight
    }

    /// Deliveries that are not kept in memory and must be shelved; they stay in hand until [`Lane::shelved`].
    pub fn take_shelved(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.shelved)
    }

    /// A delivery was shelved: the disk finds it from now on.
    pub fn shelved(&mut self, delivery: i64) {
        self.in_hand.remove(&delivery);
        self.backlog = true;
        self.missed |= self.loading;
    }

    /// Deliveries were reopened on disk.
    pub fn reopened(&mut self) {
        self.backlog = true;
        self.missed |= self.loading;
    }

    /// A delivery was made: taken into memory if there is room and none is left on disk before it. `spare`: whether all lanes
    /// together have room to spare.
    pub fn offer(&mut self, created: Created, spare: bool) {
        if self.in_hand.contains(&created.delivery) {
            return;
        }
        let waits = self.backlog || self.loading || self.ending || !self.shelved.is_empty();
        let has_room = self.has_room() || spare && self.ready.len() < READY_NEW && self.ready_bytes < READY_NEW_BYTES;
        if waits || self.is_held() || self.gone || !has_room {
            self.leave_on_disk(created.delivery, true);
            return;
        }
        self.push(Work {
            delivery: created.delivery,
            event_row: created.event_row,
            state: DeliveryState::new(),
            due_ms: created.event.accept_ms,
            event: created.event,
            fresh: true,
        });
    }

    /// Whether a delivery can be taken while fewer than `limit` are in flight.
    #[must_use]
    pub fn may_take(&self, limit: usize) -> bool {
        !self.is_held() && !self.gone && !self.ending && !self.ready.is_empty() && self.in_flight.len() < limit
    }

    /// The next delivery to make, whether it may be taken or not.
    pub fn take(&mut self) -> Option<Work> {
        let work = self.ready.pop_front()?;
        self.ready_bytes -= work.event.json.len();
        self.in_flight.insert(work.delivery);
        Some(work)
    }

    /// What to load now, if anything.
    pub fn load(&mut self, now_ms: i64) -> Option<DueQuery> {
        let lane_now_ms = now_ms - self.held_total_ms;
        let due = self.backlog || self.next_due_ms.is_some_and(|due_ms| due_ms <= lane_now_ms);
        let may = !self.loading && !self.ending && !self.is_held() && !self.gone;
        if !due || !may || self.ready.len() > READY / 2 || !self.has_room() {
            return None;
        }
        self.loading = true;
        self.missed = false;
        Some(DueQuery {
            lane: self.row,
            now_ms: lane_now_ms,
            except: self.in_hand.clone(),
            limit: READY.saturating_sub(self.ready.len()),
            max_bytes: READY_BYTES.saturating_sub(self.ready_bytes),
        })
    }

    /// What was loaded.
    pub fn loaded(&mut self, due: Vec<DueDelivery>, more: bool, next_due_ms: Option<i64>) {
        self.loading = false;
        self.next_due_ms = next_due_ms;
        if std::mem::take(&mut self.stale) || self.ending || self.is_held() || self.gone {
            self.backlog = true;
            return;
        }
        self.backlog = more || self.missed;
        for row in due {
            if !self.in_hand.contains(&row.delivery) {
                self.push(Work {
                    delivery: row.delivery,
                    event_row: row.event_row,
                    state: row.state,
                    due_ms: row.due_ms + self.held_total_ms,
                    event: row.event,
                    fresh: false,
                });
            }
        }
    }

    /// Takes a delivery in hand that will be settled without a round.
    pub fn claim(&mut self, delivery: i64) {
        self.in_hand.insert(delivery);
    }

    /// The load failed: there is still something to load.
    pub fn load_failed(&mut self) {
        self.loading = false;
        self.backlog = true;
    }

    /// A round was settled on disk; `due_ms` is when the next one is due.
    pub fn settled(&mut self, delivery: i64, due_ms: Option<i64>) {
        self.in_hand.remove(&delivery);
        self.in_flight.remove(&delivery);
        if let Some(due_ms) = due_ms {
            self.next_due_ms = Some(self.next_due_ms.map_or(due_ms, |next| next.min(due_ms)));
            self.missed |= self.loading;
        }
    }

    /// When to look again, by the clock's time.
    #[must_use]
    pub fn wake_ms(&self) -> Option<i64> {
        if self.is_held() || self.gone || self.loading || self.ending {
            None
        } else {
            self.next_due_ms.map(|due_ms| due_ms + self.held_total_ms)
        }
    }

    fn has_room(&self) -> bool {
        self.ready.len() < READY && self.ready_bytes < READY_BYTES
    }

    fn leave_on_disk(&mut self, delivery: i64, fresh: bool) {
        if fresh {
            self.in_hand.insert(delivery);
            self.shelved.push(delivery);
        } else {
            self.in_hand.remove(&delivery);
            self.backlog = true;
            self.missed |= self.loading;
        }
    }

    fn push(&mut self, work: Work) {
        self.in_hand.insert(work.delivery);
        self.ready_bytes += work.event.json.len();
        self.ready.push_back(work);
    }
}

#[cfg(test)]
mod tests;
