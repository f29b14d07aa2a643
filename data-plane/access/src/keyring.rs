//! The keys that are known, by their hashes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use sluice_proto::access::v1::{KeyLimits, Role};

use crate::{key::KeyHash, limit::Meter, refusal::Refusal};

/// The keys that are known at one moment: immutable, to be shared by `Arc` and swapped as a whole.
#[derive(Debug, Default)]
pub struct Keyring(HashMap<KeyHash, Arc<Grant>>);

/// What a key allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// `keys/{key}`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Id of the project that it is bound to; none: every project.
    pub project: Option<Arc<str>>,
    /// From when on it is refused, in milliseconds since 1970; none: never.
    pub expire_ms: Option<i64>,
    /// What it may use.
    pub limits: KeyLimits,
    usage: Arc<Usage>,
}

/// What a key has used. Keyrings that follow one another share it.
#[derive(Debug)]
pub struct Usage {
    limits: KeyLimits,
    last_use_ms: AtomicI64,
    streams: AtomicUsize,
    /// Calls to the control plane.
    pub calls: Meter,
    /// Events to a node.
    pub events: Meter,
    /// Their bytes.
    pub bytes: Meter,
}

impl PartialEq for Usage {
    fn eq(&self, other: &Self) -> bool {
        self.limits == other.limits
    }
}

impl Usage {
    fn new(limits: KeyLimits) -> Self {
        Self {
            last_use_ms: AtomicI64::new(0),
            streams: AtomicUsize::new(0),
            calls: Meter::new(limits.calls_per_second.into()),
            events: Meter::new(limits.events_per_second.into()),
            bytes: Meter::new(limits.bytes_per_second),
            limits,
        }
    }
}

/// A stream that counts against a key's limit until it is dropped.
#[derive(Debug)]
pub struct OpenStream(Arc<Usage>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Grant {
    /// What the key of that name allows.
    #[must_use]
    pub fn new(name: String, role: Role, project: Option<&str>, expire_ms: Option<i64>, limits: KeyLimits) -> Self {
        let usage = Arc::new(Usage::new(limits));
        Self { name, role, project: project.map(Into::into), expire_ms, limits, usage }
    }

    /// What it has used.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Counts a stream.
    ///
    /// # Errors
    /// If as many as it may have are open.
    pub fn open_stream(&self) -> Result<OpenStream, Refusal> {
        let max = usize::try_from(self.limits.max_streams).unwrap_or_default();
        let open = self.usage.streams.fetch_add(1, Ordering::Relaxed);
        let counted = OpenStream(self.usage.clone());
        if max > 0 && open >= max {
            return Err(Refusal::Streams { key: self.name.clone(), max });
        }
        Ok(counted)
    }

    /// When it was shown last, in milliseconds since 1970; 0: never since it is known here.
    #[must_use]
    pub fn last_use_ms(&self) -> i64 {
        self.usage.last_use_ms.load(Ordering::Relaxed)
    }

    /// It was shown at `now_ms`, here or elsewhere.
    pub fn used_at(&self, now_ms: i64) {
        self.usage.last_use_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Whether it has expired.
    #[must_use]
    pub fn has_expired(&self, now_ms: i64) -> bool {
        self.expire_ms.is_some_and(|expire_ms| now_ms >= expire_ms)
    }
}

impl Keyring {
    /// The keyring of these grants. What keys of the one `before` have used stays counted, unless their limits are others now.
    #[must_use]
    pub fn new(grants: impl IntoIterator<Item = (KeyHash, Grant)>, before: &Self) -> Self {
        let keep = |(hash, mut grant): (KeyHash, Grant)| {
            if let Some(known) = before.0.get(&hash)
                && known.limits == grant.limits
            {
                grant.usage = known.usage.clone();
            }
            (hash, Arc::new(grant))
        };
        Self(grants.into_iter().map(keep).collect())
    }

    /// What the key of that hash allows, and notes that it was shown. Keys are found by their hash: how long that takes tells
    /// nothing of their texts.
    ///
    /// # Errors
    /// If it is not known, or has expired.
    pub fn check(&self, hash: &KeyHash, now_ms: i64) -> Result<&Arc<Grant>, Refusal> {
        let grant = self.0.get(hash).ok_or(Refusal::UnknownKey)?;
        if grant.has_expired(now_ms) {
            return Err(Refusal::ExpiredKey { key: grant.name.clone() });
        }
        grant.used_at(now_ms);
        Ok(grant)
    }

    /// Whether the key is still known and has not expired.
    #[must_use]
    pub fn holds(&self, hash: &KeyHash, now_ms: i64) -> bool {
        self.0.get(hash).is_some_and(|grant| !grant.has_expired(now_ms))
    }

    /// What it holds, in no order.
    pub fn grants(&self) -> impl Iterator<Item = (&KeyHash, &Arc<Grant>)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiKey;

    fn grant(limits: KeyLimits, expire_ms: Option<i64>) -> Grant {
        Grant::new("keys/a".to_owned(), Role::Ingest, Some("p"), expire_ms, limits)
    }

    #[test]
    fn a_key_is_known_until_it_expires_or_is_gone() {
        let key = ApiKey::random();
        let ring = Keyring::new([(key.hash(), grant(KeyLimits::default(), Some(1_000)))], &Keyring::default());
        assert_eq!(ring.check(&key.hash(), 999).unwrap().name, "keys/a");
        assert_eq!(ring.check(&key.hash(), 999).unwrap().last_use_ms(), 999);
        assert!(matches!(ring.check(&key.hash(), 1_000), Err(Refusal::ExpiredKey { .. })));
        assert!(matches!(ring.check(&ApiKey::random().hash(), 0), Err(Refusal::UnknownKey)));
        assert!(!Keyring::new([], &ring).holds(&key.hash(), 0));
    }

    #[test]
    fn what_was_used_is_counted_on_over_changes_of_other_keys() {
        let key = ApiKey::random();
        let limits = KeyLimits { max_streams: 1, ..Default::default() };
        let first = Keyring::new([(key.hash(), grant(limits, None))], &Keyring::default());
        let open = first.check(&key.hash(), 1).unwrap().open_stream().unwrap();
        let second = Keyring::new([(key.hash(), grant(limits, None))], &first);
        let grant = second.check(&key.hash(), 1).unwrap();
        assert!(matches!(grant.open_stream(), Err(Refusal::Streams { max: 1, .. })));
        drop(open);
        assert!(grant.open_stream().is_ok());
    }
}
