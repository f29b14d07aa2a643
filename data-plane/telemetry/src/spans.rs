//! Spans, made when what they tell of is over: by then it is known whether anybody wants them, and what they say.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    KeyValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::Telemetry;

/// A span that is over.
#[derive(Clone, Debug)]
pub struct Span {
    /// Itself.
    pub context: SpanContext,
    /// The span above; `None`: its trace begins with it.
    pub parent: Option<SpanContext>,
    /// Its kind.
    pub kind: SpanKind,
    /// Its name: few of them, whatever the data.
    pub name: Cow<'static, str>,
    /// When it began, in milliseconds since the epoch.
    pub start_ms: i64,
    /// How long it took.
    pub took: Duration,
    /// Its attributes.
    pub attributes: Vec<KeyValue>,
    /// Spans of other traces that it belongs to.
    pub links: Vec<SpanContext>,
    /// Why it failed; `None`: it did not.
    pub error: Option<Cow<'static, str>>,
}

impl Telemetry {
    /// Puts a span on its way out, or drops and counts it.
    pub fn tell(&self, span: Span) {
        self.put(|scope| {
            let start_time =
                SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(span.start_ms).unwrap_or_default());
            let mut links = SpanLinks::default();
            links.links = span.links.into_iter().map(Link::with_context).collect();
            SpanData {
                parent_span_id: span.parent.as_ref().map_or(SpanId::INVALID, SpanContext::span_id),
                parent_span_is_remote: span.parent.as_ref().is_some_and(SpanContext::is_remote),
                span_context: span.context,
                span_kind: span.kind,
                name: span.name,
                start_time,
                end_time: start_time + span.took,
                attributes: span.attributes,
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links,
                status: span.error.map_or(Status::Unset, Status::error),
                instrumentation_scope: scope.clone(),
            }
        });
    }
}

/// A new span below `parent`, in its trace.
#[must_use]
pub fn child(parent: &SpanContext) -> SpanContext {
    SpanContext::new(parent.trace_id(), random_span_id(), parent.trace_flags(), false, parent.trace_state().clone())
}

/// The first span of a new trace.
#[must_use]
pub fn root(sampled: bool) -> SpanContext {
    at(TraceId::from_bytes(rand::random::<u128>().max(1).to_be_bytes()), random_span_id(), sampled)
}

/// A span with these ids.
#[must_use]
pub fn at(trace_id: TraceId, span_id: SpanId, sampled: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    SpanContext::new(trace_id, span_id, flags, false, TraceState::NONE)
}

fn random_span_id() -> SpanId {
    SpanId::from_bytes(rand::random::<u64>().max(1).to_be_bytes())
}
