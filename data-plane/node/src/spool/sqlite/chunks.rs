//! Chunks: what one commit accepted, in the order it came. A delivery that ends in its first round costs one bit here and no
//! row of its own. What is in memory of a chunk is where its events are and which deliveries are over.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    damage::Damage,
    entries::{self, Place, Slot},
    image::{ChunkImage, Image},
    journal::Journal,
    merge::{Pending, Target, unless_damaged},
    record::{self, Reader},
    rows::RawEvent,
    state::State,
};
use crate::spool::store::{StoreError, StoredEvent};

/// Bytes of one chunk; a single event may be longer.
const CHUNK_BYTES: usize = 256 << 10;

/// Deliveries of one chunk; a single event may have more.
const CHUNK_DELIVERIES: usize = 4_096;

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

/// A live chunk.
pub(super) struct Chunk {
    pub(super) first_event: i64,
    pub(super) born_ms: i64,
    body_bytes: usize,
    places: Vec<Place>,
    slots: Vec<Slot>,
    done: Vec<u8>,
    open: usize,
    touched: bool,
    /// Where it lies, if the tables do not have it yet.
    in_journal: Option<InJournal>,
}

/// A chunk in the journal.
#[derive(Clone, Copy)]
struct InJournal {
    /// Where its body is.
    body_at: u64,
}

/// A chunk as the tables have it.
pub(super) struct Merged {
    chunk: i64,
    places: Vec<Place>,
    body_bytes: usize,
}

/// An open delivery of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) delivery: i64,
    pub(super) chunk: i64,
    pub(super) event: i64,
    pub(super) lane: i64,
    pub(super) bytes: i64,
}

impl Chunks {
    /// Reads what is on disk.
    pub(super) fn load(sql: &Connection) -> Result<Self, StoreError> {
        let mut chunks = Self::default();
        let ids = chunks.ids(sql)?;
        for id in ids {
            match load_one(sql, id) {
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

    fn add(&mut self, id: i64, chunk: Chunk) {
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
        let Some(bits) = chunk.done.get_mut(index / 8) else { return };
        if *bits & (1 << (index % 8)) != 0 {
            return;
        }
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

/// A chunk as it is on disk; none if its entries are damaged.
fn load_one(sql: &Connection, id: i64) -> Result<Option<Chunk>, StoreError> {
    let (first_event, born_ms, stored, entries, body_bytes): (i64, i64, i64, Vec<u8>, i64) = sql
        .prepare_cached("SELECT first_event, born_ms, crc, entries, length(body) FROM chunks WHERE chunk = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?;
    let whole = entries::crc(id, first_event, &entries) == stored;
    let Some((places, slots)) = entries::parse(&entries).filter(|_| whole) else { return Ok(None) };
    let mut done: Vec<u8> = sql
        .prepare_cached("SELECT bits FROM done WHERE chunk = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?
        .unwrap_or_default();
    done.resize(slots.len().div_ceil(8), 0);
    let over: usize = done.iter().map(|bits| bits.count_ones() as usize).sum();
    let open = slots.len().saturating_sub(over);
    let body_bytes = usize::try_from(body_bytes).unwrap_or_default();
    Ok(Some(Chunk { first_event, born_ms, body_bytes, places, slots, done, open, touched: false, in_journal: None }))
}

impl Chunk {
    /// The body with nothing but events that somebody waits for, and where these are in it.
    fn without_what_is_over(&self, mut body: Vec<u8>) -> (Vec<Place>, Vec<u8>) {
        let mut places = vec![Place::default(); self.places.len()];
        let (mut end, mut last) = (0, None);
        for (index, slot) in self.slots.iter().enumerate() {
            let is_over = self.done.get(index / 8).is_some_and(|bits| bits & (1 << (index % 8)) != 0);
            // Those of one event lie together.
            if is_over || last.replace(slot.event) == Some(slot.event) {
                continue;
            }
            let event = slot.event as usize;
            let (Some(from), Some(to)) = (self.places.get(event), places.get_mut(event)) else { continue };
            let (offset, length) = (from.offset as usize, from.bytes());
            body.copy_within(offset..offset + length, end);
            *to = Place { offset: end as u32, ..*from };
            end += length;
        }
        body.truncate(end);
        (places, body)
    }

    fn held(&self, id: i64, index: usize) -> Option<Held> {
        let slot = self.slots.get(index)?;
        let over = self.done.get(index / 8)? & (1 << (index % 8)) != 0;
        let bytes = self.places.get(usize::try_from(slot.event).ok()?)?.json;
        (!over).then(|| Held {
            delivery: id + index as i64,
            chunk: id,
            event: self.first_event + i64::from(slot.event),
            lane: slot.lane,
            bytes: i64::from(bytes),
        })
    }
}

/// The events of a chunk.
pub(super) struct Body<'a> {
    chunk: Option<&'a Chunk>,
    body: Vec<u8>,
}

impl Body<'_> {
    /// Nothing: what could not be read.
    pub(super) fn unreadable() -> Self {
        Self { chunk: None, body: Vec::new() }
    }

    /// An event as it lies there; empty where it is not.
    pub(super) fn event(&self, event: i64) -> RawEvent<'_> {
        let found = || {
            let chunk = self.chunk?;
            let place = chunk.places.get(usize::try_from(event - chunk.first_event).ok()?)?;
            let mut reader = Reader(self.body.get(usize::try_from(place.offset).ok()?..)?);
            let head = reader.take(usize::try_from(place.head).ok()?)?;
            let json = reader.take(usize::try_from(place.json).ok()?)?;
            Some(RawEvent { head, json })
        };
        found().unwrap_or(RawEvent { head: &[], json: &[] })
    }
}

/// A chunk that a commit is putting together.
#[derive(Default)]
pub(super) struct Building {
    body: Vec<u8>,
    places: Vec<Place>,
    slots: Vec<Slot>,
}

impl Building {
    /// Whether an event of so many bytes should go to the next chunk.
    pub(super) fn is_full_for(&self, bytes: usize) -> bool {
        !self.slots.is_empty() && (self.body.len() + bytes > CHUNK_BYTES || self.slots.len() >= CHUNK_DELIVERIES)
    }

    /// Adds an event that goes to these lanes.
    pub(super) fn push(&mut self, event_row: i64, event: &StoredEvent, lanes: &[i64]) -> Result<(), StoreError> {
        let number = |value: usize| u32::try_from(value).map_err(|_| StoreError::TooLarge);
        let offset = number(self.body.len())?;
        let head = number(record::encode_head(event_row, event, &mut self.body))?;
        self.body.extend_from_slice(&event.json);
        let index = number(self.places.len())?;
        self.places.push(Place { offset, head, json: number(event.json.len())? });
        self.slots.extend(lanes.iter().map(|lane| Slot { lane: *lane, event: index }));
        Ok(())
    }

    /// Writes the chunk, whose first delivery and event these are, and makes it live.
    pub(super) fn write(
        &mut self,
        to: &mut Target<'_>,
        state: &mut State,
        id: i64,
        first_event: i64,
        born_ms: i64,
    ) -> Result<(), StoreError> {
        if self.slots.is_empty() {
            return Ok(());
        }
        let entries = entries::encode(&self.places, &self.slots);
        let crc = entries::crc(id, first_event, &entries);
        let image = ChunkImage { chunk: id, first_event, born_ms, crc, entries: &entries, body: &self.body };
        let in_journal = match to {
            Target::Tables(sql) => {
                image.save(sql)?;
                None
            }
            Target::Journal(entry) => {
                let index = image.encode(&mut entry.bytes);
                state.pending.chunks.push(id);
                Some(InJournal { body_at: entry.at(index) })
            }
        };
        let (places, slots) = (std::mem::take(&mut self.places), std::mem::take(&mut self.slots));
        let (open, done) = (slots.len(), vec![0; slots.len().div_ceil(8)]);
        let body_bytes = self.body.len();
        self.body.clear();
        let chunk = Chunk { first_event, born_ms, body_bytes, places, slots, done, open, touched: false, in_journal };
        state.chunks.add(id, chunk);
        Ok(())
    }

    /// Events and deliveries in it.
    pub(super) fn counts(&self) -> (i64, i64) {
        (self.places.len() as i64, self.slots.len() as i64)
    }
}

/// What checking the events of a chunk on disk found: how many there are, and the damaged ones.
pub(super) fn verify(sql: &Connection, id: i64) -> Result<Option<(u64, Vec<i64>)>, StoreError> {
    let (first_event, stored, entries, body): (i64, i64, Vec<u8>, Vec<u8>) = sql
        .prepare_cached("SELECT first_event, crc, entries, body FROM chunks WHERE chunk = ?")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let Some((places, slots)) = entries::parse(&entries).filter(|_| entries::crc(id, first_event, &entries) == stored)
    else {
        return Ok(None);
    };
    let kept: Vec<i64> =
        (first_event..).zip(&places).filter(|(_, place)| !place.is_empty()).map(|(event, _)| event).collect();
    let (done, in_journal, open) = (Vec::new(), None, slots.len());
    let chunk = Chunk { first_event, born_ms: 0, body_bytes: 0, places, open, slots, done, touched: false, in_journal };
    let body = Body { chunk: Some(&chunk), body };
    let damaged = kept.iter().copied().filter(|event| !body.event(*event).is_whole(*event)).collect();
    Ok(Some((kept.len() as u64, damaged)))
}
