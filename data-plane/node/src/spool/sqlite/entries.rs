//! The entries of a chunk: where its events are, and which lanes each goes to.

use super::record::Reader;

/// Where an event is in the body. One that nobody waited for when the body was written is not in it, and has no bytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) head: u32,
    pub(super) json: u32,
}

impl Place {
    /// How many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        self.head as usize + self.json as usize
    }

    /// Whether it is not in the body.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }
}

/// A delivery.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) lane: i64,
    pub(super) event: u32,
}

/// Where events are and which lanes they go to, as it lies on disk.
pub(super) fn encode(places: &[Place], slots: &[Slot]) -> Vec<u8> {
    let mut entries = Vec::with_capacity(places.len() * 24);
    let mut slots = slots.iter().peekable();
    for (index, place) in (0_u32..).zip(places) {
        for number in [place.offset, place.head, place.json] {
            entries.extend_from_slice(&number.to_le_bytes());
        }
        let count_at = entries.len();
        entries.extend_from_slice(&[0; 4]);
        let mut count = 0_u32;
        while let Some(slot) = slots.next_if(|slot| slot.event == index) {
            entries.extend_from_slice(&slot.lane.to_le_bytes());
            count += 1;
        }
        if let Some(field) = entries.get_mut(count_at..count_at + 4) {
            field.copy_from_slice(&count.to_le_bytes());
        }
    }
    entries
}

/// What was encoded; none if it is not whole.
pub(super) fn parse(entries: &[u8]) -> Option<(Vec<Place>, Vec<Slot>)> {
    let mut reader = Reader(entries);
    let (mut places, mut slots) = (Vec::new(), Vec::new());
    while !reader.0.is_empty() {
        let event = u32::try_from(places.len()).ok()?;
        places.push(Place { offset: reader.u32()?, head: reader.u32()?, json: reader.u32()? });
        for _ in 0..reader.u32()? {
            slots.push(Slot { lane: i64::from_le_bytes(reader.array()?), event });
        }
    }
    Some((places, slots))
}

/// The checksum of a chunk's entries.
pub(super) fn crc(id: i64, first_event: i64, entries: &[u8]) -> i64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&id.to_le_bytes()), &first_event.to_le_bytes());
    i64::from(crc32c::crc32c_append(crc, entries))
}
