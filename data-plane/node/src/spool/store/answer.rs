//! What a store is asked, and what it says.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::{
    delivery::v1::{EndingOutcome, EndingReason},
    sync::v1::Sync,
};

use super::{LaneKey, Selection, StoredEvent};

/// A lane as it is stored.
#[derive(Clone, Debug)]
pub struct LaneRow {
    /// Its row.
    pub lane: i64,
    /// Its sync.
    pub key: LaneKey,
    /// Since when it is held.
    pub held_since_ms: Option<i64>,
    /// How long it has been held before that; the lane's time is that much behind.
    pub held_total_ms: i64,
    /// When its earliest waiting delivery is due, in the lane's time.
    pub next_due_ms: Option<i64>,
}

/// What waits in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Its sync.
    pub key: LaneKey,
    /// Open deliveries.
    pub pending: i64,
    /// How long, in the lane's time, the oldest of those on disk has waited since its first round was due; none if none is there, or
    /// all are in a chunk.
    pub oldest_wait_ms: Option<i64>,
}

/// Asks for due deliveries.
#[derive(Clone, Debug)]
pub struct DueQuery {
    /// The lane.
    pub lane: i64,
    /// Its time now.
    pub now_ms: i64,
    /// Deliveries that are in hand already.
    pub except: HashSet<i64>,
    /// At most so many.
    pub limit: usize,
    /// Stop after so many bytes of events.
    pub max_bytes: usize,
}

/// Due deliveries.
#[derive(Clone, Debug, Default)]
pub struct Due {
    /// The earliest first.
    pub deliveries: Vec<DueDelivery>,
    /// Whether more are due.
    pub more: bool,
    /// When the next one that is not due yet will be.
    pub next_due_ms: Option<i64>,
    /// Deliveries whose event is damaged on disk.
    pub damaged: Vec<Damaged>,
}

/// A delivery whose event is damaged on disk.
#[derive(Clone, Copy, Debug)]
pub struct Damaged {
    /// The delivery.
    pub delivery: i64,
    /// Row of its event.
    pub event_row: i64,
    /// Where it stands.
    pub state: DeliveryState,
    /// Id of the event, as far as it can be read.
    pub event: EventId,
    /// When the event was accepted.
    pub accept_ms: i64,
}

/// One due delivery.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    /// The delivery.
    pub delivery: i64,
    /// Row of its event.
    pub event_row: i64,
    /// When it became due, in the lane's time.
    pub due_ms: i64,
    /// Where it stands.
    pub state: DeliveryState,
    /// The event.
    pub event: Arc<StoredEvent>,
}

/// Stored reports.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    /// Sequence of the first one.
    pub first_sequence: u64,
    /// Encoded `sluice.node.v1.Report`s, consecutive.
    pub reports: Vec<Bytes>,
    /// Sequence after the newest stored one.
    pub next_sequence: u64,
}

/// The catalog as it is stored.
#[derive(Clone, Debug)]
pub struct StoredCatalog {
    /// Its epoch.
    pub epoch: String,
    /// Its revision.
    pub revision: i64,
    /// Newest versions, each with the last good one where the newest is refused.
    pub entries: Vec<(Sync, Option<Sync>)>,
}

/// Asks for dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterQuery {
    /// Which ones.
    pub selection: Selection,
    /// Those after this one.
    pub cursor_exclusive: i64,
    /// At most so many.
    pub limit: usize,
    /// Stop after so many bytes of events; one is always given.
    pub max_bytes: usize,
    /// Whether the events come along.
    pub with_events: bool,
}

/// Dead letters.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterPage {
    /// In the order of acceptance.
    pub letters: Vec<DeadLetterRow>,
    /// Where to go on; none: there are no more.
    pub next_cursor: Option<i64>,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct DeadLetterRow {
    /// The delivery.
    pub delivery: i64,
    /// Its lane.
    pub lane: i64,
    /// Its sync.
    pub key: LaneKey,
    /// Id of its event.
    pub event: EventId,
    /// `event_type`.
    pub event_type: String,
    /// When the event was accepted.
    pub accept_ms: i64,
    /// How it ended.
    pub outcome: EndingOutcome,
    /// Why.
    pub reason: EndingReason,
    /// When it ended.
    pub end_ms: i64,
    /// Which schedule ended.
    pub schedule: u32,
    /// Attempts made in it.
    pub attempts: u32,
    /// Bytes of the event.
    pub event_bytes: u64,
    /// The event; none if it was not asked for or is damaged.
    pub json: Option<Bytes>,
    /// Whether it was exported.
    pub exported: bool,
}

/// What a spool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By lane.
    pub lanes: Vec<LaneStats>,
    /// Dead letters that were not exported.
    pub unexported: u64,
    /// Reports that were not acked.
    pub reports: u64,
    /// Their bytes.
    pub report_bytes: u64,
    /// Reports whose detail was dropped.
    pub reports_dropped: u64,
    /// Remembered keys.
    pub keys: u64,
    /// When the oldest of them was stored.
    pub oldest_key_ms: Option<i64>,
    /// Bytes of the files.
    pub file_bytes: u64,
    /// Bytes that are free on the disk.
    pub disk_free_bytes: u64,
    /// Bytes of events that it may hold.
    pub max_bytes: u64,
    /// Records that were found damaged.
    pub damaged: u64,
}

/// What a lane holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// Its sync.
    pub key: LaneKey,
    /// Open deliveries.
    pub pending: u64,
    /// Bytes of their events.
    pub pending_bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Bytes of their events.
    pub dead_letter_bytes: u64,
}

/// What has been counted, exact at any commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Of events, summed over projects.
    pub events: EventCounts,
    /// Of events, by project.
    pub projects: Vec<(String, EventCounts)>,
    /// Of deliveries, by sync.
    pub deliveries: Vec<(LaneKey, DeliveryCounts)>,
}

/// Counts of events: received = rejected + duplicates + unmatched + matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// All that came.
    pub received: i64,
    /// Refused.
    pub rejected: i64,
    /// Sent again, by sequence or by `$insert_id`.
    pub duplicates: i64,
    /// Accepted, wanted by no sync.
    pub unmatched: i64,
    /// Accepted, wanted by one sync or more.
    pub matched: i64,
    /// Deliveries that they made.
    pub created: i64,
}

/// Counts of one sync's deliveries: created + redelivered = delivered + expired + discarded + pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Made by events.
    pub created: i64,
    /// Reopened.
    pub redelivered: i64,
    /// Ended with a 2xx.
    pub delivered: i64,
    /// Rounds used up.
    pub expired: i64,
    /// Not rendered, or refused by policy.
    pub discarded: i64,
    /// Open: counted by itself, not worked out from the others.
    pub pending: i64,
    /// Dead letters that are kept.
    pub dead_letters: i64,
    /// Dead letters that retention removed.
    pub removed: i64,
}
