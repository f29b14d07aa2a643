//! How many requests of a lane may be under way, given how its endpoint has answered: few at first, one more for each answer,
//! half as many after each failure that says it is down or overloaded. An endpoint that hangs so holds few places from the
//! start, and one that answers has all that its sync allows within a moment. The idea is TCP's slow start (RFC 5681 §3.1).

use sluice_pipeline::breaker::Sign;

/// What a lane begins with, and never falls below.
const LEAST: usize = 8;

/// More than any sync allows.
const MOST: usize = 1_000;

/// Of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window(usize);

impl Default for Window {
    fn default() -> Self {
        Self(LEAST)
    }
}

impl Window {
    /// How many rounds may be under way where the sync allows `limit`.
    #[must_use]
    pub(super) fn within(self, limit: usize) -> usize {
        self.0.min(limit)
    }

    /// A round has ended with this sign of its endpoint.
    pub(super) fn heard(&mut self, sign: Sign) {
        self.0 = match sign {
            Sign::Life => self.0.saturating_add(1).min(MOST),
            Sign::Down => (self.0 / 2).max(LEAST),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_open_it_and_failures_close_it_down_to_a_few() {
        let mut window = Window::default();
        assert_eq!((window.within(32), window.within(2)), (8, 2));
        for _ in 0..24 {
            window.heard(Sign::Life);
        }
        assert_eq!(window.within(1_000), 32);
        window.heard(Sign::Down);
        assert_eq!(window.within(1_000), 16);
        for _ in 0..9 {
            window.heard(Sign::Down);
        }
        assert_eq!(window.within(1_000), 8);
        for _ in 0..2_000 {
            window.heard(Sign::Life);
        }
        assert_eq!(window.within(1_000), 1_000);
    }
}
