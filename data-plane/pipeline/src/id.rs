//! Ids that are derived from what they name, so that the same thing has the same id on every node and after every resend.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// Identity of an event: the first 128 bits of SHA-256 over its project, producer and sequence. Shown and parsed as 32
/// lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The id of the event at `sequence` of the producer's stream in `project` (its id, without `projects/`).
    #[must_use]
    pub fn new(project: &str, producer_id: &str, sequence: u64) -> Self {
        Self(digest(&[project.as_bytes(), producer_id.as_bytes(), &sequence.to_be_bytes()]))
    }
}

/// Identity of a delivery, sent as the header `webhook-id`: the first 128 bits of SHA-256 over the event's id and the
/// sync's uid. A receiver recognises by it what it has already got. Shown and parsed as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WebhookId(pub [u8; 16]);

impl WebhookId {
    /// The id of the delivery of `event` by the sync with that uid.
    #[must_use]
    pub fn new(event: EventId, sync_uid: &str) -> Self {
        Self(digest(&[&event.0, sync_uid.as_bytes()]))
    }
}

/// What makes two events of a project the same: the first 128 bits of SHA-256 over the project, `device_id` and `$insert_id`.
#[must_use]
pub(crate) fn insert_key(project: &str, device_id: &str, insert_id: &str) -> [u8; 16] {
    digest(&[project.as_bytes(), device_id.as_bytes(), insert_id.as_bytes()])
}

/// A text that is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 32 hexadecimal digits are expected")]
pub struct InvalidId;

macro_rules! hexadecimal {
    ($type:ident) => {
        impl $type {
            /// Its 32 digits, in ASCII.
            #[must_use]
            pub fn digits(&self) -> [u8; 32] {
                digits(&self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Several are written for each attempt: digit by digit through the formatter it would take half a microsecond.
                let digits = digits(&self.0);
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl FromStr for $type {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse(text).map(Self)
            }
        }
    };
}

hexadecimal!(EventId);
hexadecimal!(WebhookId);

/// Every part with its length before it, so that no two lists of parts are the same bytes.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let full: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(full.split_at(16).0);
    id
}

fn digits(id: &[u8; 16]) -> [u8; 32] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

fn parse(text: &str) -> Result<[u8; 16], InvalidId> {
    let digits = text.as_bytes();
    if digits.len() != 32 {
        return Err(InvalidId);
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16).ok_or(InvalidId)?;
            *byte = (*byte << 4) | u8::try_from(value).map_err(|_| InvalidId)?;
        }
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed apart from this code:
    // printf '\0\0\0\0\0\0\0\x07default\0\0\0\0\0\0\0\x02p1\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x01' | sha256sum
    const EVENT: &str = "c945334a10437282b729052e05053559";
    const WEBHOOK: &str = "75a59e81d2607ff2e66998147d3ffe47";

    #[test]
    fn ids_never_change() {
        let event = EventId::new("default", "p1", 1);
        assert_eq!(event.to_string(), EVENT);
        assert_eq!(WebhookId::new(event, "sync-uid").to_string(), WEBHOOK);
    }

    #[test]
    fn every_part_counts_and_no_two_lists_of_parts_agree() {
        let ids = [
            EventId::new("default", "p1", 1),
            EventId::new("default", "p1", 2),
            EventId::new("default", "p", 1),
            EventId::new("defaultp", "1", 1),
            EventId::new("other", "p1", 1),
        ];
        for (i, a) in ids.iter().enumerate() {
            assert!(ids.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn ids_read_back_as_they_are_shown() {
        let id = EventId::new("default", "p1", 7);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for wrong in ["", "12", &"g".repeat(32), &"0".repeat(33), &"é".repeat(16)] {
            assert_eq!(wrong.parse::<WebhookId>(), Err(InvalidId), "{wrong}");
        }
    }
}
