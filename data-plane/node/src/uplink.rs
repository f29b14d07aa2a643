//! Sends the reports that the spool holds, in order, and forgets those that the control plane has stored. What is not acked
//! is sent again after a break; the control plane stores it once. Reports go as they lie there, and are not read.

use std::time::Duration;

use sluice_host::clock::Clock;
use sluice_proto::node::v1::{
    ReportAttemptsRequest, ReportBatch, ReportsOpen, node_session_service_client::NodeSessionServiceClient,
    report_attempts_request::Message as ToControlPlane, report_attempts_response::Message as FromControlPlane,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::{
    dial::Dial,
    redial::Redial,
    spool::{Spool, store::StoreError},
    stop,
};

/// Reports in one batch.
const BATCH: usize = 2_048;

/// What is less than a batch is sent so long after the last such one: storing few costs the control plane as much as storing
/// hundreds.
const PACE: Duration = Duration::from_millis(50);

/// Reports that are sent and not acked.
const WINDOW: u64 = 4 * BATCH as u64;

/// A control plane that does not ack for so long counts as gone.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// The way of the reports.
pub struct Uplink {
    /// Where the control plane is.
    pub dial: Dial,
    /// This node's resource name.
    pub node: String,
    /// Holds the reports.
    pub spool: Spool,
    /// All time comes from it.
    pub clock: Clock,
}

#[derive(Debug, Error)]
enum UplinkError {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("no connection")]
    Connect(#[from] sluice_client::Error),
    #[error("the stream has ended")]
    Ended,
    #[error("reports were not acked within {} s", ACK_TIMEOUT.as_secs())]
    Silent,
    #[error("the spool could not be read")]
    Store(#[from] StoreError),
}

impl Uplink {
    /// Runs until `stop` turns true, dialling again with growing waits.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut redial = Redial::default();
        loop {
            tokio::select! {
                ended = self.session(&mut redial) => if let Err(error) = ended {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the report stream has broken off; reports wait");
                },
                () = stop::asked(&mut stop) => return,
            }
            tokio::select! {
                () = redial.wait(&self.clock) => {}
                () = stop::asked(&mut stop) => return,
            }
        }
    }

    async fn session(&self, redial: &mut Redial) -> Result<(), UplinkError> {
        let mut marks = self.spool.next_report();
        let held = self.spool.reports(0, 1).await?;
        let spool_id = self.spool.read(|reader| reader.spool_id()).await?;
        let first_sequence = held.first_sequence;
        let connection = self.dial.connect().await?;
        let mut client = NodeSessionServiceClient::new(connection);
        let (requests, outgoing) = mpsc::channel(4);
        // Those that readers do not find yet may have been sent, too.
        let next_sequence = held.next_sequence.max(*marks.borrow());
        let open = ReportsOpen { node: self.node.clone(), spool_id, first_sequence, next_sequence };
        send(&requests, ToControlPlane::Open(open)).await?;
        let mut responses = client.report_attempts(ReceiverStream::new(outgoing)).await?.into_inner();

        let opened = match responses.message().await?.and_then(|response| response.message) {
            Some(FromControlPlane::Opened(opened)) => opened,
            _ => return Err(UplinkError::Ended),
        };
        redial.reset();
        if opened.next_sequence > first_sequence {
            self.spool.ack_reports(opened.next_sequence - 1);
        }
        let mut next = first_sequence.max(opened.next_sequence);
        let mut acked = next - 1;
        let mut ack_due_ms = 0;
        // Whether everything that was on disk at the start has been sent: from then on what follows is in memory.
        let mut caught_up = false;
        let mut paced_until = Duration::ZERO;
        loop {
            // What is less than a batch waits for the ack of those before it, so that a busy node sends large ones.
            let waiting = marks.borrow_and_update().saturating_sub(next);
            let full = waiting >= BATCH as u64;
            let few = waiting > 0 && !full && next == acked + 1;
            let pace = paced_until.saturating_sub(self.clock.elapsed());
            let more = (full && next - acked <= WINDOW) || (few && pace.is_zero());
            tokio::select! {
                biased;
                response = responses.message() => {
                    let message = response?.and_then(|response| response.message).ok_or(UplinkError::Ended)?;
                    if let FromControlPlane::Ack(ack) = message {
                        acked = acked.max(ack.acked_sequence_inclusive);
                        self.spool.ack_reports(acked);
                        ack_due_ms = self.ack_due_ms();
                    }
                }
                () = std::future::ready(()), if more => {
                    if next == acked + 1 {
                        ack_due_ms = self.ack_due_ms();
                    }
                    if few {
                        paced_until = self.clock.elapsed() + PACE;
                    }
                    next = self.send_batch(next, &mut caught_up, &requests).await?;
                }
                () = self.clock.rest(pace), if few && !more => paced_until = Duration::ZERO,
                changed = marks.changed(), if !more => changed.map_err(|_| StoreError::Stopped)?,
                () = self.clock.sleep_until(ack_due_ms, "report ack"), if next > acked + 1 => {
                    return Err(UplinkError::Silent);
                }
            }
        }
    }

    /// Sends what follows from `next` on; gives the sequence after it.
    async fn send_batch(
        &self,
        next: u64,
        caught_up: &mut bool,
        requests: &mpsc::Sender<ReportAttemptsRequest>,
    ) -> Result<u64, UplinkError> {
        let recent = if *caught_up { self.spool.recent_reports(next, BATCH) } else { Vec::new() };
        let (first_sequence, reports) = if recent.is_empty() {
            let stored = self.spool.reports(next, BATCH).await?;
            *caught_up = stored.first_sequence + stored.reports.len() as u64 >= stored.next_sequence;
            (stored.first_sequence, stored.reports)
        } else {
            (next, recent)
        };
        let after = first_sequence + reports.len() as u64;
        if !reports.is_empty() {
            send(requests, ToControlPlane::Batch(ReportBatch { first_sequence, reports })).await?;
        }
        Ok(after)
    }

    fn ack_due_ms(&self) -> i64 {
        self.clock.now_ms() + i64::try_from(ACK_TIMEOUT.as_millis()).unwrap_or(i64::MAX)
    }
}

async fn send(requests: &mpsc::Sender<ReportAttemptsRequest>, message: ToControlPlane) -> Result<(), UplinkError> {
    requests.send(ReportAttemptsRequest { message: Some(message) }).await.map_err(|_| UplinkError::Ended)
}
