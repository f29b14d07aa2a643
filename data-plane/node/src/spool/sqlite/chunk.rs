//! One chunk: put together by a commit, read and checked. A delivery that ends in its first round costs one bit in it and no row of its
//! own. What is in memory of it is where its events are and which deliveries are over.

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    entries::{self, Place, Slot},
    image::ChunkImage,
    merge::Target,
    record::{self, Reader},
    rows::RawEvent,
    state::State,
};
use crate::spool::store::{StoreError, StoredEvent};

/// Bytes of one chunk; a single event may be longer.
const CHUNK_BYTES: usize = 256 << 10;

/// Deliveries of one chunk; a single event may have more.
const CHUNK_DELIVERIES: usize = 4_096;

/// A live chunk.
pub(super) struct Chunk {
    pub(super) first_event: i64,
    pub(super) born_ms: i64,
    pub(super) body_bytes: usize,
    pub(super) places: Vec<Place>,
    pub(super) slots: Vec<Slot>,
    pub(super) done: Vec<u8>,
    pub(super) open: usize,
    pub(super) touched: bool,
    /// Where it lies, if the tables do not have it yet.
    pub(super) in_journal: Option<InJournal>,
}

/// A chunk in the journal.
#[derive(Clone, Copy)]
pub(super) struct InJournal {
    /// Where its body is.
    pub(super) body_at: u64,
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

/// A chunk as it is on disk; none if its entries are damaged.
pub(super) fn load(sql: &Connection, id: i64) -> Result<Option<Chunk>, StoreError> {
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
    pub(super) fn without_what_is_over(&self, mut body: Vec<u8>) -> (Vec<Place>, Vec<u8>) {
        let mut places = vec![Place::default(); self.places.len()];
        let (mut end, mut last) = (0, None);
        for (index, slot) in self.slots.iter().enumerate() {
            // Those of one event lie together.
            if self.is_over(index) || last.replace(slot.event) == Some(slot.event) {
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

    /// Whether this delivery is over, or there is none.
    pub(super) fn is_over(&self, index: usize) -> bool {
        self.done.get(index / 8).is_none_or(|bits| bits & (1 << (index % 8)) != 0)
    }

    /// This delivery, if it is open.
    pub(super) fn held(&self, id: i64, index: usize) -> Option<Held> {
        let slot = self.slots.get(index)?;
        let bytes = self.places.get(usize::try_from(slot.event).ok()?)?.json;
        (!self.is_over(index)).then(|| Held {
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
    pub(super) chunk: Option<&'a Chunk>,
    pub(super) body: Vec<u8>,
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
