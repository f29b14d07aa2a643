//! What the commands share: addresses, project, output, and clients made from them.

use std::time::Duration;

use sluice_client::{
    Connection, Credentials,
    proto::{
        access::v1::{access_service_client::AccessServiceClient, project_service_client::ProjectServiceClient},
        alert::v1::alert_service_client::AlertServiceClient,
        audit::v1::audit_service_client::AuditServiceClient,
        delivery::v1::delivery_service_client::DeliveryServiceClient,
        name::{ProjectName, SyncName, is_valid_id},
        node::v1::node_service_client::NodeServiceClient,
        sync::v1::sync_service_client::SyncServiceClient,
    },
};
use tonic::Request;

use crate::{
    cli::{API_KEY_VARIABLE, Format, Global},
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
    /// What is shown to both.
    pub(crate) credentials: Credentials,
    project: String,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let credentials = credentials(&global);
        let Global { control_plane, node, project, output, .. } = global;
        Self { control_plane, node, format: output, credentials, project }
    }

    pub(crate) async fn access(&self) -> Result<AccessServiceClient<Connection>, Failure> {
        Ok(sluice_client::access_client(self.connect().await?))
    }

    pub(crate) async fn alerts(&self) -> Result<AlertServiceClient<Connection>, Failure> {
        Ok(sluice_client::alert_client(self.connect().await?))
    }

    pub(crate) async fn audit(&self) -> Result<AuditServiceClient<Connection>, Failure> {
        Ok(sluice_client::audit_client(self.connect().await?))
    }

    pub(crate) async fn projects(&self) -> Result<ProjectServiceClient<Connection>, Failure> {
        Ok(sluice_client::project_client(self.connect().await?))
    }

    pub(crate) async fn syncs(&self) -> Result<SyncServiceClient<Connection>, Failure> {
        Ok(sluice_client::sync_client(self.connect().await?))
    }

    pub(crate) async fn deliveries(&self) -> Result<DeliveryServiceClient<Connection>, Failure> {
        Ok(sluice_client::delivery_client(self.connect().await?))
    }

    pub(crate) async fn nodes(&self) -> Result<NodeServiceClient<Connection>, Failure> {
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

    async fn connect(&self) -> Result<Connection, Failure> {
        self.credentials.connect(&self.control_plane).await.map_err(|error| {
            Failure::from(error)
                .hint("start one with `sluice dev`, or name yours with --control-plane or SLUICE_CONTROL_PLANE")
        })
    }
}

fn credentials(global: &Global) -> Credentials {
    let mut credentials = Credentials::default().allow_plaintext(global.insecure_plaintext);
    if let Some(path) = &global.api_key_file {
        credentials = credentials.api_key_file(path);
    } else if let Some(text) = std::env::var(API_KEY_VARIABLE).ok().filter(|text| !text.is_empty()) {
        credentials = credentials.api_key(&text);
    }
    if let Some(path) = &global.tls_ca {
        credentials = credentials.ca_file(path);
    }
    if let (Some(cert), Some(key)) = (&global.tls_cert, &global.tls_key) {
        credentials = credentials.certificate(cert, key);
    }
    credentials
}

/// A call that ends in time.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}
