//! What is read of a report to keep it, find it and count it. The rest stays encoded as it came.

use bytes::Bytes;
use prost::{DecodeError, Message, Oneof};
use prost_types::{Duration, Timestamp};
use sluice_proto::{
    delivery::v1::{AttemptOutcome, AttemptTimings, EndingOutcome},
    node::v1::{AttemptEnding, DroppedReports},
};

use super::Fate;
use crate::time::millis;

/// A report of an attempt, an ending, or both: at least one of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// `projects/{project}/syncs/{sync}/deliveries/{delivery}`.
    pub(crate) delivery: Bytes,
    /// Uid of the sync.
    pub(crate) sync_uid: Bytes,
    /// Id of the event.
    pub(crate) event_id: Bytes,
    /// The attempt that was made; none if it tells of an ending alone.
    pub(crate) attempt: Option<Attempted>,
    /// How the delivery ended; none if it has not.
    pub(crate) ended: Option<Ended>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempted {
    /// When it began, milliseconds since the epoch.
    pub(crate) start_ms: i64,
    /// Incarnation of the node that made it.
    pub(crate) instance: Bytes,
    /// Which round.
    pub(crate) round: i32,
    /// Which request of the round.
    pub(crate) attempt: i32,
    /// `AttemptOutcome`.
    pub(crate) outcome: i32,
    /// Bytes of the longest of its texts and excerpts.
    pub(crate) longest_text: usize,
}

/// An ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// When, milliseconds since the epoch.
    pub(crate) end_ms: i64,
    /// Which schedule ended.
    pub(crate) schedule: i32,
    /// `EndingOutcome`.
    pub(crate) outcome: i32,
    /// Attempts in this schedule.
    pub(crate) attempt_count: i32,
    /// When the event was accepted, milliseconds since the epoch.
    pub(crate) accept_ms: i64,
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
    /// Something that a newer node says, or that is no text where one should be.
    Unknown,
}

impl Read {
    /// Reads a `sluice.node.v1.Report`; what is taken of it shares its memory.
    ///
    /// # Errors
    /// If it is none.
    pub(crate) fn of(report: Bytes) -> Result<Self, DecodeError> {
        let Report { report, ending } = Report::decode(report)?;
        Ok(match report {
            Some(Which::Attempt(attempt)) if attempt.is_text() => Self::Kept(Head {
                delivery: attempt.delivery,
                sync_uid: attempt.sync_uid,
                event_id: attempt.event_id,
                ended: ending.map(|ending| Ended {
                    end_ms: millis(ending.end_time.as_ref()),
                    schedule: attempt.schedule,
                    outcome: ending.outcome,
                    attempt_count: ending.attempt_count,
                    accept_ms: millis(attempt.accept_time.as_ref()),
                }),
                attempt: Some(Attempted {
                    start_ms: millis(attempt.start_time.as_ref()),
                    instance: attempt.instance,
                    round: attempt.round,
                    attempt: attempt.attempt,
                    outcome: attempt.outcome,
                    longest_text: attempt.error_message.len().max(attempt.response_excerpt.len()),
                }),
            }),
            Some(Which::Ended(ending)) if are_texts([&ending.delivery, &ending.sync_uid, &ending.event_id]) => {
                Self::Kept(Head {
                    delivery: ending.delivery,
                    sync_uid: ending.sync_uid,
                    event_id: ending.event_id,
                    attempt: None,
                    ended: Some(Ended {
                        end_ms: millis(ending.end_time.as_ref()),
                        schedule: ending.schedule,
                        outcome: ending.outcome,
                        attempt_count: ending.attempt_count,
                        accept_ms: millis(ending.accept_time.as_ref()),
                    }),
                })
            }
            Some(Which::Dropped(dropped)) => Self::Dropped(dropped),
            Some(Which::Attempt(_) | Which::Ended(_)) | None => Self::Unknown,
        })
    }
}

impl Head {
    /// What became of it.
    pub(crate) fn fate(&self) -> Fate {
        let succeeded = match (&self.attempt, &self.ended) {
            (Some(attempt), _) => attempt.outcome == AttemptOutcome::Delivered as i32,
            (None, ended) => ended.is_some_and(|ended| ended.outcome == EndingOutcome::Delivered as i32),
        };
        if succeeded { Fate::Succeeded } else { Fate::Failed }
    }

    /// What makes it the same when it comes again.
    pub(crate) fn identity(&self) -> Identity {
        match (&self.attempt, &self.ended) {
            (Some(attempt), _) => {
                Identity::Attempt(self.delivery.clone(), attempt.instance.clone(), attempt.round, attempt.attempt)
            }
            (None, ended) => Identity::Ending(self.delivery.clone(), ended.map_or(0, |ended| ended.schedule)),
        }
    }

    /// When the attempt began; of an ending alone when that was. Milliseconds since the epoch.
    pub(crate) fn at_ms(&self) -> i64 {
        let start_ms = self.attempt.as_ref().map(|attempt| attempt.start_ms);
        start_ms.or(self.ended.map(|ended| ended.end_ms)).unwrap_or_default()
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

/// As `sluice.node.v1.Report`.
#[derive(Clone, PartialEq, Message)]
struct Report {
    #[prost(oneof = "Which", tags = "1, 2, 3")]
    report: Option<Which>,
    #[prost(message, optional, tag = "4")]
    ending: Option<AttemptEnding>,
}

#[derive(Clone, PartialEq, Oneof)]
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack, for as long as it is read")]
enum Which {
    #[prost(message, tag = "1")]
    Attempt(AttemptFields),
    #[prost(message, tag = "2")]
    Ended(EndingFields),
    #[prost(message, tag = "3")]
    Dropped(DroppedReports),
}

/// As `sluice.delivery.v1.Attempt`: all of it, so that what is taken can be read as a whole later. Texts share the report's memory.
#[derive(Clone, PartialEq, Message)]
struct AttemptFields {
    #[prost(bytes = "bytes", tag = "1")]
    delivery: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    sync_uid: Bytes,
    #[prost(int64, tag = "3")]
    sync_revision: i64,
    #[prost(bytes = "bytes", tag = "4")]
    event_id: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    event_type: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    node: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    instance: Bytes,
    #[prost(int32, tag = "8")]
    round: i32,
    #[prost(int32, tag = "9")]
    attempt: i32,
    #[prost(int32, tag = "10")]
    outcome: i32,
    #[prost(int32, tag = "11")]
    http_status: i32,
    #[prost(int32, tag = "12")]
    error: i32,
    #[prost(bytes = "bytes", tag = "13")]
    error_message: Bytes,
    #[prost(bytes = "bytes", tag = "14")]
    response_excerpt: Bytes,
    #[prost(message, optional, tag = "15")]
    accept_time: Option<Timestamp>,
    #[prost(message, optional, tag = "16")]
    start_time: Option<Timestamp>,
    #[prost(message, optional, tag = "17")]
    duration: Option<Duration>,
    #[prost(message, optional, tag = "18")]
    next_round_time: Option<Timestamp>,
    #[prost(int64, tag = "19")]
    request_bytes: i64,
    #[prost(message, optional, tag = "20")]
    timings: Option<AttemptTimings>,
    #[prost(bool, tag = "21")]
    connection_reused: bool,
    #[prost(int32, tag = "22")]
    schedule: i32,
    #[prost(bytes = "bytes", tag = "23")]
    http_version: Bytes,
}

/// As `sluice.delivery.v1.Ending`, likewise.
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
    #[prost(int32, tag = "6")]
    reason: i32,
    #[prost(message, optional, tag = "7")]
    accept_time: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    end_time: Option<Timestamp>,
    #[prost(int32, tag = "9")]
    attempt_count: i32,
}

impl AttemptFields {
    fn is_text(&self) -> bool {
        let texts = [&self.delivery, &self.sync_uid, &self.event_id, &self.event_type, &self.node, &self.instance];
        are_texts(texts) && are_texts([&self.error_message, &self.http_version])
    }
}

fn are_texts<const N: usize>(texts: [&Bytes; N]) -> bool {
    texts.into_iter().all(|text| std::str::from_utf8(text).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sluice_proto::{
        delivery::v1::{Attempt, Ending},
        node::v1::{self, report},
    };

    use super::*;
    use crate::time::timestamp;

    fn read(report: report::Report, ending: Option<AttemptEnding>) -> Read {
        Read::of(v1::Report { report: Some(report), ending }.encode_to_vec().into()).unwrap()
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
            outcome: AttemptOutcome::Expired.into(),
            accept_time: Some(timestamp(1_000)),
            start_time: Some(timestamp(1_234)),
            error_message: "left out".into(),
            schedule: 7,
            ..Attempt::default()
        };
        let attempted = Attempted {
            start_ms: 1_234,
            instance: "i".into(),
            round: 2,
            attempt: 3,
            outcome: AttemptOutcome::Expired as i32,
            longest_text: 8,
        };
        let alone = Head {
            delivery: delivery.into(),
            sync_uid: "u".into(),
            event_id: "e".into(),
            attempt: Some(attempted),
            ended: None,
        };
        assert_eq!(read(report::Report::Attempt(attempt.clone()), None), Read::Kept(alone.clone()));
        assert_eq!((alone.project(), alone.delivery_id()), (&b"p"[..], &b"0d"[..]));
        assert_eq!((alone.fate(), alone.at_ms()), (Fate::Failed, 1_234));

        let outcome = EndingOutcome::Expired.into();
        let last = AttemptEnding { outcome, reason: 1, end_time: Some(timestamp(1_300)), attempt_count: 30 };
        let ended = Ended { end_ms: 1_300, schedule: 7, outcome, attempt_count: 30, accept_ms: 1_000 };
        let both = Head { ended: Some(ended), ..alone.clone() };
        assert_eq!(read(report::Report::Attempt(attempt), Some(last)), Read::Kept(both.clone()));
        assert_eq!((both.at_ms(), both.identity()), (1_234, alone.identity()));

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
        let ended = Ended { end_ms: 9, schedule: 4, outcome: 1, attempt_count: 5, accept_ms: 1 };
        let head = Head { attempt: None, ended: Some(ended), ..both };
        assert_eq!(read(report::Report::Ended(ending), None), Read::Kept(head.clone()));
        assert_eq!((head.fate(), head.at_ms()), (Fate::Succeeded, 9));

        let dropped = DroppedReports { report_count: 7, ..DroppedReports::default() };
        assert_eq!(read(report::Report::Dropped(dropped.clone()), None), Read::Dropped(dropped));
        assert_eq!(Read::of(Bytes::new()).unwrap(), Read::Unknown);
        assert!(Read::of(Bytes::from_static(b"\x0a\x7f")).is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_can_be_read_as_a_whole(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            alone in any::<bool>(),
        ) {
            let (took, time) = (Some(Duration { seconds: 1, nanos: 2 }), Some(timestamp(9)));
            let text = || "a text".to_owned();
            let attempt = Attempt {
                delivery: text(),
                sync_uid: text(),
                sync_revision: 1,
                event_id: text(),
                event_type: text(),
                node: text(),
                instance: text(),
                round: 2,
                attempt: 3,
                outcome: 4,
                http_status: 500,
                error: 5,
                error_message: text(),
                response_excerpt: "bytes".into(),
                accept_time: time,
                start_time: time,
                duration: took,
                next_round_time: time,
                request_bytes: 6,
                timings: Some(AttemptTimings { queue: took, total: took, ..AttemptTimings::default() }),
                connection_reused: true,
                schedule: 7,
                http_version: text(),
            };
            let ending = Ending {
                delivery: text(),
                sync_uid: text(),
                event_id: text(),
                schedule: 1,
                outcome: 1,
                reason: 1,
                accept_time: time,
                end_time: time,
                attempt_count: 1,
            };
            let last = AttemptEnding { outcome: 1, reason: 1, end_time: time, attempt_count: 1 };
            let report = match alone {
                true => v1::Report { report: Some(report::Report::Ended(ending)), ending: None },
                false => v1::Report { report: Some(report::Report::Attempt(attempt)), ending: Some(last) },
            };
            let mut encoded = report.encode_to_vec();
            for (at, to) in flips {
                let at = at.index(encoded.len());
                encoded[at] = to;
            }
            let taken = matches!(Read::of(encoded.clone().into()), Ok(Read::Kept(_)));
            let whole = v1::Report::decode(&*encoded);
            let is_kept = whole.is_ok_and(|whole| {
                matches!(whole.report, Some(report::Report::Attempt(_) | report::Report::Ended(_)))
            });
            prop_assert_eq!(taken, is_kept);
        }
    }
}
