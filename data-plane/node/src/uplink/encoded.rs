//! `ReportAttemptsRequest` whose reports are the bytes that lie in the spool: on the wire it is the same.

use bytes::Bytes;
use prost::Message;
use sluice_proto::node::v1::ReportsOpen;

/// As `sluice.node.v1.ReportAttemptsRequest`; exactly one field is set.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(message, optional, tag = "1")]
    pub(super) open: Option<ReportsOpen>,
    #[prost(message, optional, tag = "2")]
    pub(super) batch: Option<Batch>,
}

/// As `sluice.node.v1.ReportBatch`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Batch {
    #[prost(uint64, tag = "1")]
    pub(super) first_sequence: u64,
    /// Each a `sluice.node.v1.Report`.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) reports: Vec<Bytes>,
}

#[cfg(test)]
mod tests {
    use sluice_proto::{
        delivery::v1::{Attempt, Ending},
        node::v1::{self, Report, report, report_attempts_request},
    };

    use super::*;

    #[test]
    fn is_on_the_wire_what_the_control_plane_reads() {
        let open = ReportsOpen { node: "nodes/a".into(), spool_id: "s".into(), first_sequence: 7, next_sequence: 9 };
        let request = Request { open: Some(open.clone()), batch: None };
        let read = v1::ReportAttemptsRequest::decode(&*request.encode_to_vec()).unwrap();
        assert_eq!(read.message, Some(report_attempts_request::Message::Open(open)));

        let reports = vec![
            Report { report: Some(report::Report::Attempt(Attempt { round: 3, ..Attempt::default() })) },
            Report { report: Some(report::Report::Ended(Ending { schedule: 2, ..Ending::default() })) },
            Report::default(),
        ];
        let encoded = reports.iter().map(|report| report.encode_to_vec().into()).collect();
        let request = Request { open: None, batch: Some(Batch { first_sequence: 9, reports: encoded }) };
        let read = v1::ReportAttemptsRequest::decode(&*request.encode_to_vec()).unwrap();
        let batch = v1::ReportBatch { first_sequence: 9, reports };
        assert_eq!(read.message, Some(report_attempts_request::Message::Batch(batch)));
    }
}
