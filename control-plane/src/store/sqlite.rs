//! Opens the SQLite file: its settings, its migrations, its epoch.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use sluice_host::sealing::{Sealer, SecretsKey};
use sluice_pipeline::catalog::catalog_hash;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use uuid::Uuid;

use super::{StoreError, sealed};

const FILE: &str = "control-plane.sqlite";
const READERS: u32 = 4;

/// Opens the file in `folder`: a pool of one connection that writes, one of several that read, and what opens its secrets.
pub(super) async fn open(folder: &Path, key: &SecretsKey) -> Result<(SqlitePool, SqlitePool, Sealer), StoreError> {
    let (path, writer) = open_writer(folder).await?;
    let sealer = sealed::unlock(&writer, key).await?;
    begin_epoch(&writer).await?;

    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options(&path).pragma("query_only", "ON"))
        .await?;
    Ok((writer, readers, sealer))
}

/// Opens the file in `folder` for the one that writes, its tables brought to this version's form.
pub(super) async fn open_writer(folder: &Path) -> Result<(PathBuf, SqlitePool), StoreError> {
    let path = folder.join(FILE);
    make_private(&path).map_err(|source| StoreError::File { path: path.display().to_string(), source })?;
    let writer =
        SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None).connect_with(options(&path));
    let writer = writer.await?;
    sqlx::migrate!("migrations/sqlite").run(&writer).await?;
    Ok((path, writer))
}

fn options(path: &PathBuf) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        .pragma("cache_size", "-16000")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("temp_store", "MEMORY")
}

/// A new store begins an epoch at revision 0, the empty catalog.
async fn begin_epoch(writer: &SqlitePool) -> Result<(), StoreError> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let begun = sqlx::query("INSERT INTO meta (id, epoch, revision) VALUES (1, ?, 0) ON CONFLICT DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *transaction)
        .await?;
    if begun.rows_affected() == 1 {
        sqlx::query("INSERT INTO change_log (revision, uid, change, catalog_hash) VALUES (0, '', 'none', ?)")
            .bind(catalog_hash(std::iter::empty()))
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Makes the file readable for its owner alone; the files that SQLite puts beside it take over its mode.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.sync_all()
}
