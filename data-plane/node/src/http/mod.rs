//! The webhook client: one request, one answer, within a limit. No redirects; nothing is sent twice behind the caller.

mod clients;
mod connector;
mod failure;
mod stats;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use sluice_host::clock::Clock;
use sluice_pipeline::{outcome::Failure, sync::Destination};

pub use self::{clients::ClientError, connector::TLS_LIMIT, stats::ClientStats};
use self::{
    clients::Clients,
    connector::MADE_FOR,
    failure::{chain, classify},
    stats::{Counters, count},
};
use crate::guard::{ConnectionRecord, Guard, PhaseTimes};

/// Bytes of a response's body that are read.
const MAX_RESPONSE_BYTES: usize = 16 << 10;

/// Sends webhooks. Clones share the connections.
#[derive(Clone)]
pub struct WebhookClient {
    clients: Arc<Clients>,
    counters: Arc<Counters>,
    clock: Clock,
}

/// A response, as far as it was read.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its `Retry-After`, if there is one.
    pub retry_after: Option<Vec<u8>>,
    /// What was read of the body, at most 16 KiB; empty for a 2xx.
    pub body: Vec<u8>,
    /// Where the time went, and over what it came.
    pub way: Way,
}

/// No response.
#[derive(Debug)]
pub struct NoAnswer {
    /// The failure's class.
    pub failure: Failure,
    /// The cause, for people.
    pub detail: String,
    /// Where the time went, as far as it came.
    pub way: Way,
}

/// How a request went, as far as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Making the connection; empty where one was at hand.
    pub connection: PhaseTimes,
    /// From when the request could be sent to the response's head.
    pub first_byte: Option<Duration>,
    /// The whole exchange.
    pub total: Duration,
    /// Whether the connection had been used before.
    pub reused: bool,
    /// Version of HTTP that was spoken.
    pub version: Option<Version>,
}

impl WebhookClient {
    /// A client that reaches what `guard` lets it, and trusts the system's roots and those in the PEM file `extra_roots`.
    ///
    /// # Errors
    /// If the file cannot be used or TLS cannot be set up.
    pub fn new(guard: Guard, extra_roots: Option<&Path>, clock: Clock) -> Result<Self, ClientError> {
        let counters = Arc::new(Counters::default());
        let clients = Clients::new(guard, extra_roots, clock.clone(), counters.clone())?;
        Ok(Self { clients: Arc::new(clients), counters, clock })
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.counters.read()
    }

    /// Posts `body` to the destination; the exchange, the response's body included, may take its time limit.
    ///
    /// # Errors
    /// If there is no whole response in time.
    pub async fn post(&self, destination: &Destination, headers: HeaderMap, body: Bytes) -> Result<Answer, NoAnswer> {
        let began = self.clock.elapsed();
        let made: Arc<OnceLock<Arc<ConnectionRecord>>> = Arc::default();
        let mut way = Way::default();
        let exchange = MADE_FOR.scope(made.clone(), self.exchange(destination, headers, body, began, &mut way));
        let answer = tokio::select! {
            answer = exchange => answer,
            () = self.clock.sleep(destination.timeout, "request limit") => {
                Err((Failure::Timeout, format!("no whole response within {:?}", destination.timeout)))
            }
        };
        let now = self.clock.elapsed();
        way.total = now.saturating_sub(began);
        // A connection that was made for this request and given to another one has cost it nothing.
        if !way.reused
            && let Some(record) = made.get()
        {
            way.connection = record.times(now);
        }
        match answer {
            Ok((status, retry_after, body)) => Ok(Answer { status, retry_after, body, way }),
            Err((failure, detail)) => Err(NoAnswer { failure, detail, way }),
        }
    }

    async fn exchange(
        &self,
        destination: &Destination,
        headers: HeaderMap,
        body: Bytes,
        began: Duration,
        way: &mut Way,
    ) -> Result<(StatusCode, Option<Vec<u8>>, Vec<u8>), (Failure, String)> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = destination.uri.clone();
        *request.headers_mut() = headers;
        let client =
            self.clients.get(destination.trusted_ca.as_ref()).map_err(|error| (Failure::Tls, error.to_string()))?;
        let response = client.request(request).await.map_err(|error| classify(&error))?;
        let head = self.clock.elapsed();
        way.version = Some(response.version());
        count(&self.counters.requests);
        let mut sendable = began;
        if let Some(record) = response.extensions().get::<Arc<ConnectionRecord>>() {
            way.reused = record.count_request() > 0;
            if way.reused {
                count(&self.counters.reused);
            } else {
                let PhaseTimes { dns, connect, tls } = record.times(head);
                sendable += [dns, connect, tls].into_iter().flatten().sum::<Duration>();
            }
        }
        way.first_byte = Some(head.saturating_sub(sendable));
        read(response).await
    }
}

async fn read(response: Response<Incoming>) -> Result<(StatusCode, Option<Vec<u8>>, Vec<u8>), (Failure, String)> {
    let status = response.status();
    let retry_after = response.headers().get(http::header::RETRY_AFTER).map(|value| value.as_bytes().to_vec());
    let (mut kept, mut length) = (Vec::new(), 0);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if status.is_success() => return Err((Failure::Body, chain(&error))),
            // The status says more than a body that broke off.
            Err(_) => break,
        };
        if let Ok(data) = frame.into_data() {
            length += data.len();
            if !status.is_success() {
                let room = MAX_RESPONSE_BYTES - kept.len();
                kept.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
            }
        }
        if length >= MAX_RESPONSE_BYTES {
            // What is left is not read; the connection is closed with it.
            break;
        }
    }
    Ok((status, retry_after, kept))
}
