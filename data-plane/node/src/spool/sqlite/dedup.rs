//! Remembers the keys of events for a while, so that one sent again under another sequence is known. In memory a table of
//! keys, on disk a row for some commits; what a failed commit has seen is forgotten with it.

use std::collections::{HashMap, HashSet, VecDeque};

use rusqlite::Connection;

use super::{damage::Damage, image::Image};
use crate::spool::{
    limits::{SpoolLimits, millis},
    store::{InsertKey, StoreError},
};

/// Memory for one key: the table's slot at the load it has after growing, and a moment beside the smaller table then.
const KEY_COST: usize = 37;

/// Rows that are forgotten at once, of some 64 KiB each.
const PIECE_ROWS: i64 = 64;

/// Remembered keys.
pub(super) struct Dedup {
    window_ms: i64,
    max_keys: usize,
    /// The commit that has seen a key. May hold some that are forgotten.
    seen: HashMap<InsertKey, u32>,
    /// Commits, or parts of rows, that count, the oldest first; their numbers are consecutive.
    batches: VecDeque<Batch>,
    first_batch: u32,
    /// Row of the next commit that sees keys.
    next_row: i64,
    /// Keys in `batches`.
    live: usize,
    /// Of the commit under way.
    staged: HashSet<InsertKey>,
    staged_order: Vec<InsertKey>,
}

#[derive(Clone, Copy)]
struct Batch {
    row: i64,
    at_ms: i64,
    count: usize,
}

impl Dedup {
    /// Reads what is on disk.
    pub(super) fn load(sql: &Connection, limits: &SpoolLimits, damage: &Damage) -> Result<Self, StoreError> {
        let mut dedup = Self {
            window_ms: millis(limits.dedup_window),
            max_keys: (limits.dedup_bytes / KEY_COST).max(1),
            seen: HashMap::new(),
            batches: VecDeque::new(),
            first_batch: 0,
            next_row: 1,
            live: 0,
            staged: HashSet::new(),
            staged_order: Vec::new(),
        };
        let mut statement = sql.prepare_cached("SELECT batch, at_ms, crc, body FROM keys ORDER BY batch")?;
        let mut rows = statement.query([])?;
        loop {
            let row = match rows.next().map_err(StoreError::from) {
                Ok(Some(row)) => row,
                Ok(None) => break,
                // The window is shorter for it.
                Err(error) if error.is_damage() => {
                    damage.found("page of keys", dedup.next_row);
                    break;
                }
                Err(error) => return Err(error),
            };
            let (row_id, at_ms): (i64, i64) = (row.get(0)?, row.get(1)?);
            let body = row.get_ref(3)?.as_blob().unwrap_or_default();
            dedup.next_row = row_id + 1;
            if crc(row_id, at_ms, body) != row.get::<_, i64>(2)? {
                damage.found("keys", row_id);
                continue;
            }
            // A row may be of many commits, which are forgotten one after the other.
            for keys in body.as_chunks::<16>().0.chunks((dedup.max_keys / 16).max(1)) {
                dedup.add(row_id, at_ms, keys);
            }
        }
        let newest: i64 = sql
            .prepare_cached("SELECT COALESCE(MAX(batch), 0) FROM keys")?
            .query_row([], |row| row.get(0))
            .unwrap_or_default();
        dedup.next_row = dedup.next_row.max(newest + 1);
        Ok(dedup)
    }

    /// Whether the key was seen within the window.
    pub(super) fn knows(&self, key: &InsertKey, now_ms: i64) -> bool {
        if self.staged.contains(key) {
            return true;
        }
        let batch = self.seen.get(key).and_then(|number| {
            let index = usize::try_from(number.wrapping_sub(self.first_batch)).ok()?;
            self.batches.get(index)
        });
        batch.is_some_and(|batch| now_ms.saturating_sub(batch.at_ms) < self.window_ms)
    }

    /// Remembers a key with the commit under way.
    pub(super) fn stage(&mut self, key: InsertKey) {
        if self.staged.insert(key) {
            self.staged_order.push(key);
        }
    }

    /// How many are staged; [`Dedup::unstage`] goes back to it.
    pub(super) fn mark(&self) -> usize {
        self.staged_order.len()
    }

    /// Forgets what was staged since.
    pub(super) fn unstage(&mut self, mark: usize) {
        for key in self.staged_order.drain(mark..) {
            self.staged.remove(&key);
        }
    }

    /// The row of what is staged, if there is anything.
    pub(super) fn staged(&self, now_ms: i64) -> Option<Image<'_>> {
        let body = self.staged_order.as_flattened();
        (!body.is_empty()).then_some(Image::Keys { batch: self.next_row, at_ms: now_ms, body })
    }

    /// The number and the age of what will be remembered with it.
    pub(super) fn figures(&self, now_ms: i64) -> (usize, Option<i64>) {
        let count = (self.live + self.staged_order.len()).min(self.max_keys);
        let oldest = self.batches.front().map_or(now_ms, |batch| batch.at_ms);
        (count, (count > 0).then_some(oldest))
    }

    /// The commit is on disk.
    pub(super) fn committed(&mut self, now_ms: i64) {
        if self.staged_order.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.staged_order);
        self.staged.clear();
        self.add(self.next_row, now_ms, &keys);
        self.next_row += 1;
    }

    /// The commit has failed.
    pub(super) fn rolled_back(&mut self) {
        self.staged.clear();
        self.staged_order.clear();
    }

    /// Forgets what is past the window, in memory; gives the row from which on rows are kept.
    pub(super) fn expire(&mut self, now_ms: i64) -> i64 {
        while self.batches.front().is_some_and(|batch| now_ms.saturating_sub(batch.at_ms) >= self.window_ms) {
            self.drop_oldest();
        }
        if self.seen.len() - self.live > (self.live / 4).max(1_024) {
            self.compact();
        }
        self.batches.front().map_or(self.next_row, |batch| batch.row)
    }

    /// Takes a piece of what is forgotten off the disk; gives whether it did.
    pub(super) fn clean(sql: &Connection, keep_from: i64) -> Result<bool, StoreError> {
        let gone = sql
            .prepare_cached(
                "DELETE FROM keys WHERE batch < ?1
                 AND batch <= (SELECT MAX(batch) FROM (SELECT batch FROM keys ORDER BY batch LIMIT ?2))",
            )?
            .execute([keep_from, PIECE_ROWS])?;
        Ok(gone > 0)
    }

    /// Whether rows are on disk that are forgotten.
    pub(super) fn has_forgotten(sql: &Connection, keep_from: i64) -> Result<bool, StoreError> {
        let oldest: Option<i64> = sql.prepare_cached("SELECT MIN(batch) FROM keys")?.query_row([], |row| row.get(0))?;
        Ok(oldest.is_some_and(|oldest| oldest < keep_from))
    }

    fn add(&mut self, row: i64, at_ms: i64, keys: &[InsertKey]) {
        while self.live + keys.len() > self.max_keys && !self.batches.is_empty() {
            self.drop_oldest();
        }
        if self.seen.len() + keys.len() > self.max_keys {
            // Room for a while, so that this does not happen with every commit.
            while self.live + keys.len() > self.max_keys - self.max_keys / 8 && !self.batches.is_empty() {
                self.drop_oldest();
            }
            self.compact();
        }
        let number = self.first_batch.wrapping_add(u32::try_from(self.batches.len()).unwrap_or_default());
        self.batches.push_back(Batch { row, at_ms, count: keys.len() });
        self.live += keys.len();
        self.seen.extend(keys.iter().map(|key| (*key, number)));
    }

    fn drop_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.first_batch = self.first_batch.wrapping_add(1);
            self.live -= batch.count;
        }
    }

    fn compact(&mut self) {
        let (first, count) = (self.first_batch, self.batches.len());
        self.seen.retain(|_, number| (number.wrapping_sub(first) as usize) < count);
    }
}

/// A row's checksum.
pub(super) fn crc(row: i64, at_ms: i64, body: &[u8]) -> i64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&row.to_le_bytes()), &at_ms.to_le_bytes());
    i64::from(crc32c::crc32c_append(crc, body))
}
