//! One stream of a producer, from `open` to the ack of its last batch.

use std::{collections::VecDeque, pin::pin, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesOrdered};
use sluice_proto::event::v1::{
    Ack, Batch, Closing, Open, Opened, StreamEventsRequest, StreamEventsResponse,
    stream_events_request::Message as Request, stream_events_response::Message as Response,
};
use sluice_telemetry::spans::Span;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};

use super::{
    BATCHES_IN_FLIGHT, Examined, Ingest, MAX_BATCH_BYTES, WINDOW_BYTES,
    budget::{Account, Charge},
    refusal::{DRAINING, STOPPING, check_batch, check_sequence, gone, refused},
};
use crate::{
    spool::{
        AcceptError,
        store::{Accept, Producer},
    },
    stop,
};

/// How long a producer may take to send `open`.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a producer may leave an ack unread: it holds a place, and what was refused is kept for it.
pub(super) const ACKS_TIMEOUT: Duration = Duration::from_secs(60);

/// Where answers go.
type Responses = mpsc::Sender<Result<StreamEventsResponse, Status>>;

/// A batch that waits for its commit.
struct Waiting {
    stored: oneshot::Receiver<Result<(), AcceptError>>,
    ack: Ack,
    charge: Charge,
    /// Spans of its events, if their trace is kept.
    accepted: Vec<Span>,
}

impl Ingest {
    /// Serves one stream. An error is what the producer is told at its end.
    pub(super) async fn stream(
        &self,
        mut requests: Streaming<StreamEventsRequest>,
        account: &Account,
        responses: &Responses,
    ) -> Result<(), Status> {
        let (mut stop, mut drain) = (self.stop.clone(), self.drain.watch());
        let first = tokio::select! {
            first = timeout(OPEN_TIMEOUT, requests.message()) => first,
            message = leave(&mut stop, &mut drain) => return Err(Status::unavailable(message)),
        };
        let first = first.map_err(|_| {
            Status::deadline_exceeded(format!("no `open` came within {} s: send it at once", OPEN_TIMEOUT.as_secs()))
        })??;
        let Some(first) = first else { return Ok(()) };
        drop(account.settle());
        let Some(Request::Open(Open { producer_id, first_sequence })) = first.message else {
            return Err(Status::invalid_argument("the first message of a stream must be `open`"));
        };
        check_sequence(first_sequence, 0)?;
        let producer = self.producer(&producer_id)?;
        let (turn, opened) = self.open(&producer, first_sequence).await?;
        let answer = Response::Opened(Opened {
            node: self.node.to_string(),
            known: opened.known,
            next_sequence: opened.next_sequence,
            max_batch_bytes: MAX_BATCH_BYTES as u64,
            window_bytes: WINDOW_BYTES as u64,
        });
        // The channel is new, it has room.
        responses.send(said(answer)).await.map_err(|_| left())?;
        let batches = Batches {
            ingest: self,
            producer: &producer,
            fence: turn.fence,
            account,
            waiting_bytes: 0,
            acks: Acks::default(),
            ended: None,
        };
        batches.run(requests, responses).await
    }
}

/// The batches of a stream.
struct Batches<'a> {
    ingest: &'a Ingest,
    producer: &'a Producer,
    fence: u64,
    account: &'a Account,
    waiting_bytes: usize,
    acks: Acks,
    /// What the producer is told when all acks have left.
    ended: Option<Status>,
}

impl Batches<'_> {
    /// Takes batches until the producer ends the stream or it must end; then every batch that was stored has been acked.
    async fn run(mut self, mut requests: Streaming<StreamEventsRequest>, responses: &Responses) -> Result<(), Status> {
        let (mut stop, mut drain) = (self.ingest.stop.clone(), self.ingest.drain.watch());
        let mut waiting = FuturesOrdered::new();
        let mut open = true;
        let clock = &self.ingest.clock;
        let refused_later = self.ingest.caller.until_refused(self.ingest.keyring.clone(), clock);
        let mut refused_later = pin!(refused_later);
        // Begins again whenever an ack leaves.
        let mut unread = Box::pin(sleep(ACKS_TIMEOUT));
        while open || !waiting.is_empty() || !self.acks.is_empty() {
            // Nothing more is read from a producer that is ahead of its window, or behind with its acks: flow control holds
            // it back.
            let batches = waiting.len() + self.acks.batches;
            let room = batches < BATCHES_IN_FLIGHT && self.waiting_bytes + self.acks.bytes < WINDOW_BYTES;
            let now_ms = clock.now_ms();
            let (free_at_ms, _) = self.ingest.free_at_ms(now_ms);
            let paced = free_at_ms <= now_ms;
            tokio::select! {
                biased;
                place = responses.reserve(), if !self.acks.is_empty() => {
                    let place = place.map_err(|_| left())?;
                    if let Some(response) = self.acks.next() {
                        place.send(said(response));
                    }
                    unread = Box::pin(sleep(ACKS_TIMEOUT));
                }
                Some((stored, ack, charge, accepted)) = waiting.next() => {
                    let stored: Result<Result<(), AcceptError>, _> = stored;
                    let charge: Charge = charge;
                    self.waiting_bytes -= charge.bytes();
                    drop(charge);
                    match stored.unwrap_or_else(|_| Err(gone())) {
                        Ok(()) => {
                            self.ingest.acceptance.stored(accepted, clock.now_ms());
                            if self.acks.is_empty() {
                                unread = Box::pin(sleep(ACKS_TIMEOUT));
                            }
                            self.acks.push(ack);
                        }
                        // What follows it in the spool's queue is a gap there.
                        Err(error) => {
                            (self.ended, open) = (Some(refused(error)), false);
                            waiting = FuturesOrdered::new();
                        }
                    }
                }
                () = &mut unread, if !self.acks.is_empty() => {
                    let seconds = ACKS_TIMEOUT.as_secs();
                    return Err(Status::deadline_exceeded(format!("an ack was not read within {seconds} s")));
                }
                message = leave(&mut stop, &mut drain), if open => {
                    open = false;
                    self.acks.closing = Some(Closing { message: message.to_owned() });
                }
                // Its key was revoked or has expired: what came before is told first.
                refusal = &mut refused_later, if open => {
                    (self.ended, open) = (Some(refusal.into()), false);
                }
                // One that is ahead of its key's limits is not read either, until it no longer is.
                () = clock.sleep_until(free_at_ms, "key's limits"), if open && room && !paced => {}
                request = requests.message(), if open && room && paced => match self.next(request).await {
                    Ok(None) => open = false,
                    Ok(Some(Waiting { stored, ack, charge, accepted })) => {
                        self.waiting_bytes += charge.bytes();
                        waiting.push_back(async move { (stored.await, ack, charge, accepted) });
                    }
                    // What came before it is told first.
                    Err(status) => (self.ended, open) = (Some(status), false),
                }
            }
        }
        self.ended.map_or(Ok(()), Err)
    }

    /// Hands a batch over; none at the end of the stream.
    async fn next(&self, request: Result<Option<StreamEventsRequest>, Status>) -> Result<Option<Waiting>, Status> {
        let Some(StreamEventsRequest { message }) = request? else { return Ok(None) };
        let charge = self.account.settle();
        match message {
            Some(Request::Batch(batch)) => self.hand_over(batch, charge).await.map(Some),
            Some(Request::Open(_)) => {
                Err(Status::invalid_argument("`open` comes only once, as the first message of a stream"))
            }
            None => Err(Status::invalid_argument("an empty message: after `open` send `batch`")),
        }
    }

    async fn hand_over(&self, batch: Batch, charge: Charge) -> Result<Waiting, Status> {
        let Batch { first_sequence, events } = batch;
        check_batch(&events)?;
        let count = events.len() as u64;
        check_sequence(first_sequence, count)?;
        self.ingest.charge(&events);
        let Examined { items, rejections, accepted } = self.ingest.examine(&self.producer.id, first_sequence, events);
        let project = self.ingest.project.clone();
        let accept = Accept { producer: Some(self.producer.clone()), project, first_sequence, items };
        let stored = self.ingest.spool.accept(accept, self.fence).await;
        let ack = Ack { acked_sequence_inclusive: first_sequence + count - 1, rejections };
        Ok(Waiting { stored, ack, charge, accepted })
    }
}

/// Answers that the producer has not taken yet.
#[derive(Default)]
struct Acks {
    acks: VecDeque<Ack>,
    /// Batches that they are for.
    batches: usize,
    /// Bytes of what was refused.
    bytes: usize,
    closing: Option<Closing>,
}

impl Acks {
    fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.closing.is_none()
    }

    fn push(&mut self, ack: Ack) {
        self.batches += 1;
        self.bytes += weight(&ack);
        self.acks.push_back(ack);
    }

    /// What is on disk goes first: a producer that hears `closing` may leave at once.
    fn next(&mut self) -> Option<Response> {
        let Some(ack) = self.acks.pop_front() else { return self.closing.take().map(Response::Closing) };
        self.batches -= 1;
        self.bytes -= weight(&ack);
        Some(Response::Ack(ack))
    }
}

/// Memory of the rejections of an ack, roughly.
fn weight(ack: &Ack) -> usize {
    ack.rejections.iter().map(|rejection| size_of_val(rejection) + rejection.message.len()).sum()
}

/// Waits until producers must go elsewhere; gives why.
async fn leave(stop: &mut watch::Receiver<bool>, drain: &mut watch::Receiver<bool>) -> &'static str {
    tokio::select! {
        () = stop::asked(stop) => STOPPING,
        () = stop::asked(drain) => DRAINING,
    }
}

fn said(message: Response) -> Result<StreamEventsResponse, Status> {
    Ok(StreamEventsResponse { message: Some(message) })
}

fn left() -> Status {
    Status::cancelled("the producer has gone")
}
