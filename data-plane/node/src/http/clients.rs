//! A pooled client for each set of trusted roots: connections are shared among destinations that trust the same ones.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use sluice_host::clock::Clock;
use sluice_pipeline::trusted_ca::TrustedCa;
use thiserror::Error;

use super::{connector::Connector, stats::Counters};
use crate::guard::Guard;

/// Idle connections that are kept for one endpoint, and for how long.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Header fields of a response, and bytes of its head.
const MAX_HEADERS: usize = 64;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Clients for destinations with certificates of their own; the one that was not used for longest goes first.
const MAX_CLIENTS: usize = 64;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The file of extra roots cannot be read.
    #[error("the CA file {path} cannot be used: {reason}")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

pub(super) type Pooled = Client<Connector, Full<Bytes>>;

/// The clients.
pub(super) struct Clients {
    guard: Guard,
    clock: Clock,
    counters: Arc<Counters>,
    extra: Vec<CertificateDer<'static>>,
    /// For destinations without certificates of their own.
    common: Pooled,
    /// For the others, the one used last at the end.
    own: Mutex<Vec<([u8; 32], Pooled)>>,
}

impl Clients {
    pub(super) fn new(
        guard: Guard,
        extra_roots: Option<&Path>,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Result<Self, ClientError> {
        let extra = extra_roots.map(read_roots).transpose()?.unwrap_or_default();
        let common = client(&guard, &clock, &counters, extra.clone())?;
        Ok(Self { guard, clock, counters, extra, common, own: Mutex::default() })
    }

    /// The client for a destination with these certificates of its own.
    pub(super) fn get(&self, trusted: Option<&TrustedCa>) -> Result<Pooled, ClientError> {
        let Some(trusted) = trusted else { return Ok(self.common.clone()) };
        let id = trusted.id();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let at = own.iter().position(|(known, _)| *known == id);
        let entry = match at {
            Some(at) => own.remove(at),
            None => {
                if own.len() >= MAX_CLIENTS {
                    own.remove(0);
                }
                let roots = self.extra.iter().chain(trusted.certificates()).cloned().collect();
                (id, client(&self.guard, &self.clock, &self.counters, roots)?)
            }
        };
        own.push(entry.clone());
        Ok(entry.1)
    }
}

fn client(
    guard: &Guard,
    clock: &Clock,
    counters: &Arc<Counters>,
    roots: Vec<CertificateDer<'static>>,
) -> Result<Pooled, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider.clone())?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connector =
        Connector { guard: guard.clone(), tls: Arc::new(tls), clock: clock.clone(), counters: counters.clone() };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .http1_max_headers(MAX_HEADERS)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .http2_max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        // A kept connection may turn out closed before anything was written: only then hyper takes another, and no
        // request has been made.
        .retry_canceled_requests(true)
        .build(connector))
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let refused = |reason: String| ClientError::CaFile { path: path.display().to_string(), reason };
    let roots = CertificateDer::pem_file_iter(path)
        .map_err(|error| refused(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if roots.is_empty() { Err(refused("it holds no PEM certificate".to_owned())) } else { Ok(roots) }
}
