//! Whom the client trusts: the system's roots, those of the node's file, and those of one destination.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use thiserror::Error;

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

/// TLS with the system's roots and `extra` ones; HTTP/2 is preferred to HTTP/1.1. Reads the system's files.
pub(super) fn tls(extra: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider.clone())?;
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// The certificates of a PEM file, at least one.
pub(super) fn read_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let refused = |reason: String| ClientError::CaFile { path: path.display().to_string(), reason };
    let roots = CertificateDer::pem_file_iter(path)
        .map_err(|error| refused(error.to_string()))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(error.to_string()))?;
    if roots.is_empty() { Err(refused("it holds no PEM certificate".to_owned())) } else { Ok(roots) }
}
