//! One exchange: a request, the response's head, as much of its body as is read; and how far it came.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode, Version, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use sluice_host::clock::Clock;
use sluice_pipeline::outcome::Failure;
use tokio::sync::Notify;

use super::{
    Answer, NoAnswer, Timings, Trip,
    connector::{BEGUN, Begun},
    failure,
    pools::Pool,
};
use crate::guard::{ConnectionRecord, Phase};

/// Bytes of a response's body that are read.
const MAX_RESPONSE_BYTES: usize = 16 << 10;

/// Interim responses (1xx) that are waited through; whoever sends more will not come to an end.
const MAX_INTERIM: u32 = 16;

type Fault = (Failure, String);

/// The progress of one exchange. It stays when its future is dropped at the limit.
pub(super) struct Exchange {
    clock: Clock,
    began: Duration,
    /// The connection that was begun for it, whether or not it was the one that was used.
    begun: Begun,
    used: Option<Used>,
    head: Option<Head>,
    body: Vec<u8>,
}

/// The connection that was used.
struct Used {
    record: Arc<ConnectionRecord>,
    reused: bool,
    since: Duration,
}

struct Head {
    status: StatusCode,
    version: &'static str,
    retry_after: Option<Vec<u8>>,
    came: Duration,
}

impl Exchange {
    pub(super) fn begin(clock: Clock) -> Self {
        let began = clock.elapsed();
        Self { clock, began, begun: Arc::default(), used: None, head: None, body: Vec::new() }
    }

    /// Sends the request and reads the response.
    pub(super) async fn make(&mut self, pool: &Pool, mut request: Request<Full<Bytes>>) -> Result<(), Fault> {
        let mut captured = capture_connection(&mut request);
        let flood = count_interim(&mut request);
        let sending = BEGUN.scope(self.begun.clone(), pool.request(request));
        tokio::pin!(sending);
        let early = tokio::select! {
            biased;
            response = &mut sending => Some(response),
            () = given(&mut captured) => None,
        };
        self.note_connection(&captured);
        let sent = match early {
            Some(response) => response,
            None => tokio::select! {
                biased;
                response = &mut sending => response,
                () = flood.notified() => {
                    return Err((Failure::Protocol, format!("more than {MAX_INTERIM} interim responses (1xx)")));
                }
            },
        };
        // A connection that turned out closed before the request was taken up has been replaced by another.
        self.note_connection(&captured);
        match sent {
            Ok(response) => self.read(response).await,
            Err(error) => {
                let (failure, detail) = self.fault(&error);
                if failure.is_of_connecting() {
                    // A kept connection was closed, and there was no other in its place.
                    self.used = None;
                }
                Err((failure, detail))
            }
        }
    }

    /// Whether the connection that was used had been used before; `None`: there was no connection.
    pub(super) fn connection_reused(&self) -> Option<bool> {
        self.used.as_ref().map(|used| used.reused)
    }

    /// What came of it within `limit`.
    pub(super) fn end_within(self, limit: Duration, result: Result<(), Fault>) -> Result<Answer, Box<NoAnswer>> {
        let result = match result {
            Err((Failure::Timeout, _)) => {
                let (failure, missing) = self.missing();
                Err((failure, format!("{missing} within {limit:?}")))
            }
            result => result,
        };
        self.end(result)
    }

    /// What came of it.
    pub(super) fn end(self, result: Result<(), Fault>) -> Result<Answer, Box<NoAnswer>> {
        let trip = self.trip();
        let status = self.head.as_ref().map(|head| head.status);
        match (result, self.head) {
            (Ok(()), Some(head)) => {
                Ok(Answer { status: head.status, retry_after: head.retry_after, body: self.body, trip })
            }
            // It has failed whatever follows its head, and its status says most.
            (Err(_), Some(head)) if !head.status.is_success() => {
                Ok(Answer { status: head.status, retry_after: head.retry_after, body: self.body, trip })
            }
            (Err((failure, detail)), _) => Err(Box::new(NoAnswer { failure, detail, status, trip })),
            (Ok(()), None) => {
                let detail = "no response".to_owned();
                Err(Box::new(NoAnswer { failure: Failure::Protocol, detail, status, trip }))
            }
        }
    }

    async fn read(&mut self, response: Response<Incoming>) -> Result<(), Fault> {
        let status = response.status();
        self.head = Some(Head {
            status,
            version: if response.version() == Version::HTTP_2 { "2" } else { "1.1" },
            retry_after: response.headers().get(RETRY_AFTER).map(|value| value.as_bytes().to_vec()),
            came: self.clock.elapsed(),
        });
        let mut length = 0;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| (Failure::Body, failure::chain(&error)))?;
            if let Ok(data) = frame.into_data() {
                // Empty ones count too: there is no end to them else.
                length += data.len().max(1);
                if !status.is_success() {
                    let room = MAX_RESPONSE_BYTES.saturating_sub(self.body.len());
                    self.body.extend(data.iter().take(room));
                }
            }
            if length >= MAX_RESPONSE_BYTES {
                // What is left is not read; the connection is closed with it, of HTTP/2 the stream.
                break;
            }
        }
        Ok(())
    }

    fn note_connection(&mut self, captured: &CaptureConnection) {
        let mut extras = Extensions::new();
        if let Some(connected) = captured.connection_metadata().as_ref() {
            connected.get_extras(&mut extras);
        }
        let Some(record) = extras.remove::<Arc<ConnectionRecord>>() else { return };
        if self.used.as_ref().is_some_and(|used| Arc::ptr_eq(&used.record, &record)) {
            return;
        }
        let reused = record.count_request() > 0;
        self.used = Some(Used { record, reused, since: self.clock.elapsed() });
    }

    fn fault(&self, error: &hyper_util::client::legacy::Error) -> Fault {
        let (failure, detail) = failure::classify(error);
        let in_handshake = || self.begun.load().as_ref().is_some_and(|record| record.phase() == Phase::Handshake);
        match failure {
            // The TCP connection stood: who broke it off did so within the TLS handshake.
            Failure::Connect if in_handshake() => (Failure::Tls, detail),
            failure => (failure, detail),
        }
    }

    /// What had not come at the limit, and the class of that.
    fn missing(&self) -> (Failure, &'static str) {
        if self.head.is_some() {
            return (Failure::Timeout, "the response's body did not end");
        }
        if self.used.is_some() {
            return (Failure::Timeout, "no response");
        }
        match self.begun.load().as_ref().map(|record| record.phase()) {
            Some(Phase::Resolving) => (Failure::Dns, "no answer"),
            Some(Phase::Connecting) => (Failure::ConnectTimeout, "no connection"),
            Some(Phase::Handshake) => (Failure::TlsTimeout, "no TLS session"),
            Some(Phase::Made) | None => (Failure::Timeout, "no free connection"),
        }
    }

    fn trip(&self) -> Trip {
        let now = self.clock.elapsed();
        // One that was made for another request, or before this one came, took none of its time.
        let begun = self.begun.load_full();
        let making = match &self.used {
            Some(used) => begun.filter(|begun| Arc::ptr_eq(begun, &used.record)),
            None => begun,
        };
        let times = making.map(|record| record.times(now)).unwrap_or_default();
        let waited_since = self.used.as_ref().map(|used| used.since);
        let head_or_now = self.head.as_ref().map_or(now, |head| head.came);
        Trip {
            timings: Timings {
                dns: times.dns,
                connect: times.connect,
                tls: times.tls,
                first_byte: waited_since.map(|since| head_or_now.saturating_sub(since)),
                total: now.saturating_sub(self.began),
            },
            connection_reused: self.connection_reused() == Some(true),
            http_version: self.head.as_ref().map_or("", |head| head.version),
            peer: self.used.as_ref().and_then(|used| used.record.peer()),
        }
    }
}

/// Waits until the pool has given the request a connection.
async fn given(captured: &mut CaptureConnection) {
    let _ = captured.wait_for_connection_metadata().await;
}

/// Tells when too many interim responses have come. HTTP/2 connections pass over them, within the limit of the exchange.
fn count_interim(request: &mut Request<Full<Bytes>>) -> Arc<Notify> {
    let (flood, count) = (Arc::new(Notify::new()), AtomicU32::new(0));
    hyper::ext::on_informational(request, {
        let flood = flood.clone();
        move |_| {
            if count.fetch_add(1, Ordering::Relaxed) >= MAX_INTERIM {
                flood.notify_one();
            }
        }
    });
    flood
}
