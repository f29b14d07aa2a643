//! The node's durable record. One thread writes, committing many commands with one fsync; another reads what deliveries wait
//! for, and a third what people ask. Everything else talks to them by message; an answer means that it is on disk. Who asks finds what
//! was committed before: the writer brings it to where readers look first.

mod inbox;
pub mod inspect;
mod limits;
mod recent;
mod sqlite;
pub mod store;
mod writer;

use std::{
    collections::HashSet,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use sluice_host::clock::Clock;
use sluice_telemetry::meters::Recorder;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc as async_mpsc, oneshot, watch};

pub use self::{limits::SpoolLimits, sqlite::SqliteFactory};
use self::{
    recent::RecentReports,
    store::{
        Accept, CatalogChange, Change, Created, Due, DueQuery, Full, LaneKey, Producer, Reports, Selection, Settlement,
        StoreError, StoreFactory, StoreReader,
    },
    writer::Command,
};

/// Bytes of events that may wait for a commit at once, over all producers.
const ADMISSION_BYTES: usize = 64 << 20;

/// The way to the spool. Clones share it; the threads end when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Spool {
    commands: inbox::Sender<Command>,
    reads: mpsc::Sender<ReadJob>,
    long_reads: mpsc::Sender<ReadJob>,
    next_report: watch::Receiver<u64>,
    recent_reports: RecentReports,
    admission: Arc<Semaphore>,
}

/// A round that will be settled soon.
#[derive(Debug)]
pub struct RoundUnderWay(#[expect(dead_code, reason = "what counts is when it is dropped")] inbox::Expected<Command>);

type ReadJob = Box<dyn FnOnce(&dyn StoreReader) + Send>;

/// What the dispatcher must know of a commit.
#[derive(Debug)]
pub enum Notice {
    /// Deliveries were made.
    Created {
        /// The deliveries.
        created: Vec<Created>,
        /// Open deliveries of each lane that got some, afterwards.
        open: Vec<(i64, u64)>,
    },
    /// Rounds were settled: for each the lane, the delivery and, if another round follows, when it is due.
    Settled(Vec<(i64, i64, Option<i64>)>),
    /// Deliveries were shelved: the disk finds them from now on.
    Shelved(Vec<i64>),
    /// Dead letters of these lanes were reopened: they are due on disk.
    Redelivered(Vec<i64>),
    /// Open deliveries of a lane were ended; whether there may be more.
    LaneEnded {
        /// The lane.
        lane: i64,
        /// Whether there may be more.
        more: bool,
    },
}

/// Where a producer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whether it was known.
    pub known: bool,
    /// Sequence of the next event that is new.
    pub next_sequence: u64,
    /// Proof of being the newest stream of that producer.
    pub fence: u64,
}

/// Why events were not stored.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// A newer stream of the producer has opened.
    #[error("a newer stream of this producer has opened")]
    Fenced,
    /// Sequences are missing.
    #[error("there is a gap: sequence {expected} should come next")]
    Gap {
        /// What should have come.
        expected: u64,
    },
    /// There is no room; nothing was stored.
    #[error("there is no room for more events")]
    Full(Full),
    /// The store failed; nothing was stored.
    #[error("the spool failed: {0}")]
    Store(String),
}

/// A started spool.
pub struct Started {
    /// The way to it.
    pub spool: Spool,
    /// What it tells the dispatcher.
    pub notices: async_mpsc::UnboundedReceiver<Notice>,
}

/// What is told how long commits take.
#[derive(Debug, Default)]
pub struct Durations {
    /// From the first change to the end.
    pub commits: Recorder,
    /// Of that, the last step, which brings them to the disk.
    pub syncs: Recorder,
}

/// Starts the threads on what `factory` opens.
///
/// # Errors
/// If the store cannot be opened.
pub fn start(factory: &dyn StoreFactory, clock: Clock) -> Result<Started, StoreError> {
    start_measured(factory, clock, Durations::default())
}

/// The same; `durations` is told how long each commit took.
///
/// # Errors
/// If the store cannot be opened.
pub fn start_measured(factory: &dyn StoreFactory, clock: Clock, durations: Durations) -> Result<Started, StoreError> {
    let store = factory.writer()?;
    let reader = factory.reader()?;
    if let Some(mark) = reader.time_mark()? {
        let ledger = reader.ledger()?;
        let anything_open = ledger.deliveries.iter().any(|(_, counts)| counts.pending > 0 || counts.dead_letters > 0);
        // What it finds is logged and counted there.
        clock.resume(&mark, anything_open);
    }
    let next_report = reader.reports(u64::MAX >> 1, 0)?.next_sequence;

    let (commands, mut command_queue) = inbox::inbox();
    let (notice, notices) = async_mpsc::unbounded_channel();
    let (report_mark, next_report) = watch::channel(next_report);
    let recent_reports = RecentReports::default();
    let recent = recent_reports.clone();
    spawn("spool-writer", move || {
        writer::run(store, &mut command_queue, &notice, &report_mark, &recent, &clock, durations);
    })?;
    let reads = serve("spool-reader", reader)?;
    let long_reads = serve("spool-inspector", factory.reader()?)?;
    let admission = Arc::new(Semaphore::new(ADMISSION_BYTES));
    Ok(Started { spool: Spool { commands, reads, long_reads, next_report, recent_reports, admission }, notices })
}

/// A thread that answers questions, one after the other.
fn serve(name: &str, reader: Box<dyn StoreReader>) -> Result<mpsc::Sender<ReadJob>, StoreError> {
    let (jobs, queue) = mpsc::channel::<ReadJob>();
    spawn(name, move || {
        for job in queue {
            job(&*reader);
        }
    })?;
    Ok(jobs)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map(|_| ()).map_err(|_| StoreError::Stopped)
}

impl Spool {
    /// Opens a stream of a producer: older ones are fenced off.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn open(&self, producer: Producer, first_sequence: u64) -> Result<Opened, AcceptError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Open { producer, first_sequence, reply });
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Forgets the fence of a stream that has ended, if it is still the newest.
    pub fn close(&self, producer: Producer, fence: u64) {
        self.send(Command::Close { producer, fence });
    }

    /// Waits for room, then hands over events; they are on disk when the answer has come. `fence` is required with a
    /// producer.
    ///
    /// # Errors
    /// If the stream is fenced off, leaves a gap, or the store fails: then nothing was stored.
    pub async fn accept(&self, accept: Accept, fence: u64) -> oneshot::Receiver<Result<(), AcceptError>> {
        let bytes = accept.bytes().min(ADMISSION_BYTES);
        // The semaphore is never closed.
        let room = self.admission.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok();
        let (reply, answer) = oneshot::channel();
        self.send(Command::Accept { accept, fence, reply, room });
        answer
    }

    /// Says that a round has begun: others may wait a moment for it, to be committed with it. Drop what this gives when it is settled.
    pub fn round_begun(&self) -> RoundUnderWay {
        RoundUnderWay(self.commands.expect())
    }

    /// Records what a round came to; kept and tried again until it is on disk.
    pub fn settle(&self, settlement: Settlement) {
        self.send(Command::Keep(Change::Settle(settlement)));
    }

    /// Forgets reports that the control plane has stored.
    pub fn ack_reports(&self, sequence_inclusive: u64) {
        self.send(Command::Keep(Change::AckReports { sequence_inclusive }));
    }

    /// Stops the window of a disabled sync.
    pub fn hold(&self, lane: LaneKey) {
        self.send(Command::Keep(Change::Hold { lane }));
    }

    /// Lets the window of an enabled sync go on.
    pub fn resume(&self, lane: LaneKey) {
        self.send(Command::Keep(Change::Resume { lane }));
    }

    /// Ends open deliveries of a sync that is gone, a piece at a time: [`Notice::LaneEnded`] says whether more are left.
    pub fn end_lane(&self, lane: i64) {
        self.send(Command::Keep(Change::EndLane { lane, limit: writer::END_LANE_PIECE }));
    }

    /// Leaves deliveries that were made and are not kept in memory to the disk.
    pub fn shelve(&self, deliveries: Vec<i64>) {
        self.send(Command::Keep(Change::Shelve { deliveries }));
    }

    /// Ends the oldest waiting deliveries of a lane that is over its backlog limit, a piece at a time:
    /// [`Notice::LaneEnded`] says whether more are left.
    pub fn trim(&self, lane: i64, keep: u64, except: HashSet<i64>) {
        self.send(Command::Keep(Change::Trim { lane, keep, except, limit: writer::END_LANE_PIECE }));
    }

    /// Ends waiting deliveries whose window has passed while their endpoint was down, a piece at a time, as
    /// [`Change::ExpireDown`] says. Times are the lane's.
    pub fn expire_down(&self, lane: i64, now_ms: i64, window_ms: i64, probe_ms: i64, except: HashSet<i64>) {
        let limit = writer::END_LANE_PIECE;
        self.send(Command::Keep(Change::ExpireDown { lane, now_ms, window_ms, probe_ms, except, limit }));
    }

    /// Reopens a piece of dead letters; gives how many, and whether there may be more.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn redeliver(
        &self,
        selection: Selection,
        ended_before_ms: i64,
        lanes: HashSet<i64>,
    ) -> Result<(u64, bool), AcceptError> {
        let (reply, answer) = oneshot::channel();
        let limit = writer::END_LANE_PIECE;
        let change = Change::Redeliver { selection, ended_before_ms, lanes, limit };
        self.send(Command::Redeliver { change, reply });
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Marks dead letters as exported; gives how many count as that now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn mark_exported(&self, selection: Selection) -> Result<u64, AcceptError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::MarkExported { selection, reply });
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Stores the catalog; it is on disk when the answer has come.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn save_catalog(&self, change: CatalogChange) -> Result<(), AcceptError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::SaveCatalog { change, reply });
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Waits until everything that was sent before has been committed, or the commit has failed (what must not be lost is
    /// tried again then, as long as the process lives).
    pub async fn finish(&self) {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Flush { reply });
        // No answer: the writer is gone, and nothing more will come.
        let _ = answer.await;
    }

    /// Waiting deliveries of a lane that are due. These are found as soon as they are committed.
    ///
    /// # Errors
    /// If the store fails, or the spool has stopped.
    pub async fn due(&self, query: DueQuery) -> Result<Due, StoreError> {
        ask(&self.reads, move |reader| reader.due(&query)).await
    }

    /// Reports from `sequence` on, at most `limit`, that were not acked.
    ///
    /// # Errors
    /// If the store fails, or the spool has stopped; and if those that were committed last are not found, for want of room say.
    pub async fn reports(&self, sequence: u64, limit: usize) -> Result<Reports, StoreError> {
        let found = ask(&self.reads, move |reader| reader.reports(sequence, limit)).await?;
        if !found.reports.is_empty() || found.next_sequence >= *self.next_report.borrow() {
            return Ok(found);
        }
        self.read_all(move |reader| reader.reports(sequence, limit)).await
    }

    /// Asks a question of the reader, as [`Spool::read`] does, that makes sense only if everything is found.
    ///
    /// # Errors
    /// As [`Spool::read`]; and if what was committed last is not found, for want of room say.
    pub async fn read_all<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.merged().await {
            return Err(StoreError::Unmerged);
        }
        ask(&self.reads, question).await
    }

    /// Asks a question of the reader, which finds everything that was committed before, but where there was no room for it:
    /// [`Spool::read_all`] fails then. Deliveries wait for it too: for questions that take long there is [`Spool::read_long`].
    ///
    /// # Errors
    /// If the store fails, or the spool has stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.merged().await;
        ask(&self.reads, question).await
    }

    /// Asks a question that may take long, such as one for dead letters, of a reader that no delivery waits for.
    ///
    /// # Errors
    /// If the store fails, or the spool has stopped.
    pub async fn read_long<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.merged().await;
        ask(&self.long_reads, question).await
    }

    /// Waits until readers find everything that was committed before; gives whether they do.
    async fn merged(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Merge { reply });
        // No answer: the writer is gone, and nobody can say what it has left in the journal.
        answer.await.unwrap_or(false)
    }

    /// Encoded reports (`sluice.node.v1.Report`) from `sequence` on, at most `limit`, that were committed a moment ago; none if
    /// they are not in memory. Reports on disk that are beyond their bound become counts with sequences of their own: only who has
    /// read everything before `sequence` may ask here.
    #[must_use]
    pub fn recent_reports(&self, sequence: u64, limit: usize) -> Vec<Bytes> {
        self.recent_reports.from(sequence, limit)
    }

    /// Sequence after the newest report, as it grows.
    #[must_use]
    pub fn next_report(&self) -> watch::Receiver<u64> {
        self.next_report.clone()
    }

    fn send(&self, command: Command) {
        // The writer ends only after every sender is gone, or when its thread has died: then answers never come, and each
        // caller sees that.
        if self.commands.send(command).is_err() {
            tracing::error!("the spool's writer is gone");
        }
    }
}

async fn ask<T: Send + 'static>(
    reads: &mpsc::Sender<ReadJob>,
    question: impl FnOnce(&dyn StoreReader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let job: ReadJob = Box::new(move |reader| {
        // Whoever has stopped waiting does not mind.
        let _ = reply.send(question(reader));
    });
    reads.send(job).map_err(|_| StoreError::Stopped)?;
    answer.await.unwrap_or(Err(StoreError::Stopped))
}

fn stopped() -> AcceptError {
    AcceptError::Store(StoreError::Stopped.to_string())
}

/// Room for events that wait for a commit.
type Room = Option<OwnedSemaphorePermit>;
