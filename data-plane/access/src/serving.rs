//! What a server must be told before it is open.

use thiserror::Error;

/// Who may call a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Everybody who reaches the port may do everything.
    Open {
        /// Whether the port may be on another address than loopback.
        any_address: bool,
    },
    /// Those with an API key.
    Keys,
}

impl AccessMode {
    /// Open, to this machine alone.
    pub const OPEN_ON_LOOPBACK: Self = Self::Open { any_address: false };

    /// Open on any address, or for those with a key.
    #[must_use]
    pub fn open(open: bool) -> Self {
        if open { Self::Open { any_address: true } } else { Self::Keys }
    }
}

/// A server would be open, and nobody said that this is wanted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "refusing to serve without TLS: give --tls-cert and --tls-key; or --insecure-plaintext where something else encrypts the \
     connections; or, for a try on one machine, use `sluice dev`"
)]
pub struct Insecure;

/// Whether a server may start: with TLS and keys, or when somebody has said that it need not. Who serves without keys
/// (`open`) has nothing left to encrypt them for.
///
/// # Errors
/// If not.
pub fn check_closed(has_tls: bool, plaintext: bool, open: bool) -> Result<(), Insecure> {
    if has_tls || plaintext || open { Ok(()) } else { Err(Insecure) }
}

/// Says in the log what is not closed.
pub fn warn_if_insecure(has_tls: bool, open: bool) {
    if open {
        tracing::warn!("serving without API keys: everybody who reaches the port may do everything (--insecure-open)");
    }
    if !has_tls {
        tracing::warn!("serving without TLS: keys, secrets and events travel in clear");
    }
}
