//! Serves the metrics to Prometheus: `GET /metrics`, and nothing else.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use crate::prometheus;

/// Connections at once; beyond, the next is not taken.
const MAX_CONNECTIONS: usize = 16;

/// How long a request's head may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may last.
const LIFETIME: Duration = Duration::from_secs(300);

/// Runs until it is dropped; `read` reads the metrics.
pub(crate) async fn serve<F, R>(listener: TcpListener, read: F)
where
    F: Fn() -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Option<ResourceMetrics>> + Send,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let read = read.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &read));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .serve_connection(TokioIo::new(stream), answer);
            // Whoever breaks off, or stays too long, comes again.
            let _ = timeout(LIFETIME, connection).await;
            drop(place);
        });
    }
}

async fn answer<F, R>(request: Request<Incoming>, read: &F) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn() -> R,
    R: Future<Output = Option<ResourceMetrics>>,
{
    let found = request.uri().path() == "/metrics";
    let (status, content_type, body) = match (found, request.method()) {
        (false, _) => (StatusCode::NOT_FOUND, "text/plain", "metrics are at /metrics\n".to_owned()),
        (true, &Method::GET | &Method::HEAD) => match read().await {
            Some(metrics) => (StatusCode::OK, prometheus::CONTENT_TYPE, prometheus::text(&metrics)),
            None => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the process stops\n".to_owned()),
        },
        (true, _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered\n".to_owned()),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    Ok(response)
}
