//! The socket that the guard hands out: a TCP stream that counts and carries the record of its making.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::record::{BYTES_PER_REQUEST, ConnectionRecord};

/// Counts of all sockets of one guard.
#[derive(Debug, Default)]
pub struct SocketCounts {
    opened: AtomicU64,
    closed: AtomicU64,
    read_bytes: AtomicU64,
}

impl SocketCounts {
    /// Sockets that were connected.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Of these, sockets that are closed.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Relaxed)
    }

    /// Bytes that were read, TLS included.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

/// The peer sends without end.
#[derive(Debug, Error)]
#[error("more than {} KiB came for a request", BYTES_PER_REQUEST >> 10)]
pub struct Flood;

/// A connection to a destination. Reading it fails when the peer sends more than responses need.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    record: Arc<ConnectionRecord>,
    counts: Arc<SocketCounts>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, record: Arc<ConnectionRecord>, counts: Arc<SocketCounts>) -> Self {
        counts.opened.fetch_add(1, Ordering::Relaxed);
        if let Ok(peer) = stream.peer_addr() {
            record.reached(peer);
        }
        Self { stream, record, counts }
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.record.clone())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.counts.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = (buffer.filled().len() - before) as u64;
        self.counts.read_bytes.fetch_add(read, Ordering::Relaxed);
        if self.record.may_send(read) { polled } else { Poll::Ready(Err(io::Error::other(Flood))) }
    }
}

impl AsyncWrite for Socket {
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
