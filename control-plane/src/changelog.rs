//! Where a catalog stands, and what has changed since. Pure: no store, no sockets.

pub(crate) use sluice_pipeline::catalog::Position;
use sluice_proto::node::v1::Resource;

/// How many revisions the change log keeps. A node that is further behind gets a snapshot.
pub(crate) const KEPT_REVISIONS: i64 = 10_000;

/// A sync as it travels: encoded once, whoever it is sent to. Secrets are in clear.
#[derive(Clone)]
pub(crate) struct Encoded {
    /// Its uid.
    pub(crate) uid: String,
    /// The sync.
    pub(crate) resource: Resource,
}

/// The whole catalog at one position.
pub(crate) struct Contents {
    /// Where it stands.
    pub(crate) position: Position,
    /// Every sync, in the order of their uids.
    pub(crate) syncs: Vec<Encoded>,
}

/// What leads from an older revision to a position.
pub(crate) struct Changes {
    /// The hash at the older revision.
    pub(crate) hash_then: String,
    /// Where they lead.
    pub(crate) position: Position,
    /// New and changed syncs.
    pub(crate) upserts: Vec<Encoded>,
    /// Uids of those that are gone.
    pub(crate) deletions: Vec<String>,
}

impl Encoded {
    /// How many bytes it has.
    pub(crate) fn size(&self) -> usize {
        self.resource.encoded_sync().len()
    }
}
