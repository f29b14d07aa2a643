//! A lane as the dispatcher keeps it.

use std::sync::Arc;

use sluice_pipeline::catalog::Catalog;

use crate::{
    attempt::Courier,
    lanes::{Gate, Lane},
    telemetry::SyncMeters,
};

/// A lane and what keeps it from going on.
pub(super) struct Entry {
    pub(super) lane: Lane,
    pub(super) gate: Gate,
    pub(super) ending: Option<Ending>,
    /// How many deliveries may be open before the oldest are discarded.
    keeps: Option<u64>,
    /// Its part of [`super::Figures::in_memory`].
    pub(super) in_memory: usize,
    /// Its part of [`super::Dispatcher::ready_bytes`].
    pub(super) ready_bytes: usize,
    /// Where it counts; none if nobody wants to know.
    pub(super) meters: Option<Arc<SyncMeters>>,
    /// Whether its breaker was told to be open.
    told_open: bool,
}

/// Why waiting deliveries of a lane are being ended on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its sync was deleted.
    Gone,
    /// It is over its backlog limit.
    Backlog { keep: u64 },
    /// Its endpoint is down; times are the lane's.
    Down { window_ms: i64, probe_ms: i64 },
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(meters) = self.meters.as_ref().filter(|_| self.told_open) {
            meters.breaker(false);
        }
    }
}

impl Entry {
    pub(super) fn new(lane: Lane, courier: &Courier) -> Self {
        let meters = courier.meters.of_sync(&lane.key.name);
        Self {
            lane,
            gate: Gate::new(),
            ending: None,
            keeps: None,
            in_memory: 0,
            ready_bytes: 0,
            meters,
            told_open: false,
        }
    }

    /// Tells if the breaker has opened or closed.
    pub(super) fn tell_breaker(&mut self) {
        let open = self.gate.is_open();
        if let Some(meters) = self.meters.as_ref().filter(|_| open != self.told_open) {
            meters.breaker(open);
            self.told_open = open;
        }
    }

    /// Brings the lane in line with what the catalog says of its sync. Gives how many deliveries may be open if that is fewer
    /// than before.
    pub(super) fn align(&mut self, catalog: &Catalog, courier: &Courier) -> Option<u64> {
        let now_ms = courier.clock.now_ms();
        let lane = &mut self.lane;
        lane.gone = !catalog.contains(&lane.key.uid);
        if lane.gone {
            lane.put_back();
            return None;
        }
        // Refused, and no version that was good: what is open waits for one.
        let sync = catalog.get(&lane.key.uid)?;
        self.gate.align(sync, &courier.clock);
        if sync.enabled && lane.resume(now_ms) {
            courier.spool.resume(lane.key.clone());
        } else if !sync.enabled && lane.hold(now_ms) {
            courier.spool.hold(lane.key.clone());
        }
        let keeps = sync.destination.limits.backlog.filter(|backlog| !backlog.refuse_events).map(|backlog| backlog.max);
        let kept = std::mem::replace(&mut self.keeps, keeps);
        keeps.filter(|max| kept.is_none_or(|kept| *max < kept))
    }
}
