//! What nodes are sent, read from the store and encoded once for all of them: a thousand sessions that lack the same share it.
//!
//! A session holds no copy, only a share, and what is kept for those who come next has a bound. A snapshot lives as long as a
//! session sends it; who joins meanwhile sends the same one, if it is not far behind, and a delta after it.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use sluice_proto::node::v1::{Delta, Resource, SnapshotChunk};
use tokio::sync::OnceCell;

use crate::{
    changelog::{Changes, Contents, Encoded, Position},
    store::{Store, StoreError},
};

/// Resources in one chunk of a snapshot, well below the message limit of 4 MiB: the transport copies a message for each node that
/// does not read. A larger sync travels alone.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
/// Changes that make a larger message travel as a snapshot, which comes in chunks.
const MAX_DELTA_BYTES: usize = 1 << 20;
/// Deltas that are kept for the sessions that ask next.
const KEPT_DELTA_BYTES: usize = 8 << 20;
const KEPT_DELTAS: usize = 1_024;
/// A snapshot that is being sent and is no further behind is sent to others, too.
const REUSED_REVISIONS: i64 = 100;

/// Makes updates. Clones share what they have made.
#[derive(Clone)]
pub(crate) struct Updates {
    store: Store,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    deltas: Deltas,
    /// The newest snapshot that was asked for, and at which revision at least it stands.
    snapshot: (i64, Weak<Snapshots>),
}

/// Deltas to the newest revision, by the revision from which they lead.
#[derive(Default)]
struct Deltas {
    newest: i64,
    by_from: HashMap<i64, Arc<OnceCell<Since>>>,
    bytes: usize,
}

/// A snapshot, once it is made.
type Snapshots = OnceCell<Snapshot>;

/// What leads on from a revision.
#[derive(Clone)]
pub(crate) enum Since {
    /// The change log doesn't go back that far.
    Unknown,
    /// More than goes into one message.
    TooLarge,
    /// This.
    Delta(Arc<SharedDelta>),
}

/// A delta that many sessions send.
pub(crate) struct SharedDelta {
    /// The hash at the revision from which it leads.
    pub(crate) hash_then: String,
    message: Delta,
}

/// A snapshot that many sessions send.
#[derive(Clone)]
pub(crate) struct SharedSnapshot(Arc<Snapshots>);

struct Snapshot {
    position: Position,
    syncs: Vec<(Arc<str>, Resource)>,
    /// Which of the syncs each chunk holds: at least one, but for the only chunk of an empty catalog.
    chunks: Vec<Range<usize>>,
}

impl Updates {
    /// Of that store, with nothing made.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, shared: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What leads from the revision `from` to the newest, which is `newest` or beyond.
    pub(crate) async fn since(&self, from: i64, newest: i64) -> Result<Since, StoreError> {
        let cell = self.lock().deltas.cell(from, newest);
        let mut made = None;
        let since = cell.get_or_try_init(async || {
            let since = Since::new(from, self.store.changes_since(from).await?);
            made = Some(since.size());
            Ok::<_, StoreError>(since)
        });
        let since = since.await?.clone();
        if let Some(bytes) = made {
            self.lock().deltas.made(from, &cell, bytes);
        }
        Ok(since)
    }

    /// The whole catalog, not from before the revision `newest`, or not long before if it `may_be_older`.
    pub(crate) async fn snapshot(&self, newest: i64, may_be_older: bool) -> Result<SharedSnapshot, StoreError> {
        let oldest = if may_be_older { newest.saturating_sub(REUSED_REVISIONS) } else { newest };
        let (cell, older) = self.lock().snapshot(oldest, newest);
        cell.get_or_try_init(async || self.make_snapshot(older).await).await?;
        Ok(SharedSnapshot(cell))
    }

    /// Shares with an older one what has not changed since, if somebody sends that one still.
    async fn make_snapshot(&self, older: Option<Arc<Snapshots>>) -> Result<Snapshot, StoreError> {
        if let Some(older) = older.as_ref().and_then(|older| older.get())
            && let Some(changes) = self.store.changes_since(older.position.revision).await?
            && changes.hash_then == older.position.hash
        {
            return Ok(older.after(changes));
        }
        let Contents { position, syncs } = self.store.contents().await?;
        Ok(Snapshot::new(position, syncs.into_iter().map(|Encoded { uid, resource }| (uid.into(), resource)).collect()))
    }
}

impl Shared {
    /// A snapshot of the revision `oldest` or later, made or not; a new one stands at `newest` at least and may be made from the one
    /// before.
    fn snapshot(&mut self, oldest: i64, newest: i64) -> (Arc<Snapshots>, Option<Arc<Snapshots>>) {
        let (revision, cell) = &self.snapshot;
        let older = cell.upgrade();
        if let Some(cell) = &older
            && *revision >= oldest
        {
            return (Arc::clone(cell), None);
        }
        let cell = Arc::default();
        self.snapshot = (newest, Arc::downgrade(&cell));
        (cell, older)
    }
}

impl Deltas {
    fn cell(&mut self, from: i64, newest: i64) -> Arc<OnceCell<Since>> {
        if newest > self.newest {
            *self = Self { newest, ..Self::default() };
        }
        if self.by_from.len() >= KEPT_DELTAS && !self.by_from.contains_key(&from) {
            return Arc::default();
        }
        Arc::clone(self.by_from.entry(from).or_default())
    }

    /// What was made in `cell` has so many bytes: it is not kept if that is too much.
    fn made(&mut self, from: i64, cell: &Arc<OnceCell<Since>>, bytes: usize) {
        if !self.by_from.get(&from).is_some_and(|kept| Arc::ptr_eq(kept, cell)) {
            return;
        }
        if self.bytes + bytes > KEPT_DELTA_BYTES {
            self.by_from.remove(&from);
        } else {
            self.bytes += bytes;
        }
    }
}

impl Since {
    fn new(from: i64, changes: Option<Changes>) -> Self {
        match changes {
            None => Self::Unknown,
            Some(changes) if changes.upserts.iter().map(Encoded::size).sum::<usize>() > MAX_DELTA_BYTES => {
                Self::TooLarge
            }
            Some(changes) => Self::Delta(Arc::new(SharedDelta::new(from, changes))),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Unknown | Self::TooLarge => 0,
            Self::Delta(delta) => {
                let Delta { upserts, deletions, .. } = &delta.message;
                let upserts = upserts.iter().map(|resource| size_of::<Resource>() + resource.encoded_sync().len());
                upserts.chain(deletions.iter().map(|uid| size_of::<String>() + uid.len())).sum()
            }
        }
    }
}

impl SharedDelta {
    fn new(from: i64, Changes { hash_then, position, upserts, deletions }: Changes) -> Self {
        let message = Delta {
            epoch: position.epoch,
            from_revision: from,
            revision: position.revision,
            upserts: upserts.into_iter().map(|encoded| encoded.resource).collect(),
            deletions,
            catalog_hash: position.hash,
        };
        Self { hash_then, message }
    }

    /// Where it leads.
    pub(crate) fn position(&self) -> Position {
        let Delta { epoch, revision, catalog_hash, .. } = &self.message;
        Position { epoch: epoch.clone(), revision: *revision, hash: catalog_hash.clone() }
    }

    /// The message. Its resources are shared.
    pub(crate) fn message(&self) -> Delta {
        self.message.clone()
    }
}

impl SharedSnapshot {
    /// Where it stands.
    pub(crate) fn position(&self) -> Option<&Position> {
        self.0.get().map(|snapshot| &snapshot.position)
    }

    /// The chunk with that number, if there is one; the last is `complete`. Its resources are shared.
    pub(crate) fn chunk(&self, index: usize) -> Option<SnapshotChunk> {
        let Snapshot { position, syncs, chunks } = self.0.get()?;
        let complete = index + 1 == chunks.len();
        Some(SnapshotChunk {
            epoch: position.epoch.clone(),
            revision: position.revision,
            index: u32::try_from(index).ok()?,
            resources: syncs.get(chunks.get(index)?.clone())?.iter().map(|(_, resource)| resource.clone()).collect(),
            complete,
            catalog_hash: if complete { position.hash.clone() } else { String::new() },
        })
    }
}

impl Snapshot {
    fn new(position: Position, syncs: Vec<(Arc<str>, Resource)>) -> Self {
        let mut chunks = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for (index, (_, resource)) in syncs.iter().enumerate() {
            let size = resource.encoded_sync().len();
            if bytes > 0 && bytes + size > CHUNK_BYTES {
                chunks.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes += size;
        }
        chunks.push(start..syncs.len());
        Self { position, syncs, chunks }
    }

    fn after(&self, Changes { position, upserts, deletions, .. }: Changes) -> Self {
        let mut syncs: BTreeMap<Arc<str>, Resource> = self.syncs.iter().cloned().collect();
        syncs.extend(upserts.into_iter().map(|Encoded { uid, resource }| (uid.into(), resource)));
        for uid in deletions {
            syncs.remove(uid.as_str());
        }
        Self::new(position, syncs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::Sync;

    use super::*;

    fn encoded(uid: &str, bytes: usize) -> Encoded {
        let sync = Sync { uid: uid.into(), display_name: "x".repeat(bytes), ..Default::default() };
        Encoded { uid: uid.into(), resource: Resource::of_sync(&sync) }
    }

    fn at(revision: i64) -> Position {
        Position { epoch: "e".into(), revision, hash: format!("hash {revision}") }
    }

    fn shared(snapshot: Snapshot) -> SharedSnapshot {
        SharedSnapshot(Arc::new(OnceCell::new_with(Some(snapshot))))
    }

    fn snapshot(syncs: impl IntoIterator<Item = Encoded>) -> Snapshot {
        Snapshot::new(at(9), syncs.into_iter().map(|Encoded { uid, resource }| (uid.into(), resource)).collect())
    }

    fn chunks(snapshot: Snapshot) -> Vec<SnapshotChunk> {
        let snapshot = shared(snapshot);
        (0..).map_while(|index| snapshot.chunk(index)).collect()
    }

    #[test]
    fn rule_3_snapshots_come_in_chunks_and_the_last_is_complete() {
        let sizes = [CHUNK_BYTES / 2, CHUNK_BYTES / 3, CHUNK_BYTES / 3, 2 * CHUNK_BYTES, 1];
        let chunks = chunks(snapshot(sizes.map(|size| encoded("u", size))));
        assert_eq!(chunks.iter().map(|c| c.resources.len()).collect::<Vec<_>>(), [2, 1, 1, 1]);
        assert_eq!(chunks.iter().map(|c| c.complete).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(chunks.iter().map(|c| c.index).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(chunks.last().unwrap().catalog_hash, "hash 9");
    }

    #[test]
    fn rule_3_an_empty_catalog_is_one_complete_chunk() {
        let chunks = chunks(snapshot([]));
        assert_eq!((chunks.len(), chunks[0].complete), (1, true));
    }

    #[test]
    fn a_snapshot_after_changes_shares_what_has_not_changed() {
        let before = snapshot([encoded("a", 1), encoded("b", 1), encoded("c", 1)]);
        let changes = Changes {
            hash_then: "hash 9".into(),
            position: at(11),
            upserts: vec![encoded("b", 2), encoded("d", 1)],
            deletions: vec!["c".into(), "never there".into()],
        };
        let after = before.after(changes);
        assert_eq!(after.position, at(11));
        assert_eq!(after.syncs.iter().map(|(uid, _)| &**uid).collect::<Vec<_>>(), ["a", "b", "d"]);
        let place = |snapshot: &Snapshot, index: usize| snapshot.syncs[index].1.encoded_sync().as_ptr();
        assert_eq!(place(&after, 0), place(&before, 0));
        assert_ne!(place(&after, 1), place(&before, 1));
    }

    #[test]
    fn a_snapshot_is_sent_to_others_as_long_as_somebody_sends_it_and_it_is_not_far_behind() {
        let mut state = Shared::default();
        let (first, older) = state.snapshot(0, 50);
        assert!(older.is_none());
        assert!(Arc::ptr_eq(&first, &state.snapshot(50, 60).0));
        let (second, older) = state.snapshot(51, 60);
        assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &older.unwrap()));
        drop((first, second));
        assert!(state.snapshot(0, 60).1.is_none(), "nobody sends one any more");
    }

    #[test]
    fn deltas_are_kept_for_the_newest_revision_and_within_bounds() {
        let mut deltas = Deltas::default();
        let cell = deltas.cell(3, 5);
        assert!(Arc::ptr_eq(&cell, &deltas.cell(3, 5)));
        assert!(Arc::ptr_eq(&cell, &deltas.cell(3, 4)), "who is behind gets what is newer");
        assert!(!Arc::ptr_eq(&cell, &deltas.cell(4, 5)));
        deltas.made(3, &cell, KEPT_DELTA_BYTES - 1);
        let other = deltas.cell(4, 5);
        deltas.made(4, &other, 2);
        assert!(!Arc::ptr_eq(&other, &deltas.cell(4, 5)), "too much");
        assert!(Arc::ptr_eq(&cell, &deltas.cell(3, 5)));
        assert!(!Arc::ptr_eq(&cell, &deltas.cell(3, 6)), "of an older revision");
        for from in 0..2 * i64::try_from(KEPT_DELTAS).unwrap() {
            deltas.cell(from, 6);
        }
        assert_eq!(deltas.by_from.len(), KEPT_DELTAS);
    }
}
