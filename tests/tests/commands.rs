//! What a node does with commands, asked by a control plane that says what the real one would not: the same one twice, one that
//! nobody knows, many at once.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use sluice_host::clock::{Clock, ManualClock};
use sluice_node::Node;
use sluice_pipeline::catalog::catalog_hash;
use sluice_proto::{
    event::v1::{Event, SendEventsRequest},
    node::v1::{
        Command, CommandResult, CommandsOpen, MarkExported, ReadDeadLetters, ReadLedger, ReadSpoolStats, Redeliver,
        ReportAttemptsRequest, ReportAttemptsResponse, ReportsAck, ReportsOpened, Resource, ServeCommandsRequest,
        ServeCommandsResponse, SnapshotChunk, SyncCatalogRequest, SyncCatalogResponse,
        command::Command as What,
        command_result::Result as Outcome,
        node_session_service_server::{NodeSessionService, NodeSessionServiceServer},
        report_attempts_request, report_attempts_response, serve_commands_request, sync_catalog_response,
    },
    sync::v1::Sync,
};
use sluice_tests::{
    cluster::{START_MS, eventually, rules, sync_name},
    endpoint::PATIENCE,
    events::{SyncBuilder as _, event, sync_to},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

const ALL: &str = "projects/default/syncs/-";

/// A control plane whose one sync cannot render anything, and which hands its command streams to the test.
struct Scripted {
    streams: mpsc::Sender<Stream>,
}

/// One command stream, as the control plane sees it.
struct Stream {
    open: CommandsOpen,
    outgoing: mpsc::Sender<Result<ServeCommandsResponse, Status>>,
    incoming: Streaming<ServeCommandsRequest>,
}

#[tonic::async_trait]
impl NodeSessionService for Scripted {
    type SyncCatalogStream = ReceiverStream<Result<SyncCatalogResponse, Status>>;
    type ReportAttemptsStream = ReceiverStream<Result<ReportAttemptsResponse, Status>>;
    type ServeCommandsStream = ReceiverStream<Result<ServeCommandsResponse, Status>>;

    async fn sync_catalog(
        &self,
        request: Request<Streaming<SyncCatalogRequest>>,
    ) -> Result<Response<Self::SyncCatalogStream>, Status> {
        let (outgoing, answers) = mpsc::channel(4);
        let message = Some(sync_catalog_response::Message::Snapshot(snapshot()));
        outgoing.send(Ok(SyncCatalogResponse { message })).await.unwrap();
        tokio::spawn(async move {
            let mut incoming = request.into_inner();
            while let Ok(Some(_)) = incoming.message().await {}
            drop(outgoing);
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn report_attempts(
        &self,
        request: Request<Streaming<ReportAttemptsRequest>>,
    ) -> Result<Response<Self::ReportAttemptsStream>, Status> {
        let (outgoing, answers) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut incoming = request.into_inner();
            while let Ok(Some(said)) = incoming.message().await {
                use report_attempts_request::Message as Said;
                use report_attempts_response::Message as Answer;
                let answer = match said.message.unwrap() {
                    Said::Open(_) => Answer::Opened(ReportsOpened::default()),
                    Said::Batch(batch) => Answer::Ack(ReportsAck {
                        acked_sequence_inclusive: batch.first_sequence + batch.reports.len() as u64 - 1,
                    }),
                };
                if outgoing.send(Ok(ReportAttemptsResponse { message: Some(answer) })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn serve_commands(
        &self,
        request: Request<Streaming<ServeCommandsRequest>>,
    ) -> Result<Response<Self::ServeCommandsStream>, Status> {
        let (outgoing, answers) = mpsc::channel(4);
        let (streams, mut incoming) = (self.streams.clone(), request.into_inner());
        tokio::spawn(async move {
            let first = incoming.message().await.unwrap().unwrap().message.unwrap();
            let serve_commands_request::Message::Open(open) = first else { panic!("{first:?} instead of open") };
            // The test may be over.
            let _ = streams.send(Stream { open, outgoing, incoming }).await;
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

fn snapshot() -> SnapshotChunk {
    let sync = Sync {
        name: sync_name("s"),
        uid: "uid-of-s".into(),
        etag: "etag".into(),
        revision: 1,
        ..sync_to("http://127.0.0.1:9/").template("${input.no_such_thing}")
    };
    SnapshotChunk {
        epoch: "epoch".into(),
        revision: 1,
        index: 0,
        catalog_hash: catalog_hash([(sync.uid.as_str(), sync.etag.as_str())].into_iter()),
        resources: vec![Resource::of_sync(&sync)],
        complete: true,
    }
}

impl Stream {
    async fn give(&self, id: &str, what: Option<What>) {
        let at = |ms: i64| Some(prost_types::Timestamp { seconds: ms / 1_000, nanos: 0 });
        let command = Command {
            id: id.into(),
            issue_time: at(START_MS + 60_000),
            deadline: at(START_MS + 3_600_000),
            command: what,
        };
        self.outgoing.send(Ok(ServeCommandsResponse { command: Some(command) })).await.unwrap();
    }

    async fn next(&mut self) -> CommandResult {
        let said = tokio::time::timeout(PATIENCE, self.incoming.message()).await.expect("an answer in time");
        match said.unwrap().unwrap().message.unwrap() {
            serve_commands_request::Message::Result(result) => result,
            serve_commands_request::Message::Open(open) => panic!("{open:?} amid a stream"),
        }
    }

    /// The last answer to a command, whatever else is answered before it.
    async fn last(&mut self, id: &str) -> CommandResult {
        loop {
            let result = self.next().await;
            if result.last && result.id == id {
                return result;
            }
        }
    }
}

/// A node with dead letters, and its control plane.
struct Bench {
    _folder: TempDir,
    time: ManualClock,
    node: Node,
    streams: mpsc::Receiver<Stream>,
}

impl Bench {
    async fn start(dead_letters: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let control_plane: SocketAddr = listener.local_addr().unwrap();
        let (streams, opened) = mpsc::channel(4);
        let sessions = NodeSessionServiceServer::new(Scripted { streams });
        tokio::spawn(Server::builder().add_service(sessions).serve_with_incoming(TcpListenerStream::new(listener)));
        let folder = tempfile::tempdir().unwrap();
        let (clock, time) = Clock::manual(START_MS);
        let node = start_node(&folder, control_plane, clock).await;
        let mut catalog = node.catalog();
        let served = tokio::time::timeout(PATIENCE, catalog.wait_for(|catalog| catalog.revision() == 1)).await;
        served.expect("a catalog").unwrap();
        let url = format!("http://{}", node.address());
        let mut events = sluice_client::event_client(sluice_client::connect(&url).await.unwrap());
        let sent = (0..dead_letters).map(|n| Event { json: event("signup", &n.to_string()), ..Event::default() });
        let request = SendEventsRequest { events: sent.collect(), ..SendEventsRequest::default() };
        if dead_letters > 0 {
            events.send_events(request).await.unwrap();
        }
        let bench = Self { _folder: folder, time, node, streams: opened };
        bench.settled().await;
        bench
    }

    async fn settled(&self) {
        eventually("every delivery has ended", async || {
            let ledger = self.node.ledger().await.unwrap();
            ledger.deliveries.iter().all(|(_, counts)| counts.pending == 0).then_some(())
        })
        .await;
    }

    /// The node's next command stream.
    async fn stream(&mut self) -> Stream {
        let (time, streams) = (self.time.clone(), &mut self.streams);
        let stream = eventually("a command stream", async || {
            // For a node that waits before it dials again.
            time.advance(std::time::Duration::from_millis(100));
            streams.try_recv().ok()
        })
        .await;
        assert_eq!(stream.open.node, "nodes/n1");
        stream
    }

    async fn redelivered(&self) -> i64 {
        self.node.ledger().await.unwrap().deliveries.iter().map(|(_, counts)| counts.redelivered).sum()
    }
}

async fn start_node(folder: &TempDir, control_plane: SocketAddr, clock: Clock) -> Node {
    let config = sluice_node::Config::on_loopback("n1", control_plane, folder.path().join("node"), rules(), clock);
    sluice_node::start(config).await.unwrap()
}

fn redeliver() -> Option<What> {
    Some(What::Redeliver(Redeliver { parent: ALL.into(), filter: None }))
}

fn code(result: &CommandResult) -> Code {
    Code::from(result.code)
}

#[tokio::test]
async fn a_redelivery_that_comes_again_on_another_stream_is_answered_and_not_done_again() {
    let mut bench = Bench::start(40).await;
    let mut stream = bench.stream().await;
    stream.give("once", redeliver()).await;
    let first = stream.last("once").await;
    let Some(Outcome::Redeliver(progress)) = first.result.clone() else { panic!("{first:?}") };
    assert_eq!((progress.found_count, progress.redelivered_count), (40, 40));
    // The same on the same stream, and on the next.
    stream.give("once", redeliver()).await;
    assert_eq!(stream.last("once").await, first);
    drop(stream);
    let mut stream = bench.stream().await;
    stream.give("once", redeliver()).await;
    assert_eq!(stream.last("once").await, first);
    bench.settled().await;
    assert_eq!(bench.redelivered().await, 40);

    stream.give("another", redeliver()).await;
    let Some(Outcome::Redeliver(progress)) = stream.last("another").await.result else { panic!() };
    // They have ended before it was given: by the control plane's time it is later now.
    assert_eq!(progress.redelivered_count, 40);
}

#[tokio::test]
async fn a_redelivery_goes_on_when_its_stream_breaks_off() {
    let mut bench = Bench::start(1_000).await;
    let mut stream = bench.stream().await;
    stream.give("r", redeliver()).await;
    let begun = stream.next().await;
    assert!(!begun.last, "the count comes first: {begun:?}");
    drop(stream);
    let mut stream = bench.stream().await;
    stream.give("r", redeliver()).await;
    let Some(Outcome::Redeliver(progress)) = stream.last("r").await.result else { panic!() };
    assert_eq!((progress.found_count, progress.redelivered_count), (1_000, 1_000));
    bench.settled().await;
    assert_eq!(bench.redelivered().await, 1_000);
}

#[tokio::test]
async fn many_questions_are_answered_each_under_its_id() {
    let mut bench = Bench::start(3).await;
    let mut stream = bench.stream().await;
    stream.give("r", redeliver()).await;
    let read = ReadDeadLetters { parent: ALL.into(), limit: 1, ..ReadDeadLetters::default() };
    let ids: Vec<String> = (0..30).map(|n| format!("q{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        let what = match n % 3 {
            0 => What::ReadLedger(ReadLedger {}),
            1 => What::ReadSpoolStats(ReadSpoolStats {}),
            _ => What::ReadDeadLetters(read.clone()),
        };
        stream.give(id, Some(what)).await;
    }
    let mut answered = Vec::new();
    while answered.len() < 31 {
        let result = stream.next().await;
        if result.last {
            assert_eq!(code(&result), Code::Ok, "{result:?}");
            answered.push(result.id);
        }
    }
    answered.sort_unstable();
    answered.dedup();
    assert_eq!(answered.len(), 31);
}

#[tokio::test]
async fn what_a_node_does_not_know_or_cannot_read_is_refused_and_the_stream_goes_on() {
    let mut bench = Bench::start(0).await;
    let mut stream = bench.stream().await;
    stream.give("from the future", None).await;
    assert_eq!(code(&stream.last("from the future").await), Code::Unimplemented);
    let read =
        |parent: &str| Some(What::ReadDeadLetters(ReadDeadLetters { parent: parent.into(), ..Default::default() }));
    stream.give("nobody", read("nonsense")).await;
    let refused = stream.last("nobody").await;
    assert_eq!(code(&refused), Code::InvalidArgument);
    assert!(refused.message.starts_with("parent: "), "{}", refused.message);
    let mark = MarkExported { parent: ALL.into(), delivery_ids: vec!["x".into()] };
    stream.give("mark", Some(What::MarkExported(mark))).await;
    assert_eq!(code(&stream.last("mark").await), Code::InvalidArgument);
    stream.give("fine", read(ALL)).await;
    assert_eq!(code(&stream.last("fine").await), Code::Ok);
}

#[tokio::test]
async fn a_node_that_stops_breaks_off_what_it_does_and_keeps_what_it_has_done() {
    let mut bench = Bench::start(1_000).await;
    let mut stream = bench.stream().await;
    stream.give("r", redeliver()).await;
    stream.next().await;
    let stopped = tokio::time::timeout(PATIENCE, bench.node.stop()).await;
    stopped.expect("a node that redelivers stops");
}
