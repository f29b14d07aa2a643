//! `WatchAttempts`: attempts as they are stored.

use std::sync::Arc;

use prost::Message as _;
use sluice_access::Caller;
use sluice_proto::delivery::v1::WatchAttemptsResponse;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Context, end_with};
use crate::{error::Error, publish::StoredAttempts, store::AttemptQuery};

/// Answers that wait for a watcher to read them.
const QUEUE: usize = 8;
/// Attempts in one answer to a watcher.
const MAX_WATCH_BYTES: usize = 1 << 20;

/// Begins to watch.
pub(super) fn watch(
    context: &Context,
    caller: Caller,
    query: AttemptQuery,
) -> ReceiverStream<Result<WatchAttemptsResponse, Status>> {
    let batches = context.publisher.watch_attempts();
    let seen_count = context.publisher.published_count();
    let (outgoing, answers) = mpsc::channel(QUEUE);
    let watcher = Watcher { context: context.clone(), query, batches, seen_count, outgoing };
    let streams = context.streams.clone();
    let context = context.clone();
    streams.spawn(async move {
        let outgoing = watcher.outgoing.clone();
        if let Err(error) = context.while_allowed(&caller, watcher.run()).await {
            end_with(&outgoing, error).await;
        }
    });
    ReceiverStream::new(answers)
}

/// One who watches attempts come.
struct Watcher {
    context: Context,
    query: AttemptQuery,
    batches: broadcast::Receiver<Arc<StoredAttempts>>,
    /// Attempts that were published before the next expected one.
    seen_count: u64,
    outgoing: mpsc::Sender<Result<WatchAttemptsResponse, Status>>,
}

impl Watcher {
    async fn run(mut self) -> Result<(), Error> {
        self.send(WatchAttemptsResponse::default()).await?;
        loop {
            let received = tokio::select! {
                () = self.outgoing.closed() => return Ok(()),
                received = self.context.unless_stopping(self.batches.recv()) => received?,
            };
            match received {
                Ok(batch) => self.tell(&batch).await?,
                // What was missed shows in the next batch's position.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }

    async fn tell(&mut self, batch: &StoredAttempts) -> Result<(), Error> {
        let missed = batch.first.saturating_sub(self.seen_count);
        self.seen_count = batch.first.saturating_add(u64::try_from(batch.attempts.len()).unwrap_or(u64::MAX));

        let mut answer =
            WatchAttemptsResponse { missed_count: i64::try_from(missed).unwrap_or(i64::MAX), ..Default::default() };
        let mut bytes = 0;
        for attempt in batch.attempts.iter().filter(|attempt| self.query.takes(attempt)) {
            let size = attempt.encoded_len();
            if bytes > 0 && bytes + size > MAX_WATCH_BYTES {
                self.send(std::mem::take(&mut answer)).await?;
                bytes = 0;
            }
            bytes += size;
            answer.attempts.push(attempt.clone());
        }
        if answer != WatchAttemptsResponse::default() {
            self.send(answer).await?;
        }
        Ok(())
    }

    async fn send(&self, answer: WatchAttemptsResponse) -> Result<(), Error> {
        // Nobody listens any more: the loop ends by that.
        let _ = self.context.unless_stopping(self.outgoing.send(Ok(answer))).await?;
        Ok(())
    }
}
