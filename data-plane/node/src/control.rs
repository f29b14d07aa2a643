//! The catalog stream: dials the control plane, keeps the catalog up to date, stores it, and says what is served. Without a
//! control plane the node goes on with the copy on its disk.

use std::{sync::Arc, time::Duration};

use sluice_host::{
    clock::Clock,
    sealing::{Sealer, Unopenable},
};
use sluice_pipeline::{
    catalog::{Catalog, Entry, SnapshotAssembler, syncs},
    secret::change_secrets,
    sync::{FEATURES, Rules},
};
use sluice_proto::{
    PROTOCOL_VERSION,
    node::v1::{
        CatalogAck, Delta, Hello, NodeHeartbeat, SnapshotChunk, SnapshotRequest, SyncCatalogRequest,
        SyncCatalogResponse, SyncLoad, node_session_service_client::NodeSessionServiceClient,
        sync_catalog_request::Message as ToControlPlane, sync_catalog_response::Message as FromControlPlane,
    },
    sync::v1::Sync,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    dial::Dial,
    drain::Drain,
    keys::ProducerKeys,
    redial::Redial,
    spool::{
        AcceptError, Spool,
        store::{Backlog, CatalogChange, StoreError},
    },
    stop,
};

/// Between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A control plane that says nothing for so long counts as gone.
const SILENCE: Duration = Duration::from_secs(40);

/// A stream lives so long at most, so that nodes spread over control planes again.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Largest message: snapshots come in chunks well below it.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Heartbeats in a row whose hash differs before a snapshot is asked for: a delta may be on its way.
const MISMATCHES: u32 = 2;

/// Who the node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Resource name.
    pub node: String,
    /// Incarnation.
    pub instance: String,
    /// Address at which it takes events.
    pub ingest_address: String,
}

/// Keeps the catalog.
pub struct Control {
    /// Where the control plane is.
    pub dial: Dial,
    /// Who this is.
    pub identity: Identity,
    /// What syncs may do.
    pub rules: Rules,
    /// Keeps the copy.
    pub spool: Spool,
    /// The keys that producers may show.
    pub keys: ProducerKeys,
    /// Seals the secrets in it.
    pub sealer: Sealer,
    /// The catalog that serves.
    pub catalog: watch::Sender<Arc<Catalog>>,
    /// Whether the node drains.
    pub drain: Drain,
    /// All time comes from it.
    pub clock: Clock,
}

#[derive(Debug, Error)]
enum SessionError {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("no connection")]
    Connect(#[from] sluice_client::Error),
    #[error("the control plane has said nothing for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the stream has ended")]
    Ended,
    #[error("the catalog could not be stored")]
    Store(#[from] AcceptError),
    #[error("a secret could not be sealed")]
    Sealing(#[from] Unopenable),
}

/// Why the stored copy of the catalog cannot be used.
#[derive(Debug, Error)]
pub enum StoredCatalogError {
    /// The spool cannot be read.
    #[error(transparent)]
    Spool(#[from] StoreError),
    /// A secret of a sync cannot be opened.
    #[error("a secret of {sync} cannot be opened")]
    Sealed {
        /// The sync's name.
        sync: String,
        /// Why.
        source: Unopenable,
    },
}

/// What sealed secrets begin with in the stored copy.
const SEALED: &str = "sealed:";

fn seal(sealer: &Sealer, sync: &Sync) -> Result<Sync, Unopenable> {
    let mut sealed = sync.clone();
    change_secrets(&mut sealed, |place, value| Ok(format!("{SEALED}{}", sealer.seal_text(place, value)?)))?;
    Ok(sealed)
}

/// Secrets of a copy that was made before they were sealed are in clear.
fn open(sealer: &Sealer, mut sync: Sync) -> Result<Sync, StoredCatalogError> {
    let opened = change_secrets(&mut sync, |place, value| match value.strip_prefix(SEALED) {
        Some(sealed) => sealer.open_text(place, sealed),
        None => Ok(value.to_owned()),
    });
    match opened {
        Ok(()) => Ok(sync),
        Err(source) => Err(StoredCatalogError::Sealed { sync: sync.name, source }),
    }
}

/// The catalog as the spool holds it.
///
/// # Errors
/// If the spool cannot be read, or a secret not be opened.
pub async fn stored_catalog(spool: &Spool, rules: &Rules, sealer: &Sealer) -> Result<Catalog, StoredCatalogError> {
    let Some(stored) = spool.read(|reader| reader.catalog()).await? else { return Ok(Catalog::empty()) };
    let entries = stored.entries.into_iter().map(|(latest, good)| {
        let good = good.map(|good| open(sealer, good)).transpose()?;
        Ok(Entry { latest: open(sealer, latest)?, good })
    });
    let entries = entries.collect::<Result<_, StoredCatalogError>>()?;
    Ok(Catalog::restore(&stored.epoch, stored.revision, entries, rules))
}

impl Control {
    /// Runs until `stop` turns true, dialling again with growing waits.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut redial = Redial::default();
        loop {
            let session = self.session(&mut redial);
            tokio::select! {
                ended = session => if let Err(error) = ended {
                    self.log(&error);
                },
                () = stop::asked(&mut stop) => return,
            }
            tokio::select! {
                () = redial.wait(&self.clock) => {}
                () = stop::asked(&mut stop) => return,
            }
        }
    }

    fn log(&self, error: &SessionError) {
        let refused = matches!(error, SessionError::Status(status) if status.code() == Code::FailedPrecondition);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        if refused {
            tracing::error!(%error, "the control plane refuses this node");
        } else {
            tracing::warn!(%error, cause, "the catalog stream has broken off; the node goes on with what it has");
        }
    }

    async fn session(&self, redial: &mut Redial) -> Result<(), SessionError> {
        let connection = self.dial.connect().await?;
        let mut client = NodeSessionServiceClient::new(connection)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (requests, outgoing) = mpsc::channel(16);
        // The first message waits in the stream before it is opened: it leaves without waiting for the server's headers.
        send(&requests, ToControlPlane::Hello(self.hello())).await?;
        let mut responses = client.sync_catalog(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut session = Session { control: self, requests, assembler: SnapshotAssembler::new(), mismatches: 0 };
        session.follow(&mut responses, redial).await
    }

    fn hello(&self) -> Hello {
        let catalog = self.catalog.borrow();
        Hello {
            node: self.identity.node.clone(),
            instance: self.identity.instance.clone(),
            product_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            epoch: catalog.epoch().to_owned(),
            revision: catalog.revision(),
            catalog_hash: catalog.hash().to_owned(),
            ingest_address: self.identity.ingest_address.clone(),
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        }
    }

    async fn heartbeat(&self) -> NodeHeartbeat {
        let now_ms = self.clock.now_ms();
        let loads = match self.spool.read(move |reader| reader.backlogs(now_ms)).await {
            Ok(backlogs) => backlogs.into_iter().map(load).collect(),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the backlogs could not be read");
                Vec::new()
            }
        };
        let draining = self.drain.has_begun();
        let catalog = self.catalog.borrow();
        NodeHeartbeat {
            epoch: catalog.epoch().to_owned(),
            revision: catalog.revision(),
            catalog_hash: catalog.hash().to_owned(),
            loads,
            draining,
            // Told twice rather than never.
            key_uses: self.keys.uses(self.clock.now_ms().saturating_sub(2 * millis(HEARTBEAT))),
        }
    }
}

fn load(backlog: Backlog) -> SyncLoad {
    let Backlog { key, pending, oldest_wait_ms } = backlog;
    let oldest_wait = oldest_wait_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis);
    SyncLoad {
        sync_uid: key.uid.to_string(),
        pending_count: pending,
        oldest_wait: oldest_wait.and_then(|wait| prost_types::Duration::try_from(wait).ok()),
    }
}

/// One stream.
struct Session<'a> {
    control: &'a Control,
    requests: mpsc::Sender<SyncCatalogRequest>,
    assembler: SnapshotAssembler,
    mismatches: u32,
}

impl Session<'_> {
    async fn follow(
        &mut self,
        responses: &mut Streaming<SyncCatalogResponse>,
        redial: &mut Redial,
    ) -> Result<(), SessionError> {
        let clock = &self.control.clock;
        let lifetime = clock.sleep(LIFETIME, "catalog stream lifetime");
        tokio::pin!(lifetime);
        let mut next_heartbeat = clock.now_ms();
        let mut silent_at = clock.now_ms() + millis(SILENCE);
        loop {
            tokio::select! {
                biased;
                response = responses.message() => {
                    let response = response?.ok_or(SessionError::Ended)?;
                    silent_at = clock.now_ms() + millis(SILENCE);
                    redial.reset();
                    if let Some(message) = response.message {
                        self.take(message).await?;
                    }
                }
                () = clock.sleep_until(next_heartbeat, "heartbeat") => {
                    next_heartbeat = clock.now_ms() + millis(HEARTBEAT);
                    send(&self.requests, ToControlPlane::Heartbeat(self.control.heartbeat().await)).await?;
                }
                () = clock.sleep_until(silent_at, "silence") => return Err(SessionError::Silent),
                () = &mut lifetime => return Ok(()),
            }
        }
    }

    async fn take(&mut self, message: FromControlPlane) -> Result<(), SessionError> {
        match message {
            FromControlPlane::Welcome(welcome) => {
                tracing::info!(
                    product_version = welcome.product_version,
                    epoch = welcome.epoch,
                    revision = welcome.revision,
                    "the control plane answers"
                );
                Ok(())
            }
            FromControlPlane::IngestKeys(keys) => {
                if let Err(error) = self.control.keys.replace(&keys) {
                    tracing::error!(%error, "the keys of producers could not be written down: they count until a restart");
                }
                Ok(())
            }
            FromControlPlane::Snapshot(chunk) => self.snapshot(chunk).await,
            FromControlPlane::Delta(delta) => self.delta(delta).await,
            FromControlPlane::Heartbeat(heartbeat) => {
                let same = {
                    let catalog = self.control.catalog.borrow();
                    catalog.epoch() == heartbeat.epoch
                        && catalog.revision() == heartbeat.revision
                        && catalog.hash() == heartbeat.catalog_hash
                };
                self.mismatches = if same { 0 } else { self.mismatches + 1 };
                if self.mismatches >= MISMATCHES {
                    self.mismatches = 0;
                    return self.ask("the heartbeats' epoch, revision or hash differs").await;
                }
                Ok(())
            }
        }
    }

    async fn snapshot(&mut self, chunk: SnapshotChunk) -> Result<(), SessionError> {
        let snapshot = match self.assembler.add(chunk) {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => return Ok(()),
            Err(error) => return self.ask(&error.to_string()).await,
        };
        let old = self.control.catalog.borrow().clone();
        let catalog = old.replace(&snapshot.epoch, snapshot.revision, snapshot.syncs, &self.control.rules);
        let change = CatalogChange {
            epoch: catalog.epoch().to_owned(),
            revision: catalog.revision(),
            replace: true,
            upserts: catalog.entries().map(|entry| self.sealed(entry)).collect::<Result<_, _>>()?,
            deletions: Vec::new(),
        };
        self.serve(catalog, change).await
    }

    async fn delta(&mut self, delta: Delta) -> Result<(), SessionError> {
        let old = self.control.catalog.borrow().clone();
        let (upserts, unknown_count) = syncs(delta.upserts);
        if unknown_count > 0 {
            tracing::warn!(unknown_count, "resources of an unknown kind were left out");
        }
        let changed: Vec<String> = upserts.iter().map(|sync| sync.uid.clone()).collect();
        let applied = old.apply(
            &delta.epoch,
            delta.from_revision,
            delta.revision,
            upserts,
            &delta.deletions,
            &self.control.rules,
        );
        let catalog = match applied {
            Ok(catalog) if catalog.hash() == delta.catalog_hash => catalog,
            Ok(_) => return self.ask("the hash after a delta differs").await,
            Err(error) => return self.ask(&error.to_string()).await,
        };
        let change = CatalogChange {
            epoch: delta.epoch,
            revision: delta.revision,
            replace: false,
            upserts: changed
                .iter()
                .filter_map(|uid| catalog.entry(uid))
                .map(|entry| self.sealed(entry))
                .collect::<Result<_, _>>()?,
            deletions: delta.deletions,
        };
        self.serve(catalog, change).await
    }

    /// As it is stored.
    fn sealed(&self, entry: &Entry) -> Result<(Sync, Option<Sync>), Unopenable> {
        let sealer = &self.control.sealer;
        Ok((seal(sealer, &entry.latest)?, entry.good.as_ref().map(|good| seal(sealer, good)).transpose()?))
    }

    /// Stores the catalog, then serves it, then says so.
    async fn serve(&mut self, catalog: Catalog, change: CatalogChange) -> Result<(), SessionError> {
        self.control.spool.save_catalog(change).await?;
        self.mismatches = 0;
        for refused in catalog.refused() {
            let why: Vec<String> =
                refused.violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
            tracing::warn!(uid = &*refused.uid, revision = refused.revision, ?why, "a sync is refused");
        }
        let ack = CatalogAck {
            epoch: catalog.epoch().to_owned(),
            revision: catalog.revision(),
            catalog_hash: catalog.hash().to_owned(),
            refused: catalog.refused().iter().map(Into::into).collect(),
        };
        tracing::info!(revision = ack.revision, syncs = catalog.uids().len(), "serving a new catalog");
        self.control.catalog.send_replace(Arc::new(catalog));
        send(&self.requests, ToControlPlane::Ack(ack)).await
    }

    async fn ask(&mut self, reason: &str) -> Result<(), SessionError> {
        tracing::warn!(reason, "asking for a snapshot");
        self.assembler = SnapshotAssembler::new();
        send(&self.requests, ToControlPlane::SnapshotRequest(SnapshotRequest { reason: reason.to_owned() })).await
    }
}

async fn send(requests: &mpsc::Sender<SyncCatalogRequest>, message: ToControlPlane) -> Result<(), SessionError> {
    requests.send(SyncCatalogRequest { message: Some(message) }).await.map_err(|_| SessionError::Ended)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
