//! Reports as nodes send them, without a node.

use prost_types::Timestamp;
use sluice_client::connect;
use sluice_proto::{
    delivery::v1::{Attempt, AttemptOutcome, AttemptTimings, EndingOutcome},
    node::v1::{
        AttemptEnding, Report, ReportAttemptsRequest, ReportAttemptsResponse, ReportBatch, ReportsOpen,
        node_session_service_client::NodeSessionServiceClient, report::Report as Kind,
        report_attempts_request::Message, report_attempts_response,
    },
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::cluster::sync_name;

/// Reports in one batch, as many as nodes send.
const BATCH: usize = 2_048;
/// Batches that are under way.
const WINDOW: usize = 8;

/// A stream of reports to a control plane: of each delivery one, of its only attempt and of its ending.
pub struct Reporting {
    acks: Streaming<ReportAttemptsResponse>,
    sending: JoinHandle<mpsc::Sender<ReportAttemptsRequest>>,
}

impl Reporting {
    /// Reports `deliveries` of the syncs with these uids, which are named `s0`, `s1` and so on. Their times are spread evenly from
    /// `began_ms` on over `span_ms`; one in twenty has failed, and a few syncs have most of them.
    pub async fn start(control_plane: &str, uids: Vec<String>, deliveries: usize, began_ms: u64, span_ms: u64) -> Self {
        let channel = connect(control_plane).await.unwrap();
        let (sender, requests) = mpsc::channel(WINDOW);
        let open =
            ReportsOpen { node: "nodes/n1".into(), spool_id: "large".into(), first_sequence: 1, next_sequence: 1 };
        sender.send(ReportAttemptsRequest { message: Some(Message::Open(open)) }).await.unwrap();
        let mut client = NodeSessionServiceClient::new(channel);
        let mut acks = client.report_attempts(ReceiverStream::new(requests)).await.unwrap().into_inner();
        acks.message().await.unwrap().expect("opened");
        let sending = tokio::spawn(async move {
            let step = span_ms as f64 / deliveries as f64;
            let mut first = 0;
            while first < deliveries {
                let count = BATCH.min(deliveries - first);
                let made = (first..first + count).map(|at| report(at, began_ms + (at as f64 * step) as u64, &uids));
                let batch = ReportBatch::of(1 + first as u64, &made.collect::<Vec<_>>());
                sender.send(ReportAttemptsRequest { message: Some(Message::Batch(batch)) }).await.unwrap();
                first += count;
            }
            sender
        });
        Self { acks, sending }
    }

    /// Waits for the next ack; gives how many reports are acked in all.
    pub async fn acked(&mut self) -> u64 {
        let ack = self.acks.message().await.unwrap().expect("acks");
        let Some(report_attempts_response::Message::Ack(ack)) = ack.message else { panic!("an ack") };
        ack.acked_sequence_inclusive
    }

    /// Ends the stream once everything was sent.
    pub async fn end(self) {
        drop(self.sending.await.unwrap());
    }
}

/// Id of the event of the delivery with that number.
pub fn event_id(at: usize) -> String {
    format!("{:032x}", mixed128(at as u64, 2))
}

/// The report of one delivery.
fn report(at: usize, ms: u64, uids: &[String]) -> Report {
    // A few syncs have most of the events.
    let spread = (mixed(at as u64) >> 11) as f64 / (1_u64 << 53) as f64;
    let index = ((spread * spread * spread) * uids.len() as f64) as usize;
    let failed = at % 20 == 7;
    let (delivery, event_id) = (format!("{:032x}", mixed128(at as u64, 1)), event_id(at));
    let delivery = format!("{}/deliveries/{delivery}", sync_name(&format!("s{index}")));
    let time = |ms: u64| Some(Timestamp { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000) as i32 * 1_000_000 });
    let took = |micros: i32| Some(prost_types::Duration { seconds: 0, nanos: micros * 1_000 });
    let timings = AttemptTimings {
        queue: took(800),
        render: took(40),
        first_byte: took(9_000),
        total: took(9_400),
        ..AttemptTimings::default()
    };
    let attempt = Attempt {
        delivery,
        sync_uid: uids[index].clone(),
        sync_revision: 1,
        event_id,
        event_type: "Order Completed".into(),
        node: "nodes/n1".into(),
        instance: "5f8e9a4e-2c0c-4f0e-9d0b-0a8f4f1f1c11".into(),
        round: 1,
        attempt: 1,
        outcome: if failed { AttemptOutcome::Expired } else { AttemptOutcome::Delivered }.into(),
        http_status: if failed { 400 } else { 200 },
        error_message: if failed { "the endpoint answered 400 Bad Request" } else { "" }.into(),
        accept_time: time(ms),
        start_time: time(ms + 1),
        duration: took(9_400),
        request_bytes: 700,
        timings: Some(timings),
        connection_reused: true,
        schedule: 1,
        http_version: "1.1".into(),
        ..Attempt::default()
    };
    let ending = AttemptEnding {
        outcome: if failed { EndingOutcome::Expired } else { EndingOutcome::Delivered }.into(),
        end_time: time(ms + 10),
        attempt_count: 1,
        ..AttemptEnding::default()
    };
    Report { report: Some(Kind::Attempt(attempt)), ending: Some(ending) }
}

/// A number that looks random (SplitMix64's finalizer).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mixed128(number: u64, kind: u64) -> u128 {
    u128::from(mixed(number ^ (kind << 56))) << 64 | u128::from(mixed(number.rotate_left(7) ^ (kind << 48)))
}
