//! `NodeSessionService`: the nodes' streams. `SyncCatalog` carries what [`Feed`] gives.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use sluice_access::{Caller, Keyring};
use sluice_pipeline::pulse::{Beat, HEARTBEAT_MS, Pulse, SILENCE_MS};
use sluice_proto::{
    name::NodeName,
    node::v1::{
        CatalogAck, ControlPlaneHeartbeat, Hello, KeyUse, NodeHeartbeat, ReportAttemptsRequest, ReportAttemptsResponse,
        ServeCommandsRequest, ServeCommandsResponse, SyncCatalogRequest, SyncCatalogResponse, Welcome,
        node_session_service_server::NodeSessionService, sync_catalog_request::Message,
        sync_catalog_response::Message as Answer,
    },
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Context, FIRST_MESSAGE, commands, end_with, reports};
use crate::{
    changelog::Position, error::Error, feed::Feed, keys, nodes::Membership, session::check_version, time::millis,
};

/// Answers that wait for a node to read them. They hold shares of what all nodes are sent, no copies.
const QUEUE: usize = 8;
/// A node that says nothing for so long is gone, and so is one that reads nothing.
const SILENCE: Duration = Duration::from_millis(SILENCE_MS.unsigned_abs());
const MAX_HELLO_BYTES: usize = 16 << 10;

/// The service.
pub(crate) struct NodeSessions(pub(crate) Context);

#[tonic::async_trait]
impl NodeSessionService for NodeSessions {
    type SyncCatalogStream = ReceiverStream<Result<SyncCatalogResponse, Status>>;
    type ReportAttemptsStream = ReceiverStream<Result<ReportAttemptsResponse, Status>>;
    type ServeCommandsStream = ReceiverStream<Result<ServeCommandsResponse, Status>>;

    // All answer at once: whoever waits for the headers before the first message is not kept waiting.
    async fn sync_catalog(
        &self,
        request: Request<Streaming<SyncCatalogRequest>>,
    ) -> Result<Response<Self::SyncCatalogStream>, Status> {
        let (outgoing, answers) = mpsc::channel(QUEUE);
        let caller = Caller::of(&request)?.clone();
        let (context, incoming) = (self.0.clone(), request.into_inner());
        self.0.streams.spawn(async move {
            let served = run(context.clone(), &caller, incoming, outgoing.clone());
            if let Err(error) = context.while_allowed(&caller, served).await {
                tracing::info!(reason = %error, "catalog stream ended");
                end_with(&outgoing, error).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn report_attempts(
        &self,
        request: Request<Streaming<ReportAttemptsRequest>>,
    ) -> Result<Response<Self::ReportAttemptsStream>, Status> {
        let (outgoing, answers) = mpsc::channel(QUEUE);
        let caller = Caller::of(&request)?.clone();
        self.0.streams.spawn(reports::serve(self.0.clone(), caller, request.into_inner(), outgoing));
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn serve_commands(
        &self,
        request: Request<Streaming<ServeCommandsRequest>>,
    ) -> Result<Response<Self::ServeCommandsStream>, Status> {
        let (outgoing, answers) = mpsc::channel(QUEUE);
        let caller = Caller::of(&request)?.clone();
        self.0.streams.spawn(commands::serve(self.0.clone(), caller, request.into_inner(), outgoing));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

async fn run(
    context: Context,
    caller: &Caller,
    mut incoming: Streaming<SyncCatalogRequest>,
    outgoing: mpsc::Sender<Result<SyncCatalogResponse, Status>>,
) -> Result<(), Error> {
    let hello = tokio::select! {
        message = context.unless_stopping(incoming.message()) => match message? {
            Ok(Some(SyncCatalogRequest { message: Some(Message::Hello(hello)) })) => hello,
            Ok(Some(_)) => return Err(Error::Protocol("the first message of a catalog stream must be `hello`")),
            Ok(None) | Err(_) => return Ok(()),
        },
        () = context.clock.sleep(FIRST_MESSAGE, "catalog stream's first message") => {
            return Err(Error::Silent { seconds: FIRST_MESSAGE.as_secs() });
        }
    };
    check_version(hello.protocol_version)?;
    if hello.node.parse::<NodeName>().is_err() {
        return Err(Error::Protocol("`hello.node` is not of the form nodes/{node}"));
    }
    caller.require_node(&hello.node)?;
    if hello.encoded_len() > MAX_HELLO_BYTES {
        return Err(Error::Protocol("`hello` is too large"));
    }
    tracing::info!(
        node = hello.node,
        instance = hello.instance,
        version = hello.product_version,
        revision = hello.revision,
        "node connected"
    );
    let node = hello.node.clone();
    let ended = Stream::new(context, hello, outgoing).serve(incoming).await;
    tracing::info!(node, "node disconnected");
    ended
}

/// One node's catalog stream after its hello.
struct Stream {
    context: Context,
    node: String,
    feed: Feed,
    membership: Membership,
    revisions: watch::Receiver<Position>,
    keyring: watch::Receiver<Arc<Keyring>>,
    outgoing: mpsc::Sender<Result<SyncCatalogResponse, Status>>,
}

impl Stream {
    fn new(context: Context, hello: Hello, outgoing: mpsc::Sender<Result<SyncCatalogResponse, Status>>) -> Self {
        let held = Position { epoch: hello.epoch.clone(), revision: hello.revision, hash: hello.catalog_hash.clone() };
        let clock = context.clock.clone();
        let mut revisions = context.publisher.watch_revision();
        let newest = revisions.borrow_and_update().clone();
        Self {
            node: hello.node.clone(),
            feed: Feed::new(context.updates.clone(), held, newest),
            membership: context.nodes.join(hello, move || clock.now_ms()),
            revisions,
            keyring: context.keys.watch(),
            outgoing,
            context,
        }
    }

    async fn serve(mut self, mut incoming: Streaming<SyncCatalogRequest>) -> Result<(), Error> {
        let context = self.context.clone();
        let replaced = self.membership.replaced.clone();
        tokio::select! {
            biased;
            () = context.stopping.cancelled() => Err(Error::Stopping),
            () = replaced.cancelled() => Err(Error::Replaced),
            ended = self.exchange(&mut incoming) => ended,
        }
    }

    async fn exchange(&mut self, incoming: &mut Streaming<SyncCatalogRequest>) -> Result<(), Error> {
        let (clock, outgoing) = (self.context.clock.clone(), self.outgoing.clone());
        let Position { epoch, revision, hash } = self.feed.newest().clone();
        let product_version = env!("CARGO_PKG_VERSION").to_owned();
        self.send(Answer::Welcome(Welcome { product_version, epoch, revision, catalog_hash: hash })).await?;
        self.send_keys().await?;
        let mut pulse = Pulse::new(clock.now_ms(), HEARTBEAT_MS, i64::MAX);
        // An update that the node has not made room for yet, and when it is given up.
        let mut waiting: Option<(Answer, i64)> = None;
        loop {
            if waiting.is_none() {
                self.see_newest();
                let unread_ms = clock.now_ms().saturating_add(SILENCE_MS);
                waiting = self.feed.next().await?.map(|message| (message, unread_ms));
            }
            let unread_ms = waiting.as_ref().map_or(i64::MAX, |(_, unread_ms)| *unread_ms);
            tokio::select! {
                // An error would mean that the keys are gone, which live as long as the context.
                changed = self.keyring.changed() => if changed.is_ok() { self.send_keys().await? },
                // The node is heard while it is sent a snapshot, which may take long.
                message = incoming.message() => {
                    let Ok(Some(message)) = message else {
                        return Ok(());
                    };
                    pulse.heard(clock.now_ms());
                    self.heard(message)?;
                }
                permit = outgoing.reserve(), if waiting.is_some() => match (permit, waiting.take()) {
                    (Ok(permit), Some((message, _))) => permit.send(Ok(SyncCatalogResponse { message: Some(message) })),
                    // Nobody listens any more.
                    _ => return Ok(()),
                },
                // An error would mean that the publisher is gone, which lives as long as the context.
                changed = self.revisions.changed() => if changed.is_ok() { self.see_newest() },
                () = clock.sleep_until(unread_ms, "node to read"), if waiting.is_some() => return Err(silent()),
                () = clock.sleep_until(pulse.due_ms(), "catalog heartbeat") => match pulse.beat(clock.now_ms()) {
                    Beat::Wait | Beat::Over => {}
                    Beat::Heartbeat => {
                        let Position { epoch, revision, hash } = self.feed.newest().clone();
                        let heartbeat = ControlPlaneHeartbeat { epoch, revision, catalog_hash: hash };
                        self.send(Answer::Heartbeat(heartbeat)).await?;
                    }
                    Beat::Silent => return Err(silent()),
                },
            }
        }
    }

    fn heard(&mut self, message: SyncCatalogRequest) -> Result<(), Error> {
        self.membership.heard();
        match message.message {
            Some(Message::Hello(_)) => {
                return Err(Error::Protocol("`hello` comes first on a catalog stream, and only there"));
            }
            Some(Message::Ack(CatalogAck { epoch, revision, catalog_hash, refused })) => {
                let serves = Position { epoch, revision, hash: catalog_hash };
                tracing::debug!(node = self.node, revision, refused_count = refused.len(), "catalog acked");
                self.feed.session.acked(serves.clone());
                self.membership.acked(serves, refused);
            }
            Some(Message::Heartbeat(beat)) => {
                self.see_newest();
                let NodeHeartbeat { epoch, revision, catalog_hash, .. } = beat;
                self.feed.heartbeat(&Position { epoch, revision, hash: catalog_hash });
                self.membership.loads(beat.loads, beat.draining);
                self.membership.holds(beat.in_flight_count, beat.spool_bytes);
                for KeyUse { name, last_use_time } in beat.key_uses {
                    // A clock that runs ahead must not hide later uses.
                    let last_use_ms = millis(last_use_time.as_ref()).min(self.context.clock.now_ms());
                    self.context.keys.used(&name, last_use_ms);
                }
            }
            Some(Message::SnapshotRequest(request)) => {
                tracing::info!(
                    node = self.node,
                    reason = crate::error::shorten(&request.reason, 200),
                    "snapshot asked for"
                );
                self.feed.session.snapshot_requested();
            }
            // Something that a newer node says.
            None => {}
        }
        Ok(())
    }

    fn see_newest(&mut self) {
        self.feed.see(&self.revisions.borrow_and_update());
    }

    async fn send_keys(&mut self) -> Result<(), Error> {
        let keys = keys::for_nodes(&self.keyring.borrow_and_update());
        self.send(Answer::IngestKeys(keys)).await
    }

    async fn send(&self, message: Answer) -> Result<(), Error> {
        let response = SyncCatalogResponse { message: Some(message) };
        tokio::select! {
            sent = self.outgoing.send(Ok(response)) => {
                // Nobody listens any more: the next read ends the stream.
                let _ = sent;
                Ok(())
            }
            () = self.context.clock.sleep(SILENCE, "node to read") => Err(silent()),
        }
    }
}

/// The node says nothing, or reads nothing.
fn silent() -> Error {
    Error::Silent { seconds: SILENCE.as_secs() }
}
