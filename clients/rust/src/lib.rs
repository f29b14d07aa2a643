//! Clients for Sluice: publish events to a node, manage syncs and follow deliveries on the control plane.
//!
//! [`Publisher`] streams events and keeps them until the node has them on disk; [`sync_client`], [`delivery_client`],
//! [`node_client`] and [`event_client`] are the generated clients over a channel from [`connect()`].
//!
//! ```no_run
//! # async fn example() -> Result<(), sluice_client::Error> {
//! let publisher = sluice_client::Publisher::builder("http://127.0.0.1:7601").connect().await?;
//! publisher.send(r#"{"event_type":"signup","user_id":"u-1"}"#.into()).await?;
//! let summary = publisher.finish().await?;
//! assert_eq!(summary.acked, 1);
//! # Ok(()) }
//! ```

mod backoff;
mod connect;
mod credentials;
mod error;
mod publisher;
mod window;
mod worker;

pub use crate::{
    backoff::{Backoff, InvalidBackoff},
    connect::{
        MAX_MESSAGE_BYTES, access_client, alert_client, audit_client, connect, delivery_client, event_client,
        node_client, project_client, sync_client,
    },
    credentials::{Connection, Credentials},
    error::Error,
    publisher::{Builder, Progress, Publisher, Summary},
    window::{MAX_EVENT_BYTES, Rejected},
};
pub use sluice_proto as proto;
