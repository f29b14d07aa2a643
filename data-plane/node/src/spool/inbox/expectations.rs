//! What is expected soon.

use std::time::{Duration, Instant};

/// What does not come within one to two of these is not expected any more: nobody waits for an endpoint that hangs.
const SOON: Duration = Duration::from_millis(10);

/// How many are expected: those of the span of time that goes on, and of the one before.
#[derive(Debug)]
pub(super) struct Expectations {
    /// How long a span is.
    pub(super) length: Duration,
    span: u64,
    began: Instant,
    now: usize,
    before: usize,
}

impl Expectations {
    /// None.
    pub(super) fn new() -> Self {
        Self { length: SOON, span: 0, began: Instant::now(), now: 0, before: 0 }
    }

    /// Gives the span that it belongs to.
    pub(super) fn add(&mut self) -> u64 {
        self.pass(Instant::now());
        self.now += 1;
        self.span
    }

    /// One of that span has come.
    pub(super) fn remove(&mut self, span: u64) {
        match self.span - span {
            0 => self.now -= 1,
            1 => self.before -= 1,
            _ => {}
        }
    }

    /// How many there are now.
    pub(super) fn count(&mut self) -> usize {
        self.pass(Instant::now());
        self.now + self.before
    }

    /// Forgets what has been expected for long.
    fn pass(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.began);
        if passed >= self.length {
            // Where nobody has looked for long, the one before has passed as well.
            let spans = if passed < 2 * self.length { 1 } else { 2 };
            self.before = if spans == 1 { self.now } else { 0 };
            self.now = 0;
            self.span += spans;
            self.began = at;
        }
    }

    /// Whether there are none, as of when somebody last looked at the time.
    pub(super) fn is_empty(&self) -> bool {
        self.now + self.before == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_not_expected_any_more() {
        let mut expected = Expectations::new();
        let (first, at) = (expected.add(), expected.began);
        expected.pass(at + SOON);
        let second = expected.add();
        assert_eq!((expected.now, expected.before), (1, 1));
        expected.pass(at + 2 * SOON);
        assert_eq!((expected.now, expected.before), (0, 1));
        expected.remove(first);
        assert_eq!((expected.now, expected.before), (0, 1), "it was forgotten");
        expected.remove(second);
        assert_eq!((expected.now, expected.before), (0, 0));
        let third = expected.add();
        expected.pass(expected.began + 9 * SOON);
        assert_eq!((expected.now, expected.before), (0, 0));
        expected.remove(third);
        assert_eq!((expected.now, expected.before), (0, 0));
    }
}
