//! Figures that are in memory for a moment: what happens to them if something goes wrong meanwhile.

use std::path::Path;

use prost::Message as _;
use sluice_host::{clock::Clock, sealing::SecretsKey};
use sluice_proto::{
    delivery::v1::{Attempt, AttemptError, AttemptOutcome, EndingOutcome},
    node::v1::{AttemptEnding, Report as Message, report},
    sync::v1::HealthState,
};

use super::*;
use crate::{figures::rollup::Resolution, publish::Publisher, reports::chunk::Report, store::Reports, time::timestamp};

const HOUR_MS: i64 = 3_600_000;

/// Reports one after the other, of one spool.
struct Reporting {
    store: Store,
    sequence: u64,
}

impl Reporting {
    async fn open(folder: &Path, key: &SecretsKey) -> Self {
        Self { store: Store::open(folder, key, Publisher::new(Clock::system())).await.unwrap(), sequence: 0 }
    }

    fn attempt(&mut self, sync_uid: &str, start_ms: i64, delivered: bool) -> Report {
        self.sequence += 1;
        let attempt = Attempt {
            delivery: format!("projects/p/syncs/s/deliveries/{:032x}", self.sequence),
            sync_uid: sync_uid.into(),
            event_id: format!("{:032x}", self.sequence),
            outcome: if delivered { AttemptOutcome::Delivered } else { AttemptOutcome::RetryNow }.into(),
            error: if delivered { AttemptError::Unspecified } else { AttemptError::Timeout }.into(),
            start_time: Some(timestamp(start_ms)),
            ..Attempt::default()
        };
        let ending = AttemptEnding {
            outcome: EndingOutcome::Delivered.into(),
            end_time: Some(timestamp(start_ms)),
            attempt_count: 1,
            ..AttemptEnding::default()
        };
        let message = Message { report: Some(report::Report::Attempt(attempt)), ending: delivered.then_some(ending) };
        let encoded = Bytes::from(message.encode_to_vec());
        let Ok(Read::Kept(head)) = Read::of(encoded.clone()) else { panic!("an attempt") };
        Report { sequence: self.sequence, head, encoded }
    }

    async fn store(&mut self, kept: Vec<Report>, dropped: Vec<DroppedReports>) -> Result<u64, StoreError> {
        self.sequence += dropped.len() as u64;
        let reports = Reports {
            spool_id: "s".into(),
            may_repeat_before: 1,
            last_sequence: self.sequence,
            kept,
            dropped: dropped.into_iter().map(|counts| (self.sequence, counts)).collect(),
        };
        self.store.store_reports(reports).await
    }

    async fn delivered(&mut self, sync_uid: &str) -> Result<u64, StoreError> {
        let report = self.attempt(sync_uid, 1_000, true);
        self.store(vec![report], Vec::new()).await
    }

    async fn counts(&self, sync_uid: &str) -> (i64, i64) {
        let (counts, _) = self.store.metrics(sync_uid, 0, HOUR_MS, 0).await.unwrap();
        (counts.attempts, counts.delivered)
    }

    async fn rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM rollups").fetch_one(&self.store.readers).await.unwrap()
    }
}

#[tokio::test]
async fn what_was_dropped_is_written_with_all_that_was_gathered() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SecretsKey::random());
    let mut reporting = Reporting::open(folder.path(), &key).await;
    reporting.delivered("u").await.unwrap();
    assert_eq!((reporting.counts("u").await, reporting.rows().await), ((1, 1), 0));
    let dropped = DroppedReports {
        sync_uid: "u".into(),
        minute: Some(timestamp(0)),
        report_count: 1,
        attempt_count: 3,
        delivered_count: 2,
        ..DroppedReports::default()
    };
    reporting.store(Vec::new(), vec![dropped]).await.unwrap();
    assert_eq!((reporting.counts("u").await, reporting.rows().await), ((4, 3), 2));
    reporting.delivered("u").await.unwrap();
    assert_eq!((reporting.counts("u").await, reporting.rows().await), ((5, 4), 2));
    reporting.store.close().await;
    let reporting = Reporting::open(folder.path(), &key).await;
    assert_eq!(reporting.counts("u").await, (5, 4));
    reporting.store.close().await;
}

#[tokio::test]
async fn reports_whose_figures_are_not_written_are_not_forgotten() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SecretsKey::random());
    let mut reporting = Reporting::open(folder.path(), &key).await;
    reporting.delivered("u").await.unwrap();
    reporting.store.write_figures().await.unwrap();
    reporting.delivered("u").await.unwrap();
    let (forgotten, _) = reporting.store.forget_reports(Fate::Succeeded, i64::MIN, i64::MAX, 8).await.unwrap();
    assert_eq!(forgotten, 2, "an attempt and its ending, of the first");
    let (forgotten, _) = reporting.store.forget_reports(Fate::Succeeded, i64::MIN, i64::MAX, 8).await.unwrap();
    assert_eq!(forgotten, 0);
    reporting.store.write_figures().await.unwrap();
    let (forgotten, _) = reporting.store.forget_reports(Fate::Succeeded, i64::MIN, i64::MAX, 8).await.unwrap();
    assert_eq!(forgotten, 2);
    let hours = reporting.store.series("u", Resolution::Hour, 0..HOUR_MS).await.unwrap();
    assert_eq!(hours.iter().map(|(start_ms, counts)| (*start_ms, counts.delivered)).collect::<Vec<_>>(), [(0, 2)]);
    reporting.store.close().await;
}

#[tokio::test]
async fn figures_that_are_damaged_keep_nobody_waiting() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SecretsKey::random());
    let mut reporting = Reporting::open(folder.path(), &key).await;
    let failed = reporting.attempt("u", 500, false);
    reporting.store(vec![failed], Vec::new()).await.unwrap();
    reporting.delivered("u").await.unwrap();
    reporting.store.write_figures().await.unwrap();
    for damage in ["UPDATE sync_health SET content = x'ff'", "UPDATE rollups SET latencies = x'ff'"] {
        sqlx::query(damage).execute(&reporting.store.writer).await.unwrap();
    }
    reporting.delivered("u").await.unwrap();
    reporting.delivered("v").await.unwrap();
    reporting.store.write_figures().await.unwrap();
    assert_eq!((reporting.counts("u").await, reporting.counts("v").await), ((3, 2), (1, 1)));
    let healths = reporting.store.healths(&["u", "v"]).await.unwrap();
    assert!(healths.values().all(|health| health.state() == HealthState::Healthy) && healths.len() == 2);
    reporting.store.close().await;
}

#[tokio::test]
async fn a_store_that_was_full_goes_on_when_there_is_room() {
    let (folder, key) = (tempfile::tempdir().unwrap(), SecretsKey::random());
    let mut reporting = Reporting::open(folder.path(), &key).await;
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&reporting.store.writer).await.unwrap();
    let bound = |pages: i64| sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::query(bound(pages + 4)).execute(&reporting.store.writer).await.unwrap();
    let mut stored = 0;
    while reporting.delivered("u").await.is_ok() {
        stored += 1;
        assert!(stored < 10_000, "it is never full");
    }
    assert!(stored > 0);
    assert_eq!(reporting.counts("u").await, (stored, stored), "what was refused does not count");
    let _ = sqlx::query(bound(1 << 30)).execute(&reporting.store.writer).await;
    reporting.delivered("u").await.unwrap();
    reporting.store.write_figures().await.unwrap();
    assert_eq!(reporting.counts("u").await, (stored + 1, stored + 1));
    reporting.store.close().await;
}
