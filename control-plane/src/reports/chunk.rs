//! Chunks: reports of one slot and one fate, each with its length before it, compressed together. That takes a fifth of the
//! bytes, and one row where there were hundreds.

use std::{collections::BTreeMap, io};

use bytes::{Buf as _, Bytes};
use prost::encoding::{decode_varint, encode_varint, encoded_len_varint};
use zstd::bulk::{Compressor, Decompressor};

use super::{
    Fate,
    figures::Figures,
    head::Head,
    marks::{Mark, MarkKind},
    slot,
};

/// Reports in a chunk, at most: whoever wants one of them reads all. A page of a sync that is one of thousands reads as many chunks
/// as it has attempts.
const MOST_REPORTS: usize = 256;

/// Bytes of reports after which a chunk is closed.
const MOST_BYTES: usize = 128 << 10;

/// No chunk is as large: beyond its bytes it has a report at most, which came in a message of 16 MiB at most.
const NEVER_LARGER: usize = 32 << 20;

/// How hard is compressed: the level that costs the least.
const LEVEL: i32 = 1;

/// A report to be kept.
pub(crate) struct Report {
    /// Its place in the spool's reports.
    pub(crate) sequence: u64,
    /// What is found of it.
    pub(crate) head: Head,
    /// All of it, a `sluice.node.v1.Report`.
    pub(crate) encoded: Bytes,
}

/// A chunk under way.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Slot of its reports.
    pub(crate) slot: i64,
    /// Fate of what they tell of.
    pub(crate) fate: Fate,
    /// The first moment that one of them tells of, milliseconds since the epoch.
    pub(crate) first_ms: i64,
    /// The last one.
    pub(crate) last_ms: i64,
    /// Attempts among them.
    pub(crate) attempts: i64,
    /// Endings among them.
    pub(crate) endings: i64,
    reports: usize,
    /// What they are found by, in order, none twice.
    pub(crate) marks: Vec<Mark>,
    /// What they tell the figures of their syncs.
    pub(crate) figures: Figures,
    /// The reports, not compressed.
    pub(crate) body: Vec<u8>,
}

impl Chunk {
    fn new(slot: i64, fate: Fate) -> Self {
        let (first_ms, last_ms) = (i64::MAX, i64::MIN);
        let (marks, figures, body) = (Vec::new(), Figures::default(), Vec::new());
        Self { slot, fate, first_ms, last_ms, attempts: 0, endings: 0, reports: 0, marks, figures, body }
    }

    fn push(&mut self, report: &Report) {
        let head = &report.head;
        let moments = head.attempt.as_ref().map(|attempt| attempt.start_ms).into_iter();
        for at_ms in moments.chain(head.ended.map(|ended| ended.end_ms)) {
            self.first_ms = self.first_ms.min(at_ms);
            self.last_ms = self.last_ms.max(at_ms);
        }
        self.attempts += i64::from(head.attempt.is_some());
        self.endings += i64::from(head.ended.is_some());
        self.reports += 1;
        self.figures.push(head, self.slot);
        self.marks.extend([
            Mark::of(MarkKind::Event, &head.event_id),
            Mark::of(MarkKind::Delivery, head.delivery_id()),
            Mark::of(MarkKind::Sync, &head.sync_uid),
            Mark::of(MarkKind::Project, head.project()),
        ]);
        encode_varint(report.encoded.len() as u64, &mut self.body);
        self.body.extend_from_slice(&report.encoded);
    }

    fn is_full(&self, next: &Report) -> bool {
        let size = encoded_len_varint(next.encoded.len() as u64) + next.encoded.len();
        self.reports >= MOST_REPORTS || (self.reports > 0 && self.body.len() + size > MOST_BYTES)
    }

    fn close(mut self) -> Self {
        self.marks.sort_unstable();
        self.marks.dedup();
        self
    }
}

/// Puts reports into chunks, each in their order.
pub(crate) fn chunks<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Vec<Chunk> {
    let mut closed = Vec::new();
    let mut open: BTreeMap<(i64, Fate), Chunk> = BTreeMap::new();
    for report in reports {
        let (slot, fate) = (slot(report.head.at_ms()), report.head.fate());
        let chunk = open.entry((slot, fate)).or_insert_with(|| Chunk::new(slot, fate));
        if chunk.is_full(report) {
            closed.push(std::mem::replace(chunk, Chunk::new(slot, fate)).close());
        }
        chunk.push(report);
    }
    closed.extend(open.into_values().map(Chunk::close));
    closed
}

/// Compresses, with a checksum.
pub(crate) struct Press(Compressor<'static>);

impl Press {
    pub(crate) fn new() -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.include_checksum(true)?;
        Ok(Self(compressor))
    }

    pub(crate) fn press(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(body)
    }
}

/// Reads chunks.
pub(crate) struct Reader(Decompressor<'static>);

impl Reader {
    pub(crate) fn new() -> io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// The reports of a chunk that has `bytes` when it is not compressed, in their order.
    ///
    /// # Errors
    /// If it is damaged.
    pub(crate) fn read(&mut self, body: &[u8], bytes: usize) -> io::Result<impl Iterator<Item = Bytes> + use<>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "of another length than was stored");
        // Room is made for so many bytes before any is read.
        if bytes > NEVER_LARGER {
            return Err(damaged());
        }
        let body = self.0.decompress(body, bytes)?;
        if body.len() != bytes {
            return Err(damaged());
        }
        Ok(split(body.into()))
    }
}

fn split(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let length = usize::try_from(decode_varint(&mut body).ok()?).ok()?;
        (length <= body.remaining()).then(|| body.split_to(length))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::head::Ended, *};

    fn report(sequence: u64, at_ms: i64, outcome: i32, encoded: &[u8]) -> Report {
        let head = Head {
            delivery: format!("projects/p/syncs/s/deliveries/{sequence}").into(),
            sync_uid: "u".into(),
            event_id: "e".into(),
            attempt: None,
            ended: Some(Ended { end_ms: at_ms, schedule: 1, outcome, attempt_count: 1, accept_ms: 0 }),
        };
        Report { sequence, head, encoded: Bytes::copy_from_slice(encoded) }
    }

    #[test]
    fn slots_and_fates_have_chunks_of_their_own_and_order_stays() {
        let reports = [
            report(1, 299_999, 1, b"a"),
            report(2, 300_000, 1, b"b"),
            report(3, 10, 2, b"c"),
            report(4, 20, 1, b"d"),
            report(5, -1, 1, b"e"),
        ];
        let told: Vec<_> = chunks(&reports)
            .into_iter()
            .map(|chunk| (chunk.slot, chunk.fate, chunk.first_ms, chunk.last_ms, chunk.endings, chunk.body))
            .collect();
        assert_eq!(
            told,
            [
                (-1, Fate::Succeeded, -1, -1, 1, b"\x01e".to_vec()),
                (0, Fate::Succeeded, 20, 299_999, 2, b"\x01a\x01d".to_vec()),
                (0, Fate::Failed, 10, 10, 1, b"\x01c".to_vec()),
                (1, Fate::Succeeded, 300_000, 300_000, 1, b"\x01b".to_vec()),
            ]
        );
    }

    #[test]
    fn chunks_are_bounded_and_give_back_what_was_put_in() {
        let many: Vec<_> = (0..600).map(|n| report(n, 0, 1, &n.to_le_bytes())).collect();
        let large: Vec<_> = (0..5).map(|n| report(n, 0, 1, &vec![7; 100 << 10])).collect();
        for (reports, counts) in [(many, vec![256, 256, 88]), (large, vec![1, 1, 1, 1, 1])] {
            let chunks = chunks(&reports);
            assert_eq!(chunks.iter().map(|chunk| chunk.endings).collect::<Vec<_>>(), counts);
            let (mut press, mut reader) = (Press::new().unwrap(), Reader::new().unwrap());
            let mut back = Vec::new();
            for chunk in &chunks {
                let pressed = press.press(&chunk.body).unwrap();
                back.extend(reader.read(&pressed, chunk.body.len()).unwrap());
            }
            assert_eq!(back, reports.iter().map(|report| report.encoded.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_damaged_chunk_is_refused() {
        let body = chunks(&[report(1, 0, 1, b"what was told")]).remove(0).body;
        let pressed = Press::new().unwrap().press(&body).unwrap();
        let mut reader = Reader::new().unwrap();
        for at in 0..pressed.len() {
            let mut damaged = pressed.clone();
            damaged[at] ^= 0x10;
            let read = reader.read(&damaged, body.len()).map(|reports| reports.collect::<Vec<_>>());
            assert!(read.is_err() || read.unwrap() == [&b"what was told"[..]], "byte {at}");
        }
        for bytes in [0, body.len() - 1, body.len() + 1, usize::MAX] {
            assert!(reader.read(&pressed, bytes).is_err());
        }
    }
}
