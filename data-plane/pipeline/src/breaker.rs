//! Whether a lane may make requests: stops it from hammering an endpoint that is down. One per lane; the node asks before it
//! begins a round and tells what came of it.
//!
//! ```text
//!            10 rounds in a row failed                     a probe begins
//!   Closed ────────────────────────────▶ Open ──────────────────────────────▶ Probing
//!      ▲                                  ▲   (waits 1 s, doubling to 60 s)      │ │
//!      │                                  └───────────── it failed, or was lost ─┘ │
//!      └──────────────────────────────────────── anything that shows life ─────────┘
//! ```
//!
//! A probe is a round of one delivery, made alone; it spends that round as any other does. While the breaker waits no round is
//! spent: due times that pass merge into one round, see [`crate::delivery`].
//!
//! All times are milliseconds of one clock that doesn't go back: the lane's, so that they can be compared with due times.

use std::time::Duration;

use crate::{
    delivery::heeded,
    outcome::Failure,
    schedule::{millis, scaled, unit},
};

/// So many rounds in a row must have failed for the breaker to open.
pub const OPENS_AFTER: u32 = 10;

/// The wait before the first probe; it doubles with each one that fails.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait before a probe.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The longest pause that a `Retry-After` makes for the whole lane. (For the delivery that was answered it counts up to the
/// end of its window.)
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A probe that has not ended after this is given up, and another one may be made. Longer than any round takes: its last
/// attempt begins within 4 s, and the longest time limit of an exchange is 60 s.
pub const PROBE_LIMIT: Duration = Duration::from_secs(120);

/// What a round says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sign {
    /// It is there: 2xx, and every status by which it chose to refuse this request (3xx, 4xx). Also a blocked address: nothing
    /// has left the node, so there is nobody to protect, and the delivery's own rounds deal with it.
    Life,
    /// It is down or overloaded: no answer at all (name, connection, TLS, time limit, broken HTTP), 5xx, 408 and 429.
    Down,
}

impl Sign {
    /// What the last exchange of a round says. One whose body could not be rendered says nothing: see [`Breaker::probe_lost`].
    #[must_use]
    pub fn of(result: &Result<u16, Failure>) -> Self {
        match *result {
            Ok(status) | Err(Failure::Status(status)) => match status {
                408 | 429 | 500..=599 => Self::Down,
                _ => Self::Life,
            },
            Err(Failure::BlockedAddress) => Self::Life,
            Err(_) => Self::Down,
        }
    }
}

/// Whether a round may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Yes.
    Go,
    /// One, as a probe: tell [`Breaker::probe_begins`] when it does.
    Probe,
    /// Not before this time; ask again then. Always later than now, by 5 minutes at most.
    Wait {
        /// In milliseconds.
        until_ms: i64,
    },
}

/// A round that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When it began: the time that was handed to [`Breaker::probe_begins`], if it was the probe.
    pub began_ms: i64,
    /// Whether it was made as a probe.
    pub probe: bool,
    /// What its last exchange came to.
    pub result: Result<u16, Failure>,
    /// `Retry-After` of the last response.
    pub retry_after: Option<Duration>,
}

/// The breaker of one lane. Nothing of it is stored: after a restart it learns anew.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    state: State,
    pause: Option<Span>,
    failed_probe_began_ms: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Rounds are made. Counts those that have failed in a row.
    Closed { failures: u32 },
    /// No rounds are made until `wait` is over. `last_ms` is the length of that wait, jitter apart.
    Open { wait: Span, last_ms: i64 },
    /// One round is under way, for the length of `probe` at most.
    Probing { probe: Span, last_ms: i64 },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a round may begin now. Asking changes nothing.
    #[must_use]
    pub fn may_start(&self, now_ms: i64) -> Permit {
        let (permit, wait) = match self.state {
            State::Closed { .. } => (Permit::Go, None),
            State::Open { wait, .. } => (Permit::Probe, wait.left(now_ms)),
            State::Probing { probe, .. } => (Permit::Probe, probe.left(now_ms)),
        };
        let pause = self.pause.and_then(|pause| pause.left(now_ms));
        wait.max(pause).map_or(permit, |until_ms| Permit::Wait { until_ms })
    }

    /// The round that [`Permit::Probe`] allowed begins.
    pub fn probe_begins(&mut self, now_ms: i64) {
        if let State::Open { last_ms, .. } | State::Probing { last_ms, .. } = self.state {
            self.state = State::Probing { probe: Span::new(now_ms, millis(PROBE_LIMIT)), last_ms };
        }
    }

    /// The probe came to nothing: the node stopped, the round broke off, or no request was made since its body could not be
    /// rendered. Another may be made at once.
    pub fn probe_lost(&mut self, began_ms: i64) {
        if let State::Probing { probe, last_ms } = self.state
            && probe.from_ms == began_ms
        {
            self.state = State::Open { wait: Span::new(began_ms, 0), last_ms };
        }
    }

    /// A round has ended, probe or not. `unit_random`: 0 to 1.
    ///
    /// Only the probe's failure makes the wait longer: rounds that were under way when the breaker opened have nothing more
    /// to say than what opened it. Life closes it, whoever shows it.
    pub fn on_outcome(&mut self, ended: &Ended, now_ms: i64, unit_random: f64) {
        if let Some(asked) = heeded(ended.result.ok(), ended.retry_after).filter(|asked| !asked.is_zero()) {
            let pause = Span::new(now_ms, millis(asked.min(LONGEST_PAUSE)));
            // the later end counts
            if self.pause.and_then(|pause| pause.left(now_ms)) < pause.left(now_ms) {
                self.pause = Some(pause);
            }
        }
        if Sign::of(&ended.result) == Sign::Life {
            self.state = State::default();
            self.failed_probe_began_ms = None;
            return;
        }
        match self.state {
            State::Closed { failures } if failures + 1 < OPENS_AFTER => {
                self.state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => self.open(now_ms, millis(FIRST_WAIT), unit_random),
            State::Probing { probe, last_ms } if ended.probe && probe.from_ms == ended.began_ms => {
                self.failed_probe_began_ms = Some(ended.began_ms);
                self.open(now_ms, last_ms.saturating_mul(2).min(millis(LONGEST_WAIT)), unit_random);
            }
            State::Open { .. } | State::Probing { .. } => {}
        }
    }

    /// Whether the endpoint counts as down: only probes are made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// When the newest probe that has failed began; `None` while the breaker is closed, and before the first. Deliveries that
    /// were due by then may end without another request, see
    /// [`crate::delivery::DeliveryState::may_expire_without_request`].
    #[must_use]
    pub fn failed_probe_began_ms(&self) -> Option<i64> {
        self.failed_probe_began_ms
    }

    /// The wait is 0.5 to 1 times `wait_ms`, so that lanes with one endpoint don't all come back at once.
    fn open(&mut self, now_ms: i64, wait_ms: i64, unit_random: f64) {
        let jittered = scaled(wait_ms, 0.5 + unit(unit_random) / 2.0);
        self.state = State::Open { wait: Span::new(now_ms, jittered), last_ms: wait_ms };
    }
}

/// A span of time: a wait with a beginning, so that a clock that is before it doesn't make it longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from_ms: i64,
    until_ms: i64,
}

impl Span {
    fn new(from_ms: i64, length_ms: i64) -> Self {
        Self { from_ms, until_ms: from_ms.saturating_add(length_ms) }
    }

    /// When it ends, if now is within it.
    fn left(self, now_ms: i64) -> Option<i64> {
        (self.from_ms..self.until_ms).contains(&now_ms).then_some(self.until_ms)
    }
}
