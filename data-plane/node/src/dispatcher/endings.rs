//! What ends without a round: waiting deliveries of a sync that was deleted, is over its backlog limit, or whose endpoint is down, and
//! those whose event is damaged.

use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

use super::{
    Dispatcher,
    entry::{Ending, Entry},
};
use crate::{
    report::{End, Subject},
    spool::store::{Damaged, LaneKey, Settled, Settlement},
};

impl Dispatcher {
    /// A probe that began at `probe_ms` of the lane's time has failed: what is past its window and was due by then ends.
    pub(super) fn endpoint_down(&mut self, row: i64, probe_ms: i64) {
        let Some(entry) = self.lanes.get(&row) else { return };
        let Some(sync) = self.catalog.borrow().get(&entry.lane.key.uid).cloned() else { return };
        let window_ms = i64::try_from(sync.retry.window().as_millis()).unwrap_or(i64::MAX);
        if !entry.lane.is_held() {
            self.end(row, Ending::Down { window_ms, probe_ms });
        }
    }

    /// `open` deliveries of the lane are open now.
    pub(super) fn check_backlog(&mut self, row: i64, open: u64) {
        let Some(entry) = self.lanes.get(&row) else { return };
        let Some(sync) = self.catalog.borrow().get(&entry.lane.key.uid).cloned() else { return };
        if let Some(backlog) = sync.destination.limits.backlog
            && !backlog.refuse_events
            && open > backlog.max
            && entry.ending.is_none()
        {
            tracing::warn!(
                sync = &*entry.lane.key.name,
                open,
                limit = backlog.max,
                "the backlog is full: the oldest are discarded"
            );
            self.end(row, Ending::Backlog { keep: backlog.max });
        }
    }

    /// Ends waiting deliveries on disk, one thing at a time; [`Dispatcher::lane_ended`] follows.
    pub(super) fn end(&mut self, row: i64, ending: Ending) {
        let Some(entry) = self.lanes.get_mut(&row) else { return };
        if entry.ending.is_some() {
            return;
        }
        entry.ending = Some(ending);
        entry.lane.begin_ending();
        self.shelve(row);
        self.end_piece(row, ending);
    }

    fn end_piece(&self, row: i64, ending: Ending) {
        let Some(Entry { lane, .. }) = self.lanes.get(&row) else { return };
        let spool = &self.courier.spool;
        match ending {
            Ending::Gone => spool.end_lane(row),
            Ending::Backlog { keep } => spool.trim(row, keep, lane.in_flight().clone()),
            Ending::Down { window_ms, probe_ms } => {
                let now_ms = self.clock.now_ms() - lane.behind_ms();
                spool.expire_down(row, now_ms, window_ms, probe_ms, lane.in_flight().clone());
            }
        }
    }

    pub(super) fn lane_ended(&mut self, row: i64, more: bool) {
        let Some(entry) = self.lanes.get_mut(&row) else { return };
        let Some(ending) = entry.ending else { return };
        // A sync that was deleted meanwhile ends for that reason.
        if more && (!entry.lane.gone || ending == Ending::Gone) {
            self.end_piece(row, ending);
            return;
        }
        entry.ending = None;
        entry.lane.ended();
        if ending == Ending::Gone {
            if entry.lane.is_idle() {
                self.figures.lane_holds(entry.in_memory, 0);
                self.ready_bytes -= entry.ready_bytes;
                self.lanes.remove(&row);
                self.timers.set(row, None);
            }
            return;
        }
        self.pump(row);
    }

    pub(super) fn discard_damaged(&self, lane: i64, key: &LaneKey, damaged: Damaged) {
        let (outcome, reason) = (EndingOutcome::Discarded, EndingReason::Damaged);
        let state = damaged.state;
        let (sync, event) = (&*key.name, damaged.event.to_string());
        tracing::error!(sync, event, "the stored event does not match its checksum: its delivery is discarded");
        let ending = self.courier.reporter.ending(
            &Subject::of(key, damaged.event, damaged.accept_ms),
            &End { schedule: state.schedule, attempts: state.attempts, outcome, reason, end_ms: self.clock.now_ms() },
        );
        self.courier.spool.settle(Settlement {
            delivery: damaged.delivery,
            event: damaged.event_row,
            lane,
            body: None,
            outcome: Settled::Ended { outcome, reason, state },
            reports: vec![ending],
        });
    }
}
