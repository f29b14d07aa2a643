//! The writer: one transaction for a list of changes, or one entry of the journal where that can say what they change.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use sluice_host::clock::Clock;
use sluice_proto::delivery::v1::EndingOutcome;

use super::{
    SqliteFactory, chunk,
    commit::Commit,
    damage::Damage,
    dead_letters::Resume,
    dedup::Dedup,
    disk::Disk,
    file,
    journal::Journal,
    merge::{self, Target},
    reports,
    state::State,
};
use crate::{
    report,
    spool::{
        limits::SpoolLimits,
        store::{Change, Effect, Settled, Store, StoreError, Upkeep},
    },
};

/// Bytes of events that one entry of the journal may have: what holds more gains nothing by it, and would be in memory twice.
const ENTRY_BYTES: usize = 1 << 20;

/// New chunks that the tables take over at once, before the rest of what is in the journal, and bytes of them: commits wait meanwhile.
const PIECE_CHUNKS: usize = 64;
const PIECE_BYTES: usize = 1 << 20;

/// The writer.
pub(super) struct SqliteStore {
    connection: Connection,
    journal: Journal,
    /// None after a failed commit: read anew then.
    state: Option<State>,
    tools: Tools,
    pub(super) disk: Disk,
    pub(super) upkeep: super::upkeep::Progress,
    /// How long the last step of the newest commit took.
    sync_time: Option<Duration>,
}

/// What every commit has at hand, wherever it writes.
struct Tools {
    dedup: Dedup,
    resume: Option<Resume>,
    /// Chunks that cannot become rows, since those meet damage.
    stuck: HashSet<i64>,
    limits: SpoolLimits,
    reporter: report::Reporter,
    damage: Damage,
    /// Marks each commit; none until the chunks of the last run are rows, which happens at a time that is not known yet.
    clock: Option<Clock>,
}

impl Tools {
    fn commit<'a>(
        &'a mut self,
        sql: &'a Connection,
        to: Target<'a>,
        state: &'a mut State,
        now_ms: i64,
        disk_has_room: bool,
    ) -> Commit<'a> {
        Commit {
            sql,
            to,
            state,
            dedup: &mut self.dedup,
            limits: &self.limits,
            reporter: &self.reporter,
            damage: &self.damage,
            resume: &mut self.resume,
            stuck: &self.stuck,
            now_ms,
            mark: self.clock.as_ref().map(Clock::mark),
            disk_has_room,
            building: chunk::Building::default(),
            made: 0,
            reports: reports::Building::default(),
        }
    }
}

impl SqliteStore {
    /// Opens the file; what it holds in chunks becomes rows, since no delivery is in memory yet.
    pub(super) fn open(factory: &SqliteFactory) -> Result<Self, StoreError> {
        let SqliteFactory { folder, reporter, limits, damage, free_space, clock } = factory;
        let mut disk = Disk::new(folder, limits.reserve_bytes, free_space.clone());
        let mut connection = file::open(&folder.join(super::FILE), limits.file_bytes)?;
        let (spool_id, generation): (String, i64) =
            connection.query_row("SELECT spool_id, journal FROM state", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut journal = Journal::open(folder, &spool_id, generation, limits.file_bytes)?;
        let damaged: i64 = connection.query_row("SELECT damaged FROM state", [], |row| row.get(0))?;
        damage.at_least(damaged.unsigned_abs());
        if !journal.is_empty() {
            match merge::from_journal(&mut connection, &mut journal, damage) {
                Err(error) if error.is_disk_full() => {
                    disk.give_up_reserve();
                    merge::from_journal(&mut connection, &mut journal, damage)?;
                }
                done => done?,
            }
        }
        let newest_ms: i64 = connection.query_row("SELECT newest_ms FROM state", [], |row| row.get(0))?;
        let tools = Tools {
            dedup: Dedup::load(&connection, limits, damage)?,
            resume: None,
            stuck: HashSet::new(),
            limits: limits.clone(),
            reporter: reporter.clone(),
            damage: damage.clone(),
            clock: None,
        };
        let mut store = Self {
            state: Some(State::load(&connection)?),
            connection,
            journal,
            tools,
            disk,
            upkeep: super::upkeep::Progress::default(),
            sync_time: None,
        };
        match store.empty_chunks(newest_ms) {
            Err(error) if store.failed_for_room(&error) => {
                store.disk.give_up_reserve();
                store.empty_chunks(newest_ms)?;
            }
            done => done?,
        }
        store.tools.clock.clone_from(clock);
        Ok(store)
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
        let transaction = self.connection.transaction()?;
        let generation = (!self.journal.is_empty()).then(|| self.journal.generation() + 1);
        let merged = match (&self.state, generation) {
            // If there is no room for it, the journal still goes on with what memory says.
            (Some(state), Some(_)) => Some(merge::from_memory(&transaction, state, &self.journal, &self.tools.damage)?),
            _ => None,
        };
        let Some(mut state) = self.state.take() else { return Err(StoreError::Stopped) };
        if let Some(taken_over) = merged {
            merge::merged(&mut state, taken_over);
        }
        state.bound_producers();
        let to = Target::Tables(&transaction);
        let mut commit = self.tools.commit(&transaction, to, &mut state, now_ms, disk_has_room);
        let result = work(&mut commit).and_then(|done| commit.finish().map(|_| done)).and_then(|done| {
            let began = Instant::now();
            transaction.commit()?;
            self.sync_time = Some(began.elapsed());
            Ok(done)
        });
        if let Some(generation) = generation.filter(|_| result.is_ok()) {
            self.journal.restart(generation);
        }
        self.ended(result, state, now_ms)
    }

    /// Hands the oldest of many new chunks over to the tables, so that what takes over the rest is short. Gives whether there were many.
    pub(super) fn merge_piece(&mut self) -> Result<bool, StoreError> {
        self.load_state()?;
        let Some(state) = &self.state else { return Ok(false) };
        let new = &state.pending.chunks;
        let Some(piece) = state.chunks.piece(new, PIECE_CHUNKS, PIECE_BYTES).and_then(|end| new.get(..end)) else {
            return Ok(false);
        };
        let end = piece.len();
        let transaction = self.connection.transaction()?;
        let merged = state.chunks.merge(&transaction, &self.journal, &self.tools.damage, piece)?;
        merge::note_ahead(&transaction, &state.counters)?;
        // Taken out: if it seems to have failed, what is on disk is read anew.
        let Some(mut state) = self.state.take() else { return Err(StoreError::Stopped) };
        transaction.commit()?;
        state.pending.chunks.drain(..end);
        state.chunks.merged(merged);
        self.state = Some(state);
        Ok(true)
    }

    /// Whether an entry of the journal can say what these changes do. `may_grow`: even where the tables should take over first.
    fn suit_the_journal(&self, changes: &[Change], may_grow: bool) -> bool {
        let Some(state) = &self.state else { return false };
        if self.journal.is_full(may_grow) || (!may_grow && state.chunks.over_bound()) {
            return false;
        }
        let knows = |producer| state.producers.contains_key(producer);
        changes.iter().all(|change| match change {
            Change::Accept(accept) => accept.producer.as_ref().is_none_or(knows) && state.has_lanes_of(&accept.items),
            Change::Settle(settlement) => {
                matches!(settlement.outcome, Settled::Ended { outcome: EndingOutcome::Delivered, .. })
                    && state.chunks.find(settlement.delivery).is_some()
            }
            Change::Open { producer, .. } => knows(producer),
            Change::AckReports { .. } => true,
            _ => false,
        })
    }

    /// Makes changes that suit the journal.
    fn append(&mut self, changes: &[Change], now_ms: i64, disk_has_room: bool) -> Result<Vec<Effect>, StoreError> {
        let Some(mut state) = self.state.take() else { return Err(StoreError::Stopped) };
        let to = Target::Journal(self.journal.entry());
        let mut commit = self.tools.commit(&self.connection, to, &mut state, now_ms, disk_has_room);
        let effects: Result<Vec<_>, _> = changes.iter().map(|change| commit.apply(change)).collect();
        let appended = effects.and_then(|effects| {
            if let Target::Journal(entry) = commit.finish()? {
                self.sync_time = Some(self.journal.append(entry)?);
            }
            Ok(effects)
        });
        let ended = self.ended(appended, state, now_ms);
        // At once, so that what is refused cannot be found after a crash. Else with the next commit.
        if ended.is_err()
            && let Err(error) = self.load_state()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the memory is read anew later");
        }
        ended
    }

    /// Keeps the memory of a commit that was made. After one that was not, it is read anew.
    fn ended<T>(&mut self, made: Result<T, StoreError>, state: State, now_ms: i64) -> Result<T, StoreError> {
        if made.is_ok() {
            self.tools.dedup.committed(now_ms);
            self.state = Some(state);
        } else {
            self.tools.dedup.rolled_back();
            self.tools.resume = None;
        }
        made
    }

    /// Chunks whose entries cannot be read; asked once.
    pub(super) fn take_unreadable(&mut self) -> Vec<i64> {
        self.state.as_mut().map(|state| state.chunks.take_unreadable()).unwrap_or_default()
    }

    /// The oldest chunks that can become rows.
    pub(super) fn oldest_chunks(&self, count: usize) -> Vec<i64> {
        self.state.as_ref().map(|state| state.chunks.oldest(count, &self.tools.stuck)).unwrap_or_default()
    }

    /// A chunk that is to become rows by now, or since there are too many.
    pub(super) fn chunk_to_move(&self, now_ms: i64) -> Option<i64> {
        self.state.as_ref().and_then(|state| state.chunks.to_move(now_ms, &self.tools.stuck))
    }

    /// Makes rows of a chunk. One that meets damage stays and is not tried again.
    pub(super) fn move_chunk(&mut self, chunk: i64, now_ms: i64) -> Result<(), StoreError> {
        // Commits have not to move it as well.
        let others = std::mem::replace(&mut self.tools.stuck, HashSet::from([chunk]));
        let moved = self.transact(now_ms, false, |commit| commit.move_chunk(chunk));
        self.tools.stuck = others;
        match moved {
            Err(error) if error.is_damage() => {
                self.tools.damage.found("rows of a chunk", chunk);
                self.tools.stuck.insert(chunk);
                self.load_state()
            }
            moved => moved,
        }
    }

    /// Reads the memory anew if the last commit has failed.
    pub(super) fn load_state(&mut self) -> Result<(), StoreError> {
        if self.state.is_none() {
            if !self.journal.is_empty() {
                merge::from_journal(&mut self.connection, &mut self.journal, &self.tools.damage)?;
            }
            self.state = Some(State::load(&self.connection)?);
            self.count_anew(0)?;
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

    pub(super) fn limits(&self) -> &SpoolLimits {
        &self.tools.limits
    }

    pub(super) fn dedup(&mut self) -> &mut Dedup {
        &mut self.tools.dedup
    }

    pub(super) fn damage(&self) -> Damage {
        self.tools.damage.clone()
    }

    /// `bytes`: of the events among them.
    fn apply_with(
        &mut self,
        changes: &[Change],
        bytes: usize,
        now_ms: i64,
        room: bool,
    ) -> Result<Vec<Effect>, StoreError> {
        self.load_state()?;
        // Without room for events there may be none in the tables either: then what ends deliveries goes on in the journal.
        if (bytes <= ENTRY_BYTES || !room) && self.suit_the_journal(changes, !room) {
            return self.append(changes, now_ms, room);
        }
        self.transact(now_ms, room, |commit| changes.iter().map(|change| commit.apply(change)).collect())
    }

    /// Whether a commit has failed for want of room.
    pub(super) fn failed_for_room(&mut self, error: &StoreError) -> bool {
        error.is_disk_full() || (error.is_io() && self.disk.is_full())
    }
}

impl Store for SqliteStore {
    fn merge(&mut self) -> Result<(), StoreError> {
        if self.journal.is_empty() { Ok(()) } else { self.transact(0, false, |_| Ok(())) }
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.merge()?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let bytes: usize =
            changes.iter().map(|change| if let Change::Accept(accept) = change { accept.bytes() } else { 0 }).sum();
        let accepts = changes.iter().any(|change| matches!(change, Change::Accept(_)));
        let room = !accepts || self.disk.has_room(bytes as u64);
        match self.apply_with(changes, bytes, now_ms, room) {
            Err(error) if self.failed_for_room(&error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a commit has failed for want of room");
                self.disk.give_up_reserve();
                // Events are refused now; the rest has the room of the reserve.
                self.apply_with(changes, bytes, now_ms, false)
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

    fn upkeep_is_due(&self) -> bool {
        self.journal.is_filling()
    }

    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError> {
        super::upkeep::run(self, now_ms)
    }
}
