//! A delivery's way through its rounds and attempts: a state machine without timers. The node makes the requests and waits;
//! what comes back here says what to do next.
//!
//! ```text
//! Round::begin ─▶ request ─▶ Round::after_attempt ─▶ Delivered
//!                    ▲               │
//!                    └── RetryAt ◀───┤
//!                                    └─▶ RoundOver ─▶ DeliveryState::after_round ─▶ Again (a new round, when due)
//!                                                                               └─▶ Expired
//! ```

use std::time::Duration;

use crate::{
    outcome::Class,
    schedule::{RetryPolicy, millis},
};

/// Where an open delivery stands: plain data for a row of the spool. The delivery can be taken up from it at any point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryState {
    /// Which schedule this is, from 1; redelivering starts another.
    pub schedule: u32,
    /// The round to make next, or under way: its position in the schedule, from 1.
    pub round: u32,
    /// When the first round of this schedule began, in milliseconds since the epoch; `None` before it.
    pub window_open_ms: Option<i64>,
    /// Attempts made in this schedule.
    pub attempts: u32,
}

impl Default for DeliveryState {
    fn default() -> Self {
        Self::new()
    }
}

/// What comes after a round that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another round; the state holds its position.
    Again {
        /// When it is due, in milliseconds since the epoch.
        due_ms: i64,
    },
    /// All rounds are used up: a dead letter.
    Expired,
}

impl DeliveryState {
    /// A new delivery: the first round of the first schedule, due at once.
    #[must_use]
    pub fn new() -> Self {
        Self { schedule: 1, round: 1, window_open_ms: None, attempts: 0 }
    }

    /// The same delivery with a fresh schedule.
    #[must_use]
    pub fn redelivered(self) -> Self {
        Self { schedule: self.schedule.saturating_add(1), ..Self::new() }
    }

    /// What comes after a round that failed, by the policy in force now. Call it once for each round that is over, with the
    /// `Retry-After` of the last response if that was a 429 or 503. `unit_random`: 0 to 1.
    ///
    /// The next round is the first one whose due time is still to come: those that were missed have merged into the one
    /// just made. `retry_after` moves it back, at most to the end of the window. If none is to come, the delivery expires.
    pub fn after_round(
        &mut self,
        policy: &RetryPolicy,
        now_ms: i64,
        retry_after: Option<Duration>,
        unit_random: f64,
    ) -> Next {
        let open_ms = *self.window_open_ms.get_or_insert(now_ms);
        let later = self.round.saturating_add(1)..=policy.rounds();
        let next = later
            .filter_map(|position| Some((position, policy.due(position, open_ms, unit_random)?)))
            .find(|(_, due_ms)| *due_ms > now_ms);
        let Some((position, due_ms)) = next else {
            return Next::Expired;
        };
        let end_ms = open_ms.saturating_add(millis(policy.window()));
        let asked_ms = now_ms.saturating_add(retry_after.map_or(0, millis));
        self.round = position;
        Next::Again { due_ms: due_ms.max(asked_ms.min(end_ms)) }
    }
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The delivery is done.
    Delivered,
    /// Another attempt in this round.
    RetryAt {
        /// When, in milliseconds since the epoch.
        at_ms: i64,
    },
    /// No more attempts in this round: ask [`DeliveryState::after_round`].
    RoundOver,
}

/// A round under way. It counts the attempts in its delivery's state.
#[derive(Debug)]
pub struct Round<'s> {
    state: &'s mut DeliveryState,
    began_ms: i64,
    attempt: u32,
}

impl<'s> Round<'s> {
    /// Begins the round that `state` names; the first one opens the window.
    pub fn begin(state: &'s mut DeliveryState, now_ms: i64) -> Round<'s> {
        state.window_open_ms.get_or_insert(now_ms);
        Round { state, began_ms: now_ms, attempt: 1 }
    }

    /// The number of the attempt that is to be made or under way, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The delivery's state with the attempts made so far.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        *self.state
    }

    /// Whether an attempt may still begin now: a retry whose wait took longer than it should may not, once the round's time
    /// limit has passed; the round is over then. The first attempt always may.
    #[must_use]
    pub fn may_begin_attempt(&self, policy: &RetryPolicy, now_ms: i64) -> bool {
        self.attempt == 1 || now_ms <= self.latest_ms(policy)
    }

    /// What comes after the attempt that has just ended as `class`, with `status` if there was a response and what its
    /// `Retry-After` said. `unit_random`: 0 to 1.
    ///
    /// Only 5xx and 429 are tried again within the round, up to the policy's attempts and time limit. A `Retry-After` on 429
    /// or 503 that is longer than the next wait ends the round.
    pub fn after_attempt(
        &mut self,
        policy: &RetryPolicy,
        class: Class,
        status: Option<u16>,
        retry_after: Option<Duration>,
        now_ms: i64,
        unit_random: f64,
    ) -> Step {
        self.state.attempts = self.state.attempts.saturating_add(1);
        match class {
            Class::Delivered => return Step::Delivered,
            Class::RetryNextRound => return Step::RoundOver,
            Class::RetryInRound => {}
        }
        if self.attempt >= policy.max_attempts_per_round() {
            return Step::RoundOver;
        }
        let wait = policy.quick_wait(self.attempt, unit_random);
        if heeded(status, retry_after).is_some_and(|asked| asked > wait) {
            return Step::RoundOver;
        }
        let at_ms = now_ms.saturating_add(millis(wait));
        if at_ms > self.latest_ms(policy) {
            return Step::RoundOver;
        }
        self.attempt += 1;
        Step::RetryAt { at_ms }
    }

    fn latest_ms(&self, policy: &RetryPolicy) -> i64 {
        self.began_ms.saturating_add(millis(policy.round_time_limit()))
    }
}

/// The `Retry-After` that counts: only that of a 429 or 503.
#[must_use]
pub fn heeded(status: Option<u16>, retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.filter(|_| matches!(status, Some(429 | 503)))
}
