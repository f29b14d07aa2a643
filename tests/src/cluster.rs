//! Both planes in this process, over real sockets and files, with a clock that moves only when a test moves it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use sluice_client::Connection;
use sluice_control_plane::ControlPlane;
use sluice_host::clock::{Clock, ManualClock};
use sluice_node::{
    Node,
    config::Limits,
    spool::{SpoolLimits, store::Ledger},
};
use sluice_pipeline::sync::Rules;
use sluice_proto::{
    delivery::v1::{
        Attempt, AttemptFilter, DeadLetter, GetSyncMetricsRequest, Interval, ListAttemptsRequest, SyncMetrics,
        delivery_service_client::DeliveryServiceClient, get_sync_metrics_request::Period,
    },
    event::v1::{Event, SendEventsRequest, SendEventsResponse, event_service_client::EventServiceClient},
    sync::v1::{
        CreateSyncRequest, DeleteSyncRequest, DisableSyncRequest, EnableSyncRequest, GetSyncRequest, Sync,
        UpdateSyncRequest, sync_service_client::SyncServiceClient,
    },
};
use sluice_telemetry::TelemetryConfig;
use tempfile::TempDir;

use crate::{endpoint::PATIENCE, ledger};

/// 2026-01-01T00:00:00Z, when every cluster starts.
pub const START_MS: i64 = 1_767_225_600_000;

/// What tests allow: http, and addresses of this machine.
#[must_use]
pub fn rules() -> Rules {
    Rules { allow_http: true, allow_private_destinations: true, ..Rules::default() }
}

/// A control plane and a node.
pub struct Cluster {
    folder: TempDir,
    clock: Clock,
    /// Moves the time.
    pub time: ManualClock,
    control_plane: Option<ControlPlane>,
    control_address: SocketAddr,
    node: Option<Node>,
    ca_file: Option<PathBuf>,
    limits: Limits,
    spool: SpoolLimits,
    telemetry: TelemetryConfig,
}

impl Cluster {
    /// Starts both; the node serves an empty catalog.
    pub async fn start() -> Self {
        Self::start_with(None, Limits::default(), SpoolLimits::default()).await
    }

    /// The same with a node whose spool holds no more than this.
    pub async fn start_bounded(spool: SpoolLimits) -> Self {
        Self::start_with(None, Limits::default(), spool).await
    }

    /// The same with a node that may use no more than this.
    pub async fn start_limited(limits: Limits) -> Self {
        Self::start_with(None, limits, SpoolLimits::default()).await
    }

    /// The same with a node that trusts the CA in this file.
    pub async fn start_trusting(ca_file: Option<&Path>) -> Self {
        Self::start_with(ca_file, Limits::default(), SpoolLimits::default()).await
    }

    /// The same with both planes telling what `telemetry` says.
    pub async fn start_telling(telemetry: TelemetryConfig) -> Self {
        Self::start_all(None, Limits::default(), SpoolLimits::default(), telemetry).await
    }

    async fn start_with(ca_file: Option<&Path>, limits: Limits, spool: SpoolLimits) -> Self {
        Self::start_all(ca_file, limits, spool, TelemetryConfig::default()).await
    }

    async fn start_all(ca_file: Option<&Path>, limits: Limits, spool: SpoolLimits, telemetry: TelemetryConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, time) = Clock::manual(START_MS);
        let mut cluster = Self {
            folder,
            clock,
            time,
            control_plane: None,
            control_address: "127.0.0.1:0".parse().unwrap(),
            node: None,
            ca_file: ca_file.map(Path::to_owned),
            limits,
            spool,
            telemetry,
        };
        cluster.start_control_plane().await;
        cluster.start_node().await;
        cluster.serving().await;
        cluster
    }

    /// Starts the control plane, at the address that it had before.
    pub async fn start_control_plane(&mut self) {
        let config = sluice_control_plane::Config {
            listen: self.control_address,
            telemetry: self.telemetry.clone(),
            ..sluice_control_plane::Config::on_loopback(
                self.folder.path().join("control-plane"),
                rules(),
                self.clock.clone(),
            )
        };
        let control_plane = sluice_control_plane::start(config).await.unwrap();
        self.control_address = control_plane.address();
        self.control_plane = Some(control_plane);
    }

    /// Stops the control plane; its store stays.
    pub async fn stop_control_plane(&mut self) {
        self.control_plane.take().unwrap().stop().await;
    }

    /// Starts the node.
    pub async fn start_node(&mut self) {
        let data_dir = self.folder.path().join("node");
        let config = sluice_node::Config {
            extra_roots_pem: self.ca_file.clone(),
            limits: self.limits.clone(),
            spool: self.spool.clone(),
            telemetry: self.telemetry.clone(),
            ..sluice_node::Config::on_loopback("n1", self.control_address, data_dir, rules(), self.clock.clone())
        };
        self.node = Some(sluice_node::start(config).await.unwrap());
    }

    /// Stops the node, whose ledger adds up; its spool stays.
    pub async fn stop_node(&mut self) {
        self.ledger().await;
        self.node.take().unwrap().stop().await;
    }

    /// Waits until both planes have exported all that there is to tell now.
    pub async fn told(&self) {
        assert!(self.node().telemetry().flush(PATIENCE).await, "the node could not tell everything");
        let control_plane = self.control_plane.as_ref().unwrap();
        assert!(control_plane.telemetry().flush(PATIENCE).await, "the control plane could not tell everything");
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Where both planes keep their data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the node keeps its data.
    #[must_use]
    pub fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// Waits until the node serves some catalog.
    pub async fn serving(&self) {
        let mut catalog = self.node().catalog();
        let served = tokio::time::timeout(PATIENCE, catalog.wait_for(|catalog| !catalog.epoch().is_empty())).await;
        served.expect("the node got no catalog").unwrap();
    }

    /// Waits until the node serves at least this revision.
    pub async fn serving_revision(&self, revision: i64) {
        let mut catalog = self.node().catalog();
        let served = tokio::time::timeout(PATIENCE, catalog.wait_for(|catalog| catalog.revision() >= revision)).await;
        served.expect("the node did not get the revision").unwrap();
    }

    /// Manages syncs.
    pub async fn syncs(&self) -> SyncServiceClient<Connection> {
        sluice_client::sync_client(self.control_channel().await)
    }

    /// Follows deliveries.
    pub async fn deliveries(&self) -> DeliveryServiceClient<Connection> {
        sluice_client::delivery_client(self.control_channel().await)
    }

    /// Takes events.
    pub async fn events(&self) -> EventServiceClient<Connection> {
        sluice_client::event_client(sluice_client::connect(&self.node_url()).await.unwrap())
    }

    /// Where the node takes events.
    #[must_use]
    pub fn node_url(&self) -> String {
        format!("http://{}", self.node().address())
    }

    /// A channel to the control plane.
    pub async fn control_channel(&self) -> Connection {
        sluice_client::connect(&format!("http://{}", self.control_address)).await.unwrap()
    }

    /// Creates a sync and waits until the node serves it.
    pub async fn create(&self, id: &str, sync: Sync) -> Sync {
        let request = CreateSyncRequest {
            parent: "projects/default".to_owned(),
            sync_id: id.to_owned(),
            sync: Some(sync),
            validate_only: false,
            ..Default::default()
        };
        let created = self.syncs().await.create_sync(request).await.unwrap().into_inner();
        self.serving_revision(created.revision).await;
        created
    }

    /// Replaces all of a sync and waits until the node serves it.
    pub async fn update(&self, sync: Sync) -> Sync {
        let request =
            UpdateSyncRequest { sync: Some(sync), update_mask: None, validate_only: false, ..Default::default() };
        let updated = self.syncs().await.update_sync(request).await.unwrap().into_inner();
        self.serving_revision(updated.revision).await;
        updated
    }

    /// Reads a sync.
    pub async fn get(&self, id: &str) -> Sync {
        self.syncs().await.get_sync(GetSyncRequest { name: sync_name(id) }).await.unwrap().into_inner()
    }

    /// Disables a sync and waits until the node knows.
    pub async fn disable(&self, id: &str) {
        let request = DisableSyncRequest { name: sync_name(id), etag: String::new(), ..Default::default() };
        let sync = self.syncs().await.disable_sync(request).await.unwrap().into_inner();
        self.serving_revision(sync.revision).await;
    }

    /// Enables a sync and waits until the node knows.
    pub async fn enable(&self, id: &str) {
        let request = EnableSyncRequest { name: sync_name(id), etag: String::new(), ..Default::default() };
        let sync = self.syncs().await.enable_sync(request).await.unwrap().into_inner();
        self.serving_revision(sync.revision).await;
    }

    /// Deletes a sync.
    pub async fn delete(&self, id: &str) {
        let request = DeleteSyncRequest { name: sync_name(id), etag: String::new(), ..Default::default() };
        self.syncs().await.delete_sync(request).await.unwrap();
    }

    /// Sends events in one call of its own.
    pub async fn send(&self, events: impl IntoIterator<Item = bytes::Bytes>) -> SendEventsResponse {
        let events = events.into_iter().map(|json| Event { json, ..Event::default() }).collect();
        let request = SendEventsRequest { events, ..SendEventsRequest::default() };
        self.events().await.send_events(request).await.unwrap().into_inner()
    }

    /// All attempts that the control plane has stored for a sync, the oldest first.
    pub async fn attempts(&self, id: &str) -> Vec<Attempt> {
        self.attempts_where(id, AttemptFilter::default()).await
    }

    /// Those that fit a filter.
    pub async fn attempts_where(&self, id: &str, filter: AttemptFilter) -> Vec<Attempt> {
        let mut client = self.deliveries().await;
        let (mut attempts, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = ListAttemptsRequest {
                parent: sync_name(id),
                filter: Some(filter.clone()),
                page_size: 1_000,
                page_token,
            };
            let page = client.list_attempts(request).await.unwrap().into_inner();
            attempts.extend(page.attempts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                attempts.reverse();
                return attempts;
            }
        }
    }

    /// Waits until the control plane has stored `count` attempts of a sync; gives them, the oldest first.
    pub async fn wait_for_attempts(&self, id: &str, count: usize) -> Vec<Attempt> {
        eventually(&format!("{count} attempts of {id} are stored"), async || {
            let attempts = self.attempts(id).await;
            (attempts.len() >= count).then_some(attempts)
        })
        .await
    }

    /// Waits for what needs a stream between the planes: a node that has lost one, since much time passed at once, waits before it
    /// dials again, by the clock, which this moves.
    pub async fn redialling<T>(&self, what: impl Future<Output = T>) -> T {
        let redial = async {
            loop {
                self.time.advance_to_next("redial").await;
            }
        };
        tokio::select! {
            done = what => done,
            () = redial => unreachable!("it goes on for ever"),
        }
    }

    /// The dead letters of a sync.
    pub async fn dead_letters(&self, id: &str) -> Vec<DeadLetter> {
        let control = format!("http://{}", self.control_address);
        let told = eventually("the nodes tell their dead letters", async || ledger::dead_letters(&control, id).await);
        self.redialling(told).await
    }

    /// Moves the clock to when the node wants to look at its lanes again, once no round is under way; gives that time.
    pub async fn next_round(&self) -> i64 {
        eventually("the rounds under way end", async || {
            self.time.next("next round").await;
            (self.node().figures().under_way() == 0).then_some(())
        })
        .await;
        self.time.advance_to_next("next round").await
    }

    /// A sync's figures from the start of the cluster to far beyond its end.
    pub async fn metrics(&self, id: &str) -> SyncMetrics {
        let at = |seconds| Some(prost_timestamp(seconds));
        let interval = Interval {
            start_time_inclusive: at(START_MS / 1_000),
            end_time_exclusive: at(START_MS / 1_000 + 13 * 86_400),
        };
        let request = GetSyncMetricsRequest { name: sync_name(id), period: Some(Period::Interval(interval)) };
        self.deliveries().await.get_sync_metrics(request).await.unwrap().into_inner()
    }

    /// Waits until nothing is open on the node; gives the ledger, which adds up.
    pub async fn settled(&self) -> Ledger {
        eventually("every delivery has ended", async || {
            let ledger = self.ledger().await;
            ledger.deliveries.iter().all(|(_, counts)| counts.pending == 0).then_some(ledger)
        })
        .await
    }

    /// The node's ledger, which adds up at any moment.
    pub async fn ledger(&self) -> Ledger {
        let ledger = self.node().ledger().await.unwrap();
        ledger::check(&ledger);
        ledger
    }
}

/// At the end of every test the ledger adds up, whatever is still open.
impl Drop for Cluster {
    fn drop(&mut self) {
        // A failed test has said what is wrong already.
        if let Some(node) = self.node.take().filter(|_| !std::thread::panicking()) {
            let handle = tokio::runtime::Handle::current();
            // The test's own threads are busy with this drop: another one asks.
            let asking = std::thread::spawn(move || handle.block_on(node.ledger()));
            ledger::check(&asking.join().unwrap().unwrap());
        }
    }
}

/// Full name of a sync of the default project.
#[must_use]
pub fn sync_name(id: &str) -> String {
    format!("projects/default/syncs/{id}")
}

/// Asks until there is an answer, giving way to the rest of the process in between; gives up after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let answer = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    });
    answer.await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

fn prost_timestamp(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}
