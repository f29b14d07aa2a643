//! The real binaries, and a sink to deliver to.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use sluice_client::{connect, delivery_client};
use sluice_proto::{
    delivery::v1::{GetSyncMetricsRequest, MetricsWindow, get_sync_metrics_request::Period},
    sync::v1::Sync,
};
use sluice_tests::{
    cluster::sync_name,
    process::{Plane, Setup, asked_again},
    syncs,
};
use tempfile::TempDir;

use crate::sink::{Protocol, Sink};

/// What is on it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the sink speaks.
    pub protocol: Protocol,
    /// How many hosts it has.
    pub hosts: usize,
    /// For how long it lets requests hang that are to hang.
    pub hang: Duration,
    /// How many nodes there are.
    pub nodes: usize,
    /// What each gets beside its name.
    pub node: Setup,
    /// More arguments of the control plane.
    pub control_plane: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            protocol: Protocol::Http1,
            hosts: 1,
            hang: Duration::from_secs(10),
            nodes: 1,
            node: Setup::default(),
            control_plane: Vec::new(),
        }
    }
}

/// Both planes and a sink. Dropping it ends them.
pub struct Stage {
    plan: Plan,
    /// The control plane.
    pub control_plane: Plane,
    /// The nodes.
    pub nodes: Vec<Plane>,
    /// The sink.
    pub sink: Sink,
    folder: TempDir,
}

impl Stage {
    /// Starts everything, with data below `folder`.
    pub async fn start(folder: &Path, plan: Plan) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder that can be written to");
        let arguments = &plan.control_plane;
        let control_plane =
            Plane::control_plane_with(&folder.path().join("control-plane"), "127.0.0.1:0", arguments).await;
        let sink = Sink::start(plan.protocol, plan.hosts, plan.hang, &folder.path().join("ca.pem")).await;
        let mut stage = Self { plan, control_plane, nodes: Vec::new(), sink, folder };
        for number in 0..stage.plan.nodes {
            let node = stage.start_node(number).await;
            stage.nodes.push(node);
        }
        stage
    }

    /// Starts a node, on its folder of before if it had one.
    pub async fn start_node(&self, number: usize) -> Plane {
        let mut setup = self.plan.node.clone();
        setup.name = Some(format!("n{}", number + 1));
        if self.plan.protocol != Protocol::Http1 {
            setup.args.extend(["--ca-file".to_owned(), self.ca_file().to_string_lossy().into_owned()]);
        }
        Plane::node_with(&self.node_folder(number), "127.0.0.1:0", self.control_plane.address(), &setup)
            .await
            .expect("a node that starts")
    }

    /// The folder that holds all data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Folder of a node.
    #[must_use]
    pub fn node_folder(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}", number + 1))
    }

    /// Certificate of the authority that the sink's certificate is signed by.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Stores syncs, which become `s0`, `s1` and so on, and waits until every node serves them.
    pub async fn serve(&self, definitions: Vec<Sync>) {
        let named = |(number, sync)| Sync { name: sync_name(&format!("s{number}")), ..sync };
        let definitions: Vec<Sync> = definitions.into_iter().enumerate().map(named).collect();
        let last = definitions.last().expect("a sync").name.clone();
        syncs::apply(&self.control_plane.url(), definitions).await;
        let nodes = i32::try_from(self.nodes.len()).expect("a few nodes");
        syncs::served(&self.control_plane.url(), &last, nodes).await;
    }

    /// Where the nodes take events.
    #[must_use]
    pub fn node_urls(&self) -> Vec<String> {
        self.nodes.iter().map(Plane::url).collect()
    }

    /// Processes that are watched.
    #[must_use]
    pub fn processes(&self) -> Vec<(String, u32)> {
        let mut processes = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let name = if number == 0 { "node".to_owned() } else { format!("node {}", number + 1) };
            processes.push((name, node.id()));
        }
        processes.extend([("control plane".to_owned(), self.control_plane.id()), ("sink".to_owned(), self.sink.id())]);
        processes
    }

    /// Waits until the control plane has stored that `each` were delivered for each of these syncs, by their numbers. The nodes are not
    /// asked: that would cost them something.
    pub async fn reported(&self, syncs: impl IntoIterator<Item = u64>, each: u64) {
        let control_plane = self.control_plane.url();
        let mut client = delivery_client(connect(&control_plane).await.expect("a control plane"));
        for number in syncs {
            asked_again("reports are stored", async || {
                let request = GetSyncMetricsRequest {
                    name: sync_name(&format!("s{number}")),
                    period: Some(Period::Window(MetricsWindow::FourHours.into())),
                };
                let metrics = client.get_sync_metrics(request).await.expect("metrics").into_inner();
                (metrics.delivered_count.unsigned_abs() >= each).then_some(())
            })
            .await;
        }
    }
}

/// Builds the binaries that are measured, of the same source and profile as this program, if it was started by cargo.
pub fn build() {
    let Some(cargo) = std::env::var_os("CARGO") else { return };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "sluice-node", "--package", "sluice-control-plane", "--bins"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    assert!(command.status().is_ok_and(|status| status.success()), "the binaries cannot be built");
}
