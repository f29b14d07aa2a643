//! Events in: acks, rejections, sequences, fences.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use bytes::Bytes;
use sluice_proto::event::v1::{
    Ack, Event, Open, RejectionReason, SendEventsRequest, stream_events_request::Message as Request,
};
use sluice_tests::{
    cluster::{Cluster, START_MS, eventually},
    endpoint::Endpoint,
    events::{event, sync_to},
    producer::Producer,
};
use tonic::Code;

fn reasons(ack: &Ack) -> Vec<(u64, RejectionReason)> {
    ack.rejections.iter().map(|rejection| (rejection.sequence, rejection.reason())).collect()
}

#[tokio::test]
async fn a_bad_event_is_rejected_by_its_sequence_and_the_rest_is_taken() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    let (mut producer, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!((opened.node.as_str(), opened.known, opened.next_sequence), ("nodes/n1", false, 1));
    let huge = format!(r#"{{"event_type":"big","x":"{}"}}"#, "x".repeat(1 << 20));
    let events: [Bytes; 8] = [
        event("good", "1"),
        "[1, 2]".into(),
        r#"{"event_type": "cut"#.into(),
        r#"{"user_id": "nobody"}"#.into(),
        r#"{"event_type": 7}"#.into(),
        huge.into(),
        Bytes::from_static(b"{\"event_type\":\"\xff\"}"),
        event("good", "2"),
    ];
    producer.batch(1, events).await;
    let ack = producer.ack().await;
    assert_eq!(ack.acked_sequence_inclusive, 8);
    assert_eq!(
        reasons(&ack),
        [
            (2, RejectionReason::NotAnObject),
            (3, RejectionReason::InvalidJson),
            (4, RejectionReason::EventType),
            (5, RejectionReason::EventType),
            (6, RejectionReason::TooLarge),
            (7, RejectionReason::InvalidJson),
        ]
    );
    for rejection in &ack.rejections {
        assert!(!rejection.message.is_empty());
    }
    assert_eq!(endpoint.wait_for(2).await.len(), 2);
    let ledger = cluster.settled().await;
    assert_eq!((ledger.events.rejected, ledger.events.matched), (6, 2));
}

#[tokio::test]
async fn a_resent_event_is_rejected_again_and_not_stored_again() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    let (mut producer, _) = Producer::open(&cluster, "p", 5).await;
    let events = [event("a", "1"), "no json".into(), event("a", "2")];
    producer.batch(5, events.clone()).await;
    let first = producer.ack().await;
    assert_eq!((first.acked_sequence_inclusive, reasons(&first)), (7, vec![(6, RejectionReason::InvalidJson)]));
    endpoint.wait_for(2).await;
    drop(producer);
    cluster.stop_node().await;
    cluster.start_node().await;

    let (mut producer, opened) = Producer::open(&cluster, "p", 5).await;
    assert_eq!((opened.known, opened.next_sequence), (true, 8));
    // From the start again, with one that is new.
    producer.batch(5, events.into_iter().chain([event("a", "3")])).await;
    let again = producer.ack().await;
    assert_eq!((again.acked_sequence_inclusive, reasons(&again)), (8, reasons(&first)));
    let received = endpoint.wait_for(3).await;
    assert_eq!(received.len(), 3);
    let ledger = cluster.settled().await;
    assert_eq!((ledger.events.received, ledger.events.duplicates, ledger.events.matched), (7, 3, 3));
}

#[tokio::test]
async fn a_gap_ends_the_stream() {
    let cluster = Cluster::start().await;
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, [event("a", "1")]).await;
    producer.ack().await;
    producer.batch(3, [event("a", "3")]).await;
    let refusal = producer.refusal().await;
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("a gap, 2 should come next"), "{refusal}");
    let (_, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!(opened.next_sequence, 2);
}

#[tokio::test]
async fn a_newer_stream_fences_the_older() {
    let cluster = Cluster::start().await;
    let (mut older, _) = Producer::open(&cluster, "p", 1).await;
    older.batch(1, [event("a", "1")]).await;
    older.ack().await;
    let (mut newer, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!(opened.next_sequence, 2);
    older.batch(2, [event("a", "old")]).await;
    assert_eq!(older.refusal().await.code(), Code::Aborted);
    newer.batch(2, [event("a", "new")]).await;
    assert_eq!(newer.ack().await.acked_sequence_inclusive, 2);
    assert_eq!(cluster.ledger().await.events.unmatched, 2);
}

#[tokio::test]
async fn a_message_out_of_turn_is_refused_in_clear_words() {
    let cluster = Cluster::start().await;
    let mut producer = Producer::connect(&cluster).await;
    producer.batch(1, [event("a", "1")]).await;
    let refusal = producer.refusal().await;
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::InvalidArgument, "the first message of a stream must be `open`")
    );

    for (id, first_sequence) in [("", 1), ("two words", 1), ("p", 0), ("p", u64::MAX)] {
        let mut producer = Producer::connect(&cluster).await;
        producer.send(Request::Open(Open { producer_id: id.to_owned(), first_sequence })).await;
        assert_eq!(producer.refusal().await.code(), Code::InvalidArgument, "{id} {first_sequence}");
    }
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, []).await;
    assert_eq!(producer.refusal().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn unary_calls_count_like_streams() {
    let cluster = Cluster::start().await;
    let mut client = cluster.events().await;
    let request = |first_sequence, users: &[&str]| SendEventsRequest {
        producer_id: "p".to_owned(),
        first_sequence,
        events: users.iter().map(|user| Event { json: event("a", user), ..Event::default() }).collect(),
    };
    let answer = client.send_events(request(1, &["1", "2"])).await.unwrap().into_inner();
    assert_eq!(answer.acked_sequence_inclusive, 2);
    client.send_events(request(1, &["1", "2", "3"])).await.unwrap();
    let gap = client.send_events(request(9, &["9"])).await.unwrap_err();
    assert_eq!(gap.code(), Code::FailedPrecondition);
    let ledger = cluster.ledger().await;
    assert_eq!((ledger.events.unmatched, ledger.events.duplicates), (3, 2));
    let alone = SendEventsRequest { first_sequence: 3, ..request(3, &["1"]) };
    let refused = client.send_events(SendEventsRequest { producer_id: String::new(), ..alone }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

/// An event that is known again by its `$insert_id` on its device.
fn keyed(device: &str, insert_id: &str, n: usize) -> Bytes {
    format!(r#"{{"event_type":"a","device_id":"{device}","$insert_id":"{insert_id}","n":{n}}}"#).into()
}

#[tokio::test]
async fn an_insert_id_is_taken_once_within_ten_minutes_whoever_sends_it_and_through_restarts() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    // Twice in one batch; other devices and other ids are other events; without an id none is known.
    let plain = event("a", "1");
    let batch = [keyed("d", "1", 1), keyed("d", "1", 2), keyed("e", "1", 3), keyed("d", "2", 4), plain.clone(), plain];
    producer.batch(1, batch).await;
    let ack = producer.ack().await;
    assert_eq!((ack.acked_sequence_inclusive, reasons(&ack)), (6, vec![]), "a duplicate is acked like any other");
    endpoint.wait_for(5).await;

    // Another producer, a call of its own, and a node that has restarted.
    let (mut other, _) = Producer::open(&cluster, "q", 1).await;
    other.batch(1, [keyed("d", "1", 5)]).await;
    assert_eq!(reasons(&other.ack().await), []);
    cluster.stop_node().await;
    cluster.start_node().await;
    cluster.serving().await;
    assert_eq!(cluster.send([keyed("d", "1", 6)]).await.rejections, []);
    let events = cluster.settled().await.events;
    assert_eq!((events.received, events.duplicates, events.matched), (8, 3, 5));
    let stats = cluster.node().spool_stats().await.unwrap();
    assert_eq!((stats.keys, stats.oldest_key_ms), (3, Some(START_MS)));

    // The window reaches back ten minutes from the first that was taken: those that were not do not stretch it.
    cluster.time.advance(Duration::from_secs(599));
    cluster.send([keyed("d", "1", 7)]).await;
    cluster.time.advance(Duration::from_secs(1));
    cluster.send([keyed("d", "1", 8)]).await;
    let received = endpoint.wait_for(6).await;
    assert_eq!(received[5].body, keyed("d", "1", 8));
    let events = cluster.settled().await.events;
    assert_eq!((events.received, events.duplicates, events.matched), (10, 4, 6));
}

#[tokio::test]
async fn a_producer_that_is_not_seen_for_thirty_days_is_forgotten() {
    let cluster = Cluster::start().await;
    let (mut producer, _) = Producer::open(&cluster, "p", 1).await;
    producer.batch(1, [event("a", "1")]).await;
    producer.ack().await;
    drop(producer);
    cluster.time.advance(Duration::from_secs(30 * 86_400 - 1));
    let (_, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!((opened.known, opened.next_sequence), (true, 2));
    cluster.time.advance(Duration::from_secs(2));
    let opened = eventually("the producer is forgotten", async || {
        let (_, opened) = Producer::open(&cluster, "p", 7).await;
        (!opened.known).then_some(opened)
    })
    .await;
    assert_eq!(opened.next_sequence, 7);
}
