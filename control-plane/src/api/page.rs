//! Pages of lists: their sizes and the opaque tokens that lead from one to the next
//! ([AIP-158](https://google.aip.dev/158)).

use sha2::{Digest as _, Sha256};
use sluice_pipeline::violation::reason;

use crate::error::Error;

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1_000;
/// A page ends early rather than grow beyond what clients take in one message (4 MiB).
const MAX_BYTES: usize = 2 << 20;
const TAG_BYTES: usize = 8;

/// How many elements a page may hold.
///
/// # Errors
/// If the size is negative.
pub(crate) fn size(page_size: i32) -> Result<usize, Error> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(MAX_SIZE)),
        Err(_) => Err(Error::invalid("page_size", reason::OUT_OF_RANGE, "negative; 0 to 1000 are taken")),
    }
}

/// The room that is left on a page.
pub(crate) struct Room {
    elements: usize,
    bytes: usize,
    is_empty: bool,
}

impl Room {
    /// An empty page for `size` elements.
    pub(crate) fn new(size: usize) -> Self {
        Self { elements: size, bytes: MAX_BYTES, is_empty: true }
    }

    /// Whether an element of `bytes` fits, which takes its room. The first one always does.
    pub(crate) fn takes(&mut self, bytes: usize) -> bool {
        let fits = self.is_empty || (self.elements > 0 && bytes <= self.bytes);
        if fits {
            self.is_empty = false;
            self.elements = self.elements.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        fits
    }
}

/// What a list is of: a token of another list is refused.
pub(crate) struct ListOf(Sha256);

impl ListOf {
    /// The list that these arguments ask for.
    pub(crate) fn new(arguments: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for argument in arguments {
            hash.update(argument.len().to_be_bytes());
            hash.update(argument);
        }
        Self(hash)
    }

    /// The token that leads on from the element at `place`.
    pub(crate) fn token(&self, place: &[u8]) -> String {
        hex(&[&self.tag(place), place].concat())
    }

    /// The place that a token leads on from; none for the first page.
    ///
    /// # Errors
    /// If the token is not one of this list.
    pub(crate) fn place(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let place = unhex(token).and_then(|bytes| {
            let (tag, place) = bytes.split_at_checked(TAG_BYTES)?;
            (tag == self.tag(place)).then(|| place.to_vec())
        });
        place.map(Some).ok_or_else(|| {
            Error::invalid(
                "page_token",
                "INVALID_PAGE_TOKEN",
                "not a token of this list: give `next_page_token` of the page before with the same other arguments, or \
                 nothing for the first page",
            )
        })
    }

    fn tag(&self, place: &[u8]) -> [u8; TAG_BYTES] {
        let hash = self.0.clone().chain_update(place).finalize();
        let mut tag = [0; TAG_BYTES];
        tag.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        tag
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.last()?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_on_in_its_own_list_only() {
        let list = ListOf::new(&[b"projects/default", b"filter"]);
        let token = list.token(b"place");
        assert_eq!(list.place(&token).unwrap().unwrap(), b"place");
        assert_eq!(list.place("").unwrap(), None);
        for (list, token) in [
            (ListOf::new(&[b"projects/other", b"filter"]), token.as_str()),
            (ListOf::new(&[b"projects/defaultfilter"]), &token),
            (list, "00"),
        ] {
            assert!(list.place(token).is_err());
        }
        let list = ListOf::new(&[b"projects/default", b"filter"]);
        for token in ["zz", "é", "0", &token[2..], &format!("{token}00")] {
            assert!(list.place(token).is_err(), "{token}");
        }
    }

    #[test]
    fn sizes_have_a_default_and_bounds() {
        assert_eq!([0, 1, 1_000, i32::MAX].map(|s| size(s).unwrap()), [50, 1, 1_000, 1_000]);
        assert!(size(-1).is_err());
    }

    #[test]
    fn a_page_takes_at_least_one_element_and_ends_before_it_is_too_big() {
        let mut room = Room::new(3);
        assert!(room.takes(MAX_BYTES * 2));
        assert!(!room.takes(1));
        let mut room = Room::new(2);
        assert_eq!([room.takes(1), room.takes(1), room.takes(1)], [true, true, false]);
    }
}
