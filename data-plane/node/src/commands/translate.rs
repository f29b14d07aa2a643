//! Between the wire's messages and the spool's rows.

use prost::Message as _;
use prost_types::Timestamp;
use sluice_pipeline::event::WebhookId;
use sluice_proto::{
    delivery::v1::{DeadLetter, DeadLetterFilter, EndingReason},
    name::{ProjectName, SyncName},
    node::v1::{DeadLetterChunk, DeliveryLedger, EventLedger, NodeLedger, SpoolShare, SpoolStats},
};

use super::answer::Refusal;
use crate::{
    report::{duration, timestamp},
    spool::store::{DeadLetterPage, DeadLetterRow, Ledger, Selection, Stats},
};

/// Which dead letters are meant. Instants are rounded up to the millisecond, in which they are stored.
pub(super) fn selection(parent: &str, filter: Option<&DeadLetterFilter>) -> Result<Selection, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(format!("parent: {error}"));
    let (project, sync) = match parent.strip_suffix("/syncs/-") {
        Some(project) => (project.parse::<ProjectName>().map_err(|error| invalid(&error))?.project, None),
        None => {
            let name = parent.parse::<SyncName>().map_err(|error| invalid(&error))?;
            (name.project.clone(), Some(name.to_string()))
        }
    };
    let Some(filter) = filter else { return Ok(Selection { project, sync, ..Selection::default() }) };
    let reason = |reason: &i32| {
        EndingReason::try_from(*reason).map_err(|_| {
            Refusal::Invalid(format!("filter.reasons: {reason} is a reason that this version does not know"))
        })
    };
    Ok(Selection {
        project,
        sync,
        reasons: filter.reasons.iter().map(reason).collect::<Result<_, _>>()?,
        event_types: filter.event_types.clone(),
        ended_from_ms: filter.start_time_inclusive.as_ref().map(millis_up),
        ended_before_ms: filter.end_time_exclusive.as_ref().map(millis_up),
        delivery_ids: ids(&filter.delivery_ids)?,
    })
}

/// Ids of deliveries.
pub(super) fn ids(ids: &[String]) -> Result<Vec<WebhookId>, Refusal> {
    let id = |id: &String| id.parse().map_err(|_| Refusal::Invalid("a delivery's id has 32 hexadecimal digits".into()));
    ids.iter().map(id).collect()
}

/// Milliseconds since the epoch, rounded down; a missing instant is the epoch.
pub(super) fn millis(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000)))
}

fn millis_up(time: &Timestamp) -> i64 {
    let up = i64::from(time.nanos % 1_000_000 > 0);
    millis(Some(time)).saturating_add(up)
}

/// A count for the wire; saturates.
pub(super) fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Dead letters as they are answered: of those that were read as many as fit in `max_bytes`, at least one.
pub(super) fn chunk(page: DeadLetterPage, node: &str, max_bytes: usize) -> DeadLetterChunk {
    let mut chunk = DeadLetterChunk { next_cursor: page.next_cursor.unwrap_or(0), ..DeadLetterChunk::default() };
    let (mut bytes, mut last) = (0, 0);
    for row in page.letters {
        let delivery = row.delivery;
        // The events were bounded when they were read; names and types are not.
        let event_bytes = row.json.as_ref().map_or(0, bytes::Bytes::len);
        let letter = letter(row, node);
        bytes += letter.encoded_len() - event_bytes;
        if bytes > max_bytes && !chunk.dead_letters.is_empty() {
            chunk.next_cursor = last;
            break;
        }
        last = delivery;
        chunk.dead_letters.push(letter);
    }
    chunk
}

fn letter(row: DeadLetterRow, node: &str) -> DeadLetter {
    let id = WebhookId::new(row.event, &row.key.uid);
    DeadLetter {
        delivery: format!("{}/deliveries/{id}", row.key.name),
        sync_uid: row.key.uid.to_string(),
        node: node.to_owned(),
        event_id: row.event.to_string(),
        event_type: row.event_type,
        outcome: row.outcome.into(),
        reason: row.reason.into(),
        accept_time: Some(timestamp(row.accept_ms)),
        end_time: Some(timestamp(row.end_ms)),
        schedule: i32::try_from(row.schedule).unwrap_or(i32::MAX),
        attempt_count: i32::try_from(row.attempts).unwrap_or(i32::MAX),
        event_bytes: count(row.event_bytes),
        event_json: row.json.unwrap_or_default(),
        exported: row.exported,
    }
}

/// The ledger as it is answered.
pub(super) fn ledger(ledger: Ledger, node: &str) -> NodeLedger {
    let events = ledger.projects.into_iter().map(|(project, counts)| EventLedger {
        project: format!("projects/{project}"),
        received_count: counts.received,
        rejected_count: counts.rejected,
        duplicate_count: counts.duplicates,
        unmatched_count: counts.unmatched,
        matched_count: counts.matched,
        created_count: counts.created,
    });
    let deliveries = ledger.deliveries.into_iter().map(|(key, counts)| DeliveryLedger {
        sync: key.name.to_string(),
        sync_uid: key.uid.to_string(),
        created_count: counts.created,
        redelivered_count: counts.redelivered,
        delivered_count: counts.delivered,
        expired_count: counts.expired,
        discarded_count: counts.discarded,
        pending_count: counts.pending,
        dead_letter_count: counts.dead_letters,
        removed_count: counts.removed,
    });
    NodeLedger { node: node.to_owned(), events: events.collect(), deliveries: deliveries.collect() }
}

/// The spool's figures as they are answered.
pub(super) fn stats(stats: &Stats, node: &str, now_ms: i64) -> SpoolStats {
    let sum = |part: fn(&crate::spool::store::LaneStats) -> u64| count(stats.lanes.iter().map(part).sum());
    let window = stats.oldest_key_ms.and_then(|oldest| u64::try_from(now_ms - oldest).ok());
    SpoolStats {
        node: node.to_owned(),
        pending_count: sum(|lane| lane.pending),
        pending_bytes: sum(|lane| lane.pending_bytes),
        dead_letter_count: sum(|lane| lane.dead_letters),
        dead_letter_bytes: sum(|lane| lane.dead_letter_bytes),
        unexported_count: count(stats.unexported),
        unacked_report_count: count(stats.reports),
        unacked_report_bytes: count(stats.report_bytes),
        dropped_report_count: count(stats.reports_dropped),
        deduplication_count: count(stats.keys),
        deduplication_window: window.map(|ms| duration(std::time::Duration::from_millis(ms))),
        file_bytes: count(stats.file_bytes),
        disk_free_bytes: count(stats.disk_free_bytes),
        max_bytes: count(stats.max_bytes),
        damaged_count: count(stats.damaged),
        shares: stats
            .lanes
            .iter()
            .map(|lane| SpoolShare {
                sync: lane.key.name.to_string(),
                pending_count: count(lane.pending),
                pending_bytes: count(lane.pending_bytes),
                dead_letter_count: count(lane.dead_letters),
                dead_letter_bytes: count(lane.dead_letter_bytes),
            })
            .collect(),
    }
}
