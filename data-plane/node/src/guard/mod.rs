//! The address guard: the only way to a socket that leads to a customer. Addresses are judged when the connection is made:
//! literals before, names after DNS, and the peer once more when connected.

mod policy;
mod record;
mod resolver;
mod socket;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::Uri;
use hyper_util::rt::TokioIo;
use sluice_host::clock::Clock;
use sluice_pipeline::{destination, sync::Refusal};
use thiserror::Error;
use tokio::net::TcpStream;
use tower::Service;

use self::policy::Judge;
pub use self::{
    policy::Policy,
    record::{BYTES_PER_REQUEST, ConnectionRecord, Phase, PhaseTimes},
    resolver::{Found, Resolver},
    socket::{Flood, Socket, SocketCounts},
};

/// Limit on resolving the name and the TCP handshake, all addresses together; the exchange has its own limit beside it.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// After so long the next address of a name is tried beside those before (RFC 8305 §5).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// So many addresses of a name are judged and tried; more are an error.
const MAX_ADDRESSES: usize = 32;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum GuardError {
    /// The address may not be reached.
    #[error("{}", blocked(address, *refusal))]
    Blocked {
        /// Which one.
        address: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// The URL's scheme is not allowed.
    #[error("plain http is not allowed here")]
    Scheme,
    /// The host is neither an address nor a name that can be resolved.
    #[error("no host name")]
    NoName,
    /// The host name was not resolved.
    #[error("{0}")]
    Unresolved(Arc<io::Error>),
    /// The name has more addresses than are tried.
    #[error("the name has {0} addresses, more than are tried")]
    TooManyAddresses(usize),
    /// The host name was not resolved in time.
    #[error("no answer within {CONNECT_LIMIT:?}")]
    ResolveTimeout,
    /// No address took the connection.
    #[error("{address}: {source}")]
    Connect {
        /// The one that was tried last.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No address took the connection in time.
    #[error("no connection within {CONNECT_LIMIT:?}")]
    ConnectTimeout,
}

fn blocked(address: &SocketAddr, refusal: Refusal) -> String {
    match refusal {
        Refusal::Own => format!("{address} is Sluice itself"),
        Refusal::NotPublic => format!("the address {} is not public", address.ip()),
        Refusal::Port => format!("port {} is not allowed", address.port()),
    }
}

/// A connector that reaches only what the policy allows.
#[derive(Clone, Debug)]
pub struct Guard {
    policy: Arc<Policy>,
    resolver: Resolver,
    clock: Clock,
    record: Arc<ConnectionRecord>,
    counts: Arc<SocketCounts>,
}

impl Guard {
    /// Reaches what `policy` allows; names are resolved by `resolver`.
    #[must_use]
    pub fn new(policy: Arc<Policy>, resolver: Resolver, clock: Clock) -> Self {
        Self { policy, resolver, clock, record: Arc::default(), counts: Arc::default() }
    }

    /// The same for one connection, whose making is written to `record`.
    #[must_use]
    pub fn recording(&self, record: Arc<ConnectionRecord>) -> Self {
        Self { record, ..self.clone() }
    }

    /// What its sockets have come to.
    #[must_use]
    pub fn counts(&self) -> &SocketCounts {
        &self.counts
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Socket>, GuardError> {
        let stream = tokio::select! {
            stream = self.reach(&uri) => stream?,
            () = self.clock.sleep(CONNECT_LIMIT, "connect limit") => {
                let resolving = self.record.phase() == Phase::Resolving;
                return Err(if resolving { GuardError::ResolveTimeout } else { GuardError::ConnectTimeout });
            }
        };
        let https = is_https(&uri);
        self.record.enter(Phase::Handshake, https, self.clock.elapsed());
        Ok(TokioIo::new(Socket::new(stream, self.record, self.counts)))
    }

    async fn reach(&self, uri: &Uri) -> Result<TcpStream, GuardError> {
        let https = is_https(uri);
        if !https && !self.policy.allows_http() {
            return Err(GuardError::Scheme);
        }
        let port = destination::port(uri).ok_or(GuardError::Scheme)?;
        let host = uri.host().unwrap_or_default();
        let addresses = self.addresses(host).await?;
        let judge = self.policy.judge(host, port, &self.resolver).await;
        // All of them are judged before the first is tried: a name that also leads inside is refused whole.
        for address in addresses.iter() {
            judge.check(*address)?;
        }
        self.record.enter(Phase::Connecting, true, self.clock.elapsed());
        self.first_to_connect(&addresses, port, &judge).await
    }

    async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, GuardError> {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bracketed.unwrap_or(host).parse::<IpAddr>() {
            return Ok([address].into());
        }
        if bracketed.is_some() || host.is_empty() {
            return Err(GuardError::NoName);
        }
        self.record.enter(Phase::Resolving, true, self.clock.elapsed());
        let found = self.resolver.resolve(host).await.map_err(GuardError::Unresolved)?;
        if found.len() > MAX_ADDRESSES { Err(GuardError::TooManyAddresses(found.len())) } else { Ok(found) }
    }

    /// Tries the addresses in their order, the next one beside those before when they fail or take long. The connection goes
    /// to the very address that was judged; no name is resolved another time.
    async fn first_to_connect(
        &self,
        addresses: &[IpAddr],
        port: u16,
        judge: &Judge<'_>,
    ) -> Result<TcpStream, GuardError> {
        let mut waiting = addresses.iter();
        let mut tried = FuturesUnordered::new();
        let mut last = GuardError::NoName;
        loop {
            if let Some(address) = waiting.next() {
                tried.push(connect_to(*address, port, judge));
            }
            let next_address = async {
                match waiting.len() {
                    0 => std::future::pending().await,
                    _ => self.clock.sleep(NEXT_ADDRESS, "next address").await,
                }
            };
            tokio::select! {
                done = tried.next() => match done {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => last = error,
                    None => return Err(last),
                },
                () = next_address => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "here alone a connection to a destination is made, after it was judged")]
async fn connect_to(address: IpAddr, port: u16, judge: &Judge<'_>) -> Result<TcpStream, GuardError> {
    let target = SocketAddr::new(address, port);
    let failed = |source| GuardError::Connect { address: target, source };
    let stream = TcpStream::connect(target).await.map_err(failed)?;
    judge.check(stream.peer_addr().map_err(failed)?.ip())?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&http::uri::Scheme::HTTPS)
}

impl Service<Uri> for Guard {
    type Response = TokioIo<Socket>;
    type Error = GuardError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, GuardError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GuardError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_pipeline::sync::Rules;

    async fn refused(policy: Policy, url: &str) -> String {
        let (clock, _hand) = Clock::manual(0);
        let mut guard = Guard::new(Arc::new(policy), Resolver::system(), clock);
        guard.call(url.parse().unwrap()).await.err().map_or_else(String::new, |error| error.to_string())
    }

    fn open() -> Policy {
        Policy::new(Rules { allow_http: true, allow_private_destinations: true, ..Rules::default() })
    }

    #[tokio::test]
    async fn the_own_listener_is_refused_through_every_address_of_this_machine() {
        let policy = || open().barring_listener("127.0.0.1:7600".parse().unwrap());
        for host in ["127.0.0.1", "127.7.7.7", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"] {
            let error = refused(policy(), &format!("http://{host}:7600/")).await;
            assert!(error.contains("Sluice itself"), "{host}: {error}");
        }
    }

    #[tokio::test]
    async fn the_control_plane_is_refused_under_every_name() {
        for control_plane in ["127.0.0.1", "localhost", "[::1]"] {
            for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"] {
                let policy = open().barring_control_plane(control_plane, 7600);
                let error = refused(policy, &format!("http://{host}:7600/")).await;
                assert!(error.contains("Sluice itself"), "{control_plane} by {host}: {error}");
            }
        }
    }

    #[tokio::test]
    async fn plain_http_needs_a_word() {
        assert!(refused(Policy::new(Rules::default()), "http://192.0.2.1/").await.contains("plain http"));
    }
}
