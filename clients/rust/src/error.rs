//! What can go wrong.

use std::{sync::Arc, time::Duration};

use tonic::Code;

/// Why a connection or a publisher failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be dialled at all.
    #[error("`{address}` is not an address that can be dialled: {reason}")]
    InvalidAddress {
        /// The address as it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What the caller was to show, or to trust, cannot be used; says what is wrong with it, never what it is.
    #[error("{0}")]
    Credentials(String),
    /// Nobody answers at the address.
    #[error("nobody answers at {address}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the network said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered with an error that trying again does not mend, or the first connection failed.
    #[error("the server refused: {}", .0.message())]
    Refused(#[source] Box<tonic::Status>),
    /// The stream could not be brought back for as long as was allowed.
    #[error("the node at {address} has been unavailable for {} s, the events after sequence {acked} are not acked", .outage.as_secs())]
    Outage {
        /// The address.
        address: String,
        /// How long it lasted.
        outage: Duration,
        /// The last sequence that is acked.
        acked: u64,
        /// The last failure.
        source: Box<Error>,
    },
    /// A newer stream of the same producer took over.
    #[error("another publisher has taken over producer id `{producer_id}`: every publisher needs its own")]
    Fenced {
        /// The id that both use.
        producer_id: String,
    },
    /// The node's position lies before the oldest event that this publisher still holds.
    #[error(
        "the node expects sequence {expected} but this publisher has events from {oldest} on: \
         another node holds the ones between; use a new producer id"
    )]
    Gap {
        /// Sequence that the node expects.
        expected: u64,
        /// Oldest sequence that the publisher holds.
        oldest: u64,
    },
    /// The node said something that the protocol does not allow.
    #[error("the node broke the protocol: {0}")]
    Protocol(&'static str),
    /// The node was silent for longer than is allowed.
    #[error("the node did not answer within {} s: {waited_for}", .after.as_secs())]
    Silent {
        /// What was waited for.
        waited_for: &'static str,
        /// For how long.
        after: Duration,
    },
    /// The node ended the stream in good order.
    #[error("the node closed the stream: {0}")]
    Closed(String),
    /// An event is larger than a publisher sends at all.
    #[error("an event of {size} bytes is larger than {limit} bytes")]
    EventTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A setting of the publisher is out of its bounds.
    #[error("{setting} {rule}")]
    InvalidSetting {
        /// Which one.
        setting: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The publisher's task is gone.
    #[error("the publisher has ended")]
    Ended,
}

impl Error {
    /// Whether a new connection may mend it.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable
                    | Code::Unknown
                    | Code::Internal
                    | Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::ResourceExhausted
            ),
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Closed(_) => true,
            Self::InvalidAddress { .. }
            | Self::Credentials(_)
            | Self::Outage { .. }
            | Self::Fenced { .. }
            | Self::Gap { .. }
            | Self::Protocol(_)
            | Self::EventTooLarge { .. }
            | Self::InvalidSetting { .. }
            | Self::Ended => false,
        }
    }

    /// Whether the server is well and has no room for more now.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::ResourceExhausted)
    }

    /// The status that the server answered with, if it did; of an outage the last one.
    #[must_use]
    pub fn status(&self) -> Option<&tonic::Status> {
        match self {
            Self::Refused(status) => Some(status),
            Self::Outage { source, .. } => source.status(),
            _ => None,
        }
    }
}
