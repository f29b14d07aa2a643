//! Changes of many syncs at once, all or nothing.

use std::collections::HashMap;

use sluice_proto::{name::SyncName, sync::v1::Sync};
use sqlx::{Sqlite, Transaction};

use super::{
    Store, StoreError,
    audit::append,
    requests::{Once, Written, remember},
    syncs::{SYNC, delete, hash_of, log_change, log_step, position, put},
};
use crate::audit::{Actor, changes};

/// One of many changes.
pub(crate) enum Step {
    /// Stores the sync with that name as it is given, with its revision.
    Put(SyncName, Box<Sync>),
    /// Removes the sync with that name and uid.
    Delete(SyncName, String),
}

impl Store {
    /// Changes a project's syncs as `decide` says, which sees all of them, in the order of their ids, and the first revision that
    /// is free: each step takes one, in their order. Nobody else writes between the two. Gives what `decide` adds to the steps.
    ///
    /// # Errors
    /// What `decide` answers, and the store's own; nothing has changed then.
    pub(crate) async fn change_syncs<T, E, D>(
        &self,
        project: &str,
        once: Option<Once>,
        actor: Actor,
        decide: D,
    ) -> Result<Written<T>, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        D: FnOnce(Vec<Sync>, i64) -> Result<(Vec<Step>, T), E> + Send + 'static,
    {
        let (store, project) = (self.clone(), project.to_owned());
        tokio::spawn(async move { store.write_syncs(&project, once, &actor, decide).await })
            .await
            .unwrap_or_else(|_| Err(StoreError::BrokenOff.into()))
    }

    async fn write_syncs<T, E, D>(
        &self,
        project: &str,
        once: Option<Once>,
        actor: &Actor,
        decide: D,
    ) -> Result<Written<T>, E>
    where
        E: From<StoreError>,
        D: FnOnce(Vec<Sync>, i64) -> Result<(Vec<Step>, T), E>,
    {
        // Held until the change is published: so they are published in the order of their revisions.
        let mut connection = self.writer.acquire().await.map_err(StoreError::from)?;
        let begin = sqlx::SqlSafeStr::into_sql_str("BEGIN IMMEDIATE");
        let mut transaction =
            Transaction::<Sqlite>::begin(&mut *connection, Some(begin)).await.map_err(StoreError::from)?;
        if let Some(once) = &once
            && let Some(before) = Written::before(&mut transaction, once).await?
        {
            return Ok(before);
        }

        let rows = sqlx::query("SELECT content FROM syncs WHERE project = ? ORDER BY id")
            .bind(project)
            .fetch_all(&mut *transaction)
            .await
            .map_err(StoreError::from)?;
        let current = rows.iter().map(|row| self.content(row)).collect::<Result<Vec<Sync>, StoreError>>()?;
        let before: HashMap<String, Sync> = current.iter().map(|sync| (sync.name.clone(), sync.clone())).collect();
        let newest = position(&mut transaction).await?;
        let first = newest.revision.saturating_add(1);
        let (steps, answer) = decide(current, first)?;

        let mut hash = hash_of(&mut transaction, &newest).await?;
        let mut etags: HashMap<String, (String, String)> =
            before.iter().map(|(name, sync)| (name.clone(), (sync.uid.clone(), sync.etag.clone()))).collect();
        let last = steps.len().saturating_sub(1);
        let mut reached = None;
        for (revision, (index, step)) in (first..).zip(steps.into_iter().enumerate()) {
            let (uid, kind) = match step {
                Step::Put(name, sync) => {
                    let name_text = name.to_string();
                    let changed = changes(SYNC, before.get(&name_text), Some(&*sync));
                    append(&mut transaction, &[actor.entry(&name_text, changed)]).await?;
                    put(&self.sealer, &mut transaction, &name, &sync).await?;
                    if let Some((uid, etag)) = etags.insert(name_text, (sync.uid.clone(), sync.etag.clone())) {
                        hash.remove(&uid, &etag);
                    }
                    hash.add(&sync.uid, &sync.etag);
                    (sync.uid, "upsert")
                }
                Step::Delete(name, uid) => {
                    let name_text = name.to_string();
                    let changed = changes(SYNC, before.get(&name_text), None);
                    append(&mut transaction, &[actor.entry(&name_text, changed)]).await?;
                    delete(&mut transaction, &name).await?;
                    if let Some((uid, etag)) = etags.remove(&name_text) {
                        hash.remove(&uid, &etag);
                    }
                    (uid, "delete")
                }
            };
            if index == last {
                reached = Some(log_change(&mut transaction, revision, &uid, kind, hash).await?);
            } else {
                log_step(&mut transaction, revision, &uid, kind).await?;
            }
        }
        if let Some(once) = &once {
            remember(&mut transaction, once, &format!("projects/{project}")).await?;
        }
        transaction.commit().await.map_err(StoreError::from)?;
        if let Some(position) = reached {
            self.publisher.revision(position);
        }
        Ok(Written::Now(answer))
    }
}
