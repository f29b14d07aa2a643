//! An endpoint that keeps to no rules: what happens on a connection is a script over the raw socket, or over TLS.

pub mod h2;
mod stage;

use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};

pub use self::stage::{Stage, phases};
use crate::endpoint::{PATIENCE, tls_acceptor};

/// A head that says all is well and leaves the connection open; no body.
pub const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A running endpoint. Dropping it stops it and what goes on on its connections.
pub struct HostileEndpoint {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    go: Semaphore,
    reached: watch::Sender<usize>,
    requests: Mutex<Vec<String>>,
    accepted: AtomicUsize,
}

/// How an endpoint takes connections.
#[derive(Clone)]
enum Door {
    Plain,
    Tls(tokio_rustls::TlsAcceptor),
}

impl HostileEndpoint {
    /// Speaks plain TCP. `script` is what it does on each connection, whose number begins at 0; when it ends, the connection
    /// is closed.
    pub async fn start<F>(script: impl Fn(Peer, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::run(Door::Plain, "http", script).await
    }

    /// The same, for an `https` URL: whether and how it speaks TLS is the script's affair.
    pub async fn start_beneath_tls<F>(script: impl Fn(Peer, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::run(Door::Plain, "https", script).await
    }

    /// The same within TLS. The CA that has signed its certificate for `localhost` is written to `ca_file`; `protocols` are
    /// those that it offers by ALPN.
    pub async fn start_tls<F>(
        ca_file: &Path,
        protocols: &[&str],
        script: impl Fn(Peer, usize) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::run(Door::Tls(tls_acceptor(ca_file, protocols)), "https", script).await
    }

    async fn run<F>(door: Door, scheme: &'static str, script: impl Fn(Peer, usize) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            go: Semaphore::new(0),
            reached: watch::channel(0).0,
            requests: Mutex::default(),
            accepted: AtomicUsize::new(0),
        });
        let script = Arc::new(script);
        let task = tokio::spawn({
            let shared = shared.clone();
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    let Ok((stream, _)) = listener.accept().await else { return };
                    stream.set_nodelay(true).unwrap();
                    let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                    let (door, script, shared) = (door.clone(), script.clone(), shared.clone());
                    connections.spawn(async move {
                        let stream = match door {
                            Door::Plain => Stream::Plain(stream),
                            Door::Tls(acceptor) => Stream::Tls(Box::new(acceptor.accept(stream).await?)),
                        };
                        // A peer that breaks off is what the tests are about.
                        script(Peer { stream, shared }, number).await
                    });
                }
            }
        });
        Self { address, scheme, shared, task }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost".to_owned() } else { self.address.ip().to_string() };
        format!("{}://{host}:{}/hook", self.scheme, self.address.port())
    }

    /// Lets a script go on that waits in [`Peer::until_told`], be it now or later.
    pub fn go(&self) {
        self.shared.go.add_permits(1);
    }

    /// Waits until scripts have come to [`Peer::mark`] `count` times in all.
    pub async fn reached(&self, count: usize) {
        let mut reached = self.shared.reached.subscribe();
        let enough = tokio::time::timeout(PATIENCE, reached.wait_for(|marks| *marks >= count)).await;
        assert!(enough.is_ok(), "the endpoint's script has not come so far");
    }

    /// Connections that it has taken.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The `webhook-id` of every request of which a head was read, in their order.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for HostileEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

/// The other end of a connection, as a script has it.
pub struct Peer {
    stream: Stream,
    shared: Arc<Shared>,
}

impl Peer {
    fn stream(&mut self) -> Pin<Box<dyn Both + '_>> {
        match &mut self.stream {
            Stream::Plain(stream) => Box::pin(stream),
            Stream::Tls(stream) => Box::pin(stream.as_mut()),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection does not take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut stream = self.stream();
        stream.write_all(bytes.as_ref()).await?;
        stream.flush().await
    }

    /// Sends the same bytes over and over, and reads what comes, until the connection breaks.
    ///
    /// # Errors
    /// When it breaks, which it should.
    pub async fn flood(self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let Self { stream, shared: _shared } = self;
        let (mut reading, mut writing) = match stream {
            Stream::Plain(stream) => halves(stream),
            Stream::Tls(stream) => halves(*stream),
        };
        // Written in large pieces: a peer that reads on is given more than it can bear.
        let piece = bytes.as_ref().repeat(4096 / bytes.as_ref().len() + 1);
        let flooding = async {
            loop {
                writing.write_all(&piece).await?;
                writing.flush().await?;
            }
        };
        let mut sink = tokio::io::sink();
        let swallowing = tokio::io::copy(&mut reading, &mut sink);
        tokio::select! {
            broken = flooding => broken,
            read = swallowing => read.map(drop),
        }
    }

    /// Reads until there is something, and gives it.
    ///
    /// # Errors
    /// If the peer has gone.
    pub async fn read_some(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 16 << 10];
        let read = self.stream().read(&mut bytes).await?;
        bytes.truncate(read);
        if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }

    /// Reads one byte of what follows.
    ///
    /// # Errors
    /// If the peer has gone.
    pub async fn read_byte(&mut self) -> io::Result<u8> {
        self.stream().read_u8().await
    }

    /// Waits until the peer has sent something, and leaves it unread. Not within TLS.
    ///
    /// # Errors
    /// If the peer has gone.
    pub async fn await_bytes(&mut self) -> io::Result<()> {
        match &self.stream {
            Stream::Plain(stream) => stream.readable().await,
            Stream::Tls(_) => panic!("TLS reads what comes"),
        }
    }

    /// Reads a request's head byte for byte, and no more. `first` is what was read of it before.
    ///
    /// # Errors
    /// If the peer breaks off before its end.
    pub async fn read_head(&mut self, first: &[u8]) -> io::Result<String> {
        let mut head = first.to_vec();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.read_byte().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let id = header(&head, "webhook-id").unwrap_or_default().to_owned();
        self.shared.requests.lock().unwrap().push(id);
        Ok(head)
    }

    /// Reads a whole HTTP/1.1 request.
    ///
    /// # Errors
    /// If the peer breaks off before its end.
    pub async fn read_request(&mut self) -> io::Result<()> {
        let head = self.read_head(b"").await?;
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        self.stream().read_exact(&mut vec![0; length]).await.map(drop)
    }

    /// Keeps the connection open until the peer closes it.
    ///
    /// # Errors
    /// If the peer resets it.
    pub async fn hold(&mut self) -> io::Result<()> {
        let mut sink = tokio::io::sink();
        tokio::io::copy(&mut self.stream(), &mut sink).await.map(drop)
    }

    /// Tells the test how far it has come.
    pub fn mark(&self) {
        self.shared.reached.send_modify(|marks| *marks += 1);
    }

    /// Waits for [`HostileEndpoint::go`].
    pub async fn until_told(&self) {
        self.shared.go.acquire().await.unwrap().forget();
    }

    /// Breaks the connection off without a word of TLS or TCP that all was sent.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn reset(self) -> io::Result<()> {
        match &self.stream {
            Stream::Plain(stream) => stream.set_zero_linger(),
            Stream::Tls(stream) => stream.get_ref().0.set_zero_linger(),
        }
    }
}

trait Both: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Both for S {}

type Reading = Pin<Box<dyn AsyncRead + Send>>;
type Writing = Pin<Box<dyn AsyncWrite + Send>>;

fn halves(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> (Reading, Writing) {
    let (reading, writing) = tokio::io::split(stream);
    (Box::pin(reading), Box::pin(writing))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
