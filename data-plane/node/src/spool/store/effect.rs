//! What a change did.

use std::sync::Arc;

use super::{LaneKey, StoredEvent};

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
