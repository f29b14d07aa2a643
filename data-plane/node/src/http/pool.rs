//! Connections that are kept between requests, by origin.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, Uri,
    header::HOST,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use sluice_host::clock::Clock;
use sluice_pipeline::destination;
use tokio::sync::oneshot;

use super::{
    connection::{Body, Connection, NoResponse, Shared, Single},
    connector::Connector,
    failure::Fault,
    timer::ClockTimer,
};
use crate::guard::ConnectionRecord;

/// Idle connections that are kept for one origin, and for how long: as many as requests go to one host at once by default, or else the
/// surplus would be closed and opened again with each burst.
const IDLE_CONNECTIONS: usize = 256;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often they are looked at: those that their endpoint has closed are closed here, too.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

/// How long closing one may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Clones share the connections.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    timer: ClockTimer,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    origins: HashMap<Origin, Connections>,
    /// Whether a task looks after what has been idle for long.
    is_swept: bool,
}

/// Scheme, host and port (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    authority: Authority,
}

#[derive(Default)]
struct Connections {
    /// The one that was used last at the end, each with when that was.
    idle: Vec<(Box<Single>, Duration)>,
    shared: Option<(Shared, Duration)>,
    /// Requests that have none, in the order of their coming.
    waiting: VecDeque<oneshot::Sender<Connection>>,
    /// Held while one is made, once the origin is known to speak HTTP/2: one is enough for all who wait.
    making: Arc<tokio::sync::Mutex<()>>,
    speaks_http2: bool,
}

/// What a request learns on its way.
pub(super) trait Progress {
    /// A connection is being made for it.
    fn begun(&mut self, record: &Arc<ConnectionRecord>);
    /// It has this connection; whether that had been used before.
    fn given(&mut self, record: &Arc<ConnectionRecord>, reused: bool);
}

/// A connection that has brought the head of a response, and goes back when the body is read.
pub(super) struct Lease {
    pool: Pool,
    origin: Origin,
    pub(super) connection: Connection,
}

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        let timer = ClockTimer::new(connector.clock.clone());
        Self(Arc::new(Inner { connector, timer, kept: Mutex::default() }))
    }

    /// Sends a request whose URI is absolute. It goes to a kept connection if there is one; where that turns out closed before it has
    /// taken the request up, nothing of it was written, and another one gets it.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        progress: &mut impl Progress,
    ) -> Result<(Response<Incoming>, Lease), Fault> {
        let origin = Origin::of(request.uri()).ok_or_else(Fault::no_host)?;
        let uri = request.uri().clone();
        loop {
            let mut connection = match self.idle(&origin).await {
                Some(connection) => connection,
                // Much larger than what is needed where there is one, which is nearly always.
                None => Box::pin(self.made(&origin, &uri, progress)).await?,
            };
            let record = connection.record().clone();
            let was_used = record.count_request() > 0;
            progress.given(&record, was_used);
            Self::address(&mut request, &uri, &connection);
            match connection.send(request).await {
                Ok(response) => return Ok((response, Lease { pool: self.clone(), origin, connection })),
                Err(NoResponse::Failed(fault)) => return Err(fault),
                Err(NoResponse::Returned(_, error)) if !was_used => return Err(Fault::of(&error)),
                Err(NoResponse::Returned(returned, _)) => {
                    self.forget(&origin, &record);
                    request = *returned;
                }
            }
        }
    }

    /// Gives the request the form that the connection's version of HTTP asks for.
    fn address(request: &mut Request<Body>, uri: &Uri, connection: &Connection) {
        match connection {
            Connection::Shared(_) => *request.uri_mut() = uri.clone(),
            Connection::One(single) => {
                let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
                *request.uri_mut() = path.into();
                request.headers_mut().entry(HOST).or_insert_with(|| single.host.clone());
            }
        }
    }

    /// A kept connection that can take a request.
    async fn idle(&self, origin: &Origin) -> Option<Connection> {
        let now = self.now();
        loop {
            let mut single = {
                let mut kept = self.lock();
                let connections = kept.origins.get_mut(origin)?;
                if let Some((shared, used)) = &mut connections.shared {
                    if shared.is_open() {
                        *used = now;
                        return Some(Connection::Shared(shared.clone()));
                    }
                    connections.shared = None;
                }
                let (single, used) = connections.idle.pop()?;
                if now.saturating_sub(used) >= IDLE_TIMEOUT {
                    // Those before it have been idle for longer.
                    let old = connections.idle.drain(..).map(|(single, _)| *single).chain([*single]).collect();
                    drop(kept);
                    self.close(old);
                    return None;
                }
                single
            };
            if single.is_free().await {
                return Some(Connection::One(single));
            }
        }
    }

    /// A new connection; or one that comes free, or that somebody else has made and can be shared, if that is sooner. The one that was
    /// begun is kept then.
    async fn made(&self, origin: &Origin, uri: &Uri, progress: &mut impl Progress) -> Result<Connection, Fault> {
        let (waiter, mut handed) = oneshot::channel();
        let making = {
            let mut kept = self.lock();
            self.sweep_later(&mut kept);
            let connections = kept.origins.entry(origin.clone()).or_default();
            connections.waiting.push_back(waiter);
            connections.speaks_http2.then(|| connections.making.clone())
        };
        let _making = match making {
            // Who makes it hands it to all who wait.
            Some(making) => tokio::select! {
                biased;
                Ok(connection) = &mut handed => return Ok(connection),
                held = making.lock_owned() => Some(held),
            },
            None => None,
        };
        let record = Arc::<ConnectionRecord>::default();
        progress.begun(&record);
        let mut beginning = Box::pin(self.clone().begun(origin.clone(), uri.clone(), record));
        tokio::select! {
            biased;
            Ok(connection) = &mut handed => {
                let pool = self.clone();
                let origin = origin.clone();
                tokio::spawn(async move {
                    if let Ok(Connection::One(single)) = beginning.await {
                        pool.give_back(origin, single).await;
                    }
                });
                Ok(connection)
            }
            begun = &mut beginning => {
                handed.close();
                if let Ok(Connection::One(single)) = handed.try_recv() {
                    self.give_back(origin.clone(), single).await;
                }
                begun
            }
        }
    }

    /// Makes a connection.
    async fn begun(self, origin: Origin, uri: Uri, record: Arc<ConnectionRecord>) -> Result<Connection, Fault> {
        let stream = self.0.connector.connect(uri, &record).await.map_err(|error| Fault::of_connecting(&*error))?;
        let connection =
            Connection::begin(stream, record, origin.host(), &self.0.timer).await.map_err(|error| Fault::of(&error))?;
        let mut kept = self.lock();
        let connections = kept.origins.entry(origin).or_default();
        connections.speaks_http2 = matches!(connection, Connection::Shared(_));
        let Connection::Shared(shared) = &connection else { return Ok(connection) };
        if let Some((other, _)) = connections.shared.as_ref().filter(|(other, _)| other.is_open()) {
            // One is enough.
            return Ok(Connection::Shared(other.clone()));
        }
        connections.shared = Some((shared.clone(), self.now()));
        for waiter in connections.waiting.drain(..) {
            // Who has stopped waiting does not mind.
            let _ = waiter.send(Connection::Shared(shared.clone()));
        }
        Ok(connection)
    }

    /// Takes a connection back; what cannot be used again is closed.
    async fn give_back(&self, origin: Origin, mut single: Box<Single>) {
        if !single.is_free().await {
            return;
        }
        let now = self.now();
        let mut kept = self.lock();
        let connections = kept.origins.entry(origin).or_default();
        match connections.hand_over(single) {
            Some(single) if connections.idle.len() < IDLE_CONNECTIONS => connections.idle.push((single, now)),
            Some(surplus) => self.close(vec![*surplus]),
            None => {}
        }
        self.sweep_later(&mut kept);
    }

    /// Closes connections in their own time.
    fn close(&self, connections: Vec<Single>) {
        tokio::spawn(close(connections, self.0.connector.clock.clone()));
    }

    /// That connection takes no more requests.
    fn forget(&self, origin: &Origin, record: &Arc<ConnectionRecord>) {
        let mut kept = self.lock();
        if let Some(connections) = kept.origins.get_mut(origin) {
            let is_it = |(shared, _): &mut (Shared, _)| Arc::ptr_eq(&shared.record, record);
            drop(connections.shared.take_if(is_it));
        }
    }

    fn sweep_later(&self, kept: &mut Kept) {
        if !std::mem::replace(&mut kept.is_swept, true) {
            let sweep = sweep(Arc::downgrade(&self.0), self.0.connector.clock.clone());
            // It looks at all of them at once, and each counts as work.
            tokio::spawn(tokio::task::unconstrained(sweep));
        }
    }

    fn now(&self) -> Duration {
        self.0.connector.clock.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has been idle for long or was closed by its endpoint; and whether anything else is kept.
    fn take_spent(&self) -> (Vec<Single>, bool) {
        let now = self.connector.clock.elapsed();
        let is_old = |used: Duration| now.saturating_sub(used) >= IDLE_TIMEOUT;
        let mut spent = Vec::new();
        let mut kept = self.lock();
        kept.origins.retain(|_, connections| {
            let is_spent = |(single, used): &mut (Box<Single>, Duration)| is_old(*used) || single.is_over();
            spent.extend(connections.idle.extract_if(.., is_spent).map(|(single, _)| *single));
            // Requests under way go on without it.
            drop(connections.shared.take_if(|(_, used)| is_old(*used)));
            connections.waiting.retain(|waiter| !waiter.is_closed());
            !connections.idle.is_empty() || connections.shared.is_some() || !connections.waiting.is_empty()
        });
        kept.is_swept = !kept.origins.is_empty();
        (spent, kept.is_swept)
    }
}

/// Closes connections, those first that were given first.
async fn close(connections: Vec<Single>, clock: Clock) {
    for single in connections {
        tokio::select! {
            () = single.close() => {}
            () = clock.sleep(CLOSE_LIMIT, "connection close") => {}
        }
    }
}

/// Closes what has been idle for long or was closed by its endpoint, until nothing is kept.
async fn sweep(pool: Weak<Inner>, clock: Clock) {
    loop {
        clock.sleep(SWEEP_INTERVAL, "connection upkeep").await;
        let Some(inner) = pool.upgrade() else { return };
        let (spent, goes_on) = inner.take_spent();
        drop(inner);
        close(spent, clock.clone()).await;
        if !goes_on {
            return;
        }
    }
}

impl Connections {
    /// Gives a free connection to the first one who waits; back if there is nobody.
    fn hand_over(&mut self, single: Box<Single>) -> Option<Box<Single>> {
        let mut connection = Connection::One(single);
        while let Some(waiter) = self.waiting.pop_front() {
            match waiter.send(connection) {
                Ok(()) => return None,
                // It has got another one, or was given up.
                Err(returned) => connection = returned,
            }
        }
        match connection {
            Connection::One(single) => Some(single),
            Connection::Shared(_) => None,
        }
    }
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        Some(Self { scheme: uri.scheme()?.clone(), authority: uri.authority()?.clone() })
    }

    /// The `Host` of requests (RFC 9110 §7.2): with the port, unless it is the scheme's own.
    fn host(&self) -> HeaderValue {
        let default = destination::default_port(self.scheme.as_str());
        let host = self.authority.host();
        let text = match self.authority.port_u16().filter(|port| Some(*port) != default) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        // An authority has no character that a header value cannot have.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Lease {
    /// The response's body was read to its end.
    pub(super) async fn give_back(self) {
        if let Connection::One(single) = self.connection {
            self.pool.give_back(self.origin, single).await;
        }
    }
}
