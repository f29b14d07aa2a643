//! How much a spool holds, and for how long.

use std::time::Duration;

/// Bounds of a spool. At each of them something is refused, shortened or removed, and counted.
#[derive(Clone, Debug, PartialEq)]
pub struct SpoolLimits {
    /// Bytes of events of open deliveries and dead letters, counted for each delivery. Beyond: producers are refused.
    pub max_bytes: u64,
    /// The part of `max_bytes` that one project may use, 0 to 1.
    pub project_share: f64,
    /// The part of `max_bytes` that dead letters may use, 0 to 1. Beyond: the oldest are removed.
    pub dead_letter_share: f64,
    /// How long dead letters are kept.
    pub dead_letter_age: Duration,
    /// Bytes of reports that the control plane has not acked. Beyond: the oldest are folded into counts.
    pub report_bytes: u64,
    /// How long keys of events are remembered.
    pub dedup_window: Duration,
    /// Bytes of memory for keys. Beyond: the window shortens.
    pub dedup_bytes: usize,
    /// How long a producer that is not seen is remembered.
    pub producer_age: Duration,
    /// Bytes that are kept free for changes of state on a full disk; 0: none.
    pub reserve_bytes: u64,
    /// Bytes of the database file, a last resort far above what the others let it grow to; 0: no bound.
    pub file_bytes: u64,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        const DAY: Duration = Duration::from_secs(86_400);
        Self {
            max_bytes: 10 * GIB,
            project_share: 0.8,
            dead_letter_share: 0.25,
            dead_letter_age: 14 * DAY,
            report_bytes: GIB / 4,
            dedup_window: Duration::from_secs(600),
            dedup_bytes: 64 << 20,
            producer_age: 30 * DAY,
            reserve_bytes: 64 << 20,
            file_bytes: 40 * GIB,
        }
    }
}

impl SpoolLimits {
    /// Bytes that one project may use.
    #[must_use]
    pub fn project_bytes(&self) -> u64 {
        share(self.max_bytes, self.project_share)
    }

    /// Bytes that dead letters may use.
    #[must_use]
    pub fn dead_letter_bytes(&self) -> u64 {
        share(self.max_bytes, self.dead_letter_share)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn share(bytes: u64, part: f64) -> u64 {
    // A float as an integer saturates.
    (bytes as f64 * part.clamp(0.0, 1.0)) as u64
}

/// Milliseconds of a bound.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
