//! When to look at a lane again.

use std::collections::{BTreeSet, HashMap};

/// One time for each lane, in milliseconds of the clock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    times: BTreeSet<(i64, i64)>,
    time_of: HashMap<i64, i64>,
}

impl Timers {
    /// Sets a lane's time, or takes it away.
    pub(super) fn set(&mut self, lane: i64, at_ms: Option<i64>) {
        let old = match at_ms {
            Some(at_ms) => self.time_of.insert(lane, at_ms),
            None => self.time_of.remove(&lane),
        };
        if let Some(old) = old {
            self.times.remove(&(old, lane));
        }
        if let Some(at_ms) = at_ms {
            self.times.insert((at_ms, lane));
        }
    }

    /// The earliest time.
    pub(super) fn next_ms(&self) -> Option<i64> {
        self.times.first().map(|(at_ms, _)| *at_ms)
    }

    /// A lane whose time has come, the earliest first; its time is taken away.
    pub(super) fn due(&mut self, now_ms: i64) -> Option<i64> {
        let (_, lane) = self.times.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms)?;
        self.set(lane, None);
        Some(lane)
    }
}
