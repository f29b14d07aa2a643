//! The OTLP exporters. The crate reads endpoint, headers, compression and time limit from the standard variables, each signal's own
//! before the general one; certificates are read here.

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter as _, SdkLogRecord},
    trace::{SpanData, SpanExporter as _},
};
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::{config::Target, outbox::Export, telemetry::TelemetryError};

/// A log record and the scope that it came from.
pub(crate) type Record = (SdkLogRecord, InstrumentationScope);

/// Sends spans.
#[derive(Debug)]
pub(crate) struct Spans(SpanExporter, Health);

/// Sends log records.
#[derive(Debug)]
pub(crate) struct Logs(LogExporter, Health);

impl Spans {
    pub(crate) fn new(target: &Target, resource: &Resource) -> Result<Self, TelemetryError> {
        let builder = aimed(SpanExporter::builder().with_tonic(), target, "TRACES")?;
        let mut exporter = builder.build().map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        exporter.set_resource(resource);
        Ok(Self(exporter, Health::new("traces")))
    }
}

impl Logs {
    pub(crate) fn new(target: &Target, resource: &Resource) -> Result<Self, TelemetryError> {
        let builder = aimed(LogExporter::builder().with_tonic(), target, "LOGS")?;
        let mut exporter = builder.build().map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        exporter.set_resource(resource);
        Ok(Self(exporter, Health::new("logs")))
    }
}

/// Sends metrics.
pub(crate) fn metrics(target: &Target) -> Result<MetricExporter, TelemetryError> {
    let builder = aimed(MetricExporter::builder().with_tonic(), target, "METRICS")?;
    builder.build().map_err(|error| TelemetryError::Exporter(error.to_string()))
}

impl Export<SpanData> for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> bool {
        self.1.heard(self.0.export(batch).await)
    }
}

impl Export<Record> for Logs {
    async fn export(&self, batch: Vec<Record>) -> bool {
        let borrowed: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
        self.1.heard(self.0.export(LogBatch::new(&borrowed)).await)
    }
}

/// Says once that a backend fails, and once that it takes things again.
#[derive(Debug)]
pub(crate) struct Health {
    signal: &'static str,
    failing: AtomicBool,
}

impl Health {
    pub(crate) fn new(signal: &'static str) -> Self {
        Self { signal, failing: AtomicBool::new(false) }
    }

    /// Gives whether the export went well.
    pub(crate) fn heard(&self, result: OTelSdkResult) -> bool {
        let was_failing = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !was_failing => {
                tracing::warn!(signal = self.signal, %error, "telemetry cannot be exported: it is dropped and counted");
            }
            Ok(()) if was_failing => tracing::info!(signal = self.signal, "telemetry is exported again"),
            _ => {}
        }
        result.is_ok()
    }
}

fn aimed<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    target: &Target,
    signal: &str,
) -> Result<B, TelemetryError> {
    let mut builder = builder.with_tls_config(tls(signal)?);
    if let Some(endpoint) = &target.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(compression) = target.compression {
        builder = builder.with_compression(compression);
    }
    if let Some(timeout) = target.timeout {
        builder = builder.with_timeout(timeout);
    }
    Ok(builder)
}

/// For endpoints with https: the system's roots, or those of the file that the variable names.
fn tls(signal: &str) -> Result<ClientTlsConfig, TelemetryError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_CERTIFICATE");
    let named = [own.as_str(), "OTEL_EXPORTER_OTLP_CERTIFICATE"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|path| !path.is_empty()));
    match named {
        None => Ok(ClientTlsConfig::new().with_enabled_roots()),
        Some(path) => match std::fs::read(&path) {
            Ok(pem) => Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))),
            Err(error) => Err(TelemetryError::Certificate { path, error }),
        },
    }
}
