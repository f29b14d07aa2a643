//! How a connection was made, and how often it was used.

use std::{
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

/// What a peer may send for each request, in bytes: a head and as much of a body as is read, with what was under way when the
/// reading stopped and the frames around it. Beyond that it floods.
pub const BYTES_PER_REQUEST: u64 = 256 << 10;

/// What is not used of that by a connection's responses adds up to at most so much.
const MAX_ALLOWANCE: u64 = 16 << 20;

/// What a connection has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host name is being resolved, or nothing has begun.
    Resolving,
    /// TCP connections are being tried.
    Connecting,
    /// The TCP connection stands; the TLS handshake goes on, if there is one.
    Handshake,
    /// Requests can be sent.
    Made,
}

/// How long the phases took. `None`: it was not reached, or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimes {
    /// Resolving the host name.
    pub dns: Option<Duration>,
    /// The TCP handshake.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
}

/// The record of one connection, written while it is made. Instants are those of the node's clock since its start.
#[derive(Debug)]
pub struct ConnectionRecord {
    making: watch::Sender<Making>,
    requests: AtomicU64,
    /// Bytes that the peer may still send.
    allowance: AtomicU64,
    peer: OnceLock<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Making {
    phase: Phase,
    since: Option<Duration>,
    times: PhaseTimes,
}

impl Default for ConnectionRecord {
    fn default() -> Self {
        let making = Making { phase: Phase::Resolving, since: None, times: PhaseTimes::default() };
        Self {
            making: watch::Sender::new(making),
            requests: AtomicU64::new(0),
            allowance: AtomicU64::new(BYTES_PER_REQUEST),
            peer: OnceLock::new(),
        }
    }
}

impl ConnectionRecord {
    /// A phase begins at `now`; the one before has ended. `needed` is false for one that takes no time because there is
    /// nothing to do, such as resolving a literal address.
    pub fn enter(&self, phase: Phase, needed: bool, now: Duration) {
        self.making.send_modify(|making| {
            making.times = making.times_at(now);
            making.phase = phase;
            making.since = needed.then_some(now);
        });
    }

    /// Waits until the TCP connection stands.
    pub async fn connected(&self) {
        // The sender lives as long as this record.
        let _ = self.making.subscribe().wait_for(|making| making.phase == Phase::Handshake).await;
    }

    /// What it has come to.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.making.borrow().phase
    }

    /// How long its phases have taken; of the one that goes on at `now`, as much as has passed.
    #[must_use]
    pub fn times(&self, now: Duration) -> PhaseTimes {
        self.making.borrow().times_at(now)
    }

    /// Who is at the other end; none before there is a connection.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.get().copied()
    }

    /// Counts a request. Gives how many were sent on this connection before.
    pub fn count_request(&self) -> u64 {
        let more = |allowance: u64| Some(allowance.saturating_add(BYTES_PER_REQUEST).min(MAX_ALLOWANCE));
        let _ = self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}

impl ConnectionRecord {
    /// The connection stands.
    pub(super) fn reached(&self, peer: SocketAddr) {
        // It is one connection's record.
        let _ = self.peer.set(peer);
    }

    /// Whether the peer may send `bytes` more, which then count as sent.
    pub(super) fn may_send(&self, bytes: u64) -> bool {
        self.allowance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Making {
    fn times_at(&self, now: Duration) -> PhaseTimes {
        let taken = self.since.map(|since| now.saturating_sub(since));
        let mut times = self.times;
        match self.phase {
            Phase::Resolving => times.dns = taken,
            Phase::Connecting => times.connect = taken,
            Phase::Handshake => times.tls = taken,
            Phase::Made => {}
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn phases_that_were_not_needed_or_not_reached_take_no_time() {
        let record = ConnectionRecord::default();
        assert_eq!(record.times(at(9)), PhaseTimes::default());
        record.enter(Phase::Resolving, true, at(10));
        record.enter(Phase::Connecting, true, at(13));
        assert_eq!(record.times(at(20)), PhaseTimes { dns: Some(at(3)), connect: Some(at(7)), tls: None });
        record.enter(Phase::Handshake, false, at(21));
        record.enter(Phase::Made, false, at(30));
        assert_eq!(record.times(at(99)), PhaseTimes { dns: Some(at(3)), connect: Some(at(8)), tls: None });
    }

    #[test]
    fn requests_are_counted() {
        let record = ConnectionRecord::default();
        assert_eq!((record.count_request(), record.count_request()), (0, 1));
    }

    #[test]
    fn a_peer_may_send_so_much_for_each_request_and_no_more() {
        let record = ConnectionRecord::default();
        assert!(record.may_send(BYTES_PER_REQUEST) && !record.may_send(1), "before the first request");
        record.count_request();
        assert!(record.may_send(BYTES_PER_REQUEST - 1) && record.may_send(1) && !record.may_send(1));
        (0..1_000).for_each(|_| _ = record.count_request());
        assert!(record.may_send(MAX_ALLOWANCE) && !record.may_send(1), "what was not used adds up to a limit");
    }
}
