//! Owns the lanes: hands due deliveries to the courier as the lanes' limits allow, loads what waits on disk, and follows
//! the catalog. The one task that knows what is in memory.

mod endings;
mod entry;
mod figures;
mod timers;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use sluice_host::clock::Clock;
use sluice_pipeline::catalog::Catalog;
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
};

pub use self::figures::Figures;
use self::{
    entry::{Ending, Entry},
    timers::Timers,
};
use crate::{
    attempt::{Courier, RoundEnd, RoundWork},
    lanes::{Held, Lane, Places, Told},
    spool::{
        Notice,
        store::{Created, Due, LaneRow, StoreError},
    },
    stop,
};

/// Bytes of ready events over all lanes, beyond which each keeps no more than it must.
const SPARE_BYTES: usize = 32 << 20;

/// How long a lane rests after a failed load.
const LOAD_RETRY_MS: i64 = 1_000;

/// Starts from what the spool holds.
pub struct Dispatcher {
    courier: Arc<Courier>,
    clock: Clock,
    catalog: watch::Receiver<Arc<Catalog>>,
    lanes: HashMap<i64, Entry>,
    places: Places,
    timers: Timers,
    rounds: JoinSet<RoundEnd>,
    under_way: HashMap<task::Id, UnderWay>,
    /// The lane of each delivery that is being shelved.
    shelving: HashMap<i64, i64>,
    loads: mpsc::UnboundedReceiver<(i64, Result<Due, StoreError>)>,
    loaded: mpsc::UnboundedSender<(i64, Result<Due, StoreError>)>,
    figures: Arc<Figures>,
    /// Bytes of ready events over all lanes, as of when each last went on.
    ready_bytes: usize,
}

/// A round under way.
struct UnderWay {
    lane: i64,
    delivery: i64,
    held: Held,
    /// In the lane's time.
    began_ms: i64,
    is_probe: bool,
}

impl Dispatcher {
    /// `lanes` is what the spool held at the start; `places` bounds the requests under way.
    #[must_use]
    pub fn new(
        courier: Arc<Courier>,
        catalog: watch::Receiver<Arc<Catalog>>,
        lanes: Vec<LaneRow>,
        places: Places,
    ) -> Self {
        let (loaded, loads) = mpsc::unbounded_channel();
        let entry = |row: LaneRow| (row.lane, Entry::new(Lane::stored(row), &courier));
        let lanes = lanes.into_iter().map(entry).collect();
        Self {
            clock: courier.clock.clone(),
            courier,
            catalog,
            lanes,
            places,
            timers: Timers::default(),
            rounds: JoinSet::new(),
            under_way: HashMap::new(),
            shelving: HashMap::new(),
            loads,
            loaded,
            figures: Arc::default(),
            ready_bytes: 0,
        }
    }

    /// What it has in hand.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// Runs until `stop` turns true, then lets the rounds under way finish.
    pub async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>, mut stop: watch::Receiver<bool>) {
        self.follow_catalog();
        loop {
            let next_ms = self.timers.next_ms();
            let clock = self.clock.clone();
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.notice(notice),
                    None => break,
                },
                Some(over) = self.rounds.join_next_with_id() => self.rounds_over(over),
                Some((lane, due)) = self.loads.recv() => self.loaded(lane, due),
                Ok(()) = self.catalog.changed() => self.follow_catalog(),
                () = async {
                    match next_ms {
                        Some(at_ms) => clock.sleep_until(at_ms, "next round").await,
                        None => std::future::pending().await,
                    }
                } => self.wake(),
                () = stop::asked(&mut stop) => break,
            }
        }
        // Requests in flight get their answer; the node bounds the wait, and what it cuts off is still due on disk.
        while self.rounds.join_next().await.is_some() {}
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Created { created, open } => {
                let lanes: HashSet<i64> = created.iter().map(|new| new.lane).collect();
                for new in created {
                    self.created(new);
                }
                for (lane, open) in open {
                    self.check_backlog(lane, open);
                }
                self.pump_all(lanes);
            }
            Notice::Settled(settled) => {
                // Rounds that have ended are heard before their places are free: else more begin than what has failed allows.
                if let Some(over) = self.rounds.try_join_next_with_id() {
                    self.rounds_over(over);
                }
                let lanes: HashSet<i64> = settled.iter().map(|(lane, ..)| *lane).collect();
                for (lane, delivery, due_ms) in settled {
                    if let Some(entry) = self.lanes.get_mut(&lane) {
                        entry.lane.settled(delivery, due_ms);
                    }
                }
                self.pump_all(lanes);
            }
            Notice::Shelved(deliveries) => {
                let mut lanes = HashSet::new();
                for delivery in deliveries {
                    let Some(row) = self.shelving.remove(&delivery) else { continue };
                    if let Some(entry) = self.lanes.get_mut(&row) {
                        entry.lane.shelved(delivery);
                        lanes.insert(row);
                    }
                }
                self.pump_all(lanes);
            }
            Notice::Redelivered(lanes) => {
                for row in &lanes {
                    if let Some(entry) = self.lanes.get_mut(row) {
                        entry.lane.reopened();
                    }
                }
                self.pump_all(lanes);
            }
            Notice::LaneEnded { lane, more } => self.lane_ended(lane, more),
        }
    }

    fn created(&mut self, new: Created) {
        let entry = self.lanes.entry(new.lane).or_insert_with(|| {
            // The catalog may have lost the sync, or it was disabled, since this was matched.
            let mut entry = Entry::new(Lane::new(new.lane, new.key.clone()), &self.courier);
            entry.align(&self.catalog.borrow(), &self.courier);
            entry
        });
        entry.lane.offer(new, self.ready_bytes < SPARE_BYTES);
    }

    /// Every round that is over: each is heard before its lane goes on.
    fn rounds_over(&mut self, first: Result<(task::Id, RoundEnd), JoinError>) {
        let mut lanes = HashSet::new();
        let mut given_back = Vec::new();
        let mut next = Some(first);
        while let Some(over) = next {
            if let Some((lane, held)) = self.round_over(over) {
                lanes.insert(lane);
                given_back.push(held);
            }
            next = self.rounds.try_join_next_with_id();
        }
        self.pump_all(lanes);
        for held in given_back {
            while let Some(lane) = self.places.turn(&held) {
                self.pump(lane);
            }
        }
        self.figures.set_under_way(self.under_way.len());
    }

    /// Gives back the host's place at once, and which it was. The lane's is free when the round is recorded; only one that broke off
    /// never will be.
    fn round_over(&mut self, over: Result<(task::Id, RoundEnd), JoinError>) -> Option<(i64, Held)> {
        let (id, end) = match over {
            Ok((id, end)) => (id, Some(end)),
            Err(error) => {
                tracing::error!(%error, "a round broke off");
                (error.id(), None)
            }
        };
        let UnderWay { lane: row, delivery, held, began_ms, is_probe } = self.under_way.remove(&id)?;
        self.places.give_back(&held);
        if let Some(entry) = self.lanes.get_mut(&row) {
            if end.is_none() {
                entry.lane.broke_off(delivery);
            }
            let now_ms = self.clock.now_ms() - entry.lane.behind_ms();
            let told = entry.gate.ended(began_ms, is_probe, end.as_ref(), now_ms, rand::random::<f64>());
            let (sync, host) = (&*entry.lane.key.name, &**entry.gate.host());
            match told {
                Told::Nothing => {}
                Told::Opened => {
                    tracing::warn!(sync, host, "the endpoint counts as down: it is probed until it answers")
                }
                Told::Closed => tracing::info!(sync, host, "the endpoint is back"),
                Told::ProbeFailed(probe_ms) => self.endpoint_down(row, probe_ms),
            }
        }
        Some((row, held))
    }

    fn loaded(&mut self, row: i64, due: Result<Due, StoreError>) {
        let Some(entry) = self.lanes.get_mut(&row) else { return };
        match due {
            Ok(due) => {
                entry.lane.loaded(due.deliveries, due.more, due.next_due_ms);
                let key = entry.lane.key.clone();
                for damaged in &due.damaged {
                    entry.lane.claim(damaged.delivery);
                }
                for damaged in due.damaged {
                    self.discard_damaged(row, &key, damaged);
                }
                self.pump(row);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "due deliveries could not be read");
                entry.lane.load_failed();
                self.timers.set(row, Some(self.clock.now_ms() + LOAD_RETRY_MS));
            }
        }
    }

    fn wake(&mut self) {
        let now_ms = self.clock.now_ms();
        while let Some(lane) = self.timers.due(now_ms) {
            self.pump(lane);
        }
    }

    fn pump_all(&mut self, lanes: impl IntoIterator<Item = i64>) {
        for lane in lanes {
            self.pump(lane);
        }
    }

    /// Starts what the lane's limits allow, loads what should be at hand, and sets its timer.
    fn pump(&mut self, row: i64) {
        self.shelve(row);
        let Some(entry) = self.lanes.get_mut(&row) else { return };
        entry.tell_breaker();
        let before = std::mem::replace(&mut entry.in_memory, entry.lane.in_memory());
        self.figures.lane_holds(before, entry.in_memory);
        let bytes_before = std::mem::replace(&mut entry.ready_bytes, entry.lane.ready_bytes());
        self.ready_bytes = self.ready_bytes + entry.ready_bytes - bytes_before;
        if entry.lane.gone {
            if entry.lane.is_quiet() {
                self.end(row, Ending::Gone);
            }
            return;
        }
        let Some(sync) = self.catalog.borrow().get(&entry.lane.key.uid).cloned() else { return };
        let now_ms = self.clock.now_ms();
        let behind_ms = entry.lane.behind_ms();
        let mut not_before_ms = None;
        while entry.lane.may_take(entry.gate.width(sync.destination.limits.max_concurrency)) {
            if let Some(until_ms) = entry.gate.waits_until(now_ms - behind_ms) {
                not_before_ms = Some(until_ms + behind_ms);
                break;
            }
            // Without a place the lane's turn comes when one is given back.
            let Some(held) = self.places.take(row, entry.gate.host()) else { break };
            let (is_probe, work) = match entry.gate.begin(now_ms - behind_ms) {
                Ok(is_probe) => (is_probe, entry.lane.take()),
                Err(at_ms) => {
                    self.places.give_back(&held);
                    not_before_ms = Some(at_ms);
                    break;
                }
            };
            let Some(work) = work else {
                self.places.give_back(&held);
                break;
            };
            let delivery = work.delivery;
            let round = RoundWork {
                sync: sync.clone(),
                lane: row,
                key: entry.lane.key.clone(),
                behind_ms,
                work,
                pace: entry.gate.pace(),
                cost: entry.gate.cost(),
                meters: entry.meters.clone(),
            };
            let courier = self.courier.clone();
            // Boxed: the runtime would copy the whole round, some KiB, when it ends.
            let task = self.rounds.spawn(Box::pin(async move { courier.round(round).await }));
            let began_ms = now_ms - behind_ms;
            self.under_way.insert(task.id(), UnderWay { lane: row, delivery, held, began_ms, is_probe });
        }
        self.figures.set_under_way(self.under_way.len());
        if let Some(query) = entry.lane.load(now_ms) {
            let (spool, loaded) = (self.courier.spool.clone(), self.loaded.clone());
            tokio::spawn(async move {
                let due = spool.due(query).await;
                // The dispatcher has stopped otherwise.
                let _ = loaded.send((row, due));
            });
        }
        // What is due already waits for room, not for time.
        let due_ms = entry.lane.wake_ms().filter(|at_ms| *at_ms > now_ms);
        self.timers.set(row, due_ms.into_iter().chain(not_before_ms).min());
    }

    fn follow_catalog(&mut self) {
        let catalog = self.catalog.borrow_and_update().clone();
        if catalog.epoch().is_empty() {
            // Nothing is known yet: what is on disk waits.
            return;
        }
        let mut lowered = Vec::new();
        for (row, entry) in &mut self.lanes {
            lowered.extend(entry.align(&catalog, &self.courier).map(|keep| (*row, keep)));
        }
        for (row, keep) in lowered {
            // Nothing is discarded where no more than these are open.
            self.end(row, Ending::Backlog { keep });
        }
        let rows: Vec<i64> = self.lanes.keys().copied().collect();
        self.pump_all(rows);
    }

    /// Hands over what the lane does not keep in memory.
    fn shelve(&mut self, row: i64) {
        let Some(entry) = self.lanes.get_mut(&row) else { return };
        let shelved = entry.lane.take_shelved();
        if !shelved.is_empty() {
            self.shelving.extend(shelved.iter().map(|delivery| (*delivery, row)));
            self.courier.spool.shelve(shelved);
        }
    }
}
