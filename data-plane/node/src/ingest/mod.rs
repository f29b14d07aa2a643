//! Takes events in: decodes each once, matches it against the catalog, and hands whole batches to the spool. An ack leaves
//! when the batch is on disk.
//!
//! What producers may have in memory is bounded three times: each stream by its window, all of them by [`BUDGET_BYTES`], and
//! their number by [`MAX_CALLS`] and [`MAX_STREAMS_PER_CONNECTION`]. Beyond, a producer is not read any more, and HTTP/2 flow
//! control holds it back.

mod budget;
mod metered;
mod refusal;
mod stream;

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use sluice_access::{Caller, Keyring, Refusal};
use sluice_host::clock::Clock;
use sluice_pipeline::{
    catalog::Catalog,
    event::{Event, EventId, MAX_EVENT_BYTES},
    sync::CompiledSync,
};
use sluice_proto::{
    event::v1::{
        self as proto, Rejection, SendEventsRequest, SendEventsResponse, StreamEventsRequest, StreamEventsResponse,
        event_service_server::EventService,
    },
    name::DEFAULT_PROJECT,
};
use sluice_telemetry::{Telemetry, rpc, spans::Span};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use self::{
    budget::Account,
    refusal::{DRAINING, STOPPING, check_batch, check_sequence, gone, refused},
};
pub(crate) use self::{budget::Budget, metered::Metered};
use crate::{
    drain::{Drain, Sender},
    spool::{
        Spool,
        store::{Accept, Item, LaneKey, Matched, Producer, StoredEvent, Target},
    },
    telemetry::{Acceptance, Accepted},
};

/// Bytes of one batch that are announced to producers.
pub const MAX_BATCH_BYTES: usize = 4 << 20;

/// Most events in one batch.
pub const MAX_BATCH_EVENTS: usize = 16_384;

/// Bytes that a producer may have sent and not acked.
pub const WINDOW_BYTES: usize = 16 << 20;

/// Bytes of one gRPC message. Room above the batch, so that an event over its limit is refused by sequence and does not
/// end the stream.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Bytes of messages of all producers that are read and neither on disk nor refused.
pub const BUDGET_BYTES: usize = 128 << 20;

/// Calls with events at once, streams among them.
pub const MAX_CALLS: usize = 1_024;

/// Streams over one connection.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 200;

/// Bytes of one stream that HTTP/2 lets a producer send before they are read.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// The same of one connection: enough for all its streams, so that one which is not read holds up no other.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * MAX_STREAMS_PER_CONNECTION;

/// Batches of one stream that wait for their commit, or whose acks wait for the producer.
const BATCHES_IN_FLIGHT: usize = 64;

/// Longest `producer_id`.
const MAX_PRODUCER_ID: usize = 128;

/// What producers take of a node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IngestLoad {
    /// Bytes of messages that are read and neither on disk nor refused; at most [`BUDGET_BYTES`].
    pub held_bytes: usize,
    /// Calls that are under way; at most [`MAX_CALLS`].
    pub calls: usize,
}

/// The event service of a node.
#[derive(Clone)]
pub struct Ingest {
    node: Arc<str>,
    project: Arc<str>,
    spool: Spool,
    catalog: watch::Receiver<Arc<Catalog>>,
    keyring: watch::Receiver<Arc<Keyring>>,
    clock: Clock,
    stop: watch::Receiver<bool>,
    drain: Drain,
    places: Arc<Semaphore>,
    caller: Caller,
    acceptance: Acceptance,
}

/// Events of a batch, looked at.
struct Examined {
    items: Vec<Item>,
    rejections: Vec<Rejection>,
    /// Spans of those whose trace is kept, to be told when they are on disk.
    accepted: Vec<Span>,
}

/// A call that was let in, until it is dropped.
struct Call {
    _sender: Sender,
    _place: OwnedSemaphorePermit,
}

impl Ingest {
    /// `node` is the resource name; `stop` turns true when the node ends, `drain` says when it takes nothing new.
    #[must_use]
    pub fn new(
        node: &str,
        spool: Spool,
        catalog: watch::Receiver<Arc<Catalog>>,
        keyring: watch::Receiver<Arc<Keyring>>,
        clock: Clock,
        stop: watch::Receiver<bool>,
        drain: Drain,
    ) -> Self {
        let acceptance = Acceptance::new(Telemetry::off());
        let places = Arc::new(Semaphore::new(MAX_CALLS));
        let (project, caller) = (DEFAULT_PROJECT.into(), Caller::anybody());
        Self { node: node.into(), project, spool, catalog, keyring, clock, stop, drain, places, caller, acceptance }
    }

    /// The same, which tells `telemetry` of the events whose trace is kept.
    #[must_use]
    pub fn told_to(self, telemetry: Telemetry) -> Self {
        Self { acceptance: Acceptance::new(telemetry), ..self }
    }

    /// The same for one caller: events belong to the project of its key.
    fn for_caller<T>(&self, request: &tonic::Request<T>) -> Result<Self, Status> {
        let caller = Caller::of(request)?.clone();
        let project = caller.grant().and_then(|grant| grant.project.clone());
        let headers = request.metadata().as_ref();
        let acceptance = self.acceptance.of_call(rpc::of_headers(headers));
        Ok(Self { project: project.unwrap_or_else(|| self.project.clone()), caller, acceptance, ..self.clone() })
    }

    /// When the caller may send more, in milliseconds of the clock, and what it has used up until then.
    fn free_at_ms(&self, now_ms: i64) -> (i64, &'static str) {
        let Some(grant) = self.caller.grant() else { return (now_ms, "") };
        let usage = grant.usage();
        (usage.events.free_at_ms(now_ms), "events").max((usage.bytes.free_at_ms(now_ms), "bytes"))
    }

    /// The caller has sent these.
    fn charge(&self, events: &[proto::Event]) {
        if let Some(grant) = self.caller.grant() {
            let now_ms = self.clock.now_ms();
            let bytes: usize = events.iter().map(|event| event.json.len()).sum();
            grant.usage().events.charge(i64::try_from(events.len()).unwrap_or(i64::MAX), now_ms);
            grant.usage().bytes.charge(i64::try_from(bytes).unwrap_or(i64::MAX), now_ms);
        }
    }

    /// Lets a call in; it counts as under way until what is given is dropped.
    fn enter(&self) -> Result<Call, Status> {
        let sender = self.drain.enter().ok_or_else(|| Status::unavailable(DRAINING))?;
        if *self.stop.borrow() {
            return Err(Status::unavailable(STOPPING));
        }
        if self.catalog.borrow().epoch().is_empty() {
            return Err(Status::unavailable(
                "this node has no catalog yet: it takes events once a control plane has sent it one",
            ));
        }
        let place = self.places.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{MAX_CALLS} producers are at work on this node already: go to another, or try again later"
            ))
        })?;
        Ok(Call { _sender: sender, _place: place })
    }

    fn producer(&self, id: &str) -> Result<Producer, Status> {
        if id.is_empty() || id.len() > MAX_PRODUCER_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Status::invalid_argument("producer_id: give 1 to 128 visible ASCII characters without spaces"));
        }
        Ok(Producer { project: self.project.clone(), id: id.into() })
    }

    /// Checks and matches the events of a batch.
    fn examine(&self, producer_id: &str, first_sequence: u64, events: Vec<proto::Event>) -> Examined {
        let catalog = self.catalog.borrow().clone();
        let accept_ms = self.clock.now_ms();
        let mut items = Vec::with_capacity(events.len());
        let (mut rejections, mut accepted) = (Vec::new(), Vec::new());
        let mut matching = Vec::new();
        for (event, sequence) in events.into_iter().zip(first_sequence..) {
            let id = (producer_id, sequence);
            match self.match_event(&catalog, id, event, accept_ms, &mut matching, &mut accepted) {
                Ok(item) => items.push(item),
                Err(rejection) => {
                    items.push(Item::Rejected);
                    rejections.push(rejection);
                }
            }
        }
        Examined { items, rejections, accepted }
    }

    fn match_event<'c>(
        &self,
        catalog: &'c Catalog,
        (producer_id, sequence): (&str, u64),
        event: proto::Event,
        accept_ms: i64,
        matching: &mut Vec<&'c Arc<CompiledSync>>,
        accepted: &mut Vec<Span>,
    ) -> Result<Item, Rejection> {
        let id = || EventId::new(&self.project, producer_id, sequence);
        let sent = (bounded(event.traceparent), bounded(event.tracestate));
        let parsed = match Event::parse(&event.json) {
            Ok(parsed) => parsed,
            Err(refused) => {
                if self.acceptance.is_told() {
                    let reason = Accepted::Rejected(refused.reason.as_str_name());
                    accepted.extend(self.acceptance.accept(sent, id(), accept_ms, reason).1);
                }
                return Err(Rejection { sequence, reason: refused.reason.into(), message: refused.message });
            }
        };
        matching.clear();
        catalog.matching(&self.project, &parsed, matching);
        if matching.is_empty() {
            if self.acceptance.is_told() {
                let unmatched = Accepted::Matched(parsed.event_type(), 0);
                accepted.extend(self.acceptance.accept(sent, id(), accept_ms, unmatched).1);
            }
            return Ok(Item::Unmatched { key: parsed.insert_key(&self.project) });
        }
        let id = id();
        let matched = Accepted::Matched(parsed.event_type(), matching.len());
        let ((traceparent, tracestate), span) = self.acceptance.accept(sent, id, accept_ms, matched);
        accepted.extend(span);
        let stored = StoredEvent {
            id,
            accept_ms,
            event_type: parsed.event_type().to_owned(),
            // Its own copy: a slice would keep the whole message in memory as long as the delivery lives.
            json: bytes::Bytes::copy_from_slice(&event.json),
            traceparent,
            tracestate,
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
        let ingest = self.for_caller(&request)?;
        let counted = ingest.caller.grant().map(|grant| grant.open_stream()).transpose()?;
        let call = self.enter()?;
        let account = account(&request)?;
        // As many as fit in a packet; the rest waits where it can be put together.
        let (responses, answer) = mpsc::channel(4);
        let requests = request.into_inner();
        tokio::spawn(async move {
            let ended = ingest.stream(requests, &account, &responses).await;
            drop((call, counted));
            if let Err(status) = ended {
                // The producer may have gone, or read nothing.
                let _ = responses.send_timeout(Err(status), stream::ACKS_TIMEOUT).await;
            }
        });
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(answer))))
    }

    async fn send_events(
        &self,
        request: tonic::Request<SendEventsRequest>,
    ) -> Result<tonic::Response<SendEventsResponse>, Status> {
        let ingest = self.for_caller(&request)?;
        let now_ms = self.clock.now_ms();
        if let (free_at_ms, what) = ingest.free_at_ms(now_ms)
            && free_at_ms > now_ms
        {
            let key = ingest.caller.name().to_owned();
            return Err(Refusal::Events { key, what, retry_ms: free_at_ms - now_ms }.into());
        }
        let _call = self.enter()?;
        let _charge = account(&request)?.settle();
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
            (Some(ingest.producer(&producer_id)?), producer_id)
        };
        ingest.charge(&events);
        let Examined { items, rejections, accepted } = ingest.examine(&id, first_sequence, events);
        let turn = match &producer {
            Some(producer) => Some(ingest.open(producer, first_sequence).await?.0),
            None => None,
        };
        let accept = Accept { producer, project: ingest.project.clone(), first_sequence, items };
        let fence = turn.as_ref().map_or(0, |turn| turn.fence);
        let stored = self.spool.accept(accept, fence).await.await;
        stored.unwrap_or_else(|_| Err(gone())).map_err(refused)?;
        ingest.acceptance.stored(accepted, self.clock.now_ms());
        Ok(tonic::Response::new(SendEventsResponse {
            node: self.node.to_string(),
            acked_sequence_inclusive: first_sequence + count - 1,
            rejections,
        }))
    }
}

/// What a call was charged: [`Metered`] has put it there.
fn account<T>(request: &tonic::Request<T>) -> Result<Account, Status> {
    let account = request.extensions().get::<Account>().cloned();
    account.ok_or_else(|| Status::internal("the event service is served without a budget"))
}

/// The turn of a producer's newest stream or call; over when it is dropped.
struct Turn {
    spool: Spool,
    producer: Producer,
    fence: u64,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.spool.close(self.producer.clone(), self.fence);
    }
}

impl Ingest {
    /// Makes this the newest stream or call of the producer; gives where it stands, too.
    async fn open(&self, producer: &Producer, first_sequence: u64) -> Result<(Turn, crate::spool::Opened), Status> {
        let opened = self.spool.open(producer.clone(), first_sequence).await.map_err(refused)?;
        Ok((Turn { spool: self.spool.clone(), producer: producer.clone(), fence: opened.fence }, opened))
    }
}

/// One event and what belongs to it fit in a message, and the budget in the largest window.
const _: () = assert!(MAX_EVENT_BYTES < MAX_BATCH_BYTES && MAX_BATCH_BYTES < MAX_MESSAGE_BYTES);
const _: () = assert!(WINDOW_BYTES + MAX_MESSAGE_BYTES < BUDGET_BYTES);
