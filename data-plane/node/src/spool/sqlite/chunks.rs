//! The live chunks: those of which a delivery is open and has no row of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    chunk::{self, Body, Chunk, Held, InJournal},
    damage::Damage,
    entries::{self, Place},
    image::{ChunkImage, Image},
    journal::Journal,
    merge::{Pending, Target, unless_damaged},
};
use crate::spool::store::StoreError;

/// Bytes of live chunks; beyond, the oldest move to rows.
const LIVE_BYTES: usize = 32 << 20;

/// Deliveries of live chunks, done ones among them; beyond, the oldest move to rows.
const LIVE_DELIVERIES: usize = 262_144;

/// Age of a live chunk; beyond, it moves to rows.
const LIVE_MS: i64 = 10_000;

/// The live chunks, by their first delivery.
#[derive(Default)]
pub(super) struct Chunks {
    live: BTreeMap<i64, Chunk>,
    bytes: usize,
    deliveries: usize,
    /// Chunks with new bits.
    touched: Vec<i64>,
    /// Chunks on disk whose entries cannot be read.
    unreadable: Vec<i64>,
}

/// A chunk as the tables have it.
pub(super) struct Merged {
    chunk: i64,
    places: Vec<Place>,
    body_bytes: usize,
}

impl Chunks {
    /// Reads what is on disk.
    pub(super) fn load(sql: &Connection) -> Result<Self, StoreError> {
        let mut chunks = Self::default();
        let ids = chunks.ids(sql)?;
        for id in ids {
            match chunk::load(sql, id) {
                Ok(Some(chunk)) => chunks.add(id, chunk),
                Ok(None) => chunks.unreadable.push(id),
                Err(error) if error.is_damage() => chunks.unreadable.push(id),
                Err(error) => return Err(error),
            }
        }
        Ok(chunks)
    }

    /// Those that can be found; where a page cannot be read, from either side of it.
    fn ids(&mut self, sql: &Connection) -> Result<BTreeSet<i64>, StoreError> {
        let mut ids = BTreeSet::new();
        for order in ["ASC", "DESC"] {
            let mut statement = sql.prepare(&format!("SELECT chunk FROM chunks ORDER BY chunk {order}"))?;
            let mut rows = statement.query([])?;
            loop {
                match rows.next().map_err(StoreError::from) {
                    Ok(Some(row)) => ids.insert(row.get(0)?),
                    Ok(None) => return Ok(ids),
                    Err(error) if error.is_damage() => break,
                    Err(error) => return Err(error),
                };
            }
        }
        // There is no chunk of that name: something is lost, nobody knows what.
        self.unreadable.push(0);
        Ok(ids)
    }

    /// One more.
    pub(super) fn add(&mut self, id: i64, chunk: Chunk) {
        self.bytes += chunk.body_bytes;
        self.deliveries += chunk.slots.len();
        self.live.insert(id, chunk);
    }

    /// Chunks whose entries cannot be read; asked once.
    pub(super) fn take_unreadable(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.unreadable)
    }

    /// The open delivery, if it is here.
    pub(super) fn find(&self, delivery: i64) -> Option<Held> {
        let (id, chunk) = self.live.range(..=delivery).next_back()?;
        chunk.held(*id, usize::try_from(delivery - id).ok()?)
    }

    /// Open deliveries of a chunk.
    pub(super) fn open_in(&self, id: i64) -> Vec<Held> {
        self.live
            .get(&id)
            .map_or_else(Vec::new, |chunk| (0..chunk.slots.len()).filter_map(|index| chunk.held(id, index)).collect())
    }

    /// Every open delivery.
    pub(super) fn all_open(&self) -> impl Iterator<Item = Held> {
        self.live.iter().flat_map(|(id, chunk)| (0..chunk.slots.len()).filter_map(|index| chunk.held(*id, index)))
    }

    /// The first `limit` open deliveries of a lane.
    pub(super) fn open_of(&self, lane: i64, limit: usize) -> Vec<Held> {
        let all = self.live.iter().flat_map(|(id, chunk)| {
            let of_lane = chunk.slots.iter().enumerate().filter(move |(_, slot)| slot.lane == lane);
            of_lane.filter_map(|(index, _)| chunk.held(*id, index))
        });
        all.take(limit).collect()
    }

    /// A delivery is over, or has moved to a row.
    pub(super) fn finish(&mut self, held: &Held) {
        let Some(chunk) = self.live.get_mut(&held.chunk) else { return };
        let Ok(index) = usize::try_from(held.delivery - held.chunk) else { return };
        if chunk.is_over(index) {
            return;
        }
        let Some(bits) = chunk.done.get_mut(index / 8) else { return };
        *bits |= 1 << (index % 8);
        chunk.open -= 1;
        if !chunk.touched {
            chunk.touched = true;
            self.touched.push(held.chunk);
        }
    }

    /// Writes which deliveries are over; chunks without an open one go.
    pub(super) fn save(&mut self, to: &mut Target<'_>, pending: &mut Pending) -> Result<(), StoreError> {
        for chunk in std::mem::take(&mut self.touched) {
            let Some(live) = self.live.get_mut(&chunk) else { continue };
            live.touched = false;
            if live.open > 0 {
                to.put(&Image::Done { chunk, bits: &live.done })?;
                if let Target::Journal(_) = to {
                    pending.done.insert(chunk);
                }
                continue;
            }
            to.put(&Image::Gone { chunk })?;
            if let Some(live) = self.live.remove(&chunk) {
                self.bytes -= live.body_bytes;
                self.deliveries -= live.slots.len();
                if matches!(to, Target::Journal(_)) && live.in_journal.is_none() {
                    pending.gone.push(chunk);
                }
            }
        }
        Ok(())
    }

    /// Writes those of these chunks to the tables that only the journal has, without events that nobody waits for any more. Gives them as
    /// the tables have them, for [`Chunks::merged`].
    pub(super) fn merge(
        &self,
        sql: &Connection,
        journal: &Journal,
        damage: &Damage,
        new: &[i64],
    ) -> Result<Vec<Merged>, StoreError> {
        let mut merged = Vec::new();
        for id in new {
            let Some(live) = self.live.get(id) else { continue };
            let Some(InJournal { body_at }) = live.in_journal else { continue };
            let body = journal.read(body_at, live.body_bytes).unwrap_or_else(|error| {
                // Its events are found damaged one by one, by those who want them.
                tracing::error!(error = &error as &dyn std::error::Error, "a chunk cannot be read from the journal");
                damage.found("chunk in the journal", *id);
                vec![0; live.body_bytes]
            });
            let (places, body) = live.without_what_is_over(body);
            let (first_event, born_ms, entries) =
                (live.first_event, live.born_ms, entries::encode(&places, &live.slots));
            let crc = entries::crc(*id, first_event, &entries);
            ChunkImage { chunk: *id, first_event, born_ms, crc, entries: &entries, body: &body }.save(sql)?;
            if live.open < live.slots.len() {
                Image::Done { chunk: *id, bits: &live.done }.save(sql)?;
            }
            merged.push(Merged { chunk: *id, places, body_bytes: body.len() });
        }
        Ok(merged)
    }

    /// Writes to the tables which deliveries of these chunks are over, unless they came with the chunk itself.
    pub(super) fn merge_done(&self, sql: &Connection, chunks: &HashSet<i64>) -> Result<(), StoreError> {
        for id in chunks {
            if let Some(live) = self.live.get(id).filter(|live| live.in_journal.is_none()) {
                // At worst they are made again.
                unless_damaged(sql, || Image::Done { chunk: *id, bits: &live.done }.save(sql))?;
            }
        }
        Ok(())
    }

    /// Length of the shortest beginning of these in which `most` chunks are in the journal alone, or chunks of `most_bytes`; none if there
    /// is none.
    pub(super) fn piece(&self, new: &[i64], most: usize, most_bytes: usize) -> Option<usize> {
        let (mut chunks, mut bytes) = (0, 0);
        let ends = |id: &i64| {
            if let Some(live) = self.live.get(id).filter(|live| live.in_journal.is_some()) {
                (chunks, bytes) = (chunks + 1, bytes + live.body_bytes);
            }
            chunks >= most || bytes >= most_bytes
        };
        new.iter().position(ends).map(|last| last + 1)
    }

    /// The tables have these now.
    pub(super) fn merged(&mut self, chunks: Vec<Merged>) {
        for Merged { chunk, places, body_bytes } in chunks {
            if let Some(live) = self.live.get_mut(&chunk) {
                self.bytes = self.bytes + body_bytes - live.body_bytes;
                (live.places, live.body_bytes, live.in_journal) = (places, body_bytes, None);
            }
        }
    }

    /// The oldest chunk, if it has to move to rows. `stuck`: those that cannot.
    pub(super) fn to_move(&self, now_ms: i64, stuck: &HashSet<i64>) -> Option<i64> {
        let (id, chunk) = self.live.iter().find(|(id, _)| !stuck.contains(id))?;
        let old = now_ms.saturating_sub(chunk.born_ms) > LIVE_MS;
        (old || self.over_bound()).then_some(*id)
    }

    /// The oldest chunks. `stuck`: those that cannot move.
    pub(super) fn oldest(&self, count: usize, stuck: &HashSet<i64>) -> Vec<i64> {
        self.live.keys().filter(|id| !stuck.contains(id)).take(count).copied().collect()
    }

    /// Whether there is more than may be live.
    pub(super) fn over_bound(&self) -> bool {
        self.bytes > LIVE_BYTES || self.deliveries > LIVE_DELIVERIES
    }

    /// Reads the events of a chunk.
    pub(super) fn read(&self, sql: &Connection, id: i64) -> Result<Body<'_>, StoreError> {
        let body = sql
            .prepare_cached("SELECT body FROM chunks WHERE chunk = ?")?
            .query_row([id], |row| row.get(0))
            .optional()?
            .unwrap_or_default();
        Ok(Body { chunk: self.live.get(&id), body })
    }
}
