//! One connection. HTTP/1.1 takes one request at a time and is driven by whoever has it, within the request's own task: so the
//! bytes that come wake the one who waits for them. HTTP/2 is shared, and driven by a task of its own.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Frame, Incoming},
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::{client::legacy::connect::Connection as _, rt::TokioExecutor};

use super::{connector::Stream, failure::Fault, timer::ClockTimer};
use crate::guard::ConnectionRecord;

/// Largest head of a response.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// Interim responses (1xx) that are waited through; whoever sends more will not come to an end. HTTP/2 connections pass over them,
/// within the limit of the exchange.
const MAX_INTERIM: u32 = 16;

/// How much an endpoint may send over HTTP/2 without being read: per request, and per connection.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// An HTTP/2 connection with requests under way is asked for a sign of life so often, and closed if there is none: a peer
/// that has silently gone would else time out every request that is given to it.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) type Body = Full<Bytes>;

/// A connection that takes a request.
pub(super) enum Connection {
    One(Box<Single>),
    Shared(Shared),
}

/// HTTP/1.1.
pub(super) struct Single {
    sender: http1::SendRequest<Body>,
    /// None: it is closed.
    driver: Option<http1::Connection<Stream, Body>>,
    pub(super) record: Arc<ConnectionRecord>,
    /// What requests that do not say otherwise name as their `Host`.
    pub(super) host: HeaderValue,
    interim: Arc<AtomicU32>,
    /// Counts interim responses; goes along with each request.
    counting: Extensions,
}

/// HTTP/2. Clones share it.
#[derive(Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<Body>,
    pub(super) record: Arc<ConnectionRecord>,
}

/// Why there is no response.
pub(super) enum NoResponse {
    /// The connection was closed before it took up the request, which is given back whole: nothing of it has been written.
    Returned(Box<Request<Body>>, hyper::Error),
    /// It has failed.
    Failed(Fault),
}

impl Connection {
    /// Begins to speak HTTP on `stream` to `host`: version 2 if that was agreed on.
    pub(super) async fn begin(
        stream: Stream,
        record: Arc<ConnectionRecord>,
        host: HeaderValue,
        timer: &ClockTimer,
    ) -> hyper::Result<Connection> {
        if !stream.connected().is_negotiated_h2() {
            let (sender, driver) =
                http1::Builder::new().max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES).handshake(stream).await?;
            return Ok(Self::One(Box::new(Single::new(sender, driver, record, host))));
        }
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(timer.clone())
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an HTTP/2 connection has ended");
            }
        });
        Ok(Self::Shared(Shared { sender, record }))
    }

    pub(super) fn record(&self) -> &Arc<ConnectionRecord> {
        match self {
            Self::One(single) => &single.record,
            Self::Shared(shared) => &shared.record,
        }
    }

    /// Sends the request; gives the head of the response. What is sent has to be in the form of this version.
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, NoResponse> {
        match self {
            Self::One(single) => single.send(request).await,
            Self::Shared(Shared { sender, .. }) => {
                if let Err(error) = sender.ready().await {
                    return Err(NoResponse::Returned(Box::new(request), error));
                }
                sender.try_send_request(request).await.map_err(NoResponse::from)
            }
        }
    }

    /// The next part of the response's body.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Option<hyper::Result<Frame<Bytes>>> {
        std::future::poll_fn(|cx| {
            let mut polled = Pin::new(&mut *body).poll_frame(cx);
            if polled.is_pending()
                && let Self::One(single) = self
            {
                single.drive(cx);
                polled = Pin::new(&mut *body).poll_frame(cx);
            }
            polled
        })
        .await
    }
}

impl Single {
    fn new(
        sender: http1::SendRequest<Body>,
        driver: http1::Connection<Stream, Body>,
        record: Arc<ConnectionRecord>,
        host: HeaderValue,
    ) -> Self {
        let (interim, mut carrier) = (Arc::new(AtomicU32::new(0)), Request::new(()));
        let counter = interim.clone();
        hyper::ext::on_informational(&mut carrier, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        Self { sender, driver: Some(driver), record, host, interim, counting: std::mem::take(carrier.extensions_mut()) }
    }

    async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, NoResponse> {
        self.interim.store(0, Ordering::Relaxed);
        *request.extensions_mut() = self.counting.clone();
        let mut sending = std::pin::pin!(self.sender.try_send_request(request));
        let (driver, interim) = (&mut self.driver, &self.interim);
        std::future::poll_fn(|cx| {
            // What waits for the response is asked after what brings it: one that is here already is seen at once.
            drive(driver, cx);
            if let Poll::Ready(sent) = sending.as_mut().poll(cx) {
                return Poll::Ready(sent.map_err(NoResponse::from));
            }
            if interim.load(Ordering::Relaxed) > MAX_INTERIM {
                return Poll::Ready(Err(NoResponse::Failed(Fault::interim(MAX_INTERIM))));
            }
            Poll::Pending
        })
        .await
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Whether nothing can be sent any more, as far as is known without waiting.
    pub(super) fn is_over(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_none()
    }

    /// Closes it as TLS wants it, with a last word (RFC 8446 §6.1).
    pub(super) async fn close(self) {
        drop(self.sender);
        if let Some(driver) = self.driver
            && let Err(error) = driver.await
        {
            tracing::debug!(%error, "an HTTP/1.1 connection did not end well");
        }
    }

    /// Whether it can take a request now: it is open, and what came before is over.
    pub(super) async fn is_free(&mut self) -> bool {
        std::future::poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(self.driver.is_some() && self.sender.is_ready())
        })
        .await
    }
}

/// Reads and writes what can be; a connection that is over is given up.
fn drive(driver: &mut Option<http1::Connection<Stream, Body>>, cx: &mut Context<'_>) {
    if let Some(connection) = driver
        && let Poll::Ready(ended) = Pin::new(connection).poll(cx)
    {
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP/1.1 connection has ended");
        }
        *driver = None;
    }
}

impl Shared {
    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl From<TrySendError<Request<Body>>> for NoResponse {
    fn from(mut error: TrySendError<Request<Body>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Returned(Box::new(request), error.into_error()),
            None => Self::Failed(Fault::of(&error.into_error())),
        }
    }
}
