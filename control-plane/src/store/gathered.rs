//! What reports tell the figures of their syncs. It is gathered in memory for a moment before it becomes rows: each batch of reports of
//! a thousand syncs would change thousands of them. Whoever asks for figures gets both together. After a crash it is gathered again
//! from the chunks, which are written at once.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sluice_proto::node::v1::DroppedReports;
use sqlx::{Sqlite, SqliteConnection, Transaction};
use tokio::sync::RwLock;

use super::{
    Store, StoreError, chunks,
    reports::attempt,
    rollups::{add, note_health},
};
use crate::{
    figures::{
        health::Signs,
        rollup::{Counts, Rollups},
    },
    reports::{
        Fate,
        head::{Attempted, Head, Read},
    },
    time::millis,
};

/// How long something is gathered, and the most reports: what a crash leaves to be gathered again.
const MOST_TIME: Duration = Duration::from_secs(1);
const MOST_REPORTS: usize = 100_000;

/// What is gathered. Only who has the writer's connection changes it, at the moment of a commit: who reads it and then begins to read
/// the tables before giving it back sees each report once.
#[derive(Default)]
pub(super) struct Gathered(RwLock<State>);

/// Beside the tables.
#[derive(Default)]
pub(super) struct State {
    pub(super) told: Told,
    /// When the first of it came.
    since: Option<Instant>,
}

/// What reports add to the figures.
#[derive(Default)]
pub(super) struct Told {
    pub(super) rollups: Rollups,
    pub(super) signs: HashMap<String, Signs>,
    reports: usize,
}

impl Told {
    /// Adds a report that is kept.
    pub(super) fn report(&mut self, head: &Head, encoded: &Bytes) {
        self.reports += 1;
        let sync_uid = String::from_utf8_lossy(&head.sync_uid);
        if let Some(ended) = &head.ended {
            self.rollups.add(&sync_uid, ended.end_ms, |counts| counts.ending(ended));
        }
        let Some(Attempted { start_ms, outcome, .. }) = head.attempt else { return };
        self.rollups.add(&sync_uid, start_ms, |counts| counts.attempt(outcome));
        let signs = match self.signs.get_mut(&*sync_uid) {
            Some(signs) => signs,
            None => self.signs.entry(sync_uid.into_owned()).or_default(),
        };
        match head.fate() {
            Fate::Succeeded => signs.success(start_ms),
            Fate::Failed => signs.failure(&attempt(encoded.clone()).unwrap_or_default(), start_ms),
        }
    }

    /// Adds counts in place of reports that a node has dropped.
    pub(super) fn dropped(&mut self, dropped: &DroppedReports) {
        let counts = Counts {
            attempts: dropped.attempt_count,
            delivered: dropped.delivered_count,
            expired: dropped.expired_count,
            discarded: dropped.discarded_count,
            ..Counts::default()
        };
        self.rollups.add(&dropped.sync_uid, millis(dropped.minute.as_ref()), |sum| sum.merge(&counts));
    }

    /// Adds what others tell.
    pub(super) fn merge(&mut self, other: Self) {
        self.reports += other.reports;
        self.rollups.merge(other.rollups);
        for (sync_uid, signs) in other.signs {
            self.signs.entry(sync_uid).or_default().merge(signs);
        }
    }

    /// Writes it to the tables.
    pub(super) async fn add(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        add(connection, &self.rollups).await?;
        note_health(connection, &self.signs).await
    }
}

impl Gathered {
    /// What is gathered, for as long as it is held.
    pub(super) async fn read(&self) -> impl std::ops::Deref<Target = State> {
        self.0.read().await
    }

    /// Commits a transaction that holds all that was gathered.
    pub(super) async fn commit_all(&self, transaction: Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        let mut state = self.0.write().await;
        transaction.commit().await?;
        *state = State::default();
        Ok(())
    }

    /// Commits a transaction of reports that tell this, and gathers it.
    pub(super) async fn commit(&self, transaction: Transaction<'_, Sqlite>, told: Told) -> Result<(), StoreError> {
        let mut state = self.0.write().await;
        transaction.commit().await?;
        if told.reports > 0 {
            state.since.get_or_insert_with(Instant::now);
            state.told.merge(told);
        }
        Ok(())
    }
}

impl State {
    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// Whether it is time to write it.
    pub(super) fn is_due(&self) -> bool {
        self.told.reports >= MOST_REPORTS || self.since.is_some_and(|since| since.elapsed() >= MOST_TIME)
    }
}

/// Notes in the tables from which chunk on reports are gathered.
pub(super) async fn note(connection: &mut SqliteConnection, chunk: i64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO gathered_from (chunk) VALUES (?)").bind(chunk).execute(connection).await?;
    Ok(())
}

/// Notes that nothing is gathered.
pub(super) async fn note_none(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM gathered_from").execute(connection).await?;
    Ok(())
}

impl Store {
    /// Writes what is gathered to the tables.
    pub(crate) async fn write_figures(&self) -> Result<(), StoreError> {
        let store = self.clone();
        tokio::spawn(async move {
            let mut transaction = store.writer.begin_with("BEGIN IMMEDIATE").await?;
            {
                let gathered = store.gathered.read().await;
                if gathered.is_empty() {
                    return Ok(());
                }
                gathered.told.add(&mut transaction).await?;
            }
            note_none(&mut transaction).await?;
            store.gathered.commit_all(transaction).await
        })
        .await
        .unwrap_or(Err(StoreError::BrokenOff))
    }

    /// Gathers again what was not written when the store was closed, and writes it.
    pub(super) async fn gather_again(&self) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let from: Option<i64> =
            sqlx::query_scalar("SELECT min(chunk) FROM gathered_from").fetch_one(&mut *transaction).await?;
        let Some(from) = from else { return Ok(()) };
        let chunks: Vec<i64> = sqlx::query_scalar("SELECT id FROM report_chunks WHERE id >= ? ORDER BY id")
            .bind(from)
            .fetch_all(&mut *transaction)
            .await?;
        let (mut told, mut reader) = (Told::default(), chunks::reader()?);
        for chunk in chunks {
            for encoded in chunks::read(&mut transaction, &mut reader, chunk).await? {
                if let Ok(Read::Kept(head)) = Read::of(encoded.clone()) {
                    told.report(&head, &encoded);
                }
            }
        }
        told.add(&mut transaction).await?;
        note_none(&mut transaction).await?;
        transaction.commit().await?;
        tracing::info!(reports = told.reports, "figures were made up for");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
