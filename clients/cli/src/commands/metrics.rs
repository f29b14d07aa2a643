//! `sluice metrics`: what became of a sync's deliveries.

use std::time::Duration;

use clap::{Args, ValueEnum};
use prost_types::Timestamp;
use sluice_client::proto::delivery::v1::{
    GetSyncMetricsRequest, GetSyncTimeSeriesRequest, Interval, MetricsWindow, SyncMetrics, TimeSeriesStep,
    get_sync_metrics_request::Period, get_sync_time_series_request::Period as SeriesPeriod,
};

use crate::{
    context::{Context, call},
    duration,
    exit::Failure,
    output::{print, say, table, thousands, time},
    proto_json::Printed,
};

/// Which sync and which time.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice metrics orders                       # the last hour
  sluice metrics orders --window 1d
  sluice metrics orders --from 2026-11-23T08:00:00Z --to 2026-11-23T09:00:00Z
  sluice metrics orders -o json | jq .delivery_rate
  sluice metrics orders --window 4h --by minute
  sluice metrics orders --window 4h --summary # the fields of Amplitude's delivery-metrics-summary, as JSON

Counted are the deliveries that ended and the attempts that began within the time. Latency is from the moment a node
accepted the event to the 2xx.")]
pub(crate) struct MetricsArgs {
    /// The sync, such as `orders`
    name: String,
    /// A window that ends now
    #[arg(long, value_enum, default_value = "1h", conflicts_with_all = ["from", "to"])]
    window: Window,
    /// From this instant on, such as 2026-11-23T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<Timestamp>,
    /// Up to this instant; now if it is left out
    #[arg(long, value_name = "TIME", value_parser = instant, requires = "from")]
    to: Option<Timestamp>,
    /// Step by step: by the minute within the last four hours, by the hour within the last 90 days
    #[arg(long, value_name = "STEP", conflicts_with = "summary")]
    by: Option<Step>,
    /// Print JSON with the fields that Amplitude's delivery-metrics-summary has, for tools that read those
    #[arg(long)]
    summary: bool,
}

/// The answer of Amplitude's `GET /api/2/event-streaming/delivery-metrics-summary`.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    time_period: &'static str,
    events_delivered: i64,
    events_not_delivered: i64,
    delivery_rate: f64,
    /// The 95th percentile.
    latency_in_seconds: f64,
    time_period_start: String,
    time_period_end: String,
    success_on_first_attempt: i64,
    success_after_retry: i64,
    events_expired: i64,
    events_discarded: i64,
}

/// How long a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// A minute
    Minute,
    /// An hour
    Hour,
}

/// A window that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Window {
    #[value(name = "10m")]
    TenMinutes,
    #[value(name = "1h")]
    OneHour,
    #[value(name = "4h")]
    FourHours,
    #[value(name = "1d")]
    OneDay,
    #[value(name = "1w")]
    OneWeek,
    #[value(name = "2w")]
    TwoWeeks,
}

pub(crate) async fn run(context: &Context, args: MetricsArgs) -> Result<(), Failure> {
    let name = context.sync_name(&args.name)?.to_string();
    let time_period = if args.from.is_some() { "CUSTOM" } else { args.window.in_summaries() };
    let period = match args.from {
        Some(start) => Period::Interval(Interval {
            start_time_inclusive: Some(start),
            end_time_exclusive: Some(args.to.unwrap_or_else(|| std::time::SystemTime::now().into())),
        }),
        None => Period::Window(args.window.on_the_wire().into()),
    };
    if let Some(step) = args.by {
        return series(context, name, period, step).await;
    }
    let request = GetSyncMetricsRequest { name, period: Some(period) };
    let metrics = context.deliveries().await?.get_sync_metrics(call(request)).await?.into_inner();
    if args.summary {
        let summary = Summary::new(&metrics, time_period);
        let text = serde_json::to_string_pretty(&summary).map_err(|error| Failure::failed(error.to_string()))?;
        return say(text);
    }
    let printed = Printed::new("sluice.delivery.v1.SyncMetrics", &metrics)?;
    print(context.format, &printed, || Ok(show(&metrics)))
}

async fn series(context: &Context, name: String, period: Period, step: Step) -> Result<(), Failure> {
    let period = match period {
        Period::Window(window) => SeriesPeriod::Window(window),
        Period::Interval(interval) => SeriesPeriod::Interval(interval),
    };
    let step = match step {
        Step::Minute => TimeSeriesStep::Minute,
        Step::Hour => TimeSeriesStep::Hour,
    };
    let request = GetSyncTimeSeriesRequest { name, period: Some(period), step: step.into() };
    let series = context.deliveries().await?.get_sync_time_series(call(request)).await?.into_inner();
    print(context.format, &Printed::new("sluice.delivery.v1.SyncTimeSeries", &series)?, || {
        let count = |number: i64| thousands(u64::try_from(number).unwrap_or(0));
        let rows = series.points.iter().map(|point| {
            let start = time(point.start_time.as_ref());
            vec![
                start.get(..16).unwrap_or(&start).to_owned(),
                count(point.delivered_count),
                count(point.delivered_after_retry_count),
                count(point.expired_count),
                count(point.discarded_count),
                count(point.attempt_count),
                seconds(point.latency_p50_seconds),
                seconds(point.latency_p99_seconds),
            ]
        });
        let head = ["FROM", "DELIVERED", "AFTER RETRY", "EXPIRED", "DISCARDED", "ATTEMPTS", "P50", "P99"];
        Ok(table(&head, rows))
    })
}

impl Summary {
    fn new(metrics: &SyncMetrics, time_period: &'static str) -> Self {
        let interval = metrics.interval.unwrap_or_default();
        Self {
            time_period,
            events_delivered: metrics.delivered_count,
            events_not_delivered: metrics.not_delivered_count,
            delivery_rate: metrics.delivery_rate,
            latency_in_seconds: metrics.latency_p95_seconds,
            time_period_start: microseconds(interval.start_time_inclusive.unwrap_or_default()),
            time_period_end: microseconds(interval.end_time_exclusive.unwrap_or_default()),
            success_on_first_attempt: metrics.delivered_first_attempt_count,
            success_after_retry: metrics.delivered_after_retry_count,
            events_expired: metrics.expired_count,
            events_discarded: metrics.discarded_count,
        }
    }
}

/// An instant as Amplitude writes it: `2022-10-01 06:00:00.000000`, in UTC.
fn microseconds(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}.{:06}", text.get(..19).unwrap_or(&text).replace('T', " "), time.nanos / 1_000)
}

impl Window {
    fn in_summaries(self) -> &'static str {
        let name = self.on_the_wire().as_str_name();
        name.strip_prefix("METRICS_WINDOW_").unwrap_or(name)
    }

    pub(crate) fn on_the_wire(self) -> MetricsWindow {
        match self {
            Self::TenMinutes => MetricsWindow::TenMinutes,
            Self::OneHour => MetricsWindow::OneHour,
            Self::FourHours => MetricsWindow::FourHours,
            Self::OneDay => MetricsWindow::OneDay,
            Self::OneWeek => MetricsWindow::OneWeek,
            Self::TwoWeeks => MetricsWindow::TwoWeeks,
        }
    }
}

/// As it is given.
impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TenMinutes => "10m",
            Self::OneHour => "1h",
            Self::FourHours => "4h",
            Self::OneDay => "1d",
            Self::OneWeek => "1w",
            Self::TwoWeeks => "2w",
        })
    }
}

fn show(metrics: &SyncMetrics) -> String {
    let interval = metrics.interval.unwrap_or_default();
    let count = |number: i64| thousands(u64::try_from(number).unwrap_or(0));
    let latency = format!(
        "p50 {}, p95 {}, p99 {}",
        seconds(metrics.latency_p50_seconds),
        seconds(metrics.latency_p95_seconds),
        seconds(metrics.latency_p99_seconds)
    );
    let rows = [
        ("sync", metrics.name.clone()),
        (
            "time",
            format!(
                "{} to {} UTC",
                time(interval.start_time_inclusive.as_ref()),
                time(interval.end_time_exclusive.as_ref())
            ),
        ),
        ("delivered", count(metrics.delivered_count)),
        ("  by the first attempt", count(metrics.delivered_first_attempt_count)),
        ("  after a retry", count(metrics.delivered_after_retry_count)),
        ("not delivered", count(metrics.not_delivered_count)),
        ("  expired", count(metrics.expired_count)),
        ("  discarded", count(metrics.discarded_count)),
        ("delivery rate", format!("{:.2} %", metrics.delivery_rate * 100.0)),
        ("pending (last heartbeat)", count(metrics.pending_count)),
        ("attempts", count(metrics.attempt_count)),
        ("latency", latency),
    ];
    table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]))
}

/// Seconds as the control plane counts them, for people.
pub(crate) fn seconds(seconds: f64) -> String {
    Duration::try_from_secs_f64(seconds).map_or_else(|_| "-".to_owned(), duration::show)
}

fn instant(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("`{text}` is not an instant such as 2026-11-23T08:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_fields_of_amplitudes() {
        let metrics = SyncMetrics {
            interval: Some(Interval {
                start_time_inclusive: Some(Timestamp { seconds: 1_664_604_000, nanos: 0 }),
                end_time_exclusive: Some(Timestamp { seconds: 1_664_618_400, nanos: 795_000_000 }),
            }),
            delivered_count: 9,
            not_delivered_count: 3,
            delivery_rate: 0.75,
            latency_p95_seconds: 1.5,
            delivered_first_attempt_count: 7,
            delivered_after_retry_count: 2,
            expired_count: 1,
            discarded_count: 2,
            ..SyncMetrics::default()
        };
        let summary = serde_json::to_value(Summary::new(&metrics, Window::FourHours.in_summaries())).unwrap();
        let expected = serde_json::json!({
            "timePeriod": "FOUR_HOURS",
            "eventsDelivered": 9,
            "eventsNotDelivered": 3,
            "deliveryRate": 0.75,
            "latencyInSeconds": 1.5,
            "timePeriodStart": "2022-10-01 06:00:00.000000",
            "timePeriodEnd": "2022-10-01 10:00:00.795000",
            "successOnFirstAttempt": 7,
            "successAfterRetry": 2,
            "eventsExpired": 1,
            "eventsDiscarded": 2,
        });
        assert_eq!(summary, expected);
    }

    #[test]
    fn all_figures_are_shown() {
        let shown = show(&SyncMetrics {
            name: "projects/default/syncs/orders".into(),
            interval: Some(Interval {
                start_time_inclusive: Some(Timestamp { seconds: 0, nanos: 0 }),
                end_time_exclusive: Some(Timestamp { seconds: 3600, nanos: 0 }),
            }),
            delivered_count: 31_106,
            not_delivered_count: 3,
            delivery_rate: 0.9999,
            latency_p50_seconds: 0.0042,
            latency_p95_seconds: 1.5,
            latency_p99_seconds: 75.0,
            ..SyncMetrics::default()
        });
        let delivered: Vec<_> =
            shown.lines().find(|line| line.starts_with("delivered ")).unwrap().split_whitespace().collect();
        assert_eq!(delivered, ["delivered", "31,106"], "{shown}");
        assert!(shown.contains("p50 4.2 ms, p95 1.50 s, p99 1 min 15 s"), "{shown}");
        assert!(shown.contains("1970-01-01 00:00:00.000 to 1970-01-01 01:00:00.000 UTC"), "{shown}");
        assert!(shown.contains("99.99 %"), "{shown}");
    }
}
