//! Reports, encoded once as the messages that the control plane stores.

use std::sync::Arc;

use bytes::Bytes;
use prost::{
    Message as _,
    encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, key_len},
};
use prost_types::{Duration, Timestamp};
use sluice_pipeline::event::{EventId, WebhookId};
use sluice_proto::{
    delivery::v1::{Attempt, Ending, EndingOutcome, EndingReason},
    node::v1::{AttemptEnding, Report, report},
};

use crate::spool::store::LaneKey;

/// Makes reports in the name of one incarnation of a node.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The fields of an attempt that say who made it, encoded.
    made_by: Arc<[u8]>,
}

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The sync.
    pub key: &'a LaneKey,
    /// The event.
    pub event: EventId,
    /// When the event was accepted.
    pub accept_ms: i64,
    /// The delivery.
    pub webhook: WebhookId,
}

impl<'a> Subject<'a> {
    /// The delivery of that event by that sync.
    #[must_use]
    pub fn of(key: &'a LaneKey, event: EventId, accept_ms: i64) -> Self {
        Self { key, event, accept_ms, webhook: WebhookId::new(event, &key.uid) }
    }
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Which schedule.
    pub schedule: u32,
    /// Attempts made in it.
    pub attempts: u32,
    /// How.
    pub outcome: EndingOutcome,
    /// Why.
    pub reason: EndingReason,
    /// When.
    pub end_ms: i64,
}

impl End {
    /// As the report of the delivery's last attempt tells it.
    #[must_use]
    pub fn of_attempt(&self) -> AttemptEnding {
        AttemptEnding {
            outcome: self.outcome.into(),
            reason: self.reason.into(),
            end_time: Some(timestamp(self.end_ms)),
            attempt_count: self.attempts.cast_signed(),
        }
    }
}

impl Reporter {
    /// `node` is the resource name, `instance` the incarnation.
    #[must_use]
    pub fn new(node: &str, instance: &str) -> Self {
        let made_by = Attempt { node: node.to_owned(), instance: instance.to_owned(), ..Attempt::default() };
        Self { made_by: made_by.encode_to_vec().into() }
    }

    /// The encoded report of an attempt, with how the delivery ended if that was its last. `attempt` tells neither who made it nor what
    /// it is about: that is written beside it, without making texts of it first.
    #[must_use]
    pub fn attempt(&self, subject: &Subject<'_>, attempt: &Attempt, end: Option<&End>) -> Bytes {
        let LaneKey { name, uid } = subject.key;
        let accept_time = timestamp(subject.accept_ms);
        let delivery_len = name.len() + DELIVERIES.len() + ID_LEN;
        let attempt_len = field_len(DELIVERY, delivery_len)
            + field_len(SYNC_UID, uid.len())
            + field_len(EVENT_ID, ID_LEN)
            + self.made_by.len()
            + encoding::message::encoded_len(ACCEPT_TIME, &accept_time)
            + attempt.encoded_len();
        let ending = end.map(End::of_attempt);
        let ending_len = ending.as_ref().map_or(0, |ending| encoding::message::encoded_len(ENDING, ending));

        let mut report = Vec::with_capacity(field_len(ATTEMPT, attempt_len) + ending_len);
        begin_field(ATTEMPT, attempt_len, &mut report);
        begin_field(DELIVERY, delivery_len, &mut report);
        report.extend_from_slice(name.as_bytes());
        report.extend_from_slice(DELIVERIES);
        report.extend_from_slice(&subject.webhook.digits());
        begin_field(SYNC_UID, uid.len(), &mut report);
        report.extend_from_slice(uid.as_bytes());
        begin_field(EVENT_ID, ID_LEN, &mut report);
        report.extend_from_slice(&subject.event.digits());
        report.extend_from_slice(&self.made_by);
        encoding::message::encode(ACCEPT_TIME, &accept_time, &mut report);
        attempt.encode_raw(&mut report);
        if let Some(ending) = ending {
            encoding::message::encode(ENDING, &ending, &mut report);
        }
        report.into()
    }

    /// The encoded report of an ending that no attempt tells of.
    #[must_use]
    pub fn ending(&self, subject: &Subject<'_>, end: &End) -> Bytes {
        let ending = Ending {
            delivery: format!("{}/deliveries/{}", subject.key.name, subject.webhook),
            sync_uid: subject.key.uid.to_string(),
            event_id: subject.event.to_string(),
            schedule: end.schedule.cast_signed(),
            outcome: end.outcome.into(),
            reason: end.reason.into(),
            accept_time: Some(timestamp(subject.accept_ms)),
            end_time: Some(timestamp(end.end_ms)),
            attempt_count: end.attempts.cast_signed(),
        };
        Report { report: Some(report::Report::Ended(ending)), ending: None }.encode_to_vec().into()
    }
}

/// Fields of `sluice.node.v1.Report`.
const ATTEMPT: u32 = 1;
const ENDING: u32 = 4;

/// Fields of `sluice.delivery.v1.Attempt`.
const DELIVERY: u32 = 1;
const SYNC_UID: u32 = 2;
const EVENT_ID: u32 = 4;
const ACCEPT_TIME: u32 = 15;

/// Between the name of a sync and the id of a delivery.
const DELIVERIES: &[u8] = b"/deliveries/";

/// Digits of an id.
const ID_LEN: usize = 32;

/// Bytes of a field with so many bytes in it.
fn field_len(field: u32, len: usize) -> usize {
    key_len(field) + encoded_len_varint(len as u64) + len
}

/// Writes what comes before so many bytes of a field.
fn begin_field(field: u32, len: usize, report: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, report);
    encode_varint(len as u64, report);
}

/// Milliseconds since the epoch as a timestamp.
#[must_use]
pub fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: i32::try_from(ms.rem_euclid(1_000)).unwrap_or(0) * 1_000_000 }
}

/// A span of time for the wire; saturates.
#[must_use]
pub fn duration(duration: std::time::Duration) -> Duration {
    Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_encoded_as_the_message_that_it_is() {
        let key = LaneKey { uid: "uid of the sync".into(), name: "projects/default/syncs/orders".into() };
        let subject = Subject::of(&key, EventId([0xab; 16]), 1_234_567);
        let told =
            Attempt { round: 3, attempt: 2, error_message: "x".repeat(300), http_status: 503, ..Attempt::default() };
        let (outcome, reason) = (EndingOutcome::Expired, EndingReason::RoundsUsedUp);
        let end = End { schedule: 1, attempts: 30, outcome, reason, end_ms: 2_000_001 };
        for end in [None, Some(end)] {
            let encoded = Reporter::new("nodes/n1", "i1").attempt(&subject, &told, end.as_ref());
            let attempt = Attempt {
                delivery: format!("projects/default/syncs/orders/deliveries/{}", subject.webhook),
                sync_uid: "uid of the sync".into(),
                event_id: "ab".repeat(16),
                node: "nodes/n1".into(),
                instance: "i1".into(),
                accept_time: Some(timestamp(1_234_567)),
                ..told.clone()
            };
            let ending = end.as_ref().map(End::of_attempt);
            assert_eq!(
                Report::decode(encoded).unwrap(),
                Report { report: Some(report::Report::Attempt(attempt)), ending }
            );
        }
    }
}
