//! The state machine, driven as the node drives it.

use std::time::Duration;

use proptest::prelude::*;
use sluice_pipeline::{
    delivery::{DeliveryState, Next, Round, Step},
    outcome::{Class, Failure, classify},
    schedule::RetryPolicy,
};

const NOW: i64 = 1_795_435_200_000;
const MINUTE: i64 = 60_000;
const EVEN: f64 = 0.5;

type Outcome = Result<u16, Failure>;

/// What a whole delivery came to, by an endpoint that always answers alike and at once.
fn deliver(policy: &RetryPolicy, outcome: Outcome) -> (Vec<(u32, i64)>, DeliveryState) {
    let mut state = DeliveryState::new();
    let mut now_ms = NOW;
    let mut attempts = Vec::new();
    loop {
        let mut round = Round::begin(&mut state, now_ms);
        loop {
            attempts.push((round.state().round, now_ms - NOW));
            match round.after_attempt(policy, classify(&outcome), outcome.ok(), None, now_ms, EVEN) {
                Step::Delivered => return (attempts, state),
                Step::RetryAt { at_ms } => now_ms = at_ms,
                Step::RoundOver => break,
            }
        }
        match state.after_round(policy, now_ms, None, EVEN) {
            Next::Again { due_ms } => now_ms = due_ms,
            Next::Expired => return (attempts, state),
        }
    }
}

fn failed_round(state: &mut DeliveryState, policy: &RetryPolicy, now_ms: i64) -> Next {
    let mut round = Round::begin(state, now_ms);
    let step = round.after_attempt(policy, Class::RetryNextRound, Some(400), None, now_ms, EVEN);
    assert_eq!(step, Step::RoundOver);
    state.after_round(policy, now_ms, None, EVEN)
}

#[test]
fn an_endpoint_that_takes_the_event_gets_one_request() {
    let (attempts, state) = deliver(&RetryPolicy::default(), Ok(204));
    assert_eq!(attempts, [(1, 0)]);
    assert_eq!(state.attempts, 1);
}

#[test]
fn an_endpoint_that_always_answers_500_gets_thirty_requests_in_ten_rounds() {
    let (attempts, state) = deliver(&RetryPolicy::default(), Ok(500));
    assert_eq!((attempts.len(), state.attempts, state.round), (30, 30, 10));
    let starts: Vec<_> = attempts.iter().step_by(3).map(|(_, at)| *at).collect();
    let minutes = [0, 1, 3, 7, 15, 30, 60, 105, 165].map(|minutes| minutes * MINUTE);
    assert_eq!(starts[..9], minutes);
    assert!((236 * MINUTE..=240 * MINUTE).contains(&starts[9]));
    assert_eq!(attempts[..3], [(1, 0), (1, 100), (1, 300)]);
}

#[test]
fn other_failures_get_one_request_a_round() {
    for outcome in [Ok(400), Ok(301), Err(Failure::Timeout), Err(Failure::Dns), Err(Failure::BlockedAddress)] {
        let (attempts, state) = deliver(&RetryPolicy::default(), outcome);
        assert_eq!((attempts.len(), state.attempts), (10, 10), "{outcome:?}");
        assert_eq!(attempts[1], (2, MINUTE));
    }
}

#[test]
fn no_attempt_begins_later_than_the_time_limit_of_the_round() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState::new();
    let mut round = Round::begin(&mut state, NOW);
    // the first request took so long that the next wait would just reach the limit, or pass it
    let step = |round: &mut Round<'_>, ended_ms| {
        round.after_attempt(&policy, Class::RetryInRound, Some(500), None, ended_ms, EVEN)
    };
    assert_eq!(step(&mut round, NOW + 3_901), Step::RoundOver);
    assert_eq!(step(&mut round, NOW + 3_900), Step::RetryAt { at_ms: NOW + 4_000 });
    assert!(round.may_begin_attempt(&policy, NOW + 4_000));
    assert!(!round.may_begin_attempt(&policy, NOW + 4_001), "the wait took longer than it should");
}

#[test]
fn a_retry_after_that_is_longer_than_the_next_wait_ends_the_round_on_429_and_503_only() {
    let policy = RetryPolicy::default();
    for (status, asked_ms, over) in
        [(503, 101, true), (429, 101, true), (503, 100, false), (500, 60_000, false), (502, 60_000, false)]
    {
        let mut state = DeliveryState::new();
        let mut round = Round::begin(&mut state, NOW);
        let asked = Some(Duration::from_millis(asked_ms));
        let step = round.after_attempt(&policy, Class::RetryInRound, Some(status), asked, NOW, EVEN);
        assert_eq!(step == Step::RoundOver, over, "{status} {asked_ms}");
    }
}

#[test]
fn a_retry_after_moves_the_next_round_at_most_to_the_end_of_the_window() {
    let policy = RetryPolicy::default();
    let after = |asked_s| {
        let mut state = DeliveryState::new();
        Round::begin(&mut state, NOW);
        let next = state.after_round(&policy, NOW, Some(Duration::from_secs(asked_s)), EVEN);
        (next, state.round)
    };
    assert_eq!(after(5), (Next::Again { due_ms: NOW + MINUTE }, 2), "sooner than the round is due anyway");
    assert_eq!(after(90), (Next::Again { due_ms: NOW + 90_000 }, 2));
    for hostile in [5 * 3600, u64::MAX] {
        assert_eq!(after(hostile), (Next::Again { due_ms: NOW + 240 * MINUTE }, 2));
    }

    let mut state = DeliveryState { round: 2, window_open_ms: Some(NOW), ..DeliveryState::new() };
    assert_eq!(
        failed_round(&mut state, &policy, NOW + 62 * MINUTE),
        Next::Again { due_ms: NOW + 105 * MINUTE },
        "the rounds that it jumped over are spent by it"
    );
    assert_eq!(state.round, 8);
}

#[test]
fn missed_rounds_merge_into_the_one_that_is_made_late() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState { round: 3, window_open_ms: Some(NOW), ..DeliveryState::new() };
    // down from minute 2 until minute 40
    assert_eq!(failed_round(&mut state, &policy, NOW + 40 * MINUTE), Next::Again { due_ms: NOW + 60 * MINUTE });
    assert_eq!(state.round, 7);
}

#[test]
fn nothing_expires_without_a_request_however_late_it_is() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState { round: 3, window_open_ms: Some(NOW), ..DeliveryState::new() };
    let next_day = NOW + 24 * 60 * MINUTE;
    let mut round = Round::begin(&mut state, next_day);
    assert_eq!(round.attempt(), 1);
    assert!(round.may_begin_attempt(&policy, next_day));
    assert_eq!(
        round.after_attempt(&policy, Class::RetryInRound, Some(500), None, next_day, EVEN),
        Step::RetryAt { at_ms: next_day + 100 }
    );
    assert_eq!(state.after_round(&policy, next_day, None, EVEN), Next::Expired);
}

#[test]
fn the_window_opens_with_the_first_round_not_with_the_event() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState::new();
    assert_eq!(state.window_open_ms, None);
    let late = NOW + 500 * MINUTE;
    assert_eq!(failed_round(&mut state, &policy, late), Next::Again { due_ms: late + MINUTE });
    assert_eq!(state.window_open_ms, Some(late));
}

#[test]
fn the_policy_in_force_when_a_round_fails_decides_the_next() {
    let short =
        RetryPolicy::new(&[Duration::from_secs(2 * 3600)], 1, Duration::from_millis(100), Duration::from_secs(4))
            .unwrap();
    let mut state = DeliveryState { round: 5, window_open_ms: Some(NOW), ..DeliveryState::new() };
    assert_eq!(failed_round(&mut state, &short, NOW + 15 * MINUTE), Next::Expired);
    let mut state = DeliveryState { round: 1, window_open_ms: None, ..DeliveryState::new() };
    assert!(matches!(failed_round(&mut state, &short, NOW), Next::Again { due_ms } if due_ms > NOW + 100 * MINUTE));
}

#[test]
fn a_redelivered_dead_letter_has_a_fresh_schedule() {
    let (_, state) = deliver(&RetryPolicy::default(), Ok(500));
    assert_eq!(state.redelivered(), DeliveryState { schedule: 2, ..DeliveryState::new() });
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Ok(500)),
        Just(Ok(503)),
        Just(Ok(429)),
        Just(Ok(400)),
        Just(Err(Failure::Connect)),
        Just(Err(Failure::Timeout)),
    ]
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let gaps = prop::collection::vec(1_u64..9_000, 0..=9);
    (gaps, 1_u32..=3, 10_u64..=2_000, 0_u64..=4_000).prop_map(|(gaps, attempts, wait_ms, limit_ms)| {
        let offsets: Vec<_> = gaps
            .into_iter()
            .scan(Duration::ZERO, |at, gap| {
                *at += Duration::from_secs(gap);
                Some(*at)
            })
            .collect();
        RetryPolicy::new(&offsets, attempts, Duration::from_millis(wait_ms), Duration::from_millis(limit_ms)).unwrap()
    })
}

#[derive(Clone, Debug)]
struct Turn {
    outcome: Outcome,
    took_ms: i64,
    late_ms: i64,
    retry_after: Option<Duration>,
    chance: f64,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (
        outcomes(),
        prop_oneof![4 => 0_i64..500, 1 => 0_i64..60_000],
        prop_oneof![4 => 0_i64..50, 1 => 0_i64..7_200_000],
        prop::option::weighted(0.2, (0_u64..100_000_000).prop_map(Duration::from_millis)),
        -0.1_f64..1.1,
    )
        .prop_map(|(outcome, took_ms, late_ms, retry_after, chance)| Turn {
            outcome,
            took_ms,
            late_ms,
            retry_after,
            chance,
        });
    prop::collection::vec(turn, 40)
}

proptest! {
    #[test]
    fn every_failing_delivery_ends_within_its_bounds(policy in policies(), turns in turns()) {
        let mut turns = turns.into_iter().cycle();
        let mut state = DeliveryState::new();
        let mut now_ms = NOW;
        let mut rounds = 0;
        let mut attempts = 0;
        loop {
            let began_ms = now_ms;
            rounds += 1;
            let mut round = Round::begin(&mut state, began_ms);
            let mut last;
            loop {
                attempts += 1;
                prop_assert!(round.attempt() <= policy.max_attempts_per_round());
                prop_assert!(now_ms - began_ms <= 4_000);
                last = turns.next().unwrap();
                now_ms += last.took_ms;
                let (class, status) = (classify(&last.outcome), last.outcome.ok());
                match round.after_attempt(&policy, class, status, last.retry_after, now_ms, last.chance) {
                    Step::Delivered => prop_assert!(false, "nothing was delivered"),
                    Step::RoundOver => break,
                    Step::RetryAt { at_ms } => {
                        prop_assert_eq!(class, Class::RetryInRound);
                        prop_assert!(at_ms > now_ms);
                        now_ms = at_ms;
                    }
                }
            }
            let position = state.round;
            match state.after_round(&policy, now_ms, last.retry_after, last.chance) {
                Next::Expired => break,
                Next::Again { due_ms } => {
                    prop_assert!(due_ms > now_ms);
                    prop_assert!(due_ms <= NOW + i64::try_from(policy.window().as_millis()).unwrap());
                    prop_assert!(state.round > position && state.round <= policy.rounds());
                    now_ms = due_ms + last.late_ms;
                }
            }
        }
        prop_assert_eq!(state.attempts, attempts);
        prop_assert!(rounds <= policy.rounds() && attempts <= 30);
    }

    #[test]
    fn a_punctual_failing_delivery_makes_every_round(policy in policies()) {
        let mut state = DeliveryState::new();
        let mut now_ms = NOW;
        let mut rounds = 0;
        loop {
            rounds += 1;
            match failed_round(&mut state, &policy, now_ms) {
                Next::Again { due_ms } => now_ms = due_ms,
                Next::Expired => break,
            }
        }
        prop_assert_eq!(rounds, policy.rounds());
    }
}
