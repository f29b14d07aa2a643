//! What the control plane keeps: syncs with their change log, and the nodes' reports. All SQL is in this folder.
//!
//! Every write is one transaction and is told to the [`Publisher`] after its commit, in the order of the commits. A write
//! runs to its end even if the call that asked for it is cancelled.

mod attempts;
mod metrics;
mod reports;
mod sqlite;
mod syncs;

use std::{io, path::Path};

use sqlx::SqlitePool;
use thiserror::Error;

pub(crate) use self::{
    attempts::{AttemptQuery, AttemptScope},
    reports::{AttemptRow, EndingRow, ReportedSync, Reports, id_bytes},
    syncs::Change,
};
use crate::publish::Publisher;

/// The store. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    /// One connection: writes queue here.
    writer: SqlitePool,
    readers: SqlitePool,
    publisher: Publisher,
}

/// Why the store could not be opened or used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file could not be made or is not accessible.
    #[error("the store's file {path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The database failed.
    #[error("the store failed")]
    Database(#[from] sqlx::Error),
    /// The tables could not be brought to this version's form.
    #[error("the store's tables could not be brought up to date")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Something was stored that this version cannot read.
    #[error("the store holds {what} that cannot be read")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Why.
        source: prost::DecodeError,
    },
    /// The task that wrote was ended before it was done.
    #[error("the store is closing")]
    Closing,
}

impl Store {
    /// Opens the store in `folder`, made if it is not there, and tells `publisher` where it stands.
    ///
    /// # Errors
    /// If the file cannot be used or holds something else.
    pub(crate) async fn open(folder: &Path, publisher: Publisher) -> Result<Self, StoreError> {
        let (writer, readers) = sqlite::open(folder).await?;
        let store = Self { writer, readers, publisher };
        store.publisher.revision(store.newest().await?);
        Ok(store)
    }

    /// Waits for what is under way and closes the files.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
