//! The address guard: the only way to a socket that leads to a customer. Addresses are judged when the connection is made:
//! literals before, names after DNS, and the peer once more when connected.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use sluice_pipeline::{address::is_this_host, sync::Rules};
use thiserror::Error;
use tokio::net::TcpStream;
use tower::Service;

/// Limit on the TCP handshake, all addresses of a name together; the exchange has its own limit beside it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address may not be reached.
#[derive(Debug, Error)]
#[error("the address {address} is not public, or belongs to Sluice itself: webhooks may not go there")]
pub struct BlockedAddress {
    /// Which one.
    pub address: IpAddr,
}

/// The URL's scheme is not allowed.
#[derive(Debug, Error)]
#[error("plain http is not allowed: use an https URL")]
pub struct BlockedScheme;

/// The host name has no address.
#[derive(Debug, Error)]
#[error("the host name was not resolved")]
pub struct Unresolved {
    source: Option<io::Error>,
}

/// What may be reached.
#[derive(Debug)]
pub struct Policy {
    rules: Rules,
    /// The node's own port, once it is known.
    own_port: OnceLock<u16>,
}

impl Policy {
    /// Judges by `rules`.
    #[must_use]
    pub fn new(rules: Rules) -> Arc<Self> {
        Arc::new(Self { rules, own_port: OnceLock::new() })
    }

    /// The rules, for compiling syncs.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Bars the way to the node's own listener.
    pub fn bar_own_port(&self, port: u16) {
        // It is set once, at the start.
        let _ = self.own_port.set(port);
    }

    fn check(&self, address: IpAddr, port: u16) -> Result<(), BlockedAddress> {
        let address = address.to_canonical();
        let own = is_this_host(address) && self.own_port.get() == Some(&port);
        if !own && self.rules.allows(address, port) { Ok(()) } else { Err(BlockedAddress { address }) }
    }
}

/// A connector that reaches only what the policy allows.
#[derive(Clone)]
pub struct Guard {
    policy: Arc<Policy>,
    resolver: GaiResolver,
}

impl Guard {
    /// Resolves names as the system does.
    #[must_use]
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, resolver: GaiResolver::new() }
    }

    async fn connect(mut self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let https = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
        if !https && !self.policy.rules.allow_http {
            return Err(BlockedScheme.into());
        }
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let host = uri.host().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses: Vec<SocketAddr> = match literal {
            Ok(address) => vec![(address, port).into()],
            Err(_) => self.resolve(host, port).await?,
        };
        // All of them are judged before the first is tried: a name that also leads inside is refused whole.
        for address in &addresses {
            self.policy.check(address.ip(), port)?;
        }
        // The addresses go to the connector as literals, so that it cannot resolve the name another time.
        let mut last: BoxError = Unresolved { source: None }.into();
        for address in addresses {
            let mut connector = HttpConnector::new_with_resolver(self.resolver.clone());
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
            let target = Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build()?;
            match connector.call(target).await {
                Ok(stream) => {
                    self.policy.check(stream.inner().peer_addr()?.ip(), port)?;
                    return Ok(stream);
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    async fn resolve(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
        let name: Name = host.parse().map_err(|_| Unresolved { source: None })?;
        let found = self.resolver.call(name).await.map_err(|source| Unresolved { source: Some(source) })?;
        let addresses: Vec<_> = found.map(|address| (address.ip(), port).into()).collect();
        if addresses.is_empty() { Err(Unresolved { source: None }) } else { Ok(addresses) }
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Guard {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rules: Rules, url: &str) -> String {
        let mut guard = Guard::new(Policy::new(rules));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(guard.call(url.parse().unwrap())).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn inner_addresses_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "10.0.0.1",
            "[64:ff9b::7f00:1]",
            "2130706433",
            "0x7f.1",
            "127.1",
        ] {
            let error = refused(Rules::default(), &format!("https://{host}:8443/"));
            assert!(error.contains("not public") || error.contains("not resolved"), "{host}: {error}");
        }
    }

    #[test]
    fn own_ports_are_refused_even_where_loopback_is_allowed() {
        let rules = Rules { allow_http: true, allow_private_destinations: true, own_ports: vec![7600] };
        assert!(refused(rules.clone(), "http://127.0.0.1:7600/").contains("belongs to Sluice"));
        assert!(refused(rules, "http://localhost:7600/").contains("belongs to Sluice"));
    }

    #[test]
    fn plain_http_needs_a_word() {
        assert!(refused(Rules::default(), "http://192.0.2.1/").contains("plain http"));
    }
}
