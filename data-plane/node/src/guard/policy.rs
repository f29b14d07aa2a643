//! What may be reached: the operator's rules, and where Sluice itself listens.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use arc_swap::ArcSwap;
use sluice_pipeline::{
    address::{ends, is_this_host},
    sync::{Refusal, Rules},
};

use super::{GuardError, resolver::Resolver};

/// So many addresses that the control plane has had are remembered.
const MAX_REMEMBERED: usize = 64;

/// What may be reached.
#[derive(Debug)]
pub struct Policy {
    rules: Rules,
    control_plane: Option<ControlPlane>,
}

#[derive(Debug)]
struct ControlPlane {
    host: String,
    port: u16,
    /// What the host was resolved to so far, the newest first: an answer may hold but some of its addresses, and there may be
    /// none next time.
    seen: ArcSwap<Vec<IpAddr>>,
}

impl Policy {
    /// Judges by `rules`.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, control_plane: None }
    }

    /// Bars the way to the node's own listener: through loopback and through every other address of this machine.
    #[must_use]
    pub fn barring_listener(mut self, address: SocketAddr) -> Self {
        self.rules.own_ports.push(address.port());
        self
    }

    /// Bars the way to the control plane: by its host name, and through the addresses that this has when a connection is made
    /// or was found to have before.
    #[must_use]
    pub fn barring_control_plane(mut self, host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        self.control_plane = Some(ControlPlane { host, port, seen: ArcSwap::default() });
        self
    }

    /// Whether `http` URLs may be requested.
    #[must_use]
    pub fn allows_http(&self) -> bool {
        self.rules.allow_http
    }

    /// What counts for a connection to `port` of `host` that is made now.
    pub(super) async fn judge(&self, host: &str, port: u16, resolver: &Resolver) -> Judge<'_> {
        let (by_name, control_plane) = match &self.control_plane {
            // Only a request to the same port can lead there.
            Some(control_plane) if control_plane.port == port => {
                (control_plane.is_named(host), control_plane.addresses(resolver).await)
            }
            _ => (false, Arc::default()),
        };
        Judge { rules: &self.rules, port, by_name, control_plane }
    }
}

impl ControlPlane {
    fn is_named(&self, host: &str) -> bool {
        let name = |host: &str| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        name(&self.host) == name(host)
    }

    async fn addresses(&self, resolver: &Resolver) -> Arc<Vec<IpAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Arc::new(vec![address.to_canonical()]);
        }
        if let Ok(found) = resolver.resolve(&self.host).await {
            let found: Vec<_> = found.iter().map(IpAddr::to_canonical).collect();
            self.seen.rcu(|seen| {
                let before = seen.iter().filter(|address| !found.contains(address));
                found.iter().chain(before).copied().take(MAX_REMEMBERED.max(found.len())).collect::<Vec<_>>()
            });
        }
        self.seen.load_full()
    }
}

/// Judges the addresses of one connection.
pub(super) struct Judge<'a> {
    rules: &'a Rules,
    port: u16,
    /// Whether the request names the control plane.
    by_name: bool,
    /// Addresses of the control plane, if it listens on the same port.
    control_plane: Arc<Vec<IpAddr>>,
}

impl Judge<'_> {
    /// Whether the connection may go to `address`.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), GuardError> {
        self.rules.check(address, self.port).map_err(|refusal| self.blocked(address, refusal))?;
        let own_port = self.rules.own_ports.contains(&self.port) || self.control_plane.iter().any(is_here);
        let is_own = |end: IpAddr| self.control_plane.contains(&end) || (own_port && is_here(&end));
        if self.by_name || ends(address).any(is_own) {
            return Err(self.blocked(address, Refusal::Own));
        }
        Ok(())
    }

    fn blocked(&self, address: IpAddr, refusal: Refusal) -> GuardError {
        GuardError::Blocked { address: SocketAddr::new(address.to_canonical(), self.port), refusal }
    }
}

/// Whether `address` is one of this machine's: nothing else can be bound to.
#[expect(clippy::disallowed_methods, reason = "the socket is never connected: it only tells whose the address is")]
fn is_here(address: &IpAddr) -> bool {
    is_this_host(*address) || UdpSocket::bind((*address, 0)).is_ok()
}
