//! A spool that is used as a node uses it, step by step.

use std::sync::Arc;

use bytes::Bytes;
use sluice_node::spool::store::{
    Accept, Change, Created, Effect, Item, LaneKey, Matched, Producer, Settled, Settlement, Store, StoredEvent, Target,
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

const EVENT_BYTES: usize = 700;
/// Of each of the two reports of a delivery.
pub(crate) const REPORT_BYTES: usize = 300;
const NOW_MS: i64 = 1_800_000_000_000;
/// As many as a busy node makes in a second.
const UPKEEP_COMMITS: usize = 500;

/// A store, and where it stands.
pub(crate) struct Steps {
    store: Box<dyn Store>,
    next: u64,
    open: Vec<Created>,
    acked: u64,
    /// Commits.
    since_upkeep: usize,
}

impl Steps {
    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        Self { store, next: 1, open: Vec::new(), acked: 0, since_upkeep: 0 }
    }

    /// One commit: accepts so many events, if any, settles those of the step before as delivered, with two reports each, and acks the
    /// reports of the one before that.
    pub(crate) fn step(&mut self, batch: u64) {
        let mut changes = Vec::new();
        if batch > 0 {
            changes.push(Change::Accept(accept(self.next, batch)));
        }
        self.next += batch;
        changes.extend(self.open.drain(..).map(settle));
        changes.push(Change::AckReports { sequence_inclusive: self.acked });
        for effect in self.store.apply(&changes, NOW_MS).unwrap() {
            match effect {
                Effect::Accepted { created, .. } => self.open = created,
                Effect::Done { next_report } => self.acked = next_report.saturating_sub(1 + 2 * batch),
                _ => {}
            }
        }
        // The node does so once a second.
        self.since_upkeep += 1;
        if self.since_upkeep >= UPKEEP_COMMITS {
            self.since_upkeep = 0;
            while self.store.upkeep(NOW_MS).unwrap().more {}
        }
    }
}

fn accept(first: u64, batch: u64) -> Accept {
    let lane = LaneKey { uid: "uid".into(), name: "projects/default/syncs/bench".into() };
    let item = |sequence| {
        let target = Target { key: lane.clone(), refuse_from: None };
        Item::Matched(Box::new(Matched { event: Arc::new(event(sequence)), key: None, lanes: vec![target] }))
    };
    Accept {
        producer: Some(Producer { project: "default".into(), id: "bench".into() }),
        project: "default".into(),
        first_sequence: first,
        items: (first..first + batch).map(item).collect(),
    }
}

/// An event as it is stored.
pub(crate) fn event(sequence: u64) -> StoredEvent {
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

fn settle(created: Created) -> Change {
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
        reports: vec![Bytes::from_static(&[b'r'; REPORT_BYTES]); 2],
    })
}
