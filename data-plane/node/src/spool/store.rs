//! The narrow border behind which a store lives: one writer that applies changes in a transaction, and readers beside it.
//! Plain data in and out; times are milliseconds since the epoch.

use sluice_host::clock::TimeMark;
use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use rusqlite::ErrorCode;
use sluice_pipeline::{
    delivery::DeliveryState,
    event::{EventId, WebhookId},
};
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
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Something is larger than the format allows.
    #[error("an event is too large for the spool")]
    TooLarge,
    /// The spool has stopped.
    #[error("the spool has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether something on disk is damaged, so that trying again is of no use.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Database(error) => {
                matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
                    || matches!(
                        error,
                        rusqlite::Error::FromSqlConversionFailure(..)
                            | rusqlite::Error::IntegralValueOutOfRange(..)
                            | rusqlite::Error::InvalidColumnType(..)
                            | rusqlite::Error::Utf8Error(..)
                    )
            }
            _ => false,
        }
    }

    /// Whether there was no room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Database(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether the system refused to read or write.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Database(error) if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure))
    }
}

/// Applies changes. One call is one transaction: when it returns, all of it is on disk and synced, or none.
pub trait Store: Send {
    /// Applies the changes in order; gives the effect of each, in the same order.
    ///
    /// # Errors
    /// If any part failed: then nothing was changed.
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError>;
    /// One bounded piece of housekeeping: retention, what has grown old, room that can be given back. The writer calls it
    /// between commits.
    ///
    /// # Errors
    /// If it failed: then nothing was changed.
    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError>;
    /// Brings everything to where it stays, at a stop: a log that is still needed is lost from its first damaged byte on.
    ///
    /// # Errors
    /// If it failed: then it stays where it is, which is safe too.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What housekeeping says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Whether there is more to do at once.
    pub more: bool,
}

/// Reads what is committed.
pub trait StoreReader: Send {
    /// Identity of this spool, made with it.
    fn spool_id(&self) -> Result<String, StoreError>;
    /// When the newest commit was made; none in a new store.
    fn time_mark(&self) -> Result<Option<TimeMark>, StoreError>;
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
    /// Dead letters in the order of acceptance.
    fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, StoreError>;
    /// How many dead letters there are, and the bytes of their events.
    fn count_dead_letters(&self, selection: &Selection) -> Result<(u64, u64), StoreError>;
    /// What it holds and how much room it has.
    fn stats(&self) -> Result<Stats, StoreError>;
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
    /// Deliveries that were made and are not kept in memory: [`StoreReader::due`] finds them from now on. Others are left
    /// as they are.
    Shelve {
        /// Which ones.
        deliveries: Vec<i64>,
    },
    /// The lane is over its backlog limit: ends the oldest waiting deliveries as discarded, reason `backlog_full`, until no
    /// more than `keep` are open, at most `limit`.
    Trim {
        /// The lane.
        lane: i64,
        /// How many may stay open.
        keep: u64,
        /// Deliveries whose round is under way: they stay.
        except: HashSet<i64>,
        /// How many at once.
        limit: usize,
    },
    /// The endpoint is down: ends waiting deliveries whose window has passed as expired, reason `endpoint_down`, if a probe
    /// made since their last due time has failed and a round of their own has opened their window.
    ExpireDown {
        /// The lane.
        lane: i64,
        /// The lane's time now, in which the window has passed.
        now_ms: i64,
        /// Length of the window.
        window_ms: i64,
        /// When the newest failed probe began, in the lane's time: deliveries due by then may end.
        probe_ms: i64,
        /// Deliveries that are in hand: they stay.
        except: HashSet<i64>,
        /// How many at once.
        limit: usize,
    },
    /// Reopens dead letters with a fresh schedule, due at once.
    Redeliver {
        /// Which ones; those that ended at or after `ended_before_ms` are left out, and those of lanes not in `lanes`.
        selection: Selection,
        /// See `selection`.
        ended_before_ms: i64,
        /// Lanes whose sync exists.
        lanes: HashSet<i64>,
        /// How many at once.
        limit: usize,
    },
    /// Marks dead letters as exported.
    MarkExported {
        /// Which ones.
        selection: Selection,
    },
}

/// Which dead letters; every condition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Id of the project.
    pub project: String,
    /// Resource name of the sync; none: every sync of the project.
    pub sync: Option<String>,
    /// One of these reasons; empty: any.
    pub reasons: Vec<EndingReason>,
    /// One of these event types; empty: any.
    pub event_types: Vec<String>,
    /// Ended at or after this time.
    pub ended_from_ms: Option<i64>,
    /// Ended before this time.
    pub ended_before_ms: Option<i64>,
    /// These alone (`webhook-id`s); empty: any.
    pub delivery_ids: Vec<WebhookId>,
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
    Unmatched {
        /// Its key, if it can be known again.
        key: Option<InsertKey>,
    },
    /// At least one sync wants it.
    Matched(Box<Matched>),
}

/// An event that at least one sync wants.
#[derive(Clone, Debug)]
pub struct Matched {
    /// The event.
    pub event: Arc<StoredEvent>,
    /// Its key, if it can be known again.
    pub key: Option<InsertKey>,
    /// Which ones.
    pub lanes: Vec<Target>,
}

/// A lane that an event goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its sync.
    pub key: LaneKey,
    /// Refuse the events while so many deliveries of it are open; none: no limit.
    pub refuse_from: Option<u64>,
}

/// What makes two events the same: a 128-bit hash of project, `device_id` and `$insert_id`.
pub type InsertKey = [u8; 16];

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
    /// The event itself, to be kept for another round or as a dead letter; none where it is damaged.
    pub body: Option<Arc<StoredEvent>>,
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
    /// Of `Accept`.
    Accepted {
        /// Deliveries that were made.
        created: Vec<Created>,
        /// Open deliveries of each lane that got some, afterwards.
        open: Vec<(i64, u64)>,
    },
    /// Of `Accept`: there is no room, nothing was stored.
    Full(Full),
    /// Of `Accept`: there is a gap, nothing was stored.
    Gap {
        /// What should have come.
        expected: u64,
    },
    /// Of `Redeliver`.
    Redelivered {
        /// Lanes that got some, and how many.
        lanes: Vec<(i64, u64)>,
        /// Whether there may be more.
        more: bool,
        /// Sequence after the newest report.
        next_report: u64,
    },
    /// Of `MarkExported`: how many count as exported now.
    Marked(u64),
    /// Of `EndLane`, `Trim` and `ExpireDown`.
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

/// What has no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Full {
    /// A sync that has its producers refused has reached its backlog limit.
    Lane(LaneKey),
    /// The project has used up its share.
    Project,
    /// The spool has reached its limit.
    Spool,
    /// The disk is full.
    Disk,
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
