//! Streams events to a node and keeps them until the node has them on disk.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use sluice_proto::event::v1::RejectionReason;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    backoff::Backoff,
    credentials::Credentials,
    error::Error,
    window::{MAX_EVENT_BYTES, Rejected},
    worker::{End, Worker},
};

/// Counted for each held event beside its bytes, so that many tiny events are bounded too.
const EVENT_OVERHEAD_BYTES: usize = 64;
/// Rejections that [`Summary`] keeps.
pub(crate) const KEPT_REJECTIONS: usize = 100;

/// Takes events, streams them and keeps them until they are acked; reconnects by itself and sends again what is not
/// acked. Dropping it without [`Publisher::finish`] gives up what is not acked.
pub struct Publisher {
    producer_id: String,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    buffer_bytes: usize,
    progress: watch::Receiver<Progress>,
    end: watch::Receiver<Option<End>>,
    worker: JoinHandle<()>,
}

struct Queue {
    next_sequence: u64,
    events: mpsc::UnboundedSender<Queued>,
}

/// An event on its way to the worker. Its permit is its share of the buffer.
pub(crate) struct Queued {
    pub(crate) event: Bytes,
    pub(crate) room: OwnedSemaphorePermit,
}

/// How far a publisher is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events that are done with, whether taken or refused.
    pub acked: u64,
    /// The last sequence that is done with; 0 if none is and the first one is 1.
    pub acked_sequence: u64,
    /// Events that the node refused; they are among `acked`.
    pub rejected: u64,
    /// Events that the node already held when the first stream opened: an earlier publisher with this producer id has
    /// sent them. They are not stored again.
    pub known_before: u64,
    /// How many times the stream was lost and brought back.
    pub reconnects: u64,
    /// Whether a stream is open now.
    pub connected: bool,
}

/// What became of the events of a publisher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that are done with, whether taken or refused.
    pub acked: u64,
    /// Events that the node refused, by reason, most first.
    pub rejected: Vec<(RejectionReason, u64)>,
    /// The first hundred of them.
    pub first_rejections: Vec<Rejected>,
    /// As in [`Progress`].
    pub known_before: u64,
    /// As in [`Progress`].
    pub reconnects: u64,
}

impl Summary {
    /// Events that the node refused.
    #[must_use]
    pub fn rejected_count(&self) -> u64 {
        self.rejected.iter().map(|(_, count)| count).sum()
    }
}

impl Publisher {
    /// A publisher for the node at `address`, such as `http://127.0.0.1:7601`.
    #[must_use]
    pub fn builder(address: &str) -> Builder {
        Builder {
            address: address.to_owned(),
            credentials: Credentials::default(),
            producer_id: None,
            first_sequence: 1,
            buffer_bytes: 8 << 20,
            max_outage: Duration::from_secs(5 * 60),
            backoff: Backoff::default(),
            on_rejection: None,
        }
    }

    /// The producer id under which the events are sent.
    #[must_use]
    pub fn producer_id(&self) -> &str {
        &self.producer_id
    }

    /// Hands over one event, a JSON object in Amplitude's export shape, and gives its sequence. Waits while the buffer is
    /// full. The event is not acked yet when this returns. Cancelling it while it waits hands over nothing.
    ///
    /// [`Error::EventTooLarge`] (nothing is handed over, go on) above [`MAX_EVENT_BYTES`]; else the error that ended the
    /// publisher.
    pub async fn send(&self, event: Bytes) -> Result<u64, Error> {
        if event.len() > MAX_EVENT_BYTES {
            return Err(Error::EventTooLarge { size: event.len(), limit: MAX_EVENT_BYTES });
        }
        let bytes = event.len().saturating_add(EVENT_OVERHEAD_BYTES).min(self.buffer_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().acquire_many_owned(permits).await else {
            return Err(self.ended());
        };
        // Sequence and place in the queue are taken together. The lock is never held across a wait.
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = queue.next_sequence;
        if queue.events.send(Queued { event, room }).is_err() {
            drop(queue);
            return Err(self.ended());
        }
        queue.next_sequence += 1;
        Ok(sequence)
    }

    /// Waits until every event that was handed over is acked. The error that ended the publisher, if one did.
    pub async fn flush(&self) -> Result<(), Error> {
        let last = self.queue.lock().unwrap_or_else(PoisonError::into_inner).next_sequence - 1;
        let mut progress = self.progress.clone();
        match progress.wait_for(|progress| progress.acked_sequence >= last).await {
            Ok(_) => Ok(()),
            // The worker has ended. It may have acked the last event just before.
            Err(_) if self.progress.borrow().acked_sequence >= last => Ok(()),
            Err(_) => Err(self.ended()),
        }
    }

    /// Waits until every event that was handed over is acked, closes the stream and tells what became of the events.
    pub async fn finish(self) -> Result<Summary, Error> {
        let Self { queue, worker, end, .. } = self;
        drop(queue);
        worker.await.map_err(|_| Error::Ended)?;
        let ended = end.borrow().clone();
        ended.unwrap_or(Err(Error::Ended))
    }

    /// Follows the progress. Closes when the publisher ends.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn ended(&self) -> Error {
        match &*self.end.borrow() {
            Some(Err(error)) => error.clone(),
            Some(Ok(_)) | None => Error::Ended,
        }
    }
}

/// Called with each rejection.
pub(crate) type OnRejection = Box<dyn FnMut(&Rejected) + Send>;

/// Settings of a [`Publisher`].
pub struct Builder {
    address: String,
    credentials: Credentials,
    producer_id: Option<String>,
    first_sequence: u64,
    buffer_bytes: usize,
    max_outage: Duration,
    backoff: Backoff,
    on_rejection: Option<OnRejection>,
}

impl Builder {
    /// What is shown to the node, such as an API key, and whom to trust; by default nothing, and the system's roots.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    /// Identity of one life of this producer, 1 to 128 visible ASCII characters. Random by default. Give one only if the
    /// same events get the same sequences again after a restart: the node stores a sequence of a producer once.
    #[must_use]
    pub fn producer_id(mut self, producer_id: impl Into<String>) -> Self {
        self.producer_id = Some(producer_id.into());
        self
    }

    /// Sequence of the first event, at least 1, which is the default.
    #[must_use]
    pub fn first_sequence(mut self, first_sequence: u64) -> Self {
        self.first_sequence = first_sequence;
        self
    }

    /// How many bytes of events are held at most until they are acked; 8 MiB by default, at least 64 KiB. [`Publisher::send`]
    /// waits beyond.
    #[must_use]
    pub fn buffer_bytes(mut self, buffer_bytes: usize) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// For how long a lost stream is tried to be brought back; 5 minutes by default. A node that answers that it has no
    /// room (`RESOURCE_EXHAUSTED`) is waited for without end: [`Publisher::send`] waits once the buffer is full.
    #[must_use]
    pub fn max_outage(mut self, max_outage: Duration) -> Self {
        self.max_outage = max_outage;
        self
    }

    /// The waits between tries to bring a lost stream back; 100 ms to 5 s by default.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Called once with each event that the node refuses, in the order of their sequences. Must not block.
    #[must_use]
    pub fn on_rejection(mut self, on_rejection: impl FnMut(&Rejected) + Send + 'static) -> Self {
        self.on_rejection = Some(Box::new(on_rejection));
        self
    }

    /// Opens the first stream. A failure of that is told at once; only later ones are waited out.
    ///
    /// [`Error::InvalidSetting`] or [`Error::InvalidAddress`] for wrong settings, [`Error::Unreachable`] if nobody answers,
    /// [`Error::Refused`] if the node does not take events.
    pub async fn connect(self) -> Result<Publisher, Error> {
        let producer_id = match self.producer_id {
            Some(id) if !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()) => id,
            Some(_) => {
                return Err(Error::InvalidSetting {
                    setting: "producer id",
                    rule: "must be 1 to 128 visible ASCII characters",
                });
            }
            None => uuid::Uuid::new_v4().to_string(),
        };
        if self.first_sequence == 0 {
            return Err(Error::InvalidSetting { setting: "first sequence", rule: "must be at least 1" });
        }
        if !(64 << 10..=Semaphore::MAX_PERMITS.min(u32::MAX as usize)).contains(&self.buffer_bytes) {
            return Err(Error::InvalidSetting { setting: "buffer bytes", rule: "must be 64 KiB to 4 GiB" });
        }
        let room = Arc::new(Semaphore::new(self.buffer_bytes));
        let (events, queued) = mpsc::unbounded_channel();
        let (progress_sender, progress) =
            watch::channel(Progress { acked_sequence: self.first_sequence - 1, ..Progress::default() });
        let (end_sender, end) = watch::channel(None);
        let mut worker = Worker::new(
            self.address,
            self.credentials,
            producer_id.clone(),
            self.first_sequence,
            queued,
            progress_sender,
            self.on_rejection,
        );
        let stream = worker.open().await?;
        let task_room = room.clone();
        let worker = tokio::spawn(async move {
            let ended = worker.run(stream, self.backoff, self.max_outage).await;
            end_sender.send_replace(Some(ended));
            // Only now may a waiting `send` or `flush` learn that the publisher has ended: the reason is there.
            task_room.close();
            drop(worker);
        });
        Ok(Publisher {
            producer_id,
            queue: Mutex::new(Queue { next_sequence: self.first_sequence, events }),
            room,
            buffer_bytes: self.buffer_bytes,
            progress,
            end,
            worker,
        })
    }
}
