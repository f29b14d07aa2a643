//! A node's side of the catalog stream: what it makes of each message and what it answers. The shell (`node/control`) reads and
//! writes the stream, stores what is to be served, and compiles where that holds nobody up.
//!
//! A catalog is served in two steps: [`Subscription::take`] gives an [`Update`], which [`Update::build`] compiles without the
//! subscription; [`Subscription::serve`] takes the outcome, once it is on disk, and gives the ack. Whatever breaks in between,
//! the subscription stands where it stood.

use std::sync::Arc;

use sluice_proto::node::v1::{
    CatalogAck, ControlPlaneHeartbeat, Delta, SnapshotChunk, SnapshotRequest,
    sync_catalog_response::Message as FromControlPlane,
};

use crate::{
    catalog::{Catalog, CatalogHash, DeltaRefused, Position, Snapshot, SnapshotAssembler, syncs},
    sync::Rules,
};

/// Heartbeats in a row that differ before a snapshot is asked for: a delta may be on its way.
const MISMATCHES: u32 = 2;

/// What a node holds, and what it has of a snapshot that is coming.
pub struct Subscription {
    catalog: Arc<Catalog>,
    /// The hash that the control plane gave with this catalog, if this version cannot make it: it is given back as it came.
    unknown_hash: Option<String>,
    assembler: SnapshotAssembler,
    /// Heartbeats in a row that differ.
    mismatches: u32,
}

/// What to do about a message.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// To build this, store it, and say so to [`Subscription::serve`].
    Build(Box<Update>),
    /// To send this.
    Ask(SnapshotRequest),
}

/// What leads from one catalog to another.
#[derive(Debug)]
pub struct Update {
    old: Arc<Catalog>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Snapshot(Snapshot),
    Delta(Delta),
}

/// A catalog that is ready to be stored and served.
#[derive(Clone, Debug)]
pub struct Built {
    /// The catalog.
    pub catalog: Arc<Catalog>,
    /// What is to be written to disk.
    pub changed: Changed,
    /// How many resources were of a kind that this version does not know, and were left out.
    pub unknown_count: usize,
    unknown_hash: Option<String>,
}

/// How a catalog differs from the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// In everything.
    All,
    /// In these uids.
    Some {
        /// New and changed ones.
        upserts: Vec<String>,
        /// Those that are gone.
        deletions: Vec<String>,
    },
}

/// Why an update makes no catalog.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A delta does not fit.
    #[error(transparent)]
    Delta(#[from] DeltaRefused),
    /// The syncs do not add up to the hash that came with them.
    #[error("the syncs have the hash {found}, not {told}")]
    Hash {
        /// As the syncs have it.
        found: String,
        /// As the control plane has it.
        told: String,
    },
    /// A sync is garbage.
    #[error("a sync cannot be read")]
    Unreadable(#[from] prost::DecodeError),
}

impl Subscription {
    /// Of a node that serves `catalog`.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog, unknown_hash: None, assembler: SnapshotAssembler::new(), mismatches: 0 }
    }

    /// A stream begins: what was on its way on the one before is lost. Gives what the hello says.
    pub fn connect(&mut self) -> Position {
        self.assembler = SnapshotAssembler::new();
        self.mismatches = 0;
        self.position()
    }

    /// What serves.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Where it stands: what hello, acks and heartbeats say. A hash that this version cannot make is the one that it was told.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            epoch: self.catalog.epoch().to_owned(),
            revision: self.catalog.revision(),
            hash: self.unknown_hash.clone().unwrap_or_else(|| self.catalog.hash().to_string()),
        }
    }

    /// The control plane has said something.
    pub fn take(&mut self, message: FromControlPlane) -> Step {
        match message {
            FromControlPlane::Snapshot(chunk) => self.chunk(chunk),
            FromControlPlane::Delta(delta) => self.delta(delta),
            FromControlPlane::Heartbeat(newest) => self.heartbeat(newest),
            FromControlPlane::Welcome(_) | FromControlPlane::IngestKeys(_) => Step::Nothing,
        }
    }

    /// `built` is on disk: it serves from now on.
    pub fn serve(&mut self, built: Built) -> CatalogAck {
        self.catalog = built.catalog;
        self.unknown_hash = built.unknown_hash;
        self.mismatches = 0;
        let Position { epoch, revision, hash } = self.position();
        CatalogAck {
            epoch,
            revision,
            catalog_hash: hash,
            refused: self.catalog.refused().iter().map(Into::into).collect(),
        }
    }

    /// What is on its way cannot be used.
    pub fn ask(&mut self, reason: &str) -> SnapshotRequest {
        self.assembler = SnapshotAssembler::new();
        self.mismatches = 0;
        SnapshotRequest { reason: reason.to_owned() }
    }

    fn chunk(&mut self, chunk: SnapshotChunk) -> Step {
        match self.assembler.add(chunk) {
            Ok(Some(snapshot)) => self.build(Content::Snapshot(snapshot)),
            Ok(None) => Step::Nothing,
            Err(broken) => Step::Ask(self.ask(&broken.to_string())),
        }
    }

    fn delta(&mut self, delta: Delta) -> Step {
        if let Err(refused) = self.catalog.fits(&delta.epoch, delta.from_revision, delta.revision) {
            return Step::Ask(self.ask(&refused.to_string()));
        }
        // What cannot be checked must lead on from what came as a whole: else a loss would go unseen for ever.
        if self.unknown_hash.is_none() && delta.catalog_hash.parse::<CatalogHash>().is_err() {
            return Step::Ask(self.ask("the hash is of an unknown kind"));
        }
        self.build(Content::Delta(delta))
    }

    fn heartbeat(&mut self, newest: ControlPlaneHeartbeat) -> Step {
        let ControlPlaneHeartbeat { epoch, revision, catalog_hash } = newest;
        let same = self.position() == Position { epoch, revision, hash: catalog_hash };
        self.mismatches = if same { 0 } else { self.mismatches + 1 };
        if self.mismatches < MISMATCHES {
            return Step::Nothing;
        }
        Step::Ask(self.ask("the heartbeats' epoch, revision or hash differs"))
    }

    fn build(&self, content: Content) -> Step {
        Step::Build(Box::new(Update { old: Arc::clone(&self.catalog), content }))
    }
}

impl Update {
    /// The catalog from which it leads.
    #[must_use]
    pub fn old(&self) -> &Arc<Catalog> {
        &self.old
    }

    /// Where it leads.
    #[must_use]
    pub fn position(&self) -> Position {
        match &self.content {
            Content::Snapshot(snapshot) => snapshot.position.clone(),
            Content::Delta(delta) => {
                Position { epoch: delta.epoch.clone(), revision: delta.revision, hash: delta.catalog_hash.clone() }
            }
        }
    }

    /// Compiles it. What takes long is what is new.
    ///
    /// # Errors
    /// It makes no catalog, or another one than the control plane holds: a snapshot must be asked for.
    pub fn build(self, rules: &Rules) -> Result<Built, BuildError> {
        let told = self.position().hash;
        let (catalog, changed, unknown_count) = match self.content {
            Content::Snapshot(Snapshot { position, resources }) => {
                let (syncs, unknown_count) = syncs(&resources)?;
                (self.old.replace(&position.epoch, position.revision, syncs, rules), Changed::All, unknown_count)
            }
            Content::Delta(Delta { epoch, from_revision, revision, upserts, deletions, .. }) => {
                let (upserts, unknown_count) = syncs(&upserts)?;
                let uids = upserts.iter().map(|sync| sync.uid.clone()).collect();
                let catalog = self.old.apply(&epoch, from_revision, revision, upserts, &deletions, rules)?;
                (catalog, Changed::Some { upserts: uids, deletions }, unknown_count)
            }
        };
        let unknown_hash = match catalog.hash().is(&told) {
            Some(true) => None,
            Some(false) => return Err(BuildError::Hash { found: catalog.hash().to_string(), told }),
            // Made in a way that this version does not know: asking for snapshots would never end.
            None => Some(told),
        };
        Ok(Built { catalog: Arc::new(catalog), changed, unknown_count, unknown_hash })
    }
}

impl Built {
    /// Whether the hash was made in a way that this version does not know, so that it could not be checked.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.unknown_hash.is_some()
    }
}
