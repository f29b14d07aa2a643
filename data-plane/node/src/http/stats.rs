//! What the client counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the client was made. None of them is exact at one instant: they are read one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Connections that were made, the TLS handshake included.
    pub opened: u64,
    /// Of these, connections that are closed.
    pub closed: u64,
    /// Requests that a connection was found for.
    pub requests: u64,
    /// Of these, requests on a connection that had been used before.
    pub reused: u64,
    /// Bytes that were read from endpoints, after TLS.
    pub read_bytes: u64,
}

/// The counters behind [`ClientStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) reused: AtomicU64,
    pub(super) read_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> ClientStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClientStats {
            opened: read(&self.opened),
            closed: read(&self.closed),
            requests: read(&self.requests),
            reused: read(&self.reused),
            read_bytes: read(&self.read_bytes),
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
