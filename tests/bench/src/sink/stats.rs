//! What a sink counts.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Connections share so many histograms, so that they seldom meet.
const SHARDS: usize = 16;
/// Longest latency that is told apart.
const MOST_US: u64 = 3_600_000_000;

/// Requests of one kind.
pub(super) struct Group {
    count: AtomicU64,
    bytes: AtomicU64,
    first_ns: AtomicU64,
    last_ns: AtomicU64,
    shards: Vec<Mutex<Histogram<u64>>>,
}

/// What a group has counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Requests.
    pub count: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// When the first one came; 0 if none has.
    pub first_ns: u64,
    /// When the last one came.
    pub last_ns: u64,
    /// From when an event was to be sent to the first byte of its request.
    pub latency: Latency,
}

/// Percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half are quicker.
    pub p50: f64,
    /// Nine of ten are.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latency {
    /// Of a histogram of microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1e3 }
    }
}

/// A histogram of microseconds.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MOST_US, 3).expect("constant bounds")
}

impl Default for Group {
    fn default() -> Self {
        let shard = || Mutex::new(Histogram::new_with_bounds(1, MOST_US, 3).expect("constant bounds"));
        Self {
            count: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first_ns: AtomicU64::new(0),
            last_ns: AtomicU64::new(0),
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }
}

impl Group {
    /// Counts a request on connection `number` that came at `now_ns` with an event that was to be sent at `sent_ns`.
    pub(super) fn note(&self, number: usize, bytes: usize, now_ns: u64, sent_ns: Option<u64>) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let _ = self.first_ns.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        self.last_ns.fetch_max(now_ns, Ordering::Relaxed);
        if let Some(sent_ns) = sent_ns {
            let shard = &self.shards[number % SHARDS];
            let micros = now_ns.saturating_sub(sent_ns) / 1_000;
            shard.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
        }
        // Last: who sees the count sees the rest.
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Requests so far.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Everything so far.
    #[must_use]
    pub(super) fn counted(&self) -> Counted {
        let count = self.count();
        let mut all = histogram();
        for shard in &self.shards {
            all.add(&*shard.lock().unwrap_or_else(PoisonError::into_inner)).expect("the same bounds");
        }
        Counted {
            count,
            bytes: self.bytes.load(Ordering::Relaxed),
            first_ns: self.first_ns.load(Ordering::Relaxed),
            last_ns: self.last_ns.load(Ordering::Relaxed),
            latency: Latency::of(&all),
        }
    }

    /// Begins anew.
    pub(super) fn reset(&self) {
        for number in [&self.count, &self.bytes, &self.first_ns, &self.last_ns] {
            number.store(0, Ordering::Relaxed);
        }
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).reset();
        }
    }
}
