//! The publisher against a node that misbehaves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use sluice_client::{Backoff, Error, MAX_EVENT_BYTES, Publisher, Rejected};
use sluice_proto::event::v1::{
    self, Ack, Batch, Opened, Rejection, RejectionReason, SendEventsRequest, SendEventsResponse, StreamEventsRequest,
    StreamEventsResponse,
    event_service_server::{EventService, EventServiceServer},
    stream_events_request, stream_events_response,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// What one stream of the scripted node does.
#[derive(Clone, Debug)]
enum Script {
    /// Takes and acks everything.
    Good,
    /// Acks only after so many events.
    AcksLate(usize),
    /// Stores so many events, then breaks without acking them.
    BreaksAfter(usize),
    /// Stores and acks so many events, then says that it drains.
    ClosesAfter(usize),
    /// Answers the stream with this.
    Refuses(Status),
    /// Stores and acks so many events, then has no room.
    FullAfter(usize),
    /// Says that it drains at the first batch; acks it only then, and nothing that comes later.
    ClosesThenAcks,
}

/// A node that stores what it gets, as a real one does: once by sequence, in order, and refuses events without a type.
#[derive(Clone, Default)]
struct Node(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    scripts: VecDeque<Script>,
    stored: BTreeMap<u64, Bytes>,
    next_sequence: u64,
    largest_batch: usize,
    first_sequences: Vec<u64>,
    after_closing: usize,
}

impl Node {
    async fn start(scripts: impl IntoIterator<Item = Script>) -> (Self, String) {
        let node = Self::default();
        node.0.lock().unwrap().scripts = scripts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(EventServiceServer::new(node.clone()).max_decoding_message_size(16 << 20))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (node, format!("http://{address}"))
    }

    /// Stores a batch and gives the ack.
    fn store(&self, batch: Batch) -> Result<Ack, Status> {
        let mut state = self.0.lock().unwrap();
        if batch.first_sequence > state.next_sequence {
            return Err(Status::failed_precondition("a gap"));
        }
        let mut ack = Ack::default();
        state.largest_batch = state.largest_batch.max(batch.events.len());
        for (sequence, event) in (batch.first_sequence..).zip(batch.events) {
            if event.json.starts_with(b"bad") {
                ack.rejections.push(Rejection {
                    sequence,
                    reason: RejectionReason::InvalidJson.into(),
                    message: "not JSON".into(),
                });
            } else {
                let before = state.stored.insert(sequence, event.json.clone());
                assert!(before.is_none_or(|before| before == event.json), "a sequence has one event");
            }
            ack.acked_sequence_inclusive = sequence;
            state.next_sequence = state.next_sequence.max(sequence + 1);
        }
        Ok(ack)
    }
}

fn say(message: stream_events_response::Message) -> Result<StreamEventsResponse, Status> {
    Ok(StreamEventsResponse { message: Some(message) })
}

#[tonic::async_trait]
impl EventService for Node {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let script = self.0.lock().unwrap().scripts.pop_front().unwrap_or(Script::Good);
        if let Script::Refuses(status) = script {
            return Err(status);
        }
        let mut inbox = request.into_inner();
        let (outbox, responses) = mpsc::channel(64);
        let node = self.clone();
        tokio::spawn(async move {
            let mut seen = 0_usize;
            let mut held = Ack::default();
            while let Ok(Some(request)) = inbox.message().await {
                match request.message.unwrap() {
                    stream_events_request::Message::Open(open) => {
                        let next_sequence = {
                            let mut state = node.0.lock().unwrap();
                            state.first_sequences.push(open.first_sequence);
                            if state.next_sequence == 0 {
                                state.next_sequence = open.first_sequence;
                            }
                            state.next_sequence
                        };
                        let opened = Opened {
                            node: "nodes/scripted".into(),
                            known: false,
                            next_sequence,
                            max_batch_bytes: 64 << 10,
                            window_bytes: 256 << 10,
                        };
                        outbox.send(say(stream_events_response::Message::Opened(opened))).await.unwrap();
                    }
                    stream_events_request::Message::Batch(batch) => {
                        if matches!(script, Script::FullAfter(events) if seen >= events) {
                            let full = Status::resource_exhausted("the spool has reached its limit");
                            let _ = outbox.send(Err(full)).await;
                            return;
                        }
                        if matches!(script, Script::ClosesThenAcks) {
                            if seen == 0 {
                                let closing = v1::Closing { message: "draining".into() };
                                let _ = outbox.send(say(stream_events_response::Message::Closing(closing))).await;
                            } else {
                                node.0.lock().unwrap().after_closing += 1;
                                continue;
                            }
                        }
                        seen += batch.events.len();
                        let ack = match node.store(batch) {
                            Ok(ack) => ack,
                            Err(status) => {
                                let _ = outbox.send(Err(status)).await;
                                return;
                            }
                        };
                        held.acked_sequence_inclusive = ack.acked_sequence_inclusive;
                        held.rejections.extend(ack.rejections);
                        match script {
                            Script::BreaksAfter(events) if seen >= events => return,
                            Script::AcksLate(events) if seen < events => continue,
                            Script::BreaksAfter(_) => continue,
                            _ => {}
                        }
                        let ack = std::mem::take(&mut held);
                        let _ = outbox.send(say(stream_events_response::Message::Ack(ack))).await;
                        if matches!(script, Script::ClosesAfter(events) if seen >= events) {
                            let closing = v1::Closing { message: "draining".into() };
                            let _ = outbox.send(say(stream_events_response::Message::Closing(closing))).await;
                            return;
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(responses))))
    }

    async fn send_events(&self, _: Request<SendEventsRequest>) -> Result<Response<SendEventsResponse>, Status> {
        Err(Status::unimplemented("the publisher streams"))
    }
}

fn event(number: u64) -> Bytes {
    if number.is_multiple_of(10) {
        format!("bad {number}").into()
    } else {
        format!(r#"{{"event_type":"e","n":{number}}}"#).into()
    }
}

fn quick() -> Backoff {
    Backoff::new(Duration::from_millis(1), Duration::from_millis(5)).unwrap()
}

#[tokio::test]
async fn nothing_is_lost_and_every_rejection_is_told_once_whatever_the_stream_does() {
    let (node, address) = Node::start([
        Script::BreaksAfter(700),
        Script::Refuses(Status::unavailable("no catalog yet")),
        Script::ClosesAfter(500),
        Script::AcksLate(1_000),
        Script::BreaksAfter(1),
        Script::Good,
    ])
    .await;
    let rejected = Arc::new(Mutex::new(Vec::<Rejected>::new()));
    let told = rejected.clone();
    let publisher = Publisher::builder(&address)
        .backoff(quick())
        .on_rejection(move |rejection| told.lock().unwrap().push(rejection.clone()))
        .connect()
        .await
        .unwrap();
    for number in 1..=5_000 {
        assert_eq!(publisher.send(event(number)).await.unwrap(), number);
    }
    publisher.flush().await.unwrap();
    assert_eq!(publisher.progress().borrow().acked_sequence, 5_000);
    let summary = publisher.finish().await.unwrap();

    assert_eq!((summary.acked, summary.rejected_count()), (5_000, 500));
    assert_eq!(summary.rejected, [(RejectionReason::InvalidJson, 500)]);
    assert_eq!(summary.first_rejections.len(), 100);
    assert!(summary.reconnects >= 2, "{summary:?}");
    let rejected: Vec<u64> = rejected.lock().unwrap().iter().map(|rejection| rejection.sequence).collect();
    assert_eq!(rejected, (1..=500).map(|n| n * 10).collect::<Vec<_>>());
    let state = node.0.lock().unwrap();
    let expected: BTreeMap<u64, Bytes> = (1..=5_000).filter(|n| n % 10 != 0).map(|n| (n, event(n))).collect();
    assert_eq!(state.stored, expected);
    assert!(state.largest_batch > 1, "events are packed");
    assert!(state.first_sequences.is_sorted(), "a stream opens at the oldest unacked event");
}

#[tokio::test]
async fn sending_waits_while_the_buffer_is_full() {
    let (node, address) = Node::start([Script::Good]).await;
    let publisher = Publisher::builder(&address).buffer_bytes(64 << 10).connect().await.unwrap();
    for _ in 0..200 {
        publisher.send(Bytes::from(vec![b'x'; 4_000])).await.unwrap();
        let acked = publisher.progress().borrow().acked;
        let handed_over = node.0.lock().unwrap().stored.len() as u64;
        assert!(handed_over - acked.min(handed_over) <= 16);
    }
    assert_eq!(publisher.finish().await.unwrap().acked, 200);
}

#[tokio::test]
async fn large_events_pass_and_those_above_the_limit_are_refused_one_by_one() {
    let (node, address) = Node::start([Script::Good]).await;
    let publisher = Publisher::builder(&address).connect().await.unwrap();
    assert_eq!(publisher.send(Bytes::from(vec![b'x'; MAX_EVENT_BYTES])).await.unwrap(), 1);
    let error = publisher.send(Bytes::from(vec![b'x'; MAX_EVENT_BYTES + 1])).await.unwrap_err();
    assert!(matches!(error, Error::EventTooLarge { .. }), "{error}");
    assert_eq!(publisher.send(event(2)).await.unwrap(), 2);
    assert_eq!(publisher.finish().await.unwrap().acked, 2);
    assert_eq!(node.0.lock().unwrap().stored.len(), 2);
}

#[tokio::test]
async fn what_an_earlier_life_sent_is_told_apart() {
    let (_, address) = Node::start([]).await;
    for (life, known) in [(1, 0), (2, 100)] {
        let publisher = Publisher::builder(&address).producer_id("orders").connect().await.unwrap();
        for number in 1..=100 {
            publisher.send(event(number)).await.unwrap();
        }
        let summary = publisher.finish().await.unwrap();
        assert_eq!((summary.acked, summary.known_before, summary.rejected_count()), (100, known, 10), "life {life}");
    }
}

#[tokio::test]
async fn a_refusal_that_waiting_does_not_mend_ends_the_publisher() {
    for (status, fenced) in [(Status::aborted("newer stream"), true), (Status::failed_precondition("a gap"), false)] {
        let (_, address) = Node::start([Script::BreaksAfter(1), Script::Refuses(status)]).await;
        let publisher = Publisher::builder(&address).backoff(quick()).connect().await.unwrap();
        publisher.send(event(1)).await.unwrap();
        let error = publisher.flush().await.unwrap_err();
        assert_eq!(matches!(error, Error::Fenced { .. }), fenced, "{error}");
        let again = publisher.send(event(2)).await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert_eq!(publisher.finish().await.unwrap_err().to_string(), error.to_string());
    }
}

#[tokio::test]
async fn an_outage_that_lasts_too_long_ends_the_publisher() {
    let scripts = std::iter::once(Script::BreaksAfter(1))
        .chain(std::iter::repeat_n(Script::Refuses(Status::unavailable("gone")), 1_000));
    let (_, address) = Node::start(scripts).await;
    let publisher =
        Publisher::builder(&address).backoff(quick()).max_outage(Duration::from_millis(50)).connect().await.unwrap();
    publisher.send(event(1)).await.unwrap();
    let error = publisher.finish().await.unwrap_err();
    assert!(matches!(error, Error::Outage { acked: 0, .. }), "{error}");
    assert_eq!(error.status().unwrap().message(), "gone");
}

#[tokio::test]
async fn a_node_without_room_is_waited_for_beyond_any_outage_and_nothing_is_lost() {
    // Each stream takes 300 events more at most; between them the node has no room, in each of the ways to say so.
    let full = || Script::Refuses(Status::resource_exhausted("1024 producers are at work"));
    let scripts = (0..8).flat_map(|_| [Script::FullAfter(300), Script::FullAfter(0), full(), Script::FullAfter(0)]);
    let (node, address) = Node::start(scripts).await;
    let publisher =
        Publisher::builder(&address).backoff(quick()).max_outage(Duration::from_nanos(1)).connect().await.unwrap();
    for number in 1..=5_000 {
        publisher.send(event(number)).await.unwrap();
    }
    let summary = publisher.finish().await.unwrap();
    assert_eq!((summary.acked, summary.rejected_count()), (5_000, 500));
    let state = node.0.lock().unwrap();
    let expected: BTreeMap<u64, Bytes> = (1..=5_000).filter(|n| n % 10 != 0).map(|n| (n, event(n))).collect();
    assert_eq!(state.stored, expected);
    assert!(state.first_sequences.is_sorted());
}

#[tokio::test]
async fn what_was_sent_before_the_node_drained_is_acked_and_not_sent_again() {
    let (node, address) = Node::start([Script::ClosesThenAcks, Script::Good]).await;
    let publisher = Publisher::builder(&address).backoff(quick()).connect().await.unwrap();
    publisher.send(event(1)).await.unwrap();
    publisher.flush().await.unwrap();
    publisher.send(event(2)).await.unwrap();
    assert_eq!(publisher.finish().await.unwrap().acked, 2);
    let state = node.0.lock().unwrap();
    assert_eq!((state.first_sequences.as_slice(), state.after_closing), (&[1, 2][..], 0));
}

#[tokio::test]
async fn the_first_connection_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Publisher::builder(&address).connect().await.err().unwrap();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");

    let (_, address) = Node::start([Script::Refuses(Status::unavailable("no catalog"))]).await;
    let error = Publisher::builder(&address).connect().await.err().unwrap();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused() {
    let publisher = || Publisher::builder("http://127.0.0.1:9");
    for builder in [
        publisher().producer_id(""),
        publisher().producer_id("a b"),
        publisher().producer_id("é"),
        publisher().producer_id("x".repeat(129)),
        publisher().first_sequence(0),
        publisher().buffer_bytes(1),
    ] {
        let error = builder.connect().await.err().unwrap();
        assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
    }
}
