//! `ReportAttempts`: takes the nodes' reports in and acks what is stored.

use futures_util::FutureExt as _;
use sluice_access::Caller;
use sluice_proto::{
    delivery::v1::{Attempt, Ending},
    name::{NodeName, SyncName, is_valid_id},
    node::v1::{
        DroppedReports, ReportAttemptsRequest, ReportAttemptsResponse, ReportBatch, ReportsAck, ReportsOpen,
        ReportsOpened, report::Report as Kind, report_attempts_request::Message,
        report_attempts_response::Message as Answer,
    },
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Context, FIRST_MESSAGE, end_with};
use crate::{
    error::{Error, shorten},
    store::{AttemptRow, DroppedRow, EndingRow, ReportedSync, Reports, id_bytes},
    time::millis,
};

const MAX_SPOOL_ID_BYTES: usize = 128;
const MAX_ID_BYTES: usize = 128;
const MAX_EXCERPT_BYTES: usize = 1_024;
const MAX_MESSAGE_BYTES: usize = 4_096;
/// Reports that are stored in one transaction, unless a single batch has more.
const MAX_REPORTS_AT_ONCE: usize = 4_096;

/// Serves one stream to its end.
pub(super) async fn serve(
    context: Context,
    caller: Caller,
    incoming: Streaming<ReportAttemptsRequest>,
    outgoing: mpsc::Sender<Result<ReportAttemptsResponse, Status>>,
) {
    let served = run(&context, &caller, incoming, &outgoing);
    if let Err(error) = context.while_allowed(&caller, served).await {
        tracing::info!(reason = %error, "report stream ended");
        end_with(&outgoing, error).await;
    }
}

async fn run(
    context: &Context,
    caller: &Caller,
    mut incoming: Streaming<ReportAttemptsRequest>,
    outgoing: &mpsc::Sender<Result<ReportAttemptsResponse, Status>>,
) -> Result<(), Error> {
    let open = tokio::select! {
        message = context.unless_stopping(incoming.message()) => match message? {
            Ok(Some(ReportAttemptsRequest { message: Some(Message::Open(open)) })) => open,
            Ok(Some(_)) => return Err(Error::Protocol("the first message of a report stream must be `open`")),
            Ok(None) | Err(_) => return Ok(()),
        },
        () = context.clock.sleep(FIRST_MESSAGE, "report stream's first message") => {
            return Err(Error::Silent { seconds: FIRST_MESSAGE.as_secs() });
        }
    };
    let ReportsOpen { node, spool_id, first_sequence } = open;
    if node.parse::<NodeName>().is_err() {
        return Err(Error::Protocol("`open.node` is not of the form nodes/{node}"));
    }
    caller.require_node(&node)?;
    if spool_id.is_empty() || spool_id.len() > MAX_SPOOL_ID_BYTES {
        return Err(Error::Protocol("`open.spool_id` must have 1 to 128 bytes"));
    }
    let position = context.store.reports_position(&spool_id).await?;
    let next_sequence = position.map_or(0, |position| position.saturating_add(1));
    tracing::info!(node, spool_id, first_sequence, next_sequence, "report stream opened");
    answer(context, outgoing, Answer::Opened(ReportsOpened { next_sequence })).await?;

    // A message that was read and is still to be answered.
    let mut ahead = None;
    loop {
        let message = match ahead.take() {
            Some(message) => message,
            None => context.unless_stopping(incoming.message()).await?,
        };
        let batch = match message {
            Ok(Some(ReportAttemptsRequest { message: Some(Message::Batch(batch)) })) => batch,
            Ok(Some(ReportAttemptsRequest { message: Some(Message::Open(_)) })) => {
                return Err(Error::Protocol("`open` comes first on a report stream, and only there"));
            }
            // Something that a newer node says: nothing that has to be acked.
            Ok(Some(ReportAttemptsRequest { message: None })) => continue,
            Ok(None) | Err(_) => return Ok(()),
        };
        if batch.reports.is_empty() {
            continue;
        }
        let mut reports = read_batch(&node, &spool_id, batch)?;
        // What has come meanwhile is stored with it: a transaction costs about as much for many reports as for few.
        while reports.len() < MAX_REPORTS_AT_ONCE
            && let Some(message) = incoming.message().now_or_never()
        {
            match message {
                Ok(Some(ReportAttemptsRequest { message: Some(Message::Batch(batch)) }))
                    if batch.first_sequence > reports.last_sequence && !batch.reports.is_empty() =>
                {
                    reports.append(read_batch(&node, &spool_id, batch)?);
                }
                other => {
                    ahead = Some(other);
                    break;
                }
            }
        }
        let acked_sequence_inclusive = context.store.store_reports(reports).await?;
        answer(context, outgoing, Answer::Ack(ReportsAck { acked_sequence_inclusive })).await?;
    }
}

/// Sends, but not after the end: a node that has gone comes back and asks.
async fn answer(
    context: &Context,
    outgoing: &mpsc::Sender<Result<ReportAttemptsResponse, Status>>,
    message: Answer,
) -> Result<(), Error> {
    let response = ReportAttemptsResponse { message: Some(message) };
    // Nobody listens any more: the next read ends the stream.
    let _ = context.unless_stopping(outgoing.send(Ok(response))).await?;
    Ok(())
}

/// The reports as they are stored. One that cannot be read is left out and logged: it would be the same at every resend
/// and hold up all others.
fn read_batch(node: &str, spool_id: &str, batch: ReportBatch) -> Result<Reports, Error> {
    let count = u64::try_from(batch.reports.len()).unwrap_or(u64::MAX);
    let last_sequence = batch
        .first_sequence
        .checked_add(count - 1)
        .filter(|last| i64::try_from(*last).is_ok())
        .ok_or(Error::Protocol("a report's sequence is out of range"))?;
    let mut reports = Reports {
        spool_id: spool_id.to_owned(),
        last_sequence,
        attempts: Vec::new(),
        endings: Vec::new(),
        dropped: Vec::new(),
    };
    for (sequence, report) in (batch.first_sequence..).zip(batch.reports) {
        let read = match report.report {
            Some(Kind::Attempt(attempt)) => attempt_row(sequence, attempt).map(|row| reports.attempts.push(row)),
            Some(Kind::Ended(ending)) => ending_row(sequence, &ending).map(|row| reports.endings.push(row)),
            Some(Kind::Dropped(dropped)) => {
                tracing::warn!(
                    node,
                    sync_uid = shorten(&dropped.sync_uid, MAX_ID_BYTES),
                    count = dropped.report_count,
                    "the node dropped reports beyond its bound; they are counted by the minute"
                );
                dropped_row(sequence, dropped).map(|row| reports.dropped.push(row))
            }
            None => None,
        };
        if read.is_none() {
            tracing::warn!(node, spool_id, sequence, "report left out: it cannot be read");
        }
    }
    Ok(reports)
}

fn attempt_row(sequence: u64, mut attempt: Attempt) -> Option<AttemptRow> {
    let (sync, delivery) = delivery(&attempt.delivery, &attempt.sync_uid)?;
    if attempt.event_id.len() > MAX_ID_BYTES || attempt.instance.len() > MAX_ID_BYTES {
        return None;
    }
    attempt.error_message = shorten(&attempt.error_message, MAX_MESSAGE_BYTES);
    attempt.response_excerpt.truncate(MAX_EXCERPT_BYTES);
    Some(AttemptRow {
        sequence,
        delivery,
        event: id_bytes(&attempt.event_id),
        sync,
        start_ms: millis(attempt.start_time.as_ref()),
        attempt,
    })
}

fn ending_row(sequence: u64, ending: &Ending) -> Option<EndingRow> {
    let (sync, delivery) = delivery(&ending.delivery, &ending.sync_uid)?;
    if ending.event_id.len() > MAX_ID_BYTES {
        return None;
    }
    Some(EndingRow {
        sequence,
        delivery,
        event: id_bytes(&ending.event_id),
        sync,
        schedule: ending.schedule,
        outcome: ending.outcome,
        reason: ending.reason,
        accept_ms: millis(ending.accept_time.as_ref()),
        end_ms: millis(ending.end_time.as_ref()),
        attempt_count: ending.attempt_count,
    })
}

fn dropped_row(sequence: u64, dropped: DroppedReports) -> Option<DroppedRow> {
    if dropped.sync_uid.is_empty() || dropped.sync_uid.len() > MAX_ID_BYTES {
        return None;
    }
    Some(DroppedRow {
        sequence,
        sync_uid: dropped.sync_uid,
        minute_ms: millis(dropped.minute.as_ref()),
        attempts: dropped.attempt_count.max(0),
        delivered: dropped.delivered_count.max(0),
        expired: dropped.expired_count.max(0),
        discarded: dropped.discarded_count.max(0),
    })
}

/// Takes `projects/{project}/syncs/{sync}/deliveries/{delivery}` apart.
fn delivery(name: &str, sync_uid: &str) -> Option<(ReportedSync, Vec<u8>)> {
    let (sync, id) = name.rsplit_once("/deliveries/")?;
    let SyncName { project, sync } = sync.parse().ok()?;
    let is_bounded = |text: &str| !text.is_empty() && text.len() <= MAX_ID_BYTES;
    (is_bounded(id) && is_bounded(sync_uid) && is_valid_id(&sync))
        .then(|| (ReportedSync { uid: sync_uid.to_owned(), project, sync }, id_bytes(id)))
}

#[cfg(test)]
mod tests {
    use sluice_proto::node::v1::Report;

    use super::*;

    fn attempt(delivery: &str) -> Report {
        let attempt = Attempt { delivery: delivery.into(), sync_uid: "u".into(), ..Default::default() };
        Report { report: Some(Kind::Attempt(attempt)) }
    }

    #[test]
    fn what_cannot_be_read_does_not_hold_up_the_rest() {
        let good = "projects/default/syncs/a/deliveries/0102";
        let reports =
            ["", "projects/default/syncs/a", "projects/default/syncs/A/deliveries/1", good].map(attempt).into();
        let read = read_batch("nodes/n", "s", ReportBatch { first_sequence: 7, reports }).unwrap();
        assert_eq!(read.last_sequence, 10);
        assert_eq!(read.attempts.iter().map(|row| row.sequence).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn a_sequence_out_of_range_is_refused() {
        let reports = vec![attempt("x"), attempt("y")];
        for first_sequence in [u64::MAX, i64::MAX as u64] {
            let batch = ReportBatch { first_sequence, reports: reports.clone() };
            assert!(read_batch("nodes/n", "s", batch).is_err());
        }
    }
}
