//! TLS on a listener: certificates that are replaced, and clients that say nothing.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sluice_host::tls::{self, TlsFiles};
use sluice_tests::closed::Authority;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;

/// A listener with a certificate of this authority.
async fn listen(authority: &Authority) -> (SocketAddr, TlsFiles) {
    let (cert, key) = authority.server();
    let files = TlsFiles { cert, key, client_ca: None, client_cert_optional: false };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = tls::incoming(listener, files.clone()).unwrap();
    tokio::spawn(async move { while connections.next().await.is_some() {} });
    (address, files)
}

/// Whether a client that trusts the authority of this file can shake hands.
async fn trusts(address: SocketAddr, ca_file: &Path) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
}

#[tokio::test]
async fn a_certificate_that_is_replaced_serves_the_next_connection() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = folders.each_ref().map(|folder| Authority::new(folder.path()));
    let (address, files) = listen(&first).await;
    assert!(trusts(address, &first.ca_file()).await);

    let (cert, key) = second.server();
    fs::rename(cert, &files.cert).unwrap();
    fs::rename(key, &files.key).unwrap();
    assert!(trusts(address, &second.ca_file()).await);
    assert!(!trusts(address, &first.ca_file()).await);

    fs::write(&files.cert, "half a certif").unwrap();
    assert!(trusts(address, &second.ca_file()).await, "what cannot be used replaces nothing");
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (address, _) = listen(&authority).await;
    let silent = TcpStream::connect(address).await.unwrap();
    assert!(trusts(address, &authority.ca_file()).await);
    drop(silent);
}
