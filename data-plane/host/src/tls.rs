//! TLS on a listener: certificates from PEM files, read again when they change, and handshakes that hold up nobody.
//!
//! HTTP/2 alone is offered (ALPN `h2`, RFC 9113 §3.2); clients show certificates where a client CA is set (RFC 8446 §4.4.2).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

/// A client that has not shaken hands by then is hung up on.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// After a connection that could not be accepted, as when too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Handshakes at once; beyond, the system keeps callers waiting.
const HANDSHAKES: usize = 512;

/// Where a listener's certificates are. They may be replaced at any time: the next connection is served with the new ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the certificate and what leads from it to a root.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
    /// PEM file with the authorities whose certificates clients may show; none: clients show none.
    pub client_ca: Option<PathBuf>,
    /// Whether clients without a certificate are let in although there is a client CA.
    pub client_cert_optional: bool,
}

impl TlsFiles {
    /// Files that were given one by one; none of them: no TLS.
    ///
    /// # Errors
    /// If some are given that are of no use without others.
    pub fn given(
        cert: Option<PathBuf>,
        key: Option<PathBuf>,
        client_ca: Option<PathBuf>,
        client_cert_optional: bool,
    ) -> Result<Option<Self>, TlsError> {
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key, client_ca, client_cert_optional })),
            (None, None) if client_ca.is_none() => Ok(None),
            _ => Err(TlsError::Incomplete),
        }
    }
}

/// Why TLS cannot be served.
#[derive(Debug, Error)]
pub enum TlsError {
    /// One of certificate and key is missing.
    #[error("TLS needs both --tls-cert and --tls-key; --tls-client-ca comes beside them")]
    Incomplete,
    /// A file cannot be used.
    #[error("{flag}: the file {path} cannot be used: {reason}")]
    File {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

/// Shakes hands on `listener`, and gives the connections whose clients could be agreed with. Ends when it is dropped.
///
/// # Errors
/// If the files cannot be used. Those that replace them later and cannot be used are logged, and the old ones go on serving.
pub fn incoming(
    listener: TcpListener,
    files: TlsFiles,
) -> Result<ReceiverStream<io::Result<TlsStream<TcpStream>>>, TlsError> {
    let mut certificates = Certificates::read(files)?;
    let (accepted, connections) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut handshakes = JoinSet::new();
        loop {
            while handshakes.len() >= HANDSHAKES {
                handshakes.join_next().await;
            }
            let stream = tokio::select! {
                () = accepted.closed() => return,
                Some(_) = handshakes.join_next(), if !handshakes.is_empty() => continue,
                stream = listener.accept() => stream,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let acceptor = TlsAcceptor::from(certificates.newest());
            let accepted = accepted.clone();
            handshakes.spawn(async move {
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let _ = accepted.send(Ok(stream)).await;
                    }
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake timed out"),
                }
            });
        }
    });
    Ok(ReceiverStream::new(connections))
}

/// What is served with, and the state of the files that it was read from.
struct Certificates {
    files: TlsFiles,
    seen: Vec<Option<Stamp>>,
    serving: Arc<ServerConfig>,
}

/// What changes with a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Certificates {
    fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let seen = stamps(&files);
        let serving = Arc::new(config(&files)?);
        Ok(Self { files, seen, serving })
    }

    /// What the files hold now, or else what they held when it was last of use.
    fn newest(&mut self) -> Arc<ServerConfig> {
        let stamps = stamps(&self.files);
        if stamps != self.seen {
            self.seen = stamps;
            match config(&self.files) {
                Ok(config) => {
                    self.serving = Arc::new(config);
                    tracing::info!(cert = %self.files.cert.display(), "TLS certificates read again");
                }
                Err(error) => tracing::error!(%error, "the new TLS certificates cannot be used: the old ones go on"),
            }
        }
        self.serving.clone()
    }
}

fn stamps(files: &TlsFiles) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let file = fs::metadata(path).ok()?;
        Some(Stamp {
            modified: file.modified().ok()?,
            bytes: file.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&file),
        })
    };
    [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()].into_iter().flatten().map(stamp).collect()
}

fn config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = certificates("--tls-cert", &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refused("--tls-key", &files.key, error))?;
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        Some(client_ca) => {
            builder.with_client_cert_verifier(verifier(client_ca, files.client_cert_optional, provider)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn verifier(
    path: &Path,
    optional: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    const FLAG: &str = "--tls-client-ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(FLAG, path)? {
        roots.add(certificate).map_err(|error| refused(FLAG, path, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| refused(FLAG, path, error))
}

fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(flag, path, error))?;
    if certificates.is_empty() { Err(refused(flag, path, "it holds no PEM certificate")) } else { Ok(certificates) }
}

fn refused(flag: &'static str, path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { flag, path: path.display().to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// A certificate of its own making for localhost, in `folder`.
    fn write(folder: &TempDir) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn files(folder: &TempDir) -> TlsFiles {
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        TlsFiles { cert, key, client_ca: None, client_cert_optional: false }
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_are_named_with_their_flag() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder);
        for (name, flag) in [("cert.pem", "--tls-cert"), ("key.pem", "--tls-key"), ("ca.pem", "--tls-client-ca")] {
            write(&folder);
            fs::write(folder.path().join(name), "nothing of the kind").unwrap();
            let mut files = files(&folder);
            files.client_ca = (name == "ca.pem").then(|| folder.path().join(name));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let error = incoming(listener, files).map(drop).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(name), "{error}");
        }
    }

    #[test]
    fn half_a_pair_is_refused() {
        let file = || Some(PathBuf::from("x.pem"));
        assert!(TlsFiles::given(None, None, None, false).unwrap().is_none());
        assert!(TlsFiles::given(file(), file(), None, false).unwrap().is_some());
        for (cert, key, ca) in [(file(), None, None), (None, file(), None), (None, None, file())] {
            assert!(matches!(TlsFiles::given(cert, key, ca, false), Err(TlsError::Incomplete)));
        }
    }
}
