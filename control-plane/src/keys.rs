//! The keys that count now: what the gate and the nodes go by. Follows the store.

use std::{sync::Arc, time::Duration};

use sluice_access::{ApiKey, Grant, KeyHash, Keyring};
use sluice_proto::{
    access::v1::{IngestKey, Key, KeyLimits, Role},
    node::v1::IngestKeys,
};
use tokio::sync::{Mutex, watch};

use crate::{
    api::Context,
    store::{Store, StoreError},
    time::{millis, timestamp},
};

/// Name of the admin key that is in the control plane's file.
pub(crate) const ADMIN_FILE_KEY: &str = "keys/admin-file";

/// How many keys may stand at once: they travel to the nodes in one message.
pub(crate) const MAX_KEYS: usize = 10_000;

/// Between writes of when keys were shown.
const USES_EVERY: Duration = Duration::from_secs(60);

/// The keys. Clones share them.
#[derive(Clone)]
pub(crate) struct Keys {
    keyring: watch::Sender<Arc<Keyring>>,
    /// The hash of the key in the file; none: the control plane runs open.
    admin: Option<KeyHash>,
    /// Held over a change and what follows from it, so that keyrings are told in the order of the changes.
    changing: Arc<Mutex<()>>,
}

impl Keys {
    /// The keys of the store, and the admin key of the file.
    pub(crate) async fn open(store: &Store, admin: Option<&ApiKey>) -> Result<Self, StoreError> {
        let (keyring, admin) = (watch::Sender::default(), admin.map(ApiKey::hash));
        let keys = Self { keyring, admin, changing: Arc::default() };
        keys.reload(store).await?;
        Ok(keys)
    }

    /// The keys now, and as they change.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Keyring>> {
        self.keyring.subscribe()
    }

    /// How many stand.
    pub(crate) fn count(&self) -> usize {
        self.keyring.borrow().grants().count()
    }

    /// Makes a change of the store's keys, and tells it. It runs to its end even if the call that asked for it is cancelled.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        store: &Store,
        change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (keys, store) = (self.clone(), store.clone());
        let changed = tokio::spawn(async move {
            let _changing = keys.changing.lock().await;
            let changed = change.await?;
            keys.reload(&store).await?;
            Ok(changed)
        });
        changed.await.unwrap_or(Err(StoreError::BrokenOff))
    }

    async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let stored = store.standing_keys().await?;
        let grants = stored.iter().map(|stored| (stored.hash, grant(&stored.key)));
        let admin = self
            .admin
            .map(|hash| (hash, Grant::new(ADMIN_FILE_KEY.to_owned(), Role::Admin, None, None, KeyLimits::default())));
        let keyring = Keyring::new(grants.chain(admin), &self.keyring.borrow());
        self.keyring.send_replace(Arc::new(keyring));
        Ok(())
    }

    /// When the key of that name was shown last, as far as this process knows; 0: never.
    pub(crate) fn last_use_ms(&self, name: &str) -> i64 {
        let keyring = self.keyring.borrow();
        keyring.grants().find(|(_, grant)| grant.name == name).map_or(0, |(_, grant)| grant.last_use_ms())
    }

    /// A node says when a key was shown to it.
    pub(crate) fn used(&self, name: &str, last_use_ms: i64) {
        let keyring = self.keyring.borrow().clone();
        if let Some((_, grant)) = keyring.grants().find(|(_, grant)| grant.name == name) {
            grant.used_at(last_use_ms);
        }
    }
}

/// The keys that producers may show, for the nodes.
pub(crate) fn for_nodes(keyring: &Keyring) -> IngestKeys {
    let grants = keyring.grants().filter(|(_, grant)| grant.role == Role::Ingest);
    let keys = grants.map(|(hash, grant)| IngestKey {
        name: grant.name.clone(),
        hash: hash.0.to_vec().into(),
        project: grant.project.as_ref().map(|project| format!("projects/{project}")).unwrap_or_default(),
        expire_time: grant.expire_ms.map(timestamp),
        limits: Some(grant.limits),
    });
    IngestKeys { keys: keys.collect() }
}

fn grant(key: &Key) -> Grant {
    let expire_ms = key.expire_time.as_ref().map(|time| millis(Some(time)));
    let project = key.project.strip_prefix("projects/");
    Grant::new(key.name.clone(), key.role(), project, expire_ms, key.limits.unwrap_or_default())
}

/// Writes down when keys were shown, until the control plane stops.
pub(crate) async fn run(context: Context) {
    let stopping = context.stopping.clone();
    stopping.run_until_cancelled_owned(note_uses(context)).await;
}

async fn note_uses(context: Context) {
    let mut noted_ms = context.clock.now_ms();
    loop {
        context.clock.sleep(USES_EVERY, "key uses").await;
        let keyring = context.keys.keyring.borrow().clone();
        let since = keyring.grants().filter(|(_, grant)| grant.last_use_ms() >= noted_ms);
        let uses: Vec<_> = since
            .filter_map(|(_, grant)| Some((grant.name.strip_prefix("keys/")?.to_owned(), grant.last_use_ms())))
            .collect();
        noted_ms = context.clock.now_ms();
        if uses.is_empty() {
            continue;
        }
        if let Err(error) = context.store.note_key_uses(&uses).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the last uses of keys could not be written down");
        }
    }
}
