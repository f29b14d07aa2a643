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

    #[test]
    fn bounds_are_inclusive() {
        let millis = |ms: i32| prost_types::Duration { seconds: i64::from(ms / 1000), nanos: ms % 1000 * 1_000_000 };
        let policy = |offsets: Vec<_>, attempts, wait_ms, limit_ms| v1::RetryPolicy {
            round_offsets: offsets,
            max_attempts_per_round: attempts,
            first_wait: Some(millis(wait_ms)),
            round_time_limit: Some(millis(limit_ms)),
        };
        let least = compiled(&policy(vec![seconds(1)], 1, 10, 0)).unwrap();
        assert_eq!((least.rounds(), least.max_attempts_per_round()), (2, 1));
        assert_eq!((least.first_wait(), least.round_time_limit()), (Duration::from_millis(10), Duration::ZERO));
        let most = compiled(&policy((1..=9).map(|day| seconds(9_600 * day)).collect(), 3, 2_000, 4_000)).unwrap();
        assert_eq!((most.rounds(), most.window()), (10, Duration::from_secs(86_400)));
        let beyond = compiled(&policy(vec![millis(999), millis(86_400_001)], 4, 9, 4_001)).unwrap_err();
        assert_eq!(
            beyond,
            ["round_offsets[0]", "round_offsets[1]", "max_attempts_per_round", "first_wait", "round_time_limit"]
                .map(|field| (format!("retry_policy.{field}"), reason::OUT_OF_RANGE))
        );
    }

    #[test]
    fn offsets_that_differ_by_less_than_a_millisecond_are_one() {
        let nanos = |nanos| prost_types::Duration { seconds: 5, nanos };
        let wrong = v1::RetryPolicy { round_offsets: vec![nanos(100), nanos(900_000)], ..Default::default() };
        let field = "retry_policy.round_offsets[1]".to_owned();
        assert_eq!(compiled(&wrong).unwrap_err(), [(field, reason::NOT_ASCENDING)]);
    }

    #[test]
    fn durations_that_are_none_are_named_and_break_nothing() {
        let hostile = [
            (i64::MIN, 0),
            (i64::MIN, i32::MIN),
            (i64::MAX, i32::MAX),
            (-1, 0),
            (0, -1),
            (5, -1),
            (1, 1_000_000_000),
            (86_401, 0),
        ];
        for (seconds, nanos) in hostile {
            let duration = prost_types::Duration { seconds, nanos };
            let wrong = v1::RetryPolicy {
                round_offsets: vec![duration],
                max_attempts_per_round: i32::MIN,
                first_wait: Some(duration),
                round_time_limit: Some(duration),
            };
            assert_eq!(
                compiled(&wrong).unwrap_err(),
                ["round_offsets[0]", "max_attempts_per_round", "first_wait", "round_time_limit"]
                    .map(|field| (format!("retry_policy.{field}"), reason::OUT_OF_RANGE)),
                "{seconds} {nanos}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn a_policy_is_valid_or_every_fault_has_its_field(
            offsets: Vec<(i64, i32)>,
            max_attempts_per_round: i32,
            wait: Option<(i64, i32)>,
            limit: Option<(i64, i32)>,
        ) {
            let duration = |(seconds, nanos)| prost_types::Duration { seconds, nanos };
            let policy = v1::RetryPolicy {
                round_offsets: offsets.iter().copied().map(duration).collect(),
                max_attempts_per_round,
                first_wait: wait.map(duration),
                round_time_limit: limit.map(duration),
            };
            match compiled(&policy) {
                Ok(policy) => {
                    proptest::prop_assert!((1..=10).contains(&policy.rounds()));
                    proptest::prop_assert!((1..=3).contains(&policy.max_attempts_per_round()));
                }
                Err(faults) => {
                    proptest::prop_assert!(!faults.is_empty());
                    proptest::prop_assert!(faults.iter().all(|(field, _)| field.starts_with("retry_policy.")));
                }
            }
        }
    }
}
