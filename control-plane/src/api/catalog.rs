//! `NodeSessionService`: the nodes' streams. `SyncCatalog` does what [`Session`] decides.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use sluice_access::{Caller, Keyring};
use sluice_proto::{
    name::NodeName,
    node::v1::{
        CatalogAck, ControlPlaneHeartbeat, Delta, Hello, KeyUse, NodeHeartbeat, ReportAttemptsRequest,
        ReportAttemptsResponse, Resource, ServeCommandsRequest, ServeCommandsResponse, SnapshotChunk,
        SyncCatalogRequest, SyncCatalogResponse, Welcome, node_session_service_server::NodeSessionService, resource,
        sync_catalog_request::Message, sync_catalog_response::Message as Answer,
    },
    sync::v1::Sync,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Context, FIRST_MESSAGE, commands, end_with, reports};
use crate::{
    changelog::{Changes, Position, Snapshot},
    error::Error,
    keys,
    nodes::Membership,
    session::{Session, Step, check_version},
    time::millis,
};

const HEARTBEAT: Duration = Duration::from_secs(10);
/// A node that says nothing for so long is gone, and so is one that reads nothing.
const SILENCE: Duration = Duration::from_secs(40);
/// Answers that wait for a node to read them.
const QUEUE: usize = 8;
/// Resources in one chunk of a snapshot, well below the message limit of 4 MiB. A larger sync travels alone.
const CHUNK_BYTES: usize = 256 << 10;
/// Changes that make a larger message travel as a snapshot, which comes in chunks.
const MAX_DELTA_BYTES: usize = 2 << 20;
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
    session: Session,
    membership: Membership,
    revisions: watch::Receiver<Position>,
    newest: Position,
    keyring: watch::Receiver<Arc<Keyring>>,
    outgoing: mpsc::Sender<Result<SyncCatalogResponse, Status>>,
}

impl Stream {
    fn new(context: Context, hello: Hello, outgoing: mpsc::Sender<Result<SyncCatalogResponse, Status>>) -> Self {
        let held = Position { epoch: hello.epoch.clone(), revision: hello.revision, hash: hello.catalog_hash.clone() };
        let clock = context.clock.clone();
        let revisions = context.publisher.watch_revision();
        let newest = revisions.borrow().clone();
        Self {
            node: hello.node.clone(),
            session: Session::new(held),
            membership: context.nodes.join(hello, move || clock.now_ms()),
            newest,
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
        let clock = self.context.clock.clone();
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.send(Answer::Welcome(Welcome {
            product_version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.newest.epoch.clone(),
            revision: self.newest.revision,
            catalog_hash: self.newest.hash.clone(),
        }))
        .await?;
        self.send_keys().await?;
        let mut silent_at = clock.now_ms().saturating_add(millis(SILENCE));
        let mut heartbeat_at = clock.now_ms().saturating_add(millis(HEARTBEAT));
        loop {
            self.bring_up_to_date().await?;
            tokio::select! {
                // An error would mean that the keys are gone, which live as long as the context.
                changed = self.keyring.changed() => if changed.is_ok() { self.send_keys().await? },
                message = incoming.message() => {
                    let Ok(Some(message)) = message else {
                        return Ok(());
                    };
                    silent_at = clock.now_ms().saturating_add(millis(SILENCE));
                    self.heard(message)?;
                }
                // An error would mean that the publisher is gone, which lives as long as the context.
                changed = self.revisions.changed() => if changed.is_ok() { self.see_newest() },
                () = clock.sleep_until(heartbeat_at, "catalog heartbeat") => {
                    heartbeat_at = clock.now_ms().saturating_add(millis(HEARTBEAT));
                    self.send(Answer::Heartbeat(ControlPlaneHeartbeat {
                        revision: self.newest.revision,
                        catalog_hash: self.newest.hash.clone(),
                        epoch: self.newest.epoch.clone(),
                    }))
                    .await?;
                }
                () = clock.sleep_until(silent_at, "node's silence") => {
                    return Err(Error::Silent { seconds: SILENCE.as_secs() });
                }
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
                self.session.acked(serves.clone());
                self.membership.acked(serves, refused);
            }
            Some(Message::Heartbeat(NodeHeartbeat { revision, catalog_hash, loads, draining, key_uses, epoch })) => {
                self.see_newest();
                let serves = Position { epoch, revision, hash: catalog_hash };
                self.session.heartbeat(&serves, &self.newest);
                self.membership.loads(loads, draining);
                for KeyUse { name, last_use_time } in key_uses {
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
                self.session.snapshot_requested();
            }
            // Something that a newer node says.
            None => {}
        }
        Ok(())
    }

    /// The revision that is published, or the one that was already read from the store before it was.
    fn see_newest(&mut self) {
        let published = self.revisions.borrow_and_update().clone();
        if published.revision > self.newest.revision {
            self.newest = published;
        }
    }

    async fn bring_up_to_date(&mut self) -> Result<(), Error> {
        self.see_newest();
        let hash_then = self.context.store.hash_at(self.session.held_revision()).await?;
        match self.session.next(&self.newest, hash_then.as_deref()) {
            Step::Nothing => Ok(()),
            Step::Snapshot { reason } => self.send_snapshot(reason).await,
            Step::Delta { from } => match self.context.store.changes_since(from).await? {
                Some(changes) if size(&changes.upserts) <= MAX_DELTA_BYTES => self.send_delta(from, changes).await,
                Some(_) => self.send_snapshot("the changes are too large for one message").await,
                None => self.send_snapshot("the node's revision has just left the change log").await,
            },
        }
    }

    async fn send_keys(&mut self) -> Result<(), Error> {
        let keys = keys::for_nodes(&self.keyring.borrow_and_update());
        self.send(Answer::IngestKeys(keys)).await
    }

    async fn send_delta(&mut self, from: i64, changes: Changes) -> Result<(), Error> {
        let Changes { position, upserts, deletions } = changes;
        tracing::debug!(node = self.node, from, revision = position.revision, "delta sent");
        self.newest = position.clone();
        self.session.sent_delta(position.clone());
        self.send(Answer::Delta(Delta {
            epoch: position.epoch,
            from_revision: from,
            revision: position.revision,
            upserts: upserts.into_iter().map(resource).collect(),
            deletions,
            catalog_hash: position.hash,
        }))
        .await
    }

    async fn send_snapshot(&mut self, reason: &'static str) -> Result<(), Error> {
        let Snapshot { position, syncs } = self.context.store.snapshot().await?;
        tracing::info!(node = self.node, reason, revision = position.revision, "snapshot sent");
        self.newest = position.clone();
        for chunk in chunks(&position, syncs) {
            self.send(Answer::Snapshot(chunk)).await?;
        }
        self.session.sent_snapshot(position);
        Ok(())
    }

    async fn send(&self, message: Answer) -> Result<(), Error> {
        let response = SyncCatalogResponse { message: Some(message) };
        tokio::select! {
            sent = self.outgoing.send(Ok(response)) => {
                // Nobody listens any more: the next read ends the stream.
                let _ = sent;
                Ok(())
            }
            () = self.context.clock.sleep(SILENCE, "node to read") => {
                Err(Error::Silent { seconds: SILENCE.as_secs() })
            }
        }
    }
}

fn resource(sync: Sync) -> Resource {
    Resource { resource: Some(resource::Resource::Sync(sync)) }
}

fn size(syncs: &[Sync]) -> usize {
    syncs.iter().map(prost::Message::encoded_len).sum()
}

/// The catalog in pieces, each with at least one sync but for the only one of an empty catalog; the last is `complete`.
fn chunks(position: &Position, syncs: Vec<Sync>) -> Vec<SnapshotChunk> {
    let mut pieces: Vec<Vec<Resource>> = vec![Vec::new()];
    let mut bytes = 0;
    for sync in syncs {
        let size = sync.encoded_len();
        if bytes > 0 && bytes + size > CHUNK_BYTES {
            pieces.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(piece) = pieces.last_mut() {
            piece.push(resource(sync));
        }
    }
    let last = pieces.len() - 1;
    let chunk = |(index, resources)| {
        let complete = index == last;
        SnapshotChunk {
            epoch: position.epoch.clone(),
            revision: position.revision,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            resources,
            complete,
            catalog_hash: if complete { position.hash.clone() } else { String::new() },
        }
    };
    pieces.into_iter().enumerate().map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(bytes: usize) -> Sync {
        Sync { display_name: "x".repeat(bytes), ..Default::default() }
    }

    #[test]
    fn rule_3_snapshots_come_in_chunks_and_the_last_is_complete() {
        let position = Position { epoch: "e".into(), revision: 9, hash: "h".into() };
        let sizes = [CHUNK_BYTES / 2, CHUNK_BYTES / 3, CHUNK_BYTES / 3, 2 * CHUNK_BYTES, 1];
        let chunks = chunks(&position, sizes.map(sync).into());
        assert_eq!(chunks.iter().map(|c| c.resources.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(chunks.iter().map(|c| c.complete).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(chunks.iter().map(|c| c.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(chunks.last().unwrap().catalog_hash, "h");
    }

    #[test]
    fn rule_3_an_empty_catalog_is_one_complete_chunk() {
        let chunks = chunks(&Position::default(), Vec::new());
        assert_eq!((chunks.len(), chunks[0].complete), (1, true));
    }
}
