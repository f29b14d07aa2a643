//! Stands before every service of a server, and lets through what is allowed.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, header::AUTHORIZATION};
use sluice_host::clock::Clock;
use sluice_proto::name::is_valid_id;
use tokio::sync::watch;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};

use crate::{
    Caller, KeyHash, Keyring, Refusal,
    roles::{Allowed, allowed},
};

/// Who is let in.
#[derive(Clone)]
pub enum Access {
    /// Whoever reaches the port may do everything.
    Open,
    /// Those with a key of this keyring, or a node's certificate.
    Keys {
        /// The keys, as they change.
        keyring: watch::Receiver<Arc<Keyring>>,
        /// The time.
        clock: Clock,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Keys { .. } => "Keys",
        })
    }
}

/// The method that is called, such as `sluice.sync.v1.SyncService/GetSync`: put into each request's extensions.
#[derive(Clone, Debug)]
pub struct Called(pub Arc<str>);

/// Makes the gate of a server.
#[derive(Clone, Debug)]
pub struct Gate(Access);

impl Gate {
    /// Lets in whom `access` says.
    #[must_use]
    pub fn new(access: Access) -> Self {
        Self(access)
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { access: self.0.clone(), inner }
    }
}

/// A service behind a gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    access: Access,
    inner: S,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.access.caller(&request) {
            Ok(caller) => {
                let method = request.uri().path().trim_start_matches('/').into();
                request.extensions_mut().insert(Called(method));
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => {
                tracing::debug!(method = request.uri().path(), %refusal, "call refused");
                Either::Right(ready(Ok(Status::from(refusal).into_http())))
            }
        }
    }
}

impl Access {
    fn caller<B>(&self, request: &Request<B>) -> Result<Caller, Refusal> {
        let path = request.uri().path();
        let roles = match allowed(path) {
            Some(Allowed::Anybody) => return Ok(Caller::anybody()),
            Some(Allowed::Roles(roles)) => roles,
            None => return Err(Refusal::UnknownMethod { method: path.chars().take(120).collect() }),
        };
        let Self::Keys { keyring, clock } = self else { return Ok(Caller::anybody()) };
        let caller = match bearer(request) {
            Some(text) => {
                let (hash, now_ms) = (KeyHash::of(text), clock.now_ms());
                let grant = keyring.borrow().check(&hash, now_ms)?.clone();
                grant.usage().calls.take(now_ms).map_err(|free_at_ms| Refusal::Calls {
                    key: grant.name.clone(),
                    per_second: grant.limits.calls_per_second,
                    retry_ms: free_at_ms - now_ms,
                })?;
                Caller::key(hash, grant)
            }
            None => Caller::node(&node_of_certificate(request).ok_or(Refusal::NoKey)?),
        };
        if !roles.contains(&caller.role()) {
            let method = path.trim_start_matches('/').to_owned();
            return Err(Refusal::Role {
                caller: caller.name().to_owned(),
                method,
                found: caller.role(),
                allowed: roles,
            });
        }
        Ok(caller)
    }
}

/// What a caller shows ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, text) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text.trim())
}

/// The node that a client certificate is of: one with the URI `spiffe://{trust domain}/sluice/nodes/{node}` among its names
/// ([SPIFFE X.509-SVID](https://spiffe.io/docs/latest/spiffe-specs/x509-svid/)). That an authority of ours has signed it, the
/// handshake has checked.
fn node_of_certificate<B>(request: &Request<B>) -> Option<String> {
    let connection: &TlsConnectInfo<TcpConnectInfo> = request.extensions().get()?;
    let certificates = connection.peer_certs()?;
    let certificate = webpki::EndEntityCert::try_from(certificates.first()?).ok()?;
    let name = certificate.valid_uri_names().find_map(|uri| {
        let (_, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        path.strip_prefix("sluice/nodes/").filter(|node| is_valid_id(node))
    })?;
    Some(format!("nodes/{name}"))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use sluice_proto::access::v1::{KeyLimits, Role};
    use tonic::Code;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{ApiKey, Grant};

    const NOW: i64 = 1_767_225_600_000;

    fn server(grants: Vec<(KeyHash, Grant)>) -> (watch::Sender<Arc<Keyring>>, Access) {
        let (sender, keyring) = watch::channel(Arc::new(Keyring::new(grants, &Keyring::default())));
        (sender, Access::Keys { keyring, clock: Clock::manual(NOW).0 })
    }

    fn grant(role: Role, limits: KeyLimits) -> Grant {
        Grant::new("keys/k".to_owned(), role, None, None, limits)
    }

    /// What a call comes to: the caller's name, or the status.
    async fn call(access: &Access, path: &str, header: Option<&str>) -> Result<String, Status> {
        let inner = tower::service_fn(|request: Request<()>| {
            let name = request.extensions().get::<Caller>().unwrap().name().to_owned();
            std::future::ready(Ok::<_, Infallible>(
                Response::builder().header("caller", name).body(Body::empty()).unwrap(),
            ))
        });
        let mut request = Request::builder().uri(path).body(()).unwrap();
        if let Some(header) = header {
            request.headers_mut().insert(AUTHORIZATION, header.parse().unwrap());
        }
        let response = Gate::new(access.clone()).layer(inner).oneshot(request).await.unwrap();
        match Status::from_header_map(response.headers()) {
            Some(status) if status.code() != Code::Ok => Err(status),
            _ => Ok(response.headers()["caller"].to_str().unwrap().to_owned()),
        }
    }

    const LIST: &str = "/sluice.sync.v1.SyncService/ListSyncs";

    #[tokio::test]
    async fn a_key_opens_what_its_role_covers() {
        let key = ApiKey::random();
        let (_keyring, access) = server(vec![(key.hash(), grant(Role::Viewer, KeyLimits::default()))]);
        let header = format!("Bearer {}", key.text());
        assert_eq!(call(&access, LIST, Some(&header)).await.unwrap(), "keys/k");
        let refused = call(&access, "/sluice.sync.v1.SyncService/DeleteSync", Some(&header)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("admin or editor, not viewer"), "{refused}");
    }

    #[tokio::test]
    async fn nothing_opens_without_a_key_but_health() {
        let (_keyring, access) = server(Vec::new());
        let stranger = format!("Bearer {}", ApiKey::random().text());
        for header in [None, Some("Bearer "), Some("Basic abc"), Some("bearer"), Some(&*stranger)] {
            assert_eq!(call(&access, LIST, header).await.unwrap_err().code(), Code::Unauthenticated, "{header:?}");
        }
        assert!(call(&access, "/grpc.health.v1.Health/Check", None).await.is_ok());
        for access in [access, Access::Open] {
            assert_eq!(
                call(&access, "/sluice.sync.v1.SyncService/Grow", None).await.unwrap_err().code(),
                Code::Unimplemented
            );
        }
        assert_eq!(call(&Access::Open, LIST, None).await.unwrap(), "");
    }

    #[tokio::test]
    async fn a_key_that_is_revoked_opens_nothing_any_more() {
        let key = ApiKey::random();
        let (keyring, access) = server(vec![(key.hash(), grant(Role::Admin, KeyLimits::default()))]);
        let header = format!("Bearer {}", key.text());
        assert!(call(&access, LIST, Some(&header)).await.is_ok());
        keyring.send_replace(Arc::default());
        assert_eq!(call(&access, LIST, Some(&header)).await.unwrap_err().code(), Code::Unauthenticated);
    }

    #[tokio::test]
    async fn calls_beyond_a_keys_limit_are_refused_with_the_time_to_wait() {
        let key = ApiKey::random();
        let limits = KeyLimits { calls_per_second: 1, ..Default::default() };
        let (_keyring, access) = server(vec![(key.hash(), grant(Role::Admin, limits))]);
        let header = format!("Bearer {}", key.text());
        let mut refused = None;
        for _ in 0..3 {
            refused = call(&access, LIST, Some(&header)).await.err();
        }
        let refused = refused.unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let details = tonic_types::StatusExt::get_error_details(&refused);
        assert_eq!(details.retry_info().unwrap().retry_delay.unwrap().as_millis(), 1_000);
        assert_eq!(details.quota_failure().unwrap().violations[0].subject, "keys/k");
    }
}
