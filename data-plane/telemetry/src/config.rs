//! What is exported, where to, and how much of it: OpenTelemetry's own variables
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>) and a few settings of ours.

use std::{net::SocketAddr, time::Duration};

use opentelemetry::KeyValue;
pub use opentelemetry_otlp::Compression;

use crate::{sampling::Sampling, telemetry::TelemetryError};

/// Names that become values of one attribute.
pub const DEFAULT_LABELS: usize = 1_000;

/// What a process tells, and to whom. The default tells nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// Where traces, metrics and logs go; `None`: nowhere.
    pub traces: Option<Target>,
    /// See `traces`.
    pub metrics: Option<Target>,
    /// See `traces`.
    pub logs: Option<Target>,
    /// Where Prometheus may scrape.
    pub scrape: Option<SocketAddr>,
    /// How often metrics are exported.
    pub interval: Duration,
    /// Whether histograms have explicit buckets, rather than exponential ones.
    pub explicit_buckets: bool,
    /// Which traces are kept.
    pub sampling: Sampling,
    /// Whether rounds that fail, and those that follow them, are kept beside these.
    pub keep_failures: bool,
    /// Names that become values of one attribute; all beyond are `_other`.
    pub labels: usize,
    /// How spans and log records wait.
    pub queue: Queue,
    /// More attributes of the process.
    pub resource: Vec<KeyValue>,
}

/// Where one signal goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// How it travels.
    pub protocol: Protocol,
    /// The endpoint, by HTTP with its path; `None`: what the variables say. The variables tell headers and certificates too.
    pub endpoint: Option<String>,
    /// The same of the compression.
    pub compression: Option<Compression>,
    /// The same of the time limit of an export.
    pub timeout: Option<Duration>,
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// By gRPC.
    #[default]
    Grpc,
    /// As protobuf by HTTP.
    Http,
}

/// How spans, and log records, wait for their export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many wait at most; beyond, they are dropped and counted.
    pub size: usize,
    /// How many leave at once.
    pub batch: usize,
    /// How long one waits for others.
    pub delay: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { size: 2_048, batch: 512, delay: Duration::from_secs(1) }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            traces: None,
            metrics: None,
            logs: None,
            scrape: None,
            interval: Duration::from_secs(60),
            explicit_buckets: false,
            sampling: Sampling::default(),
            keep_failures: false,
            labels: DEFAULT_LABELS,
            queue: Queue::default(),
            resource: Vec::new(),
        }
    }
}

impl TelemetryConfig {
    /// What the environment of the process says. Nothing is exported unless an endpoint is named.
    ///
    /// # Errors
    /// If a variable makes no sense: says which.
    pub fn from_env() -> Result<Self, TelemetryError> {
        Self::from_variables(|name| std::env::var(name).ok().map(|text| text.trim().to_owned()))
    }

    /// The same from any source of variables.
    ///
    /// # Errors
    /// If a variable makes no sense: says which.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TelemetryError> {
        let get = |name: &str| variable(name).filter(|text| !text.is_empty());
        let default = Self::default();
        if get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return Ok(default);
        }
        let sampling = match get("OTEL_TRACES_SAMPLER") {
            None => Sampling::default(),
            Some(name) => Sampling::named(&name, &get("OTEL_TRACES_SAMPLER_ARG").unwrap_or_default()).ok_or_else(|| {
                wrong("OTEL_TRACES_SAMPLER", &name, "always_on, always_off, traceidratio (with OTEL_TRACES_SAMPLER_ARG from 0 to 1), or one of these after parentbased_")
            })?,
        };
        let explicit_buckets = match get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION").as_deref() {
            None | Some("base2_exponential_bucket_histogram") => false,
            Some("explicit_bucket_histogram") => true,
            Some(other) => {
                let expected = "base2_exponential_bucket_histogram or explicit_bucket_histogram";
                return Err(wrong("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", other, expected));
            }
        };
        let queue = Queue {
            size: number(&get, "OTEL_BSP_MAX_QUEUE_SIZE", 1..=1_000_000, default.queue.size)?,
            batch: number(&get, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1..=100_000, default.queue.batch)?,
            delay: millis(number(&get, "OTEL_BSP_SCHEDULE_DELAY", 1..=600_000, 1_000)?),
        };
        Ok(Self {
            traces: target(&get, "TRACES")?,
            metrics: target(&get, "METRICS")?,
            logs: target(&get, "LOGS")?,
            interval: millis(number(&get, "OTEL_METRIC_EXPORT_INTERVAL", 10..=86_400_000, 60_000)?),
            explicit_buckets,
            sampling,
            queue: Queue { batch: queue.batch.min(queue.size), ..queue },
            ..default
        })
    }

    /// Whether anything is told to anybody.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.traces.is_some() || self.metrics.is_some() || self.logs.is_some() || self.scrape.is_some()
    }
}

fn target(get: &impl Fn(&str) -> Option<String>, signal: &str) -> Result<Option<Target>, TelemetryError> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match get(&exporter).as_deref() {
        Some("none") => return Ok(None),
        None | Some("otlp") => {}
        Some(other) => return Err(wrong(&exporter, other, "otlp or none")),
    }
    let named = |what: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{what}");
        let general = format!("OTEL_EXPORTER_OTLP_{what}");
        get(&own).map(|text| (own, text)).or_else(|| get(&general).map(|text| (general, text)))
    };
    if named("ENDPOINT").is_none() {
        return Ok(None);
    }
    let protocol = match named("PROTOCOL") {
        None => Protocol::Grpc,
        Some((name, protocol)) => match protocol.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            _ => return Err(wrong(&name, &protocol, "grpc or http/protobuf")),
        },
    };
    let timeout = match named("TIMEOUT") {
        None => None,
        Some((name, text)) => match text.parse() {
            Ok(ms @ 1..=600_000) => Some(Duration::from_millis(ms)),
            _ => return Err(wrong(&name, &text, "milliseconds, from 1 to 600000")),
        },
    };
    Ok(Some(Target { protocol, timeout, ..Target::default() }))
}

fn number(
    get: &impl Fn(&str) -> Option<String>,
    name: &str,
    bounds: std::ops::RangeInclusive<usize>,
    default: usize,
) -> Result<usize, TelemetryError> {
    let Some(text) = get(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| bounds.contains(number));
    number.ok_or_else(|| wrong(name, &text, &format!("a whole number from {} to {}", bounds.start(), bounds.end())))
}

fn millis(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(u64::MAX))
}

fn wrong(name: &str, found: &str, expected: &str) -> TelemetryError {
    TelemetryError::Variable { name: name.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<TelemetryConfig, String> {
        TelemetryConfig::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_alone_is_enough_and_nothing_is_told_without_one() {
        assert!(!read(&[]).unwrap().is_on());
        let all = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")]).unwrap();
        assert!(all.traces.is_some() && all.metrics.is_some() && all.logs.is_some() && !all.explicit_buckets);
        let off = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317"), ("OTEL_SDK_DISABLED", "True")]);
        assert!(!off.unwrap().is_on());
    }

    #[test]
    fn each_signal_can_be_left_out_or_told_alone() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        let config = read(&[endpoint, ("OTEL_LOGS_EXPORTER", "none")]).unwrap();
        assert!(config.traces.is_some() && config.logs.is_none());
        let config = read(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://localhost:4317")]).unwrap();
        assert!(config.traces.is_none() && config.metrics.is_some());
    }

    #[test]
    fn each_signal_may_travel_otherwise() {
        let config = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ]);
        let config = config.unwrap();
        let of = |target: Option<Target>| target.map(|target| target.protocol);
        assert_eq!((of(config.traces), of(config.logs)), (Some(Protocol::Http), Some(Protocol::Grpc)));
        assert_eq!(config.metrics.unwrap().timeout, Some(Duration::from_millis(2_500)));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317");
        for (name, text) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "none"),
        ] {
            let error = read(&[endpoint, (name, text)]).unwrap_err();
            assert!(error.contains(name) && error.contains(text), "{error}");
        }
    }
}
