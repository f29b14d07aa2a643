//! A listener that counts who comes and what they send.

use std::{net::SocketAddr, sync::Arc};

use sluice_tests::endpoint::PATIENCE;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Answers what comes, whatever it is, as HTTP/1.1 with a 200, and closes. Dropping it stops it.
pub(crate) struct Listener {
    address: SocketAddr,
    visits: Arc<watch::Sender<Visits>>,
    task: JoinHandle<()>,
}

/// Who came so far.
#[derive(Debug, Default)]
struct Visits {
    peers: Vec<SocketAddr>,
    open: usize,
    bytes: usize,
    /// Of these, the listener's own.
    own: usize,
}

/// How many connections came, and bytes on all of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
}

/// Nobody came.
pub(crate) const NOBODY: Came = Came { connections: 0, bytes: 0 };

impl Listener {
    /// On `address`; `None` if this machine does not have it.
    pub(crate) async fn bind(address: &str) -> Option<Self> {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().unwrap();
        let visits = Arc::new(watch::Sender::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&visits)));
        Some(Self { address, visits, task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Who has come until now. Connections are accepted in their order: when one of its own has come, all before it have.
    pub(crate) async fn came(&self) -> Came {
        let own = TcpStream::connect(self.address).await.unwrap();
        let address = own.local_addr().unwrap();
        self.visits.send_modify(|visits| visits.own += 1);
        self.wait_until(|visits| visits.peers.contains(&address)).await;
        drop(own);
        self.wait_until(|visits| visits.open == 0).await;
        let visits = self.visits.borrow();
        Came { connections: visits.peers.len() - visits.own, bytes: visits.bytes }
    }

    async fn wait_until(&self, condition: impl FnMut(&Visits) -> bool) {
        let mut visits = self.visits.subscribe();
        let waited = tokio::time::timeout(PATIENCE, visits.wait_for(condition)).await;
        assert!(waited.is_ok(), "a connection is missing or stays open: {:?}", self.visits.borrow());
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, visits: Arc<watch::Sender<Visits>>) {
    while let Ok((stream, peer)) = listener.accept().await {
        visits.send_modify(|visits| {
            visits.peers.push(peer);
            visits.open += 1;
        });
        let visits = Arc::clone(&visits);
        tokio::spawn(async move {
            let bytes = serve(stream).await;
            visits.send_modify(|visits| {
                visits.bytes += bytes;
                visits.open -= 1;
            });
        });
    }
}

/// Gives the bytes that came.
async fn serve(mut stream: TcpStream) -> usize {
    let mut buffer = [0; 4096];
    let first = stream.read(&mut buffer).await.unwrap_or_default();
    if first > 0 {
        // A peer that breaks off is its own affair.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        let _ = stream.shutdown().await;
    }
    let mut bytes = first;
    while let Ok(more @ 1..) = stream.read(&mut buffer).await {
        bytes += more;
    }
    bytes
}
