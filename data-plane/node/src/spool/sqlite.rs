//! The store on SQLite (WAL, `synchronous = FULL`): one connection writes; a commit is one fsync.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    sqlite_read::SqliteReader,
    sqlite_write::Writer,
    store::{Change, Effect, Store, StoreError, StoreFactory, StoreReader},
};
use crate::report;

/// Format of the file, in `PRAGMA user_version`.
const FORMAT: i64 = 1;

/// Opens the store in a folder.
#[derive(Debug)]
pub struct SqliteFactory {
    path: PathBuf,
    reporter: report::Reporter,
}

impl SqliteFactory {
    /// The store is the file `spool.db` of `folder`. `reporter` names this node in reports about endings that no round
    /// brought about.
    #[must_use]
    pub fn new(folder: &Path, reporter: report::Reporter) -> Self {
        Self { path: folder.join("spool.db"), reporter }
    }
}

impl StoreFactory for SqliteFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(&self.path, self.reporter.clone())?))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        Ok(Box::new(SqliteReader::open(&self.path)?))
    }
}

struct SqliteStore {
    connection: Connection,
    lanes: HashMap<Arc<str>, i64>,
    next_event: i64,
    next_delivery: i64,
    next_report: i64,
    reporter: report::Reporter,
}

impl SqliteStore {
    fn open(path: &Path, reporter: report::Reporter) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        restrict(path);
        // The writer checkpoints by itself every 4,000 pages: with a checkpointer beside it the log would grow.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000;",
        )?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            0 => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(include_str!("schema.sql"))?;
                transaction.execute(
                    "INSERT INTO state (id, spool_id) VALUES (1, ?)",
                    [uuid::Uuid::new_v4().simple().to_string()],
                )?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
                transaction.commit()?;
            }
            FORMAT => {}
            found => return Err(StoreError::Format { found, expected: FORMAT }),
        }
        connection.set_prepared_statement_cache_capacity(64);
        let lanes = connection
            .prepare("SELECT uid, lane FROM lanes")?
            .query_map([], |row| Ok((Arc::from(row.get::<_, String>(0)?), row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let after = |table: &str, column: &str| {
            connection.query_row(&format!("SELECT COALESCE(MAX({column}), 0) + 1 FROM {table}"), [], |row| row.get(0))
        };
        Ok(Self {
            lanes,
            next_event: after("events", "event")?,
            next_delivery: after("deliveries", "delivery")?,
            next_report: connection.query_row("SELECT next_report FROM state", [], |row| row.get(0))?,
            reporter,
            connection,
        })
    }
}

impl Store for SqliteStore {
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let before = (self.next_event, self.next_delivery, self.next_report);
        let result = self.try_apply(changes, now_ms);
        if result.is_err() {
            (self.next_event, self.next_delivery, self.next_report) = before;
            // Lanes that were made in the failed transaction are not there.
            self.lanes.clear();
        }
        result
    }
}

impl SqliteStore {
    fn try_apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let transaction = self.connection.transaction()?;
        let mut writer = Writer {
            transaction: &transaction,
            lanes: &mut self.lanes,
            next_event: &mut self.next_event,
            next_delivery: &mut self.next_delivery,
            next_report: &mut self.next_report,
            reporter: &self.reporter,
            now_ms,
        };
        let effects = changes.iter().map(|change| writer.apply(change)).collect::<Result<Vec<_>, _>>()?;
        transaction
            .prepare_cached("UPDATE state SET newest_ms = MAX(newest_ms, ?), next_report = ?")?
            .execute(params![now_ms, self.next_report])?;
        transaction.commit()?;
        Ok(effects)
    }
}

/// The file holds events and secrets: for its owner alone.
fn restrict(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)) {
            tracing::warn!(%error, "cannot restrict the spool's file to its owner");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}
