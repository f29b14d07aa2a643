//! A sync's figures are exact.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sluice_proto::{
    audit::v1::{ListAuditEntriesRequest, audit_service_client::AuditServiceClient},
    delivery::v1::{
        Attempt, AttemptError, AttemptFilter, AttemptOutcome, EndingOutcome, GetSyncMetricsRequest,
        GetSyncTimeSeriesRequest, Interval, ListAttemptsRequest, MetricsWindow, SyncMetrics, SyncTimeSeries,
        TimeSeriesPoint, TimeSeriesStep, get_sync_metrics_request::Period, get_sync_time_series_request,
    },
    node::v1::{DroppedReports, NodeHeartbeat, Report, SyncLoad, report, sync_catalog_request},
    sync::v1::{CreateSyncRequest, EnableSyncRequest, HealthState, ListSyncsRequest, Sync, SyncHealth},
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
        waiting_since_time: None,
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
        ending: None,
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
        let loads = vec![SyncLoad { sync_uid: sync.uid.clone(), pending_count, ..Default::default() }];
        let beat = NodeHeartbeat {
            epoch: node.held.epoch.clone(),
            revision: 1,
            catalog_hash: node.held.hash(),
            loads,
            ..Default::default()
        };
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
async fn since_when_the_oldest_delivery_waits_is_told() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    assert_eq!(metrics(&plane, &sync, ten_minutes()).await.waiting_since_time, None);
    let mut node = plane.node("a", &Held::default()).await;
    node.welcome().await;
    node.settle().await;
    let oldest_wait = Some(prost_types::Duration { seconds: 90, nanos: 0 });
    let beat = NodeHeartbeat {
        epoch: node.held.epoch.clone(),
        revision: 1,
        catalog_hash: node.held.hash(),
        loads: vec![SyncLoad { sync_uid: sync.uid.clone(), pending_count: 1, oldest_wait }],
        ..Default::default()
    };
    node.send(sync_catalog_request::Message::Heartbeat(beat)).await;
    let since = loop {
        match metrics(&plane, &sync, ten_minutes()).await.waiting_since_time {
            Some(since) => break since,
            None => tokio::task::yield_now().await,
        }
    };
    assert_eq!(since, timestamp(START_MS - 90_000));
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

/// What is listed and counted of the first two days.
async fn left(plane: &Plane, sync: &Sync) -> (usize, i64) {
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS)),
        end_time_exclusive: Some(timestamp(START_MS + 2 * DAY_MS)),
    };
    let counted = metrics(plane, sync, Period::Interval(interval)).await.attempt_count;
    let request = ListAttemptsRequest { parent: format!("{PARENT}/syncs/-"), page_size: 1_000, ..Default::default() };
    (plane.deliveries().list_attempts(request).await.unwrap().into_inner().attempts.len(), counted)
}

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn successes_are_forgotten_after_a_week_and_failures_after_a_month_and_both_stay_counted() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let reports = (0..1_500).flat_map(|n| {
        let at_ms = if n < 1_200 { 7 } else { DAY_MS };
        let (outcome, end) = match n % 10 {
            0 => (AttemptOutcome::Expired, EndingOutcome::Expired),
            _ => (AttemptOutcome::Delivered, EndingOutcome::Delivered),
        };
        [attempted(attempt(&sync, n, at_ms, outcome)), ended(ending(&sync, n, at_ms, end, 1))]
    });
    reporter.report(1, reports.collect()).await;
    assert_eq!(left(&plane, &sync).await, (1_000, 1_500), "a page is full");

    plane.hand.advance_to_next("retention").await;
    // The next waiting shows that the step before is done.
    for (day, expected) in [(7, 120 + 300), (8, 150), (30, 30), (31, 0)] {
        plane.hand.advance_to(START_MS + day * DAY_MS + 8);
        plane.hand.advance_to_next("retention").await;
        plane.hand.advance_to_next("retention").await;
        assert_eq!(left(&plane, &sync).await, (expected, 1_500), "on day {day}");
    }
    assert_eq!(plane.reporter("spool").await.1, 3_001, "positions are kept");
    plane.hand.advance_to(START_MS + 92 * DAY_MS);
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    assert_eq!(left(&plane, &sync).await, (0, 0), "hours are kept for 90 days");
}

#[tokio::test]
async fn successes_that_come_late_are_forgotten_like_the_others() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let delivered = |n, at_ms| vec![attempted(attempt(&sync, n, at_ms, AttemptOutcome::Delivered))];
    reporter.report(1, delivered(1, 3 * DAY_MS)).await;
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to(START_MS + 11 * DAY_MS);
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    assert_eq!(left(&plane, &sync).await.0, 0, "the first is forgotten");

    // Of a node that was away: from before what has been forgotten.
    reporter.report(2, delivered(2, DAY_MS)).await;
    assert_eq!(left(&plane, &sync).await.0, 1);
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    assert_eq!(left(&plane, &sync).await.0, 0);
}

#[tokio::test]
async fn a_store_that_is_too_large_forgets_the_oldest_successes_first() {
    let plane = Plane::start_with(|config| config.report_retention.max_bytes = 2 << 20).await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let mut next = 1;
    for batch in 0..6_u32 {
        let reports: Vec<_> = (batch * 1_000..(batch + 1) * 1_000)
            .flat_map(|n| {
                let (outcome, end) = match n % 100 {
                    0 => (AttemptOutcome::Expired, EndingOutcome::Expired),
                    _ => (AttemptOutcome::Delivered, EndingOutcome::Delivered),
                };
                let at_ms = i64::from(n);
                // Nothing that could be compressed to less than half.
                let mixed =
                    (0..40_u64).map(|k| (u64::from(n) * 40 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
                let error_message = mixed.map(|word| format!("{word:016x}")).collect();
                let padded = Attempt { error_message, ..attempt(&sync, n, at_ms, outcome) };
                [attempted(padded), ended(ending(&sync, n, at_ms, end, 1))]
            })
            .collect();
        let count = reports.len() as u64;
        reporter.report(next, reports).await;
        next += count;
    }
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    plane.hand.advance_to_next("retention").await;
    let filter = |outcome: AttemptOutcome| AttemptFilter { outcomes: vec![outcome.into()], ..Default::default() };
    let list = async |outcome, page_size| {
        let parent = format!("{PARENT}/syncs/-");
        let request = ListAttemptsRequest { parent, page_size, filter: Some(filter(outcome)), ..Default::default() };
        plane.deliveries().list_attempts(request).await.unwrap().into_inner().attempts
    };
    assert_eq!(list(AttemptOutcome::Expired, 1_000).await.len(), 60, "no failure is gone");
    let newest = list(AttemptOutcome::Delivered, 1).await;
    assert_eq!(newest[0].start_time, Some(timestamp(START_MS + 5_999)), "the newest successes stay");
    let early =
        AttemptFilter { end_time_exclusive: Some(timestamp(START_MS + 1_000)), ..filter(AttemptOutcome::Delivered) };
    let parent = format!("{PARENT}/syncs/-");
    let request = ListAttemptsRequest { parent, filter: Some(early), ..Default::default() };
    assert!(plane.deliveries().list_attempts(request).await.unwrap().into_inner().attempts.is_empty());
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS + 1)),
        end_time_exclusive: Some(timestamp(START_MS + 60_000)),
    };
    let counted = metrics(&plane, &sync, Period::Interval(interval)).await;
    assert_eq!(counted.attempt_count, 6_000);
    let counted = counted.interval.unwrap().start_time_inclusive;
    assert_eq!(counted, Some(timestamp(START_MS)), "the interval that is counted is told");
}

#[tokio::test]
async fn percentiles_are_within_two_percent_over_many_minutes() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    // Latencies grow with the square: 1 ms to two hours and more, over as many minutes.
    let latencies: Vec<i64> = (1..=2_700).map(|n| n * n).collect();
    let reports = latencies.iter().zip(1..).map(|(ms, n)| ended(ending(&sync, n, *ms, EndingOutcome::Delivered, 1)));
    reporter.report(1, reports.collect()).await;
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS)),
        end_time_exclusive: Some(timestamp(START_MS + 3 * 3_600_000 + 1)),
    };
    let counted = metrics(&plane, &sync, Period::Interval(interval)).await;
    assert_eq!(counted.delivered_count, 2_700);
    for (percent, found) in
        [(50, counted.latency_p50_seconds), (95, counted.latency_p95_seconds), (99, counted.latency_p99_seconds)]
    {
        let exact = latencies[(latencies.len() * percent).div_ceil(100) - 1] as f64 / 1_000.0;
        assert!((found - exact).abs() <= exact * 0.02, "p{percent}: {found} instead of {exact}");
    }
}

async fn series(plane: &Plane, sync: &Sync, from_ms: i64, to_ms: i64, step: TimeSeriesStep) -> SyncTimeSeries {
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS + from_ms)),
        end_time_exclusive: Some(timestamp(START_MS + to_ms)),
    };
    let request = GetSyncTimeSeriesRequest {
        name: sync.name.clone(),
        period: Some(get_sync_time_series_request::Period::Interval(interval)),
        step: step.into(),
    };
    plane.deliveries().get_sync_time_series(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_time_series_has_every_step_and_adds_up() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let mut reports = Vec::new();
    for n in 1..=100 {
        let at_ms = i64::from(n) * 61_000;
        let (outcome, end) = match n % 4 {
            0 => (AttemptOutcome::Expired, EndingOutcome::Expired),
            _ => (AttemptOutcome::Delivered, EndingOutcome::Delivered),
        };
        reports.push(attempted(attempt(&sync, n, at_ms, outcome)));
        reports.push(ended(ending(&sync, n, at_ms, end, 1)));
    }
    reporter.report(1, reports.clone()).await;
    let (mut again, _) = plane.reporter("another spool").await;
    again.report(1, reports).await;

    let minutes = series(&plane, &sync, 5, 2 * 3_600_000 - 7, TimeSeriesStep::Unspecified).await;
    assert_eq!((minutes.step(), minutes.points.len()), (TimeSeriesStep::Minute, 120));
    let hours = series(&plane, &sync, 5, 2 * 3_600_000 - 7, TimeSeriesStep::Hour).await;
    assert_eq!(hours.points.len(), 2);
    for series in [&minutes, &hours] {
        let sum = |count: fn(&TimeSeriesPoint) -> i64| series.points.iter().map(count).sum::<i64>();
        assert_eq!((sum(|p| p.delivered_count), sum(|p| p.expired_count)), (75, 25), "each is counted once");
        assert_eq!((sum(|p| p.attempt_count), sum(|p| p.delivered_first_attempt_count)), (100, 75));
    }
    let starts: Vec<_> = minutes.points.iter().map(|point| point.start_time.unwrap().seconds).collect();
    assert!(starts.windows(2).all(|two| two[1] - two[0] == 60) && starts[0] == START_MS / 1_000);
    assert_eq!(minutes.points[0].attempt_count, 0, "an empty step is told, too");
    assert_eq!((minutes.points[1].attempt_count, minutes.points[1].latency_p50_seconds), (1, 61.184));
    let whole = series(&plane, &sync, -3 * DAY_MS, 2 * DAY_MS, TimeSeriesStep::Unspecified).await;
    assert_eq!((whole.step(), whole.points.len()), (TimeSeriesStep::Hour, 5 * 24));
}

#[tokio::test]
async fn a_time_series_of_too_many_steps_is_refused() {
    let plane = Plane::start().await;
    let sync = plane.create("orders", sync()).await;
    let interval = Interval {
        start_time_inclusive: Some(timestamp(START_MS)),
        end_time_exclusive: Some(timestamp(START_MS + 3 * DAY_MS)),
    };
    let request = |step: i32| GetSyncTimeSeriesRequest {
        name: sync.name.clone(),
        period: Some(get_sync_time_series_request::Period::Interval(interval)),
        step,
    };
    let refused = async |step| fields(&plane.deliveries().get_sync_time_series(request(step)).await.unwrap_err());
    assert_eq!(refused(TimeSeriesStep::Minute as i32).await, ["period"]);
    assert_eq!(refused(99).await, ["step"]);
}

#[tokio::test]
async fn a_sync_says_since_when_it_fails_and_why() {
    let plane = Plane::start().await;
    let orders = plane.create("orders", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let failed = |n: u32, at_ms: i64, status: i32| {
        let (error, error_message) = (AttemptError::Status.into(), format!("the endpoint answered {status}"));
        let failed = attempt(&orders, n, at_ms, AttemptOutcome::RetryNow);
        attempted(Attempt { error, http_status: status, error_message, ..failed })
    };
    assert_eq!(plane.get("orders").await.unwrap().health.unwrap(), SyncHealth::default());
    let delivered = |n, at_ms| attempted(attempt(&orders, n, at_ms, AttemptOutcome::Delivered));
    reporter.report(1, vec![delivered(1, 10), failed(2, 20, 500), failed(3, 30, 503), failed(4, 40, 500)]).await;
    let read = plane.get("orders").await.unwrap();
    let health = read.health.unwrap();
    assert_eq!(health.state(), HealthState::Failing);
    assert_eq!(health.failing_since, Some(timestamp(START_MS + 20)));
    assert_eq!(health.last_success_time, Some(timestamp(START_MS + 10)));
    let reasons: Vec<_> = health.reasons.iter().map(|one| (&*one.reason, one.count, &*one.message)).collect();
    assert_eq!(reasons, [("HTTP 500", 2, "the endpoint answered 500"), ("HTTP 503", 1, "the endpoint answered 503")]);
    assert_eq!((read.etag, read.revision), (orders.etag.clone(), orders.revision), "health moves neither");

    reporter.report(5, vec![delivered(5, 50)]).await;
    let request = ListSyncsRequest { parent: PARENT.to_owned(), ..Default::default() };
    let listed = plane.syncs().list_syncs(request).await.unwrap().into_inner().syncs.remove(0).health.unwrap();
    assert_eq!((listed.state(), listed.failing_since, listed.reasons.len()), (HealthState::Healthy, None, 0));
}

#[tokio::test]
async fn a_sync_that_does_nothing_but_fail_is_disabled_with_the_reason() {
    let plane = Plane::start().await;
    let hour = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
    let orders = plane.create("orders", Sync { disable_after_failing: hour, ..sync() }).await;
    let other = plane.create("other", sync()).await;
    let (mut reporter, _) = plane.reporter("spool").await;
    let failed = |sync: &Sync, n: u32, at_ms: i64| {
        let error = AttemptError::Timeout.into();
        attempted(Attempt { error, ..attempt(sync, n, at_ms, AttemptOutcome::RetryNextRound) })
    };
    reporter.report(1, vec![failed(&orders, 1, 0), failed(&orders, 2, 3_599_999), failed(&other, 3, 0)]).await;
    let look = async || {
        plane.hand.advance_to_next("auto-disable").await;
        // The next waiting shows that the look is done.
        plane.hand.next("auto-disable").await;
    };
    look().await;
    assert!(plane.get("orders").await.unwrap().enabled, "not for the whole time yet");
    reporter.report(4, vec![failed(&orders, 4, 3_600_000), failed(&other, 5, 3_600_000)]).await;
    look().await;
    let disabled = plane.get("orders").await.unwrap();
    assert!(!disabled.enabled);
    assert!(
        disabled.disable_reason.starts_with("nothing but failures since 2026-01-01T00:00:00Z"),
        "{}",
        disabled.disable_reason
    );
    assert!(disabled.disable_reason.ends_with(": TIMEOUT"), "{}", disabled.disable_reason);
    assert!(plane.get("other").await.unwrap().enabled, "it does not ask for it");

    let request = ListAuditEntriesRequest { parent: PARENT.to_owned(), page_size: 1, ..Default::default() };
    let mut audit = AuditServiceClient::new(plane.channel.clone());
    let entry = audit.list_audit_entries(request).await.unwrap().into_inner().entries.remove(0);
    assert_eq!((&*entry.actor, &*entry.resource), ("system", &*name("orders")));
    let enable = EnableSyncRequest { name: name("orders"), ..Default::default() };
    let enabled = plane.syncs().enable_sync(enable).await.unwrap().into_inner();
    assert!(enabled.enabled && enabled.disable_reason.is_empty());
}

#[tokio::test]
async fn how_long_a_sync_may_fail_has_bounds() {
    let plane = Plane::start().await;
    for seconds in [0, 3_599, 30 * 86_400 + 1, -1] {
        let after = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = CreateSyncRequest {
            parent: PARENT.to_owned(),
            sync: Some(Sync { disable_after_failing: after, ..sync() }),
            ..Default::default()
        };
        let refused = plane.syncs().create_sync(request).await.unwrap_err();
        assert_eq!(fields(&refused), ["disable_after_failing"], "{seconds}");
    }
}
