//! When the rounds of a delivery are due.

use std::time::Duration;

/// The most rounds that a delivery may have.
pub const MAX_ROUNDS: u32 = 10;

/// The most attempts in one round.
pub const MAX_ATTEMPTS_PER_ROUND: u32 = 3;

/// The offsets of the default policy: 1, 3, 7, 15, 30, 60, 105, 165 and 240 minutes.
const DEFAULT_OFFSETS_MIN: [u64; 9] = [1, 3, 7, 15, 30, 60, 105, 165, 240];

/// Why values make no retry policy. Each variant's `index` counts the offsets from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetryPolicy {
    /// More than nine offsets.
    #[error("{count} offsets; at most 9 are allowed")]
    TooManyOffsets {
        /// How many there are.
        count: usize,
    },
    /// An offset outside its bounds.
    #[error("offsets are 1 s to 24 h")]
    Offset {
        /// Which one.
        index: usize,
    },
    /// An offset that is not greater than the one before.
    #[error("offsets ascend: each is greater than the one before")]
    NotAscending {
        /// Which one.
        index: usize,
    },
    /// Attempts per round outside their bounds.
    #[error("attempts per round are 1 to 3")]
    MaxAttemptsPerRound,
    /// First wait outside its bounds.
    #[error("the first wait is 10 ms to 2 s")]
    FirstWait,
    /// Time limit of a round outside its bounds.
    #[error("the time limit of a round is 0 to 4 s")]
    RoundTimeLimit,
}

/// When failed deliveries are tried again. Its default is the policy that users of Amplitude know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    offsets_ms: Vec<i64>,
    max_attempts_per_round: u32,
    first_wait: Duration,
    round_time_limit: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            offsets_ms: DEFAULT_OFFSETS_MIN.iter().map(|minutes| millis(Duration::from_secs(minutes * 60))).collect(),
            max_attempts_per_round: MAX_ATTEMPTS_PER_ROUND,
            first_wait: Duration::from_millis(100),
            round_time_limit: Duration::from_secs(4),
        }
    }
}

/// A round to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextRound {
    /// Its position in the schedule, from 1.
    pub position: u32,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: i64,
}

impl RetryPolicy {
    /// A policy of these values.
    ///
    /// `round_offsets`: when the rounds after the first are due, from the opening of the window on; ascending, 1 s to 24 h,
    /// at most nine; the last one ends the window; none: there is one round only. `max_attempts_per_round`: 1 to 3.
    /// `first_wait`: before the second attempt of a round, 10 ms to 2 s. `round_time_limit`: no attempt begins later than
    /// this after its round began, 0 to 4 s.
    ///
    /// # Errors
    /// Every value that is out of its bounds, in the order of the arguments.
    pub fn new(
        round_offsets: &[Duration],
        max_attempts_per_round: u32,
        first_wait: Duration,
        round_time_limit: Duration,
    ) -> Result<Self, Vec<InvalidRetryPolicy>> {
        let mut invalid = Vec::new();
        let mut check = |holds: bool, otherwise| {
            if !holds {
                invalid.push(otherwise);
            }
            holds
        };
        let count = round_offsets.len();
        check(count < MAX_ROUNDS as usize, InvalidRetryPolicy::TooManyOffsets { count });
        let mut previous = Duration::ZERO;
        for (index, offset) in round_offsets.iter().enumerate() {
            let bounds = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
            if check(bounds.contains(offset), InvalidRetryPolicy::Offset { index }) {
                // in whole milliseconds, so that no two rounds are due at once
                check(millis(*offset) > millis(previous), InvalidRetryPolicy::NotAscending { index });
                previous = *offset;
            }
        }
        check((1..=MAX_ATTEMPTS_PER_ROUND).contains(&max_attempts_per_round), InvalidRetryPolicy::MaxAttemptsPerRound);
        let waits = Duration::from_millis(10)..=Duration::from_secs(2);
        check(waits.contains(&first_wait), InvalidRetryPolicy::FirstWait);
        check(round_time_limit <= Duration::from_secs(4), InvalidRetryPolicy::RoundTimeLimit);
        if !invalid.is_empty() {
            return Err(invalid);
        }
        Ok(Self {
            offsets_ms: round_offsets.iter().copied().map(millis).collect(),
            max_attempts_per_round,
            first_wait,
            round_time_limit,
        })
    }

    /// When the rounds after the first are due, from the opening of the window on, jitter apart.
    pub fn offsets(&self) -> impl Iterator<Item = Duration> {
        self.offsets_ms.iter().map(|offset| Duration::from_millis(offset.unsigned_abs()))
    }

    /// The wait before the second attempt of a round, jitter apart.
    #[must_use]
    pub fn first_wait(&self) -> Duration {
        self.first_wait
    }

    /// How many rounds there are, the first one included: 1 to [`MAX_ROUNDS`].
    #[must_use]
    pub fn rounds(&self) -> u32 {
        u32::try_from(self.offsets_ms.len()).map_or(MAX_ROUNDS, |repeats| repeats + 1)
    }

    /// How long the window is, from the first round on.
    #[must_use]
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.offsets_ms.last().copied().unwrap_or(0).unsigned_abs())
    }

    /// Attempts in one round, 1 to [`MAX_ATTEMPTS_PER_ROUND`].
    #[must_use]
    pub fn max_attempts_per_round(&self) -> u32 {
        self.max_attempts_per_round
    }

    /// No attempt begins later than this after its round began.
    #[must_use]
    pub fn round_time_limit(&self) -> Duration {
        self.round_time_limit
    }

    /// When the round at `position` (from 1) is due, in milliseconds since the epoch; `None` if there is no such round.
    ///
    /// The first one is due when the window opens. A later one has a jitter of ±10 % of the gap to the offset before it, the
    /// last one downward only, so that it does not leave the window; upward never beyond half of the gap to the next
    /// offset, so that due times ascend whatever the chances are. `unit_random`: 0 to 1.
    #[must_use]
    pub fn due(&self, position: u32, window_open_ms: i64, unit_random: f64) -> Option<i64> {
        let offset = self.offset(position)?;
        let previous = position.checked_sub(1).and_then(|before| self.offset(before)).unwrap_or(0);
        let most = (offset - previous) / 10;
        let jitter = match self.offset(position.saturating_add(1)) {
            Some(next) => scaled(most, 2.0 * unit(unit_random) - 1.0).min((next - offset) / 2),
            None => -scaled(most, unit(unit_random)),
        };
        Some(window_open_ms.saturating_add(offset + jitter))
    }

    /// The round that follows the one at `position`, which began at `began_ms` and has failed at `now_ms`; `None` if it was
    /// the last. `unit_random`: 0 to 1.
    ///
    /// Due times up to `began_ms` have merged into that round. Those since then and up to `now_ms` merge into one round, due
    /// now. Otherwise it is the next due time to come; chance alone never makes one missed.
    #[must_use]
    pub fn round_after(
        &self,
        position: u32,
        window_open_ms: i64,
        began_ms: i64,
        now_ms: i64,
        unit_random: f64,
    ) -> Option<NextRound> {
        let mut left = (position.saturating_add(1)..=self.rounds())
            .filter_map(|position| Some((position, window_open_ms.saturating_add(self.offset(position)?))))
            .filter(|(_, at_ms)| *at_ms > began_ms);
        if let Some((position, _)) = left.clone().take_while(|(_, at_ms)| *at_ms <= now_ms).last() {
            return Some(NextRound { position, due_ms: now_ms });
        }
        let (position, at_ms) = left.next()?;
        let due_ms = self.due(position, window_open_ms, unit_random).filter(|due_ms| *due_ms > now_ms);
        Some(NextRound { position, due_ms: due_ms.unwrap_or(at_ms) })
    }

    /// When the round at `position` (from 1) is due after the opening of the window, jitter apart, in milliseconds.
    fn offset(&self, position: u32) -> Option<i64> {
        match position.checked_sub(2) {
            Some(index) => self.offsets_ms.get(index as usize).copied(),
            None => (position == 1).then_some(0),
        }
    }

    /// The wait after the `attempt`th attempt (from 1) of a round: the first wait, doubled for each attempt before, times
    /// 0.5 to 1.5. `unit_random`: 0 to 1.
    #[must_use]
    pub fn quick_wait(&self, attempt: u32, unit_random: f64) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        doubled.mul_f64(0.5 + unit(unit_random))
    }
}

/// Chance as it should be, whatever came.
pub(crate) fn unit(unit_random: f64) -> f64 {
    if unit_random.is_nan() { 0.5 } else { unit_random.clamp(0.0, 1.0) }
}

/// `most × factor`, with `factor` within -1 to 1 and `most` at most a day: exact enough and never out of range.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
pub(crate) fn scaled(most: i64, factor: f64) -> i64 {
    (most as f64 * factor) as i64
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPEN: i64 = 1_795_435_200_000;
    const MINUTE: i64 = 60_000;

    fn policy(offsets_s: &[u64]) -> Result<RetryPolicy, Vec<InvalidRetryPolicy>> {
        let offsets: Vec<_> = offsets_s.iter().copied().map(Duration::from_secs).collect();
        RetryPolicy::new(&offsets, 3, Duration::from_millis(100), Duration::from_secs(4))
    }

    #[test]
    fn the_default_is_the_policy_that_users_know() {
        let policy = RetryPolicy::default();
        let due: Vec<_> = (1..=10).map(|position| policy.due(position, OPEN, 0.5).unwrap() - OPEN).collect();
        let jitter_of_last = 75 * MINUTE / 20;
        assert_eq!(
            due,
            [0, 1, 3, 7, 15, 30, 60, 105, 165]
                .map(|m| m * MINUTE)
                .into_iter()
                .chain([240 * MINUTE - jitter_of_last])
                .collect::<Vec<_>>()
        );
        assert_eq!(policy.due(0, OPEN, 0.5), None);
        assert_eq!(policy.due(11, OPEN, 0.5), None);
        assert_eq!(policy.rounds(), 10);
        assert_eq!(policy.window(), Duration::from_secs(4 * 3600));
        assert_eq!(
            RetryPolicy::new(
                &DEFAULT_OFFSETS_MIN.map(|m| Duration::from_secs(m * 60)),
                3,
                Duration::from_millis(100),
                Duration::from_secs(4)
            ),
            Ok(policy)
        );
    }

    #[test]
    fn jitter_is_a_tenth_of_the_gap_and_the_last_one_goes_downward_only() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.due(2, OPEN, 0.0), Some(OPEN + MINUTE - 6_000));
        assert_eq!(policy.due(2, OPEN, 1.0), Some(OPEN + MINUTE + 6_000));
        assert_eq!(policy.due(4, OPEN, 1.0), Some(OPEN + 7 * MINUTE + 24_000));
        assert_eq!(policy.due(10, OPEN, 0.0), Some(OPEN + 240 * MINUTE));
        assert_eq!(policy.due(10, OPEN, 1.0), Some(OPEN + 240 * MINUTE - 75 * MINUTE / 10));
    }

    #[test]
    fn quick_waits_double() {
        let policy = RetryPolicy::default();
        let waits = |random| [1, 2, 3].map(|attempt| policy.quick_wait(attempt, random).as_millis());
        assert_eq!(waits(0.0), [50, 100, 200]);
        assert_eq!(waits(0.5), [100, 200, 400]);
        assert_eq!(waits(1.0), [150, 300, 600]);
    }

    #[test]
    fn values_out_of_bounds_make_no_policy() {
        let invalid = |offsets_s: &[u64]| policy(offsets_s).unwrap_err();
        let ten: Vec<_> = (1..=10).collect();
        assert_eq!(invalid(&ten), [InvalidRetryPolicy::TooManyOffsets { count: 10 }]);
        assert_eq!(invalid(&[5, 0]), [InvalidRetryPolicy::Offset { index: 1 }]);
        assert_eq!(invalid(&[5, 86_401]), [InvalidRetryPolicy::Offset { index: 1 }]);
        assert_eq!(invalid(&[5, 5]), [InvalidRetryPolicy::NotAscending { index: 1 }]);
        assert_eq!(policy(&[]).unwrap().rounds(), 1);
        let second = Duration::from_secs(1);
        let new = |attempts, wait, limit| RetryPolicy::new(&[second], attempts, wait, limit).err().unwrap_or_default();
        assert_eq!(new(0, second, second), [InvalidRetryPolicy::MaxAttemptsPerRound]);
        assert_eq!(new(4, second, second), [InvalidRetryPolicy::MaxAttemptsPerRound]);
        assert_eq!(new(3, Duration::from_millis(9), second), [InvalidRetryPolicy::FirstWait]);
        assert_eq!(new(3, second * 3, second * 5), [InvalidRetryPolicy::FirstWait, InvalidRetryPolicy::RoundTimeLimit]);
        assert_eq!(new(1, second, Duration::ZERO), []);
    }

    proptest! {
        #[test]
        fn due_times_ascend_within_the_window_whatever_the_chances(
            gaps in prop::collection::vec(1_u64..9_000, 0..=9),
            chances in prop::array::uniform10(-0.5_f64..1.5),
        ) {
            let offsets: Vec<_> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let policy = policy(&offsets).unwrap();
            let mut previous = OPEN - 1;
            for (position, chance) in (1..=policy.rounds()).zip(chances) {
                let due = policy.due(position, OPEN, chance).unwrap();
                prop_assert!(due > previous);
                prop_assert!(due <= OPEN + millis(policy.window()));
                if position > 1 {
                    let index = position as usize - 2;
                    let offset = OPEN + millis(Duration::from_secs(offsets[index]));
                    prop_assert!((due - offset).abs() <= millis(Duration::from_secs(gaps[index])) / 10);
                }
                previous = due;
            }
        }
    }
}
