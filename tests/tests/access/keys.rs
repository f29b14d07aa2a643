//! Keys for events: checked by the node, revoked by the control plane.

use sluice_client::{Error, Publisher};
use sluice_proto::{
    access::v1::{GetKeyRequest, Key, KeyLimits, Role},
    event::v1::{Event, SendEventsRequest, StreamEventsRequest, stream_events_request::Message},
};
use sluice_tests::{
    closed::Closed,
    cluster::{START_MS, eventually},
    endpoint::{Endpoint, status},
    events::{event, sync_to},
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

async fn send(closed: &Closed, text: &str, events: usize) -> Result<(), Status> {
    let connection = closed.with_key(text).connect(&closed.node_url()).await.unwrap();
    let events = (0..events).map(|_| Event { json: event("order", "u"), ..Event::default() }).collect();
    let request = SendEventsRequest { events, ..SendEventsRequest::default() };
    sluice_client::event_client(connection).send_events(request).await.map(drop)
}

/// Waits until the node has heard of a key.
async fn known(closed: &Closed, text: &str) {
    eventually("the node knows the key", async || {
        send(closed, text, 0).await.err().filter(|status| status.code() == Code::InvalidArgument)
    })
    .await;
}

#[tokio::test]
async fn events_belong_to_the_project_of_their_key() {
    let closed = Closed::start().await;
    let endpoint = Endpoint::start().await;
    endpoint.always(status(200));
    for project in ["shop", "news"] {
        closed.project(project).await;
        closed.create(project, "orders", sync_to(&endpoint.url(&format!("/{project}")))).await;
    }
    let (_, text) = closed.key(Role::Ingest, "shop").await;
    known(&closed, &text).await;
    send(&closed, &text, 3).await.unwrap();
    let received = endpoint.wait_for(3).await;
    assert!(received.iter().all(|request| request.path == "/shop"), "{received:?}");
    closed.stop().await;
    assert_eq!(endpoint.count(), 3);
}

#[tokio::test]
async fn a_key_that_is_revoked_ends_its_streams_and_opens_no_other() {
    let closed = Closed::start().await;
    let (name, text) = closed.key(Role::Ingest, "default").await;
    known(&closed, &text).await;
    let builder = || Publisher::builder(&closed.node_url()).credentials(closed.with_key(&text));
    let publisher = builder().connect().await.unwrap();
    publisher.send(event("order", "u")).await.unwrap();
    publisher.flush().await.unwrap();

    closed.revoke(&name).await;
    let mut progress = publisher.progress();
    while progress.changed().await.is_ok() {}
    let Err(Error::Refused(status)) = publisher.finish().await else { panic!("the stream goes on") };
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let Err(Error::Refused(status)) = builder().connect().await.map(drop) else { panic!("another stream has opened") };
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
}

#[tokio::test]
async fn a_key_that_expires_ends_its_streams() {
    let closed = Closed::start().await;
    let soon = prost_types::Timestamp { seconds: START_MS / 1_000 + 5, nanos: 0 };
    let expiring = Key {
        role: Role::Ingest.into(),
        project: "projects/default".to_owned(),
        expire_time: Some(soon),
        ..Key::default()
    };
    let (_, text) = closed.key_like("", expiring).await;
    known(&closed, &text).await;
    let publisher = Publisher::builder(&closed.node_url()).credentials(closed.with_key(&text)).connect().await.unwrap();
    closed.time.advance_to(START_MS + 5_000);
    let mut progress = publisher.progress();
    while progress.changed().await.is_ok() {}
    let Err(Error::Refused(status)) = publisher.finish().await else { panic!("the stream goes on") };
    assert!(status.message().contains("has expired"), "{status}");
}

#[tokio::test]
async fn a_node_goes_on_checking_keys_without_a_control_plane() {
    let mut closed = Closed::start().await;
    let (_, text) = closed.key(Role::Ingest, "default").await;
    known(&closed, &text).await;
    closed.stop_control_plane().await;
    closed.restart_node().await;
    send(&closed, &text, 1).await.unwrap();
    let stranger = format!("sluice_{}", "0".repeat(64));
    assert_eq!(send(&closed, &stranger, 1).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn when_a_key_was_used_last_is_told_to_the_minute() {
    let closed = Closed::start().await;
    let (name, text) = closed.key(Role::Ingest, "default").await;
    known(&closed, &text).await;
    closed.time.advance_to(START_MS + 30_000);
    send(&closed, &text, 1).await.unwrap();
    closed.time.advance_to_next("heartbeat").await;
    let last_use = eventually("the use is told", async || {
        let key = closed.access().await.get_key(GetKeyRequest { name: name.clone() }).await.unwrap().into_inner();
        key.last_use_time
    })
    .await;
    assert_eq!(last_use.seconds, START_MS / 1_000);
}

#[tokio::test]
async fn a_call_beyond_its_keys_limit_is_told_when_to_come_back() {
    let closed = Closed::start().await;
    let limits = KeyLimits { events_per_second: 10, ..KeyLimits::default() };
    let (_, text) = closed.limited_key("default", limits).await;
    known(&closed, &text).await;
    send(&closed, &text, 30).await.unwrap();
    let refused = send(&closed, &text, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let wait = refused.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(wait.as_millis(), 2_000, "one second's worth may be used ahead");
    closed.time.advance_to(START_MS + 2_000);
    send(&closed, &text, 1).await.unwrap();
}

#[tokio::test]
async fn a_stream_beyond_its_keys_limit_waits() {
    let closed = Closed::start().await;
    let limits = KeyLimits { bytes_per_second: 100, max_streams: 1, ..KeyLimits::default() };
    let (_, text) = closed.limited_key("default", limits).await;
    known(&closed, &text).await;
    let builder = || Publisher::builder(&closed.node_url()).credentials(closed.with_key(&text));
    let publisher = builder().connect().await.unwrap();
    publisher.send(event("order", "u")).await.unwrap();
    publisher.flush().await.unwrap();
    publisher.send(event("order", "u")).await.unwrap();
    closed.time.next("key's limits").await;
    assert_eq!(publisher.progress().borrow().acked_sequence, 1);
    closed.time.advance_to_next("key's limits").await;
    publisher.flush().await.unwrap();

    let connection = closed.with_key(&text).connect(&closed.node_url()).await.unwrap();
    let open = StreamEventsRequest { message: Some(Message::Open(Default::default())) };
    let refused = sluice_client::event_client(connection).stream_events(tokio_stream::once(open)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("1 streams"), "{refused}");
}
