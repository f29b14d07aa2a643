//! Reports as versions of before stored them, a row each: taken over into chunks when the store is opened.

use bytes::{Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use sluice_proto::{
    delivery::v1::Ending,
    node::v1::{DroppedReports, Report as Message, report},
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{Store, StoreError, gathered::Told};
use crate::{
    reports::{chunk::Report, head::Read},
    time::timestamp,
};

/// Reports that are taken over in one transaction.
const STEP: i64 = 10_000;

impl Store {
    /// Takes over what is left of such reports, step by step: where it was broken off, it goes on. What was reported before there were
    /// rollups is counted.
    pub(super) async fn take_over_reports(&self) -> Result<(), StoreError> {
        let has_any = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'attempts'";
        if !sqlx::query_scalar::<_, bool>(has_any).fetch_one(&self.writer).await? {
            return Ok(());
        }
        let is_counted: bool = sqlx::query_scalar("SELECT rollups_built FROM kept").fetch_one(&self.writer).await?;
        let mut count = 0;
        for table in [ATTEMPTS, ENDINGS] {
            loop {
                let taken = self.take_over(&table, is_counted).await?;
                if taken == 0 {
                    break;
                }
                count += taken;
                tracing::info!(count, "reports of an earlier form are taken over");
            }
        }
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if !is_counted {
            let mut told = Told::default();
            for minute in dropped_minutes(&mut transaction).await? {
                told.dropped(&minute);
            }
            told.add(&mut transaction).await?;
        }
        for change in [
            "UPDATE kept SET rollups_built = 1",
            "DROP TABLE attempts",
            "DROP TABLE endings",
            "DROP TABLE reported_syncs",
            "DROP TABLE reported_instances",
        ] {
            sqlx::query(change).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn take_over(&self, table: &Table, is_counted: bool) -> Result<usize, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let rows = sqlx::query(table.read).bind(STEP).fetch_all(&mut *transaction).await?;
        let Some(last) = rows.last() else { return Ok(0) };
        let last_id: i64 = last.try_get("id")?;
        let mut reports = Vec::with_capacity(rows.len());
        for row in &rows {
            let encoded = (table.report)(row)?;
            match Read::of(encoded.clone()) {
                Ok(Read::Kept(head)) => reports.push(Report { sequence: 0, head, encoded }),
                _ => tracing::error!(id = row.try_get::<i64, _>("id")?, "a stored report cannot be read: left out"),
            }
        }
        self.write_chunks(&mut transaction, &reports).await?;
        if !is_counted {
            let mut told = Told::default();
            reports.iter().for_each(|report| told.report(&report.head, &report.encoded));
            told.add(&mut transaction).await?;
        }
        sqlx::query(table.delete).bind(last_id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows.len())
    }
}

/// A table of such reports.
struct Table {
    /// Reads the first of them.
    read: &'static str,
    /// Makes a `sluice.node.v1.Report` of a row.
    report: fn(&SqliteRow) -> Result<Bytes, StoreError>,
    /// Deletes them up to an id.
    delete: &'static str,
}

const ATTEMPTS: Table = Table {
    read: "SELECT id, content FROM attempts ORDER BY id LIMIT ?",
    report: |row| {
        let content: &[u8] = row.try_get("content")?;
        let mut report = BytesMut::with_capacity(content.len() + 8);
        encode_key(1, WireType::LengthDelimited, &mut report);
        encode_varint(content.len() as u64, &mut report);
        report.extend_from_slice(content);
        Ok(report.freeze())
    },
    delete: "DELETE FROM attempts WHERE id <= ?",
};

const ENDINGS: Table = Table {
    read: "SELECT id, delivery, uid, project, reported_syncs.sync AS sync, event, schedule, outcome, reason, accept_ms, end_ms,
               attempt_count
           FROM endings JOIN reported_syncs ON key = endings.sync ORDER BY id LIMIT ?",
    report: |row| {
        let (project, sync): (String, String) = (row.try_get("project")?, row.try_get("sync")?);
        let delivery = id_text(row.try_get("delivery")?);
        let ending = Ending {
            delivery: format!("projects/{project}/syncs/{sync}/deliveries/{delivery}"),
            sync_uid: row.try_get("uid")?,
            event_id: id_text(row.try_get("event")?),
            schedule: row.try_get("schedule")?,
            outcome: row.try_get("outcome")?,
            reason: row.try_get("reason")?,
            accept_time: Some(timestamp(row.try_get("accept_ms")?)),
            end_time: Some(timestamp(row.try_get("end_ms")?)),
            attempt_count: row.try_get("attempt_count")?,
        };
        Ok(Message { report: Some(report::Report::Ended(ending)), ending: None }.encode_to_vec().into())
    },
    delete: "DELETE FROM endings WHERE id <= ?",
};

/// An id that was stored in 16 bytes if it had 32 hexadecimal digits, and as its text otherwise.
fn id_text(stored: &[u8]) -> String {
    match stored.len() {
        16 => stored.iter().map(|byte| format!("{byte:02x}")).collect(),
        _ => String::from_utf8_lossy(stored).into_owned(),
    }
}

async fn dropped_minutes(connection: &mut SqliteConnection) -> Result<Vec<DroppedReports>, StoreError> {
    let rows = sqlx::query("SELECT sync_uid, minute_ms, attempts, delivered, expired, discarded FROM dropped_minutes")
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(DroppedReports {
                sync_uid: row.try_get(0)?,
                minute: Some(timestamp(row.try_get(1)?)),
                attempt_count: row.try_get(2)?,
                delivered_count: row.try_get(3)?,
                expired_count: row.try_get(4)?,
                discarded_count: row.try_get(5)?,
                report_count: 0,
            })
        })
        .collect()
}
