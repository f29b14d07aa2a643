//! The catalog stream: dials the control plane, keeps the catalog up to date, stores it, and says what is served. Without a
//! control plane the node goes on with the copy on its disk.

use std::{sync::Arc, time::Duration};

use sluice_host::{
    clock::Clock,
    sealing::{Sealer, Unopenable},
};
use sluice_pipeline::{
    catalog::{Catalog, Entry, Position},
    pulse::{Beat, HEARTBEAT_MS, Pulse, SILENCE_MS},
    secret::change_secrets,
    subscription::{Built, Changed, Step, Subscription, Update},
    sync::{FEATURES, Rules},
};
use sluice_proto::{
    PROTOCOL_VERSION,
    node::v1::{
        Hello, NodeHeartbeat, SyncCatalogRequest, SyncCatalogResponse, SyncLoad,
        node_session_service_client::NodeSessionServiceClient, sync_catalog_request::Message as ToControlPlane,
        sync_catalog_response::Message as FromControlPlane,
    },
    sync::v1::Sync,
};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    dial::Dial,
    dispatcher::Figures,
    drain::Drain,
    keys::ProducerKeys,
    redial::Redial,
    spool::{
        AcceptError, Spool,
        store::{Backlog, CatalogChange, StoreError},
    },
    stop,
};

/// A stream lives so long at most, so that nodes spread over control planes again.
const LIFETIME_MS: i64 = 3_600_000;

/// Largest message: snapshots come in chunks well below it.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

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
    /// What the dispatcher has in hand.
    pub figures: Arc<Figures>,
    /// All time comes from it.
    pub clock: Clock,
}

#[derive(Debug, Error)]
enum SessionError {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("no connection")]
    Connect(#[from] sluice_client::Error),
    #[error("the control plane has said nothing for {} s", SILENCE_MS / 1_000)]
    Silent,
    #[error("the stream has ended")]
    Ended,
    #[error("the catalog could not be stored")]
    Store(#[from] AcceptError),
    #[error("a secret could not be sealed")]
    Sealing(#[from] Unopenable),
    #[error("the catalog could not be compiled")]
    Compile(#[from] tokio::task::JoinError),
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
        let mut subscription = Subscription::new(self.catalog.borrow().clone());
        loop {
            let session = self.session(&mut subscription, &mut redial);
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

    async fn session(&self, subscription: &mut Subscription, redial: &mut Redial) -> Result<(), SessionError> {
        let connection = self.dial.connect().await?;
        let mut client = NodeSessionServiceClient::new(connection)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (requests, outgoing) = mpsc::channel(16);
        // The first message waits in the stream before it is opened: it leaves without waiting for the server's headers.
        send(&requests, ToControlPlane::Hello(self.hello(subscription.connect()))).await?;
        let mut responses = client.sync_catalog(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut session = Session { control: self, requests, subscription };
        session.follow(&mut responses, redial).await
    }

    fn hello(&self, Position { epoch, revision, hash }: Position) -> Hello {
        Hello {
            node: self.identity.node.clone(),
            instance: self.identity.instance.clone(),
            product_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            epoch,
            revision,
            catalog_hash: hash,
            ingest_address: self.identity.ingest_address.clone(),
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
        }
    }

    async fn heartbeat(&self, Position { epoch, revision, hash }: Position) -> NodeHeartbeat {
        let now_ms = self.clock.now_ms();
        let read = self.spool.read(move |reader| Ok((reader.backlogs(now_ms)?, reader.file_bytes()?)));
        let (loads, spool_bytes) = match read.await {
            Ok((backlogs, bytes)) => (backlogs.into_iter().map(load).collect(), bytes),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the backlogs could not be read");
                Default::default()
            }
        };
        NodeHeartbeat {
            epoch,
            revision,
            catalog_hash: hash,
            loads,
            draining: self.drain.has_begun(),
            // Told twice rather than never.
            key_uses: self.keys.uses(now_ms.saturating_sub(2 * HEARTBEAT_MS)),
            in_flight_count: i64::try_from(self.figures.under_way()).unwrap_or(i64::MAX),
            spool_bytes: i64::try_from(spool_bytes).unwrap_or(i64::MAX),
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
    subscription: &'a mut Subscription,
}

impl Session<'_> {
    async fn follow(
        &mut self,
        responses: &mut Streaming<SyncCatalogResponse>,
        redial: &mut Redial,
    ) -> Result<(), SessionError> {
        let clock = &self.control.clock;
        let mut pulse = Pulse::new(clock.now_ms(), 0, LIFETIME_MS);
        loop {
            tokio::select! {
                biased;
                response = responses.message() => {
                    let response = response?.ok_or(SessionError::Ended)?;
                    pulse.heard(clock.now_ms());
                    redial.reset();
                    if let Some(message) = response.message {
                        self.take(message).await?;
                    }
                }
                () = clock.sleep_until(pulse.due_ms(), "heartbeat") => match pulse.beat(clock.now_ms()) {
                    Beat::Wait => {}
                    Beat::Heartbeat => {
                        let heartbeat = self.control.heartbeat(self.subscription.position()).await;
                        send(&self.requests, ToControlPlane::Heartbeat(heartbeat)).await?;
                    }
                    Beat::Silent => return Err(SessionError::Silent),
                    Beat::Over => return Ok(()),
                },
            }
        }
    }

    async fn take(&mut self, message: FromControlPlane) -> Result<(), SessionError> {
        match &message {
            FromControlPlane::Welcome(welcome) => tracing::info!(
                product_version = welcome.product_version,
                epoch = welcome.epoch,
                revision = welcome.revision,
                "the control plane answers"
            ),
            FromControlPlane::IngestKeys(keys) => {
                if let Err(error) = self.control.keys.replace(keys) {
                    tracing::error!(%error, "the keys of producers could not be written down: they count until a restart");
                }
            }
            _ => {}
        }
        match self.subscription.take(message) {
            Step::Nothing => Ok(()),
            Step::Ask(request) => {
                tracing::warn!(reason = request.reason, "asking for a snapshot");
                send(&self.requests, ToControlPlane::SnapshotRequest(request)).await
            }
            Step::Build(update) => self.build(*update).await,
        }
    }

    async fn build(&mut self, update: Update) -> Result<(), SessionError> {
        let rules = self.control.rules.clone();
        // Many syncs take long to compile: deliveries must not wait.
        match tokio::task::spawn_blocking(move || update.build(&rules)).await? {
            Ok(built) => self.serve(built).await,
            Err(error) => {
                let request = self.subscription.ask(&error.to_string());
                tracing::warn!(reason = request.reason, "asking for a snapshot");
                send(&self.requests, ToControlPlane::SnapshotRequest(request)).await
            }
        }
    }

    /// Stores the catalog, then serves it, then says so.
    async fn serve(&mut self, built: Built) -> Result<(), SessionError> {
        if built.unknown_count > 0 {
            tracing::warn!(built.unknown_count, "resources of an unknown kind were left out");
        }
        if built.is_unchecked() {
            tracing::warn!("the catalog's hash is of a kind that this version does not know: it is taken unchecked");
        }
        self.control.spool.save_catalog(self.change(&built)?).await?;
        let catalog = Arc::clone(&built.catalog);
        let ack = self.subscription.serve(built);
        for refused in catalog.refused() {
            let why: Vec<String> =
                refused.violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
            tracing::warn!(uid = &*refused.uid, revision = refused.revision, ?why, "a sync is refused");
        }
        tracing::info!(revision = ack.revision, syncs = catalog.uids().len(), "serving a new catalog");
        self.control.catalog.send_replace(catalog);
        send(&self.requests, ToControlPlane::Ack(ack)).await
    }

    /// What is to be written to disk.
    fn change(&self, built: &Built) -> Result<CatalogChange, Unopenable> {
        let catalog = &built.catalog;
        let (upserts, deletions) = match &built.changed {
            Changed::All => (catalog.entries().map(|entry| self.sealed(entry)).collect::<Result<_, _>>()?, Vec::new()),
            Changed::Some { upserts, deletions } => {
                let entries = upserts.iter().filter_map(|uid| catalog.entry(uid));
                (entries.map(|entry| self.sealed(entry)).collect::<Result<_, _>>()?, deletions.clone())
            }
        };
        Ok(CatalogChange {
            epoch: catalog.epoch().to_owned(),
            revision: catalog.revision(),
            replace: built.changed == Changed::All,
            upserts,
            deletions,
        })
    }

    /// As it is stored.
    fn sealed(&self, entry: &Entry) -> Result<(Sync, Option<Sync>), Unopenable> {
        let sealer = &self.control.sealer;
        Ok((seal(sealer, &entry.latest)?, entry.good.as_ref().map(|good| seal(sealer, good)).transpose()?))
    }
}

async fn send(requests: &mpsc::Sender<SyncCatalogRequest>, message: ToControlPlane) -> Result<(), SessionError> {
    requests.send(SyncCatalogRequest { message: Some(message) }).await.map_err(|_| SessionError::Ended)
}
