//! Listening sockets, on loopback unless told otherwise.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::net::TcpListener;

/// Why a listener could not be had.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address can be reached from outside, and nobody said that this is wanted.
    #[error(
        "refusing to listen on {address}: without access control only loopback addresses are served; \
         give --insecure-open if everybody who can reach {address} may use it"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// Somebody else listens there.
    #[error("port {} of {} is in use: stop what listens there, or choose another with --listen", .address.port(), .address.ip())]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refused.
    #[error("cannot listen on {address}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Listens on `address` (port 0: any free one), which must be a loopback address if `loopback_only`.
///
/// # Errors
/// See [`ListenError`].
pub async fn bind(address: SocketAddr, loopback_only: bool) -> Result<TcpListener, ListenError> {
    if loopback_only && !address.ip().to_canonical().is_loopback() {
        return Err(ListenError::NotLoopback { address });
    }
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        _ => ListenError::Io { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap(), true).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, true).await.unwrap_err().to_string();
        assert!(error.contains(&format!("port {} of 127.0.0.1 is in use", address.port())), "{error}");
    }

    #[tokio::test]
    async fn other_addresses_need_a_word() {
        let error = bind("0.0.0.0:0".parse().unwrap(), true).await.unwrap_err().to_string();
        assert!(error.contains("--insecure-open"), "{error}");
        bind("0.0.0.0:0".parse().unwrap(), false).await.unwrap();
    }
}
