//! Reports on their way: encoded once, where they are made, and read by none that only carries or keeps them.

use bytes::Bytes;
use prost::Message;

use crate::node::v1::Report;

/// Consecutive reports. On the wire `sluice.node.v1.ReportBatch`; here each report stays encoded.
#[derive(Clone, PartialEq, Message)]
pub struct ReportBatch {
    /// Sequence of the first one.
    #[prost(uint64, tag = "1")]
    pub first_sequence: u64,
    /// The reports, each an encoded [`Report`].
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub reports: Vec<Bytes>,
}

impl ReportBatch {
    /// A batch of these reports, the first of which has that sequence.
    #[must_use]
    pub fn of<'a>(first_sequence: u64, reports: impl IntoIterator<Item = &'a Report>) -> Self {
        Self { first_sequence, reports: reports.into_iter().map(|report| report.encode_to_vec().into()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::v1::{Attempt, Ending},
        node::v1::report,
    };

    /// As the proto says it.
    #[derive(Clone, PartialEq, Message)]
    struct Plain {
        #[prost(uint64, tag = "1")]
        first_sequence: u64,
        #[prost(message, repeated, tag = "2")]
        reports: Vec<Report>,
    }

    #[test]
    fn is_on_the_wire_what_the_proto_says() {
        let reports = vec![
            Report {
                report: Some(report::Report::Attempt(Attempt { round: 3, ..Attempt::default() })),
                ..Report::default()
            },
            Report { report: Some(report::Report::Ended(Ending { schedule: 2, ..Ending::default() })), ending: None },
            Report::default(),
        ];
        let batch = ReportBatch::of(9, &reports);
        let plain = Plain { first_sequence: 9, reports };
        assert_eq!(batch.encode_to_vec(), plain.encode_to_vec());
        assert_eq!(ReportBatch::decode(&*plain.encode_to_vec()).unwrap(), batch);
    }
}
