use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use sluice_proto::{
    delivery::v1::{DeadLetterFilter, RedeliverDeadLettersRequest},
    event::v1::{Event, SendEventsRequest},
    sync::v1::{GetSyncRequest, RetryPolicy, Sync},
};
use sluice_telemetry::{TelemetryConfig, sampling::Sampling};
use sluice_tests::{
    cluster::{Cluster, eventually, sync_name},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
    otlp::{Backend, attribute},
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ids(traceparent: &str) -> (String, String) {
    let parts: Vec<_> = traceparent.split('-').collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

async fn send_traced(cluster: &Cluster, traceparent: &str) {
    let events = vec![Event { json: event("a", "u"), traceparent: traceparent.into(), tracestate: "shop=1".into() }];
    cluster.events().await.send_events(SendEventsRequest { events, ..Default::default() }).await.unwrap();
}

async fn spans(cluster: &Cluster, backend: &Backend) -> Vec<Span> {
    cluster.told().await;
    backend.spans("sluice-node")
}

fn of_sync<'a>(spans: &'a [Span], id: &str, name: &str) -> Vec<&'a Span> {
    let fits = |span: &&Span| span.name == name && attribute(&span.attributes, "sluice.sync") == sync_name(id);
    spans.iter().filter(fits).collect()
}

#[tokio::test]
async fn an_event_is_one_trace_from_the_producer_through_both_syncs() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config_gzip()).await, Endpoint::start().await);
    endpoint.decide(|request| status(if request.path.starts_with("/well") { 200 } else { 400 }));
    cluster.create("well", sync_to(&endpoint.url("/well?key=s3cret")).template("{\"a\": 1}")).await;
    cluster.create("failing", sync_to(&endpoint.url("/failing"))).await;
    send_traced(&cluster, PARENT).await;
    // The first two rounds fail, the third is taken.
    cluster.wait_for_attempts("failing", 1).await;
    cluster.next_round().await;
    endpoint.wait_for_count(3).await;
    endpoint.always(status(200));
    cluster.next_round().await;
    cluster.settled().await;

    let spans = spans(&cluster, &backend).await;
    let (trace, producer) = ids(PARENT);
    let in_trace: Vec<_> = spans.iter().filter(|span| hex(&span.trace_id) == trace).collect();
    let accept = in_trace.iter().find(|span| span.name == "accept").unwrap();
    assert_eq!((hex(&accept.parent_span_id), accept.kind()), (producer, SpanKind::Consumer));
    assert_eq!(attribute(&accept.attributes, "sluice.matched"), "2");
    assert_eq!(accept.trace_state, "shop=1");

    // The one that is well: accept > deliver > render, POST.
    let deliver = of_sync(&spans, "well", "deliver");
    assert_eq!((deliver.len(), &deliver[0].parent_span_id), (1, &accept.span_id));
    let post = of_sync(&spans, "well", "POST");
    assert_eq!((post.len(), &post[0].parent_span_id, post[0].kind()), (1, &deliver[0].span_id, SpanKind::Client));
    assert!(in_trace.iter().any(|span| span.name == "render" && span.parent_span_id == deliver[0].span_id));
    let of_post = |key| attribute(&post[0].attributes, key);
    assert_eq!(of_post("url.full"), endpoint.url("/well?key=REDACTED"));
    assert_eq!((of_post("http.request.method"), of_post("http.response.status_code")), ("POST".into(), "200".into()));
    assert_eq!((of_post("server.address"), of_post("network.peer.address")), ("127.0.0.1".into(), "127.0.0.1".into()));
    assert_eq!((of_post("network.protocol.version"), of_post("error.type")), ("1.1".into(), String::new()));
    assert_eq!((of_post("sluice.round"), of_post("sluice.attempt")), ("1".into(), "1".into()));
    assert_eq!(of_post("sluice.event.type"), "a");
    let revision = cluster.get("well").await.revision;
    assert_eq!(of_post("sluice.sync.revision"), revision.to_string());

    // The one that fails: its first round in the same trace, the others in their own, linked to it.
    let rounds = of_sync(&spans, "failing", "deliver");
    assert_eq!(rounds.len(), 3);
    let [first, second, third] = [1, 2, 3].map(|round: i32| {
        *rounds.iter().find(|span| attribute(&span.attributes, "sluice.round") == round.to_string()).unwrap()
    });
    assert_eq!((hex(&first.trace_id), &first.parent_span_id), (trace.clone(), &accept.span_id));
    assert_eq!(first.status.as_ref().unwrap().code(), StatusCode::Error);
    for later in [second, third] {
        assert!(later.parent_span_id.is_empty() && later.trace_id != first.trace_id);
        let linked: Vec<_> = later.links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
        assert_eq!(linked, [(&accept.trace_id, &accept.span_id), (&first.trace_id, &first.span_id)]);
    }
    assert_ne!(second.trace_id, third.trace_id);
    assert_eq!(third.status.as_ref().map(|status| status.code()).unwrap_or_default(), StatusCode::Unset);
    let refused = of_sync(&spans, "failing", "POST");
    let failed = refused.iter().filter(|span| attribute(&span.attributes, "error.type") == "400").count();
    assert_eq!((refused.len(), failed), (3, 2));
    for span in &spans {
        let parent = spans.iter().find(|above| above.span_id == span.parent_span_id);
        assert!(span.name == "accept" || span.name == "deliver" || parent.is_some_and(|p| p.trace_id == span.trace_id));
    }
    assert_eq!(backend.encodings().into_iter().collect::<Vec<_>>(), ["gzip"]);
}

#[tokio::test]
async fn attempts_within_a_round_are_siblings_that_say_how_often() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    endpoint.script([status(500), status(503)]);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    cluster.time.advance_to_next("quick retry").await;
    cluster.time.advance_to_next("quick retry").await;
    cluster.settled().await;
    let spans = spans(&cluster, &backend).await;
    let round = of_sync(&spans, "s", "deliver");
    let posts = of_sync(&spans, "s", "POST");
    assert!(round.len() == 1 && posts.iter().all(|post| post.parent_span_id == round[0].span_id));
    let resent: Vec<_> = posts.iter().map(|post| attribute(&post.attributes, "http.request.resend_count")).collect();
    let errors: Vec<_> = posts.iter().map(|post| attribute(&post.attributes, "error.type")).collect();
    assert_eq!(
        (resent, errors),
        (vec!["".to_owned(), "1".into(), "2".into()], vec!["500".to_owned(), "503".into(), "".into()])
    );
    // A trace that begins here has the event's id, so that it can be found.
    let accept = spans.iter().find(|span| span.name == "accept").unwrap();
    assert_eq!(hex(&accept.trace_id), attribute(&accept.attributes, "sluice.event.id"));
    assert!(accept.parent_span_id.is_empty());
}

#[tokio::test]
async fn a_redelivery_an_hour_later_is_linked() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    endpoint.always(status(400));
    let once =
        RetryPolicy { round_offsets: vec![prost_types::Duration { seconds: 60, nanos: 0 }], ..RetryPolicy::default() };
    cluster.create("s", Sync { retry_policy: Some(once), ..sync_to(&endpoint.url("/")) }).await;
    send_traced(&cluster, PARENT).await;
    cluster.wait_for_attempts("s", 1).await;
    cluster.next_round().await;
    cluster.settled().await;
    endpoint.always(status(200));
    cluster.time.advance(std::time::Duration::from_secs(3_600));
    cluster.dead_letters("s").await;
    let request = RedeliverDeadLettersRequest { parent: sync_name("s"), filter: Some(DeadLetterFilter::default()) };
    let mut told = cluster.deliveries().await.redeliver_dead_letters(request).await.unwrap().into_inner();
    while told.message().await.unwrap().is_some() {}
    endpoint.wait_for_count(3).await;
    cluster.settled().await;

    let spans = spans(&cluster, &backend).await;
    let again = of_sync(&spans, "s", "deliver")
        .into_iter()
        .find(|span| attribute(&span.attributes, "sluice.schedule") == "2")
        .unwrap();
    let accept = spans.iter().find(|span| span.name == "accept").unwrap();
    assert!(again.trace_id != accept.trace_id && again.parent_span_id.is_empty());
    assert!(again.links.iter().any(|link| link.span_id == accept.span_id && link.trace_id == accept.trace_id));
    assert_eq!(attribute(&again.attributes, "sluice.outcome"), "delivered");
    assert!(again.start_time_unix_nano - accept.start_time_unix_nano >= 3_600_000_000_000);
}

#[tokio::test]
async fn nothing_of_a_trace_that_is_left_out_is_told_but_its_failures_if_wanted() {
    for keep_failures in [false, true] {
        let backend = Backend::start().await;
        let config = TelemetryConfig { keep_failures, ..backend.config() };
        let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
        cluster.create("s", sync_to(&endpoint.url("/"))).await;
        send_traced(&cluster, &PARENT.replace("-01", "-00")).await;
        cluster.settled().await;
        assert_eq!(spans(&cluster, &backend).await.len(), 0);
        endpoint.script([status(400)]);
        send_traced(&cluster, &PARENT.replace("-01", "-00")).await;
        cluster.wait_for_attempts("s", 2).await;
        cluster.next_round().await;
        cluster.settled().await;
        let spans = spans(&cluster, &backend).await;
        let posts = of_sync(&spans, "s", "POST");
        assert_eq!((posts.len(), of_sync(&spans, "s", "deliver").len()), if keep_failures { (2, 2) } else { (0, 0) });
        if keep_failures {
            assert_eq!(hex(&posts[0].trace_id), ids(PARENT).0, "it belongs to the producer's trace all the same");
        }
    }
}

#[tokio::test]
async fn a_ratio_decides_where_nobody_else_has() {
    let backend = Backend::start().await;
    let config = TelemetryConfig { sampling: Sampling { by_parent: false, ratio: 0.0 }, ..backend.config() };
    let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    send_traced(&cluster, PARENT).await;
    cluster.send([event("a", "u")]).await;
    cluster.settled().await;
    assert_eq!(spans(&cluster, &backend).await.len(), 0);
}

#[tokio::test]
async fn an_endpoint_gets_the_trace_only_if_its_sync_says_so() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    let mut sends = sync_to(&endpoint.url("/sends"));
    sends.destination.as_mut().unwrap().send_trace_context = true;
    let created = cluster.create("sends", sends).await;
    assert!(created.required_features.contains(&"destination.trace_context".to_owned()));
    cluster.create("silent", sync_to(&endpoint.url("/silent"))).await;
    send_traced(&cluster, PARENT).await;
    cluster.settled().await;
    let received = endpoint.received();
    let spans = spans(&cluster, &backend).await;
    for request in &received {
        let (traceparent, tracestate) = (request.header("traceparent"), request.header("tracestate"));
        if request.path == "/silent" {
            assert_eq!((traceparent, tracestate), ("", ""));
        } else {
            let post = of_sync(&spans, "sends", "POST")[0];
            assert_eq!(traceparent, format!("00-{}-{}-01", hex(&post.trace_id), hex(&post.span_id)));
            assert_eq!(tracestate, "shop=1");
        }
    }
    assert_eq!(received.len(), 2);
}

#[tokio::test]
async fn a_call_with_a_trace_is_the_parent_of_its_events_and_of_the_control_planes_span() {
    let backend = Backend::start().await;
    let (cluster, endpoint) = (Cluster::start_telling(backend.config()).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    let events = vec![Event { json: event("a", "u"), ..Event::default() }];
    let mut request = tonic::Request::new(SendEventsRequest { events, ..Default::default() });
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    cluster.events().await.send_events(request).await.unwrap();
    cluster.settled().await;
    let mut request = tonic::Request::new(GetSyncRequest { name: sync_name("none") });
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    cluster.syncs().await.get_sync(request).await.unwrap_err();

    let of_node = spans(&cluster, &backend).await;
    let (trace, producer) = ids(PARENT);
    let accept = of_node.iter().find(|span| span.name == "accept").unwrap();
    assert_eq!((hex(&accept.trace_id), hex(&accept.parent_span_id)), (trace.clone(), producer.clone()));
    let call = eventually("the call's span", async || {
        cluster.told().await;
        let spans = backend.spans("sluice-control-plane");
        spans.into_iter().find(|span| span.name == "sluice.sync.v1.SyncService/GetSync")
    })
    .await;
    assert_eq!((hex(&call.trace_id), hex(&call.parent_span_id), call.kind()), (trace, producer, SpanKind::Server));
    assert_eq!(attribute(&call.attributes, "rpc.response.status_code"), "NOT_FOUND");
    assert_eq!(attribute(&call.attributes, "rpc.system.name"), "grpc");
}
