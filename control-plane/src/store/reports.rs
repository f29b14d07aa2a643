//! Takes the nodes' reports in: a batch is one transaction with the spool's position.

use std::{
    collections::{HashMap, HashSet},
    sync::PoisonError,
};

use bytes::Bytes;
use sluice_proto::{
    delivery::v1::Attempt,
    node::v1::{DroppedReports, Report as Message, report},
};
use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::{
    Store, StoreError, chunks,
    gathered::{self, Told},
    marks,
};
use crate::{
    reports::{
        chunk::{self, Report},
        head::{Head, Identity, Read},
        marks::{Mark, MarkKind},
        slot,
    },
    time::millis,
};

/// A batch of reports from one spool.
pub(crate) struct Reports {
    /// Which spool.
    pub(crate) spool_id: String,
    /// Where the spool was first heard of: reports before it may be those of another spool, of which it is a copy.
    pub(crate) may_repeat_before: u64,
    /// Sequence of the batch's last report.
    pub(crate) last_sequence: u64,
    /// The attempts and endings among them.
    pub(crate) kept: Vec<Report>,
    /// The counts in place of reports that the node dropped, with their places.
    pub(crate) dropped: Vec<(u64, DroppedReports)>,
}

impl Reports {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.kept.len() + self.dropped.len()
    }

    /// Takes those in that follow from the same spool.
    pub(crate) fn append(&mut self, following: Self) {
        self.last_sequence = following.last_sequence;
        self.kept.extend(following.kept);
        self.dropped.extend(following.dropped);
    }
}

/// Where the control plane stands with a spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpoolPosition {
    /// The last sequence that is stored.
    pub(crate) acked_sequence: u64,
    /// Reports before this sequence may be those of another spool.
    pub(crate) may_repeat_before: u64,
}

impl Store {
    /// What is known of a spool's reports; none: nothing.
    pub(crate) async fn spool_position(&self, spool_id: &str) -> Result<Option<SpoolPosition>, StoreError> {
        position(&mut *self.readers.acquire().await?, spool_id).await
    }

    /// Stores what is new among the reports and gives the spool's position then. New attempts are published.
    pub(crate) async fn store_reports(&self, reports: Reports) -> Result<u64, StoreError> {
        let store = self.clone();
        tokio::spawn(async move { store.write_reports(reports).await }).await.unwrap_or(Err(StoreError::BrokenOff))
    }

    async fn write_reports(&self, reports: Reports) -> Result<u64, StoreError> {
        // Held until the attempts are published: so they are published in the order in which they are stored.
        let mut connection = self.writer.acquire().await?;
        let begin = sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE");
        let mut transaction = Transaction::<Sqlite>::begin(&mut *connection, Some(begin)).await?;

        let Reports { spool_id, may_repeat_before, last_sequence, mut kept, mut dropped } = reports;
        let position = position(&mut transaction, &spool_id).await?;
        if let Some(SpoolPosition { acked_sequence, .. }) = position {
            if acked_sequence >= last_sequence {
                return Ok(acked_sequence);
            }
            kept.retain(|report| report.sequence > acked_sequence);
            dropped.retain(|(sequence, _)| *sequence > acked_sequence);
        }
        if kept.iter().any(|report| report.sequence < may_repeat_before) {
            leave_out_known(&mut transaction, &mut kept).await?;
        }
        let first_chunk = self.write_chunks(&mut transaction, &kept).await?;

        let mut told = Told::default();
        for report in &kept {
            told.report(&report.head, &report.encoded);
        }
        for (_, counts) in &dropped {
            add_dropped(&mut transaction, counts).await?;
            told.dropped(counts);
        }
        let is_written = {
            let gathered = self.gathered.read().await;
            // What was dropped is in no chunk, from which it could be gathered again.
            let is_written = gathered.is_due() || !dropped.is_empty();
            if is_written {
                gathered.told.add(&mut transaction).await?;
                told.add(&mut transaction).await?;
                gathered::note_none(&mut transaction).await?;
            } else if let Some(chunk) = first_chunk.filter(|_| gathered.is_empty()) {
                gathered::note(&mut transaction, chunk).await?;
            }
            is_written
        };
        sqlx::query(
            "INSERT INTO report_positions (spool_id, acked_sequence, may_repeat_before) VALUES (?, ?, ?)
             ON CONFLICT (spool_id) DO UPDATE SET acked_sequence = max(acked_sequence, excluded.acked_sequence)",
        )
        .bind(&spool_id)
        .bind(last_sequence.cast_signed())
        .bind(may_repeat_before.cast_signed())
        .execute(&mut *transaction)
        .await?;
        if is_written {
            self.gathered.commit_all(transaction).await?;
        } else {
            self.gathered.commit(transaction, told).await?;
        }
        self.publisher
            .attempts(kept.into_iter().filter(|report| report.head.attempt.is_some()).map(|report| report.encoded));
        Ok(last_sequence)
    }

    /// Writes reports as chunks; gives the first of these.
    pub(super) async fn write_chunks(
        &self,
        connection: &mut SqliteConnection,
        reports: &[Report],
    ) -> Result<Option<i64>, StoreError> {
        let mut chunks = chunk::chunks(reports);
        chunks.sort_by_key(|chunk| (chunk.slot, chunk.fate));
        let mut pressed = Vec::with_capacity(chunks.len());
        {
            let mut press = self.press.lock().unwrap_or_else(PoisonError::into_inner);
            for chunk in chunks {
                let body = press.press(&chunk.body).map_err(StoreError::Compression)?;
                pressed.push((chunk, body));
            }
        }
        let mut first = None;
        for of_one_slot in pressed.chunk_by(|(a, _), (b, _)| (a.slot, a.fate) == (b.slot, b.fate)) {
            let id = chunks::insert(connection, of_one_slot).await?;
            first = first.or(id);
        }
        Ok(first)
    }
}

/// The attempt that a report is of; none if it is of something else, or cannot be read.
pub(crate) fn attempt(report: Bytes) -> Option<Attempt> {
    match <Message as prost::Message>::decode(report).ok()?.report? {
        report::Report::Attempt(attempt) => Some(attempt),
        report::Report::Ended(_) | report::Report::Dropped(_) => None,
    }
}

async fn position(connection: &mut SqliteConnection, spool_id: &str) -> Result<Option<SpoolPosition>, StoreError> {
    let position: Option<(i64, i64)> =
        sqlx::query_as("SELECT acked_sequence, may_repeat_before FROM report_positions WHERE spool_id = ?")
            .bind(spool_id)
            .fetch_optional(connection)
            .await?;
    Ok(position.map(|(acked_sequence, may_repeat_before)| SpoolPosition {
        acked_sequence: acked_sequence.cast_unsigned(),
        may_repeat_before: may_repeat_before.cast_unsigned(),
    }))
}

/// Leaves those out that are stored already, and those that come twice.
async fn leave_out_known(connection: &mut SqliteConnection, reports: &mut Vec<Report>) -> Result<(), StoreError> {
    let mut slots: HashMap<i64, HashSet<Mark>> = HashMap::new();
    for Report { head, .. } in reports.iter() {
        slots.entry(slot(head.at_ms())).or_default().insert(Mark::of(MarkKind::Delivery, head.delivery_id()));
    }
    let mut reader = chunks::reader()?;
    let mut known: HashSet<Identity> = HashSet::new();
    for (slot, deliveries) in slots {
        for chunk in marks::chunks_with_any(connection, slot, &deliveries).await? {
            let stored = chunks::read(connection, &mut reader, chunk).await?;
            let of_those = |head: &Head| deliveries.contains(&Mark::of(MarkKind::Delivery, head.delivery_id()));
            known.extend(stored.into_iter().filter_map(|report| match Read::of(report) {
                Ok(Read::Kept(head)) if of_those(&head) => Some(head.identity()),
                _ => None,
            }));
        }
    }
    reports.retain(|report| known.insert(report.head.identity()));
    Ok(())
}

/// Adds counts to what the minute has. They have no identity of their own: their sequence alone keeps them from being
/// counted twice.
async fn add_dropped(connection: &mut SqliteConnection, dropped: &DroppedReports) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO dropped_minutes (sync_uid, minute_ms, attempts, delivered, expired, discarded)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (sync_uid, minute_ms) DO UPDATE SET attempts = attempts + excluded.attempts,
             delivered = delivered + excluded.delivered, expired = expired + excluded.expired,
             discarded = discarded + excluded.discarded",
    )
    .bind(&dropped.sync_uid)
    .bind(millis(dropped.minute.as_ref()))
    .bind(dropped.attempt_count)
    .bind(dropped.delivered_count)
    .bind(dropped.expired_count)
    .bind(dropped.discarded_count)
    .execute(connection)
    .await?;
    Ok(())
}
