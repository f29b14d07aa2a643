//! A lane's rate limit: requests that may begin in a second.

use std::{num::NonZeroU32, time::Duration};

use governor::{Quota, RateLimiter, clock, middleware::NoOpMiddleware, nanos::Nanos, state};
use sluice_host::clock::Clock;

/// Hands out permissions to begin a request, as GCRA does, by the node's clock. It may run ahead by one second's worth, at
/// least by one request.
pub struct Pace {
    per_second: f64,
    limiter: RateLimiter<state::NotKeyed, state::InMemoryState, NodeClock, NoOpMiddleware<Nanos>>,
}

impl Pace {
    /// `per_second`: how many requests may begin in a second, 0.01 to 10,000.
    #[must_use]
    pub fn new(per_second: f64, clock: &Clock) -> Self {
        let gap = Duration::try_from_secs_f64(per_second.recip()).unwrap_or(Duration::from_secs(1));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, and is within 1 to 10,000
        let burst = NonZeroU32::new(per_second as u32).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(gap.max(Duration::from_nanos(1))).unwrap_or(Quota::per_second(burst));
        let limiter = RateLimiter::direct_with_clock(quota.allow_burst(burst), NodeClock(clock.clone()));
        Self { per_second, limiter }
    }

    /// Whether this is the pace of `per_second`.
    #[must_use]
    pub fn is(&self, per_second: f64) -> bool {
        self.per_second.to_bits() == per_second.to_bits()
    }

    /// Takes the permission to begin a request.
    ///
    /// # Errors
    /// When the next one may begin, in milliseconds of the clock: none may now.
    pub fn take(&self) -> Result<(), i64> {
        self.limiter.check().map_err(|not_yet| {
            let at: Nanos = clock::Reference::saturating_sub(&not_yet.earliest_possible(), Nanos::from(0));
            i64::try_from(at.as_u64().div_ceil(1_000_000)).unwrap_or(i64::MAX)
        })
    }
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pace({} per second)", self.per_second)
    }
}

/// The node's clock, as the limiter reads it.
#[derive(Clone)]
struct NodeClock(Clock);

impl clock::Clock for NodeClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(u64::try_from(self.0.now_ms()).unwrap_or_default().saturating_mul(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_225_600_000;

    fn taken(pace: &Pace) -> usize {
        std::iter::from_fn(|| pace.take().ok()).count()
    }

    #[test]
    fn a_second_gives_as_many_as_said_and_no_more() {
        let (clock, time) = Clock::manual(START);
        let pace = Pace::new(5.0, &clock);
        assert_eq!(taken(&pace), 5);
        assert_eq!(pace.take(), Err(START + 200));
        time.advance_to(START + 199);
        assert_eq!(taken(&pace), 0);
        time.advance_to(START + 200);
        assert_eq!(taken(&pace), 1);
        time.advance_to(START + 60_000);
        assert_eq!(taken(&pace), 5, "what was not used is not saved up");
    }

    #[test]
    fn a_rate_below_one_is_a_wait_of_more_than_a_second() {
        let (clock, time) = Clock::manual(START);
        let pace = Pace::new(0.1, &clock);
        assert_eq!(taken(&pace), 1);
        assert_eq!(pace.take(), Err(START + 10_000));
        time.advance_to(START + 10_000);
        assert_eq!(taken(&pace), 1);
    }

    #[test]
    fn the_highest_rate_is_kept() {
        let (clock, time) = Clock::manual(START);
        let pace = Pace::new(10_000.0, &clock);
        assert_eq!(taken(&pace), 10_000);
        time.advance_to(START + 100);
        assert_eq!(taken(&pace), 1_000);
    }
}
