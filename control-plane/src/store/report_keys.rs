//! The small numbers by which reports are stored: of the syncs and of the nodes' instances that they name.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sqlx::{Row as _, SqliteConnection};

use super::{
    StoreError,
    many::{Many, pieces},
    reports::{AttemptRow, EndingRow, ReportedSync},
};

/// Numbers of syncs and instances that were reported before. Clones share it. Memory only, never across an await.
#[derive(Clone, Default)]
pub(super) struct KnownKeys(Arc<Mutex<KeyMaps>>);

#[derive(Default)]
struct KeyMaps {
    syncs: HashMap<ReportedSync, i64>,
    instances: HashMap<String, i64>,
}

/// Numbers that are remembered; beyond, all are forgotten and read anew.
const MAX_KNOWN: usize = 200_000;

impl KnownKeys {
    fn lock(&self) -> MutexGuard<'_, KeyMaps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that a transaction, which was committed, has read or made.
    pub(super) fn learn(&self, keys: Keys) {
        let new = keys.new;
        let mut known = self.lock();
        if known.syncs.len() + known.instances.len() > MAX_KNOWN {
            *known = KeyMaps::default();
        }
        known.syncs.extend(new.syncs);
        known.instances.extend(new.instances);
    }
}

/// Numbers of the syncs and instances that a batch names: few, however many reports there are.
pub(super) struct Keys {
    of_batch: KeyMaps,
    /// Those of them that were not known.
    new: KeyMaps,
}

impl Keys {
    pub(super) async fn of(
        connection: &mut SqliteConnection,
        known: &KnownKeys,
        attempts: &[AttemptRow],
        endings: &[EndingRow],
    ) -> Result<Self, StoreError> {
        let (mut of_batch, mut new) = (KeyMaps::default(), KeyMaps::default());
        let syncs: HashSet<_> =
            attempts.iter().map(|row| &row.sync).chain(endings.iter().map(|row| &row.sync)).collect();
        let instances: HashSet<_> = attempts.iter().map(|row| &row.attempt.instance).collect();
        let (mut unknown_syncs, mut unknown_instances) = (Vec::new(), Vec::new());
        {
            let known = known.lock();
            for sync in syncs {
                match known.syncs.get(sync) {
                    Some(key) => drop(of_batch.syncs.insert(sync.clone(), *key)),
                    None => unknown_syncs.push(sync),
                }
            }
            for instance in instances {
                match known.instances.get(instance) {
                    Some(key) => drop(of_batch.instances.insert(instance.clone(), *key)),
                    None => unknown_instances.push(instance),
                }
            }
        }
        // The updates change nothing; without them rows that are there would not be returned.
        for piece in pieces(&unknown_syncs) {
            let mut query = sqlx::query(SYNC_KEYS.text(piece.len()));
            for sync in piece {
                query = query.bind(sync.uid.clone()).bind(sync.project.clone()).bind(sync.sync.clone());
            }
            for row in query.fetch_all(&mut *connection).await? {
                let sync = ReportedSync { uid: row.try_get(1)?, project: row.try_get(2)?, sync: row.try_get(3)? };
                new.syncs.insert(sync, row.try_get(0)?);
            }
        }
        for piece in pieces(&unknown_instances) {
            let mut query = sqlx::query(INSTANCE_KEYS.text(piece.len()));
            for instance in piece {
                query = query.bind((*instance).clone());
            }
            for row in query.fetch_all(&mut *connection).await? {
                new.instances.insert(row.try_get(1)?, row.try_get(0)?);
            }
        }
        Ok(Self { of_batch, new })
    }

    pub(super) fn sync(&self, sync: &ReportedSync) -> Result<i64, StoreError> {
        let key = self.of_batch.syncs.get(sync).or_else(|| self.new.syncs.get(sync));
        key.copied().ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }

    pub(super) fn instance(&self, instance: &str) -> Result<i64, StoreError> {
        let key = self.of_batch.instances.get(instance).or_else(|| self.new.instances.get(instance));
        key.copied().ok_or(StoreError::Database(sqlx::Error::RowNotFound))
    }
}

static SYNC_KEYS: Many = Many::new(
    "INSERT INTO reported_syncs (uid, project, sync) VALUES",
    "(?, ?, ?)",
    "ON CONFLICT DO UPDATE SET uid = uid RETURNING key, uid, project, sync",
);

static INSTANCE_KEYS: Many = Many::new(
    "INSERT INTO reported_instances (instance) VALUES",
    "(?)",
    "ON CONFLICT DO UPDATE SET instance = instance RETURNING key, instance",
);
