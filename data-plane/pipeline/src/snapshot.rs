//! A snapshot of the catalog, put together from its chunks.

use sluice_proto::{
    node::v1::{Resource, SnapshotChunk, resource},
    sync::v1::Sync,
};

use crate::catalog::catalog_hash;

/// A complete snapshot.
#[derive(Clone, PartialEq)]
pub struct Snapshot {
    /// Epoch of the store.
    pub epoch: String,
    /// Revision of the whole.
    pub revision: i64,
    /// All syncs.
    pub syncs: Vec<Sync>,
    /// How many resources were of a kind that this version does not know, and were left out.
    pub unknown_count: usize,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .field("syncs", &self.syncs.len())
            .field("unknown_count", &self.unknown_count)
            .finish()
    }
}

/// Why chunks make no snapshot. What was collected is dropped: the node must ask for another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotBroken {
    /// A chunk is missing or came twice.
    #[error("chunk {found} came where chunk {expected} was due")]
    Index {
        /// The chunk that was due.
        expected: u32,
        /// The chunk that came.
        found: u32,
    },
    /// A chunk belongs to another revision or epoch than those before it.
    #[error("a chunk of epoch {epoch:?}, revision {revision} came among those of another snapshot")]
    Mixed {
        /// Epoch of the chunk.
        epoch: String,
        /// Revision of the chunk.
        revision: i64,
    },
    /// The syncs do not add up to the hash that came with the last chunk.
    #[error("the syncs have the hash {found}, not {expected}")]
    Hash {
        /// As the last chunk has it.
        expected: String,
        /// As the syncs have it.
        found: String,
    },
}

/// Collects the chunks of a snapshot. Nothing comes out of it before the last one.
#[derive(Debug, Default)]
pub struct SnapshotAssembler {
    partial: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    snapshot: Snapshot,
    next_index: u32,
}

impl SnapshotAssembler {
    /// With nothing collected.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk; the last one gives the snapshot. The chunk with index 0 begins a new snapshot and drops what was
    /// collected of another.
    ///
    /// # Errors
    /// The chunk does not follow the one before, or the whole does not have the hash that it should have.
    pub fn add(&mut self, chunk: SnapshotChunk) -> Result<Option<Snapshot>, SnapshotBroken> {
        let mut partial = match self.partial.take() {
            Some(partial) if chunk.index != 0 => partial,
            _ => Partial {
                snapshot: Snapshot {
                    epoch: chunk.epoch.clone(),
                    revision: chunk.revision,
                    syncs: Vec::new(),
                    unknown_count: 0,
                },
                next_index: 0,
            },
        };
        let snapshot = &mut partial.snapshot;
        if chunk.index != partial.next_index {
            return Err(SnapshotBroken::Index { expected: partial.next_index, found: chunk.index });
        }
        if (&chunk.epoch, chunk.revision) != (&snapshot.epoch, snapshot.revision) {
            return Err(SnapshotBroken::Mixed { epoch: chunk.epoch, revision: chunk.revision });
        }
        let (syncs, unknown_count) = syncs(chunk.resources);
        snapshot.syncs.extend(syncs);
        snapshot.unknown_count += unknown_count;
        if !chunk.complete {
            partial.next_index += 1;
            self.partial = Some(partial);
            return Ok(None);
        }
        let found = catalog_hash(snapshot.syncs.iter().map(|sync| (sync.uid.as_str(), sync.etag.as_str())));
        if found != chunk.catalog_hash {
            return Err(SnapshotBroken::Hash { expected: chunk.catalog_hash, found });
        }
        Ok(Some(partial.snapshot))
    }
}

/// The syncs among resources, and how many resources are of a kind that this version does not know.
#[must_use]
pub fn syncs(resources: Vec<Resource>) -> (Vec<Sync>, usize) {
    let count = resources.len();
    let syncs: Vec<_> = resources
        .into_iter()
        .filter_map(|resource| resource.resource.map(|resource::Resource::Sync(sync)| sync))
        .collect();
    let unknown_count = count - syncs.len();
    (syncs, unknown_count)
}
