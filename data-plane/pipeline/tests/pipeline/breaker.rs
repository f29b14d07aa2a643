//! The breaker, asked and told as a lane does it.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;
use sluice_pipeline::{
    breaker::{Breaker, Ended, FIRST_WAIT, LONGEST_PAUSE, LONGEST_WAIT, OPENS_AFTER, PROBE_LIMIT, Permit, Sign},
    delivery::{DeliveryState, Next, Round},
    outcome::Failure,
    schedule::RetryPolicy,
};

const NOW: i64 = 1_795_435_200_000;

type Outcome = Result<u16, Failure>;

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

fn ordinary(result: Outcome) -> Ended {
    Ended { began_ms: NOW, probe: false, result, retry_after: None }
}

/// Rounds that end as `result`, one after the other.
fn rounds(breaker: &mut Breaker, count: u32, result: Outcome) {
    for _ in 0..count {
        breaker.on_outcome(&ordinary(result), NOW, 1.0);
    }
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new();
    rounds(&mut breaker, OPENS_AFTER, Ok(503));
    assert!(breaker.is_open());
    breaker
}

/// Makes the probe that is permitted at `now_ms`, which takes `took_ms`.
fn probe(breaker: &mut Breaker, now_ms: i64, took_ms: i64, result: Outcome) {
    assert_eq!(breaker.may_start(now_ms), Permit::Probe);
    breaker.probe_begins(now_ms);
    let ended = Ended { began_ms: now_ms, probe: true, result, retry_after: None };
    breaker.on_outcome(&ended, now_ms + took_ms, 1.0);
}

#[test]
fn whoever_answers_lives_and_whoever_cannot_serve_is_down() {
    for result in [Ok(200), Ok(204), Ok(301), Ok(400), Ok(401), Ok(404), Ok(410), Ok(499), Err(Failure::BlockedAddress)]
    {
        assert_eq!(Sign::of(&result), Sign::Life, "{result:?}");
    }
    for result in [Ok(408), Ok(429), Ok(500), Ok(503), Ok(599), Err(Failure::Status(502))] {
        assert_eq!(Sign::of(&result), Sign::Down, "{result:?}");
    }
    for failure in [Failure::Dns, Failure::Connect, Failure::Tls, Failure::Timeout, Failure::Protocol] {
        assert_eq!(Sign::of(&Err(failure)), Sign::Down, "{failure:?}");
    }
}

#[test]
fn ten_rounds_in_a_row_open_it() {
    let mut breaker = Breaker::new();
    rounds(&mut breaker, 9, Err(Failure::Connect));
    assert_eq!(breaker.may_start(NOW), Permit::Go);
    rounds(&mut breaker, 1, Ok(404));
    rounds(&mut breaker, 9, Ok(500));
    assert_eq!(breaker.may_start(NOW), Permit::Go, "a sign of life between them counts");
    rounds(&mut breaker, 1, Err(Failure::Timeout));
    assert_eq!(breaker.may_start(NOW), Permit::Wait { until_ms: NOW + 1_000 });
    assert_eq!(breaker.failed_probe_began_ms(), None, "what opened it was no probe");
}

#[test]
fn an_endpoint_that_refuses_everything_never_opens_it() {
    let mut breaker = Breaker::new();
    rounds(&mut breaker, 1_000, Ok(400));
    rounds(&mut breaker, 1_000, Err(Failure::BlockedAddress));
    assert_eq!(breaker.may_start(NOW), Permit::Go);
}

#[test]
fn waits_double_up_to_a_minute_and_begin_anew_after_life() {
    let mut breaker = opened();
    let mut now_ms = NOW;
    let mut waits = Vec::new();
    for _ in 0..9 {
        let Permit::Wait { until_ms } = breaker.may_start(now_ms) else { panic!("it is open") };
        waits.push((until_ms - now_ms) / 1_000);
        now_ms = until_ms;
        probe(&mut breaker, now_ms, 0, Err(Failure::Connect));
        assert_eq!(breaker.failed_probe_began_ms(), Some(now_ms));
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);

    now_ms += ms(LONGEST_WAIT);
    probe(&mut breaker, now_ms, 0, Ok(200));
    assert!(!breaker.is_open());
    assert_eq!(breaker.may_start(now_ms), Permit::Go);
    assert_eq!(breaker.failed_probe_began_ms(), None);
    rounds(&mut breaker, OPENS_AFTER, Ok(500));
    assert_eq!(breaker.may_start(NOW), Permit::Wait { until_ms: NOW + ms(FIRST_WAIT) });
}

#[test]
fn a_wait_begins_when_the_probe_has_ended_and_is_shortened_by_chance_to_a_half_at_most() {
    for (chance, wait_ms) in [(0.0, 1_000), (0.5, 1_500), (1.0, 2_000), (7.0, 2_000), (-7.0, 1_000), (f64::NAN, 1_500)]
    {
        let mut breaker = opened();
        let began_ms = NOW + 1_000;
        breaker.probe_begins(began_ms);
        let ended = Ended { began_ms, probe: true, result: Err(Failure::Timeout), retry_after: None };
        breaker.on_outcome(&ended, began_ms + 10_000, chance);
        let until_ms = began_ms + 10_000 + wait_ms;
        assert_eq!(breaker.may_start(began_ms + 10_000), Permit::Wait { until_ms }, "{chance}");
        assert_eq!(breaker.failed_probe_began_ms(), Some(began_ms));
    }
}

#[test]
fn there_is_one_probe_at_a_time() {
    let mut breaker = opened();
    let began_ms = NOW + 1_000;
    breaker.probe_begins(began_ms);
    assert!(matches!(breaker.may_start(began_ms + 30_000), Permit::Wait { .. }));
    // rounds that were under way when it opened
    rounds(&mut breaker, 20, Err(Failure::Timeout));
    assert!(matches!(breaker.may_start(began_ms + 30_000), Permit::Wait { .. }));
    assert_eq!(breaker.failed_probe_began_ms(), None);
}

#[test]
fn a_straggler_that_got_through_closes_it() {
    let mut breaker = opened();
    breaker.probe_begins(NOW + 1_000);
    rounds(&mut breaker, 1, Ok(200));
    assert_eq!(breaker.may_start(NOW + 1_001), Permit::Go);
    // the probe's own failure is then the first of a new row
    let ended = Ended { began_ms: NOW + 1_000, probe: true, result: Ok(500), retry_after: None };
    breaker.on_outcome(&ended, NOW + 2_000, 1.0);
    assert_eq!(breaker.may_start(NOW + 2_000), Permit::Go);
}

#[test]
fn a_lost_probe_makes_room_for_another_and_is_no_failure() {
    let mut breaker = opened();
    let began_ms = NOW + 1_000;
    breaker.probe_begins(began_ms);
    breaker.probe_lost(began_ms - 1);
    assert!(matches!(breaker.may_start(began_ms), Permit::Wait { .. }), "that was another one");
    breaker.probe_lost(began_ms);
    assert_eq!(breaker.may_start(began_ms), Permit::Probe);
    assert_eq!(breaker.failed_probe_began_ms(), None);
    probe(&mut breaker, began_ms, 0, Ok(500));
    assert_eq!(breaker.may_start(began_ms), Permit::Wait { until_ms: began_ms + 2_000 });
}

#[test]
fn a_probe_that_nobody_ends_holds_it_for_its_limit_only() {
    let mut breaker = opened();
    let began_ms = NOW + 1_000;
    breaker.probe_begins(began_ms);
    let limit_ms = began_ms + ms(PROBE_LIMIT);
    assert_eq!(breaker.may_start(limit_ms - 1), Permit::Wait { until_ms: limit_ms });
    probe(&mut breaker, limit_ms, 0, Ok(500));
    let late = Ended { began_ms, probe: true, result: Ok(500), retry_after: None };
    breaker.on_outcome(&late, limit_ms + 1, 1.0);
    assert_eq!(breaker.failed_probe_began_ms(), Some(limit_ms), "the one that was given up has nothing more to say");
}

#[test]
fn a_retry_after_pauses_the_whole_lane_for_five_minutes_at_most() {
    let after = |status, asked_s| {
        let mut breaker = Breaker::new();
        let retry_after = Some(Duration::from_secs(asked_s));
        breaker.on_outcome(&Ended { retry_after, ..ordinary(Ok(status)) }, NOW, 0.5);
        breaker.may_start(NOW)
    };
    assert_eq!(after(429, 7), Permit::Wait { until_ms: NOW + 7_000 });
    assert_eq!(after(503, 7), Permit::Wait { until_ms: NOW + 7_000 });
    assert_eq!(after(503, u64::MAX), Permit::Wait { until_ms: NOW + ms(LONGEST_PAUSE) });
    assert_eq!(after(503, 0), Permit::Go);
    assert_eq!(after(500, 7), Permit::Go);
    assert_eq!(after(200, 7), Permit::Go);
}

#[test]
fn the_longer_of_two_pauses_counts_and_an_open_breaker_keeps_it() {
    let mut breaker = Breaker::new();
    for asked_s in [30, 5] {
        let retry_after = Some(Duration::from_secs(asked_s));
        breaker.on_outcome(&Ended { retry_after, ..ordinary(Ok(429)) }, NOW, 0.5);
    }
    rounds(&mut breaker, OPENS_AFTER, Ok(500));
    assert_eq!(breaker.may_start(NOW), Permit::Wait { until_ms: NOW + 30_000 });
    assert_eq!(breaker.may_start(NOW + 30_000), Permit::Probe);
}

#[test]
fn a_clock_before_the_wait_does_not_make_it_longer() {
    let mut breaker = opened();
    assert_eq!(breaker.may_start(NOW - 86_400_000), Permit::Probe);
    breaker.probe_begins(NOW + 1_000);
    assert_eq!(breaker.may_start(NOW), Permit::Probe);
    for now_ms in [i64::MIN, -1, 0, i64::MAX] {
        let mut breaker = opened();
        breaker.probe_begins(now_ms);
        let retry_after = Some(Duration::MAX);
        let ended = Ended { began_ms: now_ms, probe: true, result: Ok(503), retry_after };
        breaker.on_outcome(&ended, now_ms, 0.5);
        for later_ms in [i64::MIN, 0, i64::MAX] {
            let _ = breaker.may_start(later_ms);
        }
    }
}

/// How many rounds each of some deliveries makes that were accepted together, if every request comes to `result` and the lane
/// makes one round at a time.
fn rounds_of_a_lane(deliveries: usize, result: Outcome) -> Vec<u32> {
    let policy = RetryPolicy::default();
    let mut breaker = Breaker::new();
    let mut waiting: BTreeSet<(i64, usize)> = (0..deliveries).map(|delivery| (NOW, delivery)).collect();
    let mut states = vec![DeliveryState::new(); deliveries];
    let mut made = vec![0; deliveries];
    let mut now_ms = NOW;
    while let Some((due_ms, delivery)) = waiting.pop_first() {
        now_ms = now_ms.max(due_ms);
        while let Permit::Wait { until_ms } = breaker.may_start(now_ms) {
            now_ms = until_ms;
        }
        let probe = breaker.may_start(now_ms) == Permit::Probe;
        if probe {
            breaker.probe_begins(now_ms);
        }
        let state = &mut states[delivery];
        Round::begin(state, now_ms);
        made[delivery] += 1;
        breaker.on_outcome(&Ended { began_ms: now_ms, probe, result, retry_after: None }, now_ms, 1.0);
        if let Next::Again { due_ms } = state.after_round(&policy, now_ms, None, 0.5) {
            waiting.insert((due_ms, delivery));
        }
    }
    made
}

#[test]
fn it_costs_a_few_deliveries_no_round_and_many_some() {
    assert_eq!(rounds_of_a_lane(1, Err(Failure::Connect)), [10]);
    assert_eq!(rounds_of_a_lane(5, Err(Failure::Connect)), [10; 5]);
    assert_eq!(rounds_of_a_lane(100, Ok(400)), [10; 100], "an endpoint that answers is not spared");
    let spared = rounds_of_a_lane(100, Ok(503));
    assert!(spared.iter().all(|rounds| (1..10).contains(rounds)), "due times that pass merge: {spared:?}");
}

/// What happens to a lane.
#[derive(Clone, Debug)]
enum Happening {
    /// Time goes by.
    Wait(i64),
    /// The lane has work.
    Start,
    /// One of the rounds under way ends.
    End { which: usize, result: Outcome, retry_after: Option<Duration>, chance: f64 },
    /// One of them breaks off; the breaker is told of a probe.
    Lose { which: usize },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let result = prop_oneof![
        6 => Just(Ok(500)),
        3 => Just(Err(Failure::Connect)),
        1 => Just(Ok(503)),
        1 => Just(Ok(429)),
        1 => Just(Ok(200)),
        1 => Just(Ok(400)),
    ];
    let asked = prop::option::weighted(0.1, prop_oneof![0_u64..100, Just(u64::MAX)].prop_map(Duration::from_secs));
    let end = (any::<usize>(), result, asked, -0.5_f64..1.5)
        .prop_map(|(which, result, retry_after, chance)| Happening::End { which, result, retry_after, chance });
    let happening = prop_oneof![
        3 => prop_oneof![0_i64..200, 0_i64..70_000].prop_map(Happening::Wait),
        5 => Just(Happening::Start),
        5 => end,
        1 => any::<usize>().prop_map(|which| Happening::Lose { which }),
    ];
    prop::collection::vec(happening, 200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn one_probe_at_a_time_and_always_a_start_to_come(happenings in happenings()) {
        let mut breaker = Breaker::new();
        let mut now_ms = NOW;
        let mut under_way: Vec<(i64, bool)> = Vec::new();
        for happening in happenings {
            match happening {
                Happening::Wait(passed_ms) => now_ms += passed_ms,
                Happening::Start => match breaker.may_start(now_ms) {
                    Permit::Go => under_way.push((now_ms, false)),
                    Permit::Probe => {
                        // rounds end long before the limit, so that those which have not are lost
                        under_way.retain(|(began_ms, probe)| !probe || now_ms - began_ms < ms(PROBE_LIMIT));
                        prop_assert!(!under_way.iter().any(|(_, probe)| *probe), "one at a time");
                        breaker.probe_begins(now_ms);
                        under_way.push((now_ms, true));
                    }
                    Permit::Wait { until_ms } => {
                        prop_assert!(until_ms > now_ms);
                        prop_assert!(until_ms - now_ms <= ms(LONGEST_PAUSE));
                    }
                },
                Happening::End { which, result, retry_after, chance } if !under_way.is_empty() => {
                    let (began_ms, probe) = under_way.remove(which % under_way.len());
                    breaker.on_outcome(&Ended { began_ms, probe, result, retry_after }, now_ms, chance);
                    if Sign::of(&result) == Sign::Life {
                        prop_assert!(!breaker.is_open());
                        // the probe that was under way is an ordinary round now
                        under_way.iter_mut().for_each(|(_, probe)| *probe = false);
                    }
                }
                Happening::Lose { which } if !under_way.is_empty() => {
                    let (began_ms, probe) = under_way.remove(which % under_way.len());
                    if probe {
                        breaker.probe_lost(began_ms);
                    }
                }
                Happening::End { .. } | Happening::Lose { .. } => {}
            }
            prop_assert!(breaker.failed_probe_began_ms().is_none_or(|began_ms| breaker.is_open() && began_ms <= now_ms));
            // left alone, it permits a start after at most two waits: a pause, and its own
            let mut later_ms = now_ms;
            for _ in 0..2 {
                if let Permit::Wait { until_ms } = breaker.may_start(later_ms) {
                    later_ms = until_ms;
                }
            }
            let waits = matches!(breaker.may_start(later_ms), Permit::Wait { .. });
            prop_assert!(!waits);
        }
    }

    #[test]
    fn fewer_than_ten_failures_in_a_row_change_nothing(rows in prop::collection::vec(0_u32..OPENS_AFTER, 1..20)) {
        let mut breaker = Breaker::new();
        for failures in rows {
            for _ in 0..failures {
                breaker.on_outcome(&ordinary(Err(Failure::Timeout)), NOW, 0.5);
                prop_assert_eq!(breaker.may_start(NOW), Permit::Go);
            }
            breaker.on_outcome(&ordinary(Ok(200)), NOW, 0.5);
        }
    }

    #[test]
    fn no_time_and_no_chance_break_it(calls in prop::collection::vec((any::<i64>(), any::<i64>(), any::<f64>(), 0_u8..4), 50)) {
        let mut breaker = opened();
        for (began_ms, now_ms, chance, what) in calls {
            match what {
                0 => breaker.probe_begins(began_ms),
                1 => breaker.probe_lost(began_ms),
                _ => {
                    let retry_after = Some(Duration::from_millis(began_ms.unsigned_abs()));
                    let ended = Ended { began_ms, probe: what == 2, result: Ok(503), retry_after };
                    breaker.on_outcome(&ended, now_ms, chance);
                }
            }
            if let Permit::Wait { until_ms } = breaker.may_start(now_ms) {
                prop_assert!(until_ms > now_ms);
            }
        }
    }
}
