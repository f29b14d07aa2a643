//! Attempt reports, made once as the messages that the control plane stores.

use std::sync::Arc;

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
    node: Arc<str>,
    instance: Arc<str>,
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
        Self { node: node.into(), instance: instance.into() }
    }

    /// Completes an attempt with who made it and what it is about.
    #[must_use]
    pub fn attempt(&self, subject: &Subject<'_>, attempt: Attempt) -> Report {
        Report {
            ending: None,
            report: Some(report::Report::Attempt(Attempt {
                delivery: delivery_name(subject),
                sync_uid: subject.key.uid.to_string(),
                event_id: subject.event.to_string(),
                node: self.node.to_string(),
                instance: self.instance.to_string(),
                accept_time: Some(timestamp(subject.accept_ms)),
                ..attempt
            })),
        }
    }

    /// The report of an ending that no attempt tells of.
    #[must_use]
    pub fn ending(&self, subject: &Subject<'_>, end: &End) -> Report {
        Report {
            ending: None,
            report: Some(report::Report::Ended(Ending {
                delivery: delivery_name(subject),
                sync_uid: subject.key.uid.to_string(),
                event_id: subject.event.to_string(),
                schedule: end.schedule.cast_signed(),
                outcome: end.outcome.into(),
                reason: end.reason.into(),
                accept_time: Some(timestamp(subject.accept_ms)),
                end_time: Some(timestamp(end.end_ms)),
                attempt_count: end.attempts.cast_signed(),
            })),
        }
    }
}

fn delivery_name(subject: &Subject<'_>) -> String {
    format!("{}/deliveries/{}", subject.key.name, subject.webhook)
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
