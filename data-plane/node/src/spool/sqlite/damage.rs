//! Counts damaged records, each once, over the writer and the readers.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Records that are told apart; beyond that each finding counts.
const TOLD_APART: usize = 65_536;

/// What has been found damaged.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    index: AtomicBool,
    seen: Mutex<HashSet<(&'static str, i64)>>,
}

impl Damage {
    /// A record of that kind and row is damaged: named in the log and counted, the first time.
    pub(super) fn found(&self, record: &'static str, row: i64) {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < TOLD_APART && !seen.insert((record, row)) {
            return;
        }
        drop(seen);
        self.0.count.fetch_add(1, Ordering::Relaxed);
        tracing::error!(record, row, "a record of the spool is damaged");
    }

    /// An index contradicts its table: the writer makes it anew.
    pub(super) fn found_index(&self, lane: i64) {
        self.found("index of waiting deliveries", lane);
        self.0.index.store(true, Ordering::Relaxed);
    }

    /// Whether an index is to be made anew; asked once.
    pub(super) fn take_index(&self) -> bool {
        self.0.index.swap(false, Ordering::Relaxed)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Goes on from what was counted before.
    pub(super) fn at_least(&self, count: u64) {
        self.0.count.fetch_max(count, Ordering::Relaxed);
    }
}
