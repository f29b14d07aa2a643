//! Channels and the generated clients over them.

use std::{sync::Arc, time::Duration};

use sluice_proto::{
    delivery::v1::delivery_service_client::DeliveryServiceClient, event::v1::event_service_client::EventServiceClient,
    node::v1::node_service_client::NodeServiceClient, sync::v1::sync_service_client::SyncServiceClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;

/// Largest message that the clients send or take: 16 MiB.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects to `address`, such as `http://127.0.0.1:7600`. Takes 5 s at most; a peer that falls silent later is noticed
/// within 15 s.
///
/// [`Error::InvalidAddress`] if it is not an `http` URL with a host, [`Error::Unreachable`] if nobody answers there.
pub async fn connect(address: &str) -> Result<Channel, Error> {
    endpoint(address)?
        .connect()
        .await
        .map_err(|source| Error::Unreachable { address: address.to_owned(), source: Arc::new(source) })
}

/// What [`connect`] dials, for those who connect in their own way.
///
/// [`Error::InvalidAddress`] if `address` is not an `http` URL with a host.
pub fn endpoint(address: &str) -> Result<Endpoint, Error> {
    let invalid = |reason: String| Error::InvalidAddress { address: address.to_owned(), reason };
    let uri: http::Uri = address.parse().map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some(scheme) => return Err(invalid(format!("the scheme `{scheme}` is not supported, only `http`"))),
        None => return Err(invalid("it has no scheme; write it like `http://127.0.0.1:7600`".to_owned())),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it has no host".to_owned()));
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true))
}

/// Manages syncs, on a control plane.
#[must_use]
pub fn sync_client(channel: Channel) -> SyncServiceClient<Channel> {
    SyncServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Follows deliveries, on a control plane.
#[must_use]
pub fn delivery_client(channel: Channel) -> DeliveryServiceClient<Channel> {
    DeliveryServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Shows the nodes, on a control plane.
#[must_use]
pub fn node_client(channel: Channel) -> NodeServiceClient<Channel> {
    NodeServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// Sends events, on a node. For many events use [`crate::Publisher`].
#[must_use]
pub fn event_client(channel: Channel) -> EventServiceClient<Channel> {
    EventServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_dialled_are_refused_with_the_reason() {
        for (address, part) in [
            ("127.0.0.1:7600", "scheme"),
            ("localhost", "scheme"),
            ("https://sluice.example", "`https`"),
            ("http://", ""),
            ("", ""),
        ] {
            let error = endpoint(address).unwrap_err();
            assert!(matches!(error, Error::InvalidAddress { .. }), "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(endpoint("http://127.0.0.1:7600").is_ok());
        assert!(endpoint("http://[::1]:7600/").is_ok());
    }
}
