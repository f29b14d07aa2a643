//! Owns the lanes: hands due deliveries to the courier as the lanes' limits allow, loads what waits on disk, and follows
//! the catalog. The one task that knows what is in memory.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use sluice_host::clock::Clock;
use sluice_pipeline::catalog::Catalog;
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};
use tokio::{
    sync::{mpsc, watch},
    task::{self, JoinError, JoinSet},
};

use crate::{
    attempt::{Courier, RoundWork},
    lanes::Lane,
    report::{End, Subject},
    spool::{
        Notice,
        store::{Damaged, Due, LaneKey, LaneRow, Settled, Settlement, StoreError},
    },
    stop,
};

/// Starts from what the spool holds.
pub struct Dispatcher {
    courier: Arc<Courier>,
    clock: Clock,
    catalog: watch::Receiver<Arc<Catalog>>,
    lanes: HashMap<i64, Lane>,
    /// When to look at a lane again, by the clock's time.
    timers: BTreeSet<(i64, i64)>,
    timer_of: HashMap<i64, i64>,
    /// Lanes whose deliveries are being ended.
    ending: HashSet<i64>,
    rounds: JoinSet<()>,
    /// Lane and delivery of each round under way.
    delivery_of: HashMap<task::Id, (i64, i64)>,
    loads: mpsc::UnboundedReceiver<(i64, Result<Due, StoreError>)>,
    loaded: mpsc::UnboundedSender<(i64, Result<Due, StoreError>)>,
}

/// How long requests in flight may go on at a stop.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// How long a lane rests after a failed load.
const LOAD_RETRY_MS: i64 = 1_000;

impl Dispatcher {
    /// `lanes` is what the spool held at the start.
    #[must_use]
    pub fn new(courier: Arc<Courier>, catalog: watch::Receiver<Arc<Catalog>>, lanes: Vec<LaneRow>) -> Self {
        let (loaded, loads) = mpsc::unbounded_channel();
        Self {
            clock: courier.clock.clone(),
            courier,
            catalog,
            lanes: lanes.into_iter().map(|row| (row.lane, Lane::stored(row))).collect(),
            timers: BTreeSet::new(),
            timer_of: HashMap::new(),
            ending: HashSet::new(),
            rounds: JoinSet::new(),
            delivery_of: HashMap::new(),
            loads,
            loaded,
        }
    }

    /// Runs until `stop` turns true, then lets the rounds under way finish.
    pub async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>, mut stop: watch::Receiver<bool>) {
        self.follow_catalog();
        loop {
            let next = self.timers.first().copied();
            let clock = self.clock.clone();
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.notice(notice),
                    None => break,
                },
                Some(over) = self.rounds.join_next_with_id() => self.round_over(over),
                Some((lane, due)) = self.loads.recv() => self.loaded(lane, due),
                Ok(()) = self.catalog.changed() => self.follow_catalog(),
                () = async {
                    match next {
                        Some((at_ms, _)) => clock.sleep_until(at_ms, "next round").await,
                        None => std::future::pending().await,
                    }
                } => self.wake(),
                () = stop::asked(&mut stop) => break,
            }
        }
        // Requests in flight get their answer; what is cut off is still due on disk.
        let finish = async { while self.rounds.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_GRACE, finish).await.is_err() {
            tracing::warn!("requests were cut off by the stop; their deliveries will be made again");
        }
    }

    fn notice(&mut self, notice: Notice) {
        let mut touched = HashSet::new();
        match notice {
            Notice::Created(created) => {
                let catalog = self.catalog.borrow().clone();
                for new in created {
                    touched.insert(new.lane);
                    let lane = self.lanes.entry(new.lane).or_insert_with(|| {
                        // The catalog may have lost the sync, or it was disabled, since this was matched.
                        let mut lane = Lane::new(new.lane, new.key.clone());
                        align(&mut lane, &catalog, &self.courier);
                        lane
                    });
                    lane.offer(new);
                }
            }
            Notice::Settled(settled) => {
                for (lane, delivery, due_ms) in settled {
                    touched.insert(lane);
                    if let Some(lane) = self.lanes.get_mut(&lane) {
                        lane.settled(delivery, due_ms);
                    }
                }
            }
            Notice::LaneEnded { lane, more } => {
                self.ending.remove(&lane);
                if more {
                    self.end_lane(lane);
                } else if self.lanes.get(&lane).is_some_and(|lane| lane.gone && lane.is_idle()) {
                    self.lanes.remove(&lane);
                    self.set_timer(lane, None);
                }
            }
        }
        for lane in touched {
            self.pump(lane);
        }
    }

    /// The lane's place is free when the round is recorded; only one that broke off never will be.
    fn round_over(&mut self, over: Result<(task::Id, ()), JoinError>) {
        match over {
            Ok((id, ())) => {
                self.delivery_of.remove(&id);
            }
            Err(error) => {
                tracing::error!(%error, "a round broke off");
                if let Some((row, delivery)) = self.delivery_of.remove(&error.id()) {
                    if let Some(lane) = self.lanes.get_mut(&row) {
                        lane.broke_off(delivery);
                    }
                    self.pump(row);
                }
            }
        }
    }

    fn loaded(&mut self, row: i64, due: Result<Due, StoreError>) {
        let Some(lane) = self.lanes.get_mut(&row) else { return };
        match due {
            Ok(due) => {
                lane.loaded(due.deliveries, due.more, due.next_due_ms);
                let key = lane.key.clone();
                for damaged in &due.damaged {
                    lane.claim(damaged.delivery);
                }
                for damaged in due.damaged {
                    self.discard_damaged(row, &key, damaged);
                }
                self.pump(row);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "due deliveries could not be read");
                lane.load_failed();
                self.set_timer(row, Some(self.clock.now_ms() + LOAD_RETRY_MS));
            }
        }
    }

    fn wake(&mut self) {
        let now_ms = self.clock.now_ms();
        while let Some((_, lane)) = self.timers.first().copied().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.set_timer(lane, None);
            self.pump(lane);
        }
    }

    /// Starts what the lane's limit allows, loads what should be at hand, and sets its timer.
    fn pump(&mut self, row: i64) {
        let Some(lane) = self.lanes.get_mut(&row) else { return };
        if lane.gone {
            if lane.is_quiet() {
                self.end_lane(row);
            }
            return;
        }
        let Some(sync) = self.catalog.borrow().get(&lane.key.uid).cloned() else { return };
        while let Some(work) = lane.take(sync.destination.max_concurrency) {
            let (courier, delivery) = (self.courier.clone(), work.delivery);
            let round =
                RoundWork { sync: sync.clone(), lane: row, key: lane.key.clone(), behind_ms: lane.behind_ms(), work };
            let task = self.rounds.spawn(async move { courier.round(round).await });
            self.delivery_of.insert(task.id(), (row, delivery));
        }
        if let Some(query) = lane.load(self.clock.now_ms()) {
            let (spool, loaded) = (self.courier.spool.clone(), self.loaded.clone());
            tokio::spawn(async move {
                let due = spool.read(move |reader| reader.due(&query)).await;
                // The dispatcher has stopped otherwise.
                let _ = loaded.send((row, due));
            });
        }
        // What is due already waits for room, not for time.
        let now_ms = self.clock.now_ms();
        let wake_ms = lane.wake_ms().filter(|at_ms| *at_ms > now_ms);
        self.set_timer(row, wake_ms);
    }

    fn follow_catalog(&mut self) {
        let catalog = self.catalog.borrow_and_update().clone();
        if catalog.epoch().is_empty() {
            // Nothing is known yet: what is on disk waits.
            return;
        }
        for lane in self.lanes.values_mut() {
            align(lane, &catalog, &self.courier);
        }
        let rows: Vec<i64> = self.lanes.keys().copied().collect();
        for row in rows {
            self.pump(row);
        }
    }

    fn end_lane(&mut self, row: i64) {
        if self.ending.insert(row) {
            self.courier.spool.end_lane(row);
        }
    }

    fn discard_damaged(&self, lane: i64, key: &LaneKey, damaged: Damaged) {
        let (outcome, reason) = (EndingOutcome::Discarded, EndingReason::Damaged);
        let state = damaged.state;
        let ending = self.courier.reporter.ending(
            &Subject { key, event: damaged.event, accept_ms: damaged.accept_ms },
            &End { schedule: state.schedule, attempts: state.attempts, outcome, reason, end_ms: self.clock.now_ms() },
        );
        self.courier.spool.settle(Settlement {
            delivery: damaged.delivery,
            event: damaged.event_row,
            lane,
            outcome: Settled::Ended { outcome, reason, state },
            reports: vec![ending.encode_to_vec().into()],
        });
    }

    fn set_timer(&mut self, lane: i64, at_ms: Option<i64>) {
        let old = match at_ms {
            Some(at_ms) => self.timer_of.insert(lane, at_ms),
            None => self.timer_of.remove(&lane),
        };
        if let Some(old) = old {
            self.timers.remove(&(old, lane));
        }
        if let Some(at_ms) = at_ms {
            self.timers.insert((at_ms, lane));
        }
    }
}

/// Brings a lane in line with what the catalog says of its sync.
fn align(lane: &mut Lane, catalog: &Catalog, courier: &Courier) {
    let now_ms = courier.clock.now_ms();
    lane.gone = !catalog.contains(&lane.key.uid);
    if lane.gone {
        lane.put_back();
        return;
    }
    // Refused, and no version that was good: what is open waits for one.
    let Some(sync) = catalog.get(&lane.key.uid) else { return };
    if sync.enabled && lane.resume(now_ms) {
        courier.spool.resume(lane.key.clone());
    } else if !sync.enabled && lane.hold(now_ms) {
        courier.spool.hold(lane.key.clone());
    }
}
