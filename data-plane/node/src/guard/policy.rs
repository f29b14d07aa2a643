//! What may be reached: the operator's rules, and where Sluice itself listens.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use arc_swap::ArcSwap;
use sluice_pipeline::{
    address::is_this_host,
    sync::{Refusal, Rules},
};

use super::{GuardError, resolver::Resolver};

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
    /// What the host was last resolved to, for when it cannot be resolved.
    last: ArcSwap<Vec<IpAddr>>,
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

    /// Bars the way to the control plane, whatever addresses its host name has when a connection is made.
    #[must_use]
    pub fn barring_control_plane(mut self, host: &str, port: u16) -> Self {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        self.control_plane = Some(ControlPlane { host, port, last: ArcSwap::default() });
        self
    }

    /// Whether `http` URLs may be requested.
    #[must_use]
    pub fn allows_http(&self) -> bool {
        self.rules.allow_http
    }

    /// What counts for a connection to `port` that is made now.
    pub(super) async fn judge(&self, port: u16, resolver: &Resolver) -> Judge<'_> {
        let control_plane = match &self.control_plane {
            // Only a request to the same port can lead there.
            Some(control_plane) if control_plane.port == port => control_plane.addresses(resolver).await,
            _ => Arc::default(),
        };
        Judge { rules: &self.rules, port, control_plane }
    }
}

impl ControlPlane {
    async fn addresses(&self, resolver: &Resolver) -> Arc<Vec<IpAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Arc::new(vec![address.to_canonical()]);
        }
        match resolver.resolve(&self.host).await {
            Ok(found) => {
                let found: Arc<Vec<_>> = Arc::new(found.iter().map(IpAddr::to_canonical).collect());
                self.last.store(found.clone());
                found
            }
            Err(_) => self.last.load_full(),
        }
    }
}

/// Judges the addresses of one connection.
pub(super) struct Judge<'a> {
    rules: &'a Rules,
    port: u16,
    /// Addresses of the control plane, if it listens on the same port.
    control_plane: Arc<Vec<IpAddr>>,
}

impl Judge<'_> {
    /// Whether the connection may go to `address`.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), GuardError> {
        let ip = address.to_canonical();
        self.rules.check(address, self.port).map_err(|refusal| self.blocked(ip, refusal))?;
        let own_port = self.rules.own_ports.contains(&self.port) || self.control_plane.iter().any(is_here);
        if self.control_plane.contains(&ip) || (own_port && is_here(&ip)) {
            return Err(self.blocked(ip, Refusal::Own));
        }
        Ok(())
    }

    fn blocked(&self, address: IpAddr, refusal: Refusal) -> GuardError {
        GuardError::Blocked { address: SocketAddr::new(address, self.port), refusal }
    }
}

/// Whether `address` is one of this machine's: nothing else can be bound to.
fn is_here(address: &IpAddr) -> bool {
    is_this_host(*address) || UdpSocket::bind((*address, 0)).is_ok()
}
