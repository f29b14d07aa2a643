//! The session against a model of the whole: a store that changes, is trimmed and restored, a connection that breaks, a node that
//! restarts, forgets and refuses, messages that wait. The node's side is its own pure part, `sluice_pipeline::subscription`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use proptest::prelude::*;
use sluice_pipeline::{
    catalog::{Catalog, Entry, catalog_hash},
    subscription::{self, Subscription},
    sync::{Rules, etag},
};
use sluice_proto::{
    node::v1::{
        CatalogAck, ControlPlaneHeartbeat, Delta, Resource, SnapshotChunk, sync_catalog_response::Message as ToNode,
    },
    sync::v1::{Destination, EventSelection, Sync, TemplatePayload, event_selection::Payload},
};

use super::{Position, Session, Step, tests::next};

/// What the store holds, with its change log.
#[derive(Clone)]
struct Store {
    epoch: u32,
    /// Whether the control plane makes hashes in a way that the node does not know.
    is_hash_unknown: bool,
    revision: i64,
    syncs: BTreeMap<String, Sync>,
    /// Which sync each revision changed, and the hash at it.
    log: BTreeMap<i64, (String, String)>,
}

impl Store {
    fn new() -> Self {
        let log = [(0, (String::new(), catalog_hash(std::iter::empty())))].into_iter().collect();
        Self { epoch: 1, is_hash_unknown: false, revision: 0, syncs: BTreeMap::new(), log }
    }

    fn position(&self) -> Position {
        let hash = self.log[&self.revision].1.clone();
        Position { epoch: format!("e{}", self.epoch), revision: self.revision, hash }
    }

    fn changed(&mut self, uid: &str) {
        self.revision += 1;
        self.log.insert(self.revision, (uid.to_owned(), self.hash()));
    }

    fn hash(&self) -> String {
        let hash = catalog_hash(self.syncs.values().map(|sync| (sync.uid.as_str(), sync.etag.as_str())));
        if self.is_hash_unknown { hash.replace("sum256", "of-the-future") } else { hash }
    }

    fn put(&mut self, uid: &str, is_valid: bool) {
        let source = if is_valid { format!("{{\"n\": {}}}", self.revision) } else { "${".to_owned() };
        let payload = Payload::Template(TemplatePayload { source, allow_invalid_json: false });
        let mut sync = Sync {
            name: format!("projects/default/syncs/{uid}"),
            uid: uid.to_owned(),
            enabled: true,
            revision: self.revision + 1,
            destination: Some(Destination { url: "https://hooks.example.com/".to_owned(), ..Destination::default() }),
            events: Some(EventSelection { filter: None, payload: Some(payload) }),
            ..Sync::default()
        };
        sync.etag = etag(&sync);
        self.syncs.insert(uid.to_owned(), sync);
        self.changed(uid);
    }
}

/// What travels to the control plane.
enum ToControlPlane {
    Ack(Position),
    Heartbeat(Position),
    SnapshotRequest,
}

/// A connection, and what is on its way.
struct Connection {
    session: Session,
    to_node: VecDeque<ToNode>,
    to_control_plane: VecDeque<ToControlPlane>,
}

struct World {
    store: Store,
    backups: Vec<Store>,
    epochs: u32,
    next_uid: u32,
    /// The node: what it serves, and what it has on disk, which is the same.
    node: Subscription,
    connection: Option<Connection>,
    /// Etags of every version that could ever be compiled.
    valid: BTreeSet<String>,
    /// Snapshots that were sent.
    snapshots: usize,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Create {
        is_valid: bool,
    },
    Update {
        which: usize,
        is_valid: bool,
    },
    Delete {
        which: usize,
    },
    Connect,
    Disconnect,
    /// The control plane looks what the node lacks.
    Look,
    DeliverToNode,
    DeliverToControlPlane,
    NodeHeartbeat,
    ControlPlaneHeartbeat,
    RestartNode,
    /// The node loses a sync, or all, and neither notices nor disconnects.
    Forget {
        all: bool,
    },
    Backup,
    Restore,
    /// The change log forgets what is old.
    Trim,
    /// The control plane is up- or downgraded to a version that makes hashes in another way.
    ChangeHash,
}

fn op() -> impl Strategy<Value = Op> {
    let which = 0..8_usize;
    prop_oneof![
        3 => any::<bool>().prop_map(|is_valid| Op::Create { is_valid }),
        3 => (which.clone(), any::<bool>()).prop_map(|(which, is_valid)| Op::Update { which, is_valid }),
        2 => which.prop_map(|which| Op::Delete { which }),
        3 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        6 => Just(Op::Look),
        8 => Just(Op::DeliverToNode),
        6 => Just(Op::DeliverToControlPlane),
        2 => Just(Op::NodeHeartbeat),
        2 => Just(Op::ControlPlaneHeartbeat),
        1 => Just(Op::RestartNode),
        1 => any::<bool>().prop_map(|all| Op::Forget { all }),
        1 => Just(Op::Backup),
        1 => Just(Op::Restore),
        1 => Just(Op::Trim),
        1 => Just(Op::ChangeHash),
    ]
}

impl World {
    fn new() -> Self {
        Self {
            store: Store::new(),
            backups: Vec::new(),
            epochs: 1,
            next_uid: 0,
            node: Subscription::new(Arc::new(Catalog::empty())),
            connection: None,
            valid: BTreeSet::new(),
            snapshots: 0,
        }
    }

    fn put(&mut self, uid: &str, is_valid: bool) {
        self.store.put(uid, is_valid);
        if is_valid {
            self.valid.insert(self.store.syncs[uid].etag.clone());
        }
    }

    fn nth(&self, which: usize) -> Option<String> {
        let count = self.store.syncs.len().max(1);
        self.store.syncs.keys().nth(which % count).cloned()
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Create { is_valid } => {
                // No uid is ever used again, whatever was restored.
                self.next_uid += 1;
                self.put(&format!("u{}", self.next_uid), is_valid);
            }
            Op::Update { which, is_valid } => {
                if let Some(uid) = self.nth(which) {
                    self.put(&uid, is_valid);
                }
            }
            Op::Delete { which } => {
                if let Some(uid) = self.nth(which) {
                    self.store.syncs.remove(&uid);
                    self.store.changed(&uid);
                }
            }
            Op::Connect => self.connect(),
            Op::Disconnect => self.connection = None,
            Op::Look => self.look(),
            Op::DeliverToNode => self.deliver_to_node(),
            Op::DeliverToControlPlane => self.deliver_to_control_plane(),
            Op::NodeHeartbeat => {
                let holds = self.node.position();
                if let Some(connection) = &mut self.connection {
                    connection.to_control_plane.push_back(ToControlPlane::Heartbeat(holds));
                }
            }
            Op::ControlPlaneHeartbeat => {
                let Position { epoch, revision, hash } = self.store.position();
                let heartbeat = ControlPlaneHeartbeat { epoch, revision, catalog_hash: hash };
                if let Some(connection) = &mut self.connection {
                    connection.to_node.push_back(ToNode::Heartbeat(heartbeat));
                }
            }
            Op::RestartNode => {
                self.connection = None;
                let catalog = self.node.catalog();
                let entries: Vec<Entry> = catalog.entries().cloned().collect();
                self.lose(catalog.epoch().to_owned(), catalog.revision(), entries);
            }
            Op::Forget { all } => {
                let catalog = self.node.catalog();
                let kept = if all { 0 } else { catalog.entries().len().saturating_sub(1) };
                let entries = catalog.entries().take(kept).cloned().collect();
                let (epoch, revision) = if all { ("", 0) } else { (catalog.epoch(), catalog.revision()) };
                self.lose(epoch.to_owned(), revision, entries);
            }
            Op::Backup => self.backups.push(self.store.clone()),
            Op::Restore => {
                if let Some(backup) = self.backups.last().cloned() {
                    self.connection = None;
                    self.epochs += 1;
                    self.store = Store { epoch: self.epochs, ..backup };
                }
            }
            Op::Trim => {
                let newest = self.store.revision;
                self.store.log.retain(|revision, _| *revision + 3 > newest);
            }
            Op::ChangeHash => {
                self.connection = None;
                self.store.is_hash_unknown = !self.store.is_hash_unknown;
                // Counted anew for the newest revision; those before keep what they have.
                let hash = self.store.hash();
                if let Some((_, newest)) = self.store.log.get_mut(&self.store.revision) {
                    *newest = hash;
                }
            }
        }
    }

    /// The node has this, and nothing else in its memory.
    fn lose(&mut self, epoch: String, revision: i64, entries: Vec<Entry>) {
        self.node = Subscription::new(Arc::new(Catalog::restore(&epoch, revision, entries, &Rules::default())));
    }

    fn connect(&mut self) {
        self.connection = Some(Connection {
            session: Session::new(self.node.connect()),
            to_node: VecDeque::new(),
            to_control_plane: VecDeque::new(),
        });
    }

    fn look(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let newest = self.store.position();
        let hash_then = match connection.session.next(&newest) {
            Step::Delta { from } => self.store.log.get(&from).map(|(_, hash)| hash.as_str()),
            _ => None,
        };
        match next(&connection.session, &newest, hash_then) {
            Step::Nothing => {}
            Step::Delta { from } => {
                let changed: BTreeSet<_> = self.store.log.range(from + 1..).map(|(_, (uid, _))| uid.clone()).collect();
                let (upserts, deletions): (Vec<_>, Vec<_>) =
                    changed.into_iter().partition(|uid| self.store.syncs.contains_key(uid));
                let upserts = upserts.iter().map(|uid| Resource::of_sync(&self.store.syncs[uid])).collect();
                connection.session.sent_delta(newest.clone());
                let Position { epoch, revision, hash: catalog_hash } = newest;
                let delta = Delta { epoch, from_revision: from, revision, upserts, deletions, catalog_hash };
                connection.to_node.push_back(ToNode::Delta(delta));
            }
            Step::Snapshot { .. } => {
                let all: Vec<_> = self.store.syncs.values().cloned().collect();
                let mut pieces: Vec<&[Sync]> = all.chunks(2).collect();
                if pieces.is_empty() {
                    pieces.push(&[]);
                }
                let last = pieces.len() - 1;
                for (index, piece) in pieces.into_iter().enumerate() {
                    connection.to_node.push_back(ToNode::Snapshot(SnapshotChunk {
                        epoch: newest.epoch.clone(),
                        revision: newest.revision,
                        index: u32::try_from(index).unwrap(),
                        resources: piece.iter().map(Resource::of_sync).collect(),
                        complete: index == last,
                        catalog_hash: if index == last { newest.hash.clone() } else { String::new() },
                    }));
                }
                connection.session.sent_snapshot(newest);
                self.snapshots += 1;
            }
        }
    }

    fn deliver_to_node(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let Some(message) = connection.to_node.pop_front() else { return };
        if let Some(answer) = answer(&mut self.node, message) {
            connection.to_control_plane.push_back(answer);
        }
    }

    fn deliver_to_control_plane(&mut self) {
        let newest = self.store.position();
        let Some(connection) = &mut self.connection else { return };
        match connection.to_control_plane.pop_front() {
            Some(ToControlPlane::Ack(held)) => connection.session.acked(held),
            Some(ToControlPlane::Heartbeat(holds)) => {
                connection.session.heartbeat(&holds, &newest);
            }
            Some(ToControlPlane::SnapshotRequest) => connection.session.snapshot_requested(),
            None => {}
        }
    }

    /// Nothing changes any more, and all that is sent arrives.
    fn settle(&mut self) {
        if self.connection.is_none() {
            self.connect();
        }
        let before = self.snapshots;
        for _ in 0..64 {
            self.look();
            for _ in 0..64 {
                self.deliver_to_node();
                self.deliver_to_control_plane();
            }
            self.step(Op::NodeHeartbeat);
            self.step(Op::ControlPlaneHeartbeat);
        }
        assert!(self.snapshots - before <= 3, "{} snapshots to one node", self.snapshots - before);
    }

    fn check(&self) {
        let (node, newest) = (self.node.position(), self.store.position());
        assert_eq!(node, newest, "the node holds what the store does");
        assert_eq!(self.node.catalog().uids().len(), self.store.syncs.len());
        for (uid, sync) in &self.store.syncs {
            let serves = self.node.catalog().get(uid).map(|compiled| compiled.etag.clone());
            let is_refused = self.node.catalog().refused().iter().any(|refused| *refused.uid == **uid);
            if self.valid.contains(&sync.etag) {
                assert_eq!((serves.as_deref(), is_refused), (Some(sync.etag.as_str()), false), "{uid}");
            } else {
                assert!(is_refused, "{uid}");
                assert!(serves.is_none_or(|etag| self.valid.contains(&etag)), "{uid} serves what cannot be compiled");
            }
        }
    }
}

/// What the node makes of a message, and answers.
fn answer(node: &mut Subscription, message: ToNode) -> Option<ToControlPlane> {
    match node.take(message) {
        subscription::Step::Nothing => None,
        subscription::Step::Ask(_) => Some(ToControlPlane::SnapshotRequest),
        subscription::Step::Build(update) => Some(match update.build(&Rules::default()) {
            Ok(built) => {
                let CatalogAck { epoch, revision, catalog_hash, .. } = node.serve(built);
                ToControlPlane::Ack(Position { epoch, revision, hash: catalog_hash })
            }
            Err(error) => {
                node.ask(&error.to_string());
                ToControlPlane::SnapshotRequest
            }
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("SLUICE_FULL").is_some() { 20_000 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever happens in whatever order, in the end the node serves exactly what the store holds, or its last good version.
    #[test]
    fn every_interleaving_ends_with_the_node_serving_the_store(ops in prop::collection::vec(op(), 0..120)) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.settle();
        world.check();
    }
}
