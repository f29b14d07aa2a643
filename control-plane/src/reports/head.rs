//! What is read of a report to keep it, find it and count it. The rest stays encoded as it came.

use bytes::Bytes;
use prost::{DecodeError, Message, Oneof};
use prost_types::Timestamp;
use sluice_proto::{
    delivery::v1::{AttemptOutcome, EndingOutcome},
    node::v1::DroppedReports,
};

use super::Fate;
use crate::time::millis;

/// A report of an attempt or an ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// `projects/{project}/syncs/{sync}/deliveries/{delivery}`.
    pub(crate) delivery: Bytes,
    /// Uid of the sync.
    pub(crate) sync_uid: Bytes,
    /// Id of the event.
    pub(crate) event_id: Bytes,
    /// When the attempt began or the delivery ended, milliseconds since the epoch.
    pub(crate) at_ms: i64,
    /// What else there is.
    pub(crate) kind: Kind,
}

/// An attempt or an ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An attempt was made.
    Attempt {
        /// Incarnation of the node that made it.
        instance: Bytes,
        /// Which round.
        round: i32,
        /// Which request of the round.
        attempt: i32,
        /// `AttemptOutcome`.
        outcome: i32,
    },
    /// A delivery has ended.
    Ending {
        /// Which schedule ended.
        schedule: i32,
        /// `EndingOutcome`.
        outcome: i32,
        /// Attempts in this schedule.
        attempt_count: i32,
        /// When the event was accepted, milliseconds since the epoch.
        accept_ms: i64,
    },
}

/// What makes a report the same when it comes again, from a copy of the spool that has sent it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// Delivery, instance, round and attempt.
    Attempt(Bytes, Bytes, i32, i32),
    /// Delivery and schedule.
    Ending(Bytes, i32),
}

/// Any report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Read {
    /// One that is kept.
    Kept(Head),
    /// Counts in place of reports.
    Dropped(DroppedReports),
    /// Something that a newer node says.
    Unknown,
}

impl Read {
    /// Reads a `sluice.node.v1.Report`; what is taken of it shares its memory.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn of(report: Bytes) -> Result<Self, DecodeError> {
        Ok(match Report::decode(report)?.report {
            Some(Which::Attempt(attempt)) => Self::Kept(Head {
                delivery: attempt.delivery,
                sync_uid: attempt.sync_uid,
                event_id: attempt.event_id,
                at_ms: millis(attempt.start_time.as_ref()),
                kind: Kind::Attempt {
                    instance: attempt.instance,
                    round: attempt.round,
                    attempt: attempt.attempt,
                    outcome: attempt.outcome,
                },
            }),
            Some(Which::Ended(ending)) => Self::Kept(Head {
                delivery: ending.delivery,
                sync_uid: ending.sync_uid,
                event_id: ending.event_id,
                at_ms: millis(ending.end_time.as_ref()),
                kind: Kind::Ending {
                    schedule: ending.schedule,
                    outcome: ending.outcome,
                    attempt_count: ending.attempt_count,
                    accept_ms: millis(ending.accept_time.as_ref()),
                },
            }),
            Some(Which::Dropped(dropped)) => Self::Dropped(dropped),
            None => Self::Unknown,
        })
    }
}

impl Head {
    /// What became of it.
    pub(crate) fn fate(&self) -> Fate {
        let succeeded = match self.kind {
            Kind::Attempt { outcome, .. } => outcome == AttemptOutcome::Delivered as i32,
            Kind::Ending { outcome, .. } => outcome == EndingOutcome::Delivered as i32,
        };
        if succeeded { Fate::Succeeded } else { Fate::Failed }
    }

    /// What makes it the same when it comes again.
    pub(crate) fn identity(&self) -> Identity {
        match &self.kind {
            Kind::Attempt { instance, round, attempt, .. } => {
                Identity::Attempt(self.delivery.clone(), instance.clone(), *round, *attempt)
            }
            Kind::Ending { schedule, .. } => Identity::Ending(self.delivery.clone(), *schedule),
        }
    }

    /// Whether it is of an attempt.
    pub(crate) fn is_attempt(&self) -> bool {
        matches!(self.kind, Kind::Attempt { .. })
    }

    /// Id of the delivery: the last part of its name.
    pub(crate) fn delivery_id(&self) -> &[u8] {
        self.delivery.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Id of the project: the second part of the delivery's name.
    pub(crate) fn project(&self) -> &[u8] {
        self.delivery.split(|byte| *byte == b'/').nth(1).unwrap_or_default()
    }
}

/// As `sluice.node.v1.Report`, with some of its fields: those that are left out are skipped.
#[derive(Clone, PartialEq, Message)]
struct Report {
    #[prost(oneof = "Which", tags = "1, 2, 3")]
    report: Option<Which>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Which {
    #[prost(message, tag = "1")]
    Attempt(AttemptFields),
    #[prost(message, tag = "2")]
    Ended(EndingFields),
    #[prost(message, tag = "3")]
    Dropped(DroppedReports),
}

/// As `sluice.delivery.v1.Attempt`.
#[derive(Clone, PartialEq, Message)]
struct AttemptFields {
    #[prost(bytes = "bytes", tag = "1")]
    delivery: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    sync_uid: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    event_id: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    instance: Bytes,
    #[prost(int32, tag = "8")]
    round: i32,
    #[prost(int32, tag = "9")]
    attempt: i32,
    #[prost(int32, tag = "10")]
    outcome: i32,
    #[prost(message, optional, tag = "16")]
    start_time: Option<Timestamp>,
}

/// As `sluice.delivery.v1.Ending`.
#[derive(Clone, PartialEq, Message)]
struct EndingFields {
    #[prost(bytes = "bytes", tag = "1")]
    delivery: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    sync_uid: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    event_id: Bytes,
    #[prost(int32, tag = "4")]
    schedule: i32,
    #[prost(int32, tag = "5")]
    outcome: i32,
    #[prost(message, optional, tag = "7")]
    accept_time: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    end_time: Option<Timestamp>,
    #[prost(int32, tag = "9")]
    attempt_count: i32,
}

#[cfg(test)]
mod tests {
    use sluice_proto::{
        delivery::v1::{Attempt, Ending},
        node::v1::{self, report},
    };

    use super::*;
    use crate::time::timestamp;

    fn read(report: report::Report) -> Read {
        Read::of(v1::Report { report: Some(report) }.encode_to_vec().into()).unwrap()
    }

    #[test]
    fn what_is_read_is_what_was_reported() {
        let delivery = "projects/p/syncs/s/deliveries/0d";
        let attempt = Attempt {
            delivery: delivery.into(),
            sync_uid: "u".into(),
            event_id: "e".into(),
            instance: "i".into(),
            round: 2,
            attempt: 3,
            outcome: AttemptOutcome::RetryNow.into(),
            start_time: Some(timestamp(1_234)),
            error_message: "left out".into(),
            ..Attempt::default()
        };
        let Read::Kept(head) = read(report::Report::Attempt(attempt)) else { panic!("an attempt") };
        let kind = Kind::Attempt { instance: "i".into(), round: 2, attempt: 3, outcome: 2 };
        assert_eq!(
            head,
            Head { delivery: delivery.into(), sync_uid: "u".into(), event_id: "e".into(), at_ms: 1_234, kind }
        );
        assert_eq!((head.project(), head.delivery_id(), head.fate()), (&b"p"[..], &b"0d"[..], Fate::Failed));

        let ending = Ending {
            delivery: delivery.into(),
            sync_uid: "u".into(),
            event_id: "e".into(),
            schedule: 4,
            outcome: EndingOutcome::Delivered.into(),
            reason: 0,
            accept_time: Some(timestamp(1)),
            end_time: Some(timestamp(9)),
            attempt_count: 5,
        };
        let Read::Kept(head) = read(report::Report::Ended(ending)) else { panic!("an ending") };
        let kind = Kind::Ending { schedule: 4, outcome: 1, attempt_count: 5, accept_ms: 1 };
        assert_eq!(
            head,
            Head { delivery: delivery.into(), sync_uid: "u".into(), event_id: "e".into(), at_ms: 9, kind }
        );
        assert_eq!(head.fate(), Fate::Succeeded);

        let dropped = DroppedReports { report_count: 7, ..DroppedReports::default() };
        assert_eq!(read(report::Report::Dropped(dropped.clone())), Read::Dropped(dropped));
        assert_eq!(Read::of(Bytes::new()).unwrap(), Read::Unknown);
        assert!(Read::of(Bytes::from_static(b"\x0a\x7f")).is_err());
    }
}
