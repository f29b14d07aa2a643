//! The task behind a publisher: owns the window, opens streams, moves events out and acks in, and brings a lost stream
//! back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use sluice_proto::event::v1::{
    self, StreamEventsRequest, StreamEventsResponse, stream_events_request, stream_events_response,
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    backoff::Backoff,
    connect::event_client,
    credentials::Credentials,
    error::Error,
    publisher::{KEPT_REJECTIONS, OnRejection, Progress, Queued, Summary},
    window::{Acked, Window},
};

/// How a publisher ended.
pub(crate) type End = Result<Summary, Error>;

/// For how long `opened` is waited for.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long an ack that is owed is waited for.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long the node may take to end a stream that we have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A stream that has lived for so long and owes nothing ends an outage, even if nothing was sent over it.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Batches handed to the transport and not sent by it yet.
const OUTBOX: usize = 2;
/// Events taken from the queue at once.
const TAKE: usize = 256;

pub(crate) struct Worker {
    address: String,
    credentials: Credentials,
    producer_id: String,
    window: Window,
    /// Shares of the buffer of the events in the window, in the same order.
    rooms: VecDeque<OwnedSemaphorePermit>,
    /// `None` once the publisher takes no more events and the queue is empty.
    queue: Option<mpsc::UnboundedReceiver<Queued>>,
    progress: watch::Sender<Progress>,
    on_rejection: Option<OnRejection>,
    rejected: BTreeMap<i32, u64>,
    summary: Summary,
}

/// An open stream.
pub(crate) struct Stream {
    outbox: mpsc::Sender<StreamEventsRequest>,
    inbox: Streaming<StreamEventsResponse>,
}

impl Worker {
    pub(crate) fn new(
        address: String,
        credentials: Credentials,
        producer_id: String,
        first_sequence: u64,
        queue: mpsc::UnboundedReceiver<Queued>,
        progress: watch::Sender<Progress>,
        on_rejection: Option<OnRejection>,
    ) -> Self {
        Self {
            address,
            credentials,
            producer_id,
            window: Window::new(first_sequence),
            rooms: VecDeque::new(),
            queue: Some(queue),
            progress,
            on_rejection,
            rejected: BTreeMap::new(),
            summary: Summary::default(),
        }
    }

    /// Connects and opens a stream.
    pub(crate) async fn open(&mut self) -> Result<Stream, Error> {
        let silent = |_| Error::Silent { waited_for: "the stream to open", after: OPEN_TIMEOUT };
        timeout(OPEN_TIMEOUT, self.open_unbounded()).await.map_err(silent)?
    }

    /// Goes on until every event of a finished publisher is acked, or until a failure that does not mend.
    pub(crate) async fn run(
        &mut self,
        mut stream: Stream,
        mut backoff: Backoff,
        max_outage: Duration,
    ) -> Result<Summary, Error> {
        let mut outage_since = None;
        loop {
            let before = self.window.acked();
            let opened_at = Instant::now();
            let lost = match self.pump(&mut stream).await {
                Ok(()) => {
                    close(stream).await;
                    return Ok(self.summary());
                }
                Err(lost) => lost,
            };
            drop(stream);
            let idle = !self.window.awaits_ack() && opened_at.elapsed() >= HEALTHY_AFTER;
            if self.window.acked() > before || idle {
                backoff.reset();
                outage_since = None;
            }
            stream = self.reopen(lost, &mut backoff, &mut outage_since, max_outage).await?;
        }
    }

    async fn open_unbounded(&mut self) -> Result<Stream, Error> {
        let connection = self.credentials.connect(&self.address).await?;
        let (outbox, outgoing) = mpsc::channel(OUTBOX);
        let open = stream_events_request::Message::Open(self.window.open(&self.producer_id));
        // The first message goes at once: the node's headers may wait for it.
        let gone = |_| Error::Closed("it ended before it began".to_owned());
        outbox.send(StreamEventsRequest { message: Some(open) }).await.map_err(gone)?;
        let response = event_client(connection).stream_events(ReceiverStream::new(outgoing)).await;
        let mut inbox = response.map_err(|status| self.refused(status))?.into_inner();
        match inbox.message().await.map_err(|status| self.refused(status))?.and_then(|response| response.message) {
            Some(stream_events_response::Message::Opened(opened)) => self.opened(&opened)?,
            Some(stream_events_response::Message::Closing(closing)) => return Err(Error::Closed(closing.message)),
            Some(stream_events_response::Message::Ack(_)) => return Err(Error::Protocol("an ack before `opened`")),
            None => return Err(Error::Closed("it ended before `opened`".to_owned())),
        }
        Ok(Stream { outbox, inbox })
    }

    fn opened(&mut self, opened: &v1::Opened) -> Result<(), Error> {
        let known = self.window.opened(opened)?;
        tracing::debug!(node = opened.node, next_sequence = opened.next_sequence, known, "stream opened");
        let first = self.summary.acked == 0 && self.window.is_empty() && self.summary.reconnects == 0;
        if first {
            self.summary.known_before = known;
        }
        let known_before = self.summary.known_before;
        self.progress.send_modify(|progress| {
            progress.connected = true;
            progress.known_before = known_before;
        });
        Ok(())
    }

    /// Moves events and acks over one stream, until all is done (`Ok`) or the stream is lost.
    async fn pump(&mut self, stream: &mut Stream) -> Result<(), Error> {
        let mut taken = Vec::with_capacity(TAKE);
        let mut ack_owed_since = Instant::now();
        // What the node said when it asked us to leave: nothing more is sent, what was sent is acked still.
        let mut closing: Option<String> = None;
        loop {
            if self.queue.is_none() && self.window.is_empty() {
                return Ok(());
            }
            if let Some(reason) = closing.take_if(|_| !self.window.awaits_ack()) {
                return Err(Error::Closed(reason));
            }
            let owed = self.window.awaits_ack();
            if !owed {
                ack_owed_since = Instant::now();
            }
            tokio::select! {
                biased;
                response = stream.inbox.message() => {
                    let response = response.map_err(|status| self.refused(status))?;
                    if let Some(reason) = self.take_response(response)? {
                        closing = Some(reason);
                    }
                    ack_owed_since = Instant::now();
                }
                permit = stream.outbox.reserve(), if closing.is_none() && self.window.can_send() => {
                    match permit {
                        Ok(permit) => if let Some(batch) = self.window.next_batch() {
                            permit.send(StreamEventsRequest {
                                message: Some(stream_events_request::Message::Batch(batch)),
                            });
                        },
                        Err(_) => return Err(self.last_words(&mut stream.inbox).await),
                    }
                }
                count = take(&mut self.queue, &mut taken), if self.queue.is_some() => {
                    if count == 0 {
                        self.queue = None;
                    }
                    for Queued { event, room } in taken.drain(..) {
                        self.window.push(event);
                        self.rooms.push_back(room);
                    }
                }
                () = sleep_until(ack_owed_since + ACK_TIMEOUT), if owed => {
                    return Err(Error::Silent { waited_for: "an ack", after: ACK_TIMEOUT });
                }
            }
        }
    }

    /// Why the node takes no more, after the acks that it has sent before.
    async fn last_words(&mut self, inbox: &mut Streaming<StreamEventsResponse>) -> Error {
        let said = async {
            loop {
                let response = inbox.message().await.map_err(|status| self.refused(status))?;
                if let Some(reason) = self.take_response(response)? {
                    return Err::<(), Error>(Error::Closed(reason));
                }
            }
        };
        match timeout(CLOSE_TIMEOUT, said).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => Error::Closed("the connection was lost".to_owned()),
        }
    }

    /// Gives the reason if the node asks us to leave.
    fn take_response(&mut self, response: Option<StreamEventsResponse>) -> Result<Option<String>, Error> {
        match response.map(|response| response.message) {
            Some(Some(stream_events_response::Message::Ack(ack))) => {
                let acked = self.window.acked_by(ack);
                self.count(&acked);
                Ok(None)
            }
            Some(Some(stream_events_response::Message::Closing(closing))) => Ok(Some(closing.message)),
            Some(Some(stream_events_response::Message::Opened(_))) => Err(Error::Protocol("a second `opened`")),
            // A kind of message that this version does not know changes nothing that it does know.
            Some(None) => Ok(None),
            None => Err(Error::Closed("it ended".to_owned())),
        }
    }

    fn count(&mut self, acked: &Acked) {
        let done = usize::try_from(acked.events).unwrap_or(usize::MAX).min(self.rooms.len());
        self.rooms.drain(..done);
        self.summary.acked += acked.events;
        for rejected in &acked.rejections {
            *self.rejected.entry(rejected.reason.into()).or_default() += 1;
            if self.summary.first_rejections.len() < KEPT_REJECTIONS {
                self.summary.first_rejections.push(rejected.clone());
            }
            if let Some(on_rejection) = &mut self.on_rejection {
                on_rejection(rejected);
            }
        }
        let (acked_count, acked_sequence) = (self.summary.acked, self.window.acked());
        let rejected = acked.rejections.len() as u64;
        self.progress.send_modify(|progress| {
            progress.acked = acked_count;
            progress.acked_sequence = acked_sequence;
            progress.rejected += rejected;
        });
    }

    /// Brings a lost stream back, until `max_outage` after `outage_since`. A node without room is there: while it says so,
    /// there is no outage.
    async fn reopen(
        &mut self,
        lost: Error,
        backoff: &mut Backoff,
        outage_since: &mut Option<Instant>,
        max_outage: Duration,
    ) -> Result<Stream, Error> {
        let mut failure = lost;
        self.progress.send_modify(|progress| progress.connected = false);
        loop {
            if !failure.is_transient() {
                return Err(failure);
            }
            let mut wait = backoff.next_wait(rand::random());
            if failure.is_lack_of_room() {
                *outage_since = None;
            } else {
                let outage = outage_since.get_or_insert_with(Instant::now).elapsed();
                if outage >= max_outage {
                    let acked = self.window.acked();
                    let address = self.address.clone();
                    return Err(Error::Outage { address, outage, acked, source: Box::new(failure) });
                }
                wait = wait.min(max_outage - outage);
            }
            tracing::debug!(error = %failure, wait_ms = wait.as_millis(), "stream lost, opening another");
            sleep(wait).await;
            match self.open().await {
                Ok(stream) => {
                    self.summary.reconnects += 1;
                    self.progress.send_modify(|progress| progress.reconnects += 1);
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
    }

    fn refused(&self, status: Status) -> Error {
        match status.code() {
            Code::Aborted => Error::Fenced { producer_id: self.producer_id.clone() },
            _ => Error::Refused(Box::new(status)),
        }
    }

    fn summary(&mut self) -> Summary {
        let mut summary = std::mem::take(&mut self.summary);
        summary.rejected = std::mem::take(&mut self.rejected)
            .into_iter()
            .map(|(reason, count)| (v1::RejectionReason::try_from(reason).unwrap_or_default(), count))
            .collect();
        summary.rejected.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        summary
    }
}

/// The next events of the queue; 0 when there will be no more.
async fn take(queue: &mut Option<mpsc::UnboundedReceiver<Queued>>, taken: &mut Vec<Queued>) -> usize {
    match queue {
        Some(queue) => queue.recv_many(taken, TAKE).await,
        None => 0,
    }
}

/// Ends a stream in good order: our half first, then the node's.
async fn close(stream: Stream) {
    let Stream { outbox, mut inbox } = stream;
    drop(outbox);
    let drained = async { while let Ok(Some(_)) = inbox.message().await {} };
    // A node that does not end its half in time is left behind; everything is acked.
    let _ = timeout(CLOSE_TIMEOUT, drained).await;
}
