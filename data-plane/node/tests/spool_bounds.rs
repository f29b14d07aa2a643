//! What the spool does at its bounds: keys, shares, dead letters, reports, the disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod spool_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use sluice_node::spool::{
    SpoolLimits,
    store::{Change, Effect, Full, Item},
};
use sluice_proto::{
    delivery::v1::{Attempt, Ending, EndingOutcome, EndingReason},
    node::v1::{AttemptEnding, Report, report},
};
use spool_support::{NOW_MS, Spool, accept, delivered, discarded, limits, matched, unmatched};

const MINUTE_MS: i64 = 60_000;

#[test]
fn an_event_with_a_known_key_is_counted_and_not_delivered_again() {
    let mut spool = Spool::new(limits());
    // Twice in one batch, and once more in the next; an event that nothing wants has a key too.
    let key = Some([1; 16]);
    let made =
        spool.created(accept(1, vec![matched(1, &["a"], key), matched(2, &["a"], key), unmatched(Some([2; 16]))]));
    assert_eq!(made.len(), 1);
    let made = spool
        .created(accept(4, vec![matched(4, &["a"], key), matched(5, &["a"], Some([2; 16])), matched(6, &["a"], None)]));
    assert_eq!(made.len(), 1, "events without a key are never known");
    let events = spool.reader().ledger().unwrap().events;
    assert_eq!((events.received, events.duplicates, events.matched, events.unmatched), (6, 3, 2, 1));

    spool.reopen();
    assert!(spool.created(accept(7, vec![matched(7, &["a"], key)])).is_empty(), "keys are on disk");
    spool.now_ms += 10 * MINUTE_MS;
    assert_eq!(spool.created(accept(8, vec![matched(8, &["a"], key)])).len(), 1, "the window has passed");
    spool.upkeep();
    assert_eq!(spool.reader().stats().unwrap().keys, 1);
    spool.verify();
}

#[test]
fn the_window_shortens_when_there_is_no_memory_for_more_keys() {
    let mut spool = Spool::new(SpoolLimits { dedup_bytes: 37 * 100, ..limits() });
    let key = |n: u64| Some(u128::from(n).to_le_bytes());
    for first in (1..=400).step_by(10) {
        spool.now_ms += 10;
        spool.apply(accept(first, (first..first + 10).map(|n| unmatched(key(n))).collect()));
    }
    let stats = spool.reader().stats().unwrap();
    assert!(stats.keys <= 100 && stats.keys >= 80, "{}", stats.keys);
    assert!(stats.oldest_key_ms.unwrap() > NOW_MS + 250, "the oldest went first");
    spool.apply(accept(401, vec![unmatched(key(400)), unmatched(key(1))]));
    assert_eq!(spool.reader().ledger().unwrap().events.duplicates, 1, "the newest is known, the oldest is not");
    spool.upkeep();
    spool.reopen();
    spool.apply(accept(403, vec![unmatched(key(399))]));
    assert_eq!(spool.reader().ledger().unwrap().events.duplicates, 2);
}

#[test]
fn what_has_no_room_is_refused_whole_and_moves_no_sequence() {
    // Each event has some 1,000 bytes.
    let mut spool = Spool::new(SpoolLimits { max_bytes: 10_000, project_share: 0.5, ..limits() });
    let big = |sequence: u64, lanes: &[&str]| spool_support::sized(sequence, lanes, 1_000);
    let before = spool.created(accept(1, (1..=4).map(|n| big(n, &["a"])).collect()));
    let full = spool.apply(accept(5, vec![big(5, &["a", "b"])]));
    assert!(matches!(full, Effect::Full(Full::Project)), "{full:?}");
    let ledger = spool.reader().ledger().unwrap();
    assert_eq!((ledger.events.received, ledger.deliveries.len()), (4, 1));
    // What needs no room goes through; what comes again is no gap.
    spool.apply(accept(5, vec![unmatched(None)]));
    spool.apply_all(before.iter().map(delivered).collect());
    assert_eq!(spool.created(accept(6, vec![big(6, &["a", "b"])])).len(), 2);

    let other = |first: u64, count: u64| {
        let items = (first..first + count).map(|n| spool_support::sized_of("other", n, 1_400)).collect();
        spool_support::accept_of("other", first, items)
    };
    assert!(matches!(spool.apply(other(1, 3)), Effect::Accepted { .. }));
    let full = spool.apply(other(4, 1));
    assert!(matches!(full, Effect::Full(Full::Project)), "{full:?}");
    let third =
        spool_support::accept_of("third", 1, (1..=4).map(|n| spool_support::sized_of("third", n, 1_000)).collect());
    assert!(matches!(spool.apply(third), Effect::Full(Full::Spool)));
    spool.verify();
}

#[test]
fn a_sync_that_refuses_holds_its_producers_back_and_no_other() {
    let mut spool = Spool::new(limits());
    let refusing = |sequence: u64, lane: &str| {
        let mut item = matched(sequence, &[lane], None);
        if let Item::Matched(matched) = &mut item {
            matched.lanes[0].refuse_from = Some(2);
        }
        item
    };
    let made = spool.created(accept(1, vec![refusing(1, "a"), refusing(2, "a")]));
    let full = spool.apply(accept(3, vec![refusing(3, "b"), refusing(4, "a")]));
    assert!(matches!(&full, Effect::Full(Full::Lane(key)) if &*key.uid == "a"), "{full:?}");
    assert_eq!(spool.created(accept(3, vec![refusing(3, "b")])).len(), 1);
    spool.apply(delivered(&made[0]));
    assert_eq!(spool.created(accept(4, vec![refusing(4, "a")])).len(), 1);
}

#[test]
fn dead_letters_go_by_size_and_by_age_and_each_is_counted() {
    let mut spool = Spool::new(SpoolLimits {
        max_bytes: 20_000,
        dead_letter_share: 0.19,
        dead_letter_age: Duration::from_secs(3_600),
        ..limits()
    });
    let made = spool.created(accept(1, (1..=6).map(|n| spool_support::sized(n, &["a"], 1_000)).collect()));
    for new in &made {
        spool.now_ms += 1_000;
        spool.apply(discarded(new, EndingReason::Render));
    }
    spool.upkeep();
    let counts = spool.counts("a");
    assert_eq!((counts.discarded, counts.dead_letters, counts.removed, counts.pending), (6, 3, 3, 0));
    let left: Vec<i64> = spool.dead_letters().iter().map(|letter| letter.delivery).collect();
    assert_eq!(left, [made[3].delivery, made[4].delivery, made[5].delivery], "the newest stay");
    spool.now_ms += 3_600_000 - 500;
    spool.upkeep();
    assert_eq!(spool.counts("a").removed, 5);
    spool.now_ms += 1_000;
    spool.upkeep();
    let counts = spool.counts("a");
    assert_eq!((counts.discarded, counts.dead_letters, counts.removed), (6, 0, 6));
    spool.verify();
}

#[test]
fn reports_beyond_the_bound_become_counts_and_none_is_lost_from_the_sum() {
    let mut spool = Spool::new(SpoolLimits { report_bytes: 300_000, ..limits() });
    let mut sent = 0;
    for minute in 0..40 {
        let made = spool.created(accept(spool.next_sequence(), vec![matched(spool.next_sequence(), &["a"], None)]));
        // In every other minute an attempt tells how the delivery ended, in the others a report of its own.
        let (outcome, end_time) =
            (EndingOutcome::Delivered.into(), Some(prost_types::Timestamp { seconds: minute * 60, nanos: 0 }));
        let is_last = |n| n == 98 && minute % 2 == 0;
        let attempt = |n: i64| Report {
            ending: is_last(n).then(|| AttemptEnding { outcome, end_time, ..AttemptEnding::default() }),
            report: Some(report::Report::Attempt(Attempt {
                sync_uid: "a".to_owned(),
                error_message: "x".repeat(150),
                start_time: Some(prost_types::Timestamp { seconds: minute * 60 + n % 60, nanos: 0 }),
                ..Attempt::default()
            })),
        };
        let ending = Ending { sync_uid: "a".to_owned(), outcome, end_time, ..Ending::default() };
        let ended = Report { report: Some(report::Report::Ended(ending)), ending: None };
        let mut settlement = delivered(&made[0]);
        if let Change::Settle(settlement) = &mut settlement {
            settlement.reports = (0..99).map(|n| Bytes::from(attempt(n).encode_to_vec())).collect();
            if minute % 2 != 0 {
                settlement.reports.push(ended.encode_to_vec().into());
            }
            sent += settlement.reports.len() as i64;
        }
        spool.apply(settlement);
        spool.upkeep();
    }
    let stats = spool.reader().stats().unwrap();
    assert!(stats.report_bytes <= 300_000 && stats.reports_dropped > 1_000, "{stats:?}");

    let (mut at, mut details, mut dropped, mut delivered_count, mut last) = (0, 0, 0, 0, 0);
    loop {
        let some = spool.reader().reports(at, 70).unwrap();
        if some.reports.is_empty() {
            break;
        }
        for (sequence, bytes) in (some.first_sequence..).zip(&some.reports) {
            assert!(sequence > last, "sequences ascend");
            last = sequence;
            let Report { report, ending } = Report::decode(bytes.clone()).unwrap();
            match report.unwrap() {
                report::Report::Dropped(counts) => {
                    let most = counts.attempt_count + counts.delivered_count;
                    assert!((counts.attempt_count..=most).contains(&counts.report_count), "{counts:?}");
                    assert_eq!((&*counts.sync_uid, counts.minute.unwrap().seconds % 60), ("a", 0));
                    dropped += counts.report_count;
                    delivered_count += counts.delivered_count;
                }
                report::Report::Attempt(_) => {
                    details += 1;
                    delivered_count += i64::from(ending.is_some());
                }
                report::Report::Ended(_) => {
                    details += 1;
                    delivered_count += 1;
                }
            }
        }
        at = last + 1;
    }
    assert_eq!((details + dropped, delivered_count), (sent, 40));
    assert_eq!(dropped.unsigned_abs(), stats.reports_dropped);
    // Acks reach into the counts as into anything else.
    spool.apply(Change::AckReports { sequence_inclusive: last });
    let stats = spool.reader().stats().unwrap();
    assert_eq!((stats.reports, stats.report_bytes), (0, 0));
    spool.verify();
}

#[test]
fn a_producer_that_is_not_seen_for_long_is_forgotten() {
    let mut spool = Spool::new(limits());
    spool.apply(accept(5, vec![unmatched(None)]));
    let open = || Change::Open { producer: spool_support::producer("default"), first_sequence: 1 };
    spool.now_ms += 29 * 24 * 60 * MINUTE_MS;
    spool.upkeep();
    assert!(matches!(spool.apply(open()), Effect::Opened { known: true, next_sequence: 6 }));
    spool.now_ms += 31 * 24 * 60 * MINUTE_MS;
    spool.upkeep();
    assert!(matches!(spool.apply(open()), Effect::Opened { known: false, next_sequence: 1 }));
}

#[test]
fn no_events_are_taken_without_room_on_the_disk_and_the_rest_goes_on() {
    const MIB: u64 = 1 << 20;
    let free = Arc::new(AtomicU64::new(1_000 * MIB));
    let told = free.clone();
    let mut spool = Spool::with_free_space(SpoolLimits { reserve_bytes: 2 * MIB, ..limits() }, move |_| {
        Ok(told.load(Ordering::SeqCst))
    });
    assert_eq!(std::fs::metadata(spool.path().join("reserve")).unwrap().len(), 2 * MIB);
    let made = spool.created(accept(1, vec![matched(1, &["a"], None)]));
    free.store(31 * MIB, Ordering::SeqCst);
    assert!(matches!(spool.apply(accept(2, vec![matched(2, &["a"], None)])), Effect::Full(Full::Disk)));
    spool.apply(delivered(&made[0]));
    assert_eq!(spool.counts("a").delivered, 1);
    free.store(33 * MIB, Ordering::SeqCst);
    assert_eq!(spool.created(accept(2, vec![matched(2, &["a"], None)])).len(), 1, "by itself");
}

#[test]
fn a_commit_that_finds_the_disk_full_keeps_what_was_settled_and_refuses_the_events() {
    let mut spool = Spool::new(SpoolLimits { file_bytes: 700_000, reserve_bytes: 1 << 20, ..limits() });
    let mut made = Vec::new();
    let mut full = false;
    for first in 1..200 {
        match spool.apply(accept(first, vec![spool_support::sized(first, &["a"], 40_000)])) {
            Effect::Accepted { created, .. } => made.extend(created),
            Effect::Full(Full::Disk) => {
                full = true;
                break;
            }
            effect => panic!("{effect:?}"),
        }
    }
    assert!(full && made.len() > 5, "{}", made.len());
    assert!(!spool.path().join("reserve").exists(), "given up");
    // In one commit: the event is refused, the round is settled.
    let next = made.len() as u64 + 1;
    let effects =
        spool.apply_all(vec![accept(next, vec![spool_support::sized(next, &["a"], 40_000)]), delivered(&made[0])]);
    assert!(matches!(effects[..], [Effect::Full(Full::Disk), Effect::Done { .. }]), "{effects:?}");
    spool.apply_all(made[1..].iter().map(delivered).collect());
    spool.upkeep();
    assert_eq!(spool.counts("a").delivered, made.len() as i64);
    assert!(spool.path().join("reserve").exists(), "made again");
    assert_eq!(spool.created(accept(next, vec![spool_support::sized(next, &["a"], 40_000)])).len(), 1);
    spool.verify();
}

#[test]
fn what_has_gone_makes_room_for_many_new_chunks() {
    let mut spool = Spool::new(SpoolLimits { file_bytes: 4 << 20, ..limits() });
    let big = |n| accept(n, vec![spool_support::sized(n, &["a"], 60_000)]);
    let made: Vec<_> = (1..=64).flat_map(|n| spool.created(big(n))).collect();
    spool.upkeep();
    // The tables have no room for what the journal takes now, until they are rid of what it says has gone.
    spool.apply_all(made.iter().map(delivered).collect());
    for n in 65..=130 {
        assert_eq!(spool.created(accept(n, vec![spool_support::sized(n, &["a"], 5_000)])).len(), 1);
    }
    spool.upkeep();
    let tables = rusqlite::Connection::open(spool.path().join("spool.db")).unwrap();
    let chunks: i64 = tables.query_row("SELECT COUNT(*) FROM chunks", [], |row| row.get(0)).unwrap();
    assert_eq!((chunks, spool.counts("a").delivered, spool.counts("a").pending), (66, 64, 66));
    spool.verify();
}
