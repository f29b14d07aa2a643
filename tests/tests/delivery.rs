//! What reaches the endpoint: bodies, headers, filters, TLS.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use sluice_pipeline::event::{EventId, WebhookId};
use sluice_proto::{
    delivery::v1::{AttemptError, AttemptOutcome},
    event::v1::{Event, SendEventsRequest},
    sync::v1::PropertyOperator,
};
use sluice_tests::{
    cluster::Cluster,
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, export, sync_to},
};

const DOCUMENTED: &str = r#"{
      <#if input.user_id??>
      "external_id" : "${input.user_id}",
      </#if>
      "name" : "${input.event_type}",
      "time" : "${input.event_time}",
      "properties" : {
            "email" : "${input.user_properties.email!"none"}"
      }
}
"#;

#[tokio::test]
async fn the_original_arrives_byte_for_byte() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/hook?a=1"))).await;
    // White space, key order, number spelling and duplicate keys are the producer's.
    let json = Bytes::from_static(
        b" {\"b\": 1.10,\t\"event_type\":\"x\",\"a\":1e2,\"n\":12345678901234567890, \"\xc3\xa9\":\"\\u00e9\"}\n",
    );
    cluster.send([json.clone()]).await;
    let received = endpoint.wait_for(1).await;
    assert_eq!(received[0].body, json);
    assert_eq!((received[0].method.as_str(), received[0].path.as_str()), ("POST", "/hook?a=1"));
    assert_eq!(received[0].header("content-type"), "application/json");
    assert_eq!(received[0].header("user-agent"), "Sluice/Webhook/1.0");
    cluster.settled().await;
}

#[tokio::test]
async fn the_documented_template_gives_the_documented_body() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let sync = sync_to(&endpoint.url("/")).template(DOCUMENTED).secret_header("Authorization", "Bearer t0p-s3cret");
    cluster.create("braze", sync.header("X-Source", "sluice")).await;
    cluster.send([event("click event", "u-1")]).await;
    let received = endpoint.wait_for(1).await;
    assert_eq!(
        received[0].text(),
        "{\n            \"external_id\" : \"u-1\",\n      \"name\" : \"click event\",\n      \
         \"time\" : \"2024-03-13 10:21:14.919000\",\n      \"properties\" : {\n            \
         \"email\" : \"u-1@example.com\"\n      }\n}\n"
    );
    assert_eq!(received[0].header("authorization"), "Bearer t0p-s3cret");
    assert_eq!(received[0].header("x-source"), "sluice");
    cluster.settled().await;
}

#[tokio::test]
async fn webhook_ids_can_be_computed_from_what_the_producer_knows() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let sync = cluster.create("all", sync_to(&endpoint.url("/"))).await;
    let request = SendEventsRequest {
        producer_id: "shop-1".to_owned(),
        first_sequence: 41,
        events: vec![Event { json: event("a", "u"), ..Event::default() }],
    };
    cluster.events().await.send_events(request).await.unwrap();
    let id = WebhookId::new(EventId::new("default", "shop-1", 41), &sync.uid);
    assert_eq!(endpoint.wait_for(1).await[0].header("webhook-id"), id.to_string());
    cluster.settled().await;
}

#[tokio::test]
async fn every_sync_gets_just_what_its_filter_takes() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let purchases = sync_to(&endpoint.url("/purchases")).event_types(&["purchase", "add_to_cart"]);
    let known = sync_to(&endpoint.url("/known")).property(&["user_id"], PropertyOperator::IsNot, &["(none)"]);
    let none = sync_to(&endpoint.url("/none")).event_types(&["no such type"]);
    cluster.create("purchases", purchases).await;
    cluster.create("known", known).await;
    cluster.create("none", none).await;
    let events = export();
    cluster.send(events.clone()).await;

    let wanted = |check: fn(&serde_json::Value) -> bool| {
        let parsed = events.iter().map(|event| serde_json::from_slice(event).unwrap());
        parsed.filter(|event: &serde_json::Value| check(event)).count()
    };
    let purchases = wanted(|event| event["event_type"] == "purchase" || event["event_type"] == "add_to_cart");
    let known = wanted(|event| !event["user_id"].is_null());
    assert!(purchases > 0 && known > purchases && known < events.len());
    let received = endpoint.wait_for(purchases + known).await;
    let at = |path: &str| received.iter().filter(|request| request.path == path).count();
    assert_eq!((at("/purchases"), at("/known"), at("/none")), (purchases, known, 0));

    let ledger = cluster.settled().await;
    assert_eq!(ledger.events.received, 1_000);
    assert_eq!(cluster.wait_for_attempts("purchases", purchases).await.len(), purchases);
    cluster.wait_for_attempts("known", known).await;
    let metrics = cluster.metrics("known").await;
    assert_eq!((metrics.delivered_count, metrics.attempt_count), (known as i64, known as i64));
    assert_eq!(metrics.delivered_first_attempt_count, known as i64);
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let (trusted_ca, other_ca) = (folder.path().join("ca.pem"), folder.path().join("other.pem"));
    let trusted = Endpoint::start_tls(&trusted_ca).await;
    let untrusted = Endpoint::start_tls(&other_ca).await;
    let cluster = Cluster::start_trusting(Some(&trusted_ca)).await;
    cluster.create("trusted", sync_to(&trusted.url("/"))).await;
    cluster.create("untrusted", sync_to(&untrusted.url("/"))).await;
    cluster.send([event("a", "u")]).await;

    assert_eq!(trusted.wait_for(1).await[0].body, event("a", "u"));
    let refused = &cluster.wait_for_attempts("untrusted", 1).await[0];
    assert_eq!(refused.error(), AttemptError::Tls, "{refused:?}");
    assert_eq!(refused.outcome(), AttemptOutcome::RetryNextRound);
    assert!(refused.error_message.contains("certificate"), "{}", refused.error_message);
    assert!(untrusted.received().is_empty());
}

#[tokio::test]
async fn a_template_that_fails_makes_no_request_and_is_a_dead_letter() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let sync = sync_to(&endpoint.url("/")).template("{\"plan\": \"${input.plan_name}\"}");
    cluster.create("broken", sync).await;
    cluster.send([event("a", "u")]).await;
    let ledger = cluster.settled().await;
    assert_eq!(ledger.deliveries[0].1.discarded, 1);
    let attempt = &cluster.wait_for_attempts("broken", 1).await[0];
    assert_eq!((attempt.outcome(), attempt.error()), (AttemptOutcome::Discarded, AttemptError::Render));
    assert!(attempt.error_message.contains("input.plan_name"), "{}", attempt.error_message);
    assert!(endpoint.received().is_empty());
    assert_eq!(cluster.metrics("broken").await.discarded_count, 1);
}

#[tokio::test]
async fn output_that_is_not_json_is_an_error_unless_allowed() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("strict", sync_to(&endpoint.url("/")).template("{\"a\": ${input.user_id}}")).await;
    cluster.send([event("a", "not-json")]).await;
    let attempt = &cluster.wait_for_attempts("strict", 1).await[0];
    assert_eq!(attempt.error(), AttemptError::Render);
    assert!(attempt.error_message.contains("JSON"), "{}", attempt.error_message);
    assert!(endpoint.received().is_empty());
}

#[tokio::test]
async fn an_endpoint_that_echoes_secrets_does_not_get_them_stored() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400).echo());
    cluster.create("echo", sync_to(&endpoint.url("/")).secret_header("Authorization", "Bearer t0p-s3cret")).await;
    cluster.send([event("a", "u")]).await;
    let attempt = cluster.wait_for_attempts("echo", 1).await.remove(0);
    let excerpt = String::from_utf8_lossy(&attempt.response_excerpt).into_owned();
    assert!(excerpt.contains("webhook-id"), "{excerpt}");
    assert!(!format!("{attempt:?}").contains("s3cret"), "{excerpt}");
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(302).header("location", &endpoint.url("/elsewhere")));
    cluster.create("moved", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    let attempt = &cluster.wait_for_attempts("moved", 1).await[0];
    assert_eq!((attempt.http_status, attempt.outcome()), (302, AttemptOutcome::RetryNextRound));
    assert_eq!(endpoint.received().len(), 1);
}

#[tokio::test]
async fn the_node_never_delivers_to_itself() {
    let cluster = Cluster::start().await;
    cluster.create("loop", sync_to(&format!("{}/hook", cluster.node_url()))).await;
    cluster.send([event("a", "u")]).await;
    let attempt = &cluster.wait_for_attempts("loop", 1).await[0];
    assert_eq!(attempt.error(), AttemptError::BlockedAddress, "{}", attempt.error_message);
}
