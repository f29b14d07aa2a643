//! Makes connections for the pool: through the guard, then TLS within its limit.

use std::{error::Error as StdError, sync::Arc, time::Duration};

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

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) clock: Clock,
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// A connection, with TLS or without.
pub(super) type Stream = MaybeHttpsStream<TokioIo<Socket>>;

impl Connector {
    /// Connects to the URI's host; `record` tells how far that came.
    pub(super) async fn connect(&self, uri: Uri, record: &Arc<ConnectionRecord>) -> Result<Stream, BoxError> {
        let mut https = HttpsConnector::from((self.guard.recording(record.clone()), self.tls.clone()));
        let connecting = https.call(uri);
        let tls_limit = async {
            record.connected().await;
            self.clock.sleep(TLS_LIMIT, "tls limit").await;
        };
        let stream = tokio::select! {
            biased;
            stream = connecting => stream?,
            () = tls_limit => return Err(TlsTimeout.into()),
        };
        record.enter(Phase::Made, false, self.clock.elapsed());
        Ok(stream)
    }
}
