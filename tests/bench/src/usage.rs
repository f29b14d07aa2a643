//! What processes use while something is measured.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sluice_tests::measure::{cpu_time, disk_written_bytes, peak_rss_bytes, rss_bytes};

/// What one process has used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Which.
    pub process: String,
    /// Time on processors, user and system, in milliseconds for 1,000 of what was counted: microseconds for each.
    pub cpu_per_thousand_ms: f64,
    /// Bytes that the disk was given, for each; of [`DISK`] alone.
    pub written_bytes: f64,
    /// Memory at the end.
    pub rss_bytes: u64,
    /// The most memory that it has had since it began.
    pub peak_rss_bytes: u64,
}

/// What stands for the disk among the processes: what all of them write. No process is told apart, see [`disk_written_bytes`].
pub const DISK: &str = "disk";

/// The processes that are watched, and what they had used when the watch began.
pub struct Watch {
    watched: Vec<Watched>,
    folder: PathBuf,
    written: Option<u64>,
}

struct Watched {
    process: String,
    id: u32,
    cpu_ns: u128,
}

impl Watch {
    /// Begins; `folder` is on the disk that the processes write to.
    #[must_use]
    pub fn begin(processes: &[(String, u32)], folder: &Path) -> Self {
        let watched = |(process, id): &(String, u32)| Watched {
            process: process.clone(),
            id: *id,
            cpu_ns: cpu_time(*id).as_nanos(),
        };
        let watched = processes.iter().map(watched).collect();
        Self { watched, folder: folder.to_owned(), written: disk_written_bytes(folder) }
    }

    /// What each has used since, for each of `count`.
    #[must_use]
    pub fn end(&self, count: u64) -> Vec<Usage> {
        let each = |amount: f64| amount / count.max(1) as f64;
        let used = |watched: &Watched| Usage {
            process: watched.process.clone(),
            cpu_per_thousand_ms: each(cpu_time(watched.id).as_nanos().saturating_sub(watched.cpu_ns) as f64 / 1e3),
            written_bytes: 0.0,
            rss_bytes: rss_bytes(watched.id),
            peak_rss_bytes: peak_rss_bytes(watched.id),
        };
        let disk = disk_written_bytes(&self.folder).zip(self.written).map(|(now, before)| Usage {
            process: DISK.to_owned(),
            cpu_per_thousand_ms: 0.0,
            written_bytes: each(now.saturating_sub(before) as f64),
            rss_bytes: 0,
            peak_rss_bytes: 0,
        });
        self.watched.iter().map(used).chain(disk).collect()
    }
}
