//! The writer: one connection, one transaction for a list of changes.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use sluice_host::clock::Clock;

use super::{
    SqliteFactory, chunks, commit::Commit, damage::Damage, dead_letters::Resume, dedup::Dedup, disk::Disk, file,
    reports, state::State,
};
use crate::{
    report,
    spool::{
        limits::SpoolLimits,
        store::{Change, Effect, Store, StoreError, Upkeep},
    },
};

/// Chunks that become rows in one transaction at the start.
const MOVED_AT_ONCE: usize = 16;

/// The writer.
pub(super) struct SqliteStore {
    connection: Connection,
    /// None after a failed commit: read anew then.
    state: Option<State>,
    dedup: Dedup,
    resume: Option<Resume>,
    /// Chunks that cannot become rows, since those meet damage.
    stuck: HashSet<i64>,
    pub(super) disk: Disk,
    pub(super) limits: SpoolLimits,
    reporter: report::Reporter,
    damage: Damage,
    pub(super) upkeep: super::upkeep::Progress,
    /// Marks each commit; none until the chunks of the last run are rows, which happens at a time that is not known yet.
    clock: Option<Clock>,
    /// How long the last step of the newest commit took.
    sync_time: Option<Duration>,
}

impl SqliteStore {
    /// Opens the file; what it holds in chunks becomes rows, since no delivery is in memory yet.
    pub(super) fn open(factory: &SqliteFactory) -> Result<Self, StoreError> {
        let SqliteFactory { folder, reporter, limits, damage, free_space, clock } = factory;
        let disk = Disk::new(folder, limits.reserve_bytes, free_space.clone());
        let connection = file::open(&folder.join(super::FILE), limits.file_bytes)?;
        let (damaged, newest_ms): (i64, i64) =
            connection.query_row("SELECT damaged, newest_ms FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        damage.at_least(damaged.unsigned_abs());
        let mut store = Self {
            state: Some(State::load(&connection)?),
            dedup: Dedup::load(&connection, limits, damage)?,
            resume: None,
            stuck: HashSet::new(),
            disk,
            limits: limits.clone(),
            reporter: reporter.clone(),
            damage: damage.clone(),
            upkeep: super::upkeep::Progress::default(),
            clock: None,
            sync_time: None,
            connection,
        };
        match store.empty_chunks(newest_ms) {
            Err(error) if store.failed_for_room(&error) => {
                store.disk.give_up_reserve();
                store.empty_chunks(newest_ms)?;
            }
            done => done?,
        }
        store.clock.clone_from(clock);
        Ok(store)
    }

    fn empty_chunks(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let unreadable = self.state.as_mut().map(|state| state.chunks.take_unreadable()).unwrap_or_default();
        loop {
            self.load_state()?;
            let oldest = self.state.as_ref().map(|state| state.chunks.oldest(MOVED_AT_ONCE, &self.stuck));
            let Some(oldest) = oldest.filter(|oldest| !oldest.is_empty()) else { break };
            let moved =
                self.transact(now_ms, false, |commit| oldest.iter().try_for_each(|chunk| commit.move_chunk(*chunk)));
            match moved {
                Err(error) if error.is_damage() => {
                    for chunk in oldest {
                        self.move_chunk(chunk, now_ms)?;
                    }
                }
                moved => moved?,
            }
        }
        if unreadable.is_empty() {
            return Ok(());
        }
        self.load_state()?;
        // Nobody knows which lanes they went to: what is missing there is lost.
        self.transact(now_ms, false, |commit| {
            for chunk in &unreadable {
                commit.damage.found("chunk", *chunk);
                match chunks::remove(commit.sql, *chunk) {
                    // It stays where it is, and counts once.
                    Err(error) if error.is_damage() => {}
                    removed => removed?,
                }
            }
            let lanes: Vec<i64> = commit.state.lanes().map(|(id, _)| id).collect();
            for id in lanes {
                let (pending, bytes): (i64, i64) = commit
                    .sql
                    .prepare_cached("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM deliveries WHERE lane = ?")?
                    .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let Some(lane) = commit.state.lane(id).filter(|lane| lane.counts.pending != pending) else { continue };
                let lost = lane.counts.pending - pending;
                tracing::error!(sync = &*lane.key.name, lost, "deliveries were lost with a damaged chunk");
                commit.state.change_lane(id, |lane| lane.lost(pending, bytes));
            }
            Ok(())
        })
    }

    /// Runs one transaction; in memory is what is on disk when it returns, or nothing.
    pub(super) fn transact<T>(
        &mut self,
        now_ms: i64,
        disk_has_room: bool,
        work: impl FnOnce(&mut Commit<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Taken out: if anything fails it is read anew.
        self.load_state()?;
        let Some(mut state) = self.state.take() else { return Err(StoreError::Stopped) };
        let transaction = self.connection.transaction()?;
        let mut commit = Commit {
            sql: &transaction,
            state: &mut state,
            dedup: &mut self.dedup,
            limits: &self.limits,
            reporter: &self.reporter,
            damage: &self.damage,
            resume: &mut self.resume,
            stuck: &self.stuck,
            now_ms,
            mark: self.clock.as_ref().map(Clock::mark),
            disk_has_room,
            building: chunks::Building::default(),
            made: 0,
            reports: reports::Building::default(),
        };
        let result = work(&mut commit).and_then(|done| commit.finish().map(|()| done)).and_then(|done| {
            let began = Instant::now();
            transaction.commit()?;
            self.sync_time = Some(began.elapsed());
            Ok(done)
        });
        match result {
            Ok(done) => {
                self.dedup.committed(now_ms);
                self.state = Some(state);
                Ok(done)
            }
            Err(error) => {
                self.dedup.rolled_back();
                self.resume = None;
                Err(error)
            }
        }
    }

    /// A chunk that is to become rows by now, or since there are too many.
    pub(super) fn chunk_to_move(&self, now_ms: i64) -> Option<i64> {
        self.state.as_ref().and_then(|state| state.chunks.to_move(now_ms, &self.stuck))
    }

    /// Makes rows of a chunk. One that meets damage stays and is not tried again.
    pub(super) fn move_chunk(&mut self, chunk: i64, now_ms: i64) -> Result<(), StoreError> {
        // Commits have not to move it as well.
        let others = std::mem::replace(&mut self.stuck, HashSet::from([chunk]));
        let moved = self.transact(now_ms, false, |commit| commit.move_chunk(chunk));
        self.stuck = others;
        match moved {
            Err(error) if error.is_damage() => {
                self.damage.found("rows of a chunk", chunk);
                self.stuck.insert(chunk);
                self.load_state()
            }
            moved => moved,
        }
    }

    /// Reads the memory anew if the last commit has failed.
    pub(super) fn load_state(&mut self) -> Result<(), StoreError> {
        if self.state.is_none() {
            self.state = Some(State::load(&self.connection)?);
        }
        Ok(())
    }

    /// What the writer has in memory, if the last commit worked.
    pub(super) fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    pub(super) fn sql(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn dedup(&mut self) -> &mut Dedup {
        &mut self.dedup
    }

    pub(super) fn damage(&self) -> Damage {
        self.damage.clone()
    }

    fn apply_with(&mut self, changes: &[Change], now_ms: i64, room: bool) -> Result<Vec<Effect>, StoreError> {
        self.transact(now_ms, room, |commit| changes.iter().map(|change| commit.apply(change)).collect())
    }

    /// Whether a commit has failed for want of room.
    pub(super) fn failed_for_room(&mut self, error: &StoreError) -> bool {
        error.is_disk_full() || (error.is_io() && self.disk.is_full())
    }
}

impl Store for SqliteStore {
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let bytes: usize =
            changes.iter().map(|change| if let Change::Accept(accept) = change { accept.bytes() } else { 0 }).sum();
        let accepts = changes.iter().any(|change| matches!(change, Change::Accept(_)));
        let room = !accepts || self.disk.has_room(bytes as u64);
        match self.apply_with(changes, now_ms, room) {
            Err(error) if self.failed_for_room(&error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a commit has failed for want of room");
                self.disk.give_up_reserve();
                // Events are refused now; the rest has the room of the reserve.
                self.apply_with(changes, now_ms, false)
                    .map_err(|error| if self.failed_for_room(&error) { StoreError::Full } else { error })
            }
            Err(error) if error.is_damage() => {
                // It may have been a chunk that had to move, and no change at all.
                self.load_state()?;
                if self.state.as_ref().is_some_and(|state| state.chunks.over_bound())
                    && let Some(chunk) = self.chunk_to_move(now_ms)
                {
                    self.move_chunk(chunk, now_ms)?;
                }
                Err(error)
            }
            done => done,
        }
    }

    fn take_sync_time(&mut self) -> Option<Duration> {
        self.sync_time.take()
    }

    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError> {
        super::upkeep::run(self, now_ms)
    }
}
