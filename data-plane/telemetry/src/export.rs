//! The OTLP exporters. The crate reads endpoint, headers, compression and time limit from the standard variables, each signal's own
//! before the general one; certificates are read here.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::InstrumentationScope;
use opentelemetry_otlp::{
    LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter as _, SdkLogRecord},
    trace::{SpanData, SpanExporter as _},
};
use tonic::transport::{Certificate, ClientTlsConfig};

use crate::{
    config::{Protocol, Target},
    http::OtlpClient,
    outbox::Export,
    telemetry::TelemetryError,
};

/// How long an export may take unless a variable says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

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
        let built = match target.protocol {
            Protocol::Grpc => by_grpc(SpanExporter::builder().with_tonic(), target, "TRACES")?.build(),
            Protocol::Http => by_http(SpanExporter::builder().with_http(), target, "TRACES")?.build(),
        };
        let mut exporter = built.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        exporter.set_resource(resource);
        Ok(Self(exporter, Health::new("traces")))
    }
}

impl Logs {
    pub(crate) fn new(target: &Target, resource: &Resource) -> Result<Self, TelemetryError> {
        let built = match target.protocol {
            Protocol::Grpc => by_grpc(LogExporter::builder().with_tonic(), target, "LOGS")?.build(),
            Protocol::Http => by_http(LogExporter::builder().with_http(), target, "LOGS")?.build(),
        };
        let mut exporter = built.map_err(|error| TelemetryError::Exporter(error.to_string()))?;
        exporter.set_resource(resource);
        Ok(Self(exporter, Health::new("logs")))
    }
}

/// Sends metrics.
pub(crate) fn metrics(target: &Target) -> Result<MetricExporter, TelemetryError> {
    let built = match target.protocol {
        Protocol::Grpc => by_grpc(MetricExporter::builder().with_tonic(), target, "METRICS")?.build(),
        Protocol::Http => by_http(MetricExporter::builder().with_http(), target, "METRICS")?.build(),
    };
    built.map_err(|error| TelemetryError::Exporter(error.to_string()))
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

fn by_grpc<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    target: &Target,
    signal: &str,
) -> Result<B, TelemetryError> {
    // For endpoints with https: the system's roots, or those of the file that the variable names.
    let tls = match certificates(signal)? {
        None => ClientTlsConfig::new().with_enabled_roots(),
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
    };
    let mut builder = aimed(builder, target).with_tls_config(tls);
    if let Some(compression) = target.compression {
        builder = builder.with_compression(compression);
    }
    Ok(builder)
}

fn by_http<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    target: &Target,
    signal: &str,
) -> Result<B, TelemetryError> {
    let client = OtlpClient::new(certificates(signal)?.as_deref(), target.timeout.unwrap_or(TIMEOUT))?;
    let builder = aimed(builder, target).with_protocol(opentelemetry_otlp::Protocol::HttpBinary);
    let mut builder = builder.with_http_client(client);
    if let Some(compression) = target.compression {
        builder = builder.with_compression(compression);
    }
    Ok(builder)
}

fn aimed<B: WithExportConfig>(mut builder: B, target: &Target) -> B {
    if let Some(endpoint) = &target.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(timeout) = target.timeout {
        builder = builder.with_timeout(timeout);
    }
    builder
}

/// The file that the variable names.
fn certificates(signal: &str) -> Result<Option<Vec<u8>>, TelemetryError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_CERTIFICATE");
    let named = [own.as_str(), "OTEL_EXPORTER_OTLP_CERTIFICATE"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|path| !path.is_empty()));
    let read = |path: String| std::fs::read(&path).map_err(|error| TelemetryError::Certificate { path, error });
    named.map(read).transpose()
}
