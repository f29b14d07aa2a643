//! Takes the nodes' reports in: a batch is one transaction with the spool's position.

use prost::Message as _;
use sluice_proto::delivery::v1::Attempt;
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction, query::Query, sqlite::SqliteArguments};

use super::{
    Store, StoreError,
    many::{Many, pieces},
    report_keys::Keys,
    rollups::{add, count_attempts, note_health},
};
use crate::figures::rollup::{Counts, Rollups};

/// A batch of reports from one spool.
pub(crate) struct Reports {
    /// Which spool.
    pub(crate) spool_id: String,
    /// Sequence of the batch's last report.
    pub(crate) last_sequence: u64,
    /// The attempts among them.
    pub(crate) attempts: Vec<AttemptRow>,
    /// The endings among them.
    pub(crate) endings: Vec<EndingRow>,
    /// The counts in place of reports that the node dropped.
    pub(crate) dropped: Vec<DroppedRow>,
}

impl Reports {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.attempts.len() + self.endings.len() + self.dropped.len()
    }

    /// Takes those in that follow from the same spool.
    pub(crate) fn append(&mut self, following: Self) {
        self.last_sequence = following.last_sequence;
        self.attempts.extend(following.attempts);
        self.endings.extend(following.endings);
        self.dropped.extend(following.dropped);
    }
}

/// Counts of a sync's minute, in place of reports that the node dropped.
pub(crate) struct DroppedRow {
    /// Its place in the spool's reports.
    pub(crate) sequence: u64,
    /// Uid of the sync.
    pub(crate) sync_uid: String,
    /// Beginning of the minute, milliseconds since the epoch.
    pub(crate) minute_ms: i64,
    /// Requests made.
    pub(crate) attempts: i64,
    /// Deliveries that ended with a 2xx.
    pub(crate) delivered: i64,
    /// Deliveries whose rounds were used up.
    pub(crate) expired: i64,
    /// Deliveries that were discarded.
    pub(crate) discarded: i64,
}

/// An attempt and what it is found by.
pub(crate) struct AttemptRow {
    /// Its place in the spool's reports.
    pub(crate) sequence: u64,
    /// The delivery's id, as [`id_bytes`].
    pub(crate) delivery: Vec<u8>,
    /// The event's id, as [`id_bytes`].
    pub(crate) event: Vec<u8>,
    /// The sync.
    pub(crate) sync: ReportedSync,
    /// When it began, milliseconds since the epoch.
    pub(crate) start_ms: i64,
    /// The attempt itself.
    pub(crate) attempt: Attempt,
}

/// How a delivery ended.
pub(crate) struct EndingRow {
    /// Its place in the spool's reports.
    pub(crate) sequence: u64,
    /// The delivery's id, as [`id_bytes`].
    pub(crate) delivery: Vec<u8>,
    /// The event's id, as [`id_bytes`].
    pub(crate) event: Vec<u8>,
    /// The sync.
    pub(crate) sync: ReportedSync,
    /// Which schedule ended.
    pub(crate) schedule: i32,
    /// `EndingOutcome`.
    pub(crate) outcome: i32,
    /// `EndingReason`.
    pub(crate) reason: i32,
    /// When the event was accepted, milliseconds since the epoch.
    pub(crate) accept_ms: i64,
    /// When it ended, milliseconds since the epoch.
    pub(crate) end_ms: i64,
    /// Attempts in this schedule.
    pub(crate) attempt_count: i32,
}

/// The sync that a report speaks of, which may be gone by now.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct ReportedSync {
    /// Its identity for life.
    pub(crate) uid: String,
    /// Id of its project.
    pub(crate) project: String,
    /// Its id.
    pub(crate) sync: String,
}

/// The form in which ids are stored: 32 hexadecimal digits, which all our own are, as 16 bytes; others as their text.
pub(crate) fn id_bytes(id: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let packed = || -> Option<Vec<u8>> {
        let pairs = id.as_bytes().chunks_exact(2);
        pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
    };
    if id.len() == 32 { packed() } else { None }.unwrap_or_else(|| id.as_bytes().to_vec())
}

/// The slot of five minutes in which a moment lies, milliseconds since the epoch: reports are found by it first.
pub(super) fn slot(at_ms: i64) -> i64 {
    at_ms / 300_000
}

impl Store {
    /// The last sequence that is stored of a spool's reports; none: it is unknown.
    pub(crate) async fn reports_position(&self, spool_id: &str) -> Result<Option<u64>, StoreError> {
        let position: Option<i64> =
            sqlx::query_scalar("SELECT acked_sequence FROM report_positions WHERE spool_id = ?")
                .bind(spool_id)
                .fetch_optional(&self.readers)
                .await?;
        Ok(position.map(i64::cast_unsigned))
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

        let row = sqlx::query(
            "SELECT (SELECT acked_sequence FROM report_positions WHERE spool_id = ?), (SELECT max(id) FROM attempts)",
        )
        .bind(&reports.spool_id)
        .fetch_one(&mut *transaction)
        .await?;
        let position = row.try_get::<Option<i64>, _>(0)?.map(i64::cast_unsigned);
        let last_id_before: i64 = row.try_get::<Option<i64>, _>(1)?.unwrap_or(0);
        if let Some(position) = position
            && position >= reports.last_sequence
        {
            return Ok(position);
        }

        let mut attempts = reports.attempts;
        let mut endings = reports.endings;
        attempts.retain(|row| position.is_none_or(|position| row.sequence > position));
        endings.retain(|row| position.is_none_or(|position| row.sequence > position));
        let keys = Keys::of(&mut transaction, &self.known_keys, &attempts, &endings).await?;

        let mut rollups = Rollups::default();
        let mut stored_count = 0;
        for chunk in pieces(&attempts) {
            let mut query = sqlx::query(ATTEMPTS.text(chunk.len()));
            for row in chunk {
                query = bind_attempt(query, row, &keys)?;
            }
            stored_count += query.execute(&mut *transaction).await?.rows_affected();
        }
        for chunk in pieces(&endings) {
            let mut query = sqlx::query(ENDINGS.text(chunk.len()));
            for row in chunk {
                query = bind_ending(query, row, &keys)?;
            }
            let stored: Vec<(Vec<u8>, i32)> = query
                .fetch_all(&mut *transaction)
                .await?
                .iter()
                .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_, sqlx::Error>>()?;
            let all_new = stored.len() == chunk.len();
            let is_stored = |row: &&EndingRow| {
                all_new
                    || stored.iter().any(|(delivery, schedule)| *delivery == row.delivery && *schedule == row.schedule)
            };
            for row in chunk.iter().filter(is_stored) {
                let add = |counts: &mut Counts| {
                    counts.ending(row.outcome, row.attempt_count, row.end_ms.saturating_sub(row.accept_ms));
                };
                rollups.add(&row.sync.uid, row.end_ms, add);
            }
        }
        let is_new = |row: &&DroppedRow| position.is_none_or(|position| row.sequence > position);
        for row in reports.dropped.iter().filter(is_new) {
            add_dropped(&mut transaction, row).await?;
            let counts = Counts {
                attempts: row.attempts,
                delivered: row.delivered,
                expired: row.expired,
                discarded: row.discarded,
                ..Counts::default()
            };
            rollups.add(&row.sync_uid, row.minute_ms, |sum| sum.merge(&counts));
        }
        sqlx::query(
            "INSERT INTO report_positions (spool_id, acked_sequence) VALUES (?, ?)
             ON CONFLICT (spool_id) DO UPDATE SET acked_sequence = max(acked_sequence, excluded.acked_sequence)",
        )
        .bind(&reports.spool_id)
        .bind(reports.last_sequence.cast_signed())
        .execute(&mut *transaction)
        .await?;

        let all_new = usize::try_from(stored_count) == Ok(attempts.len());
        let stored: Vec<Attempt> = if all_new {
            attempts.into_iter().map(|row| row.attempt).collect()
        } else {
            attempts_after(&mut transaction, last_id_before).await?
        };
        count_attempts(&mut rollups, &stored);
        add(&mut transaction, &rollups).await?;
        note_health(&mut transaction, &stored).await?;
        transaction.commit().await?;
        self.known_keys.learn(keys);
        self.publisher.attempts(stored);
        Ok(reports.last_sequence)
    }
}

type SqliteQuery = Query<'static, Sqlite, SqliteArguments>;

fn bind_attempt(query: SqliteQuery, row: &AttemptRow, keys: &Keys) -> Result<SqliteQuery, StoreError> {
    Ok(query
        .bind(slot(row.start_ms))
        .bind(row.delivery.clone())
        .bind(row.attempt.round)
        .bind(row.attempt.attempt)
        .bind(keys.instance(&row.attempt.instance)?)
        .bind(keys.sync(&row.sync)?)
        .bind(row.event.clone())
        .bind(row.attempt.outcome)
        .bind(row.start_ms)
        .bind(row.attempt.encode_to_vec()))
}

fn bind_ending(query: SqliteQuery, row: &EndingRow, keys: &Keys) -> Result<SqliteQuery, StoreError> {
    Ok(query
        .bind(slot(row.end_ms))
        .bind(row.delivery.clone())
        .bind(row.schedule)
        .bind(keys.sync(&row.sync)?)
        .bind(row.event.clone())
        .bind(row.outcome)
        .bind(row.reason)
        .bind(row.accept_ms)
        .bind(row.end_ms)
        .bind(row.attempt_count))
}

/// Adds counts to what the minute has. They have no identity of their own: their sequence alone keeps them from being
/// counted twice.
async fn add_dropped(connection: &mut SqliteConnection, row: &DroppedRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO dropped_minutes (sync_uid, minute_ms, attempts, delivered, expired, discarded)
         VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (sync_uid, minute_ms) DO UPDATE SET attempts = attempts + excluded.attempts,
             delivered = delivered + excluded.delivered, expired = expired + excluded.expired,
             discarded = discarded + excluded.discarded",
    )
    .bind(&row.sync_uid)
    .bind(row.minute_ms)
    .bind(row.attempts)
    .bind(row.delivered)
    .bind(row.expired)
    .bind(row.discarded)
    .execute(connection)
    .await?;
    Ok(())
}

/// The attempts that were stored with ids above `id`, in that order.
async fn attempts_after(connection: &mut SqliteConnection, id: i64) -> Result<Vec<Attempt>, StoreError> {
    let rows: Vec<Vec<u8>> = sqlx::query_scalar("SELECT content FROM attempts WHERE id > ? ORDER BY id")
        .bind(id)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|bytes| Attempt::decode(bytes.as_slice()))
        .collect::<Result<_, _>>()
        .map_err(|source| StoreError::Unreadable { what: "an attempt", source })
}

static ATTEMPTS: Many = Many::new(
    "INSERT INTO attempts (slot, delivery, round, attempt, instance, sync, event, outcome, start_ms, content) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "ON CONFLICT DO NOTHING",
);

static ENDINGS: Many = Many::new(
    "INSERT INTO endings (slot, delivery, schedule, sync, event, outcome, reason, accept_ms, end_ms, attempt_count) VALUES",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "ON CONFLICT DO NOTHING RETURNING delivery, schedule",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ids_are_packed_and_others_kept() {
        assert_eq!(id_bytes("000102030405060708090a0b0c0d0e0f"), (0..16).collect::<Vec<u8>>());
        assert_eq!(id_bytes("msg_1"), b"msg_1");
        assert_eq!(id_bytes(&"Z".repeat(32)), "Z".repeat(32).as_bytes());
        assert_eq!(id_bytes(""), b"");
    }
}
