//! Makes connections for the pool: through the guard, then TLS within its limit.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use sluice_host::clock::Clock;
use thiserror::Error;
use tower::Service;

use crate::guard::{ConnectionRecord, Guard, Phase, Socket};

/// Limit on the TLS handshake; the exchange has its own limit beside it.
pub const TLS_LIMIT: Duration = Duration::from_secs(5);

/// The TLS handshake took too long.
#[derive(Debug, Error)]
#[error("no TLS session within {TLS_LIMIT:?}")]
pub(super) struct TlsTimeout;

/// The connection that a request has begun last for itself.
pub(super) type Begun = Arc<ArcSwapOption<ConnectionRecord>>;

tokio::task_local! {
    /// Where it is noted. The pool asks for connections from within the request's own future.
    pub(super) static BEGUN: Begun;
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) clock: Clock,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<Socket>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let record = Arc::new(ConnectionRecord::default());
        // Outside of a request there is nobody to note it for.
        let _ = BEGUN.try_with(|begun| begun.store(Some(record.clone())));
        let mut https = HttpsConnector::from((self.guard.recording(record.clone()), self.tls.clone()));
        let connecting = https.call(uri);
        let clock = self.clock.clone();
        Box::pin(async move {
            let tls_limit = async {
                record.connected().await;
                clock.sleep(TLS_LIMIT, "tls limit").await;
            };
            let stream = tokio::select! {
                biased;
                stream = connecting => stream?,
                () = tls_limit => return Err(TlsTimeout.into()),
            };
            record.enter(Phase::Made, false, clock.elapsed());
            Ok(stream)
        })
    }
}
