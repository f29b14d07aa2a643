//! Starts and stops a control plane.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use sluice_access::{Access, AccessMode, ApiKey, Gate, key::ApiKeyError};
use sluice_host::{
    data_folder::{DataFolder, DataFolderError},
    listen::{self, ListenError},
    sealing::{KEY_FILE, KeyError, SecretsKey},
    tls::{self, TlsError},
};
use sluice_proto::{
    FILE_DESCRIPTOR_SET,
    access::v1::{access_service_server::AccessServiceServer, project_service_server::ProjectServiceServer},
    alert::v1::alert_service_server::AlertServiceServer,
    audit::v1::audit_service_server::AuditServiceServer,
    delivery::v1::delivery_service_server::DeliveryServiceServer,
    node::v1::{node_service_server::NodeServiceServer, node_session_service_server::NodeSessionServiceServer},
    sync::v1::sync_service_server::SyncServiceServer,
};
use sluice_telemetry::{Registration, Telemetry, TelemetryError, rpc::RpcLayer};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::server::HealthReporter;

use crate::{
    Config, StoreError, alerts,
    api::{
        Context, alerts::Alerts, audit::AuditLog, catalog::NodeSessions, deliveries::Deliveries, keys::KeyList,
        nodes::NodeList, projects::Projects, syncs::Syncs,
    },
    auto_disable,
    commands::Commands,
    keys::{self, Keys},
    nodes::Nodes,
    publish::Publisher,
    retention,
    store::Store,
    telling::ControlPlaneSource,
    updates::Updates,
};

const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long open calls may take to end when the control plane stops.
const STOP: Duration = Duration::from_secs(5);
/// How long what there is to tell may take to leave when it stops.
const TELL: Duration = Duration::from_secs(3);
/// Many syncs are applied at once.
const MAX_APPLY_BYTES: usize = 32 << 20;
/// Nodes report in large batches.
const MAX_NODE_MESSAGE_BYTES: usize = 16 << 20;

/// Why a control plane could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// It cannot listen: the port is in use, or the address is not loopback.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data folder is not ours, or another process holds it.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The key for secrets at rest cannot be used.
    #[error(transparent)]
    SecretsKey(#[from] KeyError),
    /// The admin key cannot be used.
    #[error(transparent)]
    AdminKey(#[from] ApiKeyError),
    /// The listener's certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store in the data folder cannot be opened.
    #[error("the store in the data folder cannot be opened")]
    Store(#[from] StoreError),
    /// What it is to tell cannot be told.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The reflection service cannot be made.
    #[error("the reflection service cannot be made")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A control plane that runs in this process. Dropping it stops it without waiting; [`ControlPlane::stop`] waits.
pub struct ControlPlane {
    address: SocketAddr,
    stopping: DropGuard,
    tasks: TaskTracker,
    store: Store,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    telemetry: Telemetry,
    told: Registration,
    // Last, so that it is released after everything else has gone.
    folder: DataFolder,
}

/// Opens the store, listens and serves.
///
/// # Errors
/// See [`StartError`]; nothing runs then.
pub async fn start(config: Config) -> Result<ControlPlane, StartError> {
    let folder = DataFolder::open(&config.data_dir, "control-plane")?;
    let loopback_only = config.access == AccessMode::OPEN_ON_LOOPBACK;
    let listener = listen::bind(config.listen, loopback_only).await?;
    let address = listener.local_addr().map_err(|source| ListenError::Io { address: config.listen, source })?;
    let instance = uuid::Uuid::new_v4().simple().to_string();
    let telemetry =
        Telemetry::start(config.telemetry, "sluice-control-plane", env!("CARGO_PKG_VERSION"), &instance).await?;
    let publisher = Publisher::new(config.clock.clone());
    let key = match config.secrets_key {
        Some(key) => key,
        None => SecretsKey::of_folder(&folder)?,
    };
    let store = Store::open(folder.path(), &key, publisher.clone()).await?;

    let admin_key = match (config.access, config.admin_key) {
        (AccessMode::Open { .. }, _) => None,
        (AccessMode::Keys, Some(key)) => Some(key),
        (AccessMode::Keys, None) => Some(ApiKey::of_folder(&folder)?),
    };
    let keys = Keys::open(&store, admin_key.as_ref()).await?;
    let access = match admin_key {
        Some(_) => Access::Keys { keyring: keys.watch(), clock: config.clock.clone() },
        None => Access::Open,
    };

    let mut rules = config.rules;
    rules.own_ports.push(address.port());
    rules.own_addresses.push(address);
    let context = Context {
        store: store.clone(),
        updates: Updates::new(store.clone()),
        nodes: Nodes::default(),
        keys,
        commands: Commands::default(),
        publisher,
        clock: config.clock,
        rules: Arc::new(rules),
        max_syncs_per_project: config.max_syncs_per_project,
        audit_retention: config.audit_retention,
        report_retention: config.report_retention,
        stopping: CancellationToken::new(),
        streams: TaskTracker::new(),
    };
    let told = telemetry.register(Arc::new(ControlPlaneSource {
        telemetry: telemetry.clone(),
        nodes: context.nodes.clone(),
        publisher: context.publisher.clone(),
        clock: context.clock.clone(),
    }));
    let rpcs = RpcLayer::new(telemetry.clone(), |path| sluice_access::roles::allowed(path).is_some(), true);
    let stopping = context.stopping.clone();
    let tasks = context.streams.clone();
    tasks.spawn(retention::run(context.clone()));
    tasks.spawn(keys::run(context.clone()));
    tasks.spawn(auto_disable::run(context.clone()));
    tasks.spawn(alerts::run(context.clone()));

    let (health, health_service) = tonic_health::server::health_reporter();
    set_serving(&health).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Many clients, Python's among them, ask for the older version alone.
    let (reflection, older_reflection) = (reflection().build_v1()?, reflection().build_v1alpha()?);
    let sessions =
        NodeSessionServiceServer::new(NodeSessions(context.clone())).max_decoding_message_size(MAX_NODE_MESSAGE_BYTES);
    let router = Server::builder()
        .layer(rpcs)
        .layer(Gate::new(access))
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(older_reflection)
        .add_service(AccessServiceServer::new(KeyList(context.clone())))
        .add_service(ProjectServiceServer::new(Projects(context.clone())))
        .add_service(AlertServiceServer::new(Alerts(context.clone())))
        .add_service(AuditServiceServer::new(AuditLog(context.clone())))
        .add_service(SyncServiceServer::new(Syncs(context.clone())).max_decoding_message_size(MAX_APPLY_BYTES))
        .add_service(DeliveryServiceServer::new(Deliveries(context.clone())))
        .add_service(NodeServiceServer::new(NodeList(context)))
        .add_service(sessions);
    let stopped = stopping.clone().cancelled_owned();
    let server = match config.tls {
        Some(files) => {
            let incoming = tls::incoming(listener, files)?;
            tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped))
        }
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::spawn(router.serve_with_incoming_shutdown(incoming, stopped))
        }
    };
    tracing::info!(%address, data_dir = %folder.path().display(), "control plane started");
    Ok(ControlPlane { address, stopping: stopping.drop_guard(), tasks, store, server, telemetry, told, folder })
}

/// Seals the secrets of a control plane that does not run with another key: those who know the old one alone cannot open them any
/// longer, nor any copy that is made from now on.
///
/// # Errors
/// If the folder is in use or not a control plane's, or `old` is not the key that it was started with.
pub async fn rotate_secrets_key(data_dir: &Path, old: Option<SecretsKey>, new: &SecretsKey) -> Result<(), StartError> {
    let folder = DataFolder::open(data_dir, "control-plane")?;
    let Some(old) = old else {
        let old = SecretsKey::of_folder(&folder)?;
        Store::rotate_key(folder.path(), &old, new).await?;
        // A start without the new key must not find another one and stumble over it.
        let path = folder.path().join(KEY_FILE);
        return std::fs::remove_file(&path)
            .map_err(|source| KeyError::File { path: path.display().to_string(), source }.into());
    };
    Ok(Store::rotate_key(folder.path(), &old, new).await?)
}

async fn set_serving(health: &HealthReporter) {
    health.set_serving::<AccessServiceServer<KeyList>>().await;
    health.set_serving::<ProjectServiceServer<Projects>>().await;
    health.set_serving::<AlertServiceServer<Alerts>>().await;
    health.set_serving::<AuditServiceServer<AuditLog>>().await;
    health.set_serving::<SyncServiceServer<Syncs>>().await;
    health.set_serving::<DeliveryServiceServer<Deliveries>>().await;
    health.set_serving::<NodeServiceServer<NodeList>>().await;
    health.set_serving::<NodeSessionServiceServer<NodeSessions>>().await;
}

impl ControlPlane {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it tells.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Takes no more calls, ends streams, lets calls that are under way finish for some seconds and closes the store. The
    /// data folder is free afterwards.
    pub async fn stop(self) {
        let Self { stopping, tasks, store, mut server, telemetry, told, folder, .. } = self;
        drop(stopping);
        tasks.close();
        if tokio::time::timeout(STOP, &mut server).await.is_err() {
            tracing::warn!("calls are still under way: broken off");
            server.abort();
        }
        if tokio::time::timeout(STOP, tasks.wait()).await.is_err() {
            tracing::warn!("streams are still open: broken off");
        }
        telemetry.stop(TELL).await;
        drop(told);
        store.close().await;
        drop(folder);
        tracing::info!("control plane stopped");
    }
}
