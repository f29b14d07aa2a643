//! The store on SQLite, with a journal before it. What one commit accepts lies together in a chunk, as in a log; only what outlives
//! its first round or finds no room in memory gets rows of its own. A commit that makes no such row is one entry of the journal.

mod accept;
mod catalog;
mod chunk;
mod chunks;
mod commit;
mod damage;
mod dead_letters;
mod dedup;
mod disk;
mod endings;
mod entries;
mod file;
mod fold;
mod image;
pub(super) mod inspect;
mod journal;
mod merge;
mod read;
mod record;
mod reports;
mod rows;
mod settle;
mod start;
mod state;
mod upkeep;
mod write;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sluice_host::clock::Clock;

use self::{damage::Damage, disk::FreeSpace, read::SqliteReader, write::SqliteStore};
use super::{
    limits::SpoolLimits,
    store::{Store, StoreError, StoreFactory, StoreReader},
};
use crate::report;

/// Name of the database file in a node's data folder.
const FILE: &str = "spool.db";

/// Opens the store in a folder.
#[derive(Clone)]
pub struct SqliteFactory {
    folder: PathBuf,
    reporter: report::Reporter,
    limits: SpoolLimits,
    damage: Damage,
    free_space: Option<FreeSpace>,
    clock: Option<Clock>,
}

impl SqliteFactory {
    /// The store is the file `spool.db` of `folder`. `reporter` names this node in reports about endings that no round
    /// brought about.
    #[must_use]
    pub fn new(folder: &Path, reporter: report::Reporter, limits: SpoolLimits) -> Self {
        Self { folder: folder.to_owned(), reporter, limits, damage: Damage::default(), free_space: None, clock: None }
    }

    /// Marks each commit with the time of this clock, so that the next start knows how long it was away.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Takes another's word for how many bytes are free on the folder's disk. For tests.
    #[must_use]
    pub fn with_free_space(
        self,
        free_space: impl Fn(&Path) -> io::Result<u64> + Send + std::marker::Sync + 'static,
    ) -> Self {
        Self { free_space: Some(Arc::new(free_space)), ..self }
    }
}

impl fmt::Debug for SqliteFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteFactory")
            .field("folder", &self.folder)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl StoreFactory for SqliteFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(self)?))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.folder, self.limits.clone(), self.damage.clone())?))
    }
}
