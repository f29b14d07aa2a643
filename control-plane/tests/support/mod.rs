//! A control plane on a free port and a temporary folder, its clients, a hand-written node, and builders.

#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod commanded;

use std::{path::Path, time::Duration};

use prost_types::Timestamp;
use sluice_control_plane::{Config, ControlPlane, StartError, start};
use sluice_host::clock::{Clock, ManualClock};
use sluice_pipeline::{catalog::catalog_hash, sync::Rules};
use sluice_proto::{
    PROTOCOL_VERSION,
    access::v1::IngestKey,
    delivery::v1::{Attempt, AttemptOutcome, Ending, EndingOutcome, delivery_service_client::DeliveryServiceClient},
    node::v1::{
        CatalogAck, Hello, NodeHeartbeat, RefusedSync, Report, ReportAttemptsRequest, ReportAttemptsResponse,
        ReportBatch, ReportsOpen, SyncCatalogRequest, SyncCatalogResponse, Welcome,
        node_service_client::NodeServiceClient, node_session_service_client::NodeSessionServiceClient, report,
        report_attempts_request, report_attempts_response, sync_catalog_request::Message,
        sync_catalog_response::Message as Answer,
    },
    sync::v1::{
        CreateSyncRequest, Destination, EventSelection, GetSyncRequest, Header, OriginalPayload, Secret, Sync,
        TemplatePayload, event_selection::Payload, header, sync_service_client::SyncServiceClient,
    },
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

/// 2026-01-01T00:00:00Z.
pub(crate) const START_MS: i64 = 1_767_225_600_000;

pub(crate) const PARENT: &str = "projects/default";

/// A running control plane and all that its tests need.
pub(crate) struct Plane {
    pub(crate) folder: TempDir,
    pub(crate) hand: ManualClock,
    clock: Clock,
    control_plane: Option<ControlPlane>,
    pub(crate) channel: Channel,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts one whose settings are other than the usual ones.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(START_MS);
        let mut config = config(&folder.path().join("store"), clock.clone());
        change(&mut config);
        let control_plane = start(config).await.unwrap();
        let channel = connect(&control_plane).await;
        Self { folder, hand, clock, control_plane: Some(control_plane), channel }
    }

    pub(crate) async fn stop(&mut self) {
        self.control_plane.take().unwrap().stop().await;
    }

    /// Stops it and starts it again in the same folder.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    pub(crate) async fn start_again(&mut self) {
        let control_plane = start(config(&self.store(), self.clock.clone())).await.unwrap();
        self.channel = connect(&control_plane).await;
        self.control_plane = Some(control_plane);
    }

    pub(crate) fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.control_plane.as_ref().unwrap().address()
    }

    pub(crate) fn syncs(&self) -> SyncServiceClient<Channel> {
        SyncServiceClient::new(self.channel.clone())
    }

    pub(crate) fn deliveries(&self) -> DeliveryServiceClient<Channel> {
        DeliveryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn nodes(&self) -> NodeServiceClient<Channel> {
        NodeServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create(&self, id: &str, sync: Sync) -> Sync {
        let request = CreateSyncRequest {
            parent: PARENT.into(),
            sync_id: id.into(),
            sync: Some(sync),
            validate_only: false,
            ..Default::default()
        };
        self.syncs().create_sync(request).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Sync, Status> {
        let request = GetSyncRequest { name: name(id) };
        self.syncs().get_sync(request).await.map(tonic::Response::into_inner)
    }

    /// Connects a node that says hello with what it holds.
    pub(crate) async fn node(&self, node: &str, held: &Held) -> FakeNode {
        FakeNode::connect(self.channel.clone(), hello(node, held)).await
    }

    pub(crate) async fn reporter(&self, spool_id: &str) -> (Reporter, u64) {
        Reporter::open(self.channel.clone(), spool_id).await
    }
}

pub(crate) fn config(folder: &Path, clock: Clock) -> Config {
    Config::on_loopback(folder.to_owned(), Rules::default(), clock)
}

pub(crate) async fn start_on(listen: std::net::SocketAddr, folder: &Path) -> Result<ControlPlane, StartError> {
    start(Config { listen, ..config(folder, Clock::system()) }).await
}

async fn connect(control_plane: &ControlPlane) -> Channel {
    Channel::from_shared(format!("http://{}", control_plane.address())).unwrap().connect().await.unwrap()
}

pub(crate) fn name(id: &str) -> String {
    format!("{PARENT}/syncs/{id}")
}

/// A sync that takes every event as it is.
pub(crate) fn sync() -> Sync {
    Sync {
        display_name: "Orders".into(),
        enabled: true,
        destination: Some(Destination { url: "https://hooks.example.com/orders".into(), ..Default::default() }),
        events: Some(EventSelection { filter: None, payload: Some(Payload::Original(OriginalPayload {})) }),
        ..Default::default()
    }
}

pub(crate) fn with_template(source: &str) -> Sync {
    let payload = Payload::Template(TemplatePayload { source: source.into(), allow_invalid_json: false });
    Sync { events: Some(EventSelection { filter: None, payload: Some(payload) }), ..sync() }
}

pub(crate) fn with_headers(headers: Vec<Header>) -> Sync {
    let mut sync = sync();
    sync.destination.as_mut().unwrap().headers = headers;
    sync
}

pub(crate) fn plain(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: Some(header::Value::Plain(value.into())) }
}

pub(crate) fn secret(name: &str, value: &str) -> Header {
    let secret = Secret { value: value.into(), set: value.is_empty() };
    Header { name: name.into(), value: Some(header::Value::Secret(secret)) }
}

/// Code and `ErrorInfo.reason`, after checking that the error carries one of ours.
pub(crate) fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().expect("every error carries ErrorInfo");
    assert_eq!(info.domain, "sluice.dev");
    (status.code(), info.reason)
}

/// The fields that a refused request names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    assert_eq!(reason(status), (Code::InvalidArgument, "INVALID_ARGUMENT".into()), "{status}");
    descriptions(status).into_iter().map(|(field, _)| field).collect()
}

/// The fields that a refused request names, with what is said of them.
pub(crate) fn descriptions(status: &Status) -> Vec<(String, String)> {
    let details = status.get_details_bad_request().expect("violations");
    details.field_violations.into_iter().map(|violation| (violation.field, violation.description)).collect()
}

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms / 1_000, nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap() }
}

/// What a node holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) epoch: String,
    pub(crate) revision: i64,
    pub(crate) syncs: Vec<Sync>,
}

impl Held {
    pub(crate) fn hash(&self) -> String {
        catalog_hash(self.syncs.iter().map(|sync| (sync.uid.as_str(), sync.etag.as_str())))
    }

    pub(crate) fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self.syncs.iter().filter_map(|sync| sync.name.rsplit('/').next()).collect();
        ids.sort_unstable();
        ids
    }
}

/// The least that a node does: it applies what it is sent.
pub(crate) struct FakeNode {
    outgoing: mpsc::Sender<SyncCatalogRequest>,
    incoming: Streaming<SyncCatalogResponse>,
    pub(crate) held: Held,
}

/// What came, once it is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Snapshot { chunks: usize },
    Delta { from: i64 },
}

pub(crate) fn hello(node: &str, held: &Held) -> Hello {
    Hello {
        node: format!("nodes/{node}"),
        instance: format!("{node}-1"),
        product_version: "0.1.0".into(),
        protocol_version: PROTOCOL_VERSION,
        epoch: held.epoch.clone(),
        revision: held.revision,
        catalog_hash: if held.epoch.is_empty() { String::new() } else { held.hash() },
        ingest_address: "127.0.0.1:7601".into(),
        features: Vec::new(),
    }
}

impl FakeNode {
    pub(crate) async fn connect(channel: Channel, hello: Hello) -> Self {
        let held = Held { epoch: hello.epoch.clone(), revision: hello.revision, syncs: Vec::new() };
        let (outgoing, requests) = mpsc::channel(16);
        // Rule 1: the first message is on its way before the server has answered.
        outgoing.send(SyncCatalogRequest { message: Some(Message::Hello(hello)) }).await.unwrap();
        let mut client = NodeSessionServiceClient::new(channel);
        let incoming = client.sync_catalog(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { outgoing, incoming, held }
    }

    pub(crate) fn holding(mut self, held: &Held) -> Self {
        self.held = held.clone();
        self
    }

    pub(crate) async fn send(&self, message: Message) {
        self.outgoing.send(SyncCatalogRequest { message: Some(message) }).await.unwrap();
    }

    /// The next answer about the catalog.
    pub(crate) async fn next(&mut self) -> Result<Option<Answer>, Status> {
        loop {
            match self.next_of_any_kind().await? {
                Some(Answer::IngestKeys(_)) => {}
                answer => return Ok(answer),
            }
        }
    }

    async fn next_of_any_kind(&mut self) -> Result<Option<Answer>, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.incoming.message());
        Ok(next.await.expect("an answer in time")?.and_then(|answer| answer.message))
    }

    /// The keys that producers may show, when they are told next.
    pub(crate) async fn keys(&mut self) -> Vec<IngestKey> {
        loop {
            if let Answer::IngestKeys(keys) = self.next_of_any_kind().await.unwrap().expect("keys") {
                return keys.keys;
            }
        }
    }

    pub(crate) async fn welcome(&mut self) -> Welcome {
        match self.next().await.unwrap().unwrap() {
            Answer::Welcome(welcome) => welcome,
            other => panic!("{other:?} instead of a welcome"),
        }
    }

    /// The next delta or whole snapshot, applied.
    pub(crate) async fn update(&mut self) -> Update {
        let mut collected = Vec::new();
        let mut chunks = 0;
        loop {
            match self.next().await.unwrap().expect("an update") {
                Answer::Snapshot(chunk) => {
                    assert_eq!(chunk.index, chunks, "chunks come in order");
                    chunks += 1;
                    collected.extend(chunk.resources.iter().map(|resource| resource.sync().unwrap().unwrap()));
                    if chunk.complete {
                        self.held = Held { epoch: chunk.epoch, revision: chunk.revision, syncs: collected };
                        assert_eq!(self.held.hash(), chunk.catalog_hash);
                        return Update::Snapshot { chunks: chunks as usize };
                    }
                }
                Answer::Delta(delta) => {
                    assert_eq!((&delta.epoch, delta.from_revision), (&self.held.epoch, self.held.revision));
                    for resource in delta.upserts {
                        let sync = resource.sync().unwrap().unwrap();
                        self.held.syncs.retain(|held| held.uid != sync.uid);
                        self.held.syncs.push(sync);
                    }
                    self.held.syncs.retain(|held| !delta.deletions.contains(&held.uid));
                    self.held.revision = delta.revision;
                    assert_eq!(self.held.hash(), delta.catalog_hash);
                    return Update::Delta { from: delta.from_revision };
                }
                Answer::Heartbeat(_) | Answer::IngestKeys(_) => {}
                Answer::Welcome(_) => panic!("a second welcome"),
            }
        }
    }

    pub(crate) async fn ack(&self) {
        self.ack_refusing(Vec::new()).await;
    }

    pub(crate) async fn ack_refusing(&self, refused: Vec<RefusedSync>) {
        let Held { epoch, revision, .. } = self.held.clone();
        self.send(Message::Ack(CatalogAck { epoch, revision, catalog_hash: self.held.hash(), refused })).await;
    }

    /// Takes the next update and acks it.
    pub(crate) async fn settle(&mut self) -> Update {
        let update = self.update().await;
        self.ack().await;
        update
    }

    pub(crate) async fn heartbeat(&self, revision: i64, catalog_hash: &str) {
        let catalog_hash = catalog_hash.to_owned();
        self.send(Message::Heartbeat(NodeHeartbeat {
            epoch: self.held.epoch.clone(),
            revision,
            catalog_hash,
            ..NodeHeartbeat::default()
        }))
        .await;
    }

    /// Why the stream ended.
    pub(crate) async fn ended(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a status"),
                Err(status) => return status,
            }
        }
    }
}

/// A node's stream of reports.
pub(crate) struct Reporter {
    outgoing: mpsc::Sender<ReportAttemptsRequest>,
    incoming: Streaming<ReportAttemptsResponse>,
}

impl Reporter {
    pub(crate) async fn open(channel: Channel, spool_id: &str) -> (Self, u64) {
        let open =
            ReportsOpen { node: "nodes/a".into(), spool_id: spool_id.into(), first_sequence: 1, next_sequence: 0 };
        let mut reporter = Self::begin(channel, report_attempts_request::Message::Open(open)).await;
        match reporter.next().await.unwrap() {
            report_attempts_response::Message::Opened(opened) => (reporter, opened.next_sequence),
            other => panic!("{other:?} instead of opened"),
        }
    }

    pub(crate) async fn begin(channel: Channel, first: report_attempts_request::Message) -> Self {
        let (outgoing, requests) = mpsc::channel(16);
        outgoing.send(ReportAttemptsRequest { message: Some(first) }).await.unwrap();
        let mut client = NodeSessionServiceClient::new(channel);
        let incoming = client.report_attempts(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { outgoing, incoming }
    }

    pub(crate) async fn next(&mut self) -> Result<report_attempts_response::Message, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.incoming.message());
        Ok(next.await.expect("an answer in time")?.expect("an answer").message.unwrap())
    }

    /// Reports and gives the acked sequence.
    pub(crate) async fn report(&mut self, first_sequence: u64, reports: Vec<Report>) -> u64 {
        self.send(first_sequence, reports).await;
        self.acked().await
    }

    /// Sends a batch and does not wait for its ack.
    pub(crate) async fn send(&self, first_sequence: u64, reports: Vec<Report>) {
        let batch = ReportBatch::of(first_sequence, &reports);
        let message = Some(report_attempts_request::Message::Batch(batch));
        self.outgoing.send(ReportAttemptsRequest { message }).await.unwrap();
    }

    /// The sequence of the next ack.
    pub(crate) async fn acked(&mut self) -> u64 {
        match self.next().await.unwrap() {
            report_attempts_response::Message::Ack(ack) => ack.acked_sequence_inclusive,
            other => panic!("{other:?} instead of an ack"),
        }
    }
}

/// An attempt for `sync`, of the `number`-th event, begun `at_ms` after the start.
pub(crate) fn attempt(sync: &Sync, number: u32, at_ms: i64, outcome: AttemptOutcome) -> Attempt {
    Attempt {
        delivery: format!("{}/deliveries/{number:032x}", sync.name),
        sync_uid: sync.uid.clone(),
        sync_revision: sync.revision,
        event_id: format!("{:032x}", number + 0xe000),
        event_type: "order".into(),
        node: "nodes/a".into(),
        instance: "a-1".into(),
        round: 1,
        attempt: 1,
        outcome: outcome as i32,
        accept_time: Some(timestamp(START_MS)),
        start_time: Some(timestamp(START_MS + at_ms)),
        ..Default::default()
    }
}

/// How that delivery ended.
pub(crate) fn ending(sync: &Sync, number: u32, at_ms: i64, outcome: EndingOutcome, attempt_count: i32) -> Ending {
    Ending {
        delivery: format!("{}/deliveries/{number:032x}", sync.name),
        sync_uid: sync.uid.clone(),
        event_id: format!("{:032x}", number + 0xe000),
        schedule: 1,
        outcome: outcome as i32,
        accept_time: Some(timestamp(START_MS)),
        end_time: Some(timestamp(START_MS + at_ms)),
        attempt_count,
        ..Default::default()
    }
}

pub(crate) fn attempted(attempt: Attempt) -> Report {
    Report { report: Some(report::Report::Attempt(attempt)), ending: None }
}

pub(crate) fn ended(ending: Ending) -> Report {
    Report { report: Some(report::Report::Ended(ending)), ending: None }
}
