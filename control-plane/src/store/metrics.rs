//! Counts what became of a sync's deliveries.

use sluice_proto::delivery::v1::{AttemptOutcome, EndingOutcome};
use sqlx::Row as _;

use super::{Store, StoreError};

/// Figures of one sync over one interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricCounts {
    /// Deliveries that ended with a 2xx.
    pub(crate) delivered: i64,
    /// Those of them that are known to have taken one request.
    pub(crate) delivered_first_attempt: i64,
    /// Those of them that are known to have taken more.
    pub(crate) delivered_after_retry: i64,
    /// Deliveries whose rounds were used up.
    pub(crate) expired: i64,
    /// Deliveries that could not be rendered or were refused by policy.
    pub(crate) discarded: i64,
    /// Requests made.
    pub(crate) attempts: i64,
    /// Milliseconds from acceptance to 2xx, 50th, 95th and 99th percentile (nearest rank); 0 if none was delivered.
    pub(crate) latency_ms: [i64; 3],
}

impl Store {
    /// Counts the deliveries of the sync with that uid that ended, and its attempts that began, from `start_ms` up to but
    /// not at `end_ms`.
    pub(crate) async fn metrics(&self, sync_uid: &str, start_ms: i64, end_ms: i64) -> Result<MetricCounts, StoreError> {
        let delivered = EndingOutcome::Delivered as i32;
        let mut transaction = self.readers.begin().await?;
        let row = sqlx::query(
            "SELECT count(*) FILTER (WHERE outcome = ?4),
                    count(*) FILTER (WHERE outcome = ?4 AND attempt_count <= 1),
                    count(*) FILTER (WHERE outcome = ?5),
                    count(*) FILTER (WHERE outcome = ?6)
             FROM endings
             WHERE sync IN (SELECT key FROM reported_syncs WHERE uid = ?1) AND end_ms >= ?2 AND end_ms < ?3",
        )
        .bind(sync_uid)
        .bind(start_ms)
        .bind(end_ms)
        .bind(delivered)
        .bind(EndingOutcome::Expired as i32)
        .bind(EndingOutcome::Discarded as i32)
        .fetch_one(&mut *transaction)
        .await?;
        let mut counts = MetricCounts {
            delivered: row.try_get(0)?,
            delivered_first_attempt: row.try_get(1)?,
            expired: row.try_get(2)?,
            discarded: row.try_get(3)?,
            ..MetricCounts::default()
        };
        // A rendering that failed is an attempt without a request.
        counts.attempts = sqlx::query_scalar(
            "SELECT count(*) FROM attempts
             WHERE sync IN (SELECT key FROM reported_syncs WHERE uid = ?1) AND start_ms >= ?2 AND start_ms < ?3
               AND outcome <> ?4",
        )
        .bind(sync_uid)
        .bind(start_ms)
        .bind(end_ms)
        .bind(AttemptOutcome::Discarded as i32)
        .fetch_one(&mut *transaction)
        .await?;

        let ranks = [50, 95, 99].map(|percent| nearest_rank(percent, counts.delivered));
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT rank, latency_ms FROM (
                 SELECT max(end_ms - accept_ms, 0) AS latency_ms,
                        row_number() OVER (ORDER BY end_ms - accept_ms) AS rank
                 FROM endings
                 WHERE sync IN (SELECT key FROM reported_syncs WHERE uid = ?1) AND end_ms >= ?2 AND end_ms < ?3
                   AND outcome = ?4
             ) WHERE rank IN (?5, ?6, ?7)",
        )
        .bind(sync_uid)
        .bind(start_ms)
        .bind(end_ms)
        .bind(delivered)
        .bind(ranks[0])
        .bind(ranks[1])
        .bind(ranks[2])
        .fetch_all(&mut *transaction)
        .await?;
        counts.latency_ms =
            ranks.map(|rank| rows.iter().find(|(found, _)| *found == rank).map_or(0, |(_, latency_ms)| *latency_ms));
        counts.delivered_after_retry = counts.delivered - counts.delivered_first_attempt;
        // A minute counts where it begins. Its deliveries' latencies and attempts are not known.
        let (attempts, delivered, expired, discarded): (i64, i64, i64, i64) = sqlx::query_as(
            "SELECT ifnull(sum(attempts), 0), ifnull(sum(delivered), 0), ifnull(sum(expired), 0), ifnull(sum(discarded), 0)
             FROM dropped_minutes WHERE sync_uid = ?1 AND minute_ms >= ?2 AND minute_ms < ?3",
        )
        .bind(sync_uid)
        .bind(start_ms)
        .bind(end_ms)
        .fetch_one(&mut *transaction)
        .await?;
        counts.attempts += attempts;
        counts.delivered += delivered;
        counts.expired += expired;
        counts.discarded += discarded;
        Ok(counts)
    }
}

/// Which of `count` values in ascending order, from 1, is the percentile.
fn nearest_rank(percent: i64, count: i64) -> i64 {
    count.saturating_mul(percent).saturating_add(99) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!([50, 95, 99].map(|percent| nearest_rank(percent, 1)), [1, 1, 1]);
        assert_eq!([50, 95, 99].map(|percent| nearest_rank(percent, 100)), [50, 95, 99]);
        assert_eq!([50, 95, 99].map(|percent| nearest_rank(percent, 101)), [51, 96, 100]);
        assert_eq!(nearest_rank(50, 0), 0);
    }
}
