//! Metrics in Prometheus' text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>), by OpenTelemetry's rules for
//! names (<https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>).
//!
//! The text format knows no exponential histograms: their buckets are added up between powers of two, which are borders of theirs
//! whatever their scale, from a sixteenth of a millisecond to nine hours.

use std::fmt::{Display, Write as _};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, ExponentialBucket, Metric, MetricData, ResourceMetrics};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Exponents of the borders, in seconds.
const BORDERS: std::ops::RangeInclusive<i32> = -14..=15;

/// All metrics as text.
#[must_use]
pub fn text(metrics: &ResourceMetrics) -> String {
    let mut text = String::new();
    let resource: Vec<_> =
        metrics.resource().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    let _ = writeln!(text, "# HELP target_info Who tells these.\n# TYPE target_info gauge");
    line(&mut text, "target_info", &labels(resource.iter(), None), 1);
    for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::F64(data) => family(&mut text, metric, data, |value| value),
            #[allow(clippy::cast_precision_loss)]
            AggregatedMetrics::U64(data) => family(&mut text, metric, data, |value| value as f64),
            #[allow(clippy::cast_precision_loss)]
            AggregatedMetrics::I64(data) => family(&mut text, metric, data, |value| value as f64),
        }
    }
    text
}

/// The name of a metric.
#[must_use]
pub fn name(name: &str, unit: &str, is_counter: bool) -> String {
    let mut name = clean(name);
    let unit = match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    if !name.ends_with(unit) {
        name.push_str(unit);
    }
    if is_counter {
        name.push_str("_total");
    }
    name
}

fn family<T: Copy + Display>(text: &mut String, metric: &Metric, data: &MetricData<T>, as_f64: impl Fn(T) -> f64) {
    let is_counter = matches!(data, MetricData::Sum(sum) if sum.is_monotonic());
    let name = name(metric.name(), metric.unit(), is_counter);
    let kind = match data {
        MetricData::Sum(_) if is_counter => "counter",
        MetricData::Sum(_) | MetricData::Gauge(_) => "gauge",
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => "histogram",
    };
    let help = metric.description().replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    match data {
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                line(text, &name, &labels(point.attributes(), None), point.value());
            }
        }
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                line(text, &name, &labels(point.attributes(), None), point.value());
            }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                let attributes: Vec<_> = point.attributes().cloned().collect();
                let mut below = 0;
                let buckets: Vec<_> = point
                    .bounds()
                    .zip(point.bucket_counts())
                    .map(|(bound, count)| {
                        below += count;
                        (bound, below)
                    })
                    .collect();
                distribution(text, &name, &attributes, &buckets, point.count(), as_f64(point.sum()));
            }
        }
        MetricData::ExponentialHistogram(histogram) => {
            for point in histogram.data_points() {
                let attributes: Vec<_> = point.attributes().cloned().collect();
                let buckets = powers_of_two(point.scale(), point.zero_count(), point.positive_bucket());
                distribution(text, &name, &attributes, &buckets, point.count() as u64, as_f64(point.sum()));
            }
        }
    }
}

/// How many values are at most each border.
fn powers_of_two(scale: i8, zero: u64, buckets: &ExponentialBucket) -> Vec<(f64, u64)> {
    let counts: Vec<u64> = buckets.counts().collect();
    BORDERS
        .map(|exponent| {
            // Bucket `i` ends at 2^((i + 1) / 2^scale).
            let ends_by = |index: i64| {
                let end = index + 1;
                if scale >= 0 { end <= i64::from(exponent) << scale } else { end << -scale <= i64::from(exponent) }
            };
            let below = counts.iter().zip(i64::from(buckets.offset())..).filter(|(_, index)| ends_by(*index));
            (2_f64.powi(exponent), zero + below.map(|(count, _)| count).sum::<u64>())
        })
        .collect()
}

fn distribution(text: &mut String, name: &str, attributes: &[KeyValue], buckets: &[(f64, u64)], count: u64, sum: f64) {
    for (bound, below) in buckets {
        line(text, &format!("{name}_bucket"), &labels(attributes.iter(), Some(&bound.to_string())), below);
    }
    line(text, &format!("{name}_bucket"), &labels(attributes.iter(), Some("+Inf")), count);
    let labels = labels(attributes.iter(), None);
    line(text, &format!("{name}_sum"), &labels, sum);
    line(text, &format!("{name}_count"), &labels, count);
}

fn line(text: &mut String, name: &str, labels: &str, value: impl Display) {
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>, bound: Option<&str>) -> String {
    let mut labels: Vec<_> = attributes
        .map(|attribute| (clean(attribute.key.as_str()), attribute.value.as_str().into_owned()))
        .chain(bound.map(|bound| ("le".to_owned(), bound.to_owned())))
        .map(|(name, value)| {
            format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
        })
        .collect();
    labels.sort_unstable();
    if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) }
}

/// What Prometheus takes as a name.
fn clean(name: &str) -> String {
    let mut clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect();
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_sdk::{
        Resource,
        metrics::{Temporality, reader::MetricReader as _},
    };

    use super::*;
    use crate::{
        instruments::{ATTEMPT_DURATION, DELIVERIES_PENDING, EVENTS, OUTCOME, PROJECT, SYNC},
        meters::{Meters, Reader, Readings},
    };

    fn told(explicit: bool) -> String {
        let reader = Reader::new(Temporality::Cumulative);
        let resource = Resource::builder_empty().with_service_name("s").build();
        let meters = Meters::new(resource, std::slice::from_ref(&reader), explicit, 10);
        let mut readings = Readings::default();
        readings.count(&EVENTS, &[(PROJECT, "p"), (OUTCOME, "matched")], 3);
        readings.count(&EVENTS, &[(PROJECT, "p"), (OUTCOME, "matched")], 4);
        readings.add(&DELIVERIES_PENDING, &[(SYNC, "a\"b\\c")], 5.0);
        meters.set(readings);
        let recorder = meters.recorder(&ATTEMPT_DURATION, &[KeyValue::new(SYNC, "s")]);
        for ms in [1, 3, 300, 300, 20_000] {
            recorder.record(Duration::from_millis(ms));
        }
        let mut metrics = ResourceMetrics::default();
        reader.collect(&mut metrics).unwrap();
        text(&metrics)
    }

    #[test]
    fn counters_and_gauges_have_the_names_that_prometheus_expects() {
        let text = told(false);
        for line in [
            "target_info{service_name=\"s\"} 1",
            "# TYPE sluice_events_total counter",
            "sluice_events_total{sluice_outcome=\"matched\",sluice_project=\"p\"} 7",
            "# TYPE sluice_deliveries_pending gauge",
            "sluice_deliveries_pending{sluice_sync=\"a\\\"b\\\\c\"} 5",
            "# TYPE sluice_attempt_duration_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn both_kinds_of_histograms_add_up() {
        let sum = "sluice_attempt_duration_seconds_sum{sluice_sync=\"s\"} 20.604";
        let at = |bound: &str, count: u64| {
            format!("sluice_attempt_duration_seconds_bucket{{le=\"{bound}\",sluice_sync=\"s\"}} {count}")
        };
        for (explicit, expected) in [
            (true, [at("0.001", 1), at("0.005", 2), at("0.5", 4), at("10", 4), at("30", 5), at("+Inf", 5)]),
            (
                false,
                [at("0.0009765625", 0), at("0.00390625", 2), at("0.5", 4), at("16", 4), at("32", 5), at("+Inf", 5)],
            ),
        ] {
            let text = told(explicit);
            assert!(text.contains(sum), "{text}");
            for line in expected {
                assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            }
        }
    }
}
