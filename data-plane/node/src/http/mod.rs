//! The webhook client: one request, one answer, within a limit. No redirects, no decompression; nothing that reached a peer
//! is sent twice.

mod connection;
mod connector;
mod exchange;
mod failure;
mod pool;
mod pools;
mod roots;
mod timer;

use std::{
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use sluice_host::clock::Clock;
use sluice_pipeline::{destination::Destination, outcome::Failure};

pub use self::{connector::TLS_LIMIT, roots::ClientError};
use self::{exchange::Exchange, failure::Fault, pools::Pools};
use crate::guard::{Guard, Policy, Resolver};

/// Sends webhooks. Clones share the connections.
#[derive(Clone)]
pub struct WebhookClient {
    guard: Guard,
    pools: Arc<Pools>,
    counters: Arc<Counters>,
    clock: Clock,
}

/// A response, as far as it was read.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its `Retry-After`, if there is one.
    pub retry_after: Option<Vec<u8>>,
    /// What was read of the body, at most 16 KiB; empty for a 2xx.
    pub body: Vec<u8>,
    /// How it came.
    pub trip: Trip,
}

/// No response, or a 2xx whose body broke off.
#[derive(Debug)]
pub struct NoAnswer {
    /// The failure's class.
    pub failure: Failure,
    /// The cause, for people. It holds nothing of the request.
    pub detail: String,
    /// The status, if the response's head came.
    pub status: Option<StatusCode>,
    /// How far it came.
    pub trip: Trip,
}

/// How a request and its response travelled, as far as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trip {
    /// Where the time went.
    pub timings: Timings,
    /// Whether the connection had been used before.
    pub connection_reused: bool,
    /// `1.1` or `2`; empty without a response's head.
    pub http_version: &'static str,
    /// Who was at the other end; none without a connection.
    pub peer: Option<SocketAddr>,
}

/// Where the time of an exchange went. `None`: the phase was not reached, or not needed because a connection was at hand. Of
/// the phase in which it failed, the time until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Resolving the host name.
    pub dns: Option<Duration>,
    /// The TCP handshake.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
    /// From when there was a connection to the response's head.
    pub first_byte: Option<Duration>,
    /// The whole exchange, the response's body included.
    pub total: Duration,
}

/// Counts since the client was made. None of them is exact at one instant: they are read one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Connections that were opened.
    pub opened: u64,
    /// Of these, connections that are closed.
    pub closed: u64,
    /// Requests that a connection was found for.
    pub requests: u64,
    /// Of these, requests on a connection that had been used before.
    pub reused: u64,
    /// Bytes that were read from endpoints, TLS included.
    pub read_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    reused: AtomicU64,
}

impl WebhookClient {
    /// A client that reaches what `policy` allows, resolves names by `resolver`, and trusts the system's roots and those in
    /// the PEM file `extra_roots`.
    ///
    /// # Errors
    /// If the file cannot be used or TLS cannot be set up.
    pub fn new(
        policy: Policy,
        resolver: Resolver,
        extra_roots: Option<&Path>,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let guard = Guard::new(Arc::new(policy), resolver, clock.clone());
        let pools = Arc::new(Pools::new(guard.clone(), extra_roots, clock.clone())?);
        Ok(Self { guard, pools, counters: Arc::default(), clock })
    }

    /// Posts `body` to `destination`; the exchange, the response's body included, may take as long as it says. A response
    /// that is not a 2xx counts as it is, even if its body breaks off or takes too long.
    ///
    /// # Errors
    /// If there is no response in time, or a 2xx whose body breaks off or is not at its end in time.
    pub async fn post(
        &self,
        destination: &Destination,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Box<NoAnswer>> {
        let mut exchange = Exchange::begin(self.clock.clone());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = destination.uri.clone();
        *request.headers_mut() = headers;
        let limit = destination.timeout;
        let result = {
            // In its place from the beginning: it is too large to be moved.
            let making = pin!(async {
                match self.pools.get(destination.trusted_ca.as_ref()).await {
                    Ok(pool) => exchange.make(&pool, request).await,
                    Err(error) => Err(Fault::no_tls(&error)),
                }
            });
            tokio::select! {
                result = making => result,
                () = self.clock.sleep(limit, "request limit") => Err(Fault::timeout()),
            }
        };
        self.count(&exchange);
        exchange.end_within(limit, result)
    }

    /// What its connections have come to.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let sockets = self.guard.counts();
        ClientStats {
            opened: sockets.opened(),
            closed: sockets.closed(),
            requests: self.counters.requests.load(Ordering::Relaxed),
            reused: self.counters.reused.load(Ordering::Relaxed),
            read_bytes: sockets.read_bytes(),
        }
    }

    fn count(&self, exchange: &Exchange) {
        if let Some(reused) = exchange.connection_reused() {
            self.counters.requests.fetch_add(1, Ordering::Relaxed);
            self.counters.reused.fetch_add(u64::from(reused), Ordering::Relaxed);
        }
    }
}
