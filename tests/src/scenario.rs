//! Three syncs, a node that is ended again and again while events stream through it, and the comparison at the end: what was
//! accepted is what the receivers and the dead letters hold, each under its first `webhook-id`.
//!
//! - `everything` takes every event as it came;
//! - `purchases` takes four of ten, by type and property, through a template;
//! - `failing` takes one of ten: half of its events are always refused and end as dead letters, the other half is taken at
//!   the second request.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sluice_client::{Backoff, Publisher, connect};
use sluice_proto::{
    delivery::v1::{DeadLetter, EndingReason},
    event::v1::{Event, SendEventsRequest},
    sync::v1::{CreateSyncRequest, Limits, PropertyOperator, RetryPolicy, Sync},
};
use tempfile::TempDir;
use tonic::Code;

use crate::{
    cluster::sync_name,
    endpoint::{Endpoint, PATIENCE, Received, Reply, status},
    events::{SyncBuilder as _, sync_to},
    ledger::{self, Counted},
    process::{Plane, Setup, asked_again},
    syncs,
};

/// Deliveries of one sync that may be in flight, and so come again after a crash.
pub const MAX_CONCURRENCY: usize = 32;

/// Bytes that a publisher holds: it waits for acks beyond, so that events are taken in until the end of a run.
const BUFFER_BYTES: usize = 128 << 10;

/// The syncs, in the order of their endpoints.
const SYNCS: [&str; 3] = ["everything", "purchases", "failing"];

/// A control plane, a node that comes and goes, and three endpoints.
pub struct Scenario {
    folder: TempDir,
    control_plane: Plane,
    node: Option<Plane>,
    node_address: SocketAddr,
    endpoints: [Endpoint; 3],
    publisher: Publisher,
    published: AtomicUsize,
    /// Those among them that were sent in calls of their own.
    alone: AtomicUsize,
    /// Requests that each endpoint had when a life of the node ended.
    ends: Vec<[usize; 3]>,
}

/// What a scenario came to.
#[derive(Debug)]
pub struct Outcome {
    /// Events that were accepted.
    pub accepted: usize,
    /// Requests that came again because a life of the node ended.
    pub duplicates: usize,
    /// How many lives ended.
    pub ends: usize,
    /// Deliveries that ended as dead letters.
    pub dead_letters: usize,
}

impl Scenario {
    /// Everything runs, the syncs are served, nothing is published. `faults` opens the node to them: it gets the node's
    /// folder.
    pub async fn start(faults: impl FnOnce(&Path) -> Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
        let mut setup = faults(&folder.path().join("node"));
        setup.log.get_or_insert_with(|| folder.path().join("node.log"));
        let node = Plane::node_with(&folder.path().join("node"), "127.0.0.1:0", control_plane.address(), &setup)
            .await
            .unwrap();
        let endpoints = [Endpoint::start().await, Endpoint::start().await, Endpoint::start().await];
        endpoints[2].decide(refuse_half());
        for (id, endpoint) in SYNCS.into_iter().zip(&endpoints) {
            create(&control_plane.url(), id, definition(id, endpoint)).await;
        }
        let publisher = Publisher::builder(&node.url())
            .buffer_bytes(BUFFER_BYTES)
            .backoff(Backoff::new(Duration::from_millis(10), Duration::from_millis(100)).unwrap())
            .connect()
            .await
            .unwrap();
        let node_address = node.address();
        Self {
            folder,
            control_plane,
            node: Some(node),
            node_address,
            endpoints,
            publisher,
            published: AtomicUsize::new(0),
            alone: AtomicUsize::new(0),
            ends: Vec::new(),
        }
    }

    /// The node's folder.
    #[must_use]
    pub fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// All that the node has logged.
    #[must_use]
    pub fn node_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default()
    }

    /// Where the node takes events.
    #[must_use]
    pub fn node_url(&self) -> String {
        format!("http://{}", self.node_address)
    }

    /// Publishes `count` more events; waits while the publisher holds as many as it may.
    pub async fn publish(&self, count: usize) {
        for _ in 0..count {
            self.publisher.send(event(self.published())).await.unwrap();
            self.published.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that were published so far.
    #[must_use]
    pub fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// Waits until every published event is acked.
    pub async fn acked(&self) {
        tokio::time::timeout(PATIENCE, self.publisher.flush()).await.expect("events are not acked").unwrap();
    }

    /// Sends the next event in a call of its own; gives what the node answers. A call that fails must store nothing.
    pub async fn send_alone(&self) -> Result<(), Code> {
        let events = vec![Event { json: event(self.published()), ..Event::default() }];
        let request = SendEventsRequest { events, ..SendEventsRequest::default() };
        let channel = connect(&self.node_url()).await.map_err(|_| Code::Unavailable)?;
        sluice_client::event_client(channel).send_events(request).await.map_err(|status| status.code())?;
        self.alone.fetch_add(1, Ordering::Relaxed);
        self.published.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until the sync that fails has tried each of the first `events` events as often as its rounds ask for.
    pub async fn wait_for_rounds_of(&self, events: usize) {
        let events = (0..events).filter(|number| takes("failing", *number)).count();
        self.endpoints[2].wait_for_count(2 * events).await;
    }

    /// Waits until `count` more requests have come to the endpoint that takes everything, or all that will come.
    pub async fn wait_for_deliveries(&self, count: usize) {
        let everything = &self.endpoints[0];
        everything.wait_for_count((everything.count() + count).min(self.published())).await;
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        self.node.take().unwrap().kill().await;
        self.note_end().await;
    }

    /// SIGTERM; gives the exit status.
    pub async fn stop(&mut self) -> ExitStatus {
        let status = self.node.take().unwrap().terminate().await;
        self.note_end().await;
        status
    }

    /// Publishes until the node ends by itself; gives its exit status.
    pub async fn publish_until_the_end(&mut self) -> ExitStatus {
        let mut node = self.node.take().unwrap();
        let status = tokio::select! {
            status = node.ended() => status,
            () = self.publish(usize::MAX) => unreachable!("nobody publishes so many events"),
        };
        self.note_end().await;
        status
    }

    /// Starts the node and ends it with SIGKILL after `life`.
    pub async fn start_and_kill(&mut self, life: Duration, setup: Setup) {
        let (setup, address) = (self.logging(setup), self.node_address.to_string());
        Plane::node_killed_after(life, &self.node_folder(), &address, self.control_plane.address(), &setup).await;
        self.note_end().await;
    }

    /// Starts the node again, at its address and on its folder.
    ///
    /// # Errors
    /// The exit status, if the node ends before it listens.
    pub async fn restart(&mut self, setup: Setup) -> Result<(), ExitStatus> {
        let (setup, address) = (self.logging(setup), self.node_address.to_string());
        match Plane::node_with(&self.node_folder(), &address, self.control_plane.address(), &setup).await {
            Ok(node) => {
                self.node = Some(node);
                Ok(())
            }
            Err(status) => {
                self.note_end().await;
                Err(status)
            }
        }
    }

    fn logging(&self, mut setup: Setup) -> Setup {
        setup.log.get_or_insert_with(|| self.folder.path().join("node.log"));
        setup
    }

    async fn note_end(&mut self) {
        for endpoint in &self.endpoints {
            endpoint.disconnected().await;
        }
        self.ends.push([0, 1, 2].map(|at| self.endpoints[at].count()));
    }

    /// Waits until every event is acked and every delivery has ended; then compares everything.
    pub async fn finish(self) -> Outcome {
        let (published, alone) = (self.published(), self.alone.load(Ordering::Relaxed));
        let Self { control_plane, endpoints, publisher, ends, node: _node, folder: _folder, .. } = self;
        let summary = publisher.finish().await.unwrap();
        assert_eq!((summary.acked, summary.rejected_count()), ((published - alone) as u64, 0));
        let wanted: HashMap<&str, usize> =
            SYNCS.into_iter().map(|id| (id, (0..published).filter(|number| takes(id, *number)).count())).collect();
        let control = control_plane.url();
        let counted = ledger::settled(&control, wanted.values().sum::<usize>() as i64).await;
        let letters = asked_again("dead letters", async || ledger::dead_letters(&control, "failing").await).await;
        let mut duplicates = 0;
        for (at, id) in SYNCS.into_iter().enumerate() {
            let marks: Vec<usize> = ends.iter().map(|counts| counts[at]).collect();
            duplicates += compare(id, &endpoints[at].received(), &marks, published, &letters, &counted);
        }
        Outcome { accepted: published, duplicates, ends: ends.len(), dead_letters: letters.len() }
    }
}

/// What came of one sync; gives how many requests came again because the node ended.
fn compare(
    id: &str,
    received: &[Received],
    marks: &[usize],
    published: usize,
    letters: &[DeadLetter],
    counted: &Counted,
) -> usize {
    let mut by_marker: HashMap<usize, Vec<(usize, &Received)>> = HashMap::new();
    for (at, request) in received.iter().enumerate() {
        let life = marks.partition_point(|mark| *mark <= at);
        by_marker.entry(marker(request)).or_default().push((life, request));
    }
    let wanted: HashSet<usize> = (0..published).filter(|number| takes(id, *number)).collect();
    let came: HashSet<usize> = by_marker.keys().copied().collect();
    let missing: Vec<_> = wanted.difference(&came).take(10).collect();
    assert!(missing.is_empty(), "{id}: of {} events, some never came: {missing:?}", wanted.len());
    let unwanted: Vec<_> = came.difference(&wanted).take(10).collect();
    assert!(unwanted.is_empty(), "{id}: these should not have come: {unwanted:?}");

    let (mut again, mut ids, mut refused) = (vec![0; marks.len() + 1], HashSet::new(), HashSet::new());
    for (marker, requests) in &by_marker {
        let first = requests[0].1;
        let webhook_id = first.header("webhook-id");
        assert!(ids.insert(webhook_id), "{id}: two events have the id {webhook_id}");
        for (_, request) in requests {
            assert_eq!(request.header("webhook-id"), webhook_id, "{id}: event {marker} came under two ids");
            assert_eq!(request.body, first.body, "{id}: event {marker} came with two bodies");
        }
        if id == "everything" {
            assert_eq!(first.body, event(*marker), "{id}: event {marker} was changed");
        }
        if is_refused(id, *marker) {
            refused.insert(webhook_id);
        }
        // Requests beyond those that the rounds ask for follow a life that ended with the one before in flight.
        let rounds = if id == "failing" { 2 } else { 1 };
        assert!(requests.len() >= rounds, "{id}: event {marker} came {} times of {rounds}", requests.len());
        let mut extra = requests.len() - rounds;
        for pair in requests.windows(2) {
            if extra > 0 && pair[0].0 < pair[1].0 {
                again[pair[0].0] += 1;
                extra -= 1;
            }
        }
        assert_eq!(extra, 0, "{id}: event {marker} came again within one life of the node: {} times", requests.len());
    }
    let total = again.iter().sum();
    assert!(total <= MAX_CONCURRENCY * marks.len(), "{id}: {total} requests came again after {} lives", marks.len());
    // Which of several requests came again can be told only where one would have been enough.
    let most = if id == "failing" { 0 } else { again.into_iter().max().unwrap_or_default() };
    assert!(most <= MAX_CONCURRENCY, "{id}: {most} requests came again after one life of the node");

    if id == "failing" {
        let held: HashSet<&str> =
            letters.iter().map(|letter| letter.delivery.rsplit('/').next().unwrap_or_default()).collect();
        assert_eq!(held, refused, "dead letters are what was refused to the end");
        assert!(letters.iter().all(|letter| letter.reason() == EndingReason::RoundsUsedUp));
    }
    let counts = &counted.syncs[&sync_name(id)];
    let [created, delivered, expired] = [wanted.len(), wanted.len() - refused.len(), refused.len()].map(|n| n as i64);
    assert_eq!((counts.created_count, counts.delivered_count, counts.expired_count), (created, delivered, expired));
    total
}

/// Event `number`, in Amplitude's export shape.
fn event(number: usize) -> Bytes {
    let kind = match number % 10 {
        0 | 5 => "purchase",
        2 | 7 => "signup",
        3 => "error",
        _ => "view",
    };
    format!(
        r#"{{"event_type":"{kind}","user_id":"m-{number}","event_time":"2024-03-13 10:21:14.919000","platform":"{}","session_id":1710325274919,"event_properties":{{"amount":{}}},"user_properties":{{"email":"{number}@example.com"}}}}"#,
        if number % 10 == 9 { "iOS" } else { "Web" },
        number % 97,
    )
    .into()
}

/// Number of the event that a request is about.
fn marker(request: &Received) -> usize {
    let text = request.text();
    let from = text.find("\"m-").expect("no marker in a body") + 3;
    let to = text[from..].find('"').expect("no end of the marker") + from;
    text[from..to].parse().expect("a broken marker")
}

/// Whether a sync takes an event.
fn takes(id: &str, number: usize) -> bool {
    match id {
        "everything" => true,
        "purchases" => matches!(number % 10, 0 | 2 | 5 | 7),
        _ => number % 10 == 3,
    }
}

/// Whether an event is refused however often it comes.
fn is_refused(id: &str, number: usize) -> bool {
    id == "failing" && number % 20 == 3
}

/// Takes the second request of what is not refused.
fn refuse_half() -> impl Fn(&Received) -> Reply {
    let seen: Mutex<HashSet<usize>> = Mutex::default();
    move |request| {
        let number = marker(request);
        if is_refused("failing", number) {
            status(400)
        } else if seen.lock().unwrap().insert(number) {
            status(500)
        } else {
            status(200)
        }
    }
}

fn definition(id: &str, endpoint: &Endpoint) -> Sync {
    let mut sync = sync_to(&endpoint.url("/"));
    sync.destination.get_or_insert_default().limits =
        Some(Limits { max_concurrency: i32::try_from(MAX_CONCURRENCY).unwrap(), ..Limits::default() });
    match id {
        "everything" => sync,
        "purchases" => sync
            .event_types(&["purchase", "signup"])
            .property(&["platform"], PropertyOperator::Is, &["Web"])
            .template(r#"{"marker": "${input.user_id}", "amount": ${input.event_properties.amount}}"#),
        _ => {
            sync.retry_policy = Some(RetryPolicy {
                round_offsets: vec![prost_types::Duration { seconds: 1, nanos: 0 }],
                max_attempts_per_round: 1,
                ..RetryPolicy::default()
            });
            sync.event_types(&["error"])
        }
    }
}

/// Creates a sync and waits until the connected node serves it.
pub async fn create(control_plane: &str, id: &str, sync: Sync) {
    let mut client = sluice_client::sync_client(connect(control_plane).await.unwrap());
    let request = CreateSyncRequest {
        parent: "projects/default".to_owned(),
        sync_id: id.to_owned(),
        sync: Some(sync),
        validate_only: false,
        ..Default::default()
    };
    client.create_sync(request).await.unwrap();
    syncs::served(control_plane, &sync_name(id), 1).await;
}
