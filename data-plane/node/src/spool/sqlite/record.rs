//! How an event lies on disk: a head that can be checked by itself, then the JSON. The head's checksum covers the event's
//! row too, so that a record which turns up in another's place is found out.

use bytes::Bytes;
use sluice_pipeline::event::EventId;

use crate::spool::store::StoredEvent;

/// Checksum, id, time of acceptance; length and checksum of the JSON; lengths of the three texts.
const FIXED: usize = 4 + 16 + 8 + 8 + 12;

/// What can be told of a damaged event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remains {
    /// Its id; zeros if the head is damaged.
    pub(super) id: EventId,
    /// When it was accepted; 0 if the head is damaged.
    pub(super) accept_ms: i64,
    /// Its type; empty if the head is damaged.
    pub(super) event_type: String,
}

/// Appends the head of an event; gives its length.
pub(super) fn encode_head(event_row: i64, event: &StoredEvent, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&event.id.0);
    out.extend_from_slice(&event.accept_ms.to_le_bytes());
    out.extend_from_slice(&length(event.json.len()));
    out.extend_from_slice(&crc32c::crc32c(&event.json).to_le_bytes());
    let texts = [&event.event_type, &event.traceparent, &event.tracestate];
    for text in texts {
        out.extend_from_slice(&length(text.len()));
    }
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
    if let Some((crc, rest)) = out.get_mut(start..).and_then(|head| head.split_at_mut_checked(4)) {
        crc.copy_from_slice(&head_crc(event_row, rest).to_le_bytes());
    }
    out.len() - start
}

/// The event, or what can be told of a damaged one.
pub(super) fn decode(event_row: i64, head: &[u8], json: Bytes) -> Result<StoredEvent, Remains> {
    let Some((mut event, json_crc)) = decode_head(event_row, head) else {
        return Err(Remains { id: EventId([0; 16]), accept_ms: 0, event_type: String::new() });
    };
    if crc32c::crc32c(&json) != json_crc {
        return Err(Remains { id: event.id, accept_ms: event.accept_ms, event_type: event.event_type });
    }
    event.json = json;
    Ok(event)
}

/// What the head says, as if the JSON were damaged.
pub(super) fn remains(event_row: i64, head: &[u8]) -> Option<Remains> {
    decode_head(event_row, head).map(|(event, _)| Remains {
        id: event.id,
        accept_ms: event.accept_ms,
        event_type: event.event_type,
    })
}

/// The event without its JSON, and that one's checksum; none if the head is damaged.
fn decode_head(event_row: i64, head: &[u8]) -> Option<(StoredEvent, u32)> {
    let (crc, rest) = head.split_first_chunk::<4>()?;
    if head.len() < FIXED || head_crc(event_row, rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut reader = Reader(rest);
    let id = EventId(reader.array()?);
    let accept_ms = i64::from_le_bytes(reader.array()?);
    let _json_length: [u8; 4] = reader.array()?;
    let json_crc = u32::from_le_bytes(reader.array()?);
    let lengths = [reader.length()?, reader.length()?, reader.length()?];
    let mut texts = lengths.into_iter().map(|length| {
        let text = reader.take(length)?;
        std::str::from_utf8(text).ok().map(str::to_owned)
    });
    let (event_type, traceparent, tracestate) = (texts.next()??, texts.next()??, texts.next()??);
    Some((StoredEvent { id, accept_ms, event_type, json: Bytes::new(), traceparent, tracestate }, json_crc))
}

fn head_crc(event_row: i64, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&event_row.to_le_bytes()), rest)
}

/// Lengths fit: an event has at most 1 MiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

/// Takes fields from the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn length(&mut self) -> Option<usize> {
        self.u32().and_then(|length| usize::try_from(length).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> StoredEvent {
        StoredEvent {
            id: EventId([7; 16]),
            accept_ms: 42,
            event_type: "käse".to_owned(),
            json: Bytes::from_static(b"{\"event_type\":\"k\xc3\xa4se\"}"),
            traceparent: "00-1".to_owned(),
            tracestate: String::new(),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let mut head = Vec::new();
        assert_eq!(encode_head(3, &event(), &mut head), head.len());
        assert_eq!(decode(3, &head, event().json), Ok(event()));
    }

    #[test]
    fn every_flipped_bit_is_found_and_the_head_tells_of_a_damaged_body() {
        let mut head = Vec::new();
        encode_head(3, &event(), &mut head);
        for bit in 0..head.len() * 8 {
            let mut flipped = head.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let remains = decode(3, &flipped, event().json).unwrap_err();
            assert_eq!(remains.id, EventId([0; 16]));
        }
        let mut json = event().json.to_vec();
        json[3] ^= 1;
        let remains = decode(3, &head, json.into()).unwrap_err();
        assert_eq!((remains.id, remains.accept_ms, &*remains.event_type), (EventId([7; 16]), 42, "käse"));
        assert!(decode(4, &head, event().json).is_err(), "in another's place");
    }
}
