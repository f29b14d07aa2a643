//! A webhook receiver that answers as it is told and remembers everything.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// How long a test waits for something that must come; only a broken build ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How to answer one request.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    echo: bool,
}

/// An answer with this status and no body.
#[must_use]
pub fn status(code: u16) -> Reply {
    Reply { status: StatusCode::from_u16(code).unwrap(), headers: Vec::new(), body: Bytes::new(), echo: false }
}

impl Reply {
    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned().into();
        self
    }

    /// With a body that shows the request's headers.
    #[must_use]
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// When all of it had come.
    pub arrived: Instant,
}

impl Received {
    /// One header as text; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Decides on the answer to a request.
type Decide = dyn Fn(&Received) -> Reply + Send + Sync;

struct State {
    received: Mutex<Vec<Received>>,
    forgetful: AtomicBool,
    script: Mutex<VecDeque<Reply>>,
    always: Mutex<Arc<Decide>>,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    /// Requests to paths that begin like this are kept waiting.
    held: watch::Sender<Option<String>>,
}

/// A running endpoint. Dropping it stops it.
pub struct Endpoint {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// On a free port; answers 200.
    pub async fn start() -> Self {
        Self::run(None).await
    }

    /// With TLS: a certificate for `localhost` that the CA written to `ca_file` has signed.
    pub async fn start_tls(ca_file: &Path) -> Self {
        Self::run(Some(tls_acceptor(ca_file, &["h2", "http/1.1"]))).await
    }

    async fn run(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (counted, count) = watch::channel(0);
        let state = Arc::new(State {
            received: Mutex::default(),
            forgetful: AtomicBool::new(false),
            script: Mutex::default(),
            always: Mutex::new(Arc::new(|_| status(200))),
            count: counted,
            connections: watch::channel(0).0,
            held: watch::channel(None).0,
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, tls, state.clone()));
        Self { address, scheme, state, count, task }
    }

    /// URL of `path` here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let host = if self.scheme == "https" { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{}://{host}:{}{path}", self.scheme, self.address.port())
    }

    /// Answers the next requests like this, in this order, and then as before.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.state.script.lock().unwrap().extend(replies);
    }

    /// Answers like this whenever there is no script.
    pub fn always(&self, reply: Reply) {
        self.decide(move |_| reply.clone());
    }

    /// Answers as `decide` says whenever there is no script.
    pub fn decide(&self, decide: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.state.always.lock().unwrap() = Arc::new(decide);
    }

    /// Answers nothing from now on: requests are counted and kept waiting.
    pub fn hold(&self) {
        self.hold_path("");
    }

    /// The same for requests to paths that begin with `prefix`.
    pub fn hold_path(&self, prefix: &str) {
        self.state.held.send_replace(Some(prefix.to_owned()));
    }

    /// Answers again, also what was kept waiting.
    pub fn release(&self) {
        self.state.held.send_replace(None);
    }

    /// Counts requests from now on and keeps none of them.
    pub fn only_count(&self) {
        self.state.forgetful.store(true, Ordering::Relaxed);
    }

    /// How many requests have come so far.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until `count` requests have come in all.
    pub async fn wait_for_count(&self, count: usize) {
        let mut counted = self.count.clone();
        let enough = tokio::time::timeout(PATIENCE, counted.wait_for(|come| *come >= count)).await;
        assert!(enough.is_ok(), "only {} of {count} requests came", self.count());
    }

    /// Waits until every connection is closed: what a peer sent before it died has come then.
    pub async fn disconnected(&self) {
        let mut connections = self.state.connections.subscribe();
        let closed = tokio::time::timeout(PATIENCE, connections.wait_for(|open| *open == 0)).await;
        assert!(closed.is_ok(), "connections stay open");
    }

    /// What has come so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits until `count` requests have come in all; gives them.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_for_count(count).await;
        self.received()
    }

    /// How often each `webhook-id` came.
    #[must_use]
    pub fn by_webhook_id(&self) -> HashMap<String, Vec<Received>> {
        let mut by_id: HashMap<String, Vec<Received>> = HashMap::new();
        for request in self.received() {
            by_id.entry(request.header("webhook-id").to_owned()).or_default().push(request);
        }
        by_id
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// TLS with a certificate for `localhost` that the CA written to `ca_file` has signed, and these protocols by ALPN.
#[must_use]
pub fn tls_acceptor(ca_file: &Path, protocols: &[&str]) -> TlsAcceptor {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    std::fs::write(ca_file, ca_certificate.pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let mut leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, state) = (tls.clone(), state.clone());
        state.connections.send_modify(|open| *open += 1);
        tokio::spawn(async move {
            let _open = Open(state.clone());
            let service = service_fn(move |request| answer(request, state.clone()));
            let server = auto::Builder::new(TokioExecutor::new());
            // A peer that breaks off is its own affair.
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = server.serve_connection(TokioIo::new(stream), service).await;
                    }
                }
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
            }
        });
    }
}

/// An open connection.
struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.send_modify(|open| *open -= 1);
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::new(Full::default()));
    };
    let received = Received {
        method: head.method.to_string(),
        path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: body.to_bytes(),
        arrived: Instant::now(),
    };
    let path = received.path.clone();
    let scripted = state.script.lock().unwrap().pop_front();
    let reply = scripted.unwrap_or_else(|| {
        let decide = state.always.lock().unwrap().clone();
        decide(&received)
    });
    let body = if reply.echo { format!("{:?}", received.headers).into() } else { reply.body };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    if !state.forgetful.load(Ordering::Relaxed) {
        state.received.lock().unwrap().push(received);
    }
    state.count.send_modify(|count| *count += 1);
    // The sender lives in the state.
    let goes_on = |held: &Option<String>| held.as_ref().is_none_or(|prefix| !path.starts_with(prefix));
    let _ = state.held.subscribe().wait_for(goes_on).await;
    Ok(response.body(Full::new(body)).unwrap())
}
