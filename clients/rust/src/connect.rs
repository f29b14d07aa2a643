//! Connections and the generated clients over them.

use sluice_proto::{
    access::v1::{access_service_client::AccessServiceClient, project_service_client::ProjectServiceClient},
    alert::v1::alert_service_client::AlertServiceClient,
    audit::v1::audit_service_client::AuditServiceClient,
    delivery::v1::delivery_service_client::DeliveryServiceClient,
    event::v1::event_service_client::EventServiceClient,
    node::v1::node_service_client::NodeServiceClient,
    sync::v1::sync_service_client::SyncServiceClient,
};

use crate::{
    credentials::{Connection, Credentials},
    error::Error,
};

/// Largest message that the clients send or take: 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Connects to `address` without showing anything: to a server that runs open, such as `sluice dev`. See
/// [`Credentials::connect`].
///
/// [`Error::InvalidAddress`] if it is not an `http` or `https` URL with a host, [`Error::Unreachable`] if nobody answers there.
pub async fn connect(address: &str) -> Result<Connection, Error> {
    Credentials::default().connect(address).await
}

/// Manages API keys, on a control plane.
#[must_use]
pub fn access_client(connection: Connection) -> AccessServiceClient<Connection> {
    AccessServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Manages projects, on a control plane.
#[must_use]
pub fn project_client(connection: Connection) -> ProjectServiceClient<Connection> {
    ProjectServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Manages alert rules, on a control plane.
#[must_use]
pub fn alert_client(connection: Connection) -> AlertServiceClient<Connection> {
    AlertServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Shows who changed what, on a control plane.
#[must_use]
pub fn audit_client(connection: Connection) -> AuditServiceClient<Connection> {
    AuditServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Manages syncs, on a control plane.
#[must_use]
pub fn sync_client(connection: Connection) -> SyncServiceClient<Connection> {
    SyncServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Follows deliveries, on a control plane.
#[must_use]
pub fn delivery_client(connection: Connection) -> DeliveryServiceClient<Connection> {
    DeliveryServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Shows the nodes, on a control plane.
#[must_use]
pub fn node_client(connection: Connection) -> NodeServiceClient<Connection> {
    NodeServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Sends events, on a node. For many events use [`crate::Publisher`].
#[must_use]
pub fn event_client(connection: Connection) -> EventServiceClient<Connection> {
    EventServiceClient::new(connection)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
