//! What becomes of reports beyond their bound: the oldest are folded into counts by sync and minute, and when those are too
//! many, by the hour. Sequences stay unique and ascend; a fold leaves a gap before the counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Message as _, encoding::encode_varint};
use prost_types::Timestamp;
use rusqlite::Connection;
use sluice_proto::{
    delivery::v1::EndingOutcome,
    node::v1::{DroppedReports, Report, report},
};

use super::{damage::Damage, reports, state::State};
use crate::spool::store::StoreError;

/// Most bytes of rows that are folded at once. Less where that is enough: each report is kept in detail as long as it can be.
const PIECE_BYTES: i64 = 1 << 20;

/// Rows that are folded at once.
const PIECE_ROWS: i64 = 4_096;

/// Folds a piece if there are more bytes than `max_bytes`. Gives whether it did.
pub(super) fn fold(sql: &Connection, state: &mut State, max_bytes: u64, damage: &Damage) -> Result<bool, StoreError> {
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let beyond = state.counters.report_bytes.saturating_sub(max_bytes);
    if beyond <= 0 {
        return Ok(false);
    }
    // A little more than needed, so that not every commit has to fold.
    let piece_bytes = (beyond + max_bytes / 16).min(PIECE_BYTES);
    // Details first, then minutes; hours are the last to go, and go for good.
    for (level, piece_bytes) in [(0, piece_bytes), (1, PIECE_BYTES)] {
        let piece = read(sql, state, level, piece_bytes, damage)?;
        let shrinks = piece.rows.len() > 1 || (level == 0 && !piece.rows.is_empty());
        if shrinks {
            write(sql, state, level + 1, &piece)?;
            return Ok(true);
        }
    }
    let mut statement = sql.prepare_cached(
        "DELETE FROM reports WHERE first = (SELECT MIN(first) FROM reports) RETURNING first, count, length(body)",
    )?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let (first, count, bytes): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    state.counters.report_count -= count;
    state.counters.report_bytes -= bytes;
    tracing::warn!(first, count, "counts of dropped reports were dropped themselves");
    Ok(true)
}

/// Adjacent rows, and what they come to.
#[derive(Default)]
struct Piece {
    rows: Vec<i64>,
    /// The last sequence of them.
    last: i64,
    count: i64,
    bytes: i64,
    /// Reports with detail.
    details: i64,
    counts: BTreeMap<(i64, String), DroppedReports>,
}

/// The oldest rows of a level that lie together.
fn read(sql: &Connection, state: &State, level: i64, piece_bytes: i64, damage: &Damage) -> Result<Piece, StoreError> {
    let text = if level == 0 {
        "SELECT first, count, crc, body, folded FROM reports WHERE first >= (SELECT COALESCE(MAX(first), 0) FROM reports
         WHERE folded > 0) AND folded = 0 ORDER BY first LIMIT ?"
    } else {
        "SELECT first, count, crc, body, folded FROM reports WHERE folded = 1 ORDER BY first LIMIT ?"
    };
    let seconds = if level == 0 { 60 } else { 3_600 };
    let mut piece = Piece::default();
    let mut statement = sql.prepare_cached(text)?;
    let mut rows = statement.query([PIECE_ROWS])?;
    while let Some(row) = rows.next()? {
        let (first, count): (i64, i64) = (row.get(0)?, row.get(1)?);
        let body = row.get_ref(3)?.as_blob().unwrap_or_default();
        if piece.bytes > 0 && piece.bytes + body.len() as i64 > piece_bytes {
            break;
        }
        piece.rows.push(first);
        piece.last = first + count - 1;
        piece.count += count;
        piece.bytes += body.len() as i64;
        if reports::crc(first, count, body) != row.get::<_, i64>(2)? {
            damage.found("reports", first);
            continue;
        }
        for (report, at) in reports::split(Bytes::copy_from_slice(body)).zip(first..) {
            // What is acked has been told.
            if at > state.counters.acked_report {
                piece.details += i64::from(level == 0);
                piece.add(report, seconds);
            }
        }
    }
    Ok(piece)
}

fn write(sql: &Connection, state: &mut State, level: i64, piece: &Piece) -> Result<(), StoreError> {
    for first in &piece.rows {
        sql.prepare_cached("DELETE FROM reports WHERE first = ?")?.execute([first])?;
    }
    let mut body = Vec::new();
    // Never more than there were: each count stands for a report at least.
    let count = piece.counts.len() as i64;
    for dropped in piece.counts.values() {
        let report = Report { report: Some(report::Report::Dropped(dropped.clone())), ending: None }.encode_to_vec();
        encode_varint(report.len() as u64, &mut body);
        body.extend_from_slice(&report);
    }
    if count > 0 {
        reports::insert(sql, piece.last - count + 1, count, level, &body)?;
    }
    state.counters.report_count += count - piece.count;
    state.counters.report_bytes += body.len() as i64 - piece.bytes;
    state.counters.reports_dropped += piece.details;
    if level == 1 {
        tracing::warn!(reports = piece.details, "reports beyond the bound were folded into counts");
    }
    Ok(())
}

impl Piece {
    fn add(&mut self, report: Bytes, seconds: i64) {
        let Report { report, ending } = Report::decode(report).unwrap_or_default();
        let one = DroppedReports { report_count: 1, ..DroppedReports::default() };
        match report {
            Some(report::Report::Attempt(attempt)) => {
                let counts = DroppedReports { attempt_count: 1, ..one };
                self.count(&attempt.sync_uid, attempt.start_time, seconds, &counts);
                if let Some(ending) = ending {
                    self.count(&attempt.sync_uid, ending.end_time, seconds, &ended(ending.outcome()));
                }
            }
            Some(report::Report::Ended(ending)) => {
                let counts = DroppedReports { report_count: 1, ..ended(ending.outcome()) };
                self.count(&ending.sync_uid, ending.end_time, seconds, &counts);
            }
            Some(report::Report::Dropped(dropped)) => self.count(&dropped.sync_uid, dropped.minute, seconds, &dropped),
            None => self.count("", None, seconds, &one),
        }
    }

    fn count(&mut self, sync_uid: &str, time: Option<Timestamp>, seconds: i64, add: &DroppedReports) {
        let start = time.map_or(0, |time| time.seconds.div_euclid(seconds) * seconds);
        let sum = self.counts.entry((start, sync_uid.to_owned())).or_insert_with(|| DroppedReports {
            sync_uid: sync_uid.to_owned(),
            minute: Some(Timestamp { seconds: start, nanos: 0 }),
            ..DroppedReports::default()
        });
        sum.attempt_count += add.attempt_count;
        sum.delivered_count += add.delivered_count;
        sum.expired_count += add.expired_count;
        sum.discarded_count += add.discarded_count;
        sum.report_count += add.report_count;
    }
}

/// Counts of one ending.
fn ended(outcome: EndingOutcome) -> DroppedReports {
    match outcome {
        EndingOutcome::Delivered => DroppedReports { delivered_count: 1, ..DroppedReports::default() },
        EndingOutcome::Expired => DroppedReports { expired_count: 1, ..DroppedReports::default() },
        EndingOutcome::Discarded | EndingOutcome::Unspecified => {
            DroppedReports { discarded_count: 1, ..DroppedReports::default() }
        }
    }
}
