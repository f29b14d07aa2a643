//! Where a catalog stands, and what has changed since. Pure: no store, no sockets.

use sluice_proto::sync::v1::Sync;

/// How many revisions the change log keeps. A node that is further behind gets a snapshot.
pub(crate) const KEPT_REVISIONS: i64 = 10_000;

/// One state of the catalog: ours, or the one that a node says it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// One life of the store; revisions are ordered within it. Empty: a node that holds nothing.
    pub(crate) epoch: String,
    /// Grows with every change of any sync.
    pub(crate) revision: i64,
    /// [`catalog_hash`](sluice_pipeline::catalog::catalog_hash) at that revision.
    pub(crate) hash: String,
}

/// The whole catalog at one position.
pub(crate) struct Snapshot {
    /// Where it stands.
    pub(crate) position: Position,
    /// Every sync, secrets in clear, in the order of their uids.
    pub(crate) syncs: Vec<Sync>,
}

/// What leads from an older revision to a position.
pub(crate) struct Changes {
    /// Where they lead.
    pub(crate) position: Position,
    /// New and changed syncs, secrets in clear.
    pub(crate) upserts: Vec<Sync>,
    /// Uids of those that are gone.
    pub(crate) deletions: Vec<String>,
}
