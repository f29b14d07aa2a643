//! Syncs as they are stored: their secrets sealed, all else readable.

use prost::Message as _;
use sluice_host::sealing::{Sealer, SecretsKey, Unopenable};
use sluice_pipeline::secret::change_secrets;
use sluice_proto::sync::v1::Sync;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::StoreError;

/// The form in which a sync is stored.
///
/// # Errors
/// If a secret is too long to be sealed, which none is.
pub(super) fn encode(sealer: &Sealer, sync: &Sync) -> Result<Vec<u8>, StoreError> {
    let mut sealed = sync.clone();
    change_secrets(&mut sealed, |place, value| sealer.seal_text(place, value))
        .map_err(|source| StoreError::Sealed { sync: sync.name.clone(), source })?;
    Ok(sealed.encode_to_vec())
}

/// The sync that is stored so, its secrets in clear.
///
/// # Errors
/// If it cannot be read, or one of its secrets cannot be opened.
pub(super) fn decode(sealer: &Sealer, bytes: &[u8]) -> Result<Sync, StoreError> {
    let mut sync = Sync::decode(bytes).map_err(|source| StoreError::Unreadable { what: "a sync", source })?;
    match change_secrets(&mut sync, |place, value| sealer.open_text(place, value)) {
        Ok(()) => Ok(sync),
        Err(source) => Err(StoreError::Sealed { sync: sync.name, source }),
    }
}

/// Opens the store's data key with the operator's. A store that has none yet gets one: what it holds in clear is sealed, and no page
/// of its files holds it any longer.
pub(super) async fn unlock(writer: &SqlitePool, key: &SecretsKey) -> Result<Sealer, StoreError> {
    let mut connection = writer.acquire().await?;
    if let Some(kept) = kept(&mut connection).await? {
        return Sealer::with_data_key(key, &kept).map_err(|_| StoreError::OtherKey);
    }
    let (sealer, kept) = Sealer::with_new_data_key(key).map_err(|_| StoreError::OtherKey)?;
    let mut transaction = writer_begin(&mut connection).await?;
    let in_clear =
        |content: &[u8]| Sync::decode(content).map_err(|source| StoreError::Unreadable { what: "a sync", source });
    let count = seal_all(&mut transaction, &sealer, in_clear).await?;
    sqlx::query("INSERT INTO data_key (id, kept) VALUES (1, ?)").bind(kept).execute(&mut *transaction).await?;
    transaction.commit().await?;
    if count > 0 {
        forget_pages(&mut connection).await?;
        tracing::warn!("the secrets in the store were in clear and are sealed now");
    }
    Ok(sealer)
}

/// What opens the secrets of a store that is only read; none: they are in clear, as in a store of before.
pub(super) async fn opened(pool: &SqlitePool, key: &SecretsKey) -> Result<Option<Sealer>, StoreError> {
    let mut connection = pool.acquire().await?;
    let has_key = "SELECT count(*) FROM sqlite_schema WHERE name = 'data_key'";
    if sqlx::query_scalar::<_, i64>(has_key).fetch_one(&mut *connection).await? == 0 {
        return Ok(None);
    }
    match kept(&mut connection).await? {
        Some(kept) => Sealer::with_data_key(key, &kept).map(Some).map_err(|_| StoreError::OtherKey),
        None => Ok(None),
    }
}

/// Whether a stored sync can be read, its secrets aside.
pub(super) fn check(bytes: &[u8]) -> Result<(), StoreError> {
    Sync::decode(bytes).map(drop).map_err(|source| StoreError::Unreadable { what: "a sync", source })
}

async fn writer_begin(connection: &mut SqliteConnection) -> Result<sqlx::Transaction<'_, sqlx::Sqlite>, StoreError> {
    let begin = sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE");
    Ok(sqlx::Transaction::<sqlx::Sqlite>::begin(connection, Some(begin)).await?)
}

async fn kept(connection: &mut SqliteConnection) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar("SELECT kept FROM data_key").fetch_optional(connection).await?)
}

/// Seals every secret anew with a new data key, and that with another key of the operator, in one transaction: who has the old key,
/// or has had the old data key, opens nothing any longer.
pub(super) async fn rotate(writer: &SqlitePool, old: &SecretsKey, new: &SecretsKey) -> Result<(), StoreError> {
    let mut connection = writer.acquire().await?;
    let kept = kept(&mut connection).await?.ok_or(StoreError::OtherKey)?;
    let before = Sealer::with_data_key(old, &kept).map_err(|Unopenable| StoreError::OtherKey)?;
    let (after, kept) = Sealer::with_new_data_key(new).map_err(|Unopenable| StoreError::OtherKey)?;
    let mut transaction = writer_begin(&mut connection).await?;
    seal_all(&mut transaction, &after, |content| decode(&before, content)).await?;
    sqlx::query("UPDATE data_key SET kept = ?").bind(kept).execute(&mut *transaction).await?;
    transaction.commit().await?;
    forget_pages(&mut connection).await
}

/// Seals every stored sync, as `read` gives it; gives how many there are.
async fn seal_all(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    read: impl Fn(&[u8]) -> Result<Sync, StoreError>,
) -> Result<usize, StoreError> {
    let rows = sqlx::query("SELECT rowid, content FROM syncs").fetch_all(&mut *connection).await?;
    for row in &rows {
        let (id, content): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        let sealed = encode(sealer, &read(content)?)?;
        sqlx::query("UPDATE syncs SET content = ? WHERE rowid = ?")
            .bind(sealed)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(rows.len())
}

/// Leaves nothing in the files of what was there before: free pages and the write-ahead log still hold it.
async fn forget_pages(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("VACUUM").execute(&mut *connection).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *connection).await?;
    Ok(())
}
