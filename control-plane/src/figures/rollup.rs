//! Counts of a sync's minutes and hours, added up from what a batch of reports brings.

use std::collections::BTreeMap;

use sluice_proto::delivery::v1::{AttemptOutcome, EndingOutcome};

use super::histogram::Histogram;
use crate::reports::head::Ended;

/// Length of a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resolution {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Resolution {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Minute, Self::Hour];

    /// Its length in milliseconds, which it is stored as.
    pub(crate) fn ms(self) -> i64 {
        match self {
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
        }
    }

    /// The beginning of the rollup that holds an instant.
    pub(crate) fn floor(self, ms: i64) -> i64 {
        ms - ms.rem_euclid(self.ms())
    }

    /// The beginning of the first one that does not begin before an instant.
    pub(crate) fn ceil(self, ms: i64) -> i64 {
        self.floor(ms.saturating_add(self.ms() - 1))
    }
}

/// What became of a sync's deliveries in some time. Deliveries count when they end, requests when they begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests made.
    pub(crate) attempts: i64,
    /// Deliveries that ended with a 2xx.
    pub(crate) delivered: i64,
    /// Those of them that are known to have taken one request.
    pub(crate) delivered_first_attempt: i64,
    /// Those of them that are known to have taken more.
    pub(crate) delivered_after_retry: i64,
    /// Deliveries whose rounds were used up.
    pub(crate) expired: i64,
    /// Deliveries that could not be rendered or were refused by policy.
    pub(crate) discarded: i64,
    /// From acceptance to 2xx.
    pub(crate) latencies: Histogram,
}

impl Counts {
    /// Adds what the other has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.attempts += other.attempts;
        self.delivered += other.delivered;
        self.delivered_first_attempt += other.delivered_first_attempt;
        self.delivered_after_retry += other.delivered_after_retry;
        self.expired += other.expired;
        self.discarded += other.discarded;
        self.latencies.merge(&other.latencies);
    }

    /// Counts an attempt. A rendering that failed is one without a request.
    pub(crate) fn attempt(&mut self, outcome: i32) {
        self.attempts += i64::from(outcome != AttemptOutcome::Discarded as i32);
    }

    /// Counts a delivery that has ended.
    pub(crate) fn ending(&mut self, ended: &Ended) {
        match EndingOutcome::try_from(ended.outcome) {
            Ok(EndingOutcome::Delivered) => {
                self.delivered += 1;
                self.delivered_first_attempt += i64::from(ended.attempt_count <= 1);
                self.delivered_after_retry += i64::from(ended.attempt_count > 1);
                self.latencies.record(ended.end_ms.saturating_sub(ended.accept_ms));
            }
            Ok(EndingOutcome::Expired) => self.expired += 1,
            Ok(EndingOutcome::Discarded) => self.discarded += 1,
            Ok(EndingOutcome::Unspecified) | Err(_) => {}
        }
    }
}

/// Rollups that a batch of reports adds to: by uid of the sync, then by length and beginning.
#[derive(Debug, Default)]
pub(crate) struct Rollups(BTreeMap<String, OfSync>);

/// A sync's rollups, by length and beginning.
pub(crate) type OfSync = BTreeMap<(Resolution, i64), Counts>;

impl Rollups {
    /// Adds to the minute and to the hour that hold an instant.
    pub(crate) fn add(&mut self, sync_uid: &str, at_ms: i64, mut add: impl FnMut(&mut Counts)) {
        let of_sync = match self.0.get_mut(sync_uid) {
            Some(of_sync) => of_sync,
            None => self.0.entry(sync_uid.to_owned()).or_default(),
        };
        for resolution in Resolution::ALL {
            add(of_sync.entry((resolution, resolution.floor(at_ms))).or_default());
        }
    }

    /// Adds what others have counted.
    pub(crate) fn merge(&mut self, other: Self) {
        for (uid, counted) in other.0 {
            let of_sync = self.0.entry(uid).or_default();
            for (rollup, counts) in counted {
                of_sync.entry(rollup).or_default().merge(&counts);
            }
        }
    }

    /// What is to be added to a sync's.
    pub(crate) fn of(&self, sync_uid: &str) -> OfSync {
        self.0.get(sync_uid).cloned().unwrap_or_default()
    }

    /// What is to be added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Resolution, i64, &Counts)> {
        self.0.iter().flat_map(|(uid, of_sync)| {
            of_sync.iter().map(|((resolution, start_ms), counts)| (uid.as_str(), *resolution, *start_ms, counts))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_counts_in_its_minute_and_its_hour() {
        let mut rollups = Rollups::default();
        for at_ms in [0, 59_999, 60_000, 3_600_000] {
            let ended = Ended { end_ms: 7, schedule: 1, outcome: 1, attempt_count: 1, accept_ms: 0 };
            rollups.add("u", at_ms, |counts| counts.ending(&ended));
        }
        let told: Vec<_> = rollups.iter().map(|(_, length, start, counts)| (length, start, counts.delivered)).collect();
        use Resolution::{Hour, Minute};
        assert_eq!(
            told,
            [(Minute, 0, 2), (Minute, 60_000, 1), (Minute, 3_600_000, 1), (Hour, 0, 3), (Hour, 3_600_000, 1)]
        );
    }

    #[test]
    fn a_rendering_that_failed_is_no_request() {
        let mut counts = Counts::default();
        counts.attempt(AttemptOutcome::Discarded as i32);
        counts.attempt(AttemptOutcome::RetryNow as i32);
        assert_eq!(counts.attempts, 1);
    }
}
