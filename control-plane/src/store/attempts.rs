//! Reads attempts back, the newest first, and forgets the old ones.

use prost::Message as _;
use sluice_proto::delivery::v1::Attempt;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::{
    Store, StoreError,
    reports::{id_bytes, slot},
};

/// Which attempts. Every field that is set must hold.
pub(crate) struct AttemptQuery {
    /// Of what.
    pub(crate) scope: AttemptScope,
    /// One of these `AttemptOutcome`s; empty: any.
    pub(crate) outcomes: Vec<i32>,
    /// Begun at this time or later, milliseconds since the epoch.
    pub(crate) start_ms_inclusive: Option<i64>,
    /// Begun before this time.
    pub(crate) end_ms_exclusive: Option<i64>,
    /// Id of the event; empty: any.
    pub(crate) event_id: String,
    /// Id of the delivery; empty: any.
    pub(crate) delivery_id: String,
}

/// Whose attempts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AttemptScope {
    /// Of every sync of a project, deleted ones too.
    Project(String),
    /// Of the sync with this uid.
    Sync(String),
}

/// One attempt of a list and its place in it.
pub(crate) struct ListedAttempt {
    /// When it began, milliseconds since the epoch: first part of the place.
    pub(crate) start_ms: i64,
    /// Order of storing: second part of the place.
    pub(crate) id: i64,
    /// Bytes of the attempt as it is stored.
    pub(crate) encoded_len: usize,
    /// The attempt.
    pub(crate) attempt: Attempt,
}

impl Store {
    /// Up to `limit` attempts that follow the place `after` (start, id), the newest first.
    pub(crate) async fn attempts(
        &self,
        query: &AttemptQuery,
        after: Option<(i64, i64)>,
        limit: i64,
    ) -> Result<Vec<ListedAttempt>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::default();
        // A `+` keeps SQLite from using an index on that column: ids single out far fewer rows than a sync does, and of a
        // whole project's attempts the newest are wanted.
        let by_id = !(query.event_id.is_empty() && query.delivery_id.is_empty());
        if by_id {
            // What an id is found by begins with a slot of time: each slot that there is is asked for it.
            let first = query.start_ms_inclusive.map_or(i64::MIN, slot);
            let last = query.end_ms_exclusive.map_or(i64::MAX, slot);
            sql.push("WITH RECURSIVE slots (at) AS (SELECT min(slot) FROM attempts WHERE slot >= ");
            sql.push_bind(first).push(" UNION ALL SELECT (SELECT min(slot) FROM attempts WHERE slot > at) FROM slots");
            sql.push(" WHERE at < ").push_bind(last);
            sql.push(") SELECT start_ms, id, content FROM slots CROSS JOIN attempts ON slot = at WHERE ");
        } else {
            sql.push("SELECT start_ms, id, content FROM attempts WHERE ");
        }
        match &query.scope {
            AttemptScope::Sync(uid) => {
                sql.push(if by_id { "+sync IN " } else { "sync IN " });
                sql.push("(SELECT key FROM reported_syncs WHERE uid = ").push_bind(uid.clone()).push(")");
            }
            AttemptScope::Project(project) => {
                sql.push("+sync IN (SELECT key FROM reported_syncs WHERE project = ");
                sql.push_bind(project.clone()).push(")");
            }
        }
        if !query.event_id.is_empty() {
            sql.push(" AND event = ").push_bind(id_bytes(&query.event_id));
        }
        if !query.delivery_id.is_empty() {
            sql.push(" AND delivery = ").push_bind(id_bytes(&query.delivery_id));
        }
        if let Some(start_ms) = query.start_ms_inclusive {
            sql.push(" AND start_ms >= ").push_bind(start_ms);
        }
        if let Some(end_ms) = query.end_ms_exclusive {
            sql.push(" AND start_ms < ").push_bind(end_ms);
        }
        if !query.outcomes.is_empty() {
            sql.push(" AND outcome IN (");
            let mut separated = sql.separated(", ");
            for outcome in &query.outcomes {
                separated.push_bind(*outcome);
            }
            sql.push(")");
        }
        if let Some((start_ms, id)) = after {
            sql.push(" AND (start_ms, id) < (").push_bind(start_ms).push(", ").push_bind(id).push(")");
        }
        sql.push(" ORDER BY start_ms DESC, id DESC LIMIT ").push_bind(limit);

        let rows = sql.build().fetch_all(&self.readers).await?;
        rows.iter()
            .map(|row| {
                let content: &[u8] = row.try_get(2)?;
                let attempt =
                    Attempt::decode(content).map_err(|source| StoreError::Unreadable { what: "an attempt", source })?;
                Ok(ListedAttempt {
                    start_ms: row.try_get(0)?,
                    id: row.try_get(1)?,
                    encoded_len: content.len(),
                    attempt,
                })
            })
            .collect()
    }
}
