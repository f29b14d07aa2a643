//! `GetSyncMetrics` and `GetSyncTimeSeries`: a sync's figures.

use sluice_pipeline::violation::reason;
use sluice_proto::delivery::v1::{
    GetSyncMetricsRequest, GetSyncTimeSeriesRequest, Interval, MetricsWindow, SyncMetrics, SyncTimeSeries,
    TimeSeriesPoint, TimeSeriesStep, get_sync_metrics_request::Period,
    get_sync_time_series_request::Period as SeriesPeriod,
};

use super::{Context, deliveries::note, sync_name};
use crate::{
    error::Error,
    figures::rollup::{Counts, Resolution},
    time::{bound, timestamp},
};

/// Points of a time series.
const MAX_POINTS: i64 = 2_500;
const MINUTE_MS: i64 = 60_000;

/// Counts what became of a sync's deliveries.
pub(super) async fn metrics(context: &Context, request: &GetSyncMetricsRequest) -> Result<SyncMetrics, Error> {
    let name = sync_name(&request.name)?;
    let (start_ms, end_ms) = interval(request.period.as_ref(), context.clock.now_ms())?;
    let sync = context.sync(&name).await?;
    let minutes_from_ms = minutes_from(context.clock.now_ms());
    let (counts, counted) = context.store.metrics(&sync.uid, start_ms, end_ms, minutes_from_ms).await?;
    let not_delivered = counts.expired + counts.discarded;
    let ended = counts.delivered + not_delivered;
    let [latency_p50_seconds, latency_p95_seconds, latency_p99_seconds] = seconds(&counts);
    Ok(SyncMetrics {
        name: name.to_string(),
        interval: Some(Interval {
            start_time_inclusive: Some(timestamp(counted.start)),
            end_time_exclusive: Some(timestamp(counted.end)),
        }),
        delivered_count: counts.delivered,
        not_delivered_count: not_delivered,
        delivery_rate: if ended == 0 { 1.0 } else { counts.delivered as f64 / ended as f64 },
        latency_p50_seconds,
        latency_p95_seconds,
        latency_p99_seconds,
        delivered_first_attempt_count: counts.delivered_first_attempt,
        delivered_after_retry_count: counts.delivered_after_retry,
        expired_count: counts.expired,
        discarded_count: counts.discarded,
        attempt_count: counts.attempts,
        pending_count: context.nodes.pending_count(&sync.uid),
        waiting_since_time: context.nodes.waiting_since_ms(&sync.uid).map(timestamp),
    })
}

/// The same minute by minute or hour by hour.
pub(super) async fn time_series(
    context: &Context,
    request: &GetSyncTimeSeriesRequest,
) -> Result<SyncTimeSeries, Error> {
    let name = sync_name(&request.name)?;
    let now_ms = context.clock.now_ms();
    let period = request.period.as_ref().map(|period| match period {
        SeriesPeriod::Window(window) => Period::Window(*window),
        SeriesPeriod::Interval(interval) => Period::Interval(*interval),
    });
    let (start_ms, end_ms) = interval(period.as_ref(), now_ms)?;
    let (step, resolution) = match TimeSeriesStep::try_from(request.step) {
        Ok(TimeSeriesStep::Minute) => (TimeSeriesStep::Minute, Resolution::Minute),
        Ok(TimeSeriesStep::Hour) => (TimeSeriesStep::Hour, Resolution::Hour),
        Ok(TimeSeriesStep::Unspecified) if start_ms >= minutes_from(now_ms) => {
            (TimeSeriesStep::Minute, Resolution::Minute)
        }
        Ok(TimeSeriesStep::Unspecified) => (TimeSeriesStep::Hour, Resolution::Hour),
        Err(_) => {
            let description = "not a step: TIME_SERIES_STEP_MINUTE and TIME_SERIES_STEP_HOUR are taken";
            return Err(Error::invalid("step", reason::INVALID_VALUE, description));
        }
    };
    let whole = resolution.floor(start_ms)..resolution.ceil(end_ms);
    if (whole.end - whole.start) / resolution.ms() > MAX_POINTS {
        let description = format!("more than {MAX_POINTS} steps: ask for a shorter period, or for hours");
        return Err(Error::invalid("period", reason::TOO_MANY, description));
    }
    let sync = context.sync(&name).await?;
    let mut known = context.store.series(&sync.uid, resolution, whole.clone()).await?.into_iter().peekable();
    let mut points = Vec::new();
    let mut start_ms = whole.start;
    while start_ms < whole.end {
        let counts = known.next_if(|(known_ms, _)| *known_ms == start_ms).map(|(_, counts)| counts);
        points.push(point(start_ms, &counts.unwrap_or_default()));
        start_ms += resolution.ms();
    }
    Ok(SyncTimeSeries { name: name.to_string(), step: step.into(), points })
}

fn point(start_ms: i64, counts: &Counts) -> TimeSeriesPoint {
    let [latency_p50_seconds, latency_p95_seconds, latency_p99_seconds] = seconds(counts);
    TimeSeriesPoint {
        start_time: Some(timestamp(start_ms)),
        delivered_count: counts.delivered,
        delivered_first_attempt_count: counts.delivered_first_attempt,
        delivered_after_retry_count: counts.delivered_after_retry,
        expired_count: counts.expired,
        discarded_count: counts.discarded,
        attempt_count: counts.attempts,
        latency_p50_seconds,
        latency_p95_seconds,
        latency_p99_seconds,
    }
}

/// Median, 95th and 99th percentile of the latencies.
fn seconds(counts: &Counts) -> [f64; 3] {
    counts.latencies.percentiles([50, 95, 99]).map(|ms| ms as f64 / 1_000.0)
}

/// From when on there are surely minutes: a whole hour, four hours ago at the latest.
pub(crate) fn minutes_from(now_ms: i64) -> i64 {
    Resolution::Hour.floor(now_ms.saturating_sub(4 * Resolution::Hour.ms()))
}

/// From when up to when, in milliseconds since the epoch. What ends in this very millisecond is within a window.
fn interval(period: Option<&Period>, now_ms: i64) -> Result<(i64, i64), Error> {
    let period_is_required = |description| Err(Error::invalid("period", reason::REQUIRED, description));
    match period {
        Some(Period::Window(window)) => {
            let minutes = match MetricsWindow::try_from(*window) {
                Ok(MetricsWindow::TenMinutes) => 10,
                Ok(MetricsWindow::OneHour) => 60,
                Ok(MetricsWindow::FourHours) => 4 * 60,
                Ok(MetricsWindow::OneDay) => 24 * 60,
                Ok(MetricsWindow::OneWeek) => 7 * 24 * 60,
                Ok(MetricsWindow::TwoWeeks) => 14 * 24 * 60,
                Ok(MetricsWindow::Unspecified) | Err(_) => {
                    let description = "not a window: 10 minutes, 1 hour, 4 hours, 1 day, 1 week or 2 weeks are taken";
                    return Err(Error::invalid("window", reason::INVALID_VALUE, description));
                }
            };
            let end_ms = now_ms.saturating_add(1);
            Ok((end_ms.saturating_sub(minutes * MINUTE_MS), end_ms))
        }
        Some(Period::Interval(Interval { start_time_inclusive: Some(start), end_time_exclusive: Some(end) })) => {
            let mut violations = Vec::new();
            let start_ms = note(bound("interval.start_time_inclusive", start), &mut violations);
            let end_ms = note(bound("interval.end_time_exclusive", end), &mut violations);
            match (start_ms, end_ms) {
                (Some(start_ms), Some(end_ms)) if start_ms < end_ms => Ok((start_ms, end_ms)),
                (Some(_), Some(_)) => {
                    Err(Error::invalid("interval", reason::NOT_ASCENDING, "it ends before it begins, or at once"))
                }
                _ => Err(Error::Invalid(violations)),
            }
        }
        Some(Period::Interval(_)) => period_is_required("an interval needs a beginning and an end"),
        None => period_is_required("a window or an interval is needed"),
    }
}
