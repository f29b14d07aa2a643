//! A cheap receiver: answers 200, counts, and measures how long events took. What it does beside that is decided by the path:
//! `/ok` is answered, `/hang` after a while, and `/refuse` with a 400; while it is down all are answered with a 503.

mod handle;
mod stats;

pub use handle::{Mode, Sink};
pub use stats::{Counted, Latency, histogram};

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use clap::ValueEnum;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use memchr::memmem;
use serde::{Deserialize, Serialize};
use sluice_tests::endpoint::tls_acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{child, clock::now_ns, event};
use stats::Group;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// HTTP/1.1 in clear.
    Http1,
    /// HTTP/1.1 over TLS.
    Tls,
    /// HTTP/2 over TLS.
    H2,
}

impl Protocol {
    /// Its name as an argument.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Tls => "tls",
            Self::H2 => "h2",
        }
    }

    /// Its name by ALPN.
    #[must_use]
    pub fn alpn(self) -> &'static str {
        if self == Self::H2 { "h2" } else { "http/1.1" }
    }
}

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What it speaks
    #[arg(long, value_enum, default_value = "http1")]
    protocol: Protocol,
    /// Where the authority that its certificate is signed by is written
    #[arg(long, required_if_eq_any([("protocol", "tls"), ("protocol", "h2")]))]
    ca_file: Option<PathBuf>,
    /// Addresses of this machine to listen on, 127.0.1.1 and the following
    #[arg(long, default_value_t = 1)]
    hosts: usize,
    /// For how long a request to `/hang` waits
    #[arg(long, default_value_t = 10_000)]
    hang_ms: u64,
}

/// What it says once it listens.
#[derive(Debug, Serialize, Deserialize)]
struct Listening {
    hosts: Vec<SocketAddr>,
    admin: SocketAddr,
}

/// What it has counted, by what it did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Answered with a 200 at once.
    pub ok: Counted,
    /// Kept waiting.
    pub hang: Counted,
    /// Answered with an error.
    pub refused: Counted,
}

#[derive(Default)]
struct State {
    ok: Group,
    hang: Group,
    refused: Group,
    down: AtomicBool,
    connections: AtomicUsize,
    hang_for: Duration,
}

/// Runs until standard input ends.
pub async fn run(args: Args) {
    let state = Arc::new(State { hang_for: Duration::from_millis(args.hang_ms), ..State::default() });
    let tls = (args.protocol != Protocol::Http1).then(|| {
        let ca_file: &Path = args.ca_file.as_deref().expect("clap asks for it");
        tls_acceptor(ca_file, &[args.protocol.alpn()])
    });
    // All hosts have the port of this listener. While it is held no plane can get that port, on which its guard would let nothing out.
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = held.local_addr().expect("a bound listener").port();
    let mut hosts = Vec::with_capacity(args.hosts);
    for number in 0..args.hosts {
        let listener = TcpListener::bind((host(number), port)).await.expect("a free port");
        hosts.push(listener.local_addr().expect("a bound listener"));
        tokio::spawn(accept(listener, tls.clone(), args.protocol, state.clone()));
    }
    // The certificate is for `localhost`.
    if tls.is_some() {
        hosts[0] = held.local_addr().expect("a bound listener");
    }
    tokio::spawn(accept(held, tls, args.protocol, state.clone()));
    let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    child::say(&Listening { hosts, admin: admin.local_addr().expect("a bound listener") });
    tokio::spawn(administer(admin, state));
    child::until_told().await;
}

/// Address `number` of those that lead to this machine.
fn host(number: usize) -> Ipv4Addr {
    let [high, low] = [number / 250, number % 250].map(|part| u8::try_from(part).expect("at most 62,500 hosts"));
    Ipv4Addr::new(127, 0, high + 1, low + 1)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, protocol: Protocol, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            match tls {
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, protocol, state).await;
                    }
                }
                None => serve(stream, protocol, state).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, protocol: Protocol, state: Arc<State>) {
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let finder = event::finder();
    let service = service_fn(|request| answer(request, number, &state, &finder));
    let stream = TokioIo::new(stream);
    // A peer that breaks off is its own affair.
    if protocol == Protocol::H2 {
        let state = state.clone();
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { answer(request, number, &state, &event::finder()).await }
        });
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    number: usize,
    state: &State,
    finder: &memmem::Finder<'_>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let began_ns = now_ns();
    let (head, body) = request.into_parts();
    let mut response = Response::new(Full::default());
    let Ok(body) = body.collect().await else { return Ok(response) };
    let body = body.to_bytes();
    let path = head.uri.path();
    let hangs = path.starts_with("/hang");
    let (group, status) = if state.down.load(Ordering::Relaxed) {
        (&state.refused, StatusCode::SERVICE_UNAVAILABLE)
    } else if hangs {
        (&state.hang, StatusCode::OK)
    } else if path.starts_with("/refuse") {
        (&state.refused, StatusCode::BAD_REQUEST)
    } else {
        (&state.ok, StatusCode::OK)
    };
    *response.status_mut() = status;
    group.note(number, body.len(), began_ns, event::sent_ns(&body, finder));
    if hangs && status == StatusCode::OK {
        tokio::time::sleep(state.hang_for).await;
    }
    Ok(response)
}

/// Answers the bench's own questions.
async fn administer(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = asked(request.uri().path(), &state);
                async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer)))) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn asked(path: &str, state: &State) -> String {
    match path {
        "/count" => return state.ok.count().to_string(),
        "/reset" => [&state.ok, &state.hang, &state.refused].into_iter().for_each(Group::reset),
        "/down" => state.down.store(true, Ordering::Relaxed),
        "/up" => state.down.store(false, Ordering::Relaxed),
        _ => {}
    }
    let [ok, hang, refused] = [&state.ok, &state.hang, &state.refused].map(Group::counted);
    serde_json::to_string(&Stats { ok, hang, refused }).expect("numbers")
}
