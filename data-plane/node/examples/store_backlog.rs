//! What a long backlog costs the store: time to open, memory, and pieces of work on it.
//! `cargo run --release -p sluice-node --example store_backlog [DELIVERIES]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{collections::HashSet, sync::Arc, time::Instant};

use bytes::Bytes;
use sluice_node::{
    report::Reporter,
    spool::{
        SpoolLimits, SqliteFactory,
        store::{
            Accept, Change, Created, DueDelivery, DueQuery, Effect, Item, LaneKey, Matched, Settled, Settlement, Store,
            StoreFactory, StoredEvent, Target,
        },
    },
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

const LANES: u64 = 10;
const BATCH: u64 = 256;
const EVENT_BYTES: usize = 700;
const NOW_MS: i64 = 1_800_000_000_000;

fn main() {
    let deliveries = std::env::args().nth(1).map_or(2_000_000, |text| text.parse().expect("a number of deliveries"));
    let folder = tempfile::tempdir_in(".").unwrap();
    let factory = SqliteFactory::new(folder.path(), Reporter::new("nodes/n1", "i1"), SpoolLimits::default());
    println!("memory before: {} MiB", memory_mib());
    timed(&format!("fill with {deliveries} waiting retries"), || fill(&factory, deliveries));
    println!("memory after: {} MiB", memory_mib());

    let mut store = timed("open the writer", || factory.writer().unwrap());
    let reader = timed("open a reader, read the lanes", || {
        let reader = factory.reader().unwrap();
        assert_eq!(reader.lanes().unwrap().len() as u64, LANES);
        reader
    });
    timed("accept and settle a first event", || {
        let made = accept(&mut *store, deliveries + 1, 1);
        store.apply(&made.iter().map(again).collect::<Vec<_>>(), NOW_MS).unwrap();
    });
    timed("load 100 times 256 due ones of a lane and settle them", || {
        let mut last_ms = i64::MIN;
        for _ in 0..100 {
            let query = DueQuery { lane: 1, now_ms: i64::MAX, except: HashSet::new(), limit: 256, max_bytes: 1 << 20 };
            let due = reader.due(&query).unwrap();
            assert!(due.deliveries.is_sorted_by_key(|delivery| delivery.due_ms));
            assert!(due.deliveries.first().is_some_and(|first| first.due_ms >= last_ms), "the earliest first");
            last_ms = due.deliveries.last().map_or(last_ms, |last| last.due_ms);
            let changes: Vec<Change> = due.deliveries.iter().map(delivered).collect();
            store.apply(&changes, NOW_MS).unwrap();
        }
    });
    let except = HashSet::new();
    let ended = |effect: &[Effect]| matches!(effect, [Effect::LaneEnded { ended: 1_000, .. }]);
    timed("trim 1,000 of a lane", || {
        let trim = Change::Trim { lane: 2, keep: 0, except: except.clone(), limit: 1_000 };
        assert!(ended(&store.apply(&[trim], NOW_MS).unwrap()));
    });
    timed("expire 1,000 of a lane whose endpoint is down", || {
        let (window_ms, probe_ms) = (14_400_000, i64::MAX);
        let now_ms = NOW_MS + window_ms + 10_000_000;
        let expire = Change::ExpireDown { lane: 3, now_ms, window_ms, probe_ms, except: except.clone(), limit: 1_000 };
        assert!(ended(&store.apply(&[expire], NOW_MS).unwrap()));
    });
    timed("end 1,000 of a lane whose sync is gone", || {
        assert!(ended(&store.apply(&[Change::EndLane { lane: 4, limit: 1_000 }], NOW_MS).unwrap()));
    });
    timed("ledger and stats", || drop((reader.ledger().unwrap(), reader.stats().unwrap())));
    println!("memory at the end: {} MiB", memory_mib());
    println!("files: {} MiB", reader.stats().unwrap().file_bytes >> 20);
}

fn fill(factory: &SqliteFactory, deliveries: u64) {
    let mut store = factory.writer().unwrap();
    for first in (1..=deliveries).step_by(BATCH as usize) {
        let made = accept(&mut *store, first, BATCH.min(deliveries + 1 - first));
        let changes: Vec<Change> = made.iter().map(again).collect();
        store.apply(&changes, NOW_MS).unwrap();
        store.apply(&[Change::AckReports { sequence_inclusive: u64::MAX }], NOW_MS).unwrap();
    }
}

fn accept(store: &mut dyn Store, first: u64, count: u64) -> Vec<Created> {
    let items = (first..first + count).map(|sequence| {
        let lane = sequence % LANES;
        let mut json = format!("{{\"event_type\":\"bench\",\"n\":{sequence},\"filler\":\"").into_bytes();
        json.resize(EVENT_BYTES - 2, b'x');
        json.extend_from_slice(b"\"}");
        let event = StoredEvent {
            id: EventId::new("default", "bench", sequence),
            accept_ms: NOW_MS,
            event_type: "bench".to_owned(),
            json: Bytes::from(json),
            traceparent: String::new(),
            tracestate: String::new(),
        };
        let key = LaneKey { uid: format!("uid-{lane}").into(), name: format!("projects/default/syncs/s{lane}").into() };
        let lanes = vec![Target { key, refuse_from: None }];
        Item::Matched(Box::new(Matched { event: Arc::new(event), key: None, lanes }))
    });
    let accept = Accept { producer: None, project: "default".into(), first_sequence: first, items: items.collect() };
    match store.apply(&[Change::Accept(accept)], NOW_MS).unwrap().remove(0) {
        Effect::Accepted { created, .. } => created,
        effect => panic!("{effect:?}"),
    }
}

/// Another round, due at some moment within an hour.
fn again(created: &Created) -> Change {
    let spread = created.delivery.wrapping_mul(2_654_435_761).rem_euclid(3_600_000);
    let state = DeliveryState {
        position: 2,
        round: 2,
        attempts: 1,
        window_open_ms: Some(NOW_MS + created.delivery),
        ..DeliveryState::new()
    };
    Change::Settle(Settlement {
        delivery: created.delivery,
        event: created.event_row,
        lane: created.lane,
        body: Some(created.event.clone()),
        outcome: Settled::Again { state, due_ms: NOW_MS + spread },
        reports: vec![Bytes::from_static(b"a report")],
    })
}

fn delivered(due: &DueDelivery) -> Change {
    let (outcome, reason, state) = (EndingOutcome::Delivered, EndingReason::Unspecified, due.state);
    Change::Settle(Settlement {
        delivery: due.delivery,
        event: due.event_row,
        lane: 1,
        body: None,
        outcome: Settled::Ended { outcome, reason, state },
        reports: Vec::new(),
    })
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    println!("{what}: {:.3} s", start.elapsed().as_secs_f64());
    done
}

/// Resident memory of this process (Linux).
fn memory_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}
