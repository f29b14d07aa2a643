//! Takes events in: decodes each once, matches it against the catalog, and hands whole batches to the spool. An ack leaves
//! when the batch is on disk.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt as _, stream::FuturesOrdered};
use sluice_host::clock::Clock;
use sluice_pipeline::{
    catalog::Catalog,
    event::{Event, EventId, MAX_EVENT_BYTES},
    sync::CompiledSync,
};
use sluice_proto::{
    event::v1::{
        self as proto, Ack, Batch, Closing, Open, Rejection, SendEventsRequest, SendEventsResponse,
        StreamEventsRequest, StreamEventsResponse, event_service_server::EventService,
        stream_events_request::Message as Request, stream_events_response::Message as Response,
    },
    name::DEFAULT_PROJECT,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    drain::{Drain, Sender},
    spool::{
        AcceptError, Spool,
        store::{Accept, Full, Item, LaneKey, Matched, Producer, StoredEvent, Target},
    },
    stop,
};

/// Bytes of one batch that are announced to producers.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Bytes that a producer may have sent and not acked.
pub const WINDOW_BYTES: usize = 16 << 20;

/// Bytes of one gRPC message. Room above the batch, so that an event over its limit is refused by sequence and does not
/// end the stream.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Batches of one stream that wait for their commit.
const BATCHES_IN_FLIGHT: usize = 64;

/// Longest `producer_id`.
const MAX_PRODUCER_ID: usize = 128;

const STOPPING: &str = "this node is stopping: go to another";
const DRAINING: &str = "this node drains: go to another";

/// The event service of a node.
#[derive(Clone)]
pub struct Ingest {
    node: Arc<str>,
    project: Arc<str>,
    spool: Spool,
    catalog: watch::Receiver<Arc<Catalog>>,
    clock: Clock,
    stop: watch::Receiver<bool>,
    drain: Drain,
}

impl Ingest {
    /// `node` is the resource name; `stop` turns true when the node ends, `drain` says when it takes nothing new.
    #[must_use]
    pub fn new(
        node: &str,
        spool: Spool,
        catalog: watch::Receiver<Arc<Catalog>>,
        clock: Clock,
        stop: watch::Receiver<bool>,
        drain: Drain,
    ) -> Self {
        Self { node: node.into(), project: DEFAULT_PROJECT.into(), spool, catalog, clock, stop, drain }
    }

    /// Lets a call in; it counts as under way until what is given is dropped.
    fn enter(&self) -> Result<Sender, Status> {
        let sender = self.drain.enter().ok_or_else(|| Status::unavailable(DRAINING))?;
        if *self.stop.borrow() {
            return Err(Status::unavailable(STOPPING));
        }
        if self.catalog.borrow().epoch().is_empty() {
            return Err(Status::unavailable(
                "this node has no catalog yet: it takes events once a control plane has sent it one",
            ));
        }
        Ok(sender)
    }

    fn producer(&self, id: &str) -> Result<Producer, Status> {
        if id.is_empty() || id.len() > MAX_PRODUCER_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Status::invalid_argument("producer_id: give 1 to 128 visible ASCII characters without spaces"));
        }
        Ok(Producer { project: self.project.clone(), id: id.into() })
    }

    /// Checks and matches the events of a batch.
    fn examine(
        &self,
        producer_id: &str,
        first_sequence: u64,
        events: Vec<proto::Event>,
    ) -> (Vec<Item>, Vec<Rejection>) {
        let catalog = self.catalog.borrow().clone();
        let accept_ms = self.clock.now_ms();
        let mut items = Vec::with_capacity(events.len());
        let mut rejections = Vec::new();
        let mut matching = Vec::new();
        for (event, sequence) in events.into_iter().zip(first_sequence..) {
            match self.match_event(&catalog, producer_id, sequence, event, accept_ms, &mut matching) {
                Ok(item) => items.push(item),
                Err(rejection) => {
                    items.push(Item::Rejected);
                    rejections.push(rejection);
                }
            }
        }
        (items, rejections)
    }

    fn match_event<'c>(
        &self,
        catalog: &'c Catalog,
        producer_id: &str,
        sequence: u64,
        event: proto::Event,
        accept_ms: i64,
        matching: &mut Vec<&'c Arc<CompiledSync>>,
    ) -> Result<Item, Rejection> {
        let parsed = Event::parse(&event.json).map_err(|refused| Rejection {
            sequence,
            reason: refused.reason.into(),
            message: refused.message,
        })?;
        matching.clear();
        catalog.matching(&self.project, &parsed, matching);
        if matching.is_empty() {
            return Ok(Item::Unmatched { key: parsed.insert_key(&self.project) });
        }
        let stored = StoredEvent {
            id: EventId::new(&self.project, producer_id, sequence),
            accept_ms,
            event_type: parsed.event_type().to_owned(),
            // Its own copy: a slice would keep the whole message in memory as long as the delivery lives.
            json: bytes::Bytes::copy_from_slice(&event.json),
            traceparent: bounded(event.traceparent),
            tracestate: bounded(event.tracestate),
        };
        let key = parsed.insert_key(&self.project);
        let lanes = matching.iter().map(|sync| target(sync)).collect();
        Ok(Item::Matched(Box::new(Matched { event: Arc::new(stored), key, lanes })))
    }
}

/// The lane of a sync that wants an event.
fn target(sync: &CompiledSync) -> Target {
    let backlog = sync.destination.limits.backlog.filter(|backlog| backlog.refuse_events);
    Target {
        key: LaneKey { uid: sync.uid.clone(), name: sync.full_name.clone() },
        refuse_from: backlog.map(|backlog| backlog.max),
    }
}

/// Trace context of a plausible length; longer texts are no W3C trace context (at most 512 characters).
fn bounded(text: String) -> String {
    if text.len() <= 512 { text } else { String::new() }
}

type Responses = Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for Ingest {
    type StreamEventsStream = Responses;

    async fn stream_events(
        &self,
        request: tonic::Request<Streaming<StreamEventsRequest>>,
    ) -> Result<tonic::Response<Responses>, Status> {
        let sender = self.enter()?;
        let (responses, answer) = mpsc::channel(BATCHES_IN_FLIGHT);
        let (ingest, requests) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let ended = ingest.stream(requests, &responses).await;
            drop(sender);
            if let Err(status) = ended {
                // The producer may have gone.
                let _ = responses.send(Err(status)).await;
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(answer))))
    }

    async fn send_events(
        &self,
        request: tonic::Request<SendEventsRequest>,
    ) -> Result<tonic::Response<SendEventsResponse>, Status> {
        let _sender = self.enter()?;
        let SendEventsRequest { producer_id, first_sequence, events } = request.into_inner();
        check_batch(&events)?;
        let count = events.len() as u64;
        let alone = producer_id.is_empty();
        let first_sequence = match (alone, first_sequence) {
            (true, 0) => 1,
            (true, _) => {
                return Err(Status::invalid_argument("first_sequence: give it only together with a producer_id"));
            }
            (false, sequence) => sequence,
        };
        check_sequence(first_sequence, count)?;
        let (producer, id) = if alone {
            (None, uuid::Uuid::new_v4().simple().to_string())
        } else {
            (Some(self.producer(&producer_id)?), producer_id)
        };
        let (items, rejections) = self.examine(&id, first_sequence, events);
        let fence = match &producer {
            Some(producer) => self.spool.open(producer.clone(), first_sequence).await.map_err(refused)?.fence,
            None => 0,
        };
        let accept = Accept { producer: producer.clone(), project: self.project.clone(), first_sequence, items };
        let stored = self.spool.accept(accept, fence).await.await.unwrap_or_else(|_| Err(gone()));
        if let Some(producer) = producer {
            self.spool.close(producer, fence);
        }
        stored.map_err(refused)?;
        Ok(tonic::Response::new(SendEventsResponse {
            node: self.node.to_string(),
            acked_sequence_inclusive: first_sequence + count - 1,
            rejections,
        }))
    }
}

/// A batch that waits for its commit.
struct Waiting {
    stored: oneshot::Receiver<Result<(), AcceptError>>,
    ack: Ack,
    bytes: usize,
}

impl Ingest {
    async fn stream(
        &self,
        mut requests: Streaming<StreamEventsRequest>,
        responses: &mpsc::Sender<Result<StreamEventsResponse, Status>>,
    ) -> Result<(), Status> {
        let Some(first) = requests.message().await? else { return Ok(()) };
        let Some(Request::Open(Open { producer_id, first_sequence })) = first.message else {
            return Err(Status::invalid_argument("the first message of a stream must be `open`"));
        };
        check_sequence(first_sequence, 0)?;
        let producer = self.producer(&producer_id)?;
        let opened = self.spool.open(producer.clone(), first_sequence).await.map_err(refused)?;
        send(
            responses,
            Response::Opened(proto::Opened {
                node: self.node.to_string(),
                known: opened.known,
                next_sequence: opened.next_sequence,
                max_batch_bytes: MAX_BATCH_BYTES as u64,
                window_bytes: WINDOW_BYTES as u64,
            }),
        )
        .await?;
        let ended = self.batches(&producer, opened.next_sequence, opened.fence, requests, responses).await;
        self.spool.close(producer, opened.fence);
        ended
    }

    /// Takes batches until the producer ends the stream; then every batch has been acked.
    async fn batches(
        &self,
        producer: &Producer,
        mut expected: u64,
        fence: u64,
        mut requests: Streaming<StreamEventsRequest>,
        responses: &mpsc::Sender<Result<StreamEventsResponse, Status>>,
    ) -> Result<(), Status> {
        let (mut stop, mut drain) = (self.stop.clone(), self.drain.watch());
        let mut waiting = FuturesOrdered::new();
        let mut waiting_bytes = 0;
        let mut open = true;
        while open || !waiting.is_empty() {
            // Nothing more is read from a producer that is ahead of its window: TCP slows it down.
            let room = waiting.len() < BATCHES_IN_FLIGHT && waiting_bytes < WINDOW_BYTES;
            tokio::select! {
                biased;
                Some((stored, ack, bytes)) = waiting.next() => {
                    let stored: Result<Result<(), AcceptError>, _> = stored;
                    stored.unwrap_or_else(|_| Err(gone())).map_err(refused)?;
                    waiting_bytes -= bytes;
                    send(responses, Response::Ack(ack)).await?;
                }
                message = leave(&mut stop, &mut drain), if open => {
                    open = false;
                    send(responses, Response::Closing(Closing { message: message.to_owned() })).await?;
                }
                request = requests.message(), if open && room => match request? {
                    None => open = false,
                    Some(StreamEventsRequest { message: Some(Request::Batch(batch)) }) => {
                        let batch = self.hand_over(producer, &mut expected, fence, batch).await?;
                        waiting_bytes += batch.bytes;
                        waiting.push_back(async move { (batch.stored.await, batch.ack, batch.bytes) });
                    }
                    Some(StreamEventsRequest { message: Some(Request::Open(_)) }) => {
                        return Err(Status::invalid_argument("`open` comes only once, as the first message of a stream"));
                    }
                    Some(StreamEventsRequest { message: None }) => {
                        return Err(Status::invalid_argument("an empty message: after `open` send `batch`"));
                    }
                }
            }
        }
        Ok(())
    }

    async fn hand_over(
        &self,
        producer: &Producer,
        expected: &mut u64,
        fence: u64,
        batch: Batch,
    ) -> Result<Waiting, Status> {
        let Batch { first_sequence, events } = batch;
        check_batch(&events)?;
        let count = events.len() as u64;
        check_sequence(first_sequence, count)?;
        if first_sequence > *expected {
            return Err(gap(*expected, first_sequence));
        }
        *expected = (*expected).max(first_sequence + count);
        let bytes = events.iter().map(|event| event.json.len()).sum();
        let (items, rejections) = self.examine(&producer.id, first_sequence, events);
        let accept = Accept { producer: Some(producer.clone()), project: self.project.clone(), first_sequence, items };
        let stored = self.spool.accept(accept, fence).await;
        let ack = Ack { acked_sequence_inclusive: first_sequence + count - 1, rejections };
        Ok(Waiting { stored, ack, bytes })
    }
}

/// Waits until producers must go elsewhere; gives why.
async fn leave(stop: &mut watch::Receiver<bool>, drain: &mut watch::Receiver<bool>) -> &'static str {
    tokio::select! {
        () = stop::asked(stop) => STOPPING,
        () = stop::asked(drain) => DRAINING,
    }
}

async fn send(responses: &mpsc::Sender<Result<StreamEventsResponse, Status>>, message: Response) -> Result<(), Status> {
    let response = StreamEventsResponse { message: Some(message) };
    responses.send(Ok(response)).await.map_err(|_| Status::cancelled("the producer has gone"))
}

fn check_batch(events: &[proto::Event]) -> Result<(), Status> {
    if events.is_empty() { Err(Status::invalid_argument("events: send at least one")) } else { Ok(()) }
}

fn check_sequence(first_sequence: u64, count: u64) -> Result<(), Status> {
    if first_sequence == 0 {
        return Err(Status::invalid_argument("first_sequence: sequences begin with 1"));
    }
    match first_sequence.checked_add(count) {
        Some(next) if next <= i64::MAX as u64 => Ok(()),
        _ => Err(Status::invalid_argument("first_sequence: too large, sequences end below 2^63")),
    }
}

fn gap(expected: u64, found: u64) -> Status {
    Status::failed_precondition(format!(
        "first_sequence: a gap, {found} came where {expected} should come next; send what is missing first"
    ))
}

fn gone() -> AcceptError {
    AcceptError::Store("the spool has stopped".to_owned())
}

fn refused(error: AcceptError) -> Status {
    match error {
        AcceptError::Fenced => {
            Status::aborted("a newer stream of this producer has opened: only one at a time, and the newest counts")
        }
        AcceptError::Gap { expected } => Status::failed_precondition(format!(
            "first_sequence: a gap, {expected} should come next; send what is missing first"
        )),
        AcceptError::Full(full) => {
            let what = match full {
                Full::Lane(key) => format!("{} has reached its backlog limit", key.name),
                Full::Project => "the project has used up its share of the spool".to_owned(),
                Full::Spool => "the spool has reached its limit".to_owned(),
                Full::Disk => "the node's disk is full".to_owned(),
            };
            Status::resource_exhausted(format!("{what}: send the events again later, or to another node"))
        }
        AcceptError::Store(reason) => {
            tracing::error!(reason, "events were not stored");
            Status::unavailable("the node could not store the events; send them again")
        }
    }
}

/// One event and what belongs to it fit in a message.
const _: () = assert!(MAX_EVENT_BYTES < MAX_BATCH_BYTES && MAX_BATCH_BYTES < MAX_MESSAGE_BYTES);
