//! A sync's figures are exact.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sluice_proto::{
    delivery::v1::{
        Attempt, AttemptOutcome, EndingOutcome, GetSyncMetricsRequest, Interval, ListAttemptsRequest, MetricsWindow,
        SyncMetrics, get_sync_metrics_request::Period,
    },
    node::v1::{DroppedReports, NodeHeartbeat, Report, SyncLoad, report, sync_catalog_request},
    sync::v1::Sync,
};
use tonic::Code;

use self::support::{
    Held, PARENT, Plane, START_MS, attempt, attempted, ended, ending, fields, name, reason, sync, timestamp,
};

async fn metrics(plane: &Plane, sync: &Sync, period: Period) -> SyncMetrics {
    let request = GetSyncMetricsRequest { name: sync.name.clone(), period: Some(period) };
    plane.deliveries().get_sync_metrics(request).await.unwrap().into_inner()
}

fn ten_minutes() -> Period {
    Period::Window(MetricsWindow::TenMinutes as i32)
}

#[tokio::test]
async fn metrics_count_exactly() {
    let plane = Plane::start().await;
    let (orders, other) = (plane.create("orders", sync()).await, plane.create("other", sync()).await);
    let (mut reporter, _) = plane.reporter("spool").await;
    let mut reports = Vec::new();
    // 100 delivered after 1 … 100 ms, the last 20 of them by a second request.
    for n in 1..=100 {
        let at_ms = i64::from(n);
        let requests = if n > 80 { 2 } else { 1 };
        for number in 1..=requests {
            let outcome = if number == requests { AttemptOutcome::Delivered } else { AttemptOutcome::RetryNow };
            reports.push(attempted(Attempt { attempt: number, ..attempt(&orders, n, at_ms, outcome) }));
        }
        reports.push(ended(ending(&orders, n, at_ms, EndingOutcome::Delivered, requests)));
    }
    // One expired, two that could not be rendered: no requests of theirs.
    reports.push(attempted(attempt(&orders, 200, 5, AttemptOutcome::Expired)));
    reports.push(ended(ending(&orders, 200, 5, EndingOutcome::Expired, 1)));
    for n in 300..302 {
        reports.push(attempted(attempt(&orders, n, 5, AttemptOutcome::Discarded)));
        reports.push(ended(ending(&orders, n, 5, EndingOutcome::Discarded, 1)));
    }
    reports.push(attempted(attempt(&other, 400, 5, AttemptOutcome::Delivered)));
    reports.push(ended(ending(&other, 400, 5, EndingOutcome::Delivered, 1)));
    reporter.report(1, reports).await;

    plane.hand.advance(Duration::from_millis(100));
    let now_ms = START_MS + 100;
    let counted = metrics(&plane, &orders, ten_minutes()).await;
    let expected = SyncMetrics {
        name: name("orders"),
        interval: Some(Interval {
            start_time_inclusive: Some(timestamp(now_ms + 1 - 600_000)),
            end_time_exclusive: Some(timestamp(now_ms + 1)),
        }),
        delivered_count: 100,
        not_delivered_count: 3,
        delivery_rate: 100.0 / 103.0,
        latency_p50_seconds: 0.050,
        latency_p95_seconds: 0.095,
        latency_p99_seconds: 0.099,
        delivered_first_attempt_count: 80,
        delivered_after_retry_count: 20,
        expired_count: 1,
        discarded_count: 2,
        attempt_count: 121,
        pending_count: 0,
    };
    assert_eq!(counted, expected);

    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS + 10)),
        end_time_exclusive: Some(timestamp(START_MS + 20)),
    };
    let counted = metrics(&plane, &orders, Period::Interval(interval)).await;
    assert_eq!((counted.delivered_count, counted.attempt_count), (10, 10), "10 to 19 ms");
    assert_eq!((counted.latency_p50_seconds, counted.latency_p99_seconds), (0.014, 0.019));

    plane.hand.advance(Duration::from_secs(600));
    let counted = metrics(&plane, &orders, ten_minutes()).await;
    assert_eq!((counted.delivered_count, counted.delivery_rate, counted.latency_p95_seconds), (0, 1.0, 0.0));
    let window = Period::Window(MetricsWindow::OneHour as i32);
    assert_eq!(metrics(&plane, &orders, window).await.delivered_count, 100);
}

#[tokio::test]
async fn reports_that_a_node_dropped_are_counted_by_the_minute_and_once() {
    let plane = Plane::start().await;
    let orders = plane.create("orders", sync()).await;
    let dropped = |minute: i64| Report {
        report: Some(report::Report::Dropped(DroppedReports {
            sync_uid: orders.uid.clone(),
            minute: Some(timestamp(START_MS + minute * 60_000)),
            attempt_count: 100,
            delivered_count: 40,
            expired_count: 3,
            discarded_count: 2,
            report_count: 145,
        })),
    };
    let delivered = [
        attempted(attempt(&orders, 1, 30, AttemptOutcome::Delivered)),
        ended(ending(&orders, 1, 30, EndingOutcome::Delivered, 1)),
    ];
    let reports = [vec![dropped(0), dropped(0), dropped(1)], delivered.into()].concat();
    let (mut reporter, _) = plane.reporter("spool").await;
    reporter.report(1, reports[..2].to_vec()).await;
    reporter.report(1, reports.clone()).await;
    reporter.report(1, reports).await;

    let interval = |from_ms: i64, to_ms: i64| {
        Period::Interval(Interval {
            start_time_inclusive: Some(timestamp(START_MS + from_ms)),
            end_time_exclusive: Some(timestamp(START_MS + to_ms)),
        })
    };
    let counted = metrics(&plane, &orders, interval(0, 120_000)).await;
    assert_eq!((counted.attempt_count, counted.delivered_count), (301, 121));
    assert_eq!((counted.expired_count, counted.discarded_count, counted.not_delivered_count), (9, 6, 15));
    assert_eq!((counted.delivered_first_attempt_count, counted.delivered_after_retry_count), (1, 0), "as far as known");
    assert!((counted.latency_p99_seconds - 0.03).abs() < 1e-9, "of those whose reports came");
    let counted = metrics(&plane, &orders, interval(60_000, 120_000)).await;
    assert_eq!((counted.attempt_count, counted.delivered_count), (100, 40), "a minute counts where it begins");
}

#[tokio::test]
async fn pending_deliveries_are_summed_over_connected_nodes() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let mut nodes = Vec::new();
    for (node, pending_count) in [("a", 3), ("b", 4)] {
        let mut node = plane.node(node, &Held::default()).await;
        node.welcome().await;
        node.settle().await;
        let loads = vec![SyncLoad { sync_uid: sync.uid.clone(), pending_count }];
        let beat = NodeHeartbeat { revision: 1, catalog_hash: node.held.hash(), loads, ..Default::default() };
        node.send(sync_catalog_request::Message::Heartbeat(beat)).await;
        nodes.push(node);
    }
    let expect = async |expected| {
        while metrics(&plane, &sync, ten_minutes()).await.pending_count != expected {
            tokio::task::yield_now().await;
        }
    };
    expect(7).await;
    nodes.pop();
    expect(3).await;
}

#[tokio::test]
async fn metrics_need_a_period_and_a_sync() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let instant = |ms| Some(timestamp(ms));
    let backwards = Interval { start_time_inclusive: instant(2), end_time_exclusive: instant(2) };
    for (period, field) in [
        (None, "period"),
        (Some(Period::Window(0)), "window"),
        (Some(Period::Window(99)), "window"),
        (Some(Period::Interval(Interval::default())), "period"),
        (Some(Period::Interval(backwards)), "interval"),
    ] {
        let request = GetSyncMetricsRequest { name: name("a"), period };
        assert_eq!(fields(&plane.deliveries().get_sync_metrics(request).await.unwrap_err()), [field]);
    }
    let request = GetSyncMetricsRequest { name: name("gone"), period: Some(ten_minutes()) };
    let status = plane.deliveries().get_sync_metrics(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SYNC_NOT_FOUND".into()));
    let request = GetSyncMetricsRequest { name: PARENT.into(), period: Some(ten_minutes()) };
    assert_eq!(fields(&plane.deliveries().get_sync_metrics(request).await.unwrap_err()), ["name"]);
}

#[tokio::test]
async fn reports_are_forgotten_after_two_weeks() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let day_ms = 24 * 60 * 60 * 1_000;
    let reports = (0..1_500).flat_map(|n| {
        let at_ms = if n < 1_200 { 0 } else { day_ms };
        let delivered = attempt(&sync, n, at_ms, AttemptOutcome::Delivered);
        [attempted(delivered), ended(ending(&sync, n, at_ms, EndingOutcome::Delivered, 1))]
    });
    reporter.report(1, reports.collect()).await;

    plane.hand.advance_to_next("retention").await;
    // The next waiting shows that the step before is done.
    plane.hand.advance_to(START_MS + 14 * day_ms + 1);
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS)),
        end_time_exclusive: Some(timestamp(START_MS + 2 * day_ms)),
    };
    let counted = metrics(&plane, &sync, Period::Interval(interval)).await;
    assert_eq!((counted.delivered_count, counted.attempt_count), (300, 300));
    let request = ListAttemptsRequest { parent: format!("{PARENT}/syncs/-"), page_size: 1_000, ..Default::default() };
    assert_eq!(plane.deliveries().list_attempts(request).await.unwrap().into_inner().attempts.len(), 300);
    assert_eq!(plane.reporter("spool").await.1, 3_001, "positions are kept");
}
