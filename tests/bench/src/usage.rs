//! What processes use while something is measured.

use serde::{Deserialize, Serialize};
use sluice_tests::measure::{cpu_time, peak_rss_bytes, rss_bytes, written_bytes};

/// What one process has used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Which.
    pub process: String,
    /// Time on processors, user and system, in milliseconds for 1,000 of what was counted: microseconds for each.
    pub cpu_per_thousand_ms: f64,
    /// Bytes given to disks, for each.
    pub written_bytes: f64,
    /// Memory at the end.
    pub rss_bytes: u64,
    /// The most memory that it has had since it began.
    pub peak_rss_bytes: u64,
}

/// The processes that are watched, and what they had used when the watch began.
pub struct Watch(Vec<Watched>);

struct Watched {
    process: String,
    id: u32,
    cpu_ns: u128,
    written: u64,
}

impl Watch {
    /// Begins.
    #[must_use]
    pub fn begin(processes: &[(String, u32)]) -> Self {
        let watched = |(process, id): &(String, u32)| Watched {
            process: process.clone(),
            id: *id,
            cpu_ns: cpu_time(*id).as_nanos(),
            written: written_bytes(*id),
        };
        Self(processes.iter().map(watched).collect())
    }

    /// What each has used since, for each of `count`.
    #[must_use]
    pub fn end(&self, count: u64) -> Vec<Usage> {
        let each = |amount: f64| amount / count.max(1) as f64;
        let used = |watched: &Watched| Usage {
            process: watched.process.clone(),
            cpu_per_thousand_ms: each(cpu_time(watched.id).as_nanos().saturating_sub(watched.cpu_ns) as f64 / 1e3),
            written_bytes: each(written_bytes(watched.id).saturating_sub(watched.written) as f64),
            rss_bytes: rss_bytes(watched.id),
            peak_rss_bytes: peak_rss_bytes(watched.id),
        };
        self.0.iter().map(used).collect()
    }
}
