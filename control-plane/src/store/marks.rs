//! Runs of fingerprints in the store: written, merged, and asked which chunks have reports of an id.

use std::{collections::HashSet, ops::RangeInclusive};

use futures_util::TryStreamExt as _;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError,
    many::{Many, pieces},
};
use crate::reports::{
    Fate,
    marks::{Mark, Run, entries, find},
};

/// Runs of one level that are merged into one of the next.
const FAN_IN: i64 = 16;

/// The level whose runs stay as they are.
const TOP_LEVEL: i64 = 2;

/// The level of runs that are to be forgotten.
const FORGOTTEN: i64 = -1;

static PAGES: Many = Many::new("INSERT INTO report_pages (run, first, page, body) VALUES", "(?, ?, ?, ?)", "");

/// Writes the fingerprints of new chunks, and merges what has become many.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    slot: i64,
    fate: Fate,
    entries: Vec<(Mark, i64)>,
) -> Result<(), StoreError> {
    write(connection, slot, fate, 0, entries).await?;
    for level in 0..TOP_LEVEL {
        if merge(connection, slot, fate, level, level + 1, FAN_IN).await? == 0 {
            break;
        }
    }
    Ok(())
}

async fn write(
    connection: &mut SqliteConnection,
    slot: i64,
    fate: Fate,
    level: i64,
    entries: Vec<(Mark, i64)>,
) -> Result<(), StoreError> {
    let made = Run::of(entries);
    let run: i64 =
        sqlx::query_scalar("INSERT INTO report_runs (slot, fate, level, base) VALUES (?, ?, ?, ?) RETURNING id")
            .bind(slot)
            .bind(fate.number())
            .bind(level)
            .bind(made.base)
            .fetch_one(&mut *connection)
            .await?;
    let pages: Vec<_> = made.pages.into_iter().zip(0_i64..).collect();
    for piece in pieces(&pages) {
        let mut query = sqlx::query(PAGES.text(piece.len()));
        for ((first, body), page) in piece {
            query = query.bind(run).bind(first.number()).bind(*page).bind(body.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Merges the runs of a slot and a fate up to `level` into one of level `into` if there are at least `fewest`; gives how many
/// there were.
async fn merge(
    connection: &mut SqliteConnection,
    slot: i64,
    fate: Fate,
    level: i64,
    into: i64,
    fewest: i64,
) -> Result<usize, StoreError> {
    let runs: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, base FROM report_runs WHERE slot = ? AND fate = ? AND level BETWEEN 0 AND ?")
            .bind(slot)
            .bind(fate.number())
            .bind(level)
            .fetch_all(&mut *connection)
            .await?;
    if i64::try_from(runs.len()).unwrap_or(i64::MAX) < fewest {
        return Ok(0);
    }
    let mut merged = Vec::new();
    for (run, base) in &runs {
        let pages: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT body FROM report_pages WHERE run = ? ORDER BY first, page")
                .bind(run)
                .fetch_all(&mut *connection)
                .await?;
        merged.extend(pages.iter().flat_map(|page| entries(*base, page)));
        delete(connection, *run).await?;
    }
    write(connection, slot, fate, into, merged).await?;
    Ok(runs.len())
}

async fn delete(connection: &mut SqliteConnection, run: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM report_pages WHERE run = ?").bind(run).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM report_runs WHERE id = ?").bind(run).execute(&mut *connection).await?;
    Ok(())
}

/// The chunks of these slots that may have reports of an id.
pub(super) async fn chunks_with(
    connection: &mut SqliteConnection,
    slots: RangeInclusive<i64>,
    mark: Mark,
) -> Result<HashSet<i64>, StoreError> {
    // What has the fingerprint begins in the last page that begins before it, and ends in the last that begins with it.
    let rows = sqlx::query(
        "SELECT base, body FROM report_runs CROSS JOIN report_pages ON run = report_runs.id
         WHERE slot BETWEEN ?1 AND ?2 AND level >= 0 AND first <= ?3
             AND first >= ifnull((SELECT max(first) FROM report_pages WHERE run = report_runs.id AND first < ?3), 0)",
    )
    .bind(*slots.start())
    .bind(*slots.end())
    .bind(mark.number())
    .fetch_all(connection)
    .await?;
    let mut found = HashSet::new();
    for row in &rows {
        let (base, page): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        found.extend(find(base, page, mark));
    }
    Ok(found)
}

/// The chunks of a slot that may have reports of one of many ids.
pub(super) async fn chunks_with_any(
    connection: &mut SqliteConnection,
    slot: i64,
    marks: &HashSet<Mark>,
) -> Result<HashSet<i64>, StoreError> {
    let mut pages = sqlx::query(
        "SELECT base, body FROM report_runs CROSS JOIN report_pages ON run = report_runs.id
         WHERE slot = ? AND level >= 0",
    )
    .bind(slot)
    .fetch(connection);
    let mut found = HashSet::new();
    let of = |row: &SqliteRow| -> Result<Vec<i64>, StoreError> {
        let (base, page): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        Ok(entries(base, page).filter(|(mark, _)| marks.contains(mark)).map(|(_, chunk)| chunk).collect())
    };
    while let Some(row) = pages.try_next().await? {
        found.extend(of(&row)?);
    }
    Ok(found)
}

/// Says of runs that point to chunks of a slot and a fate of which none is left that they are to be forgotten.
pub(super) async fn orphan(connection: &mut SqliteConnection, slot: i64, fate: Fate) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE report_runs SET level = ?3 WHERE slot = ?1 AND fate = ?2
         AND NOT EXISTS (SELECT 1 FROM report_chunks WHERE slot = ?1 AND fate = ?2)",
    )
    .bind(slot)
    .bind(fate.number())
    .bind(FORGOTTEN)
    .execute(connection)
    .await?;
    Ok(())
}

impl Store {
    /// Merges the runs of up to `limit` slots before this one that have several, or forgets as many that nothing is left of; gives
    /// how many of both. For slots that are over: whoever looks for an id looks into fewer then.
    pub(crate) async fn tidy_marks(&self, before_slot: i64, limit: i64) -> Result<u64, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let slots: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT slot, fate FROM report_runs WHERE level BETWEEN 0 AND ? AND slot < ?
             GROUP BY slot, fate HAVING count(*) > 1 LIMIT ?",
        )
        .bind(TOP_LEVEL - 1)
        .bind(before_slot)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        for (slot, fate) in &slots {
            merge(&mut transaction, *slot, Fate::of_number(*fate), TOP_LEVEL - 1, TOP_LEVEL, 2).await?;
        }
        let forgotten: Vec<i64> = sqlx::query_scalar("SELECT id FROM report_runs WHERE level = ? LIMIT ?")
            .bind(FORGOTTEN)
            .bind(limit)
            .fetch_all(&mut *transaction)
            .await?;
        for run in &forgotten {
            delete(&mut transaction, *run).await?;
        }
        transaction.commit().await?;
        Ok(u64::try_from(slots.len() + forgotten.len()).unwrap_or(u64::MAX))
    }
}
