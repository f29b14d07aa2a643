//! The trace of an event: one span for its acceptance, and for each round one with its rendering and its attempts below.
//!
//! The first round belongs to the trace that the event came in, or to one that begins with it, whose id is the event's. Rounds that
//! follow, minutes to hours later, and those of a redelivery, have traces of their own, which are linked to the acceptance and to
//! the first round: else a trace would never end. Ids are derived from those of the event and the delivery where others must know
//! them, so that nothing more than the stored `traceparent` is kept.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue, Uri};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use sluice_pipeline::{
    destination,
    event::{EventId, WebhookId},
    sync::{CompiledSync, Payload},
};
use sluice_proto::delivery::v1::{Attempt, AttemptError};
use sluice_telemetry::{
    KeyValue, SpanContext, SpanKind, Telemetry, context,
    spans::{self, Span},
};

use super::meters::error_name;
use crate::{http::Trip, lanes::Work, spool::store::StoredEvent};

/// Traces events as they are accepted.
#[derive(Clone, Debug)]
pub struct Acceptance {
    telemetry: Telemetry,
    /// Trace context that came with the call, for events without their own.
    call: Option<SpanContext>,
}

/// What became of an event.
#[derive(Clone, Copy, Debug)]
pub enum Accepted<'a> {
    /// It is kept for so many syncs, or for none.
    Matched(&'a str, usize),
    /// It was refused.
    Rejected(&'a str),
}

/// An event's trace context, as texts that are stored with it.
pub type Texts = (String, String);

impl Acceptance {
    /// For `telemetry`.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, call: None }
    }

    /// The same for the events of a call that came with this context.
    #[must_use]
    pub fn of_call(&self, call: Option<SpanContext>) -> Self {
        Self { call, ..self.clone() }
    }

    /// Whether anybody wants to know of events that are not kept.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.telemetry.traces()
    }

    /// Makes the event's span, if its trace is kept, to be told when it is on disk; gives the context to store with it.
    #[must_use]
    pub fn accept(&self, sent: Texts, id: EventId, accept_ms: i64, accepted: Accepted<'_>) -> (Texts, Option<Span>) {
        let sent = match &self.call {
            Some(call) if sent.0.is_empty() => (context::traceparent(call), context::tracestate(call)),
            _ => sent,
        };
        if !self.telemetry.traces() {
            return (sent, None);
        }
        let parent = context::parse(&sent.0, &sent.1);
        let trace_id = parent.as_ref().map_or_else(|| trace_of(id), SpanContext::trace_id);
        if !self.telemetry.samples(parent.as_ref(), trace_id) {
            // The rounds must know: what is stored says whether the trace is kept here.
            let left_out = parent.filter(SpanContext::is_sampled).map(|parent| {
                let flags = TraceFlags::default();
                let state = parent.trace_state().clone();
                context::traceparent(&SpanContext::new(trace_id, parent.span_id(), flags, true, state))
            });
            return match left_out {
                Some(traceparent) => ((traceparent, sent.1), None),
                None => (sent, None),
            };
        }
        let own = match &parent {
            Some(parent) => {
                SpanContext::new(trace_id, span_of(&id.0), TraceFlags::SAMPLED, false, parent.trace_state().clone())
            }
            None => spans::at(trace_id, span_of(&id.0), true),
        };
        let texts = (context::traceparent(&own), context::tracestate(&own));
        let mut attributes = vec![KeyValue::new("sluice.event.id", id.to_string())];
        let outcome = match accepted {
            Accepted::Matched(event_type, syncs) => {
                attributes.push(KeyValue::new("sluice.event.type", event_type.to_owned()));
                attributes.push(KeyValue::new("sluice.matched", i64::try_from(syncs).unwrap_or(i64::MAX)));
                if syncs == 0 { "unmatched" } else { "matched" }
            }
            Accepted::Rejected(_) => "rejected",
        };
        attributes.push(KeyValue::new("sluice.outcome", outcome));
        let error = match accepted {
            Accepted::Rejected(reason) => Some(Cow::Owned(reason.to_owned())),
            Accepted::Matched(..) => None,
        };
        let span = Span {
            context: own,
            parent,
            kind: SpanKind::Consumer,
            name: "accept".into(),
            start_ms: accept_ms,
            took: Duration::ZERO,
            attributes,
            links: Vec::new(),
            error,
        };
        (texts, Some(span))
    }

    /// Events are on disk since `now_ms`: their spans are over.
    pub fn stored(&self, accepted: Vec<Span>, now_ms: i64) {
        for mut span in accepted {
            span.took = Duration::from_millis(u64::try_from(now_ms - span.start_ms).unwrap_or_default());
            self.telemetry.tell(span);
        }
    }
}

/// The trace of a round under way.
pub struct RoundTrace<'a> {
    telemetry: &'a Telemetry,
    sync: &'a CompiledSync,
    work: &'a Work,
    /// Whether it is told whatever comes of it.
    sampled: bool,
    /// Its span, and what that hangs on.
    round: SpanContext,
    parent: Option<SpanContext>,
    links: Vec<SpanContext>,
    began_ms: i64,
    began: Duration,
    spans: Vec<Span>,
}

impl<'a> RoundTrace<'a> {
    /// The trace of a round that begins; none if nobody will ever see it.
    #[must_use]
    pub fn begin(
        telemetry: &'a Telemetry,
        sync: &'a CompiledSync,
        work: &'a Work,
        began_ms: i64,
        began: Duration,
    ) -> Option<Self> {
        let event = &work.event;
        let told = telemetry.traces();
        let sampled = told && event.traceparent.ends_with("-01");
        let sends = sync.destination.send_trace_context;
        let is_seen = sampled || sends || (told && telemetry.keeps_failures());
        if !is_seen {
            return None;
        }
        let origin = context::parse(&event.traceparent, &event.tracestate);
        let trace_id = origin.as_ref().map_or_else(|| trace_of(event.id), SpanContext::trace_id);
        let first = spans::at(trace_id, span_of(&WebhookId::new(event.id, &sync.uid).0), sampled);
        let first = match &origin {
            Some(origin) => {
                SpanContext::new(trace_id, first.span_id(), first.trace_flags(), false, origin.trace_state().clone())
            }
            None => first,
        };
        let state = &work.state;
        let (round, parent, links) = if state.round > 1 || state.schedule > 1 {
            (spans::root(sampled), None, origin.into_iter().chain([first]).collect())
        } else if state.attempts > 0 {
            // It goes on after a stop: two spans must not have one id.
            (spans::child(&first), origin, vec![first])
        } else {
            (first, origin, Vec::new())
        };
        Some(Self { telemetry, sync, work, sampled, round, parent, links, began_ms, began, spans: Vec::new() })
    }

    /// Whether it is told whatever comes of it: then what is logged belongs to it, too.
    #[must_use]
    pub fn sampled(&self) -> Option<&SpanContext> {
        self.sampled.then_some(&self.round)
    }

    /// The body was rendered.
    pub fn rendered(&mut self, took: Duration, error: Option<AttemptError>) {
        let is_template = matches!(self.sync.payload, Payload::Template { .. });
        if !is_template || !self.is_of_interest(error.is_some()) {
            return;
        }
        let error = error.map(error_name);
        let attributes = error.iter().map(|error| KeyValue::new("error.type", error.clone())).collect();
        self.spans.push(Span {
            context: spans::child(&self.round),
            parent: Some(self.round.clone()),
            kind: SpanKind::Internal,
            name: "render".into(),
            start_ms: self.began_ms,
            took,
            attributes,
            links: Vec::new(),
            error: error.map(Cow::Owned),
        });
    }

    /// An attempt begins: its span's context, which goes with the request where the sync says so.
    pub fn attempt(&self, headers: &mut HeaderMap) -> SpanContext {
        let own = spans::child(&self.round);
        if self.sync.destination.send_trace_context {
            let texts =
                [(context::TRACEPARENT, context::traceparent(&own)), (context::TRACESTATE, context::tracestate(&own))];
            for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                if let Ok(value) = HeaderValue::try_from(text) {
                    headers.insert(name, value);
                }
            }
        }
        own
    }

    /// It is over.
    pub fn attempted(&mut self, own: SpanContext, attempt: &Attempt, trip: &Trip, start_ms: i64) {
        let failed = attempt.error() != AttemptError::Unspecified;
        if !self.is_of_interest(failed) {
            return;
        }
        let uri = &self.sync.destination.uri;
        let mut attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("url.full", shown(uri)),
            KeyValue::new("server.address", uri.host().unwrap_or_default().to_owned()),
            KeyValue::new("http.request.body.size", attempt.request_bytes),
            KeyValue::new("sluice.attempt", i64::from(attempt.attempt)),
        ];
        attributes.extend(destination::port(uri).map(|port| KeyValue::new("server.port", i64::from(port))));
        if attempt.attempt > 1 {
            attributes.push(KeyValue::new("http.request.resend_count", i64::from(attempt.attempt - 1)));
        }
        if attempt.http_status != 0 {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(attempt.http_status)));
        }
        if !trip.http_version.is_empty() {
            attributes.push(KeyValue::new("network.protocol.version", trip.http_version));
        }
        if let Some(peer) = trip.peer {
            attributes.push(KeyValue::new("network.peer.address", peer.ip().to_string()));
            attributes.push(KeyValue::new("network.peer.port", i64::from(peer.port())));
        }
        self.name(&mut attributes);
        let error = failed.then(|| match attempt.error() {
            AttemptError::Status => attempt.http_status.to_string(),
            error => error_name(error),
        });
        attributes.extend(error.iter().map(|error| KeyValue::new("error.type", error.clone())));
        self.spans.push(Span {
            context: own,
            parent: Some(self.round.clone()),
            kind: SpanKind::Client,
            name: "POST".into(),
            start_ms,
            took: trip.timings.total,
            attributes,
            links: Vec::new(),
            error: error.map(Cow::Owned),
        });
    }

    /// The round is over: tells it, if anybody wants to know.
    pub fn over(mut self, now: Duration, outcome: &'static str) {
        if self.spans.is_empty() && !self.sampled {
            return;
        }
        let mut attributes = vec![KeyValue::new("sluice.outcome", outcome)];
        #[allow(clippy::cast_precision_loss)]
        attributes.push(KeyValue::new("sluice.waited", (self.began_ms - self.work.due_ms).max(0) as f64 / 1_000.0));
        self.name(&mut attributes);
        self.spans.push(Span {
            context: self.round.clone(),
            parent: self.parent.take(),
            kind: SpanKind::Internal,
            name: "deliver".into(),
            start_ms: self.began_ms,
            took: now.saturating_sub(self.began),
            attributes,
            links: std::mem::take(&mut self.links),
            error: (outcome != "delivered").then_some(outcome.into()),
        });
        for span in self.spans {
            let context = if self.sampled { span.context } else { kept(&span.context) };
            self.telemetry.tell(Span { context, ..span });
        }
    }

    /// Whether what has happened is told: always, or because it failed or follows what failed.
    fn is_of_interest(&self, failed: bool) -> bool {
        let follows = self.work.state.attempts > 0 || self.work.state.round > 1 || !self.spans.is_empty();
        self.sampled || (self.telemetry.keeps_failures() && (failed || follows))
    }

    /// What all spans of a round say of their delivery.
    fn name(&self, attributes: &mut Vec<KeyValue>) {
        let StoredEvent { id, event_type, .. } = &*self.work.event;
        attributes.extend([
            KeyValue::new("sluice.sync", self.sync.full_name.clone()),
            KeyValue::new("sluice.sync.revision", self.sync.revision),
            KeyValue::new("sluice.delivery.id", WebhookId::new(*id, &self.sync.uid).to_string()),
            KeyValue::new("sluice.schedule", i64::from(self.work.state.schedule)),
            KeyValue::new("sluice.round", i64::from(self.work.state.round)),
            KeyValue::new("sluice.event.id", id.to_string()),
            KeyValue::new("sluice.event.type", event_type.clone()),
        ]);
    }
}

/// The same context of a span that is told although its trace was left out.
fn kept(context: &SpanContext) -> SpanContext {
    SpanContext::new(context.trace_id(), context.span_id(), TraceFlags::SAMPLED, false, context.trace_state().clone())
}

/// The trace that begins with an event has its id.
fn trace_of(event: EventId) -> TraceId {
    TraceId::from_bytes(event.0)
}

/// A span that others must know without being told: half of an id that is a hash.
fn span_of(id: &[u8; 16]) -> SpanId {
    let half = id.iter().skip(8).fold(0_u64, |half, byte| half << 8 | u64::from(*byte));
    SpanId::from_bytes(half.max(1).to_be_bytes())
}

/// The URL without what may be secret: values of its query.
fn shown(uri: &Uri) -> String {
    let base = format!(
        "{}://{}{}",
        uri.scheme_str().unwrap_or_default(),
        uri.authority().map(http::uri::Authority::as_str).unwrap_or_default(),
        uri.path()
    );
    match uri.query() {
        None => base,
        Some(query) => {
            let names = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, _)) => format!("{name}=REDACTED"),
                // It may be a value without a name.
                None => "REDACTED".to_owned(),
            });
            format!("{base}?{}", names.collect::<Vec<_>>().join("&"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_a_query_is_shown() {
        let shown = |text: &str| shown(&text.parse().unwrap());
        assert_eq!(
            shown("https://a.example:8443/in?key=s3cret&b=&c"),
            "https://a.example:8443/in?key=REDACTED&b=REDACTED&REDACTED"
        );
        assert_eq!(shown("http://a.example"), "http://a.example/");
    }
}
