//! The webhook client: one request, one answer, within a limit. No redirects; nothing that reached a peer is sent twice.

use std::{error::Error as StdError, io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use sluice_host::clock::Clock;
use sluice_pipeline::outcome::Failure;
use thiserror::Error;

use crate::guard::{BlockedAddress, BlockedScheme, Guard, Policy, Unresolved};

/// Bytes of a response that are read.
const MAX_RESPONSE_BYTES: usize = 16 << 10;

/// Idle connections that are kept for one endpoint, and for how long.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

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

/// Sends webhooks. Clones share the connections.
#[derive(Clone)]
pub struct WebhookClient {
    client: Client<HttpsConnector<Guard>, Full<Bytes>>,
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
}

/// No response.
#[derive(Debug)]
pub struct NoAnswer {
    /// The failure's class.
    pub failure: Failure,
    /// The cause, for people.
    pub detail: String,
}

impl WebhookClient {
    /// A client that trusts the system's roots and those in the PEM file `extra_roots`.
    ///
    /// # Errors
    /// If the file cannot be used or TLS cannot be set up.
    pub fn new(policy: Arc<Policy>, extra_roots: Option<&Path>, clock: Clock) -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let extra = extra_roots.map(read_roots).transpose()?.unwrap_or_default();
        let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?;
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(Guard::new(policy));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // A kept connection may turn out closed before anything was written: only then hyper takes another, and no
            // request has been made.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self { client, clock })
    }

    /// Posts `body`; the exchange, the response's body included, may take `limit`.
    ///
    /// # Errors
    /// If there is no whole response in time.
    pub async fn post(&self, uri: Uri, headers: HeaderMap, body: Bytes, limit: Duration) -> Result<Answer, NoAnswer> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| classify(&error))?;
            read(response).await
        };
        tokio::select! {
            answer = exchange => answer,
            () = self.clock.sleep(limit, "request limit") => Err(NoAnswer {
                failure: Failure::Timeout,
                detail: format!("no whole response within {limit:?}"),
            }),
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, NoAnswer> {
    let status = response.status();
    let retry_after = response.headers().get(http::header::RETRY_AFTER).map(|value| value.as_bytes().to_vec());
    let (mut kept, mut length) = (Vec::new(), 0);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| NoAnswer { failure: Failure::Protocol, detail: chain(&error) })?;
        if let Ok(data) = frame.into_data() {
            length += data.len();
            if !status.is_success() {
                let room = MAX_RESPONSE_BYTES - kept.len();
                kept.extend_from_slice(&data[..room.min(data.len())]);
            }
        }
        if length >= MAX_RESPONSE_BYTES {
            // What is left is not read; the connection is closed with it.
            break;
        }
    }
    Ok(Answer { status, retry_after, body: kept })
}

/// Finds the failure's class among the causes.
fn classify(error: &hyper_util::client::legacy::Error) -> NoAnswer {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut failure = if error.is_connect() { Failure::Connect } else { Failure::Protocol };
    while let Some(inner) = cause {
        if inner.is::<BlockedAddress>() || inner.is::<BlockedScheme>() {
            failure = Failure::BlockedAddress;
            break;
        }
        if inner.is::<Unresolved>() {
            failure = Failure::Dns;
            break;
        }
        if is_tls(inner) {
            failure = Failure::Tls;
            break;
        }
        cause = inner.source();
    }
    NoAnswer { failure, detail: chain(error) }
}

/// `io::Error` does not give what it wraps as its source: it is asked for it.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    error.is::<rustls::Error>()
        || error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).is_some_and(|inner| is_tls(inner))
}

/// The innermost cause says most; the outer ones say where.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let refused = |reason: String| ClientError::CaFile { path: path.display().to_string(), reason };
    let roots = CertificateDer::pem_file_iter(path)
        .map_err(|error| refused(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if roots.is_empty() { Err(refused("it holds no PEM certificate".to_owned())) } else { Ok(roots) }
}
