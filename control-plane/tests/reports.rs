//! Reports are stored once, and shown as they came.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sluice_proto::{
    delivery::v1::{
        Attempt, AttemptFilter, AttemptOutcome, EndingOutcome, GetSyncMetricsRequest, ListAttemptsRequest,
        MetricsWindow, SyncMetrics, WatchAttemptsRequest, WatchAttemptsResponse, get_sync_metrics_request::Period,
    },
    node::v1::{ReportBatch, ReportsOpen, report_attempts_request},
    sync::v1::{DeleteSyncRequest, Sync},
};
use tonic::{Code, Status, Streaming};

use self::support::{Plane, Reporter, START_MS, attempt, attempted, ended, ending, fields, reason, sync, timestamp};

const ALL: &str = "projects/default/syncs/-";

fn list(parent: &str, filter: AttemptFilter) -> ListAttemptsRequest {
    ListAttemptsRequest { parent: parent.into(), filter: Some(filter), page_size: 1_000, page_token: String::new() }
}

async fn attempts(plane: &Plane, parent: &str, filter: AttemptFilter) -> Vec<Attempt> {
    plane.deliveries().list_attempts(list(parent, filter)).await.unwrap().into_inner().attempts
}

async fn metrics(plane: &Plane, sync: &Sync, period: Period) -> SyncMetrics {
    let request = GetSyncMetricsRequest { name: sync.name.clone(), period: Some(period) };
    plane.deliveries().get_sync_metrics(request).await.unwrap().into_inner()
}

fn ten_minutes() -> Period {
    Period::Window(MetricsWindow::TenMinutes as i32)
}

async fn watch(plane: &Plane, parent: &str, filter: AttemptFilter) -> Streaming<WatchAttemptsResponse> {
    let request = WatchAttemptsRequest { parent: parent.into(), filter: Some(filter) };
    let mut stream = plane.deliveries().watch_attempts(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap(), WatchAttemptsResponse::default(), "the watch has begun");
    stream
}

#[tokio::test]
async fn rule_9_a_report_that_comes_again_is_stored_once() {
    let mut plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let reports: Vec<_> = (0..100)
        .flat_map(|n| {
            let delivered = attempt(&sync, n, i64::from(n), AttemptOutcome::Delivered);
            [attempted(delivered), ended(ending(&sync, n, i64::from(n), EndingOutcome::Delivered, 1))]
        })
        .collect();

    let (mut reporter, next) = plane.reporter("spool").await;
    assert_eq!(next, 0, "an unknown spool");
    assert_eq!(reporter.report(1, reports[..120].to_vec()).await, 120);
    assert_eq!(reporter.report(1, reports[..120].to_vec()).await, 120, "resent in the stream");
    assert_eq!(reporter.report(101, reports[100..150].to_vec()).await, 150, "overlapping");
    drop(reporter);

    plane.restart().await;
    let (mut reporter, next) = plane.reporter("spool").await;
    assert_eq!(next, 151);
    assert_eq!(reporter.report(1, reports.clone()).await, 200, "all of it again, and the rest");
    let (mut copy, _) = plane.reporter("restored from a copy").await;
    assert_eq!(copy.report(1, reports).await, 200, "the same reports under another spool");

    assert_eq!(attempts(&plane, &sync.name, AttemptFilter::default()).await.len(), 100);
    plane.hand.advance(Duration::from_secs(1));
    let metrics = metrics(&plane, &sync, ten_minutes()).await;
    assert_eq!((metrics.delivered_count, metrics.attempt_count), (100, 100));
}

#[tokio::test]
async fn batches_that_come_together_are_stored_once_each() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let reports: Vec<_> = (0..1_000)
        .flat_map(|n| {
            let delivered = attempt(&sync, n, i64::from(n), AttemptOutcome::Delivered);
            [attempted(delivered), ended(ending(&sync, n, i64::from(n), EndingOutcome::Delivered, 1))]
        })
        .collect();
    let (mut reporter, _) = plane.reporter("spool").await;
    // Of different sizes, one of them empty, one sent twice, one that overlaps.
    for (from, to) in [(0, 700), (700, 701), (701, 701), (701, 1_300), (701, 1_300), (1_299, 2_000)] {
        reporter.send(from as u64 + 1, reports[from..to].to_vec()).await;
    }
    while reporter.acked().await < 2_000 {}
    assert_eq!(attempts(&plane, &sync.name, AttemptFilter::default()).await.len(), 1_000);
    plane.hand.advance(Duration::from_secs(2));
    let metrics = metrics(&plane, &sync, ten_minutes()).await;
    assert_eq!((metrics.delivered_count, metrics.attempt_count), (1_000, 1_000));
    assert_eq!(metrics.delivered_first_attempt_count, 1_000);
}

#[tokio::test]
async fn a_gap_is_taken_and_the_position_moves_only_up() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let delivered = |n| vec![attempted(attempt(&sync, n, 0, AttemptOutcome::Delivered))];
    let (mut reporter, _) = plane.reporter("spool").await;
    assert_eq!(reporter.report(10, delivered(1)).await, 10);
    assert_eq!(reporter.report(50, delivered(2)).await, 50);
    assert_eq!(reporter.report(20, delivered(3)).await, 50);
    assert_eq!(plane.reporter("spool").await.1, 51);
    assert_eq!(attempts(&plane, ALL, AttemptFilter::default()).await.len(), 2);
}

#[tokio::test]
async fn the_same_attempt_of_another_instance_is_another_attempt() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let first = attempt(&sync, 1, 0, AttemptOutcome::RetryNow);
    let variants = [
        Attempt { instance: "a-2".into(), ..first.clone() },
        Attempt { round: 2, ..first.clone() },
        Attempt { attempt: 2, ..first.clone() },
        Attempt { error_message: "told again in other words".into(), ..first.clone() },
        first,
    ];
    let (mut reporter, _) = plane.reporter("spool").await;
    reporter.report(1, variants.map(attempted).into()).await;
    assert_eq!(attempts(&plane, &sync.name, AttemptFilter::default()).await.len(), 4);
}

#[tokio::test]
async fn report_streams_that_break_the_protocol_are_refused() {
    let plane = Plane::start().await;
    let open = |node: &str, spool_id: &str| {
        report_attempts_request::Message::Open(ReportsOpen {
            node: node.into(),
            spool_id: spool_id.into(),
            first_sequence: 1,
            next_sequence: 0,
        })
    };
    let batch = report_attempts_request::Message::Batch(ReportBatch::default());
    for first in [batch, open("n", "s"), open("nodes/n", ""), open("nodes/n", &"s".repeat(129))] {
        let status = Reporter::begin(plane.channel.clone(), first).await.next().await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "PROTOCOL_VIOLATION".into()));
    }
}

#[tokio::test]
async fn attempts_are_listed_the_newest_first_page_by_page() {
    let plane = Plane::start().await;
    let (a, b) = (plane.create("a", sync()).await, plane.create("b", sync()).await);
    let (mut reporter, _) = plane.reporter("spool").await;
    // Twenty at each instant, so that pages end amid equals.
    let reports = (0..100).map(|n| attempted(attempt(&a, n, i64::from(n / 20), AttemptOutcome::Delivered))).collect();
    reporter.report(1, reports).await;
    reporter.report(101, vec![attempted(attempt(&b, 1_000, 99, AttemptOutcome::Delivered))]).await;

    for (parent, expected) in [(a.name.as_str(), 100), (ALL, 101)] {
        let mut listed = Vec::new();
        let mut request = ListAttemptsRequest { page_size: 7, ..list(parent, AttemptFilter::default()) };
        loop {
            let page = plane.deliveries().list_attempts(request.clone()).await.unwrap().into_inner();
            assert!(page.attempts.len() <= 7);
            listed.extend(page.attempts);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        assert_eq!(listed.len(), expected);
        assert!(listed.is_sorted_by(|x, y| x.start_time.unwrap().nanos >= y.start_time.unwrap().nanos));
        listed.sort_by(|x, y| x.delivery.cmp(&y.delivery));
        listed.dedup();
        assert_eq!(listed.len(), expected, "none twice");
    }
}

#[tokio::test]
async fn a_token_belongs_to_its_parent_and_filter() {
    let plane = Plane::start().await;
    let sync = plane.create("a", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    reporter.report(1, (0..3).map(|n| attempted(attempt(&sync, n, 0, AttemptOutcome::Delivered))).collect()).await;
    let request = ListAttemptsRequest { page_size: 1, ..list(&sync.name, AttemptFilter::default()) };
    let page_token = plane.deliveries().list_attempts(request.clone()).await.unwrap().into_inner().next_page_token;
    let other_filter = AttemptFilter { outcomes: vec![1], ..Default::default() };
    for request in [
        ListAttemptsRequest { parent: ALL.into(), page_token: page_token.clone(), ..request.clone() },
        ListAttemptsRequest { filter: Some(other_filter), page_token: page_token.clone(), ..request.clone() },
        ListAttemptsRequest { page_token: "00".into(), ..request },
    ] {
        assert_eq!(fields(&plane.deliveries().list_attempts(request).await.unwrap_err()), ["page_token"]);
    }
}

#[tokio::test]
async fn attempts_are_found_by_sync_outcome_time_event_and_delivery() {
    let plane = Plane::start().await;
    let (a, b) = (plane.create("a", sync()).await, plane.create("b", sync()).await);
    let (mut reporter, _) = plane.reporter("spool").await;
    let reports = [
        attempt(&a, 1, 0, AttemptOutcome::Delivered),
        attempt(&a, 2, 1_000, AttemptOutcome::RetryNow),
        attempt(&a, 3, 2_000, AttemptOutcome::Expired),
        Attempt { event_id: format!("{:032x}", 0xe001), ..attempt(&b, 4, 3_000, AttemptOutcome::Delivered) },
    ];
    reporter.report(1, reports.clone().map(attempted).into()).await;
    let [first, second, third, fourth] = reports;

    let found = async |parent: &str, filter: AttemptFilter| attempts(&plane, parent, filter).await;
    let default = AttemptFilter::default;
    assert_eq!(found(&b.name, default()).await, std::slice::from_ref(&fourth));
    let outcomes = vec![AttemptOutcome::Expired as i32, AttemptOutcome::RetryNow as i32];
    assert_eq!(found(ALL, AttemptFilter { outcomes, ..default() }).await, [third.clone(), second.clone()]);
    let time = AttemptFilter {
        start_time_inclusive: Some(timestamp(START_MS + 1_000)),
        end_time_exclusive: Some(timestamp(START_MS + 2_000)),
        ..default()
    };
    assert_eq!(found(&a.name, time).await, std::slice::from_ref(&second));
    let event = AttemptFilter { event_id: first.event_id.clone(), ..default() };
    assert_eq!(found(ALL, event.clone()).await, [fourth.clone(), first.clone()], "of every sync that took it");
    assert_eq!(found(&b.name, event).await, [fourth]);
    let delivery_id = third.delivery.rsplit('/').next().unwrap().to_owned();
    assert_eq!(found(&a.name, AttemptFilter { delivery_id, ..default() }).await, [third]);
    let hostile = AttemptFilter { event_id: "' OR 1=1 --".into(), ..default() };
    assert_eq!(found(ALL, hostile).await, []);
}

#[tokio::test]
async fn a_new_sync_with_an_old_id_shows_none_of_the_old_attempts() {
    let plane = Plane::start().await;
    let old = plane.create("a", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    reporter.report(1, vec![attempted(attempt(&old, 1, 0, AttemptOutcome::Delivered))]).await;
    plane
        .syncs()
        .delete_sync(DeleteSyncRequest { name: old.name.clone(), etag: String::new(), ..Default::default() })
        .await
        .unwrap();
    let status = plane.deliveries().list_attempts(list(&old.name, AttemptFilter::default())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SYNC_NOT_FOUND".into()));
    plane.create("a", sync()).await;
    assert_eq!(attempts(&plane, &old.name, AttemptFilter::default()).await, []);
    assert_eq!(attempts(&plane, ALL, AttemptFilter::default()).await.len(), 1);
}

#[tokio::test]
async fn every_wrong_argument_is_told() {
    let plane = Plane::start().await;
    let filter = AttemptFilter {
        outcomes: vec![1, 0, 77],
        start_time_inclusive: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        end_time_exclusive: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        event_id: "x".repeat(500),
        delivery_id: "x".repeat(500),
    };
    let expected = [
        "filter.start_time_inclusive",
        "filter.end_time_exclusive",
        "filter.outcomes[1]",
        "filter.outcomes[2]",
        "filter.event_id",
        "filter.delivery_id",
        "parent",
    ];
    let status = plane.deliveries().list_attempts(list("nonsense", filter.clone())).await.unwrap_err();
    assert_eq!(fields(&status), expected);
    let request = WatchAttemptsRequest { parent: "nonsense".into(), filter: Some(filter) };
    assert_eq!(fields(&plane.deliveries().watch_attempts(request).await.unwrap_err()), expected);
}

#[tokio::test]
async fn watchers_see_what_is_stored_and_only_once() {
    let plane = Plane::start().await;
    let (a, b) = (plane.create("a", sync()).await, plane.create("b", sync()).await);
    let mut all = watch(&plane, ALL, AttemptFilter::default()).await;
    let outcomes = vec![AttemptOutcome::Expired as i32];
    let mut expired_of_a = watch(&plane, &a.name, AttemptFilter { outcomes, ..Default::default() }).await;

    let (mut reporter, _) = plane.reporter("spool").await;
    let first = [attempt(&a, 1, 0, AttemptOutcome::Delivered), attempt(&b, 2, 0, AttemptOutcome::Expired)];
    let second = [attempt(&a, 3, 0, AttemptOutcome::Expired)];
    reporter.report(1, first.clone().map(attempted).into()).await;
    let (mut again, _) = plane.reporter("the same under another spool").await;
    let both: Vec<_> = first.iter().chain(&second).cloned().map(attempted).collect();
    again.report(1, both).await;

    assert_eq!(all.message().await.unwrap().unwrap().attempts, first);
    assert_eq!(all.message().await.unwrap().unwrap().attempts, second);
    assert_eq!(expired_of_a.message().await.unwrap().unwrap().attempts, second);
}

#[tokio::test]
async fn a_watcher_that_cannot_follow_is_told_how_many_it_missed() {
    let plane = Plane::start().await;
    let sync = plane.create("a", sync()).await;
    let mut stream = watch(&plane, ALL, AttemptFilter::default()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    // Large enough that windows and queues fill up long before the end.
    let count: u32 = 4_000;
    for first in (0..count).step_by(10) {
        let reports = (first..first + 10).map(|n| {
            let failed = attempt(&sync, n, 0, AttemptOutcome::RetryNow);
            attempted(Attempt { error_message: "x".repeat(4_000), ..failed })
        });
        reporter.report(u64::from(first) + 1, reports.collect()).await;
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < i64::from(count) {
        let answer = stream.message().await.unwrap().unwrap();
        seen += i64::try_from(answer.attempts.len()).unwrap();
        missed += answer.missed_count;
    }
    assert_eq!(seen + missed, i64::from(count));
    assert!(missed > 0);
}

#[tokio::test]
async fn watches_end_when_the_control_plane_stops() {
    let mut plane = Plane::start().await;
    let mut stream = watch(&plane, ALL, AttemptFilter::default()).await;
    plane.stop().await;
    let status: Status = stream.message().await.unwrap_err();
    assert_eq!(reason(&status), (Code::Unavailable, "STOPPING".into()));
}
