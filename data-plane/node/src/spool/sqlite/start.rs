//! What a start does before anything is served: chunks become rows, and what was lost is put right in the counts.

use std::collections::HashMap;

use super::{image::Image, merge, state::Lane, write::SqliteStore};
use crate::spool::store::StoreError;

/// Chunks that become rows in one transaction.
const MOVED_AT_ONCE: usize = 16;

impl SqliteStore {
    /// Makes rows of what chunks hold: no delivery is in memory yet.
    pub(super) fn empty_chunks(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let unreadable = self.take_unreadable();
        loop {
            self.load_state()?;
            let oldest = self.oldest_chunks(MOVED_AT_ONCE);
            if oldest.is_empty() {
                break;
            }
            let moved =
                self.transact(now_ms, false, |commit| oldest.iter().try_for_each(|chunk| commit.move_chunk(*chunk)));
            match moved {
                Err(error) if error.is_damage() => {
                    for chunk in oldest {
                        self.move_chunk(chunk, now_ms)?;
                    }
                }
                moved => moved?,
            }
        }
        self.load_state()?;
        if !unreadable.is_empty() {
            // Nobody knows which lanes they went to: what is missing there is lost.
            self.transact(now_ms, false, |commit| {
                merge::note_lost(commit.sql)?;
                for chunk in &unreadable {
                    commit.damage.found("chunk", *chunk);
                    match (Image::Gone { chunk: *chunk }).save(commit.sql) {
                        // It stays where it is, and counts once.
                        Err(error) if error.is_damage() => {}
                        removed => removed?,
                    }
                }
                Ok(())
            })?;
        }
        self.count_anew(now_ms)
    }

    /// Counts what there is, where something that was counted has been lost. The memory has to be there.
    pub(super) fn count_anew(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let lost: bool = self.sql().query_row("SELECT lost FROM state", [], |row| row.get(0))?;
        if !lost {
            return Ok(());
        }
        self.transact(now_ms, false, |commit| {
            let mut found: HashMap<i64, (i64, i64)> = HashMap::new();
            for held in commit.state.chunks.all_open() {
                let (count, bytes) = found.entry(held.lane).or_default();
                (*count, *bytes) = (*count + 1, *bytes + held.bytes);
            }
            let lanes: Vec<i64> = commit.state.lanes().map(|(id, _)| id).collect();
            for id in lanes {
                let (in_rows, bytes_in_rows): (i64, i64) = commit
                    .sql
                    .prepare_cached("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM deliveries WHERE lane = ?")?
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let (in_chunks, bytes_in_chunks) = found.remove(&id).unwrap_or_default();
                let (pending, bytes) = (in_rows + in_chunks, bytes_in_rows + bytes_in_chunks);
                let counted = |lane: &&Lane| (lane.counts.pending, lane.pending_bytes) != (pending, bytes);
                let Some(lane) = commit.state.lane(id).filter(counted) else { continue };
                let lost = lane.counts.pending - pending;
                tracing::error!(sync = &*lane.key.name, lost, "deliveries were lost with what is damaged");
                commit.state.change_lane(id, |lane| lane.lost(pending, bytes));
            }
            let reports = commit.sql.query_row(
                "SELECT COALESCE(SUM(count), 0), COALESCE(SUM(length(body)), 0) FROM reports",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            );
            match reports.map_err(StoreError::from) {
                Ok(counted) => (commit.state.counters.report_count, commit.state.counters.report_bytes) = counted,
                Err(error) if error.is_damage() => commit.damage.found("page of reports", 0),
                Err(error) => return Err(error),
            }
            commit.sql.execute("UPDATE state SET lost = 0", [])?;
            Ok(())
        })
    }
}
