//! The nodes that are connected or have been since the start, and what each of them serves. Memory only, never across an
//! await: what a node is doing is only true while it is connected.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sluice_proto::{
    node::v1::{Hello, Node, RefusedSync, SyncLoad},
    sync::v1::{Refusal, Rollout, RolloutState, Sync, SyncRollout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    changelog::Position,
    time::{millis, timestamp},
};

const MAX_REFUSALS: usize = 5;
const MAX_VIOLATIONS: usize = 10;
/// Acks of a node whose times are remembered.
const MAX_ACKS: usize = 1_000;
/// Nodes that are remembered; beyond, those that have been gone longest are forgotten.
const MAX_NODES: usize = 10_000;

/// The registry. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Nodes(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    last_session: u64,
    nodes: BTreeMap<String, Entry>,
}

struct Entry {
    session: u64,
    /// Ends the session when a newer one of the same node begins.
    replaced: CancellationToken,
    instance: String,
    product_version: String,
    protocol_version: u32,
    ingest_address: String,
    connected: bool,
    state_change_ms: i64,
    heartbeat_ms: i64,
    /// What it said last that it serves, as long as it is connected.
    serves: Position,
    /// Whether `refused` is what it refuses at `serves`: it has acked that.
    acked: bool,
    refused: Vec<RefusedSync>,
    /// When which revision was acked, the newest last.
    acks: VecDeque<(i64, i64)>,
    /// By the uid of a sync.
    backlogs: BTreeMap<String, Backlog>,
    draining: bool,
    in_flight_count: i64,
    spool_bytes: i64,
}

/// What waits for one sync on a node.
struct Backlog {
    pending_count: i64,
    /// Since when the oldest has waited; none: it came a moment ago, or the node does not say.
    oldest_ms: Option<i64>,
}

/// One session's place in the registry; dropping it says that the session has ended.
pub(crate) struct Membership {
    nodes: Nodes,
    name: String,
    session: u64,
    now_ms: Box<dyn Fn() -> i64 + Send + std::marker::Sync>,
    /// Cancelled when a newer session of the same node has begun.
    pub(crate) replaced: CancellationToken,
}

impl Nodes {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session of the node that says `hello` begins; an older one of the same node is told to end.
    pub(crate) fn join(
        &self,
        hello: Hello,
        now_ms: impl Fn() -> i64 + Send + std::marker::Sync + 'static,
    ) -> Membership {
        let replaced = CancellationToken::new();
        let mut registry = self.lock();
        registry.last_session += 1;
        let session = registry.last_session;
        let entry = Entry {
            session,
            replaced: replaced.clone(),
            instance: hello.instance,
            product_version: hello.product_version,
            protocol_version: hello.protocol_version,
            ingest_address: hello.ingest_address,
            connected: true,
            state_change_ms: now_ms(),
            heartbeat_ms: now_ms(),
            serves: Position { epoch: hello.epoch, revision: hello.revision, hash: hello.catalog_hash },
            acked: false,
            refused: Vec::new(),
            acks: VecDeque::new(),
            backlogs: BTreeMap::new(),
            draining: false,
            in_flight_count: 0,
            spool_bytes: 0,
        };
        if let Some(older) = registry.nodes.insert(hello.node.clone(), entry) {
            older.replaced.cancel();
        }
        registry.forget_beyond(MAX_NODES);
        drop(registry);
        Membership { nodes: self.clone(), name: hello.node, session, now_ms: Box::new(now_ms), replaced }
    }

    /// Up to `limit` nodes whose names follow `after`, in the order of their names. What they count, they count of the syncs whose uid
    /// is `counted`; `behind_since_ms` tells since when what a node serves has been behind.
    pub(crate) fn list(
        &self,
        after: &str,
        limit: usize,
        counted: impl Fn(&str) -> bool,
        behind_since_ms: impl Fn(&Position) -> Option<i64>,
    ) -> Vec<Node> {
        let registry = self.lock();
        let following = registry.nodes.iter().filter(|(name, _)| name.as_str() > after);
        following.take(limit).map(|(name, entry)| entry.shown(name, &counted, &behind_since_ms)).collect()
    }

    /// The names of all, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().nodes.keys().cloned().collect()
    }

    /// Whether there is such a node.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.lock().nodes.contains_key(name)
    }

    /// A node that is connected, rather one that does not drain.
    pub(crate) fn any_connected(&self) -> Option<String> {
        let registry = self.lock();
        let connected = registry.nodes.iter().filter(|(_, entry)| entry.connected);
        connected.min_by_key(|(_, entry)| entry.draining).map(|(name, _)| name.clone())
    }

    /// Whether the node is connected now.
    pub(crate) fn is_connected(&self, name: &str) -> bool {
        self.lock().nodes.get(name).is_some_and(|entry| entry.connected)
    }

    /// The node has said that it drains, before its next heartbeat does.
    pub(crate) fn drains(&self, name: &str) {
        if let Some(entry) = self.lock().nodes.get_mut(name) {
            entry.draining = entry.connected;
        }
    }

    /// How far this revision of the sync has come, in the epoch of the store.
    pub(crate) fn rollout(&self, sync: &Sync, epoch: &str) -> Rollout {
        let mut rollout = Rollout::default();
        for (name, entry) in self.lock().nodes.iter().filter(|(_, entry)| entry.connected) {
            if !entry.acked || entry.serves.epoch != epoch || entry.serves.revision < sync.revision {
                rollout.pending_count += 1;
            } else if let Some(refused) = entry.refused.iter().find(|refused| refused.uid == sync.uid) {
                rollout.refusing_count += 1;
                if rollout.refusals.len() < MAX_REFUSALS {
                    let violations = refused.violations.iter().take(MAX_VIOLATIONS).cloned().collect();
                    rollout.refusals.push(Refusal { node: name.clone(), violations });
                }
            } else {
                rollout.serving_count += 1;
            }
        }
        rollout
    }

    /// What up to `limit` connected nodes whose names follow `after` make of this revision of the sync, in the order of their names.
    pub(crate) fn rollouts(&self, sync: &Sync, epoch: &str, after: &str, limit: usize) -> Vec<SyncRollout> {
        let registry = self.lock();
        let following = registry.nodes.iter().filter(|(name, entry)| entry.connected && name.as_str() > after);
        following.take(limit).map(|(name, entry)| entry.rollout(name, sync, epoch)).collect()
    }

    /// Open deliveries of a sync on connected nodes, by their last heartbeats.
    pub(crate) fn pending_count(&self, sync_uid: &str) -> i64 {
        let registry = self.lock();
        let connected = registry.nodes.values().filter(|entry| entry.connected);
        let backlogs = connected.filter_map(|entry| entry.backlogs.get(sync_uid));
        backlogs.fold(0, |sum, backlog| sum.saturating_add(backlog.pending_count))
    }

    /// Since when the oldest open delivery of a sync on connected nodes has waited, by their last heartbeats.
    pub(crate) fn waiting_since_ms(&self, sync_uid: &str) -> Option<i64> {
        let registry = self.lock();
        let connected = registry.nodes.values().filter(|entry| entry.connected);
        connected.filter_map(|entry| entry.backlogs.get(sync_uid)?.oldest_ms).min()
    }
}

impl Registry {
    fn forget_beyond(&mut self, max: usize) {
        if self.nodes.len() > max {
            let gone = self.nodes.iter().filter(|(_, entry)| !entry.connected);
            let longest = gone.min_by_key(|(_, entry)| entry.state_change_ms).map(|(name, _)| name.clone());
            longest.and_then(|name| self.nodes.remove(&name));
        }
    }
}

impl Membership {
    /// The node has been heard of.
    pub(crate) fn heard(&self) {
        self.update(|_| {});
    }

    /// The node serves `position` but for the syncs that it refuses.
    pub(crate) fn acked(&self, position: Position, refused: Vec<RefusedSync>) {
        let now_ms = (self.now_ms)();
        self.update(|entry| {
            // Another epoch counts anew.
            if entry.serves.epoch != position.epoch {
                entry.acks.clear();
            }
            entry.acks.push_back((position.revision, now_ms));
            if entry.acks.len() > MAX_ACKS {
                entry.acks.pop_front();
            }
            entry.serves = position;
            entry.acked = true;
            entry.refused = refused;
        });
    }

    /// The node has so many rounds under way, and so many bytes in its spool.
    pub(crate) fn holds(&self, in_flight_count: i64, spool_bytes: i64) {
        self.update(|entry| {
            entry.in_flight_count = in_flight_count.max(0);
            entry.spool_bytes = spool_bytes.max(0);
        });
    }

    /// The node has so many open deliveries by sync, and drains or not.
    pub(crate) fn loads(&self, loads: Vec<SyncLoad>, draining: bool) {
        let now_ms = (self.now_ms)();
        let backlog = |load: SyncLoad| {
            let wait_ms = load.oldest_wait.and_then(|wait| Duration::try_from(wait).ok()).map(|wait| wait.as_millis());
            let oldest_ms = wait_ms.map(|ms| now_ms.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
            (load.sync_uid, Backlog { pending_count: load.pending_count.max(0), oldest_ms })
        };
        self.update(|entry| {
            entry.draining = draining;
            entry.backlogs = loads.into_iter().map(backlog).collect();
        });
    }

    fn update(&self, change: impl FnOnce(&mut Entry)) {
        let now_ms = (self.now_ms)();
        let mut registry = self.nodes.lock();
        let entry = registry.nodes.get_mut(&self.name).filter(|entry| entry.session == self.session);
        if let Some(entry) = entry {
            entry.heartbeat_ms = now_ms;
            change(entry);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let now_ms = (self.now_ms)();
        let mut registry = self.nodes.lock();
        let entry = registry.nodes.get_mut(&self.name).filter(|entry| entry.session == self.session);
        if let Some(entry) = entry {
            entry.connected = false;
            entry.state_change_ms = now_ms;
        }
    }
}

impl Entry {
    fn rollout(&self, name: &str, sync: &Sync, epoch: &str) -> SyncRollout {
        let refused = self.refused.iter().find(|refused| refused.uid == sync.uid);
        let is_acked = self.acked && self.serves.epoch == epoch && self.serves.revision >= sync.revision;
        let (state, violations) = match (is_acked, refused) {
            (false, _) => (RolloutState::Pending, Vec::new()),
            (true, None) => (RolloutState::Serving, Vec::new()),
            (true, Some(refused)) => {
                (RolloutState::Refused, refused.violations.iter().take(MAX_VIOLATIONS).cloned().collect())
            }
        };
        let first_ack = self.acks.iter().find(|(revision, _)| *revision >= sync.revision);
        let since_ms = match first_ack {
            Some((_, ms)) if is_acked => *ms,
            _ => millis(sync.update_time.as_ref()).max(self.state_change_ms),
        };
        SyncRollout {
            node: name.to_owned(),
            state: state.into(),
            revision: self.serves.revision,
            since_time: Some(timestamp(since_ms)),
            violations,
        }
    }

    fn shown(
        &self,
        name: &str,
        counted: impl Fn(&str) -> bool,
        behind_since_ms: impl Fn(&Position) -> Option<i64>,
    ) -> Node {
        let refused = self.refused.iter().filter(|refused| counted(&refused.uid)).count();
        let backlogs = self.backlogs.iter().filter(|(uid, _)| counted(uid));
        Node {
            name: name.to_owned(),
            instance: self.instance.clone(),
            product_version: self.product_version.clone(),
            protocol_version: self.protocol_version,
            connected: self.connected,
            state_change_time: Some(timestamp(self.state_change_ms)),
            heartbeat_time: Some(timestamp(self.heartbeat_ms)),
            revision: self.serves.revision,
            refused_count: i32::try_from(refused).unwrap_or(i32::MAX),
            pending_count: backlogs.fold(0, |sum, (_, backlog)| sum.saturating_add(backlog.pending_count)),
            ingest_address: self.ingest_address.clone(),
            draining: self.draining,
            behind_since_time: if self.connected { behind_since_ms(&self.serves).map(timestamp) } else { None },
            in_flight_count: if self.connected { self.in_flight_count } else { 0 },
            spool_bytes: self.spool_bytes,
        }
    }
}

#[cfg(test)]
mod tests;
