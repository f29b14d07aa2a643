//! A marked secret goes all the way to the endpoint, which echoes it, and is found nowhere else: not in answers, logs or files.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod mark;
mod programs;

use std::{
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
};

use sluice_proto::{
    delivery::v1::{DeadLetterFilter, ExportDeadLettersRequest},
    sync::v1::{
        Header, ListSyncsRequest, PreviewSyncRequest, RetryPolicy, Secret, Sync, TestSyncRequest, header::Value,
        preview_sync_request, test_sync_request,
    },
};
use sluice_telemetry::{TelemetryConfig, config::Queue};
use sluice_tests::{
    cluster::{Cluster, eventually, sync_name},
    endpoint::{Endpoint, status},
    events::{event, sync_to},
    otlp::Backend,
};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::mark::{MARK, assert_clean, assert_clean_below};

/// Which the body of each event holds, and its id does not.
const BODY: &str = "1@example.com";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn marked(url: &str) -> Sync {
    let value = Value::Secret(Secret { value: format!("Bearer {MARK}"), set: false });
    let offset = prost_types::Duration { seconds: 60, nanos: 0 };
    let mut sync = sync_to(url);
    sync.retry_policy = Some(RetryPolicy { round_offsets: vec![offset], ..RetryPolicy::default() });
    sync.destination.as_mut().unwrap().headers.push(Header { name: "Authorization".into(), value: Some(value) });
    sync
}

#[tokio::test]
async fn a_secret_is_found_at_its_endpoint_only() {
    let log = Log::default();
    let quiet = ["hyper", "h2", "tonic", "tower", "rustls", "sqlx"].map(|name| format!("{name}=info")).join(",");
    tracing_subscriber::registry()
        .with(EnvFilter::new(format!("trace,{quiet}")))
        .with(tracing_subscriber::fmt::layer().with_writer(log.clone()))
        .with(sluice_telemetry::logs::to_otlp())
        .init();

    let backend = Backend::start().await;
    let queue = Queue { size: 1 << 20, ..Queue::default() };
    let telemetry = TelemetryConfig { queue, ..backend.config() };
    let mut cluster = Cluster::start_telling(telemetry).await;
    let endpoint = Endpoint::start().await;
    endpoint.always(status(400).echo());
    // Who reads the sync sees the URL; who sees its spans must not see the values of its query.
    cluster.create("a", marked(&endpoint.url("/?key=k3y-in-the-url"))).await;
    cluster.send([event("a", "1")]).await;
    cluster.wait_for_attempts("a", 1).await;

    // The node delivers after a restart, from its own copy, without the control plane.
    cluster.stop_control_plane().await;
    cluster.stop_node().await;
    cluster.start_node().await;
    cluster.next_round().await;
    endpoint.wait_for_count(2).await;
    cluster.start_control_plane().await;
    cluster.redialling(cluster.wait_for_attempts("a", 2)).await;
    let received = endpoint.received();
    assert!(received.iter().all(|request| request.header("authorization") == format!("Bearer {MARK}")));

    let mut told = String::new();
    let syncs = ListSyncsRequest { parent: "projects/default".into(), ..Default::default() };
    write!(told, "{:?}", cluster.syncs().await.list_syncs(syncs).await.unwrap()).unwrap();
    write!(told, "{:?}", cluster.get("a").await).unwrap();
    let attempts = cluster.attempts("a").await;
    assert!(attempts.iter().all(|attempt| !attempt.response_excerpt.is_empty()), "what was echoed is kept");
    for attempt in &attempts {
        assert_clean("an excerpt", &attempt.response_excerpt);
    }
    write!(told, "{attempts:?}").unwrap();
    let letters = eventually("a dead letter", async || {
        let letters = cluster.dead_letters("a").await;
        (!letters.is_empty()).then_some(letters)
    });
    write!(told, "{:?}", letters.await).unwrap();
    let export = ExportDeadLettersRequest { parent: sync_name("a"), filter: Some(DeadLetterFilter::default()) };
    let mut export = cluster.deliveries().await.export_dead_letters(export).await.unwrap().into_inner();
    while let Some(message) = export.message().await.unwrap() {
        write!(told, "{message:?}").unwrap();
    }
    let preview = PreviewSyncRequest {
        subject: Some(preview_sync_request::Subject::Name(sync_name("a"))),
        event_json: event("a", "1"),
    };
    write!(told, "{:?}", cluster.syncs().await.preview_sync(preview).await.unwrap()).unwrap();
    let test = TestSyncRequest {
        subject: Some(test_sync_request::Subject::Name(sync_name("a"))),
        event_json: event("a", "1"),
        ..Default::default()
    };
    let test = cluster.syncs().await.test_sync(test).await.unwrap().into_inner();
    assert_eq!(test.attempt.as_ref().unwrap().http_status, 400);
    assert_clean("a test's excerpt", &test.attempt.as_ref().unwrap().response_excerpt);
    write!(told, "{test:?}").unwrap();
    assert_clean("an answer", told.as_bytes());

    assert_clean_below(cluster.folder());
    let logged = log.0.lock().unwrap().clone();
    assert!(logged.len() > 1_000, "the planes log");
    assert_clean("the log", &logged);
    assert!(!logged.windows(BODY.len()).any(|window| window == BODY.as_bytes()), "no event's body is logged");

    cluster.told().await;
    let exported = backend.bytes();
    assert!(backend.spans("sluice-node").iter().any(|span| span.name == "POST"));
    assert!(backend.logs().len() > 10, "{} log records", backend.logs().len());
    assert!(backend.value("sluice.attempts", &[]) > 0.0, "all three signals were exported");
    assert_clean("what OpenTelemetry is told", &exported);
    for (text, what) in [(BODY, "nothing of an event's body"), ("k3y-in-the-url", "no value of a query")] {
        assert!(!exported.windows(text.len()).any(|window| window == text.as_bytes()), "{what} is told");
    }
}
