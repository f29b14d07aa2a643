//! Tells whoever listens what has just been committed: sessions the newest revision, watchers the newest attempts.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use sluice_host::clock::Clock;
use sluice_proto::delivery::v1::Attempt;
use tokio::sync::{broadcast, watch};

use crate::{changelog::Position, recent::Recent, store::attempt};

/// Attempts that are told together, and how many such batches a watcher may be behind before it misses some: what a slow
/// one holds in memory.
const BATCH: usize = 256;
const BATCHES: usize = 128;

/// Carries the news. Clones share it.
#[derive(Clone)]
pub(crate) struct Publisher {
    newest: watch::Sender<Position>,
    recent: Arc<Mutex<Recent>>,
    clock: Clock,
    attempts: broadcast::Sender<Arc<StoredAttempts>>,
    published_count: Arc<AtomicU64>,
}

/// Attempts that were stored together.
pub(crate) struct StoredAttempts {
    /// How many attempts were published before these, since the start.
    pub(crate) first: u64,
    /// The attempts, in the order of the report.
    pub(crate) attempts: Vec<Attempt>,
}

impl Publisher {
    /// A publisher that has nothing to tell yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            newest: watch::Sender::new(Position::default()),
            recent: Arc::default(),
            clock,
            attempts: broadcast::Sender::new(BATCHES),
            published_count: Arc::default(),
        }
    }

    /// The newest revision is `position`. Called in the order of the commits.
    pub(crate) fn revision(&self, position: Position) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.changed(&position, self.clock.now_ms());
        drop(recent);
        self.newest.send_replace(position);
    }

    /// These attempts, each as its report, have been stored. Called in the order of the commits.
    pub(crate) fn attempts(&self, reports: impl Iterator<Item = Bytes>) {
        if self.attempts.receiver_count() == 0 {
            // Nobody watches: nothing to read them for.
            self.published_count.fetch_add(reports.count() as u64, Ordering::Relaxed);
            return;
        }
        let mut attempts = reports.filter_map(attempt);
        loop {
            let batch: Vec<_> = attempts.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return;
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let first = self.published_count.fetch_add(count, Ordering::Relaxed);
            // Nobody watches: fine.
            let _ = self.attempts.send(Arc::new(StoredAttempts { first, attempts: batch }));
        }
    }

    /// How many attempts have been published since the start.
    pub(crate) fn published_count(&self) -> u64 {
        self.published_count.load(Ordering::Relaxed)
    }

    /// The newest revision, and word of every later one.
    pub(crate) fn watch_revision(&self) -> watch::Receiver<Position> {
        self.newest.subscribe()
    }

    /// When the oldest change was made that is not in `serves`; none if that is the newest revision.
    pub(crate) fn behind_since_ms(&self, serves: &Position) -> Option<i64> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).behind_since_ms(serves)
    }

    /// Every batch of attempts that is stored from now on.
    pub(crate) fn watch_attempts(&self) -> broadcast::Receiver<Arc<StoredAttempts>> {
        self.attempts.subscribe()
    }
}
