//! The audit log: appended to in the transaction of the change, read backwards, forgotten from the oldest on.

use prost::Message as _;
use sluice_proto::audit::v1::AuditEntry;
use sqlx::{Row as _, SqliteConnection};

use super::{Store, StoreError};
use crate::{audit::project_of, time::millis};

/// Which entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditQuery {
    /// Of this project alone.
    pub(crate) project: Option<String>,
    /// Of this resource alone.
    pub(crate) resource: Option<String>,
    /// By this actor alone.
    pub(crate) actor: Option<String>,
    /// From then on.
    pub(crate) start_ms_inclusive: Option<i64>,
    /// Before then.
    pub(crate) end_ms_exclusive: Option<i64>,
}

/// Appends entries, in the transaction of what they tell.
pub(super) async fn append(connection: &mut SqliteConnection, entries: &[AuditEntry]) -> Result<(), StoreError> {
    for entry in entries {
        sqlx::query("INSERT INTO audit_log (time_ms, actor, project, resource, content) VALUES (?, ?, ?, ?, ?)")
            .bind(millis(entry.time.as_ref()))
            .bind(&entry.actor)
            .bind(project_of(&entry.resource))
            .bind(&entry.resource)
            .bind(entry.encode_to_vec())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl Store {
    /// Appends an entry by itself: of a command, before it is given.
    pub(crate) async fn record(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        append(&mut connection, std::slice::from_ref(entry)).await
    }

    /// Up to `limit` entries whose sequences are below `before`, the newest first.
    pub(crate) async fn audit_entries(
        &self,
        query: &AuditQuery,
        before: i64,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        // Those of one resource have an index of their own.
        let query_text = match query.resource {
            Some(_) => {
                "SELECT sequence, content FROM audit_log
                 WHERE resource = ?3 AND sequence < ?1 AND (?2 IS NULL OR project = ?2)
                   AND (?4 IS NULL OR actor = ?4) AND time_ms >= ?5 AND time_ms < ?6
                 ORDER BY sequence DESC LIMIT ?7"
            }
            None => {
                "SELECT sequence, content FROM audit_log
                 WHERE ?3 IS NULL AND sequence < ?1 AND (?2 IS NULL OR project = ?2)
                   AND (?4 IS NULL OR actor = ?4) AND time_ms >= ?5 AND time_ms < ?6
                 ORDER BY sequence DESC LIMIT ?7"
            }
        };
        let rows = sqlx::query(query_text)
            .bind(before)
            .bind(&query.project)
            .bind(&query.resource)
            .bind(&query.actor)
            .bind(query.start_ms_inclusive.unwrap_or(i64::MIN))
            .bind(query.end_ms_exclusive.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        let entry = |row: &sqlx::sqlite::SqliteRow| {
            let content: &[u8] = row.try_get("content")?;
            let entry = AuditEntry::decode(content)
                .map_err(|source| StoreError::Unreadable { what: "an audit entry", source })?;
            Ok(AuditEntry { sequence: row.try_get("sequence")?, ..entry })
        };
        rows.iter().map(entry).collect()
    }

    /// Forgets up to `limit` of the oldest entries, those from before `before_ms`; gives how many.
    pub(crate) async fn forget_audit_before(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        // From the oldest on, up to the first that is to be kept: sequences follow one another, times may not.
        let forgotten = sqlx::query(
            "DELETE FROM audit_log WHERE sequence <
                 (SELECT min(coalesce((SELECT sequence FROM audit_log WHERE time_ms >= ?1 ORDER BY sequence LIMIT 1), 9223372036854775807),
                             coalesce((SELECT sequence FROM audit_log ORDER BY sequence LIMIT 1 OFFSET ?2),
                                      9223372036854775807)))",
        )
        .bind(before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(forgotten.rows_affected())
    }
}
