//! The hash of a catalog, kept up to date change by change.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// What the text begins with: the name of the way it is made. Another way gets another name, so that two programs that count
/// differently see that they do, and do not take each other's catalogs for damaged.
const NAME: &str = "sum256:";

const LANES: usize = 4;
const LANE_DIGITS: usize = 16;

/// Hash of a catalog, by which the control plane and a node find out that they hold the same. It is the sum of one SHA-256 for
/// each sync, over its uid, a zero byte, its etag and a zero byte, as four 64-bit numbers (big-endian) that are added modulo
/// 2^64 each. A change costs what has changed: the old version is subtracted and the new one added, in any order.
///
/// Two catalogs that differ by accident, by a lost deletion or a missed update, differ in at least one SHA-256, so that their
/// sums are the same once in 2^256 cases. On purpose sums can be made to meet more easily than SHA-256 itself, by whoever may
/// choose great numbers of entries; but uids are random numbers of the control plane and etags its keyed hashes, so that
/// nobody chooses them, and who could would be the control plane, whose word a node takes anyway. The hash finds mistakes; it
/// proves nothing against an enemy, and need not: the stream is authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogHash([u64; LANES]);

/// The text is no hash that this version makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash of a catalog that this version makes")]
pub struct UnknownHash;

/// [`CatalogHash`] of (uid, etag) in any order, as text.
#[must_use]
pub fn catalog_hash<'a>(syncs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    CatalogHash::of(syncs).to_string()
}

impl CatalogHash {
    /// The hash of no syncs.
    pub const EMPTY: Self = Self([0; LANES]);

    /// Of (uid, etag) in any order.
    #[must_use]
    pub fn of<'a>(syncs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut hash = Self::EMPTY;
        for (uid, etag) in syncs {
            hash.add(uid, etag);
        }
        hash
    }

    /// A sync has come.
    pub fn add(&mut self, uid: &str, etag: &str) {
        for (lane, more) in self.0.iter_mut().zip(lanes(uid, etag)) {
            *lane = lane.wrapping_add(more);
        }
    }

    /// A sync that had come has gone.
    pub fn remove(&mut self, uid: &str, etag: &str) {
        for (lane, less) in self.0.iter_mut().zip(lanes(uid, etag)) {
            *lane = lane.wrapping_sub(less);
        }
    }

    /// Whether `told` is this hash; none if it was made in a way that this version does not know.
    #[must_use]
    pub fn is(&self, told: &str) -> Option<bool> {
        told.parse::<Self>().ok().map(|told| told == *self)
    }
}

fn lanes(uid: &str, etag: &str) -> [u64; LANES] {
    let mut hash = Sha256::new();
    for part in [uid, etag] {
        hash.update(part);
        hash.update([0]);
    }
    let mut lanes = [0; LANES];
    for (lane, bytes) in lanes.iter_mut().zip(hash.finalize().chunks_exact(size_of::<u64>())) {
        *lane = bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    }
    lanes
}

impl fmt::Display for CatalogHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        self.0.iter().try_for_each(|lane| write!(f, "{lane:0LANE_DIGITS$x}"))
    }
}

impl FromStr for CatalogHash {
    type Err = UnknownHash;

    fn from_str(text: &str) -> Result<Self, UnknownHash> {
        let digits = text.strip_prefix(NAME).ok_or(UnknownHash)?.as_bytes();
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != LANES * LANE_DIGITS || !digits.iter().all(is_digit) {
            return Err(UnknownHash);
        }
        let mut lanes = [0; LANES];
        for (lane, digits) in lanes.iter_mut().zip(digits.chunks_exact(LANE_DIGITS)) {
            let digits = str::from_utf8(digits).map_err(|_| UnknownHash)?;
            *lane = u64::from_str_radix(digits, 16).map_err(|_| UnknownHash)?;
        }
        Ok(Self(lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_leads_back_and_no_other_text_does() {
        let hash = CatalogHash::of([("a", "e1"), ("b", "e2")].into_iter());
        let text = hash.to_string();
        assert_eq!(text.parse(), Ok(hash));
        let digits = &text[NAME.len()..];
        for other in ["", NAME, digits, &text[..text.len() - 1], &text.to_uppercase(), &text.replace(':', "_")] {
            assert_eq!(other.parse::<CatalogHash>(), Err(UnknownHash), "{other}");
            assert_eq!(hash.is(other), None);
        }
        assert_eq!((hash.is(&text), CatalogHash::EMPTY.is(&text)), (Some(true), Some(false)));
    }
}
