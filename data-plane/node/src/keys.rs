//! The keys that producers may show: told by the control plane, kept in the data folder, so that the node goes on checking them
//! when the control plane is gone.

use std::{io, sync::Arc};

use prost::Message as _;
use sluice_access::{Grant, KeyHash, Keyring};
use sluice_host::data_folder::DataFolder;
use sluice_proto::{
    access::v1::{IngestKey, Role},
    node::v1::{IngestKeys, KeyUse},
};
use tokio::sync::watch;

use crate::report::timestamp;

/// Name of the file. It holds hashes, no key.
const FILE: &str = "ingest-keys";

/// The keys. Clones share them.
#[derive(Clone)]
pub struct ProducerKeys {
    keyring: watch::Sender<Arc<Keyring>>,
    data: Arc<DataFolder>,
}

impl ProducerKeys {
    /// Those that the folder holds. A file that is damaged holds none: the control plane sends them again.
    #[must_use]
    pub fn open(data: Arc<DataFolder>) -> Self {
        let kept = std::fs::read(data.path().join(FILE)).unwrap_or_default();
        let kept = IngestKeys::decode(&*kept).unwrap_or_else(|error| {
            tracing::error!(%error, "the stored keys cannot be read: no producer is let in until the control plane sends them");
            IngestKeys::default()
        });
        Self { keyring: watch::Sender::new(Arc::new(keyring(&kept, &Keyring::default()))), data }
    }

    /// The keys, as they change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Keyring>> {
        self.keyring.subscribe()
    }

    /// These are all from now on. They count even if they cannot be written down.
    ///
    /// # Errors
    /// If they cannot be.
    pub fn replace(&self, keys: &IngestKeys) -> io::Result<()> {
        let keyring = Arc::new(keyring(keys, &self.keyring.borrow()));
        self.keyring.send_replace(keyring);
        self.data.write(FILE, &keys.encode_to_vec())
    }

    /// Those that were shown at `since_ms` or later, and when.
    #[must_use]
    pub fn uses(&self, since_ms: i64) -> Vec<KeyUse> {
        let keyring = self.keyring.borrow().clone();
        let used = keyring.grants().filter(|(_, grant)| grant.last_use_ms() >= since_ms.max(1));
        used.map(|(_, grant)| KeyUse { name: grant.name.clone(), last_use_time: Some(timestamp(grant.last_use_ms())) })
            .collect()
    }
}

/// A key that cannot be one of ours lets nobody in, and keeps out none of the others.
fn keyring(keys: &IngestKeys, before: &Keyring) -> Keyring {
    let grants = keys.keys.iter().filter_map(|key| {
        let grant = grant(key);
        if grant.is_none() {
            tracing::warn!(key = key.name, "a key that this node cannot use was left out");
        }
        grant
    });
    Keyring::new(grants, before)
}

fn grant(key: &IngestKey) -> Option<(KeyHash, Grant)> {
    let hash = KeyHash(key.hash.as_ref().try_into().ok()?);
    let project = key.project.strip_prefix("projects/")?;
    let expire_ms = key
        .expire_time
        .as_ref()
        .map(|time| time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000));
    let limits = key.limits.unwrap_or_default();
    Some((hash, Grant::new(key.name.clone(), Role::Ingest, Some(project), expire_ms, limits)))
}

#[cfg(test)]
mod tests {
    use sluice_access::ApiKey;

    use super::*;

    #[test]
    fn what_was_told_counts_after_a_restart_too() {
        let folder = tempfile::tempdir().unwrap();
        let open = || ProducerKeys::open(Arc::new(DataFolder::open(folder.path(), "node").unwrap()));
        let text = ApiKey::random();
        let key = |project: &str| IngestKey {
            name: "keys/a".to_owned(),
            hash: text.hash().0.to_vec().into(),
            project: project.to_owned(),
            ..Default::default()
        };
        let keys = open();
        assert!(!keys.watch().borrow().holds(&text.hash(), 0));
        keys.replace(&IngestKeys { keys: vec![key("projects/p")] }).unwrap();
        assert!(keys.watch().borrow().holds(&text.hash(), 0));
        drop(keys);

        let keys = open();
        assert_eq!(keys.watch().borrow().check(&text.hash(), 7).unwrap().project.as_deref(), Some("p"));
        assert_eq!(keys.uses(7).len(), 1);
        assert_eq!(keys.uses(8).len(), 0);
        keys.replace(&IngestKeys { keys: vec![key("")] }).unwrap();
        assert!(!keys.watch().borrow().holds(&text.hash(), 0), "a key without a project lets nobody in");
        drop(keys);
        std::fs::write(folder.path().join(FILE), "\u{1}damaged").unwrap();
        assert_eq!(open().watch().borrow().grants().count(), 0);
    }
}
