//! A webhook receiver: answers 204 to every request and remembers what came.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// SHA-256 of a body.
pub(crate) type BodyHash = [u8; 32];

/// Largest body that is taken.
const MAX_BODY_BYTES: usize = 4 << 20;

/// A running receiver. Dropping it stops it.
pub(crate) struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<HashMap<String, Received>>>,
    count: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

/// What came to one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// How often each (`webhook-id`, hash of the body) came.
    pub(crate) deliveries: HashMap<(String, BodyHash), u64>,
    /// How many requests had which `Authorization` header; `None`: none.
    pub(crate) authorizations: HashMap<Option<Vec<u8>>, u64>,
    /// The body that came first.
    pub(crate) first_body: Option<(String, Bytes)>,
}

impl Received {
    /// Requests that came.
    pub(crate) fn requests(&self) -> u64 {
        self.deliveries.values().sum()
    }
}

impl Receiver {
    /// Listens on a free port of this machine.
    pub(crate) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(HashMap::new()));
        let (counted, count) = watch::channel(0);
        let task = tokio::spawn(serve(listener, received.clone(), counted));
        Ok(Self { address, received, count, task })
    }

    /// URL of one path of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many requests have come, to all paths.
    pub(crate) fn count(&self) -> watch::Receiver<u64> {
        self.count.clone()
    }

    /// What has come to `path` until now.
    pub(crate) fn received(&self, path: &str) -> Received {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned().unwrap_or_default()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, received: Arc<Mutex<HashMap<String, Received>>>, counted: watch::Sender<u64>) {
    loop {
        // A connection that could not be taken is tried again by the sender.
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _ = socket.set_nodelay(true);
        let (received, counted) = (received.clone(), counted.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, received.clone(), counted.clone()));
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A broken connection concerns only the request in flight, which then counts as not answered.
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<HashMap<String, Received>>>,
    counted: watch::Sender<u64>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let webhook_id = head.headers.get("webhook-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let webhook_id = webhook_id.unwrap_or_default();
    let authorization = head.headers.get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    let hash = BodyHash::from(Sha256::digest(&body));
    {
        let mut paths = received.lock().unwrap_or_else(PoisonError::into_inner);
        let received = paths.entry(head.uri.path().to_owned()).or_default();
        *received.deliveries.entry((webhook_id.clone(), hash)).or_default() += 1;
        *received.authorizations.entry(authorization).or_default() += 1;
        received.first_body.get_or_insert((webhook_id, body));
    }
    counted.send_modify(|count| *count += 1);
    Ok(status(StatusCode::NO_CONTENT))
}

fn status(status: StatusCode) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    response
}
