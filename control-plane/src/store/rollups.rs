//! Counts of minutes and hours, and the health of syncs: written with the reports.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use prost::Message as _;
use sluice_proto::sync::v1::{Sync, SyncHealth};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    chunks::{self, Span},
    gathered::Told,
    many::{Many, pieces},
    marks,
};
use crate::{
    figures::{
        cover::{Cover, Kept},
        health::Signs,
        histogram::Histogram,
        rollup::{Counts, OfSync, Resolution, Rollups},
    },
    reports::{
        figures::{Figure, SyncKey},
        marks::{Mark, MarkKind},
        slot,
    },
};

static LATENCIES: Many = Many::new(
    "SELECT resolution_ms, sync_uid, start_ms, latencies FROM (VALUES",
    "(?, ?, ?)",
    ") AS asked CROSS JOIN rollups ON resolution_ms = column1 AND start_ms = column3 AND sync_uid = column2",
);

static COUNTS: Many = Many::new(
    "INSERT INTO rollups (resolution_ms, sync_uid, start_ms, attempts, delivered, delivered_first_attempt,
         delivered_after_retry, expired, discarded, latencies) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "ON CONFLICT (resolution_ms, start_ms, sync_uid) DO UPDATE SET
         attempts = attempts + excluded.attempts, delivered = delivered + excluded.delivered,
         delivered_first_attempt = delivered_first_attempt + excluded.delivered_first_attempt,
         delivered_after_retry = delivered_after_retry + excluded.delivered_after_retry,
         expired = expired + excluded.expired, discarded = discarded + excluded.discarded,
         latencies = excluded.latencies",
);

static HEALTHS: Many = Many::new(
    "SELECT sync_uid, content FROM (VALUES",
    "(?)",
    ") AS asked CROSS JOIN sync_health ON sync_uid = column1",
);

static HEALTH: Many = Many::new("INSERT OR REPLACE INTO sync_health (sync_uid, content) VALUES", "(?, ?)", "");

/// Adds to what is stored, in the transaction of the reports.
pub(super) async fn add(connection: &mut SqliteConnection, rollups: &Rollups) -> Result<(), StoreError> {
    let rollups: Vec<_> = rollups.iter().collect();
    for piece in pieces(&rollups) {
        let mut query = sqlx::query(LATENCIES.text(piece.len()));
        for (sync_uid, resolution, start_ms, _) in piece {
            query = query.bind(resolution.ms()).bind((*sync_uid).to_owned()).bind(*start_ms);
        }
        let mut stored = HashMap::new();
        for row in query.fetch_all(&mut *connection).await? {
            let key: (i64, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            stored.insert(key, or_empty(histogram(row.try_get(3)?)));
        }
        let mut query = sqlx::query(COUNTS.text(piece.len()));
        for (sync_uid, resolution, start_ms, counts) in piece {
            let key = (resolution.ms(), (*sync_uid).to_owned(), *start_ms);
            let mut latencies = stored.remove(&key).unwrap_or_default();
            latencies.merge(&counts.latencies);
            query = query
                .bind(key.0)
                .bind(key.1)
                .bind(key.2)
                .bind(counts.attempts)
                .bind(counts.delivered)
                .bind(counts.delivered_first_attempt)
                .bind(counts.delivered_after_retry)
                .bind(counts.expired)
                .bind(counts.discarded)
                .bind(latencies.encode());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Brings the syncs' health up to date with what attempts that were stored just now tell of it.
pub(super) async fn note_health(
    connection: &mut SqliteConnection,
    signs: &HashMap<String, Signs>,
) -> Result<(), StoreError> {
    let signs: Vec<_> = signs.iter().collect();
    for piece in pieces(&signs) {
        let mut query = sqlx::query(HEALTHS.text(piece.len()));
        for (sync_uid, _) in piece {
            query = query.bind((*sync_uid).clone());
        }
        let mut stored = HashMap::new();
        for row in query.fetch_all(&mut *connection).await? {
            stored.insert(row.try_get::<String, _>(0)?, or_empty(health(row.try_get(1)?)));
        }
        let mut query = sqlx::query(HEALTH.text(piece.len()));
        for (sync_uid, signs) in piece {
            let before = stored.remove(*sync_uid).unwrap_or_default();
            query = query.bind((*sync_uid).clone()).bind((*signs).clone().after(&before).encode_to_vec());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

impl Store {
    /// What became of a sync's deliveries from `start_ms` up to but not at `end_ms`, and the interval that is counted: it is wider
    /// where only rollups are left. Minutes are kept from `minutes_from_ms` on.
    pub(crate) async fn metrics(
        &self,
        sync_uid: &str,
        start_ms: i64,
        end_ms: i64,
        minutes_from_ms: i64,
    ) -> Result<(Counts, Range<i64>), StoreError> {
        let (mut transaction, reports_from_ms, gathered) = self.snapshot(|told| told.rollups.of(sync_uid)).await?;
        let (cover, counted) = Cover::of(start_ms, end_ms, Kept { minutes_from_ms, reports_from_ms });
        let mut sum = Counts::default();
        let minutes = cover.minutes.into_iter().map(|part| (Resolution::Minute, part));
        for (resolution, part) in minutes.chain([(Resolution::Hour, cover.hours)]).filter(|(_, part)| !part.is_empty())
        {
            for (_, counts) in of_interval(&gathered, resolution, &part) {
                sum.merge(counts);
            }
            for (_, counts) in read(&mut transaction, sync_uid, resolution, part).await? {
                sum.merge(&counts);
            }
        }
        for part in cover.reports {
            count_reports(&mut transaction, sync_uid, part, &mut sum).await?;
        }
        Ok((sum, counted))
    }

    /// The same minute by minute or hour by hour, in ascending order; those without reports are left out.
    pub(crate) async fn series(
        &self,
        sync_uid: &str,
        resolution: Resolution,
        interval: Range<i64>,
    ) -> Result<Vec<(i64, Counts)>, StoreError> {
        let (mut transaction, _, gathered) = self.snapshot(|told| told.rollups.of(sync_uid)).await?;
        let mut series: BTreeMap<i64, Counts> =
            read(&mut transaction, sync_uid, resolution, interval.clone()).await?.into_iter().collect();
        for (start_ms, counts) in of_interval(&gathered, resolution, &interval) {
            series.entry(start_ms).or_default().merge(counts);
        }
        Ok(series.into_iter().collect())
    }

    /// The health of those of these syncs that there were attempts of.
    pub(crate) async fn healths(&self, sync_uids: &[&str]) -> Result<HashMap<String, SyncHealth>, StoreError> {
        let uids = serde_json::Value::from(sync_uids.to_vec()).to_string();
        let (mut transaction, _, gathered) = self
            .snapshot(|told| {
                let signs = sync_uids.iter().filter_map(|uid| told.signs.get_key_value(*uid));
                signs.map(|(uid, signs)| (uid.clone(), signs.clone())).collect::<Vec<_>>()
            })
            .await?;
        let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
            "SELECT sync_uid, content FROM sync_health WHERE sync_uid IN (SELECT value FROM json_each(?))",
        )
        .bind(uids)
        .fetch_all(&mut *transaction)
        .await?;
        let mut healths = rows
            .into_iter()
            .map(|(uid, content)| Ok((uid, health(&content)?)))
            .collect::<Result<HashMap<_, _>, StoreError>>()?;
        for (uid, signs) in gathered {
            let health = healths.entry(uid).or_default();
            *health = signs.after(health);
        }
        Ok(healths)
    }

    /// The syncs whose requests fail, enabled or not, with their health.
    pub(crate) async fn failing_syncs(&self) -> Result<Vec<(Sync, SyncHealth)>, StoreError> {
        let (mut transaction, _, mut gathered) = self.snapshot(|told| told.signs.clone()).await?;
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as("SELECT sync_uid, content FROM sync_health").fetch_all(&mut *transaction).await?;
        let mut healths = Vec::with_capacity(rows.len());
        for (uid, content) in rows {
            let stored = health(&content)?;
            let health = gathered.remove(&uid).map(|signs| signs.after(&stored)).unwrap_or(stored);
            healths.push((uid, health));
        }
        healths.extend(gathered.into_iter().map(|(uid, signs)| (uid, signs.after(&SyncHealth::default()))));
        let mut failing = Vec::new();
        for (uid, health) in healths.into_iter().filter(|(_, health)| health.failing_since.is_some()) {
            let row = sqlx::query("SELECT content FROM syncs WHERE uid = ?")
                .bind(uid)
                .fetch_optional(&mut *transaction)
                .await?;
            // Else it was deleted.
            if let Some(row) = row {
                failing.push((self.content(&row)?, health));
            }
        }
        Ok(failing)
    }

    /// Begins to read the tables as they are now; gives with it from when on reports are kept, and what of what was gathered beside them is
    /// wanted. Nobody waits for what is read then.
    async fn snapshot<T>(
        &self,
        wanted: impl FnOnce(&Told) -> T,
    ) -> Result<(Transaction<'static, Sqlite>, i64, T), StoreError> {
        let mut transaction = self.readers.begin().await?;
        let gathered = self.gathered.read().await;
        let reports_from_ms =
            sqlx::query_scalar("SELECT reports_from_ms FROM kept").fetch_one(&mut *transaction).await?;
        Ok((transaction, reports_from_ms, wanted(&gathered.told)))
    }

    /// Forgets up to `limit` rollups of that length from before `before_ms`; gives how many.
    pub(crate) async fn forget_rollups(
        &self,
        resolution: Resolution,
        before_ms: i64,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        // A range costs what goes; a list of keys is looked for one by one among all syncs of their time.
        let first_kept: Option<(i64, String)> = sqlx::query_as(
            "SELECT start_ms, sync_uid FROM rollups
             WHERE resolution_ms = ? AND start_ms < ? ORDER BY start_ms, sync_uid LIMIT 1 OFFSET ?",
        )
        .bind(resolution.ms())
        .bind(before_ms)
        .bind(limit)
        .fetch_optional(&mut *transaction)
        .await?;
        let (start_ms, sync_uid) = first_kept.unwrap_or((before_ms, String::new()));
        let forgotten = sqlx::query("DELETE FROM rollups WHERE resolution_ms = ? AND (start_ms, sync_uid) < (?, ?)")
            .bind(resolution.ms())
            .bind(start_ms)
            .bind(sync_uid)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(forgotten.rows_affected())
    }
}

/// Those of these rollups that are of that length and begin in the interval.
fn of_interval<'a>(
    rollups: &'a OfSync,
    resolution: Resolution,
    interval: &Range<i64>,
) -> impl Iterator<Item = (i64, &'a Counts)> {
    let found = rollups.range((resolution, interval.start)..(resolution, interval.end.max(interval.start)));
    found.map(|((_, start_ms), counts)| (*start_ms, counts))
}

/// Counts of one sync. All syncs of a minute lie together, so that each minute that there is is asked for the sync.
async fn read(
    connection: &mut SqliteConnection,
    sync_uid: &str,
    resolution: Resolution,
    interval: Range<i64>,
) -> Result<Vec<(i64, Counts)>, StoreError> {
    let rows = sqlx::query(
        "WITH RECURSIVE starts (at_ms) AS (
             SELECT min(start_ms) FROM rollups WHERE resolution_ms = ?1 AND start_ms >= ?2 AND start_ms < ?3
             UNION ALL
             SELECT (SELECT min(start_ms) FROM rollups WHERE resolution_ms = ?1 AND start_ms > at_ms AND start_ms < ?3)
             FROM starts WHERE at_ms IS NOT NULL
         )
         SELECT start_ms, attempts, delivered, delivered_first_attempt, delivered_after_retry, expired, discarded, latencies
         FROM starts CROSS JOIN rollups ON resolution_ms = ?1 AND start_ms = at_ms AND sync_uid = ?4 ORDER BY start_ms",
    )
    .bind(resolution.ms())
    .bind(interval.start)
    .bind(interval.end)
    .bind(sync_uid)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, counts(row)?))).collect()
}

fn counts(row: &SqliteRow) -> Result<Counts, StoreError> {
    let latencies: &[u8] = row.try_get("latencies")?;
    Ok(Counts {
        attempts: row.try_get("attempts")?,
        delivered: row.try_get("delivered")?,
        delivered_first_attempt: row.try_get("delivered_first_attempt")?,
        delivered_after_retry: row.try_get("delivered_after_retry")?,
        expired: row.try_get("expired")?,
        discarded: row.try_get("discarded")?,
        latencies: histogram(latencies)?,
    })
}

/// Counts single reports.
async fn count_reports(
    connection: &mut SqliteConnection,
    sync_uid: &str,
    part: Range<i64>,
    sum: &mut Counts,
) -> Result<(), StoreError> {
    let span = Span { first_ms: part.start, last_ms: part.end.saturating_sub(1), fate: None, attempts: false };
    let mark = Mark::of(MarkKind::Sync, sync_uid.as_bytes());
    let slots = slot(span.first_ms)..=slot(span.last_ms);
    let ids = marks::chunks_with(connection, slots, mark).await?;
    for figure in chunks::figures(connection, &ids, &span, SyncKey::of(sync_uid.as_bytes())).await? {
        match figure {
            Figure::Attempt { start_ms, outcome } if part.contains(&start_ms) => sum.attempt(outcome),
            Figure::Ended(ended) if part.contains(&ended.end_ms) => sum.ending(&ended),
            Figure::Attempt { .. } | Figure::Ended(_) => {}
        }
    }
    // What a node has dropped is known by the minute: it counts where its minute begins.
    let dropped: (i64, i64, i64, i64) = sqlx::query_as(
        "SELECT ifnull(sum(attempts), 0), ifnull(sum(delivered), 0), ifnull(sum(expired), 0), ifnull(sum(discarded), 0)
         FROM dropped_minutes WHERE sync_uid = ?1 AND minute_ms >= ?2 AND minute_ms < ?3",
    )
    .bind(sync_uid)
    .bind(part.start)
    .bind(part.end)
    .fetch_one(connection)
    .await?;
    let (attempts, delivered, expired, discarded) = dropped;
    sum.merge(&Counts { attempts, delivered, expired, discarded, ..Counts::default() });
    Ok(())
}

/// What was stored, or nothing where it cannot be read: what is added to it must not be kept waiting.
fn or_empty<T: Default>(stored: Result<T, StoreError>) -> T {
    stored.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "stored figures are damaged: they begin anew");
        T::default()
    })
}

fn histogram(bytes: &[u8]) -> Result<Histogram, StoreError> {
    Histogram::decode(bytes).map_err(|source| StoreError::Unreadable { what: "a rollup's latencies", source })
}

fn health(bytes: &[u8]) -> Result<SyncHealth, StoreError> {
    SyncHealth::decode(bytes).map_err(|source| StoreError::Unreadable { what: "a sync's health", source })
}
