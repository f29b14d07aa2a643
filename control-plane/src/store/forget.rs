//! Forgets reports: successes before failures, in steps that writes do not wait for.

use sqlx::Row as _;

use super::{Store, StoreError};

/// Reports of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// With a 2xx.
    Succeeded,
    /// Without.
    Failed,
}

impl Fate {
    /// What separates the two in SQL. DELIVERED is 1 for attempts and endings.
    fn statements(self) -> [&'static str; 2] {
        match self {
            Self::Succeeded => [
                "DELETE FROM attempts WHERE id IN
                 (SELECT id FROM attempts WHERE start_ms >= ?1 AND start_ms < ?2 AND outcome = 1 ORDER BY start_ms LIMIT ?3)
                 RETURNING start_ms",
                "DELETE FROM endings WHERE id IN
                 (SELECT id FROM endings WHERE end_ms >= ?1 AND end_ms < ?2 AND outcome = 1
                  ORDER BY end_ms LIMIT ?3)
                 RETURNING end_ms",
            ],
            Self::Failed => [
                "DELETE FROM attempts WHERE id IN
                 (SELECT id FROM attempts WHERE start_ms >= ?1 AND start_ms < ?2 AND outcome <> 1 ORDER BY start_ms LIMIT ?3)
                 RETURNING start_ms",
                "DELETE FROM endings WHERE id IN
                 (SELECT id FROM endings WHERE end_ms >= ?1 AND end_ms < ?2 AND outcome <> 1
                  ORDER BY end_ms LIMIT ?3)
                 RETURNING end_ms",
            ],
        }
    }
}

impl Store {
    /// Forgets up to `limit` attempts and as many endings of that fate from `from_ms` up to but not at `before_ms`, the oldest first.
    /// Gives how many, and when the last of them was.
    pub(crate) async fn forget_reports(
        &self,
        fate: Fate,
        from_ms: i64,
        before_ms: i64,
        limit: i64,
    ) -> Result<(u64, i64), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let (mut count, mut last_ms) = (0, from_ms);
        for statement in fate.statements() {
            let rows =
                sqlx::query(statement).bind(from_ms).bind(before_ms).bind(limit).fetch_all(&mut *transaction).await?;
            for row in &rows {
                last_ms = last_ms.max(row.try_get(0)?);
            }
            count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        }
        if fate == Fate::Succeeded && count > 0 {
            // What is older may be counted by its rollups alone from now on.
            sqlx::query("UPDATE kept SET reports_from_ms = max(reports_from_ms, ?)")
                .bind(last_ms.saturating_add(1))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
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

    /// From when on every single report is kept.
    pub(crate) async fn reports_from_ms(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT reports_from_ms FROM kept").fetch_one(&self.readers).await?)
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
