//! What the journal has and the tables have not, and how they take it over: from memory while the writer runs, from the journal itself
//! after a crash or a commit that failed.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    chunks::Merged,
    damage::Damage,
    image::{Counters, Image},
    journal::{Entry, Journal},
    record::Reader,
    reports,
    state::State,
};
use crate::spool::store::{InsertKey, Producer, StoreError};

/// Keys in one row, and the time between the first and the last of them.
const ROW_KEYS: usize = 4_096;
const ROW_MS: u64 = 1_000;

/// Where a commit writes.
pub(super) enum Target<'a> {
    /// To the tables; anything may change.
    Tables(&'a Connection),
    /// To the journal; what an [`Image`] can say may change.
    Journal(Entry),
}

/// What the tables lack, beside the chunks that say so themselves.
#[derive(Default)]
pub(super) struct Pending {
    /// New chunks; some may have gone since.
    pub(super) chunks: Vec<i64>,
    /// Chunks of which deliveries are over; the same.
    pub(super) done: HashSet<i64>,
    /// Chunks of tables that have gone.
    pub(super) gone: Vec<i64>,
    pub(super) reports: VecDeque<PendingReports>,
    /// Whether reports of tables may have been acked.
    pub(super) acked: bool,
    keys: Vec<PendingKeys>,
    pub(super) producers: HashSet<Producer>,
    pub(super) lanes: HashSet<i64>,
    pub(super) projects: HashSet<Arc<str>>,
}

/// Keys that are in no table: of many commits, since a row for each would be many.
struct PendingKeys {
    /// The row and the time of the last one.
    batch: i64,
    at_ms: i64,
    /// The time of the first one.
    since_ms: i64,
    keys: Vec<InsertKey>,
}

/// Reports that are in no table.
pub(super) struct PendingReports {
    pub(super) first: i64,
    pub(super) count: i64,
    pub(super) body: Vec<u8>,
}

impl Pending {
    /// A commit has seen these keys.
    pub(super) fn add_keys(&mut self, batch: i64, at_ms: i64, body: &[u8]) {
        let keys = body.as_chunks().0;
        let has_room =
            |row: &&mut PendingKeys| row.keys.len() + keys.len() <= ROW_KEYS && at_ms.abs_diff(row.since_ms) <= ROW_MS;
        if let Some(row) = self.keys.last_mut().filter(has_room) {
            (row.batch, row.at_ms) = (batch, at_ms);
            row.keys.extend_from_slice(keys);
        } else {
            self.keys.push(PendingKeys { batch, at_ms, since_ms: at_ms, keys: keys.to_vec() });
        }
    }
}

impl Target<'_> {
    /// Writes a row.
    pub(super) fn put(&mut self, image: &Image<'_>) -> Result<(), StoreError> {
        match self {
            Self::Tables(sql) => image.save(sql),
            Self::Journal(entry) => {
                image.encode(&mut entry.bytes);
                Ok(())
            }
        }
    }
}

/// What the tables have taken over.
pub(super) struct TakenOver {
    chunks: Vec<Merged>,
    /// How many acked reports, and bytes of them, were taken off the disk.
    forgotten: (i64, i64),
}

/// Writes what is pending to the tables, within a transaction; what memory says is not changed by it. What goes makes room for what
/// comes.
pub(super) fn from_memory(
    sql: &Connection,
    state: &State,
    journal: &Journal,
    damage: &Damage,
) -> Result<TakenOver, StoreError> {
    let pending = &state.pending;
    for chunk in &pending.gone {
        unless_damaged(sql, || Image::Gone { chunk: *chunk }.save(sql))?;
    }
    let forgotten =
        if pending.acked { unless_damaged(sql, || reports::forget(sql, state.counters.acked_report))? } else { None };
    let chunks = state.chunks.merge(sql, journal, damage, &pending.chunks)?;
    state.chunks.merge_done(sql, &pending.done)?;
    for row in &pending.reports {
        unless_damaged(sql, || reports::insert(sql, row.first, row.count, 0, &row.body))?;
    }
    for PendingKeys { batch, at_ms, keys, .. } in &pending.keys {
        let image = Image::Keys { batch: *batch, at_ms: *at_ms, body: keys.as_flattened() };
        unless_damaged(sql, || image.save(sql))?;
    }
    for producer in &pending.producers {
        if let Some((next_sequence, seen_ms)) = state.producers.get(producer).copied() {
            let image = Image::Producer { project: &producer.project, id: &producer.id, next_sequence, seen_ms };
            unless_damaged(sql, || image.save(sql))?;
        }
    }
    name_generation(sql, journal.generation() + 1)?;
    sql.prepare_cached("UPDATE state SET lost = lost & 1")?.execute([])?;
    Ok(TakenOver { chunks, forgotten: forgotten.unwrap_or_default() })
}

/// Does a part of a transaction, or nothing of it where it meets damage: what else there is goes on, and the tables note that counts may
/// be off. Gives what it gave, if anything.
pub(super) fn unless_damaged<T>(
    sql: &Connection,
    part: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    sql.prepare_cached("SAVEPOINT part")?.execute([])?;
    let done = match part() {
        Err(error) if error.is_damage() => {
            tracing::error!(error = &error as &dyn std::error::Error, "the journal has met damage in the tables");
            sql.prepare_cached("ROLLBACK TO part")?.execute([])?;
            note_lost(sql)?;
            None
        }
        done => Some(done?),
    };
    sql.prepare_cached("RELEASE part")?.execute([])?;
    Ok(done)
}

/// Notes that something is lost that is counted.
pub(super) fn note_lost(sql: &Connection) -> Result<(), StoreError> {
    sql.execute("UPDATE state SET lost = lost | 1", [])?;
    Ok(())
}

/// Whether the tables have chunks that only the journal counts: [`note_ahead`].
pub(super) fn is_ahead(sql: &Connection) -> Result<bool, StoreError> {
    Ok(sql.query_row("SELECT lost & 2 FROM state", [], |row| row.get(0))?)
}

/// Notes that the tables have chunks of which all else is in the journal. If that is found no more, their ids are not given again, and
/// they are counted.
pub(super) fn note_ahead(sql: &Connection, counters: &Counters) -> Result<(), StoreError> {
    sql.prepare_cached(
        "UPDATE state SET next_event = MAX(next_event, ?), next_delivery = MAX(next_delivery, ?), lost = lost | 2",
    )?
    .execute([counters.next_event, counters.next_delivery])?;
    Ok(())
}

/// The tables have what was pending; what changes with every commit is written with the one under way.
pub(super) fn merged(state: &mut State, TakenOver { chunks, forgotten }: TakenOver) {
    let pending = std::mem::take(&mut state.pending);
    state.chunks.merged(chunks);
    state.counters.report_count -= forgotten.0;
    state.counters.report_bytes -= forgotten.1;
    pending.lanes.into_iter().for_each(|lane| state.change_lane(lane, |_| {}));
    pending.projects.iter().for_each(|project| state.change_project(project, |_| {}));
}

/// Names the generation whose entries come after what the tables hold.
fn name_generation(sql: &Connection, generation: i64) -> Result<(), StoreError> {
    sql.prepare_cached("UPDATE state SET journal = ?")?.execute([generation])?;
    Ok(())
}

/// Writes the journal's entries to the tables, in a transaction of its own. Where some could not be read, it notes in the tables that
/// counts may be off by what they said.
pub(super) fn from_journal(sql: &mut Connection, journal: &mut Journal, damage: &Damage) -> Result<(), StoreError> {
    let named: i64 = sql.query_row("SELECT journal FROM state", [], |row| row.get(0))?;
    if named != journal.generation() {
        // A commit that seemed to have failed is there: it has taken all of this over.
        name_generation(sql, named + 1)?;
        journal.restart(named + 1);
        return Ok(());
    }
    let (mut gone, mut acked, mut damaged_before, mut lost) = (HashSet::new(), 0, 0, false);
    let found = journal.replay(|entry| {
        lost |= !images(entry, |image| {
            match image {
                Image::Gone { chunk } => drop(gone.insert(chunk)),
                Image::Totals(totals) => (acked, damaged_before) = (totals.counters.acked_report, totals.damaged),
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    })?;
    // Entries of a generation that was never ours would count when we come to it.
    let next = journal.generation().max(found.newest) + 1;
    let transaction = sql.transaction()?;
    if found.entries > 0 {
        // What goes makes room for what comes, and is not written at all where the tables do not have it.
        for chunk in &gone {
            unless_damaged(&transaction, || Image::Gone { chunk: *chunk }.save(&transaction))?;
        }
        let forgotten = unless_damaged(&transaction, || reports::forget(&transaction, acked))?;
        journal.replay(|entry| {
            images(entry, |image| {
                match image {
                    Image::Gone { .. } => return Ok(()),
                    Image::Chunk(chunk) if gone.contains(&chunk.chunk) => return Ok(()),
                    Image::Done { chunk, .. } if gone.contains(&chunk) => return Ok(()),
                    Image::Reports { first, count, .. } if reports::is_acked(first, count, acked) => return Ok(()),
                    _ => {}
                }
                unless_damaged(&transaction, || image.save(&transaction)).map(drop)
            })
            .map(drop)
        })?;
        let (count, bytes) = forgotten.unwrap_or_default();
        transaction.execute(
            "UPDATE state SET report_count = report_count - ?, report_bytes = report_bytes - ?",
            params![count, bytes],
        )?;
    }
    if lost || found.damaged > 0 {
        note_lost(&transaction)?;
    }
    name_generation(&transaction, next)?;
    transaction.commit()?;
    damage.at_least(damaged_before.unsigned_abs());
    if found.newest > journal.generation() {
        tracing::error!("the spool's journal is of a later state than its tables: what it holds cannot be taken over");
        damage.found("journal", next);
    }
    for place in 0..found.damaged.cast_signed() {
        damage.found("entry of the journal", next.wrapping_mul(1 << 20) + place);
    }
    if found.entries > 0 {
        tracing::info!(commits = found.entries, "commits were taken over from the journal");
    }
    journal.restart(next);
    Ok(())
}

/// Gives each image of an entry to `each`; gives whether all of the entry could be read.
fn images(entry: &[u8], mut each: impl FnMut(Image<'_>) -> Result<(), StoreError>) -> Result<bool, StoreError> {
    let mut reader = Reader(entry);
    while let Some(image) = Image::decode(&mut reader) {
        each(image)?;
    }
    Ok(reader.0.is_empty())
}

#[cfg(test)]
mod tests {
    use super::{super::file, *};

    #[test]
    fn what_the_tables_have_taken_over_is_not_taken_over_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut sql = file::open(&folder.path().join("spool.db"), 0).unwrap();
        let mut journal = Journal::open(folder.path(), "one", 0, 0).unwrap();
        let keys =
            |sql: &Connection| -> i64 { sql.query_row("SELECT COUNT(*) FROM keys", [], |row| row.get(0)).unwrap() };
        let append = |journal: &mut Journal| {
            let mut entry = journal.entry();
            Image::Keys { batch: 1, at_ms: 2, body: &[7; 16] }.encode(&mut entry.bytes);
            journal.append(entry).unwrap();
        };
        append(&mut journal);
        from_journal(&mut sql, &mut journal, &Damage::default()).unwrap();
        assert_eq!((keys(&sql), journal.generation()), (1, 1));

        // The tables took it over, and somebody thinks that they have not.
        append(&mut journal);
        sql.execute("DELETE FROM keys", []).unwrap();
        name_generation(&sql, 2).unwrap();
        from_journal(&mut sql, &mut journal, &Damage::default()).unwrap();
        assert_eq!((keys(&sql), journal.generation()), (0, 3));
        assert!(journal.is_empty());
    }

    #[test]
    fn no_generation_is_named_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut sql = file::open(&folder.path().join("spool.db"), 0).unwrap();
        let mut later = Journal::open(folder.path(), "one", 8, 0).unwrap();
        for _ in 0..3 {
            let entry = later.entry();
            later.append(entry).unwrap();
        }
        // The tables are of a state before.
        let mut journal = Journal::open(folder.path(), "one", 0, 0).unwrap();
        let damage = Damage::default();
        from_journal(&mut sql, &mut journal, &damage).unwrap();
        assert_eq!((journal.generation(), damage.count()), (9, 1));
    }
}
