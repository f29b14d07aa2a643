//! Starts the parts of a node and stops them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::Either;
use sluice_access::{Access, AccessMode, Gate};
use sluice_host::{
    clock::Clock,
    data_folder::DataFolder,
    listen, open_files,
    sealing::{Sealer, SecretsKey},
    tls::{self, TlsFiles},
};
use sluice_pipeline::catalog::Catalog;
use sluice_proto::{
    FILE_DESCRIPTOR_SET,
    event::v1::event_service_server::EventServiceServer,
    name::{NodeName, is_valid_id},
};
use sluice_telemetry::{KeyValue, Registration, Telemetry, TelemetryConfig, instruments, rpc::RpcLayer};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tonic::{
    server::NamedService as _,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    Config, StartError,
    attempt::Courier,
    commands::Commands,
    control::{self, Control, Identity},
    dial::Dial,
    dispatcher::{Dispatcher, Figures},
    drain::Drain,
    guard::Policy,
    http::{ClientStats, WebhookClient},
    ingest::{self, Budget, Ingest, IngestLoad, MAX_MESSAGE_BYTES, Metered},
    keys::ProducerKeys,
    lanes::Places,
    renders::Renders,
    report::Reporter,
    spool::{
        self, Spool, SqliteFactory,
        store::{Ledger, Stats, StoreError},
    },
    stop,
    telemetry::{Meters, NodeSource},
    uplink::Uplink,
};

/// HTTP/2 pings find peers that have silently gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Renderings of templates that take long which run at the same time: the other cores are for everything else.
const RENDERS_AT_ONCE: usize = 1;

/// How long requests in flight may go on at a stop, unless something else is said.
pub const STOP_GRACE: Duration = Duration::from_secs(15);

/// How long producers' streams may go on at a stop, at most.
const STREAMS_GRACE: Duration = Duration::from_secs(5);

/// How long what there is to tell may take to leave at a stop.
const TELL_GRACE: Duration = Duration::from_secs(3);

/// A running node. Dropping it stops nothing: use [`Node::stop`].
pub struct Node {
    name: String,
    address: SocketAddr,
    spool: Spool,
    catalog: watch::Receiver<Arc<Catalog>>,
    drain: Drain,
    ingest_budget: Budget,
    client: WebhookClient,
    figures: Arc<Figures>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
    telemetry: Telemetry,
    _told: Registration,
    _data: Arc<DataFolder>,
}

/// Starts a node: opens its folder, listens, and takes events as soon as it has a catalog.
///
/// # Errors
/// See [`StartError`]; nothing is left running.
pub async fn start(config: Config) -> Result<Node, StartError> {
    let dial = Dial::new(&config.control_plane, config.credentials)?;
    let data = Arc::new(DataFolder::open(&config.data_dir, "node")?);
    let id = node_id(&config.name, &data)?;
    let listener = listen::bind(config.listen, config.access == AccessMode::OPEN_ON_LOOPBACK).await?;
    let address = local_address(&listener)?;
    let name = NodeName { node: id }.to_string();
    let instance = uuid::Uuid::new_v4().simple().to_string();

    let policy =
        Policy::new(config.rules.clone()).barring_listener(address).barring_control_plane(dial.host(), dial.port());
    let extra_roots = config.extra_roots_pem.as_deref();
    let client = WebhookClient::new(policy, config.resolver, extra_roots, config.clock.clone())?;
    let reporter = Reporter::new(&name, &instance);
    let telemetry = tell(config.telemetry, &name, &instance).await?;
    let started = spool::start_measured(
        &SqliteFactory::new(data.path(), reporter.clone(), config.spool).with_clock(config.clock.clone()),
        config.clock.clone(),
        spool::Durations {
            commits: telemetry.recorder(&instruments::SPOOL_COMMIT_DURATION, &[]),
            syncs: telemetry.recorder(&instruments::SPOOL_SYNC_DURATION, &[]),
        },
    )?;
    let spool = started.spool;
    let lanes = spool.read(|reader| reader.lanes()).await?;
    let sealer = Sealer::new(match config.secrets_key {
        Some(key) => key,
        None => SecretsKey::of_folder(&data)?,
    });
    let stored = control::stored_catalog(&spool, &config.rules, &sealer).await.unwrap_or_else(|error| {
        // A damaged copy is no catalog: the control plane sends another, and until then nothing is delivered wrongly.
        tracing::error!(error = &error as &dyn std::error::Error, "the stored catalog cannot be used");
        Catalog::empty()
    });
    let (catalog_sender, catalog) = watch::channel(Arc::new(stored));
    let (stop, stopped) = watch::channel(false);

    let meters = Arc::new(Meters::new(telemetry.clone()));
    let courier = Arc::new(Courier {
        client: client.clone(),
        reporter,
        spool: spool.clone(),
        clock: config.clock.clone(),
        stop: stopped.clone(),
        renders: Renders::start(RENDERS_AT_ONCE),
        meters: meters.clone(),
    });
    let limits = config.limits.within(open_files::raise_limit());
    let places = Places::new(limits.max_concurrency_per_host, limits.max_concurrency);
    let dispatcher = Dispatcher::new(courier, catalog.clone(), lanes, places);
    let figures = dispatcher.figures();
    let dispatcher = tokio::spawn(dispatcher.run(started.notices, stopped.clone()));
    let (health, health_service) = tonic_health::server::health_reporter();
    let drain = Drain::default();
    let keys = ProducerKeys::open(data.clone());
    let access = match config.access {
        AccessMode::Open { .. } => Access::Open,
        AccessMode::Keys => Access::Keys { keyring: keys.watch(), clock: config.clock.clone() },
    };
    let ingest = Ingest::new(
        &name,
        spool.clone(),
        catalog.clone(),
        keys.watch(),
        config.clock.clone(),
        stopped.clone(),
        drain.clone(),
    )
    .told_to(telemetry.clone());
    let ingest_budget = Budget::new(ingest::BUDGET_BYTES);
    let source = NodeSource {
        meters,
        spool: spool.clone(),
        catalog: catalog.clone(),
        figures: figures.clone(),
        client: client.clone(),
        budget: ingest_budget.clone(),
        drain: drain.clone(),
        clock: config.clock.clone(),
    };
    let told = telemetry.register(Arc::new(source));
    // Events have spans of their own.
    let rpcs = RpcLayer::new(telemetry.clone(), |path| sluice_access::roles::allowed(path).is_some(), false);
    let gate = (rpcs, Gate::new(access));
    let server = serve((listener, config.tls), gate, ingest, ingest_budget.clone(), health_service, stopped.clone())?;
    let identity = Identity { node: name.clone(), instance, ingest_address: address.to_string() };
    let commands = Commands {
        dial: dial.clone(),
        identity: identity.clone(),
        spool: spool.clone(),
        catalog: catalog.clone(),
        drain: drain.clone(),
        client: client.clone(),
        rules: config.rules.clone(),
        clock: config.clock.clone(),
    };
    let control = Control {
        dial: dial.clone(),
        identity,
        rules: config.rules,
        spool: spool.clone(),
        sealer,
        keys,
        catalog: catalog_sender,
        drain: drain.clone(),
        figures: figures.clone(),
        clock: config.clock.clone(),
    };
    let clock = config.clock.clone();
    let uplink = Uplink { dial, node: name.clone(), spool: spool.clone(), clock: config.clock };
    let tasks = vec![
        tokio::spawn(control.run(stopped.clone())),
        tokio::spawn(commands.run(stopped.clone())),
        tokio::spawn(uplink.run(stopped.clone())),
        tokio::spawn(watch_clock(clock, stopped.clone())),
        tokio::spawn(report_health(health, catalog.clone(), drain.watch(), stopped)),
    ];
    tracing::info!(name, %address, "the node runs");
    Ok(Node {
        name,
        address,
        spool,
        catalog,
        drain,
        ingest_budget,
        client,
        figures,
        stop,
        server,
        dispatcher,
        tasks,
        telemetry,
        _told: told,
        _data: data,
    })
}

impl Node {
    /// Resource name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it takes events.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The catalog that it serves, as it changes.
    #[must_use]
    pub fn catalog(&self) -> watch::Receiver<Arc<Catalog>> {
        self.catalog.clone()
    }

    /// What the spool has counted.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub async fn ledger(&self) -> Result<Ledger, StoreError> {
        self.spool.read(|reader| reader.ledger()).await
    }

    /// What the spool holds.
    ///
    /// # Errors
    /// If the spool cannot be read.
    pub async fn spool_stats(&self) -> Result<Stats, StoreError> {
        self.spool.read(|reader| reader.stats()).await
    }

    /// What its connections to endpoints have come to.
    #[must_use]
    pub fn client_stats(&self) -> ClientStats {
        self.client.stats()
    }

    /// What producers take of it now.
    #[must_use]
    pub fn ingest_load(&self) -> IngestLoad {
        IngestLoad { held_bytes: self.ingest_budget.in_use(), calls: self.drain.sender_count() }
    }

    /// What it tells.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What its lanes have in hand.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Takes no more events from now on: producers are told to go elsewhere. What it holds is delivered.
    pub fn drain(&self) {
        self.drain.begin();
    }

    /// [`Node::stop_within`] the usual grace, [`STOP_GRACE`].
    pub async fn stop(self) {
        self.stop_within(STOP_GRACE).await;
    }

    /// Takes nothing new, lets requests in flight finish for as long as `grace`, and stops. What is open stays on disk; so do
    /// requests that are cut off: their deliveries are made again, with the same `webhook-id`.
    pub async fn stop_within(self, grace: Duration) {
        self.stop.send_replace(true);
        let (mut server, mut dispatcher) = (self.server, self.dispatcher);
        let streams = async {
            if tokio::time::timeout(grace.min(STREAMS_GRACE), &mut server).await.is_err() {
                server.abort();
            }
        };
        let requests = async {
            if tokio::time::timeout(grace, &mut dispatcher).await.is_err() {
                tracing::warn!("requests were cut off by the stop; their deliveries will be made again");
                dispatcher.abort();
                // Waited for, so that none of them goes on beside what follows.
                let _ = dispatcher.await;
            }
        };
        tokio::join!(streams, requests);
        for task in self.tasks {
            let _ = task.await;
        }
        // The last handle: what was sent to the writer before is on disk when this returns.
        self.spool.finish().await;
        self.telemetry.stop(TELL_GRACE).await;
        tracing::info!(name = self.name, "the node has stopped");
    }
}

fn serve(
    (listener, tls): (TcpListener, Option<TlsFiles>),
    (rpcs, gate): (RpcLayer, Gate),
    ingest: Ingest,
    budget: Budget,
    health: impl tower::Service<
        ::http::Request<tonic::body::Body>,
        Response = ::http::Response<tonic::body::Body>,
        Error = std::convert::Infallible,
        Future: Send,
    > + tonic::server::NamedService
    + Clone
    + Send
    + Sync
    + 'static,
    stopped: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, StartError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: tonic_reflection::server::Error| StartError::Server(error.into());
    // Many clients, Python's among them, ask for the older version alone.
    let older_reflection = reflection().build_v1alpha().map_err(failed)?;
    let reflection = reflection().build_v1().map_err(failed)?;
    let events = EventServiceServer::new(ingest)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let router = Server::builder()
        .layer(rpcs)
        .layer(gate)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(ingest::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(ingest::CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(ingest::MAX_STREAMS_PER_CONNECTION)
        .add_service(Metered::new(events, budget))
        .add_service(health)
        .add_service(reflection)
        .add_service(older_reflection);
    let incoming = match tls {
        Some(files) => Either::Left(tls::incoming(listener, files)?),
        None => Either::Right(TcpIncoming::from(listener).with_nodelay(Some(true))),
    };
    Ok(tokio::spawn(async move {
        let mut stop = stopped;
        let stopped = async move {
            stop::asked(&mut stop).await;
        };
        let served = match incoming {
            Either::Left(incoming) => router.serve_with_incoming_shutdown(incoming, stopped).await,
            Either::Right(incoming) => router.serve_with_incoming_shutdown(incoming, stopped).await,
        };
        if let Err(error) = served {
            tracing::error!(error = &error as &dyn std::error::Error, "the gRPC server has failed");
        }
    }))
}

/// SERVING while the node has a catalog, and neither drains nor stops: the event service, and the node as a whole (the empty name).
async fn report_health(
    health: HealthReporter,
    mut catalog: watch::Receiver<Arc<Catalog>>,
    mut drain: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
) {
    let say = async |status: ServingStatus| {
        health.set_service_status(EventServiceServer::<Ingest>::NAME, status).await;
        health.set_service_status("", status).await;
    };
    say(ServingStatus::NotServing).await;
    tokio::select! {
        ready = catalog.wait_for(|catalog| !catalog.epoch().is_empty()) => if ready.is_err() { return },
        () = stop::asked(&mut drain) => return,
        () = stop::asked(&mut stopped) => return,
    }
    say(ServingStatus::Serving).await;
    tokio::select! {
        () = stop::asked(&mut drain) => {}
        () = stop::asked(&mut stopped) => {}
    }
    say(ServingStatus::NotServing).await;
}

/// What the node tells, in its own name.
async fn tell(mut config: TelemetryConfig, name: &str, instance: &str) -> Result<Telemetry, StartError> {
    config.resource.push(KeyValue::new(instruments::NODE, name.to_owned()));
    Ok(Telemetry::start(config, "sluice-node", env!("CARGO_PKG_VERSION"), instance).await?)
}

/// Notices jumps of the machine's clock until the node stops.
async fn watch_clock(clock: Clock, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = clock.watch_jumps() => {}
        () = stop::asked(&mut stopped) => {}
    }
}

/// The name that was given, or the one that the folder has kept, made at the first start.
fn node_id(given: &str, data: &DataFolder) -> Result<String, StartError> {
    if !given.is_empty() {
        return if is_valid_id(given) {
            Ok(given.to_owned())
        } else {
            Err(StartError::Name { name: given.to_owned() })
        };
    }
    let kept = std::fs::read_to_string(data.path().join("node-name")).unwrap_or_default();
    if is_valid_id(kept.trim()) {
        return Ok(kept.trim().to_owned());
    }
    let made = format!("node-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    data.write("node-name", made.as_bytes()).map_err(|error| StartError::Server(error.into()))?;
    Ok(made)
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|error| StartError::Server(error.into()))
}
