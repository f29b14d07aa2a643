//! Copies of the store: taken while it runs, verified to the last secret, restored as a new epoch.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sluice_host::{
    data_folder::{DataFolder, DataFolderError},
    sealing::{KEY_FILE, KeyError, SecretsKey},
};
use sluice_pipeline::catalog::CatalogHash;
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use thiserror::Error;
use uuid::Uuid;

use super::{
    StoreError, chunks, sealed,
    sqlite::{FILE, make_private, refuse_newer},
};
use crate::reports::head::Read;

/// Why a copy could not be taken, verified or restored.
#[derive(Debug, Error)]
pub enum CopyError {
    /// A file could not be read or written.
    #[error("{path} cannot be used")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is something already.
    #[error("{path} is there already: nothing is overwritten")]
    Exists {
        /// Where.
        path: String,
    },
    /// It is damaged, or something else.
    #[error("{path} is damaged, or no store of a control plane: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The folder to restore into is somebody else's, or in use.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The key that was given cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store refuses, such as with another key or a newer form.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The store's life.
    pub epoch: String,
    /// Newest revision.
    pub revision: i64,
    /// Syncs, enabled and disabled.
    pub sync_count: i64,
    /// Attempts.
    pub attempt_count: i64,
}

/// Copies the store in `data_dir`, which may run meanwhile, as it is at one moment, to the new file `to`, and verifies the copy.
/// Secrets stay sealed; the key is not in it.
///
/// # Errors
/// See [`CopyError`]; there is no copy then.
pub async fn backup(data_dir: &Path, to: &Path) -> Result<Contents, CopyError> {
    let store = data_dir.join(FILE);
    if to.exists() {
        return Err(CopyError::Exists { path: to.display().to_string() });
    }
    let partial = with_suffix(to, ".partial");
    let _ = fs::remove_file(&partial);
    let copied = async {
        // Made before, for its owner alone: SQLite fills a file that is empty.
        make_private(&partial).map_err(|source| unusable(&partial, source))?;
        let pool = open(&store, false).await?;
        let copied = sqlx::query("VACUUM INTO ?").bind(partial.display().to_string()).execute(&pool).await;
        pool.close().await;
        copied.map_err(StoreError::from)?;
        sync(&partial)?;
        let contents = verify(&partial, None).await?;
        fs::rename(&partial, to).map_err(|source| unusable(to, source))?;
        Ok(contents)
    };
    let copied = copied.await;
    if copied.is_err() {
        let _ = fs::remove_file(&partial);
    }
    copied
}

/// Reads all of a store that nobody writes to, and checks that it fits together; with `key` it opens every secret, too.
///
/// # Errors
/// What is wrong with it.
pub async fn verify(file: &Path, key: Option<&SecretsKey>) -> Result<Contents, CopyError> {
    if !file.is_file() {
        return Err(unusable(file, io::Error::from(io::ErrorKind::NotFound)));
    }
    let pool = open(file, true).await?;
    let verified = check(&pool, file, key).await;
    pool.close().await;
    verified
}

/// Puts a copy into `data_dir`, which must be empty or new, as a new epoch: nodes that have seen later changes take what it holds.
/// The copy is verified before.
///
/// # Errors
/// See [`CopyError`]; the folder holds no store then.
pub async fn restore(from: &Path, data_dir: &Path, key: Option<&SecretsKey>) -> Result<Contents, CopyError> {
    verify(from, key).await?;
    let folder = DataFolder::open(data_dir, "control-plane")?;
    let store = folder.path().join(FILE);
    if store.exists() {
        return Err(CopyError::Exists { path: store.display().to_string() });
    }
    let partial = with_suffix(&store, ".partial");
    let _ = fs::remove_file(&partial);
    make_private(&partial).map_err(|source| unusable(&partial, source))?;
    fs::copy(from, &partial).map_err(|source| unusable(&partial, source))?;
    let pool = open(&partial, false).await?;
    let begun = sqlx::query("UPDATE meta SET epoch = ?").bind(Uuid::new_v4().to_string()).execute(&pool).await;
    pool.close().await;
    begun.map_err(StoreError::from)?;
    sync(&partial)?;
    let contents = verify(&partial, key).await?;
    // What is left of a store that was there belongs to that one.
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(with_suffix(&store, suffix));
    }
    fs::rename(&partial, &store).map_err(|source| unusable(&store, source))?;
    sync(folder.path())?;
    Ok(contents)
}

/// The key that the operator gives, or the one in the folder.
///
/// # Errors
/// If it is no key.
pub fn key_of(data_dir: &Path, given: Option<SecretsKey>) -> Result<Option<SecretsKey>, KeyError> {
    let file = data_dir.join(KEY_FILE);
    match given {
        Some(key) => Ok(Some(key)),
        None if file.exists() => SecretsKey::read(&file).map(Some),
        None => Ok(None),
    }
}

async fn check(pool: &SqlitePool, file: &Path, key: Option<&SecretsKey>) -> Result<Contents, CopyError> {
    let damaged = |reason: String| CopyError::Damaged { path: file.display().to_string(), reason };
    let broken = |error: sqlx::Error| damaged(error.to_string());
    let found: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(pool).await.map_err(broken)?;
    if found != "ok" {
        return Err(damaged(found));
    }
    if !sqlx::query("PRAGMA foreign_key_check").fetch_all(pool).await.map_err(broken)?.is_empty() {
        return Err(damaged("rows refer to others that are not there".to_owned()));
    }
    refuse_newer(pool).await?;
    let (epoch, revision): (String, i64) =
        sqlx::query_as("SELECT epoch, revision FROM meta").fetch_one(pool).await.map_err(broken)?;
    let hash: String = sqlx::query_scalar("SELECT catalog_hash FROM change_log WHERE revision = ?")
        .bind(revision)
        .fetch_one(pool)
        .await
        .map_err(broken)?;
    let syncs: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT uid, etag, content FROM syncs ORDER BY uid").fetch_all(pool).await.map_err(broken)?;
    let counted = CatalogHash::of(syncs.iter().map(|(uid, etag, _)| (uid.as_str(), etag.as_str())));
    if !counted.is(&hash).unwrap_or_else(|| hash == earlier_hash(&syncs)) {
        return Err(damaged("the syncs are not those of its newest revision".to_owned()));
    }
    let sealer = match key {
        Some(key) => sealed::opened(pool, key).await?,
        None => None,
    };
    for (_, _, content) in &syncs {
        match &sealer {
            Some(sealer) => drop(sealed::decode(sealer, content)?),
            None => sealed::check(content)?,
        }
    }
    let attempt_count = count_attempts(pool, file).await?;
    Ok(Contents { epoch, revision, sync_count: i64::try_from(syncs.len()).unwrap_or(i64::MAX), attempt_count })
}

/// How many attempts there are, after every report was read. In a store of an earlier form they have rows of their own.
async fn count_attempts(pool: &SqlitePool, file: &Path) -> Result<i64, CopyError> {
    let damaged = |reason: String| CopyError::Damaged { path: file.display().to_string(), reason };
    let broken = |error: sqlx::Error| damaged(error.to_string());
    let has = async |table: &str| -> Result<bool, CopyError> {
        let has = sqlx::query_scalar("SELECT count(*) > 0 FROM sqlite_schema WHERE name = ?").bind(table.to_owned());
        has.fetch_one(pool).await.map_err(broken)
    };
    let mut count = 0;
    if has("attempts").await? {
        count += sqlx::query_scalar::<_, i64>("SELECT count(*) FROM attempts").fetch_one(pool).await.map_err(broken)?;
    }
    if has("report_chunks").await? {
        let mut reader = chunks::reader()?;
        let mut rows = sqlx::query("SELECT id, attempts, endings, body_bytes, body FROM report_chunks").fetch(pool);
        while let Some(row) = rows.try_next().await.map_err(broken)? {
            let (id, attempts, endings): (i64, i64, i64) =
                (row.try_get(0).map_err(broken)?, row.try_get(1).map_err(broken)?, row.try_get(2).map_err(broken)?);
            let reports =
                chunks::open(&mut reader, &row)?.map_err(|error| damaged(format!("reports {id}: {error}")))?;
            let mut found = (0, 0);
            for report in reports {
                if let Ok(Read::Kept(head)) = Read::of(report) {
                    found = (found.0 + i64::from(head.attempt.is_some()), found.1 + i64::from(head.ended.is_some()));
                }
            }
            if found != (attempts, endings) {
                return Err(damaged(format!("reports {id}: {found:?} of {:?} are there", (attempts, endings))));
            }
            count += attempts;
        }
    }
    Ok(count)
}

/// The hash as versions before this one made it, of syncs in the order of their uids.
fn earlier_hash(syncs: &[(String, String, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for part in syncs.iter().flat_map(|(uid, etag, _)| [uid, etag]) {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn open(file: &Path, read_only: bool) -> Result<SqlitePool, CopyError> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).read_only(read_only);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    pool.map_err(|error| CopyError::Damaged { path: file.display().to_string(), reason: error.to_string() })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn sync(path: &Path) -> Result<(), CopyError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: io::Error) -> CopyError {
    CopyError::File { path: path.display().to_string(), source }
}
