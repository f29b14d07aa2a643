//! Why a call with events is refused, in words that say what to do.

use sluice_proto::event::v1 as proto;
use tonic::Status;

use super::MAX_BATCH_EVENTS;
use crate::spool::{AcceptError, store::Full};

pub(super) const STOPPING: &str = "this node is stopping: go to another";
pub(super) const DRAINING: &str = "this node drains: go to another";

pub(super) fn check_batch(events: &[proto::Event]) -> Result<(), Status> {
    match events.len() {
        0 => Err(Status::invalid_argument("events: send at least one")),
        1..=MAX_BATCH_EVENTS => Ok(()),
        count => Err(Status::invalid_argument(format!(
            "events: {count} in one batch; at most {MAX_BATCH_EVENTS} are taken, send several batches"
        ))),
    }
}

pub(super) fn check_sequence(first_sequence: u64, count: u64) -> Result<(), Status> {
    if first_sequence == 0 {
        return Err(Status::invalid_argument("first_sequence: sequences begin with 1"));
    }
    match first_sequence.checked_add(count) {
        Some(next) if next <= i64::MAX as u64 => Ok(()),
        _ => Err(Status::invalid_argument("first_sequence: too large, sequences end below 2^63")),
    }
}

pub(super) fn gone() -> AcceptError {
    AcceptError::Store("the spool has stopped".to_owned())
}

pub(super) fn refused(error: AcceptError) -> Status {
    match error {
        AcceptError::Fenced => {
            Status::aborted("a newer stream of this producer has opened: only one at a time, and the newest counts")
        }
        AcceptError::Gap { expected } => Status::failed_precondition(format!(
            "first_sequence: a gap, {expected} should come next; send what is missing first"
        )),
        AcceptError::Full(full) => {
            let what = match full {
                Full::Lane(key) => format!("{} has reached its backlog limit", key.name),
                Full::Project => "the project has used up its share of the spool".to_owned(),
                Full::Spool => "the spool has reached its limit".to_owned(),
                Full::Disk => "the node's disk is full".to_owned(),
            };
            Status::resource_exhausted(format!("{what}: send the events again later, or to another node"))
        }
        AcceptError::Store(reason) => {
            tracing::error!(reason, "events were not stored");
            Status::unavailable("the node could not store the events; send them again")
        }
    }
}
