//! The state machine, driven as the node drives it.

use std::time::Duration;

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
    assert_eq!((attempts.len(), state.attempts, state.position), (30, 30, 10));
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
    // the first request took so long that the next wait would just reach the limit, or pass it
    for (ended_ms, expected) in [
        (NOW + 3_901, Step::RoundOver),
        (NOW + 3_900, Step::RetryAt { at_ms: NOW + 4_000 }),
        (i64::MAX, Step::RoundOver),
    ] {
        let mut state = DeliveryState::new();
        let mut round = Round::begin(&mut state, NOW);
        assert!(round.may_begin_attempt(&policy, i64::MAX), "the first one always may");
        assert_eq!(round.after_attempt(&policy, Class::RetryInRound, Some(500), None, ended_ms, EVEN), expected);
        assert!(round.may_begin_attempt(&policy, NOW + 4_000));
        assert!(!round.may_begin_attempt(&policy, NOW + 4_001), "the wait took longer than it should");
    }
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
        (next, state.position)
    };
    assert_eq!(after(5), (Next::Again { due_ms: NOW + MINUTE }, 2), "sooner than the round is due anyway");
    assert_eq!(after(90), (Next::Again { due_ms: NOW + 90_000 }, 2));
    for hostile in [5 * 3600, u64::MAX] {
        assert_eq!(after(hostile), (Next::Again { due_ms: NOW + 240 * MINUTE }, 2));
    }

    let mut state = DeliveryState { position: 2, window_open_ms: Some(NOW), ..DeliveryState::new() };
    assert_eq!(
        failed_round(&mut state, &policy, NOW + 62 * MINUTE),
        Next::Again { due_ms: NOW + 105 * MINUTE },
        "the rounds that it jumped over are spent by it"
    );
    assert_eq!((state.position, state.round), (8, 2));
}

#[test]
fn missed_rounds_merge_into_the_one_that_is_made_late() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState { position: 3, window_open_ms: Some(NOW), ..DeliveryState::new() };
    // down from minute 2 until minute 40
    assert_eq!(failed_round(&mut state, &policy, NOW + 40 * MINUTE), Next::Again { due_ms: NOW + 60 * MINUTE });
    assert_eq!((state.position, state.round), (7, 2));
}

#[test]
fn nothing_expires_without_a_request_however_late_it_is() {
    let policy = RetryPolicy::default();
    let mut state = DeliveryState { position: 3, window_open_ms: Some(NOW), ..DeliveryState::new() };
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
    let mut state = DeliveryState { position: 5, window_open_ms: Some(NOW), ..DeliveryState::new() };
    assert_eq!(failed_round(&mut state, &short, NOW + 15 * MINUTE), Next::Expired);
    let mut state = DeliveryState::new();
    assert!(matches!(failed_round(&mut state, &short, NOW), Next::Again { due_ms } if due_ms > NOW + 100 * MINUTE));
}

#[test]
fn due_times_that_pass_while_a_round_is_under_way_merge_into_one_that_is_due_at_once() {
    let offsets = [1, 2, 3, 60].map(Duration::from_secs);
    let policy = RetryPolicy::new(&offsets, 3, Duration::from_millis(100), Duration::from_secs(4)).unwrap();
    let mut state = DeliveryState::new();
    let mut round = Round::begin(&mut state, NOW);
    round.after_attempt(&policy, Class::RetryNextRound, None, None, NOW + 10_000, EVEN);
    assert_eq!(state.after_round(&policy, NOW + 10_000, None, EVEN), Next::Again { due_ms: NOW + 10_000 });
    assert_eq!((state.position, state.round), (4, 2));
    let mut round = Round::begin(&mut state, NOW + 10_000);
    round.after_attempt(&policy, Class::RetryNextRound, None, None, NOW + 20_000, EVEN);
    let last = state.after_round(&policy, NOW + 20_000, None, EVEN);
    assert!(matches!(last, Next::Again { due_ms } if (NOW + 54_300..=NOW + 60_000).contains(&due_ms)), "{last:?}");
    // the last one too: it took until the window had passed
    let mut state = DeliveryState { position: 4, window_open_ms: Some(NOW), ..DeliveryState::new() };
    Round::begin(&mut state, NOW + 59_000);
    assert_eq!(state.after_round(&policy, NOW + 69_000, None, EVEN), Next::Again { due_ms: NOW + 69_000 });
    assert_eq!(failed_round(&mut state, &policy, NOW + 69_000), Next::Expired);
}

#[test]
fn chance_alone_makes_no_round_missed() {
    let policy = RetryPolicy::default();
    // round 9 was late: the last one would be due by chance before it has failed
    let mut state = DeliveryState { position: 9, window_open_ms: Some(NOW), ..DeliveryState::new() };
    Round::begin(&mut state, NOW + 239 * MINUTE);
    let next = state.after_round(&policy, NOW + 239 * MINUTE, None, 1.0);
    assert_eq!((next, state.position), (Next::Again { due_ms: NOW + 240 * MINUTE }, 10));
}

#[test]
fn a_round_that_was_broken_off_goes_on_where_it_stood() {
    let policy = RetryPolicy::default();
    let fail = |round: &mut Round<'_>, now_ms| {
        round.after_attempt(&policy, Class::RetryInRound, Some(500), None, now_ms, EVEN)
    };
    let mut state = DeliveryState::new();
    let mut round = Round::begin(&mut state, NOW);
    assert_eq!(fail(&mut round, NOW), Step::RetryAt { at_ms: NOW + 100 });
    let stored = round.state();
    assert_eq!((stored.round_began_ms, stored.round_attempts, stored.attempts), (Some(NOW), 1, 1));

    let mut state = stored;
    let mut round = Round::begin(&mut state, NOW + 3_000);
    assert_eq!(round.attempt(), 2);
    assert!(round.may_begin_attempt(&policy, NOW + 3_000));
    assert_eq!(fail(&mut round, NOW + 3_000), Step::RetryAt { at_ms: NOW + 3_200 });
    assert_eq!(fail(&mut round, NOW + 3_200), Step::RoundOver, "three attempts, the stop notwithstanding");
    assert_eq!(state.after_round(&policy, NOW + 3_200, None, EVEN), Next::Again { due_ms: NOW + MINUTE });

    let mut state = stored;
    let round = Round::begin(&mut state, NOW + 4_001);
    assert!(!round.may_begin_attempt(&policy, NOW + 4_001), "its time has passed");
    assert_eq!(state.after_round(&policy, NOW + 4_001, None, EVEN), Next::Again { due_ms: NOW + MINUTE });
    assert_eq!(state, DeliveryState { position: 2, round: 2, attempts: 1, window_open_ms: Some(NOW), ..state });
    assert_eq!((state.round_began_ms, state.round_attempts), (None, 0));
}

#[test]
fn a_redelivered_dead_letter_has_a_fresh_schedule_and_its_rounds_go_on_counting() {
    let policy = RetryPolicy::default();
    let (_, mut state) = deliver(&policy, Ok(500));
    state = state.redelivered();
    assert_eq!(state, DeliveryState { schedule: 2, round: 11, ..DeliveryState::new() });
    assert!(matches!(failed_round(&mut state, &policy, NOW), Next::Again { .. }));
    assert_eq!((state.position, state.round), (2, 12));
    assert_eq!(state.redelivered(), DeliveryState { schedule: 3, round: 12, ..DeliveryState::new() });
}

#[test]
fn a_round_without_a_request_has_used_its_number_too() {
    let mut state = DeliveryState::new();
    assert_eq!(state.redelivered(), DeliveryState { schedule: 2, ..DeliveryState::new() }, "none was begun");
    // its body could not be rendered
    Round::begin(&mut state, NOW);
    assert_eq!(state.redelivered(), DeliveryState { schedule: 2, round: 2, ..DeliveryState::new() });
}

#[test]
fn an_endpoint_that_is_down_ends_a_delivery_only_after_a_failed_probe_since_it_was_due() {
    let policy = RetryPolicy::default();
    let due_ms = NOW + MINUTE;
    let end_ms = NOW + 240 * MINUTE;
    let tried = DeliveryState { position: 2, round: 2, attempts: 1, window_open_ms: Some(NOW), ..DeliveryState::new() };
    let may =
        |state: DeliveryState, now_ms, probe_ms| state.may_expire_without_request(&policy, due_ms, now_ms, probe_ms);
    assert!(may(tried, end_ms, Some(due_ms)));
    assert!(!may(tried, end_ms - 1, Some(due_ms)), "its window is open");
    assert!(!may(tried, end_ms, Some(due_ms - 1)), "the probe was made before it was due");
    assert!(!may(tried, end_ms, None), "no probe has failed");
    assert!(!may(DeliveryState { attempts: 0, ..tried }, end_ms, Some(due_ms)), "it made no request of its own");
    assert!(!may(DeliveryState::new(), i64::MAX, Some(i64::MAX)), "its window has not opened");
    assert!(!may(tried.redelivered(), i64::MAX, Some(i64::MAX)), "requests count per schedule");
    assert!(!may(DeliveryState { window_open_ms: Some(i64::MAX), ..tried }, i64::MAX - 1, Some(due_ms)));
}

#[test]
fn a_clock_that_jumps_neither_expires_nor_bursts() {
    let policy = RetryPolicy::default();
    let day = 24 * 60 * MINUTE;
    // back, after the window opened: the next round only
    let mut state = DeliveryState { position: 3, window_open_ms: Some(NOW), ..DeliveryState::new() };
    assert_eq!(failed_round(&mut state, &policy, NOW - day), Next::Again { due_ms: NOW + 7 * MINUTE });
    assert_eq!(state.position, 4);
    // back, within a round
    let mut state = DeliveryState::new();
    let mut round = Round::begin(&mut state, NOW);
    let step = round.after_attempt(&policy, Class::RetryInRound, Some(500), None, NOW - day, EVEN);
    assert_eq!(step, Step::RetryAt { at_ms: NOW - day + 100 });
    assert_eq!(state.after_round(&policy, NOW - day, None, EVEN), Next::Again { due_ms: NOW + MINUTE });
    // ahead, within a round: what has passed meanwhile is made up for once
    let mut state = DeliveryState::new();
    Round::begin(&mut state, NOW);
    assert_eq!(state.after_round(&policy, NOW + day, None, EVEN), Next::Again { due_ms: NOW + day });
    assert_eq!(failed_round(&mut state, &policy, NOW + day), Next::Expired);
}
