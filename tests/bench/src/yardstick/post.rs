//! Bare hyper connections, each with one request at a time; or one HTTP/2 connection with as many.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::{Done, Stopwatch};
use crate::sink::Protocol;

/// Requests at once, as many as a sync's default.
const AT_ONCE: usize = 32;
/// Of the count, this share is sent before it is measured.
const WARM_UP: u64 = 10;

/// What is posted where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the sink
    #[arg(long)]
    to: SocketAddr,
    /// What it speaks
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// Certificate of the authority to trust
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Bytes of each body
    #[arg(long)]
    body_bytes: usize,
    /// How many requests
    #[arg(long)]
    count: u64,
}

type Body = Full<Bytes>;

/// A connection that takes requests.
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Posts all of them.
pub(super) async fn run(args: Args) -> Done {
    let mut senders = Vec::with_capacity(AT_ONCE);
    for _ in 0..AT_ONCE {
        match senders.first() {
            Some(Sender::Http2(shared)) => senders.push(Sender::Http2(shared.clone())),
            _ => senders.push(connect(&args).await),
        }
    }
    let url: Arc<str> = match args.protocol {
        Protocol::H2 => format!("https://localhost:{}/ok", args.to.port()).into(),
        Protocol::Http1 | Protocol::Tls => "/ok".into(),
    };
    let body = Bytes::from(vec![b'x'; args.body_bytes]);
    let senders = posted(senders, &args, &url, &body, args.count.div_ceil(WARM_UP)).await;
    let stopwatch = Stopwatch::start();
    posted(senders, &args, &url, &body, args.count).await;
    stopwatch.stop(args.count.div_ceil(AT_ONCE as u64) * AT_ONCE as u64)
}

/// Posts `count` bodies over all connections; gives them back.
async fn posted(senders: Vec<Sender>, args: &Args, url: &Arc<str>, body: &Bytes, count: u64) -> Vec<Sender> {
    let each = count.div_ceil(senders.len() as u64);
    let mut tasks = JoinSet::new();
    for mut sender in senders {
        let (url, body, host) = (url.clone(), body.clone(), args.to.to_string());
        tasks.spawn(async move {
            for _ in 0..each {
                let mut request = Request::post(&*url).header("content-type", "application/json");
                if matches!(sender, Sender::Http1(_)) {
                    request = request.header("host", &host);
                }
                sender.send(request.body(Full::new(body.clone())).expect("a request")).await;
            }
            sender
        });
    }
    tasks.join_all().await
}

impl Sender {
    async fn send(&mut self, request: Request<Body>) {
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("an open connection");
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.expect("an open connection");
                sender.send_request(request).await
            }
        };
        let response = response.expect("an answer");
        assert!(response.status().is_success(), "the sink answers {}", response.status());
        response.into_body().collect().await.expect("all of the answer");
    }
}

async fn connect(args: &Args) -> Sender {
    let stream = TcpStream::connect(args.to).await.expect("a sink that listens");
    stream.set_nodelay(true).expect("a socket");
    if args.protocol == Protocol::Http1 {
        return speak(stream, args.protocol).await;
    }
    let mut roots = RootCertStore::empty();
    let ca_file = args.ca_file.as_ref().expect("TLS needs an authority");
    roots.add(CertificateDer::from_pem_file(ca_file).expect("a certificate")).expect("a certificate");
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![args.protocol.alpn().into()];
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    speak(stream, args.protocol).await
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, protocol: Protocol) -> Sender {
    let stream = TokioIo::new(stream);
    if protocol == Protocol::H2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        Sender::Http2(sender)
    } else {
        let (sender, connection) = http1::handshake(stream).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Sender::Http1(sender)
    }
}
