//! What the writer keeps in memory of what is on disk: counters, lanes, projects, live chunks. Equal to tables and journal after every
//! commit; read anew after one that failed.

use std::{collections::HashMap, sync::Arc};

use rusqlite::{Connection, Row};
use sluice_proto::delivery::v1::EndingOutcome;

use super::{
    chunks::Chunks,
    image::{Counters, Image, LaneImage},
    merge::{self, Pending},
};
use crate::spool::store::{DeliveryCounts, EventCounts, Item, LaneKey, Producer, StoreError, Target};

/// Producers whose position is kept at hand.
const PRODUCERS: usize = 100_000;

/// The writer's memory.
pub(super) struct State {
    pub(super) counters: Counters,
    pub(super) chunks: Chunks,
    /// Bytes of open deliveries and dead letters.
    pub(super) used: i64,
    /// What the tables lack.
    pub(super) pending: Pending,
    /// Where producers stand that were asked for, and when they were seen.
    pub(super) producers: HashMap<Producer, (u64, i64)>,
    lanes: HashMap<i64, Lane>,
    uids: HashMap<Arc<str>, i64>,
    changed_lanes: Vec<i64>,
    projects: HashMap<Arc<str>, Project>,
    changed_projects: Vec<Arc<str>>,
}

/// A lane.
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) project: Arc<str>,
    pub(super) held_since_ms: Option<i64>,
    pub(super) held_total_ms: i64,
    pub(super) counts: DeliveryCounts,
    pub(super) pending_bytes: i64,
    pub(super) dead_letter_bytes: i64,
    changed: bool,
}

/// A project.
#[derive(Default)]
pub(super) struct Project {
    pub(super) counts: EventCounts,
    /// Bytes of its open deliveries and dead letters.
    pub(super) used: i64,
    changed: bool,
}

impl State {
    /// Reads it from the file.
    pub(super) fn load(sql: &Connection) -> Result<Self, StoreError> {
        let mut state = sql.query_row(
            "SELECT next_event, next_delivery, next_report, acked_report, report_count, report_bytes, reports_dropped,
             unexported, newest_ms FROM state",
            [],
            |row| {
                let counters = Counters {
                    next_event: row.get(0)?,
                    next_delivery: row.get(1)?,
                    next_report: row.get(2)?,
                    acked_report: row.get(3)?,
                    report_count: row.get(4)?,
                    report_bytes: row.get(5)?,
                    reports_dropped: row.get(6)?,
                    unexported: row.get(7)?,
                    newest_ms: row.get(8)?,
                };
                Ok(Self {
                    counters,
                    chunks: Chunks::default(),
                    used: 0,
                    pending: Pending::default(),
                    producers: HashMap::new(),
                    lanes: HashMap::new(),
                    uids: HashMap::new(),
                    changed_lanes: Vec::new(),
                    projects: HashMap::new(),
                    changed_projects: Vec::new(),
                })
            },
        )?;
        let mut projects = sql.prepare_cached(
            "SELECT project, received, rejected, duplicates, unmatched, matched, created FROM ledger",
        )?;
        let mut rows = projects.query([])?;
        while let Some(row) = rows.next()? {
            let project = Project { counts: event_counts(row)?, ..Project::default() };
            state.projects.insert(row.get::<_, String>(0)?.into(), project);
        }
        let mut lanes = sql.prepare_cached(
            "SELECT lane, uid, name, held_since_ms, held_total_ms, created, redelivered, delivered, expired, discarded,
             pending, dead_letters, removed, pending_bytes, dead_letter_bytes FROM lanes",
        )?;
        let mut rows = lanes.query([])?;
        while let Some(row) = rows.next()? {
            let key = LaneKey { uid: row.get::<_, String>(1)?.into(), name: row.get::<_, String>(2)?.into() };
            let lane = Lane {
                held_since_ms: row.get(3)?,
                held_total_ms: row.get(4)?,
                counts: delivery_counts(row, 5)?,
                pending_bytes: row.get(13)?,
                dead_letter_bytes: row.get(14)?,
                ..Lane::new(key)
            };
            let used = lane.used();
            state.used += used;
            state.projects.entry(lane.project.clone()).or_default().used += used;
            state.uids.insert(lane.key.uid.clone(), row.get(0)?);
            state.lanes.insert(row.get(0)?, lane);
        }
        state.chunks = Chunks::load(sql)?;
        Ok(state)
    }

    /// Writes what has changed.
    pub(super) fn save(&mut self, to: &mut merge::Target<'_>) -> Result<(), StoreError> {
        for id in std::mem::take(&mut self.changed_lanes) {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            lane.changed = false;
            to.put(&Image::Lane(LaneImage {
                lane: id,
                held_since_ms: lane.held_since_ms,
                held_total_ms: lane.held_total_ms,
                counts: lane.counts,
                pending_bytes: lane.pending_bytes,
                dead_letter_bytes: lane.dead_letter_bytes,
            }))?;
            if let merge::Target::Journal(_) = to {
                self.pending.lanes.insert(id);
            }
        }
        for name in std::mem::take(&mut self.changed_projects) {
            let Some(project) = self.projects.get_mut(&name) else { continue };
            project.changed = false;
            to.put(&Image::Project { name: &name, counts: project.counts })?;
            if let merge::Target::Journal(_) = to {
                self.pending.projects.insert(name);
            }
        }
        Ok(())
    }

    /// Forgets where producers stand if too many are known: it is read again when it is asked for.
    pub(super) fn bound_producers(&mut self) {
        if self.producers.len() > PRODUCERS {
            self.producers.clear();
        }
    }

    /// Whether every sync that these go to has a lane.
    pub(super) fn has_lanes_of(&self, items: &[Item]) -> bool {
        let mut last: Option<&Arc<str>> = None;
        items
            .iter()
            .filter_map(|item| if let Item::Matched(matched) = item { Some(&matched.lanes) } else { None })
            .flatten()
            .all(|Target { key, .. }| {
                // Most go to the one that the event before went to.
                last.replace(&key.uid).is_some_and(|uid| Arc::ptr_eq(uid, &key.uid)) || self.uids.contains_key(&key.uid)
            })
    }

    /// The lane of a sync, made if there is none.
    pub(super) fn lane_of(&mut self, sql: &Connection, key: &LaneKey) -> Result<i64, StoreError> {
        if let Some(id) = self.uids.get(&key.uid) {
            return Ok(*id);
        }
        sql.prepare_cached("INSERT INTO lanes (uid, name) VALUES (?, ?)")?.execute([&*key.uid, &*key.name])?;
        let id = sql.last_insert_rowid();
        self.uids.insert(key.uid.clone(), id);
        self.lanes.insert(id, Lane::new(key.clone()));
        Ok(id)
    }

    /// The lane, if there is one.
    pub(super) fn lane(&self, id: i64) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    /// The lane of a sync, if there is one.
    pub(super) fn lane_by_key(&self, key: &LaneKey) -> Option<&Lane> {
        self.uids.get(&key.uid).and_then(|id| self.lanes.get(id))
    }

    /// Every lane.
    pub(super) fn lanes(&self) -> impl Iterator<Item = (i64, &Lane)> {
        self.lanes.iter().map(|(id, lane)| (*id, lane))
    }

    /// Bytes of dead letters.
    pub(super) fn dead_letter_bytes(&self) -> u64 {
        let bytes: i64 = self.lanes.values().map(|lane| lane.dead_letter_bytes).sum();
        u64::try_from(bytes).unwrap_or_default()
    }

    /// Changes a lane, and what its project and the spool use.
    pub(super) fn change_lane(&mut self, id: i64, change: impl FnOnce(&mut Lane)) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let before = lane.used();
        change(lane);
        let grown = lane.used() - before;
        if !lane.changed {
            lane.changed = true;
            self.changed_lanes.push(id);
        }
        if grown != 0 {
            self.used += grown;
            if let Some(project) = self.projects.get_mut(&lane.project) {
                project.used += grown;
            } else {
                self.projects.insert(lane.project.clone(), Project { used: grown, ..Project::default() });
            }
        }
    }

    /// The project, if anything is known of it.
    pub(super) fn project(&self, name: &str) -> Option<&Project> {
        self.projects.get(name)
    }

    /// Changes a project's counts.
    pub(super) fn change_project(&mut self, name: &Arc<str>, change: impl FnOnce(&mut EventCounts)) {
        let project = self.projects.entry(name.clone()).or_default();
        change(&mut project.counts);
        if !project.changed {
            project.changed = true;
            self.changed_projects.push(name.clone());
        }
    }
}

impl Lane {
    fn new(key: LaneKey) -> Self {
        Self {
            project: project_of(&key.name).into(),
            key,
            held_since_ms: None,
            held_total_ms: 0,
            counts: DeliveryCounts::default(),
            pending_bytes: 0,
            dead_letter_bytes: 0,
            changed: false,
        }
    }

    fn used(&self) -> i64 {
        self.pending_bytes + self.dead_letter_bytes
    }

    /// The lane's time at `now_ms`; it stands still while it is held.
    pub(super) fn time(&self, now_ms: i64) -> i64 {
        self.held_since_ms.map_or(now_ms, |since_ms| since_ms.min(now_ms)) - self.held_total_ms
    }

    /// A delivery was made.
    pub(super) fn created(&mut self, bytes: i64) {
        self.counts.created += 1;
        self.counts.pending += 1;
        self.pending_bytes += bytes;
    }

    /// A delivery has ended.
    pub(super) fn ended(&mut self, outcome: EndingOutcome, bytes: i64) {
        self.counts.pending -= 1;
        self.pending_bytes -= bytes;
        match outcome {
            EndingOutcome::Delivered => {
                self.counts.delivered += 1;
                return;
            }
            EndingOutcome::Expired => self.counts.expired += 1,
            EndingOutcome::Discarded | EndingOutcome::Unspecified => self.counts.discarded += 1,
        }
        self.counts.dead_letters += 1;
        self.dead_letter_bytes += bytes;
    }

    /// A dead letter was reopened.
    pub(super) fn reopened(&mut self, bytes: i64) {
        self.counts.redelivered += 1;
        self.counts.pending += 1;
        self.counts.dead_letters -= 1;
        self.pending_bytes += bytes;
        self.dead_letter_bytes -= bytes;
    }

    /// A dead letter was removed.
    pub(super) fn removed(&mut self, bytes: i64) {
        self.counts.removed += 1;
        self.counts.dead_letters -= 1;
        self.dead_letter_bytes -= bytes;
    }

    /// Open deliveries were found lost, or such that had ended: what is left.
    pub(super) fn lost(&mut self, pending: i64, pending_bytes: i64) {
        match self.counts.pending - pending {
            lost @ 0.. => self.counts.discarded += lost,
            revived => self.counts.delivered += revived,
        }
        self.counts.pending = pending;
        self.pending_bytes = pending_bytes;
    }
}

/// Id of the project that a sync's resource name begins with.
pub(super) fn project_of(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

/// Six counts from the second column on.
pub(super) fn event_counts(row: &Row<'_>) -> rusqlite::Result<EventCounts> {
    Ok(EventCounts {
        received: row.get(1)?,
        rejected: row.get(2)?,
        duplicates: row.get(3)?,
        unmatched: row.get(4)?,
        matched: row.get(5)?,
        created: row.get(6)?,
    })
}

/// Eight counts from column `at` on.
pub(super) fn delivery_counts(row: &Row<'_>, at: usize) -> rusqlite::Result<DeliveryCounts> {
    Ok(DeliveryCounts {
        created: row.get(at)?,
        redelivered: row.get(at + 1)?,
        delivered: row.get(at + 2)?,
        expired: row.get(at + 3)?,
        discarded: row.get(at + 4)?,
        pending: row.get(at + 5)?,
        dead_letters: row.get(at + 6)?,
        removed: row.get(at + 7)?,
    })
}
