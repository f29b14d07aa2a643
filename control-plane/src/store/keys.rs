//! API keys, by their hashes, and the projects that they are bound to.

use prost::Message as _;
use sluice_access::KeyHash;
use sluice_proto::access::v1::Key;
use sqlx::{Row as _, sqlite::SqliteRow};

use super::{Store, StoreError, audit::append};
use crate::{
    audit::{Actor, changes},
    time::timestamp,
};

/// Full name of a key's message.
const KEY: &str = "sluice.access.v1.Key";

/// A key as it is stored.
pub(crate) struct StoredKey {
    /// What its text is known by.
    pub(crate) hash: KeyHash,
    /// The key, with its last use.
    pub(crate) key: Key,
}

/// A project as it is stored: its id, and when it was made.
pub(crate) type StoredProject = (String, Option<i64>);

impl Store {
    /// Stores a new key; false: there is one with that id.
    pub(crate) async fn create_key(
        &self,
        id: &str,
        hash: &KeyHash,
        key: &Key,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let created = sqlx::query(
            "INSERT INTO keys (id, hash, project, content) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(hash.0.as_slice())
        .bind(key.project.strip_prefix("projects/"))
        .bind(key.encode_to_vec())
        .execute(&mut *transaction)
        .await?;
        if created.rows_affected() == 0 {
            return Ok(false);
        }
        append(&mut transaction, &[actor.entry(&key.name, changes(KEY, None, Some(key)))]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The key with that id.
    pub(crate) async fn key(&self, id: &str) -> Result<Option<Key>, StoreError> {
        let row = sqlx::query("SELECT hash, last_use_ms, content FROM keys WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.as_ref().map(stored).transpose()?.map(|stored| stored.key))
    }

    /// Up to `limit` keys whose ids follow `after`, in the order of their ids, those of one project alone if there is one.
    pub(crate) async fn keys(&self, project: Option<&str>, after: &str, limit: i64) -> Result<Vec<Key>, StoreError> {
        let query = "SELECT hash, last_use_ms, content FROM keys
            WHERE id > ?1 AND (?2 IS NULL OR project = ?2) ORDER BY id LIMIT ?3";
        let rows = sqlx::query(query).bind(after).bind(project).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok(stored(row)?.key)).collect()
    }

    /// Every key that was not revoked.
    pub(crate) async fn standing_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let query = sqlx::query("SELECT hash, last_use_ms, content FROM keys WHERE revoked = 0");
        let rows = query.fetch_all(&self.readers).await?;
        rows.iter().map(stored).collect()
    }

    /// Stores that the key was revoked, as `key` says.
    pub(crate) async fn revoke_key(&self, id: &str, key: &Key, actor: &Actor) -> Result<(), StoreError> {
        let before = Key { revoke_time: None, ..key.clone() };
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("UPDATE keys SET revoked = 1, content = ? WHERE id = ?")
            .bind(key.encode_to_vec())
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        append(&mut transaction, &[actor.entry(&key.name, changes(KEY, Some(&before), Some(key)))]).await?;
        Ok(transaction.commit().await?)
    }

    /// Stores when keys were shown last: ids, and milliseconds since the epoch.
    pub(crate) async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for (id, last_use_ms) in uses {
            sqlx::query("UPDATE keys SET last_use_ms = max(last_use_ms, ?) WHERE id = ?")
                .bind(last_use_ms)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Makes a project; false: there is one with that id.
    pub(crate) async fn create_project(&self, id: &str, create_ms: i64, actor: &Actor) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let created = sqlx::query("INSERT INTO projects (id, create_ms) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(id)
            .bind(create_ms)
            .execute(&mut *transaction)
            .await?;
        if created.rows_affected() == 0 {
            return Ok(false);
        }
        append(&mut transaction, &[actor.entry(&format!("projects/{id}"), Vec::new())]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Up to `limit` projects whose ids follow `after`, in the order of their ids; only `project` if there is one.
    pub(crate) async fn projects(
        &self,
        project: Option<&str>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<StoredProject>, StoreError> {
        let query = "SELECT id, create_ms FROM projects WHERE id > ?1 AND (?2 IS NULL OR id = ?2) ORDER BY id LIMIT ?3";
        let rows = sqlx::query(query).bind(after).bind(project).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}

fn stored(row: &SqliteRow) -> Result<StoredKey, StoreError> {
    let content: &[u8] = row.try_get("content")?;
    let mut key = Key::decode(content).map_err(|source| StoreError::Unreadable { what: "an API key", source })?;
    let last_use_ms: i64 = row.try_get("last_use_ms")?;
    key.last_use_time = (last_use_ms > 0).then(|| timestamp(last_use_ms));
    let hash: Vec<u8> = row.try_get("hash")?;
    let hash = hash.try_into().map_err(|_| sqlx::Error::Decode("a key's hash is not of 32 bytes".into()))?;
    Ok(StoredKey { hash: KeyHash(hash), key })
}
