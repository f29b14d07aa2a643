//! What the commands share: addresses, project, output, and clients made from them.

use std::time::Duration;

use sluice_client::proto::{
    delivery::v1::delivery_service_client::DeliveryServiceClient,
    name::{ProjectName, SyncName, is_valid_id},
    node::v1::node_service_client::NodeServiceClient,
    sync::v1::sync_service_client::SyncServiceClient,
};
use tonic::{Request, transport::Channel};

use crate::{
    cli::{Format, Global},
    exit::Failure,
};

/// For how long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What the commands share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) control_plane: String,
    pub(crate) node: String,
    pub(crate) format: Format,
    project: String,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let Global { control_plane, node, project, output } = global;
        Self { control_plane, node, format: output, project }
    }

    pub(crate) async fn syncs(&self) -> Result<SyncServiceClient<Channel>, Failure> {
        Ok(sluice_client::sync_client(self.connect().await?))
    }

    pub(crate) async fn deliveries(&self) -> Result<DeliveryServiceClient<Channel>, Failure> {
        Ok(sluice_client::delivery_client(self.connect().await?))
    }

    pub(crate) async fn nodes(&self) -> Result<NodeServiceClient<Channel>, Failure> {
        Ok(sluice_client::node_client(self.connect().await?))
    }

    /// `projects/{project}`.
    pub(crate) fn project(&self) -> Result<ProjectName, Failure> {
        let project = &self.project;
        let name = if project.contains('/') { project.clone() } else { format!("projects/{project}") };
        name.parse().map_err(|error| Failure::usage(format!("--project: {error}")))
    }

    /// The full name that `name` stands for: `orders` is `projects/default/syncs/orders`.
    pub(crate) fn sync_name(&self, name: &str) -> Result<SyncName, Failure> {
        if is_valid_id(name) {
            return Ok(SyncName { project: self.project()?.project, sync: name.to_owned() });
        }
        name.parse().map_err(|error| Failure::usage(format!("{error}; the id alone will do, such as `orders`")))
    }

    /// The same for a command that takes every sync when none is named.
    pub(crate) fn syncs_parent(&self, name: Option<&str>) -> Result<String, Failure> {
        match name {
            None | Some("-") => Ok(format!("{}/syncs/-", self.project()?)),
            Some(name) => Ok(self.sync_name(name)?.to_string()),
        }
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        sluice_client::connect(&self.control_plane).await.map_err(|error| {
            Failure::from(error)
                .hint("start one with `sluice dev`, or name yours with --control-plane or SLUICE_CONTROL_PLANE")
        })
    }
}

/// A call that ends in time.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}
