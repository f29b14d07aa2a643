//! Makes connections: through the guard, then TLS within its limit; each carries the record of its making.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    sync::{Arc, OnceLock, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::ClientConfig;
use sluice_host::clock::Clock;
use thiserror::Error;
use tokio::net::TcpStream;
use tower::Service;

use super::stats::{Counters, count};
use crate::guard::{ConnectionRecord, Guard, Phase};

/// Limit on the TLS handshake; the exchange has its own limit beside it.
pub const TLS_LIMIT: Duration = Duration::from_secs(5);

/// The TLS handshake took too long.
#[derive(Debug, Error)]
#[error("no TLS session within {TLS_LIMIT:?}")]
pub(super) struct TlsTimeout;

tokio::task_local! {
    /// Where the connection that a request has made for itself is noted. The pool asks for connections from within the
    /// request's own future.
    pub(super) static MADE_FOR: Arc<OnceLock<Arc<ConnectionRecord>>>;
}

/// Makes connections for the pool.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) clock: Clock,
    pub(super) counters: Arc<Counters>,
}

type BoxError = Box<dyn StdError + Send + Sync>;
type Secured = MaybeHttpsStream<TokioIo<TcpStream>>;

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let record = Arc::new(ConnectionRecord::default());
        // A connection that is made for nobody in particular is noted nowhere.
        let _ = MADE_FOR.try_with(|made| made.set(record.clone()));
        let mut https = HttpsConnector::from((self.guard.recording(record.clone()), self.tls.clone()));
        let connecting = https.call(uri);
        let (clock, counters) = (self.clock.clone(), self.counters.clone());
        Box::pin(async move {
            let tls_limit = async {
                record.connected().await;
                clock.sleep(TLS_LIMIT, "tls limit").await;
            };
            let stream = tokio::select! {
                biased;
                stream = connecting => stream?,
                () = tls_limit => return Err(TlsTimeout.into()),
            };
            record.enter(Phase::Made, false, clock.elapsed());
            count(&counters.opened);
            Ok(Wire { stream, record, counters })
        })
    }
}

/// A connection to an endpoint.
pub(super) struct Wire {
    stream: Secured,
    record: Arc<ConnectionRecord>,
    counters: Arc<Counters>,
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.record.clone())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        count(&self.counters.closed);
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // A buffer of our own would be needed to see how much was read otherwise; what is left says it.
        let before = cursor.remaining();
        let polled = {
            let mut chunk = [0; 8 << 10];
            let room = before.min(chunk.len());
            let mut buffer = ReadBuf::new(chunk.get_mut(..room).unwrap_or_default());
            let polled = Pin::new(&mut self.stream).poll_read(cx, buffer.unfilled());
            cursor.put_slice(buffer.filled());
            polled
        };
        let read = before - cursor.remaining();
        self.counters.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}
