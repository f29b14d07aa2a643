//! Rows that nearly every commit writes, as they are afterwards: written to their tables, or to the journal, from which they are
//! read and written to the tables later.

use rusqlite::{Connection, params};

use super::{commit::producer_crc, dedup, record::Reader, reports};
use crate::spool::store::{DeliveryCounts, EventCounts, Producer, StoreError};

/// A row, or that there is none any more.
#[derive(Debug, PartialEq)]
pub(super) enum Image<'a> {
    /// A new chunk.
    Chunk(ChunkImage<'a>),
    /// Which deliveries of a chunk are over.
    Done { chunk: i64, bits: &'a [u8] },
    /// A chunk without an open delivery.
    Gone { chunk: i64 },
    /// New reports.
    Reports { first: i64, count: i64, body: &'a [u8] },
    /// Keys of events.
    Keys { batch: i64, at_ms: i64, body: &'a [u8] },
    /// Where a producer stands.
    Producer { project: &'a str, id: &'a str, next_sequence: u64, seen_ms: i64 },
    /// A lane's counts.
    Lane(LaneImage),
    /// A project's counts.
    Project { name: &'a str, counts: EventCounts },
    /// The one row of totals.
    Totals(Totals<'a>),
}

/// A chunk as it lies on disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ChunkImage<'a> {
    pub(super) chunk: i64,
    pub(super) first_event: i64,
    pub(super) born_ms: i64,
    /// Of the entries.
    pub(super) crc: i64,
    pub(super) entries: &'a [u8],
    pub(super) body: &'a [u8],
}

/// A lane's row, but for what it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LaneImage {
    pub(super) lane: i64,
    pub(super) held_since_ms: Option<i64>,
    pub(super) held_total_ms: i64,
    pub(super) counts: DeliveryCounts,
    pub(super) pending_bytes: i64,
    pub(super) dead_letter_bytes: i64,
}

/// What is counted over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    pub(super) next_event: i64,
    pub(super) next_delivery: i64,
    pub(super) next_report: i64,
    /// The last report that was acked.
    pub(super) acked_report: i64,
    /// Reports in rows, and their bytes.
    pub(super) report_count: i64,
    pub(super) report_bytes: i64,
    /// Reports whose detail was dropped.
    pub(super) reports_dropped: i64,
    /// Dead letters that were not exported.
    pub(super) unexported: i64,
    /// The newest commit's time.
    pub(super) newest_ms: i64,
}

/// The row of totals, but for what only changes of the catalog and merges touch.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals<'a> {
    pub(super) counters: Counters,
    pub(super) keys: i64,
    pub(super) oldest_key_ms: Option<i64>,
    pub(super) damaged: i64,
    /// The time of the commit, where there is a clock: milliseconds, boot, milliseconds since then.
    pub(super) mark: Option<(i64, &'a str, i64)>,
}

impl Image<'_> {
    /// Writes it to its table.
    pub(super) fn save(&self, sql: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Chunk(chunk) => return chunk.save(sql),
            Self::Done { chunk, bits } => sql
                .prepare_cached("INSERT OR REPLACE INTO done (chunk, bits) VALUES (?, ?)")?
                .execute(params![chunk, bits])?,
            Self::Gone { chunk } => {
                sql.prepare_cached("DELETE FROM chunks WHERE chunk = ?")?.execute([chunk])?;
                sql.prepare_cached("DELETE FROM done WHERE chunk = ?")?.execute([chunk])?
            }
            Self::Reports { first, count, body } => return reports::insert(sql, *first, *count, 0, body),
            Self::Keys { batch, at_ms, body } => sql
                .prepare_cached("INSERT OR REPLACE INTO keys (batch, at_ms, crc, body) VALUES (?, ?, ?, ?)")?
                .execute(params![batch, at_ms, dedup::crc(*batch, *at_ms, body), body])?,
            Self::Producer { project, id, next_sequence, seen_ms } => {
                // Bits are kept, so that every u64 fits.
                let (next, producer) =
                    (next_sequence.cast_signed(), Producer { project: (*project).into(), id: (*id).into() });
                sql.prepare_cached(
                    "INSERT INTO producers (project, producer_id, next_sequence, seen_ms, crc) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET next_sequence = ?3, seen_ms = ?4, crc = ?5",
                )?
                .execute(params![project, id, next, seen_ms, producer_crc(&producer, next, *seen_ms)])?
            }
            Self::Lane(lane) => return lane.save(sql),
            Self::Project { name, counts } => {
                sql.prepare_cached("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute(params![
                    name,
                    counts.received,
                    counts.rejected,
                    counts.duplicates,
                    counts.unmatched,
                    counts.matched,
                    counts.created
                ])?
            }
            Self::Totals(totals) => return totals.save(sql),
        };
        Ok(())
    }

    /// Appends it.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Chunk(chunk) => {
                chunk.encode(out);
            }
            Self::Done { chunk, bits } => {
                numbers(out, 2, &[*chunk]);
                bytes(out, bits);
            }
            Self::Gone { chunk } => numbers(out, 3, &[*chunk]),
            Self::Reports { first, count, body } => {
                numbers(out, 4, &[*first, *count]);
                bytes(out, body);
            }
            Self::Keys { batch, at_ms, body } => {
                numbers(out, 5, &[*batch, *at_ms]);
                bytes(out, body);
            }
            Self::Producer { project, id, next_sequence, seen_ms } => {
                numbers(out, 6, &[next_sequence.cast_signed(), *seen_ms]);
                bytes(out, project.as_bytes());
                bytes(out, id.as_bytes());
            }
            Self::Lane(LaneImage { lane, held_since_ms, held_total_ms, counts, pending_bytes, dead_letter_bytes }) => {
                let held = [i64::from(held_since_ms.is_some()), held_since_ms.unwrap_or_default(), *held_total_ms];
                numbers(out, 7, &[*lane]);
                more(out, &held);
                more(out, &[counts.created, counts.redelivered, counts.delivered, counts.expired, counts.discarded]);
                more(out, &[counts.pending, counts.dead_letters, counts.removed, *pending_bytes, *dead_letter_bytes]);
            }
            Self::Project { name, counts } => {
                numbers(out, 8, &[counts.received, counts.rejected, counts.duplicates]);
                more(out, &[counts.unmatched, counts.matched, counts.created]);
                bytes(out, name.as_bytes());
            }
            Self::Totals(totals) => totals.encode(out),
        }
    }
}

impl<'a> Image<'a> {
    /// Takes one from the front; none if there is none that is whole.
    pub(super) fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        let [kind] = reader.array()?;
        Some(match kind {
            1 => {
                let [chunk, first_event, born_ms, crc] = reader.numbers()?;
                let (entries, body) = (reader.length()?, reader.length()?);
                let (entries, body) = (reader.take(entries)?, reader.take(body)?);
                Self::Chunk(ChunkImage { chunk, first_event, born_ms, crc, entries, body })
            }
            2 => {
                let [chunk] = reader.numbers()?;
                Self::Done { chunk, bits: reader.bytes()? }
            }
            3 => {
                let [chunk] = reader.numbers()?;
                Self::Gone { chunk }
            }
            4 => {
                let [first, count] = reader.numbers()?;
                Self::Reports { first, count, body: reader.bytes()? }
            }
            5 => {
                let [batch, at_ms] = reader.numbers()?;
                Self::Keys { batch, at_ms, body: reader.bytes()? }
            }
            6 => {
                let [next, seen_ms] = reader.numbers()?;
                let (project, id) = (reader.text()?, reader.text()?);
                Self::Producer { project, id, next_sequence: next.cast_unsigned(), seen_ms }
            }
            7 => {
                let [lane, is_held, since_ms, held_total_ms] = reader.numbers()?;
                let [created, redelivered, delivered, expired, discarded] = reader.numbers()?;
                let [pending, dead_letters, removed, pending_bytes, dead_letter_bytes] = reader.numbers()?;
                Self::Lane(LaneImage {
                    lane,
                    held_since_ms: (is_held == 1).then_some(since_ms),
                    held_total_ms,
                    counts: DeliveryCounts {
                        created,
                        redelivered,
                        delivered,
                        expired,
                        discarded,
                        pending,
                        dead_letters,
                        removed,
                    },
                    pending_bytes,
                    dead_letter_bytes,
                })
            }
            8 => {
                let [received, rejected, duplicates, unmatched, matched, created] = reader.numbers()?;
                let counts = EventCounts { received, rejected, duplicates, unmatched, matched, created };
                Self::Project { name: reader.text()?, counts }
            }
            9 => Self::Totals(Totals::decode(reader)?),
            _ => return None,
        })
    }
}

impl ChunkImage<'_> {
    pub(super) fn save(&self, sql: &Connection) -> Result<(), StoreError> {
        let Self { chunk, first_event, born_ms, crc, entries, body } = self;
        sql.prepare_cached(
            "INSERT OR REPLACE INTO chunks (chunk, first_event, born_ms, crc, entries, body) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![chunk, first_event, born_ms, crc, entries, body])?;
        Ok(())
    }

    /// Appends it; gives where its body begins.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> usize {
        numbers(out, 1, &[self.chunk, self.first_event, self.born_ms, self.crc]);
        for part in [self.entries, self.body] {
            out.extend_from_slice(&length(part.len()));
        }
        out.extend_from_slice(self.entries);
        let at = out.len();
        out.extend_from_slice(self.body);
        at
    }
}

impl LaneImage {
    fn save(&self, sql: &Connection) -> Result<(), StoreError> {
        let counts = &self.counts;
        sql.prepare_cached(
            "UPDATE lanes SET held_since_ms = ?2, held_total_ms = ?3, created = ?4, redelivered = ?5, delivered = ?6,
             expired = ?7, discarded = ?8, pending = ?9, dead_letters = ?10, removed = ?11, pending_bytes = ?12,
             dead_letter_bytes = ?13 WHERE lane = ?1",
        )?
        .execute(params![
            self.lane,
            self.held_since_ms,
            self.held_total_ms,
            counts.created,
            counts.redelivered,
            counts.delivered,
            counts.expired,
            counts.discarded,
            counts.pending,
            counts.dead_letters,
            counts.removed,
            self.pending_bytes,
            self.dead_letter_bytes
        ])?;
        Ok(())
    }
}

impl<'a> Totals<'a> {
    fn save(&self, sql: &Connection) -> Result<(), StoreError> {
        let counters = &self.counters;
        // No id is given twice, even if a later commit is lost that the tables have chunks of.
        sql.prepare_cached(
            "UPDATE state SET newest_ms = MAX(newest_ms, ?), next_event = MAX(next_event, ?),
             next_delivery = MAX(next_delivery, ?), next_report = ?,
             acked_report = ?, report_count = ?, report_bytes = ?, reports_dropped = ?, unexported = ?, keys = ?,
             oldest_key_ms = ?, damaged = ?",
        )?
        .execute(params![
            counters.newest_ms,
            counters.next_event,
            counters.next_delivery,
            counters.next_report,
            counters.acked_report,
            counters.report_count,
            counters.report_bytes,
            counters.reports_dropped,
            counters.unexported,
            self.keys,
            self.oldest_key_ms,
            self.damaged
        ])?;
        if let Some((wall_ms, boot_id, since_boot_ms)) = self.mark {
            sql.prepare_cached("UPDATE state SET newest_ms = ?, boot_id = ?, since_boot_ms = ?")?.execute(params![
                wall_ms,
                boot_id,
                since_boot_ms
            ])?;
        }
        Ok(())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let counters = &self.counters;
        numbers(out, 9, &[counters.newest_ms, counters.next_event, counters.next_delivery, counters.next_report]);
        more(out, &[counters.acked_report, counters.report_count, counters.report_bytes, counters.reports_dropped]);
        more(out, &[counters.unexported, self.keys, self.damaged]);
        more(out, &[i64::from(self.oldest_key_ms.is_some()), self.oldest_key_ms.unwrap_or_default()]);
        let (wall_ms, boot_id, since_boot_ms) = self.mark.unwrap_or_default();
        more(out, &[i64::from(self.mark.is_some()), wall_ms, since_boot_ms]);
        bytes(out, boot_id.as_bytes());
    }

    fn decode(reader: &mut Reader<'a>) -> Option<Self> {
        let [newest_ms, next_event, next_delivery, next_report] = reader.numbers()?;
        let [acked_report, report_count, report_bytes, reports_dropped] = reader.numbers()?;
        let [unexported, keys, damaged] = reader.numbers()?;
        let [has_keys, oldest_key_ms, has_mark, wall_ms, since_boot_ms] = reader.numbers()?;
        let boot_id = reader.text()?;
        let counters = Counters {
            next_event,
            next_delivery,
            next_report,
            acked_report,
            report_count,
            report_bytes,
            reports_dropped,
            unexported,
            newest_ms,
        };
        let mark = (has_mark == 1).then_some((wall_ms, boot_id, since_boot_ms));
        Some(Self { counters, keys, oldest_key_ms: (has_keys == 1).then_some(oldest_key_ms), damaged, mark })
    }
}

impl<'a> Reader<'a> {
    fn numbers<const N: usize>(&mut self) -> Option<[i64; N]> {
        let mut numbers = [0; N];
        for number in &mut numbers {
            *number = i64::from_le_bytes(self.array()?);
        }
        Some(numbers)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

fn numbers(out: &mut Vec<u8>, kind: u8, numbers: &[i64]) {
    out.push(kind);
    more(out, numbers);
}

fn more(out: &mut Vec<u8>, numbers: &[i64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Lengths fit: what one commit takes in is bounded to some MiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_comes_back_as_it_was() {
        let counts =
            DeliveryCounts { created: 9, redelivered: 1, delivered: 3, pending: 5, ..DeliveryCounts::default() };
        let lane = LaneImage { lane: 4, counts, pending_bytes: 70, ..LaneImage::default() };
        let counters = Counters { newest_ms: 1, next_event: 2, next_delivery: 3, unexported: 4, ..Counters::default() };
        let totals = Totals { counters, keys: 5, damaged: 12, ..Totals::default() };
        let images = [
            Image::Chunk(ChunkImage { chunk: 7, first_event: 5, born_ms: 3, crc: 9, entries: b"en", body: b"body" }),
            Image::Done { chunk: 7, bits: &[3, 1] },
            Image::Gone { chunk: -7 },
            Image::Reports { first: 1, count: 2, body: b"reports" },
            Image::Keys { batch: 3, at_ms: 4, body: &[1; 32] },
            Image::Producer { project: "default", id: "käse", next_sequence: u64::MAX, seen_ms: 8 },
            Image::Lane(LaneImage { held_since_ms: Some(0), ..lane }),
            Image::Lane(lane),
            Image::Project {
                name: "default",
                counts: EventCounts { received: 3, created: 2, ..EventCounts::default() },
            },
            Image::Totals(Totals { oldest_key_ms: Some(0), mark: Some((5, "boot", 6)), ..totals.clone() }),
            Image::Totals(totals),
        ];
        let mut out = Vec::new();
        for image in &images {
            image.encode(&mut out);
        }
        let mut reader = Reader(&out);
        for image in &images {
            assert_eq!(Image::decode(&mut reader).as_ref(), Some(image));
        }
        assert!(reader.0.is_empty());
        // Cut anywhere, what is left of it is whole images and no other.
        for end in 0..out.len() {
            let mut reader = Reader(&out[..end]);
            let whole = std::iter::from_fn(|| Image::decode(&mut reader)).zip(&images).filter(|(a, b)| a == *b).count();
            assert!(whole < images.len(), "cut at {end}");
        }
    }
}
