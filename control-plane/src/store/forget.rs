//! Forgets reports: successes before failures, in steps that writes do not wait for.

use std::collections::BTreeSet;

use super::{Store, StoreError, marks};
use crate::reports::{Fate, slot};

impl Store {
    /// Forgets up to `limit` chunks of reports of that fate that tell of nothing from `before_ms` on, the oldest first, of slots that do
    /// not end before `from_ms`, and whose figures are written. Gives how many reports that were, and of when the last of them.
    pub(crate) async fn forget_reports(
        &self,
        fate: Fate,
        from_ms: i64,
        before_ms: i64,
        limit: i64,
    ) -> Result<(u64, i64), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let gone: Vec<(i64, i64, i64)> = sqlx::query_as(
            "DELETE FROM report_chunks WHERE id IN
             (SELECT id FROM report_chunks WHERE slot BETWEEN ?1 AND ?5 AND last_ms < ?2 AND fate = ?3
              AND id < ifnull((SELECT min(chunk) FROM gathered_from), id + 1)
              ORDER BY slot, last_ms LIMIT ?4)
             RETURNING slot, last_ms, attempts + endings",
        )
        .bind(slot(from_ms))
        .bind(before_ms)
        .bind(fate.number())
        .bind(limit)
        .bind(slot(before_ms))
        .fetch_all(&mut *transaction)
        .await?;
        let slots: BTreeSet<i64> = gone.iter().map(|(slot, ..)| *slot).collect();
        for slot in slots {
            marks::orphan(&mut transaction, slot, fate).await?;
        }
        let last_ms = gone.iter().map(|(_, last_ms, _)| *last_ms).max().unwrap_or(from_ms).max(from_ms);
        if fate == Fate::Succeeded && !gone.is_empty() {
            // What is older may be counted by its rollups alone from now on.
            sqlx::query("UPDATE kept SET reports_from_ms = max(reports_from_ms, ?)")
                .bind(last_ms.saturating_add(1))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        let count = gone.iter().map(|(.., count)| u64::try_from(*count).unwrap_or(0)).sum();
        Ok((count, last_ms))
    }

    /// Forgets up to `limit` minutes of reports that nodes dropped, from before `before_ms`; gives how many.
    pub(crate) async fn forget_dropped(&self, before_ms: i64, limit: i64) -> Result<u64, StoreError> {
        let minutes = sqlx::query(
            "DELETE FROM dropped_minutes WHERE (sync_uid, minute_ms) IN
             (SELECT sync_uid, minute_ms FROM dropped_minutes WHERE minute_ms < ? LIMIT ?)",
        )
        .bind(before_ms)
        .bind(limit)
        .execute(&self.writer)
        .await?;
        Ok(minutes.rows_affected())
    }

    /// Bytes that the store's file uses; what was forgotten is free for what comes.
    pub(crate) async fn used_bytes(&self) -> Result<u64, StoreError> {
        let used: i64 = sqlx::query_scalar(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )
        .fetch_one(&self.readers)
        .await?;
        Ok(u64::try_from(used).unwrap_or(0))
    }
}
