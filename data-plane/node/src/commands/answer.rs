//! Does what commands ask, against the spool.

use std::{collections::HashSet, sync::Arc};

use sluice_host::clock::Clock;
use sluice_pipeline::catalog::Catalog;
use sluice_proto::node::v1::{
    Command, CommandResult, DeadLetterChunk, DrainNodeResponse, ExportedMarked, MarkExported, ReadDeadLetters,
    Redeliver, RedeliverProgress, command::Command as What, command_result::Result as Outcome,
};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tonic::Code;

use super::{translate, trial::Trials};
use crate::{
    drain::Drain,
    spool::{
        AcceptError, Spool,
        store::{DeadLetterQuery, Selection, StoreError, StoreReader},
    },
};

/// Dead letters in one answer.
const MAX_LETTERS: usize = 1_000;

/// Bytes of events in one answer, unless a single one is larger; and of the answer itself.
const MAX_BYTES: usize = 1 << 20;

/// Questions that are answered at once.
const READS: usize = 4;

/// Why a command could not be done.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error("this version of the node does not know the command")]
    Unknown,
    #[error("it took longer than it was given")]
    TooLate,
    #[error("the node's spool failed: its log says why")]
    Store(#[from] StoreError),
    #[error("the node's spool failed: its log says why")]
    Write(#[from] AcceptError),
}

/// Does commands.
pub(super) struct Worker {
    node: String,
    spool: Spool,
    catalog: watch::Receiver<Arc<Catalog>>,
    drain: Drain,
    trials: Trials,
    clock: Clock,
    reads: Semaphore,
    redeliveries: Semaphore,
    marks: Semaphore,
}

impl Worker {
    /// `node` is the resource name.
    pub(super) fn new(
        node: &str,
        spool: Spool,
        catalog: watch::Receiver<Arc<Catalog>>,
        drain: Drain,
        trials: Trials,
        clock: Clock,
    ) -> Self {
        let one = || Semaphore::new(1);
        let (reads, redeliveries, marks) = (Semaphore::new(READS), one(), one());
        Self { node: node.to_owned(), spool, catalog, drain, trials, clock, reads, redeliveries, marks }
    }

    /// Waits for a place among those whose questions are answered; it is free again when this is dropped.
    pub(super) async fn read_place(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.reads.acquire().await.ok()
    }

    /// Answers a question.
    pub(super) async fn read(&self, command: Command) -> CommandResult {
        let outcome = match command.command {
            Some(What::ReadDeadLetters(read)) => self.dead_letters(read).await.map(Outcome::DeadLetters),
            Some(What::ReadLedger(_)) => self.ledger().await,
            Some(What::ReadSpoolStats(_)) => self.stats().await,
            Some(What::Redeliver(_) | What::MarkExported(_) | What::Drain(_) | What::SendTest(_)) | None => {
                Err(Refusal::Unknown)
            }
        };
        last(command.id, outcome)
    }

    /// Does what changes something; says what it came to, piece by piece.
    pub(super) async fn change(&self, command: Command, said: &watch::Sender<Option<CommandResult>>) {
        let outcome = match &command.command {
            Some(What::Redeliver(redeliver)) => {
                let say = |progress| {
                    let result = Some(Outcome::Redeliver(progress));
                    said.send_replace(Some(CommandResult { id: command.id.clone(), result, ..Default::default() }));
                };
                self.redeliver(&command, redeliver, say).await.map(Outcome::Redeliver)
            }
            Some(What::MarkExported(mark)) => self.mark_exported(mark).await.map(Outcome::Marked),
            Some(What::Drain(_)) => self.drain().await.map(Outcome::Drain),
            Some(What::SendTest(test)) => self.trials.make(test.clone()).await.map(Outcome::Test),
            Some(What::ReadDeadLetters(_) | What::ReadLedger(_) | What::ReadSpoolStats(_)) | None => {
                Err(Refusal::Unknown)
            }
        };
        said.send_replace(Some(last(command.id, outcome)));
    }

    async fn dead_letters(&self, read: ReadDeadLetters) -> Result<DeadLetterChunk, Refusal> {
        let selection = translate::selection(&read.parent, read.filter.as_ref())?;
        if read.count_only {
            let (count, bytes) = self.spool.read(move |reader| reader.count_dead_letters(&selection)).await?;
            let (count, event_bytes) = (translate::count(count), translate::count(bytes));
            return Ok(DeadLetterChunk { count, event_bytes, ..DeadLetterChunk::default() });
        }
        let limit = usize::try_from(read.limit).unwrap_or(0).clamp(1, MAX_LETTERS);
        let query = DeadLetterQuery {
            selection,
            cursor_exclusive: read.cursor_exclusive,
            limit,
            max_bytes: MAX_BYTES,
            with_events: read.with_events,
        };
        let page = self.spool.read(move |reader| reader.dead_letters(&query)).await?;
        Ok(translate::chunk(page, &self.node, MAX_BYTES))
    }

    async fn ledger(&self) -> Result<Outcome, Refusal> {
        let ledger = self.spool.read(|reader| reader.ledger()).await?;
        Ok(Outcome::Ledger(translate::ledger(ledger, &self.node)))
    }

    async fn stats(&self) -> Result<Outcome, Refusal> {
        let stats = self.spool.read(|reader| reader.stats()).await?;
        Ok(Outcome::SpoolStats(translate::stats(&stats, &self.node, self.clock.now_ms())))
    }

    /// One after the other: each finds what the one before has left.
    async fn redeliver(
        &self,
        command: &Command,
        redeliver: &Redeliver,
        say: impl Fn(RedeliverProgress),
    ) -> Result<RedeliverProgress, Refusal> {
        let selection = translate::selection(&redeliver.parent, redeliver.filter.as_ref())?;
        let issued_ms = translate::millis(command.issue_time.as_ref());
        // How long it may take, by whichever clock: the control plane's may differ from ours.
        let allowed_ms = translate::millis(command.deadline.as_ref()).saturating_sub(issued_ms);
        let late_ms = self.clock.now_ms().saturating_add(allowed_ms);
        let _turn = self.redeliveries.acquire().await;

        let catalog = self.catalog.borrow().clone();
        let lanes: HashSet<i64> = self
            .spool
            .read(|reader| reader.lanes())
            .await?
            .into_iter()
            .filter(|row| catalog.contains(&row.key.uid))
            .map(|row| row.lane)
            .collect();
        let found = self.found(selection.clone(), issued_ms, lanes.clone()).await?;
        let mut progress = RedeliverProgress { found_count: found, redelivered_count: 0 };
        say(progress);
        loop {
            if self.clock.now_ms() > late_ms {
                return Err(Refusal::TooLate);
            }
            let (count, more) = self.spool.redeliver(selection.clone(), issued_ms, lanes.clone()).await?;
            progress.redelivered_count = progress.redelivered_count.saturating_add(translate::count(count));
            // Some may have ended since they were counted.
            progress.found_count = progress.found_count.max(progress.redelivered_count);
            if !more {
                tracing::info!(count = progress.redelivered_count, "dead letters were reopened");
                return Ok(progress);
            }
            say(progress);
        }
    }

    /// How many there are to reopen.
    async fn found(&self, mut selection: Selection, issued_ms: i64, lanes: HashSet<i64>) -> Result<i64, Refusal> {
        selection.ended_before_ms = Some(selection.ended_before_ms.map_or(issued_ms, |bound| bound.min(issued_ms)));
        let all_exist = self.catalog.borrow().clone();
        let selected = selection.clone();
        let counted = self.spool.read(move |reader| {
            let gone = reader.stats()?.lanes.iter().any(|lane| {
                lane.dead_letters > 0 && !all_exist.contains(&lane.key.uid) && may_hold(&selected, &lane.key.name)
            });
            if gone { Ok(None) } else { reader.count_dead_letters(&selected).map(|(count, _)| Some(count)) }
        });
        if let Some(count) = counted.await? {
            return Ok(translate::count(count));
        }
        // Among them are some of deleted syncs, which stay: page by page, so that other questions come in between.
        let (mut count, mut cursor) = (0, 0);
        loop {
            let (selection, lanes) = (selection.clone(), lanes.clone());
            let piece = move |reader: &dyn StoreReader| {
                let query = DeadLetterQuery {
                    selection,
                    cursor_exclusive: cursor,
                    limit: MAX_LETTERS,
                    max_bytes: usize::MAX >> 1,
                    with_events: false,
                };
                let page = reader.dead_letters(&query)?;
                Ok((page.letters.iter().filter(|letter| lanes.contains(&letter.lane)).count(), page.next_cursor))
            };
            let (found, next) = self.spool.read(piece).await?;
            count += i64::try_from(found).unwrap_or(i64::MAX);
            match next {
                Some(next) if next > cursor => cursor = next,
                _ => return Ok(count),
            }
        }
    }

    async fn mark_exported(&self, mark: &MarkExported) -> Result<ExportedMarked, Refusal> {
        let mut selection = translate::selection(&mark.parent, None)?;
        selection.delivery_ids = translate::ids(&mark.delivery_ids)?;
        if selection.delivery_ids.is_empty() {
            return Err(Refusal::Invalid("delivery_ids: name at least one".to_owned()));
        }
        let _turn = self.marks.acquire().await;
        let marked_count = translate::count(self.spool.mark_exported(selection).await?);
        Ok(ExportedMarked { marked_count })
    }

    async fn drain(&self) -> Result<DrainNodeResponse, Refusal> {
        self.drain.begin();
        // First who is still sending: once nobody is, nobody will be, and what they sent is on its way to the disk.
        let open_stream_count = self.drain.sender_count();
        self.spool.finish().await;
        // What is not found may not be deleted.
        let stats = self.spool.read_all(|reader| reader.stats()).await?;
        let pending: u64 = stats.lanes.iter().map(|lane| lane.pending).sum();
        Ok(DrainNodeResponse {
            node: self.node.clone(),
            pending_count: translate::count(pending),
            unexported_dead_letter_count: translate::count(stats.unexported),
            unacked_report_count: translate::count(stats.reports),
            open_stream_count: i64::try_from(open_stream_count).unwrap_or(i64::MAX),
            safe_to_delete: pending == 0 && stats.unexported == 0 && stats.reports == 0 && open_stream_count == 0,
        })
    }
}

/// Whether dead letters of a sync with this name may be among the selected ones.
fn may_hold(selection: &Selection, sync: &str) -> bool {
    match &selection.sync {
        Some(selected) => selected == sync,
        None => sync
            .strip_prefix("projects/")
            .and_then(|rest| rest.strip_prefix(selection.project.as_str()))
            .is_some_and(|rest| rest.starts_with('/')),
    }
}

fn last(id: String, outcome: Result<Outcome, Refusal>) -> CommandResult {
    let (code, message, result) = match outcome {
        Ok(outcome) => (Code::Ok, String::new(), Some(outcome)),
        Err(refusal) => {
            let code = match &refusal {
                Refusal::Invalid(_) => Code::InvalidArgument,
                Refusal::Unknown => Code::Unimplemented,
                Refusal::TooLate => Code::DeadlineExceeded,
                Refusal::Store(_) | Refusal::Write(_) => Code::Internal,
            };
            tracing::warn!(error = &refusal as &dyn std::error::Error, "a command could not be done");
            (code, refusal.to_string(), None)
        }
    };
    CommandResult { id, last: true, code: code.into(), message, result }
}
