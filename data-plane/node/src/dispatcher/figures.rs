//! What the dispatcher has in hand, for others to read.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Figures of all lanes together.
#[derive(Debug, Default)]
pub struct Figures {
    in_memory: AtomicUsize,
    under_way: AtomicUsize,
}

impl Figures {
    /// Deliveries in memory: waiting for their turn, under way, or on their way to disk. Bounded by the lanes, whatever the
    /// backlog.
    #[must_use]
    pub fn in_memory(&self) -> usize {
        self.in_memory.load(Ordering::Relaxed)
    }

    /// Rounds under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// A lane holds `now` deliveries in memory, which were `before`.
    pub(super) fn lane_holds(&self, before: usize, now: usize) {
        self.in_memory.fetch_add(now, Ordering::Relaxed);
        self.in_memory.fetch_sub(before, Ordering::Relaxed);
    }

    pub(super) fn set_under_way(&self, under_way: usize) {
        self.under_way.store(under_way, Ordering::Release);
    }
}
