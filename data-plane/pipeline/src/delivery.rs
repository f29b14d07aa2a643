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
    /// Where in the schedule the next round stands, or the one under way: 1 to [`crate::schedule::MAX_ROUNDS`]. Due times that
    /// were missed are jumped over.
    pub position: u32,
    /// The number of the next round, or of the one under way, from 1: counts the rounds that were made, over all schedules.
    pub round: u32,
    /// When the first round of this schedule began, in milliseconds since the epoch; `None` before it.
    pub window_open_ms: Option<i64>,
    /// Attempts made in this schedule.
    pub attempts: u32,
    /// When the round under way began, in milliseconds since the epoch; `None` between rounds.
    pub round_began_ms: Option<i64>,
    /// Attempts made in the round under way; 0 between rounds.
    pub round_attempts: u32,
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
        /// When it is due, in milliseconds since the epoch; never before now.
        due_ms: i64,
    },
    /// All rounds are used up: a dead letter.
    Expired,
}

impl DeliveryState {
    /// A new delivery: the first round of the first schedule, due at once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            schedule: 1,
            position: 1,
            round: 1,
            window_open_ms: None,
            attempts: 0,
            round_began_ms: None,
            round_attempts: 0,
        }
    }

    /// The same delivery with a fresh schedule, due at once. The numbers of its rounds go on.
    #[must_use]
    pub fn redelivered(self) -> Self {
        // a round that was under way when the delivery ended has used its number
        let used = u32::from(self.round_began_ms.is_some());
        Self { schedule: self.schedule.saturating_add(1), round: self.round.saturating_add(used), ..Self::new() }
    }

    /// What comes after a round that failed, by the policy in force now. Call it once for each round that is over, with the
    /// `Retry-After` of the last response if that was a 429 or 503. `unit_random`: 0 to 1.
    ///
    /// Due times that had passed when the round began have merged into it; those that passed while it was under way merge
    /// into one round that is due at once. Otherwise the next one is the first that is still to come. `retry_after` moves it
    /// back, at most to the end of the window. If none is left, the delivery expires.
    pub fn after_round(
        &mut self,
        policy: &RetryPolicy,
        now_ms: i64,
        retry_after: Option<Duration>,
        unit_random: f64,
    ) -> Next {
        let began_ms = self.round_began_ms.take().map_or(now_ms, |began_ms| began_ms.min(now_ms));
        let open_ms = *self.window_open_ms.get_or_insert(began_ms);
        self.round = self.round.saturating_add(1);
        self.round_attempts = 0;
        let Some(next) = policy.round_after(self.position, open_ms, began_ms, now_ms, unit_random) else {
            return Next::Expired;
        };
        self.position = next.position;
        let asked_ms = now_ms.saturating_add(retry_after.map_or(0, millis));
        let end_ms = open_ms.saturating_add(millis(policy.window()));
        Next::Again { due_ms: next.due_ms.max(asked_ms.min(end_ms)) }
    }

    /// Whether the delivery, which waits since `due_ms`, may end as expired because its endpoint is down, without the round
    /// that it waits for: it has made a request of its own in this schedule, its window has passed, and a probe that began
    /// since `due_ms` has failed. `probe_began_ms`: when the newest failed probe began, see
    /// [`crate::breaker::Breaker::failed_probe_began_ms`]. All times are of the lane's clock.
    #[must_use]
    pub fn may_expire_without_request(
        &self,
        policy: &RetryPolicy,
        due_ms: i64,
        now_ms: i64,
        probe_began_ms: Option<i64>,
    ) -> bool {
        let passed =
            self.window_open_ms.is_some_and(|open_ms| open_ms.saturating_add(millis(policy.window())) <= now_ms);
        self.attempts > 0 && passed && probe_began_ms.is_some_and(|began_ms| due_ms <= began_ms)
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

/// A round under way. It keeps count in its delivery's state, so that a round which was broken off between two attempts goes on
/// where it stood.
#[derive(Debug)]
pub struct Round<'s> {
    state: &'s mut DeliveryState,
    began_ms: i64,
}

impl<'s> Round<'s> {
    /// Begins the round that `state` names, or takes it up again if attempts of it were made before. The first one opens the
    /// window.
    pub fn begin(state: &'s mut DeliveryState, now_ms: i64) -> Round<'s> {
        // a clock that went back makes no round longer
        let began_ms = state.round_began_ms.filter(|_| state.round_attempts > 0).unwrap_or(now_ms).min(now_ms);
        state.round_began_ms = Some(began_ms);
        state.window_open_ms.get_or_insert(began_ms);
        Round { state, began_ms }
    }

    /// The number of the attempt that is to be made or under way, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.state.round_attempts.saturating_add(1)
    }

    /// The delivery's state with the attempts made so far.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        *self.state
    }

    /// Whether the attempt may begin now; ask before each one. The first one always may. A later one may not once the
    /// round's time limit has passed or its attempts are used up, by a wait that took longer than it should, a restart, or a
    /// policy that was changed: the round is over then, ask [`DeliveryState::after_round`].
    #[must_use]
    pub fn may_begin_attempt(&self, policy: &RetryPolicy, now_ms: i64) -> bool {
        let made = self.state.round_attempts;
        made == 0 || (made < policy.max_attempts_per_round() && now_ms <= self.latest_ms(policy))
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
        self.state.round_attempts = self.state.round_attempts.saturating_add(1);
        let made = self.state.round_attempts;
        match class {
            Class::Delivered => return Step::Delivered,
            Class::RetryNextRound => return Step::RoundOver,
            Class::RetryInRound => {}
        }
        if made >= policy.max_attempts_per_round() {
            return Step::RoundOver;
        }
        let wait = policy.quick_wait(made, unit_random);
        if heeded(status, retry_after).is_some_and(|asked| asked > wait) {
            return Step::RoundOver;
        }
        let at_ms = now_ms.saturating_add(millis(wait));
        if at_ms > self.latest_ms(policy) {
            return Step::RoundOver;
        }
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
