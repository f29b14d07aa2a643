//! How fast a key may be used.

use std::sync::atomic::{AtomicI64, Ordering};

/// Charges what was used against a rate, and tells when there is room again. It may run ahead by one second's worth; one charge
/// may be of any size, and is paid off afterwards. Lock-free.
#[derive(Debug)]
pub struct Meter {
    per_second: i64,
    /// When all that was charged is paid off, in microseconds of the clock.
    free_at_us: AtomicI64,
}

const SECOND_US: i64 = 1_000_000;

impl Meter {
    /// `per_second`: what may be used in a second; 0 or less: not bounded.
    #[must_use]
    pub fn new(per_second: i64) -> Self {
        Self { per_second, free_at_us: AtomicI64::new(i64::MIN) }
    }

    /// When something may be used: at `now_ms` or later, in milliseconds.
    #[must_use]
    pub fn free_at_ms(&self, now_ms: i64) -> i64 {
        if self.per_second <= 0 {
            return now_ms;
        }
        let ahead = self.free_at_us.load(Ordering::Relaxed).saturating_sub(SECOND_US);
        now_ms.max(ahead.saturating_add(999).div_euclid(1_000))
    }

    /// Something was used.
    pub fn charge(&self, amount: i64, now_ms: i64) {
        if self.per_second <= 0 {
            return;
        }
        let now_us = now_ms.saturating_mul(1_000);
        let cost_us = amount.saturating_mul(SECOND_US) / self.per_second;
        let paid = |free_at_us: i64| Some(free_at_us.max(now_us).saturating_add(cost_us));
        // The closure always gives something.
        let _ = self.free_at_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid);
    }

    /// Uses one, if it may be used now.
    ///
    /// # Errors
    /// When it may be, in milliseconds of the clock.
    pub fn take(&self, now_ms: i64) -> Result<(), i64> {
        let free_at_ms = self.free_at_ms(now_ms);
        if free_at_ms > now_ms {
            return Err(free_at_ms);
        }
        self.charge(1, now_ms);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_767_225_600_000;

    #[test]
    fn a_second_gives_as_many_as_said() {
        let meter = Meter::new(5);
        let taken = |now| std::iter::from_fn(|| meter.take(now).ok()).count();
        assert_eq!(taken(START), 6, "one second's worth ahead, and the one that is due now");
        assert_eq!(meter.take(START), Err(START + 200));
        assert_eq!(taken(START + 199), 0);
        assert_eq!(taken(START + 200), 1);
        assert_eq!(taken(START + 60_000), 6, "what was not used is not saved up");
    }

    #[test]
    fn one_large_charge_is_paid_off_afterwards() {
        let meter = Meter::new(100);
        meter.charge(1_000, START);
        assert_eq!(meter.free_at_ms(START), START + 9_000);
        assert_eq!(meter.free_at_ms(START + 9_000), START + 9_000);
    }

    #[test]
    fn nothing_bounds_what_is_not_bounded() {
        let meter = Meter::new(0);
        meter.charge(i64::MAX, START);
        assert_eq!(meter.free_at_ms(START), START);
    }
}
