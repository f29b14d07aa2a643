//! What the control plane keeps: syncs with their change log, and the nodes' reports. All SQL is in this folder.
//!
//! Every write is one transaction and is told to the [`Publisher`] after its commit, in the order of the commits. A write
//! runs to its end even if the call that asked for it is cancelled.

mod alerts;
mod attempts;
mod audit;
mod batch;
mod chunks;
mod copies;
mod earlier;
mod forget;
mod gathered;
mod keys;
mod many;
mod marks;
mod reports;
mod requests;
mod rollups;
mod sealed;
mod sqlite;
mod syncs;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use sluice_host::sealing::{Sealer, SecretsKey, Unopenable};
use sqlx::SqlitePool;
use thiserror::Error;

pub use self::copies::{Contents, CopyError, backup, key_of, restore, verify};
use self::gathered::Gathered;
pub(crate) use self::{
    alerts::{Finding, Notice, RuleChange, Turn},
    attempts::{AttemptQuery, AttemptScope},
    audit::AuditQuery,
    batch::Step,
    reports::{Reports, attempt},
    requests::{Once, Written},
    syncs::Change,
};
use crate::{publish::Publisher, reports::chunk::Press};

/// The store. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    /// One connection: writes queue here.
    writer: SqlitePool,
    readers: SqlitePool,
    publisher: Publisher,
    sealer: Sealer,
    /// Held while reports are compressed, never across an await.
    press: Arc<Mutex<Press>>,
    /// What the figures' tables lack.
    gathered: Arc<Gathered>,
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
    /// A newer version has changed the tables.
    #[error(
        "the store is of a newer version than this program: its tables have the form {found}, known are those up to {newest}; start \
         that version, or restore a backup from before"
    )]
    Newer {
        /// The form that it has.
        found: i64,
        /// The newest that is known.
        newest: i64,
    },
    /// Something was stored that this version cannot read.
    #[error("the store holds {what} that cannot be read")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Why.
        source: prost::DecodeError,
    },
    /// The store's secrets are sealed with another key.
    #[error(
        "the store's secrets are sealed with another key: give the one that it was started with before (--secrets-key-file)"
    )]
    OtherKey,
    /// A secret of a sync cannot be opened.
    #[error("a secret of {sync} cannot be opened")]
    Sealed {
        /// The sync's name.
        sync: String,
        /// Why.
        source: Unopenable,
    },
    /// The library that compresses reports has failed.
    #[error("reports cannot be compressed or read")]
    Compression(#[source] io::Error),
    /// The task that wrote was ended before it was done.
    #[error("the write was broken off")]
    BrokenOff,
}

impl Store {
    /// Opens the store in `folder`, made if it is not there, whose secrets are sealed with `key`, and tells `publisher` where it
    /// stands.
    ///
    /// # Errors
    /// If the file cannot be used or holds something else.
    pub(crate) async fn open(folder: &Path, key: &SecretsKey, publisher: Publisher) -> Result<Self, StoreError> {
        let (writer, readers, sealer) = sqlite::open(folder, key).await?;
        let press = Arc::new(Mutex::new(Press::new().map_err(StoreError::Compression)?));
        let store = Self { writer, readers, publisher, sealer, press, gathered: Arc::default() };
        store.take_over_reports().await?;
        store.gather_again().await?;
        store.publisher.revision(store.newest().await?);
        Ok(store)
    }

    /// What keeps an etag from telling anything of the secrets that it covers.
    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Seals the data key of the store in `folder`, which nobody uses, with another key.
    pub(crate) async fn rotate_key(folder: &Path, old: &SecretsKey, new: &SecretsKey) -> Result<(), StoreError> {
        let (_, writer) = sqlite::open_writer(folder).await?;
        let rotated = sealed::rotate(&writer, old, new).await;
        writer.close().await;
        rotated
    }

    /// Waits for what is under way and closes the files.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.write_figures().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "figures are made up for at the next start");
        }
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::{name::SyncName, sync::v1::Sync};

    use super::*;
    use crate::audit::Actor;

    fn key() -> SecretsKey {
        "00".repeat(32).parse().unwrap()
    }

    async fn put(store: &Store, id: &'static str) {
        let name = SyncName { project: "default".into(), sync: id.into() };
        let put = move |_: Option<&Sync>, revision| {
            let uid = format!("uid of {id}");
            Ok::<_, StoreError>(Change::Put(Box::new(Sync { uid, revision, ..Default::default() })))
        };
        store.change_sync(&name, None, Actor::system("test", 0), put).await.unwrap();
    }

    #[tokio::test]
    async fn beyond_the_kept_revisions_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(folder.path(), &key(), Publisher::new(sluice_host::clock::Clock::system())).await.unwrap();
        for id in ["a", "b", "c", "d"] {
            put(&store, id).await;
        }
        assert_eq!(store.changes_since(0).await.unwrap().unwrap().upserts.len(), 4);
        assert_eq!(store.trim_change_log(2).await.unwrap(), 2);
        assert!(store.changes_since(1).await.unwrap().is_none());
        let changes = store.changes_since(2).await.unwrap().unwrap();
        assert_eq!((changes.position.revision, changes.upserts.len()), (4, 2));
        store.close().await;
    }

    #[tokio::test]
    async fn an_epoch_lasts_as_long_as_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let mut epochs = Vec::new();
        for _ in 0..2 {
            let store =
                Store::open(folder.path(), &key(), Publisher::new(sluice_host::clock::Clock::system())).await.unwrap();
            epochs.push(store.newest().await.unwrap().epoch);
            store.close().await;
        }
        assert_eq!(epochs[0], epochs[1]);
        let other = tempfile::tempdir().unwrap();
        let store =
            Store::open(other.path(), &key(), Publisher::new(sluice_host::clock::Clock::system())).await.unwrap();
        assert_ne!(store.newest().await.unwrap().epoch, epochs[0]);
        store.close().await;
    }
}
