//! `ReportAttempts`: takes the nodes' reports in and acks what is stored.

use bytes::Bytes;
use futures_util::FutureExt as _;
use prost::{DecodeError, Message as _};
use sluice_access::Caller;
use sluice_proto::{
    delivery::v1::Ending,
    name::{NodeName, SyncName, is_valid_id},
    node::{
        self,
        v1::{
            DroppedReports, ReportAttemptsRequest, ReportAttemptsResponse, ReportBatch, ReportsAck, ReportsOpen,
            ReportsOpened, report::Report as Kind, report_attempts_request::Message,
            report_attempts_response::Message as Answer,
        },
    },
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Context, FIRST_MESSAGE, end_with};
use crate::{
    error::{Error, shorten},
    reports::{
        chunk::Report,
        head::{Head, Read},
        slot,
    },
    store::Reports,
};

/// Between the name of a sync and the id of its delivery.
const DELIVERIES: &[u8] = b"/deliveries/";
const MAX_SPOOL_ID_BYTES: usize = 128;
const MAX_ID_BYTES: usize = 128;
/// Reports that one message may say were dropped: more than any node makes in the hour that it tells of.
const MAX_DROPPED: i64 = 1 << 40;
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
    let ReportsOpen { node, spool_id, first_sequence, next_sequence: spool_next } = open;
    if node.parse::<NodeName>().is_err() {
        return Err(Error::Protocol("`open.node` is not of the form nodes/{node}"));
    }
    caller.require_node(&node)?;
    if spool_id.is_empty() || spool_id.len() > MAX_SPOOL_ID_BYTES {
        return Err(Error::Protocol("`open.spool_id` must have 1 to 128 bytes"));
    }
    let position = context.store.spool_position(&spool_id).await?;
    let next_sequence = position.map_or(0, |position| position.acked_sequence.saturating_add(1));
    let may_repeat_before = match position {
        Some(position) => position.may_repeat_before,
        // A node of before does not say where its spool stands: any report may be a repetition.
        None if spool_next == 0 => i64::MAX.cast_unsigned(),
        None => spool_next.min(i64::MAX.cast_unsigned()),
    };
    tracing::info!(node, spool_id, first_sequence, next_sequence, "report stream opened");
    answer(context, outgoing, Answer::Opened(ReportsOpened { next_sequence })).await?;

    let spool = Spool { id: spool_id, may_repeat_before };
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
        let mut reports = read_batch(&node, &spool, batch)?;
        // What has come meanwhile is stored with it: a transaction costs about as much for many reports as for few.
        while reports.len() < MAX_REPORTS_AT_ONCE
            && let Some(message) = incoming.message().now_or_never()
        {
            match message {
                Ok(Some(ReportAttemptsRequest { message: Some(Message::Batch(batch)) }))
                    if batch.first_sequence > reports.last_sequence && !batch.reports.is_empty() =>
                {
                    reports.append(read_batch(&node, &spool, batch)?);
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

/// Where the reports come from.
struct Spool {
    id: String,
    may_repeat_before: u64,
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
fn read_batch(node: &str, spool: &Spool, batch: ReportBatch) -> Result<Reports, Error> {
    let count = u64::try_from(batch.reports.len()).unwrap_or(u64::MAX);
    let last_sequence = batch
        .first_sequence
        .checked_add(count - 1)
        .filter(|last| i64::try_from(*last).is_ok())
        .ok_or(Error::Protocol("a report's sequence is out of range"))?;
    let mut reports = Reports {
        spool_id: spool.id.clone(),
        may_repeat_before: spool.may_repeat_before,
        last_sequence,
        kept: Vec::with_capacity(batch.reports.len()),
        dropped: Vec::new(),
    };
    let mut forms = Forms::default();
    for (sequence, report) in (batch.first_sequence..).zip(batch.reports) {
        let read = match Read::of(report.clone()) {
            Ok(Read::Kept(head)) if forms.knows(&head) => keep(sequence, head, report, &mut reports.kept).is_ok(),
            Ok(Read::Dropped(dropped)) => {
                tracing::warn!(
                    node,
                    sync_uid = shorten(&dropped.sync_uid, MAX_ID_BYTES),
                    count = dropped.report_count,
                    "the node dropped reports beyond its bound; they are counted by the minute"
                );
                dropped_counts(dropped).map(|dropped| reports.dropped.push((sequence, dropped))).is_some()
            }
            Ok(Read::Kept(_) | Read::Unknown) | Err(_) => false,
        };
        if !read {
            tracing::warn!(node, spool_id = spool.id, sequence, "report left out: it cannot be read");
        }
    }
    Ok(reports)
}

/// Keeps a report as it came, or, where that does not do, as it should have come: long texts cut, and an attempt and its ending
/// apart from each other where they are of different slots.
fn keep(sequence: u64, head: Head, encoded: Bytes, kept: &mut Vec<Report>) -> Result<(), DecodeError> {
    let is_long = head.attempt.as_ref().is_some_and(|attempt| attempt.longest_text > MAX_EXCERPT_BYTES);
    let is_parted = head.ended.is_some_and(|ended| slot(ended.end_ms) != slot(head.at_ms()));
    if !is_long && !is_parted {
        kept.push(Report { sequence, head, encoded });
        return Ok(());
    }
    let node::v1::Report { report, ending } = node::v1::Report::decode(encoded)?;
    let mut parts = Vec::new();
    match (report, ending) {
        (Some(Kind::Attempt(mut attempt)), ending) => {
            attempt.error_message = shorten(&attempt.error_message, MAX_MESSAGE_BYTES);
            attempt.response_excerpt.truncate(MAX_EXCERPT_BYTES);
            let apart = ending.filter(|_| is_parted).map(|ending| Ending {
                delivery: attempt.delivery.clone(),
                sync_uid: attempt.sync_uid.clone(),
                event_id: attempt.event_id.clone(),
                schedule: attempt.schedule,
                outcome: ending.outcome,
                reason: ending.reason,
                accept_time: attempt.accept_time,
                end_time: ending.end_time,
                attempt_count: ending.attempt_count,
            });
            let ending = ending.filter(|_| !is_parted);
            parts.push(node::v1::Report { report: Some(Kind::Attempt(attempt)), ending });
            parts.extend(apart.map(|ending| node::v1::Report { report: Some(Kind::Ended(ending)), ending: None }));
        }
        (report, ending) => parts.push(node::v1::Report { report, ending }),
    }
    for part in parts {
        let encoded = Bytes::from(part.encode_to_vec());
        if let Read::Kept(head) = Read::of(encoded.clone())? {
            kept.push(Report { sequence, head, encoded });
        }
    }
    Ok(())
}

/// Knows the form that names and ids have everywhere.
#[derive(Default)]
struct Forms {
    /// The sync that the newest delivery was of, which often is that of the next: its name is good.
    sync: Bytes,
}

impl Forms {
    fn knows(&mut self, head: &Head) -> bool {
        let instance = head.attempt.as_ref().map_or(0, |attempt| attempt.instance.len());
        let is_bounded = |id: &[u8]| !id.is_empty() && id.len() <= MAX_ID_BYTES;
        is_bounded(head.delivery_id())
            && is_bounded(&head.sync_uid)
            && head.event_id.len() <= MAX_ID_BYTES
            && instance <= MAX_ID_BYTES
            && self.knows_sync(head)
    }

    fn knows_sync(&mut self, head: &Head) -> bool {
        let before_id = head.delivery.strip_suffix(head.delivery_id());
        let Some(sync) = before_id.and_then(|name| name.strip_suffix(DELIVERIES)) else { return false };
        if *sync == self.sync {
            return true;
        }
        let name = std::str::from_utf8(sync).ok().and_then(|name| name.parse::<SyncName>().ok());
        let is_good = name.is_some_and(|name| is_valid_id(&name.sync));
        if is_good {
            self.sync = head.delivery.slice_ref(sync);
        }
        is_good
    }
}

/// Counts that can be added; none if nobody knows to what.
fn dropped_counts(dropped: DroppedReports) -> Option<DroppedReports> {
    let of_sync = !dropped.sync_uid.is_empty() && dropped.sync_uid.len() <= MAX_ID_BYTES;
    // Sums of as many as ever come must have room.
    let bounded = |count: i64| count.clamp(0, MAX_DROPPED);
    of_sync.then(|| DroppedReports {
        attempt_count: bounded(dropped.attempt_count),
        delivered_count: bounded(dropped.delivered_count),
        expired_count: bounded(dropped.expired_count),
        discarded_count: bounded(dropped.discarded_count),
        ..dropped
    })
}

#[cfg(test)]
mod tests {
    use sluice_proto::{delivery::v1::Attempt, node::v1::AttemptEnding};

    use super::*;
    use crate::{store::attempt, time::timestamp};

    const GOOD: &str = "projects/default/syncs/a/deliveries/0102";

    fn attempted(delivery: &str) -> node::v1::Report {
        let attempt = Attempt { delivery: delivery.into(), sync_uid: "u".into(), ..Default::default() };
        node::v1::Report { report: Some(Kind::Attempt(attempt)), ending: None }
    }

    fn read(first_sequence: u64, reports: &[node::v1::Report]) -> Result<Reports, Error> {
        let spool = Spool { id: "s".into(), may_repeat_before: 1 };
        read_batch("nodes/n", &spool, ReportBatch::of(first_sequence, reports))
    }

    #[test]
    fn what_cannot_be_read_does_not_hold_up_the_rest() {
        let reports = ["", "projects/default/syncs/a", "projects/default/syncs/A/deliveries/1", GOOD].map(attempted);
        let read = read(7, &reports).unwrap();
        assert_eq!(read.last_sequence, 10);
        assert_eq!(read.kept.iter().map(|report| report.sequence).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn a_sequence_out_of_range_is_refused() {
        let reports = ["x", "y"].map(attempted);
        for first_sequence in [u64::MAX, i64::MAX as u64] {
            assert!(read(first_sequence, &reports).is_err());
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let mut report = attempted(GOOD);
        if let Some(Kind::Attempt(attempt)) = &mut report.report {
            attempt.error_message = "m".repeat(100_000);
            attempt.response_excerpt = vec![b'r'; 100_000].into();
        }
        let kept = read(1, &[report]).unwrap().kept.remove(0);
        let attempt = attempt(kept.encoded).unwrap();
        assert_eq!(attempt.error_message, "m".repeat(MAX_MESSAGE_BYTES) + "…");
        assert_eq!(attempt.response_excerpt.len(), MAX_EXCERPT_BYTES);
    }

    #[test]
    fn an_ending_of_another_slot_is_kept_apart() {
        let with_ending = |end_ms| {
            let mut report = attempted(GOOD);
            if let Some(Kind::Attempt(attempt)) = &mut report.report {
                (attempt.schedule, attempt.start_time) = (3, Some(timestamp(299_900)));
            }
            let (end_time, outcome) = (Some(timestamp(end_ms)), 1);
            report.ending = Some(AttemptEnding { outcome, end_time, attempt_count: 2, ..Default::default() });
            read(1, &[report]).unwrap().kept
        };
        let together = with_ending(299_999);
        let told = |kept: &[Report]| -> Vec<_> {
            kept.iter().map(|one| (one.head.attempt.is_some(), one.head.ended.map(|ended| ended.end_ms))).collect()
        };
        assert_eq!(told(&together), [(true, Some(299_999))]);
        let apart = with_ending(300_000);
        assert_eq!(told(&apart), [(true, None), (false, Some(300_000))]);
        let ended = |kept: &Report| kept.head.ended.map(|ended| (ended.schedule, ended.outcome, ended.attempt_count));
        assert_eq!(ended(&apart[1]), ended(&together[0]));
        assert_eq!(apart[1].head.delivery, GOOD);
    }
}
