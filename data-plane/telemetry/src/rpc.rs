//! What gRPC calls come to: a duration for each that the server answers and, where asked, a SERVER span by OpenTelemetry's
//! conventions (<https://opentelemetry.io/docs/specs/semconv/rpc/>). A call is over when its answer is, streams included.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};

use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::{Context as Trace, KeyValue, context::FutureExt as _, trace::TraceContextExt as _};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};

use crate::{
    SpanContext, SpanKind, Telemetry, context,
    instruments::{ERROR_TYPE, RPC_DURATION, RPC_METHOD, RPC_STATUS, RPC_SYSTEM},
    labels::OTHER,
    spans::{self, Span},
};

/// Stands before all services of a server, and before its gate: refused calls are calls.
#[derive(Clone, Debug)]
pub struct RpcLayer {
    telemetry: Telemetry,
    is_method: fn(&str) -> bool,
    traced: bool,
}

impl RpcLayer {
    /// `is_method` says whether a path such as `/sluice.sync.v1.SyncService/GetSync` names a method; `traced`: whether calls have
    /// spans.
    #[must_use]
    pub fn new(telemetry: Telemetry, is_method: fn(&str) -> bool, traced: bool) -> Self {
        Self { telemetry, is_method, traced }
    }
}

impl<S> Layer<S> for RpcLayer {
    type Service = Rpcs<S>;

    fn layer(&self, inner: S) -> Rpcs<S> {
        Rpcs { layer: self.clone(), inner }
    }
}

/// A service whose calls are told of.
#[derive(Clone, Debug)]
pub struct Rpcs<S> {
    layer: RpcLayer,
    inner: S,
}

impl<S, B> Service<Request<B>> for Rpcs<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !self.layer.telemetry.is_on() {
            return Box::pin(self.inner.call(request));
        }
        let call = Call::begin(&self.layer, request.uri().path(), request.headers());
        match call.span.as_ref().map(|(own, _)| own.clone()) {
            Some(own) => {
                // What is logged meanwhile has the ids of the call.
                let trace = Trace::new().with_remote_span_context(own);
                let answer = {
                    let _in_trace = trace.clone().attach();
                    self.inner.call(request)
                };
                Box::pin(async move { Ok(call.answered(answer.await?)) }.with_context(trace))
            }
            None => {
                let answer = self.inner.call(request);
                Box::pin(async move { Ok(call.answered(answer.await?)) })
            }
        }
    }
}

/// A call under way; told of when it is dropped.
struct Call {
    telemetry: Telemetry,
    method: String,
    began: Instant,
    began_at: SystemTime,
    /// Its span and the one above, if its trace is kept.
    span: Option<(SpanContext, Option<SpanContext>)>,
    code: Option<Code>,
}

impl Call {
    fn begin(layer: &RpcLayer, path: &str, headers: &HeaderMap) -> Self {
        let method = if (layer.is_method)(path) { path.trim_start_matches('/').to_owned() } else { OTHER.to_owned() };
        let span = (layer.traced && layer.telemetry.traces()).then(|| {
            let parent = of_headers(headers);
            let own = parent.as_ref().map_or_else(|| spans::root(true), spans::child);
            let kept = layer.telemetry.samples(parent.as_ref(), own.trace_id());
            kept.then(|| (spans::at(own.trace_id(), own.span_id(), true), parent))
        });
        Self {
            telemetry: layer.telemetry.clone(),
            method,
            began: Instant::now(),
            began_at: SystemTime::now(),
            span: span.flatten(),
            code: None,
        }
    }

    fn answered(mut self, response: Response<Body>) -> Response<Body> {
        // An answer that is nothing but a status has it among its headers.
        self.code = Status::from_header_map(response.headers()).map(|status| status.code());
        response.map(|body| Body::new(Answer { body, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // A client that has gone, or a connection that broke, leaves no status.
        let code = name(self.code.unwrap_or(Code::Cancelled));
        let took = self.began.elapsed();
        let mut attributes = vec![
            KeyValue::new(RPC_SYSTEM, "grpc"),
            KeyValue::new(RPC_METHOD, self.method.clone()),
            KeyValue::new(RPC_STATUS, code),
        ];
        self.telemetry.record(&RPC_DURATION, &attributes, took);
        let Some((context, parent)) = self.span.take() else { return };
        // Those that the conventions count as the server's fault.
        let failed = matches!(
            self.code,
            Some(
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            )
        );
        if failed {
            attributes.push(KeyValue::new(ERROR_TYPE, code));
        }
        let since_epoch = self.began_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.telemetry.tell(Span {
            context,
            parent,
            kind: SpanKind::Server,
            name: self.method.clone().into(),
            start_ms: i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX),
            took,
            attributes,
            links: Vec::new(),
            error: failed.then(|| code.into()),
        });
    }
}

/// The trace context that came with a request, as metadata or headers.
#[must_use]
pub fn of_headers(headers: &HeaderMap) -> Option<SpanContext> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    context::parse(text(context::TRACEPARENT)?, text(context::TRACESTATE).unwrap_or_default())
}

/// A body that knows how the call has ended.
struct Answer {
    body: Body,
    call: Call,
}

impl http_body::Body for Answer {
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(frame)) = &frame {
            match frame {
                Ok(frame) => {
                    if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                        self.call.code = Some(status.code());
                    }
                }
                Err(status) => self.call.code = Some(status.code()),
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
