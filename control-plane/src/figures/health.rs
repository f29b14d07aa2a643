//! Whether a sync's requests succeed: since when not, and why.

use sluice_proto::{
    delivery::v1::{Attempt, AttemptError},
    sync::v1::{FailureReason, HealthState, SyncHealth},
};

use crate::{
    error::shorten,
    time::{millis, timestamp},
};

/// How many different reasons are told.
const REASONS: usize = 5;
const MAX_MESSAGE: usize = 200;

/// What a sync's attempts tell of its health. A batch of them may come late, and in any order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    last_success_ms: Option<i64>,
    /// When each failure began, and what it was.
    failures: Vec<(i64, FailureReason)>,
}

impl Signs {
    /// Adds an attempt with a 2xx, which began at `start_ms`.
    pub(crate) fn success(&mut self, start_ms: i64) {
        self.last_success_ms = self.last_success_ms.max(Some(start_ms));
    }

    /// Adds another one.
    pub(crate) fn failure(&mut self, attempt: &Attempt, start_ms: i64) {
        self.failures.push((start_ms, reason(attempt, start_ms)));
    }

    /// Adds what others tell.
    pub(crate) fn merge(&mut self, other: Self) {
        self.last_success_ms = self.last_success_ms.max(other.last_success_ms);
        self.failures.extend(other.failures);
        // A success has ended those before it.
        let last_success_ms = self.last_success_ms;
        self.failures.retain(|(at_ms, _)| last_success_ms.is_none_or(|success_ms| *at_ms > success_ms));
    }

    /// What is known of a sync after these, of which `before` was known.
    pub(crate) fn after(mut self, before: &SyncHealth) -> SyncHealth {
        let success_before = before.last_success_time.as_ref().map(|time| millis(Some(time)));
        let last_success_ms = self.last_success_ms.max(success_before);
        let counts = |at_ms: i64| last_success_ms.is_none_or(|success_ms| at_ms > success_ms);
        self.failures.retain(|(at_ms, _)| counts(*at_ms));
        let since_before = before.failing_since.as_ref().map(|time| millis(Some(time))).filter(|at_ms| counts(*at_ms));
        let first = self.failures.iter().map(|(at_ms, _)| *at_ms).min();
        let mut reasons: Vec<_> =
            before.reasons.iter().filter(|one| counts(millis(one.last_time.as_ref()))).cloned().collect();
        // A success that came late: of the failures since, those are known that were the newest of their reasons.
        let known = reasons.iter().map(|one| millis(one.last_time.as_ref())).min();
        let failing_since_ms = [since_before, first, known].into_iter().flatten().min();
        for (at_ms, reason) in self.failures {
            match reasons.iter_mut().find(|one| one.reason == reason.reason) {
                Some(known) => {
                    known.count += 1;
                    if at_ms >= millis(known.last_time.as_ref()) {
                        (known.last_time, known.message) = (reason.last_time, reason.message);
                    }
                }
                None => reasons.push(reason),
            }
        }
        reasons.sort_by_key(|one| std::cmp::Reverse(millis(one.last_time.as_ref())));
        reasons.truncate(REASONS);
        let state = match (failing_since_ms, last_success_ms) {
            (Some(_), _) => HealthState::Failing,
            (None, Some(_)) => HealthState::Healthy,
            (None, None) => HealthState::Unspecified,
        };
        SyncHealth {
            state: state.into(),
            last_success_time: last_success_ms.map(timestamp),
            failing_since: failing_since_ms.map(timestamp),
            reasons,
        }
    }
}

fn reason(attempt: &Attempt, start_ms: i64) -> FailureReason {
    let error = AttemptError::try_from(attempt.error).unwrap_or(AttemptError::Unspecified);
    let reason = match error {
        AttemptError::Status => format!("HTTP {}", attempt.http_status),
        error => error.as_str_name().trim_start_matches("ATTEMPT_ERROR_").to_owned(),
    };
    let message = shorten(&attempt.error_message, MAX_MESSAGE);
    FailureReason { reason, message, last_time: Some(timestamp(start_ms)), count: 1 }
}

#[cfg(test)]
mod tests {
    use sluice_proto::delivery::v1::AttemptOutcome;

    use super::*;

    fn failed(status: i32) -> Attempt {
        let (outcome, error) = (AttemptOutcome::RetryNow.into(), AttemptError::Status.into());
        Attempt { outcome, error, http_status: status, ..Attempt::default() }
    }

    fn delivered() -> Attempt {
        Attempt { outcome: AttemptOutcome::Delivered.into(), ..Attempt::default() }
    }

    fn after(before: &SyncHealth, attempts: &[(Attempt, i64)]) -> SyncHealth {
        let mut signs = Signs::default();
        for (attempt, start_ms) in attempts {
            match attempt.outcome() {
                AttemptOutcome::Delivered => signs.success(*start_ms),
                _ => signs.failure(attempt, *start_ms),
            }
        }
        signs.after(before)
    }

    fn told(health: &SyncHealth) -> (HealthState, i64, Vec<(&str, i64)>) {
        let reasons = health.reasons.iter().map(|one| (one.reason.as_str(), one.count));
        (health.state(), millis(health.failing_since.as_ref()), reasons.collect())
    }

    #[test]
    fn it_fails_from_its_first_failure_after_the_last_success_on() {
        let health = after(&SyncHealth::default(), &[(delivered(), 10), (failed(500), 20), (failed(503), 30)]);
        assert_eq!(told(&health), (HealthState::Failing, 20, vec![("HTTP 503", 1), ("HTTP 500", 1)]));
        let health = after(&health, &[(failed(500), 40)]);
        assert_eq!(told(&health), (HealthState::Failing, 20, vec![("HTTP 500", 2), ("HTTP 503", 1)]));
        let health = after(&health, &[(delivered(), 50)]);
        assert_eq!(told(&health), (HealthState::Healthy, 0, vec![]));
    }

    #[test]
    fn what_comes_late_counts_where_it_belongs() {
        let health = after(&SyncHealth::default(), &[(failed(500), 30)]);
        let health = after(&health, &[(failed(502), 20), (delivered(), 10)]);
        assert_eq!(told(&health).1, 20);
        let health = after(&health, &[(delivered(), 25)]);
        assert_eq!(told(&health), (HealthState::Failing, 30, vec![("HTTP 500", 1)]));
    }

    #[test]
    fn without_an_attempt_nothing_is_known() {
        assert_eq!(told(&after(&SyncHealth::default(), &[])).0, HealthState::Unspecified);
    }
}
