//! What holds for every delivery, whatever the endpoint, the policy, the clock and the operators do.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use sluice_pipeline::{
    delivery::{DeliveryState, Next, Round, Step, heeded},
    outcome::{Class, Failure, classify},
    schedule::{MAX_ATTEMPTS_PER_ROUND, MAX_ROUNDS, RetryPolicy},
};

const NOW: i64 = 1_795_435_200_000;

type Outcome = Result<u16, Failure>;

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Ok(500)),
        1 => Just(Ok(503)),
        1 => Just(Ok(429)),
        1 => Just(Ok(400)),
        1 => Just(Ok(301)),
        1 => Just(Err(Failure::Connect)),
        1 => Just(Err(Failure::Timeout)),
        1 => Just(Err(Failure::BlockedAddress)),
    ]
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let gaps = prop::collection::vec(1_u64..9_000, 0..=9);
    let any = (gaps, 1_u32..=3, 10_u64..=2_000, 0_u64..=4_000).prop_map(|(gaps, attempts, wait_ms, limit_ms)| {
        let offsets: Vec<_> = gaps
            .into_iter()
            .scan(Duration::ZERO, |at, gap| {
                *at += Duration::from_secs(gap);
                Some(*at)
            })
            .collect();
        RetryPolicy::new(&offsets, attempts, Duration::from_millis(wait_ms), Duration::from_millis(limit_ms)).unwrap()
    });
    prop_oneof![1 => Just(RetryPolicy::default()), 3 => any]
}

/// One request and what happens after it.
#[derive(Clone, Debug)]
struct Turn {
    outcome: Outcome,
    took_ms: i64,
    /// By how much the next round is later than it is due.
    late_ms: i64,
    /// The node stops before the next attempt, for so long.
    stop_ms: Option<i64>,
    /// The clock is set.
    jump_ms: i64,
    retry_after: Option<Duration>,
    chance: f64,
}

fn turns(jumps: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<Turn>> {
    let turn = (
        outcomes(),
        prop_oneof![4 => 0_i64..500, 1 => 0_i64..60_000],
        prop_oneof![4 => 0_i64..50, 1 => 0_i64..7_200_000],
        prop::option::weighted(0.2, prop_oneof![0_i64..5_000, 0_i64..7_200_000]),
        jumps,
        prop::option::weighted(
            0.2,
            prop_oneof![(0_u64..100_000_000).prop_map(Duration::from_millis), Just(Duration::MAX)],
        ),
        -0.1_f64..1.1,
    )
        .prop_map(|(outcome, took_ms, late_ms, stop_ms, jump_ms, retry_after, chance)| Turn {
            outcome,
            took_ms,
            late_ms,
            stop_ms,
            jump_ms,
            retry_after,
            chance,
        });
    prop::collection::vec(turn, 40)
}

/// A state as a row of a store: what is not in it is forgotten.
fn through_a_store(state: &mut DeliveryState) {
    let DeliveryState { schedule, position, round, window_open_ms, attempts, round_began_ms, round_attempts } = *state;
    let numbers = [schedule, position, round, attempts, round_attempts];
    let times = [window_open_ms, round_began_ms];
    *state = DeliveryState {
        schedule: numbers[0],
        position: numbers[1],
        round: numbers[2],
        window_open_ms: times[0],
        attempts: numbers[3],
        round_began_ms: times[1],
        round_attempts: numbers[4],
    };
}

/// The requests of one schedule.
#[derive(Debug, Default)]
struct Story {
    /// By the number of the round: when it began, and when each of its attempts did, since then.
    rounds: BTreeMap<u32, (i64, Vec<i64>)>,
    ended_ms: i64,
}

impl Story {
    fn requests(&self) -> usize {
        self.rounds.values().map(|(_, attempts)| attempts.len()).sum()
    }
}

/// Makes the rounds of a delivery that is never taken, as a node does it that stops and starts in between; each failed round
/// is followed by the next of `policies`.
fn fail(state: &mut DeliveryState, policies: &[RetryPolicy], turns: &[Turn]) -> Story {
    let mut turns = turns.iter().cycle();
    let mut policies = policies.iter().cycle();
    let mut policy = policies.next().unwrap();
    let mut story = Story::default();
    let mut now_ms = NOW;
    let mut asked = None;
    let mut chance = 0.5;
    let mut late_ms = 0;
    loop {
        through_a_store(state);
        let number = state.round;
        let mut round = Round::begin(state, now_ms);
        let mut resumed = false;
        while round.may_begin_attempt(policy, now_ms) {
            let turn = turns.next().unwrap();
            let (began_ms, attempts) = story.rounds.entry(number).or_insert((now_ms, Vec::new()));
            attempts.push(now_ms - *began_ms);
            assert_eq!(round.attempt() as usize, attempts.len());
            now_ms += turn.took_ms + turn.jump_ms;
            (asked, chance, late_ms) = (turn.retry_after, turn.chance, turn.late_ms);
            let (class, status) = (classify(&turn.outcome), turn.outcome.ok());
            let step = round.after_attempt(policy, class, status, asked, now_ms, chance);
            asked = heeded(status, asked);
            match step {
                Step::Delivered => panic!("nothing was delivered"),
                Step::RoundOver => break,
                Step::RetryAt { at_ms } => {
                    assert_eq!(class, Class::RetryInRound);
                    assert!(at_ms > now_ms);
                    now_ms = at_ms;
                }
            }
            if let Some(stop_ms) = turn.stop_ms {
                now_ms += stop_ms;
                resumed = true;
                break;
            }
        }
        if resumed {
            continue;
        }
        assert!(!story.rounds[&number].1.is_empty(), "no round is over without a request");
        let position = state.position;
        match state.after_round(policy, now_ms, asked, chance) {
            Next::Expired => {
                story.ended_ms = now_ms;
                return story;
            }
            Next::Again { due_ms } => {
                assert!(due_ms >= now_ms, "never due in the past");
                assert!(state.position > position && state.position <= policy.rounds());
                assert_eq!((state.round, state.round_attempts, state.round_began_ms), (number + 1, 0, None));
                now_ms = due_ms + late_ms;
                policy = policies.next().unwrap();
            }
        }
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_failing_delivery_ends_within_its_bounds(
        policies in prop::collection::vec(policies(), 1..4),
        turns in turns(Just(0)),
    ) {
        let mut state = DeliveryState::new();
        let story = fail(&mut state, &policies, &turns);
        prop_assert!(story.rounds.len() <= MAX_ROUNDS as usize);
        prop_assert!(story.rounds.keys().copied().eq(1..=u32::try_from(story.rounds.len()).unwrap()), "rounds count on");
        for (_, attempts) in story.rounds.values() {
            prop_assert!((1..=MAX_ATTEMPTS_PER_ROUND as usize).contains(&attempts.len()));
            prop_assert!(attempts.iter().all(|since_ms| (0..=4_000).contains(since_ms)));
        }
        prop_assert_eq!(state.attempts as usize, story.requests());
        if turns.iter().all(|turn| classify(&turn.outcome) == Class::RetryNextRound) {
            prop_assert!(story.requests() <= MAX_ROUNDS as usize);
        }
    }

    #[test]
    fn a_second_schedule_has_the_same_bounds_and_other_rounds(policy in policies(), turns in turns(Just(0))) {
        let mut state = DeliveryState::new();
        let policies = [policy];
        let first = fail(&mut state, &policies, &turns);
        state = state.redelivered();
        let second = fail(&mut state, &policies, &turns);
        prop_assert_eq!(first.rounds.last_key_value().unwrap().0 + 1, *second.rounds.first_key_value().unwrap().0);
        prop_assert!(second.rounds.len() <= MAX_ROUNDS as usize);
        prop_assert_eq!((state.schedule, state.attempts as usize), (2, second.requests()));
    }

    #[test]
    fn clocks_that_jump_neither_break_it_nor_end_it_without_a_request(
        policy in policies(),
        turns in turns(prop_oneof![8 => Just(0), 1 => -200_000_000_i64..200_000_000]),
    ) {
        let story = fail(&mut DeliveryState::new(), &[policy], &turns);
        prop_assert!(story.rounds.len() <= MAX_ROUNDS as usize);
        for (_, attempts) in story.rounds.values() {
            prop_assert!((1..=MAX_ATTEMPTS_PER_ROUND as usize).contains(&attempts.len()));
        }
    }

    #[test]
    fn a_punctual_failing_delivery_makes_every_round_within_its_window(policy in policies(), chance in 0.0_f64..=1.0) {
        let turn = Turn {
            outcome: Ok(400),
            took_ms: 0,
            late_ms: 0,
            stop_ms: None,
            jump_ms: 0,
            retry_after: None,
            chance,
        };
        let story = fail(&mut DeliveryState::new(), std::slice::from_ref(&policy), &[turn]);
        prop_assert_eq!(story.rounds.len(), policy.rounds() as usize);
        prop_assert!(story.ended_ms <= NOW + ms(policy.window()));
    }

    #[test]
    fn missed_due_times_merge_into_one_round(
        policy in policies(),
        made in 1_u32..=10,
        late_ms in 0_i64..20_000_000,
        took_ms in prop_oneof![Just(0_i64), 0_i64..120_000],
        chance in 0.0_f64..=1.0,
    ) {
        let mut state = DeliveryState { position: made, window_open_ms: Some(NOW), ..DeliveryState::new() };
        let offsets: Vec<i64> = policy.offsets().map(ms).collect();
        let (began_ms, ended_ms) = (late_ms, late_ms + took_ms);
        Round::begin(&mut state, NOW + began_ms);
        let next = state.after_round(&policy, NOW + ended_ms, None, chance);
        // those of later rounds, less what was due when this one began
        let left: Vec<_> = (2..).zip(&offsets).filter(|(position, at)| *position > made && **at > began_ms).collect();
        let passed = left.iter().rfind(|(_, at)| **at <= ended_ms);
        match (next, passed, left.first()) {
            (Next::Expired, None, None) => {}
            (Next::Again { due_ms }, Some((position, _)), _) => {
                prop_assert_eq!((due_ms, state.position), (NOW + ended_ms, *position));
            }
            (Next::Again { due_ms }, None, Some((position, at))) => {
                prop_assert_eq!(state.position, *position);
                let before = (*position as usize).checked_sub(3).map_or(0, |index| offsets[index]);
                prop_assert!(due_ms > NOW + ended_ms);
                prop_assert!((due_ms - NOW - **at).abs() <= (**at - before) / 10, "jitter is a tenth of the gap");
                prop_assert!(*position < policy.rounds() || due_ms <= NOW + **at, "the last one downward only");
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn nothing_expires_without_a_request_of_its_own(
        policy in policies(),
        attempts in 0_u32..3,
        open_ms in prop::option::of(any::<i64>()),
        times: (i64, i64, Option<i64>),
    ) {
        let (due_ms, now_ms, probe_ms) = times;
        let state = DeliveryState { attempts, window_open_ms: open_ms, ..DeliveryState::new() };
        if state.may_expire_without_request(&policy, due_ms, now_ms, probe_ms) {
            prop_assert!(attempts > 0);
            prop_assert!(now_ms >= open_ms.unwrap().saturating_add(ms(policy.window())));
            prop_assert!(probe_ms.unwrap() >= due_ms);
        }
    }

    #[test]
    fn no_stored_state_and_no_time_is_too_strange(
        policy in policies(),
        numbers: [u32; 5],
        times: (Option<i64>, Option<i64>, i64, i64),
        outcome in outcomes(),
        retry_after: Option<u64>,
        chance: f64,
    ) {
        let (window_open_ms, round_began_ms, began_ms, now_ms) = times;
        let [schedule, position, round, attempts, round_attempts] = numbers;
        let mut state =
            DeliveryState { schedule, position, round, window_open_ms, attempts, round_began_ms, round_attempts };
        let retry_after = retry_after.map(Duration::from_secs);
        let mut round = Round::begin(&mut state, began_ms);
        let _ = round.may_begin_attempt(&policy, now_ms);
        let step = round.after_attempt(&policy, classify(&outcome), outcome.ok(), retry_after, now_ms, chance);
        if let Step::RetryAt { at_ms } = step {
            prop_assert!(at_ms >= now_ms);
        }
        if let Next::Again { due_ms } = state.after_round(&policy, now_ms, retry_after, chance) {
            prop_assert!(due_ms >= now_ms);
            prop_assert!(state.position <= MAX_ROUNDS);
        }
        let _ = state.redelivered();
    }
}
