//! One request to an endpoint and what it came to, as reports tell it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use sluice_host::clock::Clock;
use sluice_pipeline::{
    excerpt,
    outcome::{self, Failure},
    retry_after,
    sync::CompiledSync,
};
use sluice_proto::delivery::v1::{Attempt, AttemptError, AttemptTimings};

use crate::{
    http::{Answer, NoAnswer, Trip, WebhookClient},
    report::{duration, timestamp},
};

/// What one request came to.
pub(crate) struct Exchange {
    /// When it began, milliseconds since the epoch.
    pub(crate) start_ms: i64,
    /// When it was over.
    pub(crate) end_ms: i64,
    /// The status, or why there was none.
    pub(crate) result: Result<u16, Failure>,
    /// `Retry-After`, if there was one.
    pub(crate) retry_after: Option<Duration>,
    detail: String,
    excerpt: Bytes,
    /// The status of the response's head, if it came; also where its body broke off.
    status: Option<u16>,
    trip: Trip,
}

impl Exchange {
    /// Sends `body` with `headers` to the sync's destination, once.
    pub(crate) async fn make(
        client: &WebhookClient,
        clock: &Clock,
        sync: &CompiledSync,
        headers: HeaderMap,
        body: Bytes,
    ) -> Self {
        let start_ms = clock.now_ms();
        let answer = client.post(&sync.destination, headers, body).await;
        let end_ms = clock.now_ms();
        match answer {
            Ok(Answer { status, retry_after, body, trip }) => Self {
                start_ms,
                end_ms,
                result: Ok(status.as_u16()),
                detail: String::new(),
                retry_after: retry_after.and_then(|value| retry_after::parse(&value, end_ms)),
                excerpt: excerpt::excerpt(&body, &sync.destination.headers),
                status: Some(status.as_u16()),
                trip,
            },
            Err(none) => {
                let NoAnswer { failure, detail, status, trip } = *none;
                Self {
                    start_ms,
                    end_ms,
                    result: Err(failure),
                    detail,
                    retry_after: None,
                    excerpt: Bytes::new(),
                    status: status.map(|status| status.as_u16()),
                    trip,
                }
            }
        }
    }

    /// How it travelled.
    pub(crate) fn trip(&self) -> &Trip {
        &self.trip
    }

    /// How long it took.
    pub(crate) fn took(&self) -> Duration {
        self.trip.timings.total
    }

    /// Adds what the exchange tells to what is known of the attempt, but for its timings.
    pub(crate) fn describe(&self, uri: &Uri, attempt: Attempt) -> Attempt {
        let failure = outcome::failure(&self.result);
        Attempt {
            http_status: self.status.map_or(0, i32::from),
            error: failure.map_or(AttemptError::Unspecified, Failure::error).into(),
            error_message: failure.map(|failure| failure.describe(uri, &self.detail)).unwrap_or_default(),
            response_excerpt: self.excerpt.clone(),
            start_time: Some(timestamp(self.start_ms)),
            duration: Some(span(self.end_ms - self.start_ms)),
            connection_reused: self.trip.connection_reused,
            http_version: self.trip.http_version.to_owned(),
            ..attempt
        }
    }

    /// The phases of the exchange beside those that `timings` holds already.
    pub(crate) fn timings(&self, timings: AttemptTimings) -> AttemptTimings {
        let phases = &self.trip.timings;
        AttemptTimings {
            dns: phases.dns.map(duration),
            connect: phases.connect.map(duration),
            tls: phases.tls.map(duration),
            first_byte: phases.first_byte.map(duration),
            total: Some(duration(phases.total)),
            ..timings
        }
    }
}

/// A span of time for the wire; none is negative.
pub(crate) fn span(ms: i64) -> prost_types::Duration {
    duration(Duration::from_millis(u64::try_from(ms).unwrap_or_default()))
}
