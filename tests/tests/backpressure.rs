//! What producers may have in the node's memory: a window each, a budget all together, places for calls. Whoever goes beyond is
//! held back and loses nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use sluice_client::{Backoff, Publisher};
use sluice_node::ingest::{
    BUDGET_BYTES, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_CALLS, MAX_MESSAGE_BYTES, MAX_STREAMS_PER_CONNECTION,
};
use sluice_proto::event::v1::{
    Batch, Event, Open, SendEventsRequest, StreamEventsRequest, StreamEventsResponse,
    event_service_client::EventServiceClient, stream_events_request::Message as Request,
    stream_events_response::Message as Response,
};
use sluice_proto::sync::v1::{BacklogPolicy, Limits, Sync};
use sluice_tests::{
    cluster::{Cluster, eventually},
    endpoint::Endpoint,
    events::{event, sync_to},
    producer::Producer,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, body::Body};
use tower::ServiceExt as _;

/// Sends batches as fast as the transport takes them, whatever the window says. Gives the answers and counts the batches.
async fn flood(
    client: &mut EventServiceClient<sluice_client::Connection>,
    id: &str,
    batches: u64,
    events: &[Bytes],
) -> (Streaming<StreamEventsResponse>, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let (counter, events) = (sent.clone(), events.to_vec());
    let open = Request::Open(Open { producer_id: id.to_owned(), first_sequence: 1 });
    let flood = (0..batches).map(move |batch| {
        counter.fetch_add(1, Ordering::Relaxed);
        let first_sequence = batch * events.len() as u64 + 1;
        let events = events.iter().map(|json| Event { json: json.clone(), ..Event::default() }).collect();
        Request::Batch(Batch { first_sequence, events })
    });
    let requests = std::iter::once(open).chain(flood).map(|message| StreamEventsRequest { message: Some(message) });
    (client.stream_events(tokio_stream::iter(requests)).await.unwrap().into_inner(), sent)
}

/// Reads acks up to this one.
async fn acked(answers: &mut Streaming<StreamEventsResponse>, last: u64) {
    let mut before = 0;
    while before < last {
        match answers.message().await.unwrap().unwrap().message.unwrap() {
            Response::Ack(ack) => {
                assert!(ack.acked_sequence_inclusive > before, "acks go up");
                before = ack.acked_sequence_inclusive;
            }
            Response::Opened(_) => {}
            Response::Closing(closing) => panic!("{closing:?}"),
        }
    }
    assert_eq!(before, last);
}

/// Announces a message of that many bytes and sends only the beginning of it. Dropping what is given lets it end.
async fn begin_message(cluster: &Cluster, bytes: usize) -> (mpsc::Sender<Bytes>, JoinHandle<()>) {
    let channel = sluice_client::connect(&cluster.node_url()).await.unwrap();
    let (sender, parts) = mpsc::channel(4);
    let mut header = vec![0];
    header.extend_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
    header.extend_from_slice(&[0; 1_000]);
    sender.send(Bytes::from(header)).await.unwrap();
    let frames = tokio_stream::StreamExt::map(ReceiverStream::new(parts), |part| Ok::<_, Status>(Frame::data(part)));
    let request = http::Request::post(format!("{}/sluice.event.v1.EventService/StreamEvents", cluster.node_url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(frames)))
        .unwrap();
    let call = tokio::spawn(async move {
        let _answer = channel.oneshot(request).await;
        std::future::pending::<()>().await;
    });
    (sender, call)
}

#[tokio::test]
async fn a_producer_that_reads_no_acks_is_held_back_and_loses_nothing() {
    let cluster = Cluster::start().await;
    let mut client = cluster.events().await;
    // Each is refused with a message of its own: much to tell.
    let batch: Vec<Bytes> = (0..1_000).map(|n| Bytes::from(format!("[{n}]"))).collect();
    let (mut answers, sent) = flood(&mut client, "deaf", 600, &batch).await;
    // It is held back: all that it has sent is decided, and others over the same connection go on.
    eventually("the node has refused what it read", async || {
        let ledger = cluster.ledger().await;
        (ledger.events.rejected > 60_000 && cluster.node().ingest_load().held_bytes == 0).then_some(())
    })
    .await;
    for n in 0..100 {
        let events = vec![Event { json: event("a", &n.to_string()), ..Event::default() }];
        client.send_events(SendEventsRequest { events, ..SendEventsRequest::default() }).await.unwrap();
    }
    let held = cluster.ledger().await.events.rejected;
    assert!(held < 300_000, "{held} of 600,000 events were read without an ack being taken");
    assert!(sent.load(Ordering::Relaxed) < 400);
    acked(&mut answers, 600_000).await;
    assert_eq!(cluster.ledger().await.events.rejected, 600_000);
}

#[tokio::test]
async fn two_hundred_streams_over_one_connection_all_get_their_acks_within_the_budget() {
    let cluster = Cluster::start().await;
    let client = cluster.events().await;
    let large = Bytes::from(format!(r#"{{"event_type":"large","x":"{}"}}"#, "x".repeat(500_000)));
    let streams: Vec<_> = (0..MAX_STREAMS_PER_CONNECTION)
        .map(|n| {
            let (mut client, large) = (client.clone(), large.clone());
            tokio::spawn(async move {
                let (mut answers, _) = flood(&mut client, &n.to_string(), 2, &[large.clone(), large]).await;
                acked(&mut answers, 4).await;
            })
        })
        .collect();
    let mut most = 0;
    eventually("every stream has its acks", async || {
        most = most.max(cluster.node().ingest_load().held_bytes);
        streams.iter().all(JoinHandle::is_finished).then_some(())
    })
    .await;
    for stream in streams {
        stream.await.unwrap();
    }
    assert!(most <= BUDGET_BYTES);
    assert_eq!(cluster.ledger().await.events.unmatched, 4 * i64::from(MAX_STREAMS_PER_CONNECTION));
    eventually("nothing is held", async || (cluster.node().ingest_load().held_bytes == 0).then_some(())).await;
}

#[tokio::test]
async fn messages_are_not_read_beyond_the_budget_and_go_on_once_there_is_room() {
    let cluster = Cluster::start().await;
    let full = BUDGET_BYTES / MAX_MESSAGE_BYTES;
    let mut begun = Vec::new();
    for _ in 0..full {
        begun.push(begin_message(&cluster, MAX_MESSAGE_BYTES).await);
    }
    eventually("the budget is used up", async || {
        (cluster.node().ingest_load().held_bytes == BUDGET_BYTES).then_some(())
    })
    .await;
    // Its `open` has to wait, although it is small.
    let mut client = cluster.events().await;
    let (mut answers, _) = flood(&mut client, "late", 1, &[event("a", "1")]).await;
    let early = tokio::time::timeout(Duration::from_millis(200), answers.message()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(cluster.node().ingest_load().held_bytes, BUDGET_BYTES);
    // One of the others breaks off.
    let (sender, call) = begun.pop().unwrap();
    call.abort();
    drop(sender);
    acked(&mut answers, 1).await;
    assert!(cluster.node().ingest_load().held_bytes <= BUDGET_BYTES - MAX_MESSAGE_BYTES);
    for (_, call) in begun {
        call.abort();
    }
}

/// A sync that has its producers refused while ten deliveries are open.
fn refusing(url: &str) -> Sync {
    let mut sync = sync_to(url);
    let policy = BacklogPolicy::RefuseEvents.into();
    sync.destination.as_mut().unwrap().limits =
        Some(Limits { max_backlog: 10, backlog_policy: policy, ..Limits::default() });
    sync
}

#[tokio::test]
async fn what_has_no_room_moves_no_sequence_and_is_taken_once_there_is_some() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", refusing(&endpoint.url("/"))).await;
    endpoint.hold();
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    let events = |from: u64, to: u64| (from..=to).map(|n| event("a", &n.to_string()));
    producer.batch(1, events(1, 10)).await;
    producer.ack().await;
    // Three at once: the first is refused, and none of those behind it may slip in.
    for first in [11, 14, 17] {
        producer.batch(first, events(first, first + 2)).await;
    }
    let refusal = producer.refusal().await;
    assert_eq!(refusal.code(), Code::ResourceExhausted, "{refusal}");
    assert!(refusal.message().contains("projects/default/syncs/s has reached its backlog limit"), "{refusal}");
    let (mut producer, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!((opened.known, opened.next_sequence), (true, 11));
    assert_eq!(cluster.ledger().await.events.received, 10);
    endpoint.release();
    cluster.settled().await;
    producer.batch(11, events(11, 19)).await;
    assert_eq!(producer.ack().await.acked_sequence_inclusive, 19);
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 19);
    assert_eq!(endpoint.by_webhook_id().len(), 19);
}

#[tokio::test]
async fn a_publisher_that_is_held_back_goes_on_by_itself_and_loses_nothing() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", refusing(&endpoint.url("/"))).await;
    endpoint.hold();
    let waits = Backoff::new(Duration::from_millis(1), Duration::from_millis(20)).unwrap();
    // Having no room is no outage.
    let publisher = Publisher::builder(&cluster.node_url())
        .backoff(waits)
        .max_outage(Duration::from_nanos(1))
        .connect()
        .await
        .unwrap();
    for n in 0..10 {
        publisher.send(event("a", &n.to_string())).await.unwrap();
    }
    publisher.flush().await.unwrap();
    for n in 10..1_000 {
        publisher.send(event("a", &n.to_string())).await.unwrap();
    }
    let mut progress = publisher.progress();
    progress.wait_for(|progress| progress.reconnects >= 3).await.unwrap();
    endpoint.release();
    assert_eq!(publisher.finish().await.unwrap().acked, 1_000);
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 1_000);
    assert_eq!(endpoint.by_webhook_id().len(), 1_000);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_by_its_header_and_says_what_is_right() {
    let cluster = Cluster::start().await;
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, [Bytes::from(vec![b'x'; MAX_MESSAGE_BYTES + 1])]).await;
    let refusal = producer.refusal().await;
    assert_eq!(refusal.code(), Code::OutOfRange, "{refusal}");
    assert!(refusal.message().contains(&format!("at most {MAX_MESSAGE_BYTES} are taken")), "{refusal}");
    assert!(refusal.message().contains(&format!("at most {MAX_BATCH_BYTES} bytes")), "{refusal}");

    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, (0..=MAX_BATCH_EVENTS).map(|_| Bytes::from_static(b"{}"))).await;
    let refusal = producer.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().starts_with("events: 16385 in one batch; at most 16384"), "{refusal}");

    // An event over its limit costs only itself.
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, [Bytes::from(vec![b' '; 7 << 20]), event("a", "1")]).await;
    let ack = producer.ack().await;
    assert_eq!((ack.acked_sequence_inclusive, ack.rejections.len()), (2, 1));
}

#[tokio::test]
async fn streams_that_send_nothing_take_places_and_no_memory_and_there_is_an_end_to_places() {
    let cluster = Cluster::start().await;
    let mut idle = Vec::new();
    let mut clients = Vec::new();
    for n in 0..MAX_CALLS {
        if n.is_multiple_of(MAX_STREAMS_PER_CONNECTION as usize) {
            clients.push(cluster.events().await);
        }
        let (requests, outgoing) = mpsc::channel(1);
        let open = Request::Open(Open { producer_id: n.to_string(), first_sequence: 1 });
        requests.send(StreamEventsRequest { message: Some(open) }).await.unwrap();
        let client = clients.last_mut().unwrap();
        let answers = client.stream_events(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        idle.push((requests, answers));
    }
    let mut client = cluster.events().await;
    let call = || SendEventsRequest {
        events: vec![Event { json: event("a", "1"), ..Event::default() }],
        ..SendEventsRequest::default()
    };
    let refusal = client.send_events(call()).await.unwrap_err();
    assert_eq!(refusal.code(), Code::ResourceExhausted);
    assert!(refusal.message().contains("1024 producers"), "{refusal}");
    eventually("every `open` is answered", async || (cluster.node().ingest_load().held_bytes == 0).then_some(())).await;
    drop(idle.pop());
    eventually("the place is free", async || client.send_events(call()).await.ok()).await;
}
