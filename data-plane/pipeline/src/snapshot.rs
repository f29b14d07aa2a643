//! A snapshot of the catalog, put together from its chunks.

use prost::DecodeError;
use sluice_proto::{
    node::v1::{Resource, SnapshotChunk},
    sync::v1::Sync,
};

use crate::catalog::Position;

/// A complete snapshot, not looked into yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Where the whole stands; the hash is the one that came with the last chunk.
    pub position: Position,
    /// Everything.
    pub resources: Vec<Resource>,
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
    /// The chunk does not follow the one before.
    pub fn add(&mut self, chunk: SnapshotChunk) -> Result<Option<Snapshot>, SnapshotBroken> {
        let mut partial = match self.partial.take() {
            Some(partial) if chunk.index != 0 => partial,
            _ => Partial {
                snapshot: Snapshot {
                    position: Position { epoch: chunk.epoch.clone(), revision: chunk.revision, hash: String::new() },
                    resources: Vec::new(),
                },
                next_index: 0,
            },
        };
        let Snapshot { position, resources } = &mut partial.snapshot;
        if chunk.index != partial.next_index {
            return Err(SnapshotBroken::Index { expected: partial.next_index, found: chunk.index });
        }
        if (&chunk.epoch, chunk.revision) != (&position.epoch, position.revision) {
            return Err(SnapshotBroken::Mixed { epoch: chunk.epoch, revision: chunk.revision });
        }
        resources.extend(chunk.resources);
        if !chunk.complete {
            partial.next_index += 1;
            self.partial = Some(partial);
            return Ok(None);
        }
        position.hash = chunk.catalog_hash;
        Ok(Some(partial.snapshot))
    }
}

/// The syncs among resources, and how many resources are of a kind that this version does not know.
///
/// # Errors
/// If one cannot be read.
pub fn syncs(resources: &[Resource]) -> Result<(Vec<Sync>, usize), DecodeError> {
    let known = resources.iter().filter_map(|resource| resource.sync().transpose());
    let syncs = known.collect::<Result<Vec<_>, _>>()?;
    let unknown_count = resources.len() - syncs.len();
    Ok((syncs, unknown_count))
}
