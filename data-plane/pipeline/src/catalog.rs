//! The syncs that a node serves at one revision.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
};

use sluice_proto::{node::v1 as node, sync::v1};

pub use crate::{
    catalog_hash::{CatalogHash, UnknownHash, catalog_hash},
    snapshot::{Snapshot, SnapshotAssembler, SnapshotBroken, syncs},
};
use crate::{
    event::Event,
    matching::Index,
    sync::{self, CompiledSync, Rules},
    violation::Violation,
};

/// The syncs that a node serves at one revision: immutable, to be shared by `Arc` and swapped as a whole. A new catalog
/// shares with the old one what did not change; unchanged syncs are not compiled again. `rules` must be the same for all of
/// them.
pub struct Catalog {
    epoch: String,
    revision: i64,
    hash: CatalogHash,
    held: BTreeMap<Arc<str>, Arc<Held>>,
    refused: Vec<Refused>,
    by_project: HashMap<Box<str>, Arc<Index>>,
}

/// One state of the catalog: the control plane's, or the one that a node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// One life of the store; revisions are ordered within it. Empty: a node that holds nothing.
    pub epoch: String,
    /// Grows with every change of any sync.
    pub revision: i64,
    /// [`CatalogHash`] at that revision, as text.
    pub hash: String,
}

/// A sync as it is stored on disk. Its `Debug` shows no secret.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// The version that the control plane sent last.
    pub latest: v1::Sync,
    /// The last version that could be compiled; only set if `latest` could not.
    pub good: Option<v1::Sync>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("uid", &self.latest.uid)
            .field("revision", &self.latest.revision)
            .field("good_revision", &self.good.as_ref().map(|good| good.revision))
            .finish_non_exhaustive()
    }
}

/// A sync whose latest version cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Uid of the sync.
    pub uid: Arc<str>,
    /// The revision that is refused.
    pub revision: i64,
    /// Why.
    pub violations: Vec<Violation>,
}

impl From<&Refused> for node::RefusedSync {
    fn from(refused: &Refused) -> Self {
        Self {
            uid: refused.uid.to_string(),
            revision: refused.revision,
            violations: refused.violations.iter().map(Into::into).collect(),
        }
    }
}

/// Why a delta does not fit: the node must ask for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaRefused {
    /// It belongs to another life of the store.
    #[error("delta of epoch {delta:?}, but the catalog is of epoch {held:?}")]
    Epoch {
        /// The catalog's.
        held: String,
        /// The delta's.
        delta: String,
    },
    /// It begins at another revision.
    #[error("delta from revision {delta}, but the catalog is at {held}")]
    FromRevision {
        /// The catalog's.
        held: i64,
        /// The delta's.
        delta: i64,
    },
    /// It leads backwards.
    #[error("delta from revision {from} leads back to {to}")]
    Backwards {
        /// Where it begins.
        from: i64,
        /// Where it ends.
        to: i64,
    },
}

impl Catalog {
    /// No syncs, no epoch, revision 0: what a node has before the first snapshot.
    #[must_use]
    pub fn empty() -> Self {
        Self::build(String::new(), 0, BTreeMap::new(), None)
    }

    /// The catalog that a node had stored: each sync at its latest version, or at its good one if that cannot be compiled.
    #[must_use]
    pub fn restore(epoch: &str, revision: i64, entries: Vec<Entry>, rules: &Rules) -> Self {
        let held = entries
            .into_iter()
            .map(|Entry { latest, good }| {
                let good = good.and_then(|good| Some((Arc::new(sync::compile(&good, rules).ok()?), good)));
                by_uid(Held::new(latest, good, rules))
            })
            .collect();
        Self::build(epoch.to_owned(), revision, held, None)
    }

    /// The catalog after a complete snapshot, which replaces everything: what it does not hold is gone. A sync that cannot be
    /// compiled keeps its last good version serving.
    #[must_use]
    pub fn replace(&self, epoch: &str, revision: i64, syncs: Vec<v1::Sync>, rules: &Rules) -> Self {
        let held = syncs.into_iter().map(|sync| by_uid(self.hold(sync, rules))).collect();
        Self::build(epoch.to_owned(), revision, held, None)
    }

    /// The catalog after a delta: `upserts` are new or changed, `deletions` are uids of syncs that are gone.
    ///
    /// # Errors
    /// The delta does not begin at this catalog's epoch and revision.
    pub fn apply(
        &self,
        epoch: &str,
        from_revision: i64,
        revision: i64,
        upserts: Vec<v1::Sync>,
        deletions: &[String],
        rules: &Rules,
    ) -> Result<Self, DeltaRefused> {
        self.fits(epoch, from_revision, revision)?;
        let mut held = self.held.clone();
        let (mut hash, mut projects) = (self.hash, HashSet::new());
        let mut changes = |old: Option<&Arc<Held>>, new: Option<&Arc<Held>>| {
            if let Some(old) = old {
                hash.remove(&old.entry.latest.uid, &old.entry.latest.etag);
            }
            if let Some(new) = new {
                hash.add(&new.entry.latest.uid, &new.entry.latest.etag);
            }
            let serving = [old, new].into_iter().flatten().filter_map(|held| held.serving.as_ref());
            projects.extend(serving.map(|sync| Box::from(sync.name.project.as_str())));
        };
        for sync in upserts {
            let (uid, new) = by_uid(self.hold(sync, rules));
            changes(held.get(&uid), Some(&new));
            held.insert(uid, new);
        }
        for uid in deletions {
            changes(held.remove(uid.as_str()).as_ref(), None);
        }
        Ok(Self::build(self.epoch.clone(), revision, held, Some(Kept { catalog: self, hash, projects })))
    }

    /// Whether a delta begins at this catalog and leads on.
    ///
    /// # Errors
    /// Why it does not.
    pub fn fits(&self, epoch: &str, from_revision: i64, revision: i64) -> Result<(), DeltaRefused> {
        if epoch != self.epoch {
            return Err(DeltaRefused::Epoch { held: self.epoch.clone(), delta: epoch.to_owned() });
        }
        if from_revision != self.revision {
            return Err(DeltaRefused::FromRevision { held: self.revision, delta: from_revision });
        }
        if revision < from_revision {
            return Err(DeltaRefused::Backwards { from: from_revision, to: revision });
        }
        Ok(())
    }

    /// Epoch of the store that it comes from; empty before the first snapshot.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// Its revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Hash of the latest versions of all its syncs, those that are refused too.
    #[must_use]
    pub fn hash(&self) -> CatalogHash {
        self.hash
    }

    /// The sync that serves under that uid; `None` if there is none, or none that could ever be compiled.
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<&Arc<CompiledSync>> {
        self.held.get(uid)?.serving.as_ref()
    }

    /// The syncs that serve, disabled ones too, in the order of their uids.
    pub fn syncs(&self) -> impl Iterator<Item = &Arc<CompiledSync>> {
        self.held.values().filter_map(|held| held.serving.as_ref())
    }

    /// The uids of all syncs, of those too that could never be compiled. What is not among them has been deleted.
    pub fn uids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.held.keys().map(AsRef::as_ref)
    }

    /// Whether a sync with that uid exists, be it served or not.
    #[must_use]
    pub fn contains(&self, uid: &str) -> bool {
        self.held.contains_key(uid)
    }

    /// What is to be stored on disk, in the order of the uids.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.held.values().map(|held| &held.entry)
    }

    /// What is to be stored on disk of one sync.
    #[must_use]
    pub fn entry(&self, uid: &str) -> Option<&Entry> {
        self.held.get(uid).map(|held| &held.entry)
    }

    /// The syncs whose latest version cannot be served, in the order of their uids.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Adds to `out` the enabled syncs of `project` (its id, without `projects/`) that take the event. Syncs of other event
    /// types cost nothing.
    pub fn matching<'c>(&'c self, project: &str, event: &Event<'_>, out: &mut Vec<&'c Arc<CompiledSync>>) {
        let Some(index) = self.by_project.get(project) else {
            return;
        };
        index.matching(event, out);
    }

    fn hold(&self, latest: v1::Sync, rules: &Rules) -> Arc<Held> {
        match self.held.get(latest.uid.as_str()) {
            Some(held) if held.entry.latest == latest => Arc::clone(held),
            Some(held) => Held::new(latest, held.good(), rules),
            None => Held::new(latest, None, rules),
        }
    }

    fn build(epoch: String, revision: i64, held: BTreeMap<Arc<str>, Arc<Held>>, kept: Option<Kept<'_>>) -> Self {
        let refused = held.values().filter_map(|held| held.refused.clone()).collect();
        let changed = |project: &str| kept.as_ref().is_none_or(|kept| kept.projects.contains(project));
        let mut indexes: HashMap<Box<str>, Index> = HashMap::new();
        if kept.as_ref().is_none_or(|kept| !kept.projects.is_empty()) {
            for sync in held.values().filter_map(|held| held.serving.as_ref()).filter(|sync| sync.enabled) {
                if changed(&sync.name.project) {
                    indexes.entry(sync.name.project.as_str().into()).or_default().add(sync);
                }
            }
        }
        let mut by_project: HashMap<Box<str>, Arc<Index>> =
            indexes.into_iter().map(|(project, index)| (project, Arc::new(index))).collect();
        let hash = match kept {
            Some(Kept { catalog, hash, projects }) => {
                let others = catalog.by_project.iter().filter(|(project, _)| !projects.contains(*project));
                by_project.extend(others.map(|(project, index)| (project.clone(), Arc::clone(index))));
                hash
            }
            None => CatalogHash::of(held.iter().map(|(uid, held)| (uid.as_ref(), held.entry.latest.etag.as_str()))),
        };
        Self { epoch, revision, hash, held, refused, by_project }
    }
}

/// What a catalog takes over from the one before.
struct Kept<'c> {
    catalog: &'c Catalog,
    /// With the changes.
    hash: CatalogHash,
    /// The projects in which something serves otherwise than before.
    projects: HashSet<Box<str>>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("epoch", &self.epoch)
            .field("revision", &self.revision)
            .field("hash", &self.hash.to_string())
            .field("syncs", &self.held.len())
            .field("refused", &self.refused.len())
            .finish_non_exhaustive()
    }
}

/// A sync with what could be made of it.
struct Held {
    entry: Entry,
    /// `latest` compiled, else the good version.
    compiled: Option<Arc<CompiledSync>>,
    /// The same, but disabled if the latest version is.
    serving: Option<Arc<CompiledSync>>,
    /// Set if `latest` is refused.
    refused: Option<Refused>,
}

impl Held {
    fn new(latest: v1::Sync, good: Option<(Arc<CompiledSync>, v1::Sync)>, rules: &Rules) -> Arc<Self> {
        Arc::new(match sync::compile(&latest, rules) {
            Ok(compiled) => {
                let compiled = Some(Arc::new(compiled));
                Self { entry: Entry { latest, good: None }, serving: compiled.clone(), compiled, refused: None }
            }
            Err(violations) => {
                let refused = Refused { uid: latest.uid.as_str().into(), revision: latest.revision, violations };
                let (compiled, good) = good.unzip();
                // the user's brake works even on a version that is not understood
                let serving = match &good {
                    Some(good) if good.enabled && !latest.enabled => disabled(good, rules),
                    _ => compiled.clone(),
                };
                Self { entry: Entry { latest, good }, compiled, serving, refused: Some(refused) }
            }
        })
    }

    /// The version that can be compiled, as it was sent.
    fn good(&self) -> Option<(Arc<CompiledSync>, v1::Sync)> {
        let source = self.entry.good.as_ref().unwrap_or(&self.entry.latest);
        Some((Arc::clone(self.compiled.as_ref()?), source.clone()))
    }
}

fn disabled(good: &v1::Sync, rules: &Rules) -> Option<Arc<CompiledSync>> {
    let mut compiled = sync::compile(good, rules).ok()?;
    compiled.enabled = false;
    Some(Arc::new(compiled))
}

fn by_uid(held: Arc<Held>) -> (Arc<str>, Arc<Held>) {
    (held.entry.latest.uid.as_str().into(), held)
}
