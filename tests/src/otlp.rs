//! A backend for OpenTelemetry that takes all three signals by gRPC, remembers everything, and fails as it is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{metric::Data, number_data_point},
    trace::v1::Span,
};
use sluice_telemetry::{
    TelemetryConfig,
    config::{Compression, Target},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{Request, Status, codec::CompressionEncoding, transport::Server, transport::server::TcpIncoming};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    Well,
    /// Refuses everything for good.
    Refuses,
    /// Answers nothing.
    Hangs,
    /// Takes everything after a while.
    Slow(Duration),
}

/// A running backend. Dropping it stops it.
pub struct Backend {
    address: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    mood: watch::Sender<Mood>,
    taken: Mutex<Taken>,
    exports: AtomicUsize,
}

#[derive(Default)]
struct Taken {
    spans: Vec<(String, Span)>,
    logs: Vec<LogRecord>,
    log_scopes: BTreeSet<String>,
    /// The newest reading by process, metric and attributes.
    points: BTreeMap<Point, f64>,
    names: BTreeSet<String>,
    /// All that came, as it was sent.
    bytes: Vec<u8>,
    encodings: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    service: String,
    name: String,
    attributes: BTreeMap<String, String>,
}

impl Backend {
    /// On a free port; takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            mood: watch::channel(Mood::Well).0,
            taken: Mutex::default(),
            exports: AtomicUsize::new(0),
        });
        let service = Service(state.clone());
        let server = Server::builder()
            .add_service(TraceServiceServer::new(service.clone()).accept_compressed(CompressionEncoding::Gzip))
            .add_service(MetricsServiceServer::new(service.clone()).accept_compressed(CompressionEncoding::Gzip))
            .add_service(LogsServiceServer::new(service).accept_compressed(CompressionEncoding::Gzip))
            .serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self { address, state, task }
    }

    /// Where it listens, as `OTEL_EXPORTER_OTLP_ENDPOINT` says it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.address
    }

    /// What sends everything here, at once when asked and hardly ever otherwise.
    #[must_use]
    pub fn config(&self) -> TelemetryConfig {
        let target = Some(Target { endpoint: Some(self.address.clone()), ..Target::default() });
        TelemetryConfig {
            traces: target.clone(),
            metrics: target.clone(),
            logs: target,
            interval: Duration::from_secs(3_600),
            ..TelemetryConfig::default()
        }
    }

    /// The same, compressed.
    #[must_use]
    pub fn config_gzip(&self) -> TelemetryConfig {
        let mut config = self.config();
        for target in [&mut config.traces, &mut config.metrics, &mut config.logs].into_iter().flatten() {
            target.compression = Some(Compression::Gzip);
        }
        config
    }

    /// Answers like this from now on, also to what waits for an answer.
    pub fn set(&self, mood: Mood) {
        self.state.mood.send_replace(mood);
    }

    /// How many exports came, whatever they were told.
    #[must_use]
    pub fn exports(&self) -> usize {
        self.state.exports.load(Ordering::Relaxed)
    }

    /// All spans of a service, as they came.
    #[must_use]
    pub fn spans(&self, service: &str) -> Vec<Span> {
        let taken = self.state.taken.lock().unwrap();
        taken.spans.iter().filter(|(of, _)| of == service).map(|(_, span)| span.clone()).collect()
    }

    /// All log records.
    #[must_use]
    pub fn logs(&self) -> Vec<LogRecord> {
        self.state.taken.lock().unwrap().logs.clone()
    }

    /// Where log records came from: the module of each.
    #[must_use]
    pub fn log_scopes(&self) -> BTreeSet<String> {
        self.state.taken.lock().unwrap().log_scopes.clone()
    }

    /// Names of all metrics that ever came.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.state.taken.lock().unwrap().names.clone()
    }

    /// Attributes that ever came with a metric.
    #[must_use]
    pub fn attributes(&self, name: &str) -> BTreeSet<String> {
        let taken = self.state.taken.lock().unwrap();
        let points = taken.points.keys().filter(|point| point.name == name);
        points.flat_map(|point| point.attributes.keys().cloned()).collect()
    }

    /// The newest values of a metric, added up over all that has these attributes. Of a histogram: how many values it has.
    #[must_use]
    pub fn value(&self, name: &str, attributes: &[(&str, &str)]) -> f64 {
        let taken = self.state.taken.lock().unwrap();
        let fits = |point: &Point| {
            point.name == name
                && attributes.iter().all(|(key, value)| point.attributes.get(*key).is_some_and(|found| found == value))
        };
        taken.points.iter().filter(|(point, _)| fits(point)).map(|(_, value)| value).sum()
    }

    /// All that came, as it was sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.state.taken.lock().unwrap().bytes.clone()
    }

    /// How it was compressed.
    #[must_use]
    pub fn encodings(&self) -> BTreeSet<String> {
        self.state.taken.lock().unwrap().encodings.clone()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One attribute of a span or record as text; empty if it is not there.
#[must_use]
pub fn attribute(attributes: &[KeyValue], key: &str) -> String {
    attributes.iter().find(|attribute| attribute.key == key).map(text).unwrap_or_default()
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Service {
    /// Waits as the mood says; gives what came, or refuses it.
    async fn take<T: prost::Message>(&self, request: Request<T>) -> Result<T, Status> {
        self.0.exports.fetch_add(1, Ordering::Relaxed);
        let encoding = request.metadata().get("grpc-encoding").map(|value| value.to_str().unwrap().to_owned());
        let mut mood = self.0.mood.subscribe();
        let now = *mood.wait_for(|mood| *mood != Mood::Hangs).await.unwrap();
        match now {
            Mood::Refuses => return Err(Status::invalid_argument("not today")),
            Mood::Slow(wait) => tokio::time::sleep(wait).await,
            Mood::Well | Mood::Hangs => {}
        }
        let message = request.into_inner();
        let mut taken = self.0.taken.lock().unwrap();
        taken.encodings.insert(encoding.unwrap_or_else(|| "identity".to_owned()));
        taken.bytes.extend(message.encode_to_vec());
        Ok(message)
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let message = self.take(request).await?;
        let mut taken = self.0.taken.lock().unwrap();
        for resource in message.resource_spans {
            let service = attribute(&resource.resource.unwrap_or_default().attributes, "service.name");
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            taken.spans.extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let message = self.take(request).await?;
        let scopes = message.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        let mut taken = self.0.taken.lock().unwrap();
        for scope in scopes {
            taken.log_scopes.insert(scope.scope.unwrap_or_default().name);
            taken.logs.extend(scope.log_records);
        }
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let message = self.take(request).await?;
        let mut taken = self.0.taken.lock().unwrap();
        for resource in message.resource_metrics {
            let service = attribute(&resource.resource.unwrap_or_default().attributes, "service.name");
            for metric in resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
                let mut point = |attributes: &[KeyValue], value| {
                    let attributes = attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect();
                    taken
                        .points
                        .insert(Point { service: service.clone(), name: metric.name.clone(), attributes }, value);
                };
                match metric.data.unwrap() {
                    Data::Gauge(gauge) => {
                        gauge.data_points.iter().for_each(|one| point(&one.attributes, number(one.value)));
                    }
                    Data::Sum(sum) => {
                        assert!(sum.is_monotonic, "{}", metric.name);
                        sum.data_points.iter().for_each(|one| point(&one.attributes, number(one.value)));
                    }
                    Data::Histogram(histogram) => {
                        histogram.data_points.iter().for_each(|one| point(&one.attributes, one.count as f64));
                    }
                    Data::ExponentialHistogram(histogram) => {
                        histogram.data_points.iter().for_each(|one| point(&one.attributes, one.count as f64));
                    }
                    Data::Summary(_) => panic!("{} is a summary", metric.name),
                }
                taken.names.insert(metric.name);
            }
        }
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn number(value: Option<number_data_point::Value>) -> f64 {
    match value.unwrap() {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    }
}
