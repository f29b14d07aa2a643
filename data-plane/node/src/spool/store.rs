//! The narrow border behind which a store lives: one writer that applies changes in a transaction, and readers beside it.
//! Plain data in and out; times are milliseconds since the epoch.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::{
    delivery::v1::{EndingOutcome, EndingReason},
    sync::v1::Sync,
};
use thiserror::Error;

/// Why a store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the spool's database failed")]
    Database(#[from] rusqlite::Error),
    /// A record does not match its checksum.
    #[error("{record} in the spool is damaged: its checksum does not match")]
    Damaged {
        /// Which record.
        record: String,
    },
    /// The file was made by another version.
    #[error("the spool has format {found}, this program reads {expected}")]
    Format {
        /// What the file says.
        found: i64,
        /// What this program reads.
        expected: i64,
    },
    /// The spool has stopped.
    #[error("the spool has stopped")]
    Stopped,
}

/// Applies changes. One call is one transaction: when it returns, all of it is on disk and synced, or none.
pub trait Store: Send {
    /// Applies the changes in order; gives the effect of each, in the same order.
    ///
    /// # Errors
    /// If any part failed: then nothing was changed.
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError>;
}

/// Reads what is committed.
pub trait StoreReader: Send {
    /// Identity of this spool, made with it.
    fn spool_id(&self) -> Result<String, StoreError>;
    /// The newest time that was stored.
    fn newest_ms(&self) -> Result<i64, StoreError>;
    /// Every lane that was ever made.
    fn lanes(&self) -> Result<Vec<LaneRow>, StoreError>;
    /// Waiting deliveries of a lane that are due, the earliest first; and when the next one is due.
    fn due(&self, query: &DueQuery) -> Result<Due, StoreError>;
    /// Reports from `sequence` on, at most `limit`, with the sequence of the first; and the sequence after the newest.
    fn reports(&self, sequence: u64, limit: usize) -> Result<Reports, StoreError>;
    /// The stored copy of the catalog.
    fn catalog(&self) -> Result<Option<StoredCatalog>, StoreError>;
    /// What has been counted.
    fn ledger(&self) -> Result<Ledger, StoreError>;
}

/// Opens stores on the same data.
pub trait StoreFactory: Send + std::marker::Sync {
    /// The writer; called once.
    fn writer(&self) -> Result<Box<dyn Store>, StoreError>;
    /// A reader; called for each that is needed, after the writer.
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError>;
}

/// Identity of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Id of the project.
    pub project: Arc<str>,
    /// As the producer names itself.
    pub id: Arc<str>,
}

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// A producer begins at `first_sequence` if it is not known.
    Open {
        /// Who.
        producer: Producer,
        /// Where.
        first_sequence: u64,
    },
    /// Consecutive events.
    Accept(Accept),
    /// A round is over.
    Settle(Settlement),
    /// The control plane has stored the reports up to this one.
    AckReports {
        /// The last one.
        sequence_inclusive: u64,
    },
    /// The catalog has changed.
    SaveCatalog(CatalogChange),
    /// The sync was disabled: its window stops. No change if it is held.
    Hold {
        /// Which sync.
        lane: LaneKey,
    },
    /// The sync was enabled: its window goes on. No change if it is not held.
    Resume {
        /// Which sync.
        lane: LaneKey,
    },
    /// The sync is gone: ends up to `limit` of its open deliveries as discarded, reason `sync_deleted`.
    EndLane {
        /// The lane.
        lane: i64,
        /// How many at once.
        limit: usize,
    },
}

/// Which sync a lane belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneKey {
    /// Uid of the sync.
    pub uid: Arc<str>,
    /// Its resource name, for reports about deliveries whose sync is gone.
    pub name: Arc<str>,
}

/// Consecutive events, checked and matched.
#[derive(Clone, Debug)]
pub struct Accept {
    /// Who sent them; none: the call stands alone and its position is not kept.
    pub producer: Option<Producer>,
    /// Id of the project.
    pub project: Arc<str>,
    /// Sequence of the first item.
    pub first_sequence: u64,
    /// One for each event.
    pub items: Vec<Item>,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub enum Item {
    /// Refused.
    Rejected,
    /// No sync wants it.
    Unmatched,
    /// At least one sync wants it.
    Matched(Box<Matched>),
}

/// An event that at least one sync wants.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// Which ones.
    pub lanes: Vec<LaneKey>,
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// When it was accepted.
    pub accept_ms: i64,
    /// `event_type`.
    pub event_type: String,
    /// The JSON, byte for byte.
    pub json: Bytes,
    /// W3C `traceparent`; may be empty.
    pub traceparent: String,
    /// W3C `tracestate`; may be empty.
    pub tracestate: String,
}

/// What a round came to.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The delivery.
    pub delivery: i64,
    /// Its event's row.
    pub event: i64,
    /// Its lane.
    pub lane: i64,
    /// What follows.
    pub outcome: Settled,
    /// Encoded reports (`sluice.node.v1.Report`) of what happened.
    pub reports: Vec<Bytes>,
}

/// What follows after a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Another round.
    Again {
        /// Where the delivery stands.
        state: DeliveryState,
        /// When, in the lane's time.
        due_ms: i64,
    },
    /// Nothing: it has ended. All but delivered ones stay as dead letters.
    Ended {
        /// How.
        outcome: EndingOutcome,
        /// Why.
        reason: EndingReason,
        /// Where it stood.
        state: DeliveryState,
    },
}

/// A change of the stored catalog.
#[derive(Clone, Debug)]
pub struct CatalogChange {
    /// Its epoch.
    pub epoch: String,
    /// Its revision.
    pub revision: i64,
    /// Whether everything stored before is replaced.
    pub replace: bool,
    /// New and changed entries: the newest version and, where that is refused, the last good one.
    pub upserts: Vec<(Sync, Option<Sync>)>,
    /// Uids of those that are gone.
    pub deletions: Vec<String>,
}

/// What a change did.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Of `Open`.
    Opened {
        /// Whether it was known.
        known: bool,
        /// Sequence of the next event that is new.
        next_sequence: u64,
    },
    /// Of `Accept`: deliveries that were made.
    Accepted(Vec<Created>),
    /// Of `Accept`: there is a gap, nothing was stored.
    Gap {
        /// What should have come.
        expected: u64,
    },
    /// Of `EndLane`.
    LaneEnded {
        /// How many deliveries were ended.
        ended: usize,
        /// Sequence after the newest report.
        next_report: u64,
    },
    /// Of all others.
    Done {
        /// Sequence after the newest report.
        next_report: u64,
    },
}

/// A delivery that has just been made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The delivery.
    pub delivery: i64,
    /// Row of its event.
    pub event_row: i64,
    /// The lane's row.
    pub lane: i64,
    /// The lane's sync.
    pub key: LaneKey,
    /// The event.
    pub event: Arc<StoredEvent>,
}

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

/// What has been counted, exact at any commit: received = rejected + duplicates + unmatched + matched for events, created =
/// delivered + expired + discarded + pending for deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Of events, summed over projects.
    pub events: EventCounts,
    /// Of deliveries, by uid of the sync.
    pub deliveries: Vec<(String, DeliveryCounts)>,
}

/// Counts of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// All that came.
    pub received: i64,
    /// Refused.
    pub rejected: i64,
    /// Sent again.
    pub duplicates: i64,
    /// Accepted, wanted by no sync.
    pub unmatched: i64,
    /// Accepted, wanted by one sync or more.
    pub matched: i64,
}

/// Counts of one sync's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Made.
    pub created: i64,
    /// Ended with a 2xx.
    pub delivered: i64,
    /// Rounds used up.
    pub expired: i64,
    /// Not rendered, or refused by policy.
    pub discarded: i64,
    /// Open.
    pub pending: i64,
}
