//! The writer's thread: takes what has come while the last commit ran, and commits it together.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sluice_host::clock::Clock;
use tokio::sync::{mpsc::UnboundedSender, oneshot, watch};

use super::{
    AcceptError, Durations, Notice, Opened, Room,
    inbox::{self, Patience, Receiver, Taken},
    recent::RecentReports,
    store::{Accept, CatalogChange, Change, Effect, Full, Item, Producer, Selection, Settled, Store, StoreError},
};

/// Commands in one commit.
const BATCH_COMMANDS: usize = 2_048;

/// Bytes of events in one commit.
const BATCH_BYTES: usize = 8 << 20;

/// Deliveries of a deleted sync that are ended in one commit.
pub(super) const END_LANE_PIECE: usize = 1_000;

/// How long a settled round waits for others that are under way: so that one commit has more of them.
const SETTLE_LINGER: Duration = Duration::from_micros(1_000);

/// How long an ack of reports waits for company: it is of no use to anybody but the disk.
const ACK_LINGER: Duration = Duration::from_millis(100);

/// Wait after a failed commit before what must not be lost is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How often the store is asked to do housekeeping while commands come.
const UPKEEP: Duration = Duration::from_secs(1);

/// The same while it has more to do.
const UPKEEP_BUSY: Duration = Duration::from_millis(10);

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    Open {
        producer: Producer,
        first_sequence: u64,
        reply: oneshot::Sender<Result<Opened, AcceptError>>,
    },
    Close {
        producer: Producer,
        fence: u64,
    },
    Accept {
        accept: Accept,
        fence: u64,
        reply: oneshot::Sender<Result<(), AcceptError>>,
        room: Room,
    },
    SaveCatalog {
        change: CatalogChange,
        reply: oneshot::Sender<Result<(), AcceptError>>,
    },
    Redeliver {
        change: Change,
        reply: oneshot::Sender<Result<(u64, bool), AcceptError>>,
    },
    MarkExported {
        selection: Selection,
        reply: oneshot::Sender<Result<u64, AcceptError>>,
    },
    /// Must not be lost: tried again until it is on disk.
    Keep(Change),
    /// Answered when readers find everything before it, with whether they do.
    Merge {
        reply: oneshot::Sender<bool>,
    },
    /// Answered when everything before it is on disk.
    Flush {
        reply: oneshot::Sender<()>,
    },
}

/// Runs until every sender is gone.
pub(super) fn run(
    store: Box<dyn Store>,
    commands: &mut Receiver<Command>,
    notices: &UnboundedSender<Notice>,
    next_report: &watch::Sender<u64>,
    recent: &RecentReports,
    clock: &Clock,
    durations: Durations,
) {
    let fences = HashMap::new();
    let mut writer = Writer { store, durations, fences, next_fence: 1, kept: Vec::new(), notices, next_report, recent };
    let (mut more, mut upkeep_failed) = (false, false);
    let mut since_upkeep = Instant::now();
    loop {
        // Housekeeping that has more to do goes on as soon as nobody waits.
        let patience = if more && writer.kept.is_empty() { Duration::ZERO } else { RETRY };
        let batch = match commands.take(patience, BATCH_COMMANDS, BATCH_BYTES) {
            Taken::Items(batch) => Some(batch),
            Taken::Nothing => None,
            Taken::Closed => {
                // One last try for what could not be written; what fails now is found again on disk after a restart.
                if !writer.kept.is_empty() {
                    writer.commit(Vec::new(), clock.now_ms());
                }
                return;
            }
        };
        let idle = batch.is_none();
        if let Some(batch) = batch {
            writer.commit(batch, clock.now_ms());
        } else if !writer.kept.is_empty() {
            writer.commit(Vec::new(), clock.now_ms());
        }
        // What has failed would fail again at once.
        let is_pressing = !upkeep_failed && (more || writer.store.upkeep_is_due());
        if idle || since_upkeep.elapsed() >= if is_pressing { UPKEEP_BUSY } else { UPKEEP } {
            let upkeep = writer.upkeep(clock.now_ms());
            (more, upkeep_failed) = (upkeep.unwrap_or_default(), upkeep.is_none());
            since_upkeep = Instant::now();
        }
    }
}

struct Writer<'a> {
    store: Box<dyn Store>,
    durations: Durations,
    /// The newest stream of each producer that has one open.
    fences: HashMap<Producer, u64>,
    next_fence: u64,
    /// Changes of a failed commit that must not be lost.
    kept: Vec<Change>,
    notices: &'a UnboundedSender<Notice>,
    next_report: &'a watch::Sender<u64>,
    recent: &'a RecentReports,
}

/// Who waits for a change.
enum Waiter {
    Open { fence: u64, reply: oneshot::Sender<Result<Opened, AcceptError>> },
    Accept { reply: oneshot::Sender<Result<(), AcceptError>>, _room: Room },
    Catalog { reply: oneshot::Sender<Result<(), AcceptError>> },
    Redeliver { reply: oneshot::Sender<Result<(u64, bool), AcceptError>> },
    Mark { reply: oneshot::Sender<Result<u64, AcceptError>> },
    Nobody,
}

impl Writer<'_> {
    fn commit(&mut self, batch: Vec<Command>, now_ms: i64) {
        // By themselves: what still fails of them, for want of room say, takes nothing new along.
        let kept = std::mem::take(&mut self.kept);
        let nobody = kept.iter().map(|_| Waiter::Nobody).collect();
        self.apply(kept, nobody, now_ms);
        let (mut changes, mut waiters) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        let (mut flushed, mut merging) = (Vec::<oneshot::Sender<()>>::new(), Vec::new());
        for command in batch {
            if let Command::Flush { reply } = command {
                flushed.push(reply);
            } else if let Command::Merge { reply } = command {
                merging.push(reply);
            } else if let Some((change, waiter)) = self.admit(command) {
                changes.push(change);
                waiters.push(waiter);
            }
        }
        self.apply(changes, waiters, now_ms);
        if !merging.is_empty() {
            let merged = self.store.merge();
            if let Err(error) = &merged {
                tracing::error!(error = error as &dyn std::error::Error, "readers do not find what was committed last");
            }
            for reply in merging {
                let _ = reply.send(merged.is_ok());
            }
        }
        if !flushed.is_empty()
            && let Err(error) = self.store.checkpoint()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the spool's log stays as it is");
        }
        for reply in flushed {
            let _ = reply.send(());
        }
    }

    fn apply(&mut self, changes: Vec<Change>, waiters: Vec<Waiter>, now_ms: i64) {
        if changes.is_empty() {
            return;
        }
        let began = Instant::now();
        let applied = self.store.apply(&changes, now_ms);
        self.durations.commits.record(began.elapsed());
        if let Some(took) = self.store.take_sync_time() {
            self.durations.syncs.record(took);
        }
        match applied {
            Ok(effects) => self.tell(&changes, effects, waiters),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the spool could not commit");
                if error.is_damage() && changes.len() > 1 {
                    // One change has met damage: the others go on without it.
                    for (change, waiter) in changes.into_iter().zip(waiters) {
                        self.apply(vec![change], vec![waiter], now_ms);
                    }
                } else {
                    self.failed(&error, changes, waiters);
                }
            }
        }
    }

    fn failed(&mut self, error: &StoreError, changes: Vec<Change>, waiters: Vec<Waiter>) {
        for (change, waiter) in changes.into_iter().zip(waiters) {
            let failed = || match error {
                StoreError::Full => AcceptError::Full(Full::Disk),
                error => AcceptError::Store(error.to_string()),
            };
            match waiter {
                Waiter::Open { reply, .. } => drop(reply.send(Err(failed()))),
                Waiter::Accept { reply, .. } | Waiter::Catalog { reply } => drop(reply.send(Err(failed()))),
                Waiter::Redeliver { reply } => drop(reply.send(Err(failed()))),
                Waiter::Mark { reply } => drop(reply.send(Err(failed()))),
                // Trying again would never end.
                Waiter::Nobody if error.is_damage() => {
                    let delivery =
                        if let Change::Settle(settlement) = &change { Some(settlement.delivery) } else { None };
                    tracing::error!(delivery, "a change was given up: what it concerns is damaged on disk");
                }
                Waiter::Nobody => self.kept.push(change),
            }
        }
    }

    /// Whether there is more to do; none if it has failed.
    fn upkeep(&mut self, now_ms: i64) -> Option<bool> {
        match self.store.upkeep(now_ms) {
            Ok(upkeep) => Some(upkeep.more),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the spool's housekeeping has failed");
                None
            }
        }
    }

    /// Turns a command into a change, unless it is answered without one.
    fn admit(&mut self, command: Command) -> Option<(Change, Waiter)> {
        match command {
            Command::Open { producer, first_sequence, reply } => {
                let fence = self.next_fence;
                self.next_fence += 1;
                self.fences.insert(producer.clone(), fence);
                Some((Change::Open { producer, first_sequence }, Waiter::Open { fence, reply }))
            }
            Command::Close { producer, fence } => {
                if self.fences.get(&producer) == Some(&fence) {
                    self.fences.remove(&producer);
                }
                None
            }
            Command::Accept { accept, fence, reply, room } => {
                let newest = accept.producer.as_ref().is_none_or(|producer| self.fences.get(producer) == Some(&fence));
                if newest {
                    Some((Change::Accept(accept), Waiter::Accept { reply, _room: room }))
                } else {
                    let _ = reply.send(Err(AcceptError::Fenced));
                    None
                }
            }
            Command::SaveCatalog { change, reply } => Some((Change::SaveCatalog(change), Waiter::Catalog { reply })),
            Command::Redeliver { change, reply } => Some((change, Waiter::Redeliver { reply })),
            Command::MarkExported { selection, reply } => {
                Some((Change::MarkExported { selection }, Waiter::Mark { reply }))
            }
            Command::Keep(change) => Some((change, Waiter::Nobody)),
            Command::Merge { .. } | Command::Flush { .. } => None,
        }
    }

    /// Answers those who wait and tells the dispatcher; those who have gone do not mind.
    fn tell(&self, changes: &[Change], effects: Vec<Effect>, waiters: Vec<Waiter>) {
        let (mut created, mut settled) = (Vec::new(), Vec::new());
        let mut open = HashMap::new();
        let mut ended = Vec::new();
        let mut mark = None;
        for ((change, effect), waiter) in changes.iter().zip(effects).zip(waiters) {
            match (effect, waiter) {
                (Effect::Opened { known, next_sequence }, Waiter::Open { fence, reply }) => {
                    let _ = reply.send(Ok(Opened { known, next_sequence, fence }));
                }
                (Effect::Accepted { created: new, open: counts }, Waiter::Accept { reply, .. }) => {
                    created.extend(new);
                    open.extend(counts);
                    let _ = reply.send(Ok(()));
                }
                (Effect::Gap { expected }, Waiter::Accept { reply, .. }) => {
                    let _ = reply.send(Err(AcceptError::Gap { expected }));
                }
                (Effect::Full(full), Waiter::Accept { reply, .. }) => {
                    let _ = reply.send(Err(AcceptError::Full(full)));
                }
                (Effect::Redelivered { lanes, more, next_report }, Waiter::Redeliver { reply }) => {
                    mark = Some(next_report);
                    let count = lanes.iter().map(|(_, count)| count).sum();
                    ended.push(Notice::Redelivered(lanes.into_iter().map(|(lane, _)| lane).collect()));
                    let _ = reply.send(Ok((count, more)));
                }
                (Effect::Marked(count), Waiter::Mark { reply }) => {
                    let _ = reply.send(Ok(count));
                }
                (Effect::Done { .. }, Waiter::Catalog { reply }) => {
                    let _ = reply.send(Ok(()));
                }
                (Effect::Done { next_report }, Waiter::Nobody) => {
                    mark = Some(next_report);
                    if let Change::Shelve { deliveries } = change {
                        ended.push(Notice::Shelved(deliveries.clone()));
                    }
                    if let Change::Settle(settlement) = change {
                        self.recent.committed(&settlement.reports, next_report);
                        let due_ms = match settlement.outcome {
                            Settled::Again { due_ms, .. } => Some(due_ms),
                            Settled::Ended { .. } => None,
                        };
                        settled.push((settlement.lane, settlement.delivery, due_ms));
                    }
                }
                (Effect::LaneEnded { ended: count, next_report }, Waiter::Nobody) => {
                    mark = Some(next_report);
                    if let Change::EndLane { lane, limit }
                    | Change::Trim { lane, limit, .. }
                    | Change::ExpireDown { lane, limit, .. } = change
                    {
                        ended.push(Notice::LaneEnded { lane: *lane, more: count >= *limit });
                    }
                }
                (effect, _) => tracing::error!(?effect, "an effect that does not belong to its change"),
            }
        }
        if !created.is_empty() {
            let _ = self.notices.send(Notice::Created { created, open: open.into_iter().collect() });
        }
        if !settled.is_empty() {
            let _ = self.notices.send(Notice::Settled(settled));
        }
        for notice in ended {
            let _ = self.notices.send(notice);
        }
        if let Some(mark) = mark {
            self.next_report.send_if_modified(|known| std::mem::replace(known, mark) != mark);
        }
    }
}

impl inbox::Item for Command {
    fn patience(&self) -> Patience {
        match self {
            Self::Keep(Change::AckReports { .. }) => Patience::UpTo(ACK_LINGER),
            Self::Keep(Change::Settle(_)) => Patience::WhileExpected(SETTLE_LINGER),
            _ => Patience::None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Accept { accept, .. } => accept.bytes(),
            _ => 0,
        }
    }
}

impl Accept {
    /// Bytes of the events that will be stored.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.items
            .iter()
            .map(|item| match item {
                Item::Matched(matched) => matched.event.json.len(),
                Item::Rejected | Item::Unmatched { .. } => 0,
            })
            .sum()
    }
}
