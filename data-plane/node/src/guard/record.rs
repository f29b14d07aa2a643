//! How a connection was made, and how often it was used.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::watch;

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
        Self { making: watch::Sender::new(making), requests: AtomicU64::new(0) }
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

    /// Counts a request. Gives how many were sent on this connection before.
    pub fn count_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
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
}
