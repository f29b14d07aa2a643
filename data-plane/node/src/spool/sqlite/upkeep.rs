//! Housekeeping, a bounded piece at a time: old chunks become rows, dead letters are removed, reports folded, keys and
//! producers forgotten, the reserve made again.

use rusqlite::OptionalExtension as _;

use super::{commit::Commit, dead_letters, dedup::Dedup, fold, write::SqliteStore};
use crate::spool::{
    limits::millis,
    store::{Producer, Store as _, StoreError, Upkeep},
};

/// How often keys are looked at.
const OFTEN_MS: i64 = 1_000;

/// How often producers are gone through.
const HOUR_MS: i64 = 3_600_000;

/// Producers that are looked at in one piece.
const PRODUCERS: i64 = 500;

/// Where housekeeping stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When producers were last gone through, and how far.
    producers_ms: Option<i64>,
    producer: Option<(String, String)>,
    /// When keys were last looked at.
    keys_ms: Option<i64>,
}

/// Does one piece of the most urgent work. There is more until nothing was done.
pub(super) fn run(store: &mut SqliteStore, now_ms: i64) -> Result<Upkeep, StoreError> {
    if store.disk.is_short() {
        store.disk.recover();
    }
    match piece(store, now_ms) {
        Ok(more) => Ok(Upkeep { more }),
        Err(error) if store.failed_for_room(&error) => {
            store.disk.give_up_reserve();
            Err(StoreError::Full)
        }
        Err(error) => Err(error),
    }
}

fn piece(store: &mut SqliteStore, now_ms: i64) -> Result<bool, StoreError> {
    match store.merge_piece() {
        // What goes makes room for it, with all the rest.
        Err(error) if error.is_disk_full() => {}
        piece => {
            if isolated(piece)? {
                return Ok(true);
            }
        }
    }
    if let Some(chunk) = store.chunk_to_move(now_ms) {
        store.move_chunk(chunk, now_ms)?;
        return Ok(true);
    }
    if store.damage().take_index() {
        isolated(remake_indexes(store, now_ms))?;
    }
    let max_bytes = store.limits().report_bytes;
    if store.state().is_some_and(|state| state.counters.report_bytes.unsigned_abs() > max_bytes) {
        let damage = store.damage();
        let fold = |commit: &mut Commit<'_>| fold::fold(commit.sql, commit.state, max_bytes, &damage);
        if isolated(store.transact(now_ms, false, fold))? {
            return Ok(true);
        }
    }
    if isolated(dead_letters_due(store, now_ms))?
        && isolated(store.transact(now_ms, false, |commit| commit.retain_dead_letters()))?
    {
        return Ok(true);
    }
    // What comes now reads the tables.
    isolated(store.merge().map(|()| false))?;
    if is_due(store.upkeep.keys_ms, now_ms, OFTEN_MS) {
        let keep_from = store.dedup().expire(now_ms);
        if isolated(Dedup::has_forgotten(store.sql(), keep_from))?
            && isolated(store.transact(now_ms, false, |commit| Dedup::clean(commit.sql, keep_from)))?
        {
            return Ok(true);
        }
        store.upkeep.keys_ms = Some(now_ms);
    }
    isolated(forget_producers(store, now_ms))
}

/// Work that meets damage is left; the rest goes on.
fn isolated(done: Result<bool, StoreError>) -> Result<bool, StoreError> {
    match done {
        Err(error) if error.is_damage() => {
            tracing::error!(error = &error as &dyn std::error::Error, "housekeeping has met damage");
            Ok(false)
        }
        done => done,
    }
}

/// Makes the indexes of deliveries anew from their table.
fn remake_indexes(store: &mut SqliteStore, now_ms: i64) -> Result<bool, StoreError> {
    store.transact(now_ms, false, |commit| Ok(commit.sql.execute_batch("REINDEX waiting; REINDEX windows;")?))?;
    tracing::warn!("the indexes of waiting deliveries were made anew");
    Ok(true)
}

fn dead_letters_due(store: &SqliteStore, now_ms: i64) -> Result<bool, StoreError> {
    let bytes = store.state().map_or(0, |state| state.dead_letter_bytes());
    if bytes == 0 || bytes > store.limits().dead_letter_bytes() {
        return Ok(bytes > 0);
    }
    let old = now_ms.saturating_sub(millis(store.limits().dead_letter_age));
    Ok(dead_letters::oldest_end_ms(store.sql())?.is_some_and(|end_ms| end_ms < old))
}

/// Goes through the producers a piece at a time and forgets those that were not seen for long.
fn forget_producers(store: &mut SqliteStore, now_ms: i64) -> Result<bool, StoreError> {
    if store.upkeep.producer.is_none() && !is_due(store.upkeep.producers_ms, now_ms, HOUR_MS) {
        return Ok(false);
    }
    let old = now_ms.saturating_sub(millis(store.limits().producer_age));
    let (project, id) = store.upkeep.producer.take().unwrap_or_default();
    let last: Option<(String, String)> = store
        .sql()
        .prepare_cached(
            "SELECT project, producer_id FROM producers WHERE (project, producer_id) > (?, ?)
             ORDER BY project, producer_id LIMIT 1 OFFSET ?",
        )?
        .query_row((&project, &id, PRODUCERS - 1), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let forgotten: Vec<(String, String)> = store
        .sql()
        .prepare_cached(
            "SELECT project, producer_id, seen_ms FROM producers WHERE (project, producer_id) > (?, ?)
             ORDER BY project, producer_id LIMIT ?",
        )?
        .query_map((&project, &id, PRODUCERS), |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)))?
        .filter(|row| row.as_ref().map_or(true, |(_, _, seen_ms)| *seen_ms < old))
        .map(|row| row.map(|(project, id, _)| (project, id)))
        .collect::<Result<_, _>>()?;
    if !forgotten.is_empty() {
        store.transact(now_ms, false, |commit| {
            for key in &forgotten {
                commit
                    .sql
                    .prepare_cached("DELETE FROM producers WHERE project = ? AND producer_id = ?")?
                    .execute([&key.0, &key.1])?;
                commit.state.producers.remove(&Producer { project: (*key.0).into(), id: (*key.1).into() });
            }
            Ok(())
        })?;
        tracing::info!(producers = forgotten.len(), "producers that were not seen for long were forgotten");
    }
    store.upkeep.producer = last;
    store.upkeep.producers_ms = Some(now_ms);
    Ok(store.upkeep.producer.is_some())
}

fn is_due(last_ms: Option<i64>, now_ms: i64, every_ms: i64) -> bool {
    last_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= every_ms)
}
