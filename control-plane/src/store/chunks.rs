//! Chunks of reports in the store.

use std::{collections::HashSet, io, ops::RangeInclusive};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::{StoreError, marks};
use crate::reports::{
    Fate,
    chunk::{Chunk, Reader},
    figures::{Figure, SyncKey, figures_of},
};

/// A chunk that may have what is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: i64,
    /// The last moment that one of its reports tells of.
    pub(super) last_ms: i64,
}

/// Which chunks: those that fulfil all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// With a report of this moment or a later one, milliseconds since the epoch.
    pub(super) first_ms: i64,
    /// With one of this moment or an earlier one.
    pub(super) last_ms: i64,
    /// Of this fate; none: of both.
    pub(super) fate: Option<Fate>,
    /// Whether only those with attempts are wanted.
    pub(super) attempts: bool,
}

/// Writes chunks with their compressed bodies, and where their ids are found. They have one slot and one fate. Gives the first one.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    chunks: &[(Chunk, Vec<u8>)],
) -> Result<Option<i64>, StoreError> {
    let Some((first, _)) = chunks.first() else { return Ok(None) };
    let (mut entries, mut first_id) = (Vec::new(), None);
    for (chunk, body) in chunks {
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO report_chunks (slot, fate, first_ms, last_ms, attempts, endings, figures, body_bytes, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(chunk.slot)
        .bind(chunk.fate.number())
        .bind(chunk.first_ms)
        .bind(chunk.last_ms)
        .bind(chunk.attempts)
        .bind(chunk.endings)
        .bind(chunk.figures.encode())
        .bind(i64::try_from(chunk.body.len()).unwrap_or(i64::MAX))
        .bind(body.as_slice())
        .fetch_one(&mut *connection)
        .await?;
        first_id.get_or_insert(id);
        entries.extend(chunk.marks.iter().map(|mark| (*mark, id)));
    }
    marks::insert(connection, first.slot, first.fate, entries).await?;
    Ok(first_id)
}

/// The newest slot before this one that has chunks.
pub(super) async fn slot_before(connection: &mut SqliteConnection, slot: i64) -> Result<Option<i64>, StoreError> {
    let found = sqlx::query_scalar("SELECT max(slot) FROM report_chunks WHERE slot < ?").bind(slot);
    Ok(found.fetch_one(connection).await?)
}

/// The slots' chunks of the span, the latest first.
pub(super) async fn in_slots(
    connection: &mut SqliteConnection,
    slots: RangeInclusive<i64>,
    span: &Span,
) -> Result<Vec<Candidate>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT id, last_ms FROM report_chunks WHERE slot BETWEEN ");
    sql.push_bind(*slots.start()).push(" AND ").push_bind(*slots.end());
    candidates(connection, sql, span).await
}

/// Those of these chunks that are of the span, the latest first.
pub(super) async fn among(
    connection: &mut SqliteConnection,
    ids: &HashSet<i64>,
    span: &Span,
) -> Result<Vec<Candidate>, StoreError> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT id, last_ms FROM (SELECT value FROM json_each(");
    sql.push_bind(json(ids));
    sql.push(")) CROSS JOIN report_chunks ON id = value WHERE true");
    candidates(connection, sql, span).await
}

async fn candidates(
    connection: &mut SqliteConnection,
    mut sql: QueryBuilder<Sqlite>,
    span: &Span,
) -> Result<Vec<Candidate>, StoreError> {
    sql.push(" AND last_ms >= ").push_bind(span.first_ms);
    sql.push(" AND first_ms <= ").push_bind(span.last_ms);
    if let Some(fate) = span.fate {
        sql.push(" AND fate = ").push_bind(fate.number());
    }
    if span.attempts {
        sql.push(" AND attempts > 0");
    }
    sql.push(" ORDER BY last_ms DESC, id DESC");
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(|row| Ok(Candidate { id: row.try_get(0)?, last_ms: row.try_get(1)? })).collect()
}

/// Ids as SQLite reads a list.
fn json(ids: &HashSet<i64>) -> String {
    ids.iter().copied().collect::<serde_json::Value>().to_string()
}

/// What the chunks of a span, among these, tell a sync's figures.
pub(super) async fn figures(
    connection: &mut SqliteConnection,
    ids: &HashSet<i64>,
    span: &Span,
    sync: SyncKey,
) -> Result<Vec<Figure>, StoreError> {
    let mut rows = sqlx::query(
        "SELECT slot, figures FROM (SELECT value FROM json_each(?)) CROSS JOIN report_chunks ON id = value
         WHERE last_ms >= ? AND first_ms <= ?",
    )
    .bind(json(ids))
    .bind(span.first_ms)
    .bind(span.last_ms)
    .fetch(connection);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (slot, encoded): (i64, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        found.extend(figures_of(encoded, sync, slot));
    }
    Ok(found)
}

/// The reports of a chunk, in their order. One that is damaged is logged and has none: the others are not to suffer.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    reader: &mut Reader,
    id: i64,
) -> Result<Vec<Bytes>, StoreError> {
    let row = sqlx::query("SELECT body, body_bytes FROM report_chunks WHERE id = ?")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(Vec::new()) };
    Ok(open(reader, &row)?.unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, chunk = id, "stored reports are damaged: left out");
        Vec::new()
    }))
}

/// The reports in a row with `body` and `body_bytes`, or why they cannot be read.
pub(super) fn open(reader: &mut Reader, row: &SqliteRow) -> Result<io::Result<Vec<Bytes>>, StoreError> {
    let (body, bytes): (&[u8], i64) = (row.try_get("body")?, row.try_get("body_bytes")?);
    Ok(reader.read(body, usize::try_from(bytes).unwrap_or(0)).map(Iterator::collect))
}

/// What reads chunks.
pub(super) fn reader() -> Result<Reader, StoreError> {
    Reader::new().map_err(StoreError::Compression)
}
