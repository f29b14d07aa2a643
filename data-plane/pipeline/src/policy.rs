//! `Sync.retry_policy` compiled.

use std::time::Duration;

use sluice_proto::sync::v1;

use crate::{
    duration,
    schedule::{InvalidRetryPolicy, RetryPolicy},
    violation::{Violations, reason},
};

/// The policy that `policy` describes, every field left empty with its default. If it is wrong: violations, and the default.
pub(crate) fn compile(policy: Option<&v1::RetryPolicy>, violations: &mut Violations) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(policy) = policy else {
        return default;
    };
    let offsets: Vec<Duration> = if policy.round_offsets.is_empty() {
        default.offsets().collect()
    } else {
        policy.round_offsets.iter().map(duration::from_proto).collect()
    };
    let max_attempts = match policy.max_attempts_per_round {
        0 => default.max_attempts_per_round(),
        // a negative count is out of bounds, as the count that takes its place is
        count => u32::try_from(count).unwrap_or(u32::MAX),
    };
    let first_wait = policy.first_wait.as_ref().map_or(default.first_wait(), duration::from_proto);
    let time_limit = policy.round_time_limit.as_ref().map_or(default.round_time_limit(), duration::from_proto);
    RetryPolicy::new(&offsets, max_attempts, first_wait, time_limit).unwrap_or_else(|all| {
        for invalid in all {
            let (field, reason) = field_and_reason(invalid);
            violations.add(format!("retry_policy.{field}"), reason, invalid.to_string());
        }
        default
    })
}

fn field_and_reason(invalid: InvalidRetryPolicy) -> (String, &'static str) {
    let offset = |index: usize| format!("round_offsets[{index}]");
    match invalid {
        InvalidRetryPolicy::TooManyOffsets { .. } => ("round_offsets".into(), reason::TOO_MANY),
        InvalidRetryPolicy::Offset { index } => (offset(index), reason::OUT_OF_RANGE),
        InvalidRetryPolicy::NotAscending { index } => (offset(index), reason::NOT_ASCENDING),
        InvalidRetryPolicy::MaxAttemptsPerRound => ("max_attempts_per_round".into(), reason::OUT_OF_RANGE),
        InvalidRetryPolicy::FirstWait => ("first_wait".into(), reason::OUT_OF_RANGE),
        InvalidRetryPolicy::RoundTimeLimit => ("round_time_limit".into(), reason::OUT_OF_RANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }

    fn compiled(policy: &v1::RetryPolicy) -> Result<RetryPolicy, Vec<(String, &'static str)>> {
        let mut violations = Violations::default();
        let policy = compile(Some(policy), &mut violations);
        let violations = violations.into_vec();
        if violations.is_empty() {
            return Ok(policy);
        }
        Err(violations.into_iter().map(|violation| (violation.field, violation.reason)).collect())
    }

    #[test]
    fn what_is_left_empty_has_its_default() {
        assert_eq!(compile(None, &mut Violations::default()), RetryPolicy::default());
        assert_eq!(compiled(&v1::RetryPolicy::default()), Ok(RetryPolicy::default()));
        let two_rounds = compiled(&v1::RetryPolicy { round_offsets: vec![seconds(30)], ..Default::default() }).unwrap();
        assert_eq!(two_rounds.rounds(), 2);
        assert_eq!(two_rounds.window(), Duration::from_secs(30));
        assert_eq!(two_rounds.max_attempts_per_round(), 3);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let wrong = v1::RetryPolicy {
            round_offsets: vec![seconds(10), seconds(10), seconds(0), seconds(-5), seconds(90_000)],
            max_attempts_per_round: -1,
            first_wait: Some(seconds(3)),
            round_time_limit: Some(seconds(-1)),
        };
        assert_eq!(
            compiled(&wrong).unwrap_err(),
            [
                ("retry_policy.round_offsets[1]".to_owned(), reason::NOT_ASCENDING),
                ("retry_policy.round_offsets[2]".to_owned(), reason::OUT_OF_RANGE),
                ("retry_policy.round_offsets[3]".to_owned(), reason::OUT_OF_RANGE),
                ("retry_policy.round_offsets[4]".to_owned(), reason::OUT_OF_RANGE),
                ("retry_policy.max_attempts_per_round".to_owned(), reason::OUT_OF_RANGE),
                ("retry_policy.first_wait".to_owned(), reason::OUT_OF_RANGE),
                ("retry_policy.round_time_limit".to_owned(), reason::OUT_OF_RANGE),
            ]
        );
        let too_many = v1::RetryPolicy { round_offsets: (1..=10).map(seconds).collect(), ..Default::default() };
        assert_eq!(compiled(&too_many).unwrap_err(), [("retry_policy.round_offsets".to_owned(), reason::TOO_MANY)]);
    }
}
