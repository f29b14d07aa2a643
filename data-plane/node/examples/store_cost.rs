//! What the store costs per delivered event, beside the yardstick: a plain file that gets the same records with the same
//! number of fsyncs. `cargo run --release -p sluice-node --example store_cost [EVENTS]`
//!
//! Each step is one commit: a batch of events is accepted, the batch before is settled as delivered with two reports each,
//! and the reports of the one before that are acked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{fs::File, io::Write as _, path::Path, sync::Arc, time::Instant};

use bytes::Bytes;
use sluice_node::{
    report::Reporter,
    spool::{
        SpoolLimits, SqliteFactory,
        store::{
            Accept, Change, Created, Effect, Item, LaneKey, Matched, Producer, Settled, Settlement, Store,
            StoreFactory, StoredEvent, Target,
        },
    },
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

const EVENT_BYTES: usize = 700;
const REPORT_BYTES: usize = 300;
const NOW_MS: i64 = 1_800_000_000_000;

fn main() {
    let events = std::env::args().nth(1).map_or(200_000, |text| text.parse().expect("a number of events"));
    println!("{:<14} {:>6} {:>12} {:>14}", "store", "batch", "events/s", "us CPU/event");
    for batch in [64, 256] {
        let folder = tempfile::tempdir_in(".").unwrap();
        measure("append", batch, events, || append(folder.path(), batch, events));
        let folder = tempfile::tempdir_in(".").unwrap();
        let factory = SqliteFactory::new(folder.path(), Reporter::new("nodes/n1", "i1"), SpoolLimits::default());
        let mut store = factory.writer().unwrap();
        measure("spool", batch, events, || through(&mut *store, batch, events));
    }
}

fn measure(name: &str, batch: usize, events: usize, work: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu_ns());
    work();
    let (took, cpu) = (start.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64);
    println!("{name:<14} {batch:>6} {:>12.0} {:>14.2}", events as f64 / took, cpu / 1_000.0 / events as f64);
}

/// CPU time of this thread (Linux).
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn event(sequence: u64) -> StoredEvent {
    let mut json = format!("{{\"event_type\":\"bench\",\"n\":{sequence},\"filler\":\"").into_bytes();
    json.resize(EVENT_BYTES - 2, b'x');
    json.extend_from_slice(b"\"}");
    StoredEvent {
        id: EventId::new("default", "bench", sequence),
        accept_ms: NOW_MS,
        event_type: "bench".to_owned(),
        json: Bytes::from(json),
        traceparent: String::new(),
        tracestate: String::new(),
    }
}

/// Through the trait, as the node does it.
fn through(store: &mut dyn Store, batch: usize, events: usize) {
    let lane = LaneKey { uid: "uid".into(), name: "projects/default/syncs/bench".into() };
    let producer = Producer { project: "default".into(), id: "bench".into() };
    let report = Bytes::from(vec![b'r'; REPORT_BYTES]);
    let (mut open, mut acked): (Vec<Created>, u64) = (Vec::new(), 0);
    let mut next = 1;
    while next <= events as u64 || !open.is_empty() {
        let mut changes = Vec::with_capacity(batch + 2);
        if next <= events as u64 {
            let items = (next..next + batch as u64).map(|sequence| {
                let target = Target { key: lane.clone(), refuse_from: None };
                Item::Matched(Box::new(Matched { event: Arc::new(event(sequence)), key: None, lanes: vec![target] }))
            });
            changes.push(Change::Accept(Accept {
                producer: Some(producer.clone()),
                project: "default".into(),
                first_sequence: next,
                items: items.collect(),
            }));
            next += batch as u64;
        }
        changes.extend(open.drain(..).map(|created| {
            Change::Settle(Settlement {
                delivery: created.delivery,
                event: created.event_row,
                lane: created.lane,
                body: Some(created.event),
                outcome: Settled::Ended {
                    outcome: EndingOutcome::Delivered,
                    reason: EndingReason::Unspecified,
                    state: DeliveryState::new(),
                },
                reports: vec![report.clone(), report.clone()],
            })
        }));
        changes.push(Change::AckReports { sequence_inclusive: acked });
        for effect in store.apply(&changes, NOW_MS).unwrap() {
            match effect {
                Effect::Accepted { created, .. } => open = created,
                Effect::Done { next_report } => acked = next_report.saturating_sub(1 + 2 * batch as u64),
                _ => {}
            }
        }
        // As the node does between commits.
        while store.upkeep(NOW_MS).unwrap().more {}
    }
}

/// The same records at the end of a file: events with their checksum, completions, reports, acks. A new file after 64 MiB.
fn append(folder: &Path, batch: usize, events: usize) {
    let path = folder.join("log");
    let mut file = File::create(&path).unwrap();
    let (mut next, mut written, mut open) = (1_u64, 0, 0_u64..0);
    let mut buffer = Vec::new();
    while next <= events as u64 || !open.is_empty() {
        buffer.clear();
        for delivery in open.clone() {
            buffer.extend_from_slice(&delivery.to_le_bytes());
            buffer.resize(buffer.len() + 2 * (REPORT_BYTES + 4), b'r');
        }
        open = 0..0;
        if next <= events as u64 {
            for sequence in next..next + batch as u64 {
                let event = event(sequence);
                buffer.extend_from_slice(&event.id.0);
                buffer.extend_from_slice(&event.accept_ms.to_le_bytes());
                buffer.extend_from_slice(&crc32c::crc32c(&event.json).to_le_bytes());
                buffer.extend_from_slice(&event.json);
            }
            open = next..next + batch as u64;
            next += batch as u64;
        }
        let crc = crc32c::crc32c(&buffer);
        file.write_all(&buffer).unwrap();
        file.write_all(&crc.to_le_bytes()).unwrap();
        file.sync_data().unwrap();
        written += buffer.len();
        if written > 64 << 20 {
            std::fs::remove_file(&path).unwrap();
            file = File::create(&path).unwrap();
            written = 0;
        }
    }
}
