use std::time::Duration;

use sluice_telemetry::{
    TelemetryConfig,
    config::{Queue, Target},
};
use sluice_tests::{
    cluster::Cluster,
    endpoint::Endpoint,
    events::{event, sync_to},
    otlp::{Backend, Mood},
};

const EVENTS: usize = 500;

const QUEUE: Queue = Queue { size: 16, batch: 8, delay: Duration::from_millis(1) };

/// Delivers everything, whatever becomes of the telemetry.
async fn deliver(config: TelemetryConfig) -> (Cluster, Endpoint) {
    let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    for batch in 0..10 {
        cluster.send((0..EVENTS / 10).map(|n| event("a", &format!("{batch}-{n}")))).await;
    }
    endpoint.wait_for_count(EVENTS).await;
    let ledger = cluster.settled().await;
    assert_eq!(ledger.deliveries.iter().map(|(_, counts)| counts.delivered).sum::<i64>(), EVENTS as i64);
    (cluster, endpoint)
}

fn short(backend: &Backend) -> TelemetryConfig {
    let mut config = backend.config();
    for target in [&mut config.traces, &mut config.metrics, &mut config.logs].into_iter().flatten() {
        target.timeout = Some(Duration::from_millis(200));
    }
    TelemetryConfig { queue: QUEUE, ..config }
}

#[tokio::test]
async fn a_backend_that_is_absent_costs_nothing() {
    // A port that was free a moment ago and that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let target = Target {
        endpoint: Some(format!("http://{address}")),
        timeout: Some(Duration::from_millis(200)),
        ..Target::default()
    };
    let config = TelemetryConfig {
        traces: Some(target.clone()),
        metrics: Some(target.clone()),
        logs: Some(target),
        queue: QUEUE,
        ..TelemetryConfig::default()
    };
    let (mut cluster, _endpoint) = deliver(config).await;
    cluster.stop_node().await;
}

#[tokio::test]
async fn a_backend_that_refuses_is_counted() {
    let backend = Backend::start().await;
    backend.set(Mood::Refuses);
    let (cluster, _endpoint) = deliver(short(&backend)).await;
    cluster.told().await;
    assert_eq!(backend.value("sluice.telemetry.dropped", &[]) as i64, 0, "it has taken nothing yet");
    backend.set(Mood::Well);
    cluster.told().await;
    assert!(backend.value("sluice.telemetry.dropped", &[("sluice.reason", "export_failed")]) > 0.0);
}

#[tokio::test]
async fn a_backend_that_hangs_holds_no_stop_up_beyond_its_deadline() {
    let backend = Backend::start().await;
    let mut config = backend.config();
    config.queue = QUEUE;
    backend.set(Mood::Hangs);
    let (mut cluster, _endpoint) = deliver(config).await;
    // Its own patience is ten seconds; the node's is three, and what is left undone by then is given up.
    cluster.stop_node().await;
    assert!(backend.exports() > 0 && backend.names().is_empty(), "it had its chance");
    cluster.start_node().await;
    cluster.serving().await;
    backend.set(Mood::Well);
    cluster.told().await;
    assert_eq!(backend.value("sluice.deliveries.ended", &[]) as usize, EVENTS, "nothing that counts was lost");
}

#[tokio::test]
async fn a_backend_that_is_slow_gets_what_it_can_take() {
    let backend = Backend::start().await;
    backend.set(Mood::Slow(Duration::from_millis(20)));
    let (cluster, _endpoint) = deliver(short(&backend)).await;
    cluster.told().await;
    assert_eq!(backend.value("sluice.deliveries.ended", &[]) as usize, EVENTS);
}
