//! Waits between attempts to reconnect: doubling, capped, with jitter. Pure: chance is an argument.

use std::time::Duration;

/// Gives ever longer waits, from `first` doubling up to `max`, each times 0.5 to 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

/// Why the bounds of a [`Backoff`] were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the first wait must be above zero and not longer than the longest one")]
pub struct InvalidBackoff;

impl Backoff {
    /// Waits from `first` (above zero) to `max` (not less than `first`).
    pub fn new(first: Duration, max: Duration) -> Result<Self, InvalidBackoff> {
        if first.is_zero() || first > max {
            return Err(InvalidBackoff);
        }
        Ok(Self { first, max, failures: 0 })
    }

    /// The wait after one more failure. `chance` is a random number from 0 to 1; others count as the nearest of those.
    pub fn next_wait(&mut self, chance: f64) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let wait = self.first.saturating_mul(factor).min(self.max);
        let chance = if chance.is_nan() { 1.0 } else { chance.clamp(0.0, 1.0) };
        wait.mul_f64(0.5 + chance / 2.0)
    }

    /// Begins again with the first wait, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

impl Default for Backoff {
    /// From 100 ms to 5 s.
    fn default() -> Self {
        Self { first: Duration::from_millis(100), max: Duration::from_secs(5), failures: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_begin_again_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next_wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next_wait(1.0), Duration::from_millis(100));
    }

    #[test]
    fn jitter_takes_away_up_to_half() {
        assert_eq!(Backoff::default().next_wait(0.0), Duration::from_millis(50));
        assert_eq!(Backoff::default().next_wait(0.5), Duration::from_millis(75));
        assert_eq!(Backoff::default().next_wait(f64::NAN), Duration::from_millis(100));
    }

    #[test]
    fn many_failures_do_not_overflow() {
        let mut backoff = Backoff::default();
        for _ in 0..10_000 {
            assert!(backoff.next_wait(1.0) <= Duration::from_secs(5));
        }
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        assert_eq!(Backoff::new(Duration::ZERO, Duration::from_secs(1)), Err(InvalidBackoff));
        assert_eq!(Backoff::new(Duration::from_secs(2), Duration::from_secs(1)), Err(InvalidBackoff));
    }
}
