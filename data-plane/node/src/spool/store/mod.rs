//! The narrow border behind which a store lives: one writer that applies changes in a transaction, and readers beside it.
//! Plain data in and out; times are milliseconds since the epoch.

mod answer;
mod change;
mod effect;

use std::{io, time::Duration};

use rusqlite::ErrorCode;
use sluice_host::clock::TimeMark;
use thiserror::Error;

pub use self::{
    answer::{
        Backlog, Damaged, DeadLetterPage, DeadLetterQuery, DeadLetterRow, DeliveryCounts, Due, DueDelivery, DueQuery,
        EventCounts, LaneRow, LaneStats, Ledger, Reports, Stats, StoredCatalog,
    },
    change::{
        Accept, CatalogChange, Change, InsertKey, Item, LaneKey, Matched, Producer, Selection, Settled, Settlement,
        StoredEvent, Target,
    },
    effect::{Created, Effect, Full},
};

/// Why a store refused.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the spool's database failed")]
    Database(#[from] rusqlite::Error),
    /// The journal failed.
    #[error("the spool's journal failed")]
    Journal(#[source] io::Error),
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
    /// What was committed last is in the journal alone, where no reader finds it.
    #[error("what was committed last cannot be read yet")]
    Unmerged,
    /// Something is larger than the format allows.
    #[error("an event is too large for the spool")]
    TooLarge,
    /// The spool has stopped.
    #[error("the spool has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether something on disk is damaged, or contradicts what else is there, so that trying again is of no use.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            // What is neither the machine's fault nor a moment's is the file's.
            Self::Database(error) => match error.sqlite_error_code() {
                Some(code) => matches!(
                    code,
                    ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ConstraintViolation
                        | ErrorCode::TypeMismatch
                        | ErrorCode::TooBig
                        | ErrorCode::Unknown
                ),
                None => true,
            },
            _ => false,
        }
    }

    /// Whether there was no room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::Database(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Journal(error) => {
                matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether the system refused to read or write.
    #[must_use]
    pub fn is_io(&self) -> bool {
        match self {
            Self::Database(error) => error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
            Self::Journal(_) => true,
            _ => false,
        }
    }
}

/// Applies changes. One call is one transaction: when it returns, all of it is on disk and synced, or none.
pub trait Store: Send {
    /// Applies the changes in order; gives the effect of each, in the same order.
    ///
    /// # Errors
    /// If any part failed: then nothing was changed.
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError>;
    /// How long the last step of the newest commit took, which brings it to the disk; none if nothing was committed since the question
    /// before.
    fn take_sync_time(&mut self) -> Option<Duration> {
        None
    }
    /// One bounded piece of housekeeping: retention, what has grown old, room that can be given back. The writer calls it
    /// between commits.
    ///
    /// # Errors
    /// If it failed: then nothing was changed.
    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError>;
    /// Whether housekeeping should not wait for its time.
    fn upkeep_is_due(&self) -> bool {
        false
    }
    /// Brings what is committed to where readers find it.
    ///
    /// # Errors
    /// If it failed: then it is as safe as before, and found after the next start.
    fn merge(&mut self) -> Result<(), StoreError>;
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
    /// Whether something was done: then there may be more, and it is worth asking again.
    pub more: bool,
}

/// Reads what is committed: deliveries that wait and dead letters at once, all else as of the last [`Store::merge`] or housekeeping.
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
    /// The lanes with open deliveries, and how long the oldest of each has waited at `now_ms`.
    fn backlogs(&self, now_ms: i64) -> Result<Vec<Backlog>, StoreError>;
    /// Dead letters in the order of acceptance.
    fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, StoreError>;
    /// How many dead letters there are, and the bytes of their events.
    fn count_dead_letters(&self, selection: &Selection) -> Result<(u64, u64), StoreError>;
    /// What it holds and how much room it has.
    fn stats(&self) -> Result<Stats, StoreError>;
    /// Bytes of the files on disk.
    fn file_bytes(&self) -> Result<u64, StoreError>;
}

/// Opens stores on the same data.
pub trait StoreFactory: Send + std::marker::Sync {
    /// The writer; called once.
    fn writer(&self) -> Result<Box<dyn Store>, StoreError>;
    /// A reader; called for each that is needed, after the writer.
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError>;
}
