//! What a store is told.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use sluice_pipeline::{
    delivery::DeliveryState,
    event::{EventId, WebhookId},
};
use sluice_proto::{
    delivery::v1::{EndingOutcome, EndingReason},
    sync::v1::Sync,
};

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
    /// Deliveries that were made and are not kept in memory: [`due`](super::StoreReader::due) finds them from now on. Others are left
    /// as they are.
    Shelve {
        /// Which ones.
        deliveries: Vec<i64>,
    },
    /// The lane is over its backlog limit: ends the oldest waiting deliveries, in the order of acceptance, as discarded,
    /// reason `backlog_full`, until no more than `keep` are open, at most `limit`. Those that were made and not shelved do
    /// not wait: they stay.
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
