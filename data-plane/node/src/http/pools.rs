//! The connections: one pool for everybody, and one for each set of certificates that destinations bring along, so that none
//! is used by a destination that does not trust its peer.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustls::{ClientConfig, pki_types::CertificateDer};
use sluice_host::clock::Clock;
use sluice_pipeline::trusted_ca::TrustedCa;
use tokio::sync::OnceCell;

use super::{
    connector::Connector,
    roots::{self, ClientError},
    timer::ClockTimer,
};
use crate::guard::Guard;

/// Idle connections that are kept for one endpoint, and for how long: as many as requests go to one host at once by default, or
/// else the surplus would be closed and opened again with each burst.
const IDLE_CONNECTIONS: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest head of a response.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How much an endpoint may send over HTTP/2 without being read: per request, and per connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// An HTTP/2 connection with requests under way is asked for a sign of life so often, and closed if there is none: a peer
/// that has silently gone would else time out every request that is given to it.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Pools beside the one for everybody. The one that was used longest ago makes room for another.
const MAX_POOLS: usize = 64;

pub(super) type Pool = Client<Connector, Full<Bytes>>;

/// The id of some certificates, and where the pool for them comes.
type Place = ([u8; 32], Arc<OnceCell<Pool>>);

/// All pools.
pub(super) struct Pools {
    guard: Guard,
    clock: Clock,
    /// Certificates of the node's file.
    extra: Vec<CertificateDer<'static>>,
    everybody: Pool,
    /// By the id of their certificates, the one that was used last at the end.
    own: Mutex<Vec<Place>>,
}

impl Pools {
    pub(super) fn new(guard: Guard, extra_roots: Option<&Path>, clock: Clock) -> Result<Self, ClientError> {
        let extra = extra_roots.map(roots::read_file).transpose()?.unwrap_or_default();
        let everybody = pool(guard.clone(), roots::tls(extra.clone())?, clock.clone());
        Ok(Self { guard, clock, extra, everybody, own: Mutex::default() })
    }

    /// The pool for destinations that trust `ca` beside the system's roots; made when it is first asked for.
    pub(super) async fn get(&self, ca: Option<&TrustedCa>) -> Result<Pool, ClientError> {
        let Some(ca) = ca else { return Ok(self.everybody.clone()) };
        let pool = self.place(ca.id());
        let made = pool.get_or_try_init(|| async {
            let trusted = self.extra.iter().chain(ca.certificates()).cloned().collect();
            // The system's roots are read from files.
            let tls = tokio::task::spawn_blocking(|| roots::tls(trusted)).await;
            let tls = tls.unwrap_or_else(|error| Err(rustls::Error::General(error.to_string()).into()))?;
            Ok(self::pool(self.guard.clone(), tls, self.clock.clone()))
        });
        made.await.cloned()
    }

    fn place(&self, id: [u8; 32]) -> Arc<OnceCell<Pool>> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let known = own.iter().position(|(other, _)| *other == id);
        let entry = match known {
            Some(at) => own.remove(at),
            None => {
                if own.len() >= MAX_POOLS {
                    own.remove(0);
                }
                (id, Arc::default())
            }
        };
        let pool = entry.1.clone();
        own.push(entry);
        pool
    }
}

fn pool(guard: Guard, tls: Arc<ClientConfig>, clock: Clock) -> Pool {
    let timer = ClockTimer::new(clock.clone());
    Client::builder(TokioExecutor::new())
        .timer(timer.clone())
        .pool_timer(timer)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_headers(MAX_HEADERS)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http2_max_header_list_size(MAX_HEAD_BYTES as u32)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        // A kept connection may turn out closed before the request was taken up by it: hyper then gives the request back
        // whole, and only then it is given to another connection. Nothing of it has been written, so that it is no request
        // that was made. One that was taken up is never sent again here.
        .retry_canceled_requests(true)
        .build(Connector { guard, tls, clock })
}
