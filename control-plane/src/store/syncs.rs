//! Syncs and the log of their changes.

use std::collections::HashSet;

use sluice_host::sealing::Sealer;
use sluice_pipeline::catalog::CatalogHash;
use sluice_proto::{name::SyncName, node::v1::Resource, sync::v1::Sync};
use sqlx::{Row as _, Sqlite, Transaction, sqlite::SqliteRow};
use tokio_stream::StreamExt as _;

use super::{
    Store, StoreError,
    audit::append,
    requests::{Once, Written, remember},
    sealed,
};
use crate::{
    audit::{Actor, changes},
    changelog::{Changes, Contents, Encoded, Position},
};

/// Full name of a sync's message.
pub(super) const SYNC: &str = "sluice.sync.v1.Sync";

/// What a write makes of one sync.
pub(crate) enum Change {
    /// Nothing.
    Keep,
    /// Stores it as it is given, with the revision that was told.
    Put(Box<Sync>),
    /// Removes it.
    Delete,
}

impl Store {
    /// Where the catalog stands.
    pub(crate) async fn newest(&self) -> Result<Position, StoreError> {
        let mut transaction = self.readers.begin().await?;
        position(&mut transaction).await
    }

    /// How many syncs a project has.
    pub(crate) async fn sync_count(&self, project: &str) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM syncs WHERE project = ?").bind(project);
        Ok(count.fetch_one(&self.readers).await?)
    }

    /// The uids of a project's syncs.
    pub(crate) async fn sync_uids(&self, project: &str) -> Result<HashSet<String>, StoreError> {
        let uids = sqlx::query_scalar("SELECT uid FROM syncs WHERE project = ?").bind(project);
        Ok(uids.fetch_all(&self.readers).await?.into_iter().collect())
    }

    /// Whether there is a project with that id.
    pub(crate) async fn has_project(&self, project: &str) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT 1 FROM projects WHERE id = ?").bind(project).fetch_optional(&self.readers);
        Ok(found.await?.is_some())
    }

    /// The sync with that name, secrets in clear.
    pub(crate) async fn sync(&self, name: &SyncName) -> Result<Option<Sync>, StoreError> {
        let row = sqlx::query("SELECT content FROM syncs WHERE project = ? AND id = ?")
            .bind(&name.project)
            .bind(&name.sync)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(|row| self.content(row)).transpose()
    }

    /// Up to `limit` syncs of a project whose ids follow `after`, in the order of their ids, secrets in clear.
    pub(crate) async fn syncs(&self, project: &str, after: &str, limit: i64) -> Result<Vec<Sync>, StoreError> {
        let rows = sqlx::query("SELECT content FROM syncs WHERE project = ? AND id > ? ORDER BY id LIMIT ?")
            .bind(project)
            .bind(after)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| self.content(row)).collect()
    }

    /// Changes the sync with that name as `decide` says, which sees it as it is (if it is) and the revision that the
    /// change would have. Nobody else writes between the two. Gives the sync as it is then. A request that is known to have been
    /// done changes nothing.
    ///
    /// # Errors
    /// What `decide` answers, and the store's own; nothing has changed then.
    pub(crate) async fn change_sync<E, D>(
        &self,
        name: &SyncName,
        once: Option<Once>,
        actor: Actor,
        decide: D,
    ) -> Result<Written<Option<Sync>>, E>
    where
        E: From<StoreError> + Send + 'static,
        D: FnOnce(Option<&Sync>, i64) -> Result<Change, E> + Send + 'static,
    {
        let (store, name) = (self.clone(), name.clone());
        tokio::spawn(async move { store.write_sync(&name, once, &actor, decide).await })
            .await
            .unwrap_or_else(|_| Err(StoreError::BrokenOff.into()))
    }

    async fn write_sync<E, D>(
        &self,
        name: &SyncName,
        once: Option<Once>,
        actor: &Actor,
        decide: D,
    ) -> Result<Written<Option<Sync>>, E>
    where
        E: From<StoreError>,
        D: FnOnce(Option<&Sync>, i64) -> Result<Change, E>,
    {
        // Held until the change is published: so they are published in the order of their revisions.
        let mut connection = self.writer.acquire().await.map_err(StoreError::from)?;
        let mut transaction =
            Transaction::<Sqlite>::begin(&mut *connection, Some(sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE")))
                .await
                .map_err(StoreError::from)?;
        if let Some(once) = &once
            && let Some(before) = Written::before(&mut transaction, once).await?
        {
            return Ok(before);
        }

        let row = sqlx::query("SELECT content FROM syncs WHERE project = ? AND id = ?")
            .bind(&name.project)
            .bind(&name.sync)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        let current = row.as_ref().map(|row| self.content(row)).transpose()?;
        let newest = position(&mut transaction).await?;
        let revision = newest.revision.saturating_add(1);
        let decided = decide(current.as_ref(), revision)?;
        if let Some(once) = &once {
            remember(&mut transaction, once, &name.to_string()).await?;
        }
        let before = current.as_ref().map(|current| (*current).clone());
        let (kind, changed) = match (decided, current) {
            (Change::Keep | Change::Delete, None) => return Ok(Written::Now(None)),
            (Change::Keep, current) => {
                transaction.commit().await.map_err(StoreError::from)?;
                return Ok(Written::Now(current));
            }
            (Change::Put(sync), _) => ("upsert", *sync),
            (Change::Delete, Some(current)) => ("delete", current),
        };

        let deleted = kind == "delete";
        let mut hash = hash_of(&mut transaction, &newest).await?;
        if let Some(before) = &before {
            hash.remove(&before.uid, &before.etag);
        }
        if deleted {
            delete(&mut transaction, name).await?;
        } else {
            hash.add(&changed.uid, &changed.etag);
            put(&self.sealer, &mut transaction, name, &changed).await?;
        }
        let entry = actor.entry(&name.to_string(), changes(SYNC, before.as_ref(), (!deleted).then_some(&changed)));
        append(&mut transaction, &[entry]).await?;
        let position = log_change(&mut transaction, revision, &changed.uid, kind, hash).await?;
        transaction.commit().await.map_err(StoreError::from)?;
        self.publisher.revision(position);
        Ok(Written::Now((!deleted).then_some(changed)))
    }

    /// The whole catalog as it is now.
    pub(crate) async fn contents(&self) -> Result<Contents, StoreError> {
        let mut transaction = self.readers.begin().await?;
        let position = position(&mut transaction).await?;
        let mut syncs = Vec::new();
        // Row by row: decoded, the syncs take several times as much memory as they do encoded.
        let mut rows = sqlx::query("SELECT content FROM syncs ORDER BY uid").fetch(&mut *transaction);
        while let Some(row) = rows.next().await {
            syncs.push(self.encoded(&row?)?);
        }
        Ok(Contents { position, syncs })
    }

    /// What has changed since `revision`; none if the change log doesn't go back that far.
    pub(crate) async fn changes_since(&self, revision: i64) -> Result<Option<Changes>, StoreError> {
        let mut transaction = self.readers.begin().await?;
        let position = position(&mut transaction).await?;
        let logged = sqlx::query_scalar("SELECT catalog_hash FROM change_log WHERE revision = ?").bind(revision);
        let Some(hash_then) = logged.fetch_optional(&mut *transaction).await? else { return Ok(None) };
        let rows = sqlx::query(
            "SELECT content FROM syncs WHERE uid IN (SELECT uid FROM change_log WHERE revision > ?) ORDER BY uid",
        )
        .bind(revision)
        .fetch_all(&mut *transaction)
        .await?;
        let deletions = sqlx::query_scalar(
            "SELECT DISTINCT uid FROM change_log
             WHERE revision > ? AND uid NOT IN (SELECT uid FROM syncs) ORDER BY uid",
        )
        .bind(revision)
        .fetch_all(&mut *transaction)
        .await?;
        let upserts = rows.iter().map(|row| self.encoded(row)).collect::<Result<_, _>>()?;
        Ok(Some(Changes { hash_then, position, upserts, deletions }))
    }

    fn encoded(&self, row: &SqliteRow) -> Result<Encoded, StoreError> {
        let sync = self.content(row)?;
        let resource = Resource::of_sync(&sync);
        Ok(Encoded { uid: sync.uid, resource })
    }

    /// The sync in a row's first column, secrets in clear.
    pub(super) fn content(&self, row: &SqliteRow) -> Result<Sync, StoreError> {
        sealed::decode(&self.sealer, row.try_get(0)?)
    }

    /// Forgets what the change log holds beyond the last `kept` revisions.
    pub(crate) async fn trim_change_log(&self, kept: i64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM change_log WHERE revision < (SELECT revision FROM meta) - ?")
            .bind(kept)
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected())
    }
}

pub(super) async fn position(transaction: &mut Transaction<'_, Sqlite>) -> Result<Position, StoreError> {
    let row = sqlx::query("SELECT epoch, revision, catalog_hash FROM meta JOIN change_log USING (revision)")
        .fetch_one(&mut **transaction)
        .await?;
    Ok(Position { epoch: row.try_get(0)?, revision: row.try_get(1)?, hash: row.try_get(2)? })
}

/// Stores a sync, its secrets sealed.
pub(super) async fn put(
    sealer: &Sealer,
    transaction: &mut Transaction<'_, Sqlite>,
    name: &SyncName,
    sync: &Sync,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO syncs (project, id, uid, revision, etag, content) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (project, id) DO UPDATE
         SET uid = excluded.uid, revision = excluded.revision, etag = excluded.etag, content = excluded.content",
    )
    .bind(&name.project)
    .bind(&name.sync)
    .bind(&sync.uid)
    .bind(sync.revision)
    .bind(&sync.etag)
    .bind(sealed::encode(sealer, sync)?)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

pub(super) async fn delete(transaction: &mut Transaction<'_, Sqlite>, name: &SyncName) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM syncs WHERE project = ? AND id = ?")
        .bind(&name.project)
        .bind(&name.sync)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Logs one change of several that are made at once, not the last: no node ever stands between them, so that it has no hash.
pub(super) async fn log_step(
    transaction: &mut Transaction<'_, Sqlite>,
    revision: i64,
    uid: &str,
    kind: &str,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO change_log (revision, uid, change, catalog_hash) VALUES (?, ?, ?, '')")
        .bind(revision)
        .bind(uid)
        .bind(kind)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Moves the catalog to `revision`, at which it has `hash`, and gives where it stands then.
pub(super) async fn log_change(
    transaction: &mut Transaction<'_, Sqlite>,
    revision: i64,
    uid: &str,
    kind: &str,
    hash: CatalogHash,
) -> Result<Position, StoreError> {
    sqlx::query("INSERT INTO change_log (revision, uid, change, catalog_hash) VALUES (?, ?, ?, ?)")
        .bind(revision)
        .bind(uid)
        .bind(kind)
        .bind(hash.to_string())
        .execute(&mut **transaction)
        .await?;
    sqlx::query("UPDATE meta SET revision = ?").bind(revision).execute(&mut **transaction).await?;
    position(transaction).await
}

/// The hash of where the catalog stands, to be changed with it.
pub(super) async fn hash_of(
    transaction: &mut Transaction<'_, Sqlite>,
    newest: &Position,
) -> Result<CatalogHash, StoreError> {
    match newest.hash.parse() {
        Ok(hash) => Ok(hash),
        Err(_) => counted_hash(transaction).await,
    }
}

/// The hash, counted from all syncs.
pub(super) async fn counted_hash(transaction: &mut Transaction<'_, Sqlite>) -> Result<CatalogHash, StoreError> {
    let syncs: Vec<(String, String)> =
        sqlx::query_as("SELECT uid, etag FROM syncs").fetch_all(&mut **transaction).await?;
    Ok(CatalogHash::of(syncs.iter().map(|(uid, etag)| (uid.as_str(), etag.as_str()))))
}
