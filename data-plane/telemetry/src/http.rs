//! OTLP over HTTP/1.1: the client that the exporters send with. It leads to the backend that the operator names, and nowhere else:
//! redirects are not followed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::telemetry::TelemetryError;

/// Of an answer's body no more is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Sends requests, each of which ends in time.
#[derive(Debug)]
pub(crate) struct OtlpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl OtlpClient {
    /// Trusts the authorities in `roots_pem`; the system's if there are none.
    pub(crate) fn new(roots_pem: Option<&[u8]>, timeout: Duration) -> Result<Self, TelemetryError> {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls(roots_pem)?).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector.build());
        Ok(Self { client, timeout })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

#[tonic::async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        tokio::time::timeout(self.timeout, self.send(request)).await?
    }
}

fn tls(roots_pem: Option<&[u8]>) -> Result<ClientConfig, TelemetryError> {
    let failed = |error: &dyn std::error::Error| TelemetryError::Exporter(format!("TLS cannot be set up: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?;
    let Some(pem) = roots_pem else {
        let verifier = rustls_platform_verifier::Verifier::new(provider).map_err(|error| failed(&error))?;
        return Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(TelemetryError::Exporter("the certificate file holds no PEM certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
