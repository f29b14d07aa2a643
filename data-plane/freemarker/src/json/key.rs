//! Finding keys fast: their signatures, and where they were found the last time.

use std::sync::atomic::{AtomicU32, Ordering};

/// Tells most keys apart: 32 bits made from a key's length, start and end.
///
/// Two keys may well have the same one, so the texts decide; what is done by signature alone must
/// stay fast when all are the same.
#[inline]
pub(crate) fn signature(key: &str) -> u32 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let bytes = key.as_bytes();
    let (first, last) = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(first), Some(last)) => (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last))),
            _ => bytes.iter().fold((0, 0), |(word, _), byte| (word << 8 | u64::from(*byte), 0)),
        },
    };
    let mixed = (first.wrapping_mul(MIX) ^ last.rotate_left(32)).wrapping_add(bytes.len() as u64).wrapping_mul(MIX);
    (mixed >> 32) as u32
}

/// A key that a template looks up: events are mostly of one shape, so it remembers the place where
/// it was found last and looks there first.
#[derive(Debug)]
pub(crate) struct Key {
    text: Box<str>,
    pub(super) signature: u32,
    /// Shared by all threads that render the template: any of them may be wrong about it.
    place: AtomicU32,
}

impl Key {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Key { signature: signature(&text), text, place: AtomicU32::new(0) }
    }

    #[inline]
    pub(super) fn last_place(&self) -> u32 {
        self.place.load(Ordering::Relaxed)
    }

    pub(super) fn remember(&self, place: u32) {
        self.place.store(place, Ordering::Relaxed);
    }
}

impl Clone for Key {
    fn clone(&self) -> Self {
        Key { text: self.text.clone(), signature: self.signature, place: AtomicU32::new(self.last_place()) }
    }
}

impl std::ops::Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}
