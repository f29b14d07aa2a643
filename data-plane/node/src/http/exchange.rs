//! One exchange: a request, the response's head, as much of its body as is read; and how far it came.

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode, Version, header::RETRY_AFTER};
use hyper::body::{Body as _, Incoming};
use sluice_host::clock::Clock;
use sluice_pipeline::outcome::Failure;

use super::{
    Answer, NoAnswer, Timings, Trip,
    connection::Body,
    failure::Fault,
    pool::{Lease, Pool, Progress},
};
use crate::guard::{ConnectionRecord, Phase};

/// Bytes of a response's body that are read.
const MAX_RESPONSE_BYTES: usize = 16 << 10;

/// The progress of one exchange. It stays when its future is dropped at the limit.
pub(super) struct Exchange {
    clock: Clock,
    began: Duration,
    /// The connection that was begun for it, whether or not it was the one that was used.
    begun: Option<Arc<ConnectionRecord>>,
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
        Self { clock, began, begun: None, used: None, head: None, body: Vec::new() }
    }

    /// Sends the request and reads the response.
    pub(super) async fn make(&mut self, pool: &Pool, request: Request<Body>) -> Result<(), Fault> {
        match pool.send(request, self).await {
            Ok((response, lease)) => self.read(response, lease).await,
            Err(fault) => {
                let fault = self.explained(fault);
                if fault.failure.is_of_connecting() {
                    // A kept connection was closed, and there was no other in its place.
                    self.used = None;
                }
                Err(fault)
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
            Err(Fault { failure: Failure::Timeout, .. }) => {
                let (failure, missing) = self.missing();
                Err(Fault { failure, detail: format!("{missing} within {limit:?}") })
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
            (Err(Fault { failure, detail }), _) => Err(Box::new(NoAnswer { failure, detail, status, trip })),
            (Ok(()), None) => {
                let detail = "no response".to_owned();
                Err(Box::new(NoAnswer { failure: Failure::Protocol, detail, status, trip }))
            }
        }
    }

    async fn read(&mut self, response: Response<Incoming>, mut lease: Lease) -> Result<(), Fault> {
        let status = response.status();
        self.head = Some(Head {
            status,
            version: if response.version() == Version::HTTP_2 { "2" } else { "1.1" },
            retry_after: response.headers().get(RETRY_AFTER).map(|value| value.as_bytes().to_vec()),
            came: self.clock.elapsed(),
        });
        let mut length = 0;
        let mut body = response.into_body();
        while !body.is_end_stream()
            && let Some(frame) = lease.connection.frame(&mut body).await
        {
            let frame = frame.map_err(|error| Fault::of_body(&error))?;
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
                return Ok(());
            }
        }
        lease.give_back().await;
        Ok(())
    }

    /// With what else is known of it.
    fn explained(&self, fault: Fault) -> Fault {
        let in_handshake = || self.begun.as_ref().is_some_and(|record| record.phase() == Phase::Handshake);
        match fault.failure {
            // The TCP connection stood: who broke it off did so within the TLS handshake.
            Failure::Connect if in_handshake() => Fault { failure: Failure::Tls, ..fault },
            _ => fault,
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
        match self.begun.as_ref().map(|record| record.phase()) {
            Some(Phase::Resolving) => (Failure::Dns, "no answer"),
            Some(Phase::Connecting) => (Failure::ConnectTimeout, "no connection"),
            Some(Phase::Handshake) => (Failure::TlsTimeout, "no TLS session"),
            Some(Phase::Made) | None => (Failure::Timeout, "no free connection"),
        }
    }

    fn trip(&self) -> Trip {
        let now = self.clock.elapsed();
        // One that was made for another request, or before this one came, took none of its time.
        let begun = self.begun.as_ref();
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

impl Progress for Exchange {
    fn begun(&mut self, record: &Arc<ConnectionRecord>) {
        self.begun = Some(record.clone());
    }

    fn given(&mut self, record: &Arc<ConnectionRecord>, reused: bool) {
        self.used = Some(Used { record: record.clone(), reused, since: self.clock.elapsed() });
    }
}
