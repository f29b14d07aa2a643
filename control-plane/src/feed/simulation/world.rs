//! The control plane, its nodes and what is between them; time moves from event to event.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use prost::Message as _;
use sluice_host::sealing::SecretsKey;
use sluice_pipeline::{
    catalog::Catalog,
    subscription::{Built, Step, Subscription, Update},
    sync::{Rules, etag},
};
use sluice_proto::{
    name::SyncName,
    node::v1::{CatalogAck, Hello, SnapshotChunk, sync_catalog_response::Message},
    sync::v1::{Destination, EventSelection, Filter, Sync, TemplatePayload, event_selection::Payload},
};

use super::{
    super::Feed,
    Scale,
    waiting::{Waiting, measured, resources},
};
use crate::{
    audit::Actor,
    changelog::Position,
    nodes::{Membership, Nodes},
    publish::Publisher,
    store::{Change, Step as Write, Store, StoreError},
    updates::Updates,
};

/// Messages that wait between the control plane and one node.
const QUEUE: usize = 8;
/// Projects among which the syncs are shared out.
const PROJECTS: usize = 100;

/// Chance that is the same in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

pub(super) struct Node {
    pub(super) subscription: Subscription,
    feed: Feed,
    membership: Membership,
    /// One way, ms.
    pub(super) latency_ms: u64,
    /// For one message, ms.
    pub(super) read_ms: u64,
    /// Messages that it has not read, and when the last of them arrives.
    pub(super) queued: usize,
    last_arrival_ms: u64,
    pub(super) snapshots: usize,
    pub(super) deltas: usize,
}

enum Event {
    /// The control plane looks what this node lacks.
    Look(usize),
    /// A message reaches the node.
    Arrive(usize, Box<Message>),
    /// The node has compiled and stored it.
    Serve(usize, Box<Built>),
    /// The node's ack reaches the control plane.
    Ack(usize, Position),
}

pub(super) struct World {
    pub(super) store: Store,
    pub(super) registry: Nodes,
    updates: Updates,
    revisions: tokio::sync::watch::Receiver<Position>,
    pub(super) nodes: Vec<Node>,
    pub(super) now_ms: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: HashMap<u64, Event>,
    last_event: u64,
    pub(super) dice: Dice,
    pub(super) waiting: Waiting,
    /// What has been compiled: by the catalog from which it leads and where it leads.
    built: HashMap<(*const Catalog, i64, String), Built>,
    /// The chunks of each snapshot as they were first seen.
    pub(super) chunks: HashMap<i64, Vec<SnapshotChunk>>,
    pub(super) largest_chunk: usize,
    _folder: tempfile::TempDir,
}

fn sync(number: usize, version: usize) -> Sync {
    let source = format!("{{\"n\": {number}, \"version\": {version}, \"event\": \"${{input.event_type}}\"}}");
    let filter = Filter { event_types: vec![format!("type {}", number % 5_000)], ..Filter::default() };
    let payload = Payload::Template(TemplatePayload { source, allow_invalid_json: false });
    let mut sync = Sync {
        name: name(number).to_string(),
        uid: format!("{number:08}-0000-4000-8000-000000000000"),
        display_name: format!("sync {number}"),
        enabled: true,
        destination: Some(Destination { url: format!("https://hooks.example.com/{number}"), ..Destination::default() }),
        events: Some(EventSelection { filter: Some(filter), payload: Some(payload) }),
        ..Sync::default()
    };
    sync.etag = etag(&sync);
    sync
}

pub(super) fn name(number: usize) -> SyncName {
    SyncName { project: format!("p{}", number % PROJECTS), sync: format!("s{number}") }
}

impl World {
    pub(super) async fn new(scale: &Scale) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::new(sluice_host::clock::Clock::system());
        let store = Store::open(folder.path(), &SecretsKey::random(), publisher.clone()).await.unwrap();
        let actor = Actor::system("simulation", 0);
        for project in 0..PROJECTS {
            let id = format!("p{project}");
            store.create_project(&id, 0, &actor).await.unwrap();
            let numbers = (project..scale.syncs).step_by(PROJECTS);
            let seed = move |_: Vec<Sync>, first: i64| {
                let put = |(revision, number)| Write::Put(name(number), Box::new(Sync { revision, ..sync(number, 0) }));
                Ok::<_, StoreError>(((first..).zip(numbers).map(put).collect(), ()))
            };
            store.change_syncs(&id, None, actor.clone(), seed).await.unwrap();
        }
        Self {
            updates: Updates::new(store.clone()),
            store,
            registry: Nodes::default(),
            revisions: publisher.watch_revision(),
            nodes: Vec::new(),
            now_ms: 0,
            events: BinaryHeap::new(),
            pending: HashMap::new(),
            last_event: 0,
            dice: Dice(7),
            waiting: Waiting::default(),
            built: HashMap::new(),
            chunks: HashMap::new(),
            largest_chunk: 0,
            _folder: folder,
        }
    }

    fn at(&mut self, time_ms: u64, event: Event) {
        self.last_event += 1;
        self.events.push(Reverse((time_ms, self.last_event)));
        self.pending.insert(self.last_event, event);
    }

    pub(super) fn newest(&self) -> Position {
        self.revisions.borrow().clone()
    }

    /// What a session of the node `number` that holds this begins with.
    fn session(&self, number: usize, held: Position) -> (Feed, Membership) {
        let hello = Hello {
            node: format!("nodes/n{number:04}"),
            epoch: held.epoch.clone(),
            revision: held.revision,
            catalog_hash: held.hash.clone(),
            ..Hello::default()
        };
        let membership = self.registry.join(hello, || 0);
        (Feed::new(self.updates.clone(), held, self.newest()), membership)
    }

    /// A node that holds nothing dials.
    pub(super) fn join(&mut self, in_ms: u64) {
        let mut subscription = Subscription::new(Arc::new(Catalog::empty()));
        let number = self.nodes.len();
        let (feed, membership) = self.session(number, subscription.connect());
        let node = Node {
            subscription,
            feed,
            membership,
            latency_ms: 5 + self.dice.below(146),
            read_ms: 1 + self.dice.below(5),
            queued: 0,
            last_arrival_ms: 0,
            snapshots: 0,
            deltas: 0,
        };
        self.nodes.push(node);
        self.at(self.now_ms + in_ms, Event::Look(number));
    }

    /// The control plane is started again: it knows nothing of its nodes, they dial.
    pub(super) fn restart(&mut self) {
        self.updates = Updates::new(self.store.clone());
        for number in 0..self.nodes.len() {
            let held = self.nodes[number].subscription.connect();
            let (feed, membership) = self.session(number, held);
            let node = &mut self.nodes[number];
            (node.feed, node.membership, node.snapshots, node.deltas) = (feed, membership, 0, 0);
            let in_ms = self.dice.below(1_000);
            self.at(self.now_ms + in_ms, Event::Look(number));
        }
    }

    /// A change is committed; every session hears of it. Gives its revision.
    pub(super) async fn change(&mut self, number: usize, version: Option<usize>) -> i64 {
        let change = move |_: Option<&Sync>, revision| {
            let put = version.map(|version| Box::new(Sync { revision, ..sync(number, version) }));
            Ok::<_, StoreError>(put.map_or(Change::Delete, Change::Put))
        };
        self.store.change_sync(&name(number), None, Actor::system("simulation", 0), change).await.unwrap();
        for number in 0..self.nodes.len() {
            self.at(self.now_ms, Event::Look(number));
        }
        self.newest().revision
    }

    /// Lets time pass until `end_ms` or, if that is none, until nothing is on its way.
    pub(super) async fn run(&mut self, end_ms: Option<u64>) {
        while let Some(Reverse((time_ms, id))) = self.events.peek().copied() {
            if end_ms.is_some_and(|end_ms| time_ms > end_ms) {
                break;
            }
            self.events.pop();
            self.now_ms = time_ms;
            match self.pending.remove(&id).unwrap() {
                Event::Look(number) => self.look(number).await,
                Event::Arrive(number, message) => {
                    self.nodes[number].queued -= 1;
                    self.waiting.remove(resources(&message));
                    self.arrive(number, *message);
                    self.look(number).await;
                }
                Event::Serve(number, built) => {
                    let node = &mut self.nodes[number];
                    let CatalogAck { epoch, revision, catalog_hash, refused } = node.subscription.serve(*built);
                    assert!(refused.is_empty());
                    let in_ms = node.latency_ms;
                    let ack = Event::Ack(number, Position { epoch, revision, hash: catalog_hash });
                    self.at(time_ms + in_ms, ack);
                }
                Event::Ack(number, held) => {
                    self.nodes[number].feed.session.acked(held.clone());
                    self.nodes[number].membership.acked(held, Vec::new());
                    self.look(number).await;
                }
            }
        }
        self.now_ms = self.now_ms.max(end_ms.unwrap_or_default());
    }

    async fn look(&mut self, number: usize) {
        let newest = self.newest();
        while self.nodes[number].queued < QUEUE {
            let node = &mut self.nodes[number];
            node.feed.see(&newest);
            let Some(message) = node.feed.next().await.unwrap() else { return };
            match &message {
                Message::Snapshot(chunk) => {
                    node.snapshots += usize::from(chunk.index == 0);
                    self.largest_chunk = self.largest_chunk.max(chunk.encoded_len());
                }
                Message::Delta(_) => node.deltas += 1,
                other => panic!("{other:?}"),
            }
            self.waiting.add(resources(&message));
            node.queued += 1;
            node.last_arrival_ms = (node.last_arrival_ms + node.read_ms).max(self.now_ms + node.latency_ms);
            let arrival_ms = node.last_arrival_ms;
            self.at(arrival_ms, Event::Arrive(number, Box::new(message)));
        }
    }

    fn arrive(&mut self, number: usize, mut message: Message) {
        if let Message::Snapshot(chunk) = &mut message {
            self.share(chunk);
        }
        let is_delta = matches!(message, Message::Delta(_));
        match self.nodes[number].subscription.take(message) {
            Step::Nothing => {}
            Step::Ask(request) => panic!("{request:?}"),
            Step::Build(update) => {
                let built = self.build(*update, is_delta);
                let in_ms = if is_delta { 20 } else { 200 };
                self.at(self.now_ms + in_ms, Event::Serve(number, Box::new(built)));
            }
        }
    }

    /// Takes out of a chunk what is in memory once already, after a look that it is that.
    fn share(&mut self, chunk: &mut SnapshotChunk) {
        let seen = self.chunks.entry(chunk.revision).or_default();
        let index = usize::try_from(chunk.index).unwrap();
        match seen.get(index) {
            Some(first) => {
                assert_eq!(measured(&chunk.resources), measured(&first.resources), "every node gets the same bytes");
            }
            None => {
                assert_eq!(seen.len(), index);
                seen.push(chunk.clone());
            }
        }
        chunk.resources = Vec::new();
    }

    fn build(&mut self, update: Update, is_delta: bool) -> Built {
        let Position { revision, hash, .. } = update.position();
        let old = if is_delta { Arc::as_ptr(update.old()) } else { std::ptr::null() };
        let chunks = &self.chunks;
        let built = self.built.entry((old, revision, hash)).or_insert_with(|| {
            let update = if is_delta { update } else { whole(&chunks[&revision]) };
            update.build(&Rules::default()).unwrap()
        });
        built.clone()
    }

    /// Forgets catalogs that nobody will need again.
    pub(super) fn forget(&mut self) {
        let used: Vec<_> = self.nodes.iter().map(|node| Arc::as_ptr(node.subscription.catalog())).collect();
        self.built.retain(|(old, ..), built| old.is_null() || used.contains(&Arc::as_ptr(&built.catalog)));
    }

    pub(super) fn all_serve(&self, revision: i64) -> bool {
        self.nodes.iter().all(|node| node.subscription.catalog().revision() >= revision)
    }

    pub(super) fn settled(&self) {
        let newest = self.newest();
        for node in &self.nodes {
            assert_eq!(node.subscription.position(), newest);
        }
        assert!(self.waiting.shares.is_empty() && self.waiting.bytes == 0);
    }
}

/// The update of a whole snapshot.
fn whole(chunks: &[SnapshotChunk]) -> Update {
    let mut subscription = Subscription::new(Arc::new(Catalog::empty()));
    let steps = chunks.iter().map(|chunk| subscription.take(Message::Snapshot(chunk.clone())));
    match steps.last() {
        Some(Step::Build(update)) => *update,
        other => panic!("{other:?}"),
    }
}
