//! Waits between dials: none after a stream that worked, then growing, with jitter.

use std::time::Duration;

use sluice_host::clock::Clock;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST: Duration = Duration::from_secs(5);

/// Counts dials that came to nothing.
#[derive(Debug, Default)]
pub(crate) struct Redial {
    failures: u32,
}

impl Redial {
    /// A stream works: the next break is the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next dial: half to the whole of a wait that doubles up to five seconds.
    pub(crate) async fn wait(&mut self, clock: &Clock) {
        let longest = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        clock.sleep(longest.mul_f64(0.5 + rand::random::<f64>() / 2.0), "redial").await;
    }
}
