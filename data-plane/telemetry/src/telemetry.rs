//! The handle that everything else of a process holds.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{InstrumentationScope, KeyValue, trace::TraceId};
use opentelemetry_sdk::{Resource, trace::SpanData};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    SpanContext,
    config::TelemetryConfig,
    export::Record,
    instruments::{self, Instrument},
    labels::{Labels, Names},
    logs,
    meters::{Meters, Readings, Recorder, SCOPE},
    outbox::{Counts, Outbox},
    pipeline,
    sampling::Sampling,
};

/// How long its thread may take to let everything go.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Why telemetry could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// A variable makes no sense.
    #[error("{name} is `{found}`: {expected} is expected")]
    Variable {
        /// Which one.
        name: String,
        /// What it says.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// The certificates of the backend cannot be read.
    #[error("the certificates in {path} (OTEL_EXPORTER_OTLP_CERTIFICATE) cannot be read: {error}")]
    Certificate {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// An exporter cannot be made.
    #[error("telemetry cannot be exported: {0}")]
    Exporter(String),
    /// The address for Prometheus is not free.
    #[error("metrics cannot be served on {address}: {error}")]
    Scrape {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The system gives no thread.
    #[error("no thread for telemetry: {0}")]
    Thread(std::io::Error),
}

/// Something that knows what counters and gauges stand at. Asked whenever somebody reads the metrics, from the thread of telemetry.
#[tonic::async_trait]
pub trait Source: Send + Sync + 'static {
    /// Says what they stand at. What takes too long is left out of this reading.
    async fn read(&self, readings: &mut Readings);
}

/// The way out of what a process tells. Clones share it; the default leads nowhere and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Option<Arc<Inner>>);

pub(crate) struct Inner {
    pub(crate) meters: Meters,
    pub(crate) sources: Sources,
    pub(crate) counts: AllCounts,
    spans: Option<Outbox<SpanData>>,
    logs: Option<Outbox<Record>>,
    scope: InstrumentationScope,
    sampling: Sampling,
    keep_failures: bool,
    labels: [Labels; 3],
    control: mpsc::UnboundedSender<pipeline::Order>,
    scraped_at: Option<SocketAddr>,
}

/// What a [`Telemetry`] is made of by its thread.
pub(crate) struct Parts {
    pub(crate) meters: Meters,
    pub(crate) sources: Sources,
    pub(crate) counts: AllCounts,
    pub(crate) spans: Option<Outbox<SpanData>>,
    pub(crate) logs: Option<Outbox<Record>>,
    pub(crate) scraped_at: Option<SocketAddr>,
}

/// Counts of each signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllCounts {
    pub(crate) traces: Arc<Counts>,
    pub(crate) metrics: Arc<Counts>,
    pub(crate) logs: Arc<Counts>,
}

/// Those who are asked.
pub(crate) type Sources = Arc<Mutex<Vec<(u64, Arc<dyn Source>)>>>;

/// A [`Source`] that is asked as long as this lives.
#[must_use]
pub struct Registration {
    sources: Option<(Sources, u64)>,
}

impl Telemetry {
    /// Leads nowhere.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Starts a thread that exports what `config` says in the name of `service`, such as `sluice-node`, its instance `instance`.
    ///
    /// # Errors
    /// If an exporter cannot be made, or the address for Prometheus is not free. That a backend cannot be reached is no error.
    pub async fn start(
        config: TelemetryConfig,
        service: &str,
        version: &str,
        instance: &str,
    ) -> Result<Self, TelemetryError> {
        if !config.is_on() {
            return Ok(Self::off());
        }
        let resource = resource(&config, service, version, instance);
        let (sampling, keep_failures, labels) = (config.sampling, config.keep_failures, config.labels);
        let (control, parts) = pipeline::start(config, resource).await?;
        let inner = Arc::new(Inner {
            meters: parts.meters,
            sources: parts.sources,
            counts: parts.counts,
            spans: parts.spans,
            logs: parts.logs.clone(),
            scope: InstrumentationScope::builder(SCOPE).with_version(version.to_owned()).build(),
            sampling,
            keep_failures,
            labels: [Labels::new(labels), Labels::new(labels), Labels::new(labels)],
            control,
            scraped_at: parts.scraped_at,
        });
        // The thread reads them, too; it goes when the last handle has gone.
        let _ = inner.control.send(pipeline::Order::Serve(Arc::downgrade(&inner)));
        if let Some(logs) = parts.logs {
            logs::take(Some(logs));
        }
        Ok(Self(Some(inner)))
    }

    /// Whether metrics are told to anybody, and so worth being gathered.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Where Prometheus may scrape.
    #[must_use]
    pub fn scraped_at(&self) -> Option<SocketAddr> {
        self.0.as_ref().and_then(|inner| inner.scraped_at)
    }

    /// Asks `source` at each reading.
    pub fn register(&self, source: Arc<dyn Source>) -> Registration {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let Some(inner) = &self.0 else { return Registration { sources: None } };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        inner.sources.lock().unwrap_or_else(PoisonError::into_inner).push((id, source));
        Registration { sources: Some((inner.sources.clone(), id)) }
    }

    /// A distribution with these attributes, looked up once.
    #[must_use]
    pub fn recorder(&self, instrument: &Instrument, attributes: &[KeyValue]) -> Recorder {
        self.0.as_ref().map_or_else(Recorder::default, |inner| inner.meters.recorder(instrument, attributes))
    }

    /// Records in a distribution whose attributes are looked up: not for the path of an event.
    pub fn record(&self, instrument: &Instrument, attributes: &[KeyValue], took: Duration) {
        if let Some(inner) = &self.0 {
            inner.meters.record(instrument, attributes, took);
        }
    }

    /// The attribute's value for a name.
    #[must_use]
    pub fn label(&self, names: Names, name: &str) -> Arc<str> {
        self.0.as_ref().map_or_else(|| name.into(), |inner| inner.labels[names as usize].of(name))
    }

    /// Whether spans are told to anybody.
    #[must_use]
    pub fn traces(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.spans.is_some())
    }

    /// Whether the trace is kept.
    #[must_use]
    pub fn samples(&self, parent: Option<&SpanContext>, trace_id: TraceId) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.spans.is_some() && inner.sampling.keeps(parent, trace_id))
    }

    /// Whether failures are kept although their trace is not.
    #[must_use]
    pub fn keeps_failures(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.spans.is_some() && inner.keep_failures)
    }

    /// Exports all that is there, for as long as `limit`; gives whether that was long enough. What the backend refuses is counted.
    pub async fn flush(&self, limit: Duration) -> bool {
        let Some(inner) = &self.0 else { return true };
        let (reply, done) = oneshot::channel();
        if inner.control.send(pipeline::Order::Flush(reply)).is_err() {
            return false;
        }
        tokio::time::timeout(limit, done).await.is_ok_and(|done| done.is_ok())
    }

    /// The last [`Telemetry::flush`]: afterwards nothing more is exported, and no source is asked.
    pub async fn stop(&self, limit: Duration) {
        let Some(inner) = &self.0 else { return };
        let flushed = self.flush(limit).await;
        if let Some(logs) = &inner.logs {
            logs::give_back(logs);
        }
        if !flushed {
            tracing::warn!("telemetry was not exported within {} s: some of it is lost", limit.as_secs());
        }
        let (reply, done) = oneshot::channel();
        let _ = inner.control.send(pipeline::Order::Stop(reply));
        let _ = tokio::time::timeout(STOP_LIMIT, done).await;
    }

    pub(crate) fn put(&self, span: impl FnOnce(&InstrumentationScope) -> SpanData) {
        if let Some((inner, spans)) = self.0.as_ref().and_then(|inner| Some((inner, inner.spans.as_ref()?))) {
            spans.put(span(&inner.scope));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some((sources, id)) = self.sources.take() {
            sources.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != id);
        }
    }
}

impl Inner {
    pub(crate) fn spans(&self) -> Option<Outbox<SpanData>> {
        self.spans.clone()
    }

    pub(crate) fn logs(&self) -> Option<Outbox<Record>> {
        self.logs.clone()
    }
}

impl AllCounts {
    pub(crate) fn read(&self, readings: &mut Readings) {
        for (signal, counts) in [("traces", &self.traces), ("metrics", &self.metrics), ("logs", &self.logs)] {
            let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
            let attributes = [(instruments::SIGNAL, signal)];
            readings.count(&instruments::TELEMETRY_EXPORTED, &attributes, get(&counts.exported));
            for (reason, count) in [("queue_full", &counts.dropped), ("export_failed", &counts.failed)] {
                let attributes = [(instruments::SIGNAL, signal), (instruments::REASON, reason)];
                readings.count(&instruments::TELEMETRY_DROPPED, &attributes, get(count));
            }
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Who tells it: what the variables say comes before what we know ourselves.
fn resource(config: &TelemetryConfig, service: &str, version: &str, instance: &str) -> Resource {
    let given = Resource::builder().build();
    let unnamed = given
        .iter()
        .any(|(key, value)| key.as_str() == "service.name" && value.as_str().starts_with("unknown_service"));
    let own = [("service.version", version), ("service.instance.id", instance)];
    let own = own.into_iter().filter(|(key, _)| !given.iter().any(|(known, _)| known.as_str() == *key));
    let mut builder = Resource::builder().with_attributes(own.map(|(key, value)| KeyValue::new(key, value.to_owned())));
    if unnamed {
        builder = builder.with_service_name(service.to_owned());
    }
    builder.with_attributes(config.resource.clone()).build()
}
