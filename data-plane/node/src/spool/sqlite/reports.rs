//! Reports: the ones of a commit lie together in few rows, each with its length before it.

use bytes::{Buf as _, Bytes};
use prost::encoding::{decode_varint, encode_varint};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    damage::Damage,
    image::Image,
    merge::{PendingReports, Target},
    state::State,
};
use crate::spool::store::{Reports, StoreError};

/// Bytes after which a row is closed.
const ROW_BYTES: usize = 64 << 10;

/// Bytes after which an answer is.
const ANSWER_BYTES: usize = 1 << 20;

/// Reports that a commit is putting together.
#[derive(Default)]
pub(super) struct Building {
    body: Vec<u8>,
    count: i64,
}

impl Building {
    /// Adds one.
    pub(super) fn push(&mut self, to: &mut Target<'_>, state: &mut State, report: &[u8]) -> Result<(), StoreError> {
        encode_varint(report.len() as u64, &mut self.body);
        self.body.extend_from_slice(report);
        self.count += 1;
        state.counters.next_report += 1;
        if self.body.len() >= ROW_BYTES { self.write(to, state) } else { Ok(()) }
    }

    /// Writes what there is.
    pub(super) fn write(&mut self, to: &mut Target<'_>, state: &mut State) -> Result<(), StoreError> {
        if self.count > 0 {
            let (first, count, body) =
                (state.counters.next_report - self.count, self.count, std::mem::take(&mut self.body));
            self.count = 0;
            to.put(&Image::Reports { first, count, body: &body })?;
            if let Target::Journal(_) = to {
                // Acked by what came behind them in the same commit.
                if is_acked(first, count, state.counters.acked_report) {
                    return Ok(());
                }
                state.counters.report_bytes += body.len() as i64;
                state.pending.reports.push_back(PendingReports { first, count, body });
            } else {
                state.counters.report_bytes += body.len() as i64;
            }
            state.counters.report_count += count;
        }
        Ok(())
    }
}

/// Writes a row.
pub(super) fn insert(sql: &Connection, first: i64, count: i64, folded: i64, body: &[u8]) -> Result<(), StoreError> {
    sql.prepare_cached("INSERT INTO reports (first, count, folded, crc, body) VALUES (?, ?, ?, ?, ?)")?
        .execute(params![first, count, folded, crc(first, count, body), body])?;
    Ok(())
}

/// Forgets reports up to this one: rows go when all of theirs are acked, those of tables with the next commit that writes there.
pub(super) fn ack(to: &Target<'_>, state: &mut State, sequence_inclusive: u64) -> Result<(), StoreError> {
    let last = i64::try_from(sequence_inclusive).unwrap_or(i64::MAX).min(state.counters.next_report - 1);
    if last <= state.counters.acked_report {
        return Ok(());
    }
    state.counters.acked_report = last;
    match to {
        Target::Tables(sql) => {
            let (count, bytes) = forget(sql, last)?;
            state.counters.report_count -= count;
            state.counters.report_bytes -= bytes;
        }
        Target::Journal(_) => {
            let pending = &mut state.pending;
            while let Some(row) = pending.reports.pop_front_if(|row| is_acked(row.first, row.count, last)) {
                state.counters.report_count -= row.count;
                state.counters.report_bytes -= row.body.len() as i64;
            }
            pending.acked = true;
        }
    }
    Ok(())
}

/// Whether all of a row is acked.
pub(super) fn is_acked(first: i64, count: i64, last: i64) -> bool {
    first.saturating_add(count) <= last.saturating_add(1)
}

/// Takes rows off the disk of which all is acked; gives how many reports and bytes that were.
pub(super) fn forget(sql: &Connection, last: i64) -> Result<(i64, i64), StoreError> {
    let (mut count, mut bytes) = (0, 0);
    let mut statement = sql.prepare_cached(
        "DELETE FROM reports WHERE first <= ?1 AND first + count <= ?1 + 1 RETURNING count, length(body)",
    )?;
    let mut rows = statement.query([last])?;
    while let Some(row) = rows.next()? {
        count += row.get::<_, i64>(0)?;
        bytes += row.get::<_, i64>(1)?;
    }
    Ok((count, bytes))
}

/// Reports from `sequence` on, none of them acked: consecutive, at most `limit` and some 1 MiB.
pub(super) fn read(sql: &Connection, damage: &Damage, sequence: u64, limit: usize) -> Result<Reports, StoreError> {
    let (next, acked): (i64, i64) =
        sql.query_row("SELECT next_report, acked_report FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let from = i64::try_from(sequence).unwrap_or(i64::MAX).max(acked.saturating_add(1));
    let mut answer = Reports {
        first_sequence: from.max(next).cast_unsigned(),
        reports: Vec::new(),
        next_sequence: next.cast_unsigned(),
    };
    if limit == 0 {
        return Ok(answer);
    }
    let start: Option<i64> = sql
        .prepare_cached("SELECT first FROM reports WHERE first <= ? ORDER BY first DESC LIMIT 1")?
        .query_row([from], |row| row.get(0))
        .optional()?;
    let mut statement =
        sql.prepare_cached("SELECT first, count, crc, body FROM reports WHERE first >= ? ORDER BY first")?;
    let mut rows = statement.query([start.unwrap_or(from)])?;
    let mut bytes = 0;
    let mut expected = None;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => {
                let error = StoreError::from(error);
                if !error.is_damage() {
                    return Err(error);
                }
                damage.found("page of reports", from);
                break;
            }
        };
        let (first, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        if first.saturating_add(count) <= from {
            continue;
        }
        let body = row.get_ref(3)?.as_blob().unwrap_or_default();
        if crc(first, count, body) != row.get::<_, i64>(2)? {
            damage.found("reports", first);
            if expected.is_some() {
                break;
            }
            continue;
        }
        if expected.is_some_and(|expected| expected != first) {
            break;
        }
        for (report, at) in split(Bytes::copy_from_slice(body)).zip(first..) {
            if at < from {
                continue;
            }
            if answer.reports.is_empty() {
                answer.first_sequence = at.cast_unsigned();
            }
            bytes += report.len();
            answer.reports.push(report);
            if answer.reports.len() >= limit || bytes >= ANSWER_BYTES {
                return Ok(answer);
            }
        }
        expected = Some(first.saturating_add(count));
    }
    Ok(answer)
}

/// The reports of a row.
pub(super) fn split(mut body: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        if !body.has_remaining() {
            return None;
        }
        let length = usize::try_from(decode_varint(&mut body).ok()?).ok()?;
        (length <= body.len()).then(|| body.split_to(length))
    })
}

/// A row's checksum.
pub(super) fn crc(first: i64, count: i64, body: &[u8]) -> i64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&first.to_le_bytes()), &count.to_le_bytes());
    i64::from(crc32c::crc32c_append(crc, body))
}
