use std::collections::BTreeSet;

use sluice_proto::{
    delivery::v1::AttemptError,
    node::v1::{
        Hello, SyncCatalogRequest, node_session_service_client::NodeSessionServiceClient, sync_catalog_request::Message,
    },
    sync::v1::{RetryPolicy, Sync},
};
use sluice_telemetry::{
    TelemetryConfig,
    instruments::{self, ALL, Plane},
};
use sluice_tests::{
    cluster::{Cluster, eventually, sync_name},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
    otlp::Backend,
};
use tokio_stream::StreamExt as _;

const NODE: &str = "sluice-node";

/// Syncs that deliver, fail for good, and cannot render; and what is sent to them.
async fn busy(cluster: &Cluster, endpoint: &Endpoint) {
    endpoint.decide(|request| status(if request.path == "/refuses" { 400 } else { 200 }));
    let once =
        RetryPolicy { round_offsets: vec![prost_types::Duration { seconds: 60, nanos: 0 }], ..RetryPolicy::default() };
    cluster.create("well", sync_to(&endpoint.url("/well"))).await;
    cluster
        .create("refused", Sync { retry_policy: Some(once), ..sync_to(&endpoint.url("/refuses")).event_types(&["b"]) })
        .await;
    let template = "${input.event_properties.no_such_thing}";
    cluster.create("broken", sync_to(&endpoint.url("/broken")).event_types(&["b"]).template(template)).await;
    let events = (0..20).map(|n| event(if n % 4 == 0 { "b" } else { "a" }, &format!("u{n}")));
    cluster.send(events.chain([bytes::Bytes::from_static(b"no event")])).await;
    cluster.wait_for_attempts("refused", 5).await;
    // Each has its own jitter.
    let rounds = async {
        loop {
            cluster.next_round().await;
        }
    };
    tokio::select! {
        _ = cluster.settled() => {}
        () = rounds => unreachable!("it goes on for ever"),
    }
    cluster.wait_for_attempts("refused", 10).await;
    cluster.wait_for_attempts("broken", 5).await;
    cluster.wait_for_attempts("well", 20).await;
}

#[tokio::test]
async fn sums_are_those_of_the_ledger_the_reports_and_the_receiver() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    busy(&cluster, &endpoint).await;
    cluster.told().await;

    let ledger = cluster.ledger().await;
    let events = |outcome: &str| backend.value("sluice.events", &[("sluice.outcome", outcome)]) as i64;
    assert_eq!(
        (events("rejected"), events("duplicate"), events("unmatched"), events("matched")),
        (ledger.events.rejected, ledger.events.duplicates, ledger.events.unmatched, ledger.events.matched)
    );
    assert_eq!((ledger.events.matched, ledger.events.rejected), (20, 1));
    for (key, counts) in &ledger.deliveries {
        let sync = [(instruments::SYNC, &*key.name)];
        let ended =
            |outcome| backend.value("sluice.deliveries.ended", &[sync[0], (instruments::OUTCOME, outcome)]) as i64;
        assert_eq!(backend.value("sluice.deliveries.created", &sync) as i64, counts.created);
        assert_eq!(
            (ended("delivered"), ended("expired"), ended("discarded")),
            (counts.delivered, counts.expired, counts.discarded)
        );
        assert_eq!(backend.value("sluice.deliveries.pending", &sync) as i64, counts.pending);
        assert_eq!(backend.value("sluice.dead_letters", &sync) as i64, counts.dead_letters);
        assert_eq!(backend.value("sluice.delivery.latency", &sync) as i64, counts.delivered, "one for each delivered");
    }
    let mut requests = 0;
    for id in ["well", "refused", "broken"] {
        let (name, reports) = (sync_name(id), cluster.attempts(id).await);
        let sync = (instruments::SYNC, name.as_str());
        assert_eq!(backend.value("sluice.attempts", &[sync]) as usize, reports.len(), "{id}");
        let made = reports.iter().filter(|attempt| attempt.error() != AttemptError::Render).count();
        assert_eq!(backend.value("sluice.attempt.duration", &[sync]) as usize, made, "{id}");
        requests += made;
    }
    assert_eq!(requests, endpoint.count());
    let refused = [("sluice.status_class", "4xx"), ("error.type", "400")];
    assert_eq!(backend.value("sluice.attempts", &refused) as i64, 10);
    assert_eq!(backend.value("sluice.attempts", &[("sluice.status_class", "2xx")]) as i64, 20);
    assert_eq!(backend.value("sluice.render.failures", &[]) as i64, 5);
    assert!(backend.encodings().contains("identity"));
}

#[tokio::test]
async fn every_metric_of_the_list_is_told_and_no_other() {
    let backend = Backend::start().await;
    let config = TelemetryConfig { explicit_buckets: true, ..backend.config_gzip() };
    let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
    busy(&cluster, &endpoint).await;
    cluster.told().await;

    let told = backend.names();
    let listed: BTreeSet<String> = ALL.iter().map(|instrument| instrument.name.to_owned()).collect();
    assert_eq!(told, listed);
    for instrument in ALL {
        let attributes = backend.attributes(instrument.name);
        let listed: BTreeSet<String> = instrument.attributes.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(attributes, listed, "{}", instrument.name);
    }
    assert_eq!(backend.encodings().into_iter().collect::<Vec<_>>(), ["gzip"]);
    assert!(ALL.iter().any(|instrument| instrument.plane == Plane::ControlPlane));
}

#[tokio::test]
async fn what_the_ledger_has_counted_is_told_after_a_restart_too() {
    let backend = Backend::start().await;
    let (mut cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "1"), event("a", "2")]).await;
    cluster.settled().await;
    // The stop tells it, without being asked.
    cluster.stop_node().await;
    assert_eq!(backend.value("sluice.deliveries.ended", &[]) as i64, 2);
    cluster.start_node().await;
    cluster.serving().await;
    cluster.send([event("a", "3")]).await;
    cluster.settled().await;
    cluster.told().await;
    assert_eq!(backend.value("sluice.deliveries.ended", &[]) as i64, 3);
    assert_eq!(backend.value("sluice.catalog.revision", &[]) as i64, 2 * cluster.node().catalog().borrow().revision());
    assert!(!backend.spans(NODE).iter().any(|span| span.trace_id.is_empty()));
}

#[tokio::test]
async fn syncs_beyond_the_limit_are_one() {
    let backend = Backend::start().await;
    let config = TelemetryConfig { labels: 2, ..backend.config() };
    let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
    for id in ["a", "b", "c", "d"] {
        cluster.create(id, sync_to(&endpoint.url("/"))).await;
    }
    cluster.send((0..5).map(|n| event("a", &n.to_string()))).await;
    cluster.settled().await;
    cluster.told().await;
    for name in ["sluice.deliveries.ended", "sluice.attempts", "sluice.attempt.duration"] {
        let of = |sync: &str| backend.value(name, &[(instruments::SYNC, sync)]) as i64;
        assert_eq!((of("_other"), backend.value(name, &[]) as i64), (10, 20), "{name}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_take_a_change_is_behind_since_it_was_made() {
    let backend = Backend::start().await;
    let cluster = Cluster::start_telling(backend.config()).await;
    cluster.create("a", sync_to("http://127.0.0.1:1/")).await;
    let slow = [("sluice.node", "nodes/slow")];
    // It joins with the newest that there is, and acks nothing that follows.
    let (epoch, revision) = {
        let catalog = cluster.node().catalog().borrow().clone();
        (catalog.epoch().to_owned(), catalog.revision())
    };
    let hello = Hello {
        node: "nodes/slow".into(),
        instance: "i".into(),
        protocol_version: sluice_proto::PROTOCOL_VERSION,
        epoch,
        revision,
        ..Hello::default()
    };
    let first = SyncCatalogRequest { message: Some(Message::Hello(hello)) };
    let requests = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut sessions = NodeSessionServiceClient::new(cluster.control_channel().await);
    let mut answers = sessions.sync_catalog(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("it is welcome");
    cluster.told().await;
    assert_eq!(backend.value("sluice.rollout.behind", &slow) as i64, 0);

    cluster.create("b", sync_to("http://127.0.0.1:1/")).await;
    cluster.time.advance(std::time::Duration::from_secs(7));
    cluster.told().await;
    assert_eq!(backend.value("sluice.rollout.behind", &slow) as i64, 7);
    assert_eq!(backend.value("sluice.rollout.lag", &slow) as i64, 1);
    eventually("the other node has taken it", async || {
        cluster.told().await;
        (backend.value("sluice.rollout.behind", &[("sluice.node", "nodes/n1")]) as i64 == 0).then_some(())
    })
    .await;
}
