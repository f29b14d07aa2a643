//! OTLP by HTTP, to a receiver that knows nothing of telemetry.

use std::{io::Read as _, time::Duration};

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use sluice_telemetry::{
    TelemetryConfig,
    config::{Compression, Protocol, Target},
};
use sluice_tests::{
    cluster::Cluster,
    endpoint::{Endpoint, Received, status},
    events::{event, sync_to},
};

fn config(backend: &Endpoint, compression: Option<Compression>) -> TelemetryConfig {
    let target = |signal: &str| {
        let endpoint = Some(backend.url(&format!("/v1/{signal}")));
        Some(Target { protocol: Protocol::Http, endpoint, compression, timeout: Some(Duration::from_secs(5)) })
    };
    TelemetryConfig {
        traces: target("traces"),
        metrics: target("metrics"),
        logs: target("logs"),
        interval: Duration::from_secs(3_600),
        ..TelemetryConfig::default()
    }
}

/// The requests to a path, unpacked.
fn decoded<T: prost::Message + Default>(backend: &Endpoint, path: &str) -> Vec<T> {
    let body = |request: &Received| {
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        let mut bytes = Vec::new();
        match request.header("content-encoding") {
            "gzip" => flate2::read::GzDecoder::new(&request.body[..]).read_to_end(&mut bytes).map(drop).unwrap(),
            other => {
                assert_eq!(other, "");
                bytes.extend_from_slice(&request.body);
            }
        }
        T::decode(&bytes[..]).unwrap()
    };
    backend.received().iter().filter(|request| request.path == path).map(body).collect()
}

#[tokio::test]
async fn all_signals_travel_by_http_plain_and_packed() {
    for compression in [None, Some(Compression::Gzip)] {
        let (backend, endpoint) = (Endpoint::start().await, Endpoint::start().await);
        let cluster = Cluster::start_telling(config(&backend, compression)).await;
        cluster.create("s", sync_to(&endpoint.url("/"))).await;
        cluster.send([event("a", "1"), event("a", "2")]).await;
        cluster.settled().await;
        cluster.told().await;
        let spans = decoded::<ExportTraceServiceRequest>(&backend, "/v1/traces");
        let scopes = spans.into_iter().flat_map(|request| request.resource_spans).flat_map(|of| of.scope_spans);
        let posts = scopes.flat_map(|scope| scope.spans).filter(|span| span.name == "POST").count();
        assert_eq!(posts, 2);
        let metrics = decoded::<ExportMetricsServiceRequest>(&backend, "/v1/metrics");
        let scopes = metrics.into_iter().flat_map(|request| request.resource_metrics).flat_map(|of| of.scope_metrics);
        assert!(scopes.flat_map(|scope| scope.metrics).any(|metric| metric.name == "sluice.deliveries.ended"));
        // A process has one log, and this one's may be exported elsewhere: what came can be read.
        decoded::<ExportLogsServiceRequest>(&backend, "/v1/logs");
        let packed = backend.received().iter().all(|request| request.header("content-encoding") == "gzip");
        assert_eq!(packed, compression.is_some());
    }
}

#[tokio::test]
async fn a_backend_that_refuses_or_hangs_costs_nothing() {
    let (backend, endpoint) = (Endpoint::start().await, Endpoint::start().await);
    backend.always(status(400));
    let mut config = config(&backend, None);
    for target in [&mut config.traces, &mut config.metrics, &mut config.logs].into_iter().flatten() {
        target.timeout = Some(Duration::from_millis(200));
    }
    let mut cluster = Cluster::start_telling(config).await;
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send((0..100).map(|n| event("a", &n.to_string()))).await;
    cluster.settled().await;
    cluster.told().await;
    assert!(backend.count() > 0);
    backend.hold();
    cluster.send((0..100).map(|n| event("a", &n.to_string()))).await;
    endpoint.wait_for_count(200).await;
    cluster.settled().await;
    // Its own patience ends before that of the stop.
    cluster.stop_node().await;
}
