//! The spool's store against a simple reference: whatever the order of changes, failures and restarts, both hold the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod spool_model {
    pub(crate) mod drive;
    pub(crate) mod reference;
}

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use spool_model::drive::{Action, Driver, Event, Round};

/// Cases in CI, and with `SLUICE_FULL=1`.
const CASES: (u32, u32) = (64, 2_000);

fn event() -> impl Strategy<Value = Event> {
    let key = || prop_oneof![2 => Just(None), 1 => (0..6_u8).prop_map(Some)];
    prop_oneof![
        1 => Just(Event::Rejected),
        1 => key().prop_map(|key| Event::Unmatched { key }),
        6 => (1..8_u8, key(), 0..400_usize).prop_map(|(lanes, key, filler)| Event::Matched { lanes, key, filler }),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    prop_oneof![
        4 => Just(Round::Delivered),
        4 => (0..200_000_i64, any::<bool>()).prop_map(|(wait_ms, stale)| Round::Again { wait_ms, stale }),
        1 => Just(Round::Expired),
        2 => Just(Round::Discarded),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let lane = 0..3_usize;
    prop_oneof![
        8 => (0..2_usize, -3..2_i64, vec(event(), 1..6))
            .prop_map(|(producer, shift, events)| Action::Accept { producer, shift, events }),
        10 => (any::<usize>(), round(), any::<bool>())
            .prop_map(|(pick, round, body)| Action::Settle { pick, round, body }),
        1 => any::<usize>().prop_map(|pick| Action::SettleEnded { pick }),
        3 => vec(any::<usize>(), 1..6).prop_map(|picks| Action::Shelve { picks }),
        1 => (lane.clone(), 0..8_u64, 1..5_usize).prop_map(|(lane, keep, limit)| Action::Trim { lane, keep, limit }),
        2 => (lane.clone(), 0..300_000_i64, 1..5_usize)
            .prop_map(|(lane, window_ms, limit)| Action::ExpireDown { lane, window_ms, limit }),
        1 => (lane.clone(), 1..5_usize).prop_map(|(lane, limit)| Action::EndLane { lane, limit }),
        2 => (0..2_usize, proptest::option::of(lane.clone()), any::<bool>(), 1..4_usize)
            .prop_map(|(project, lane, by_reason, limit)| Action::Redeliver { project, lane, by_reason, limit }),
        1 => (0..2_usize, proptest::option::of(any::<usize>()))
            .prop_map(|(project, pick)| Action::MarkExported { project, pick }),
        1 => lane.clone().prop_map(|lane| Action::Hold { lane }),
        1 => lane.prop_map(|lane| Action::Resume { lane }),
        3 => (0..6_u64).prop_map(|count| Action::Ack { count }),
    ]
}

fn light_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0..2_usize, -3..2_i64, vec(event(), 1..6))
            .prop_map(|(producer, shift, events)| Action::Accept { producer, shift, events }),
        10 => any::<usize>().prop_map(|pick| Action::Settle { pick, round: Round::Delivered, body: false }),
        3 => (0..6_u64).prop_map(|count| Action::Ack { count }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// Readers look afterwards, or more is gathered in the journal.
    Commit {
        actions: Vec<Action>,
        is_read: bool,
    },
    FailedCommit(Vec<Action>),
    BrokenCommit(Vec<Action>),
    Pass(i64),
    Upkeep,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (vec(action(), 1..5), prop::bool::weighted(0.3))
            .prop_map(|(actions, is_read)| Step::Commit { actions, is_read }),
        // Of a kind that the journal takes.
        20 => (vec(light_action(), 1..5), prop::bool::weighted(0.1))
            .prop_map(|(actions, is_read)| Step::Commit { actions, is_read }),
        2 => vec(action(), 1..4).prop_map(Step::FailedCommit),
        2 => vec(action(), 1..4).prop_map(Step::BrokenCommit),
        4 => prop_oneof![0..5_000_i64, 0..700_000_i64].prop_map(Step::Pass),
        3 => Just(Step::Upkeep),
        2 => Just(Step::Reopen),
    ]
}

#[test]
fn the_store_holds_what_the_reference_holds() {
    let full = std::env::var_os("SLUICE_FULL").is_some();
    let cases = if full { CASES.1 } else { CASES.0 };
    // No files beside the sources: a failing case is printed, shrunk, and becomes a test of its own.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    TestRunner::new(config)
        .run(&vec(step(), 1..60), |steps| {
            let mut driver = Driver::new();
            for step in &steps {
                match step {
                    Step::Commit { actions, is_read } => {
                        driver.commit(actions);
                        if !is_read {
                            continue;
                        }
                    }
                    Step::FailedCommit(actions) => driver.failed_commit(actions),
                    Step::BrokenCommit(actions) => driver.broken_commit(actions),
                    Step::Pass(ms) => {
                        driver.now_ms += ms;
                        continue;
                    }
                    Step::Upkeep => driver.upkeep(),
                    Step::Reopen => driver.reopen(),
                }
                driver.compare();
            }
            driver.compare();
            driver.verify();
            Ok(())
        })
        .unwrap();
}
