//! The database file: opened, made, and checked to be of this format.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use crate::spool::store::StoreError;

/// Format of the file, in `PRAGMA user_version`.
const FORMAT: i64 = 3;

/// The one before had no journal; the writer makes this one of it.
const BEFORE_JOURNAL: i64 = 2;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4_096;

/// Statements that stay compiled.
const STATEMENTS: usize = 128;

/// Opens the file for the writer, or makes it. A commit is one fsync of the log.
pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    restrict(path);
    // The writer checkpoints by itself, every 1,000 pages so that nobody waits long for it: with a checkpointer beside it the log would
    // grow.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16000; PRAGMA mmap_size = 0; PRAGMA max_page_count = {};",
        if max_bytes == 0 { u64::from(u32::MAX) - 1 } else { max_bytes.div_ceil(PAGE_BYTES) }
    ))?;
    // Nobody else writes here. Where somebody does for a moment, the writer tries again by itself.
    connection.busy_timeout(Duration::ZERO)?;
    if version(&connection)? == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction
            .execute("INSERT INTO state (id, spool_id) VALUES (1, ?)", [uuid::Uuid::new_v4().simple().to_string()])?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()?;
    }
    if version(&connection)? == BEFORE_JOURNAL {
        let transaction = connection.transaction()?;
        transaction.execute_batch(
            "ALTER TABLE state ADD COLUMN journal INTEGER NOT NULL DEFAULT 0;
             ALTER TABLE state ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;",
        )?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()?;
    }
    check_format(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Opens the file for reading alone.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.execute_batch("PRAGMA cache_size = -8000; PRAGMA mmap_size = 0;")?;
    check_format(&connection)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn check_format(connection: &Connection) -> Result<(), StoreError> {
    match version(connection)? {
        FORMAT => Ok(()),
        found => Err(StoreError::Format { found, expected: FORMAT }),
    }
}

fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
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
