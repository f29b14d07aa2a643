//! The reference: everything in memory, nothing clever.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use sluice_node::{
    report::{End, Reporter, Subject},
    spool::store::{
        Accept, Change, DeliveryCounts, EventCounts, Full, Item, LaneKey, Selection, Settled, Settlement, StoredEvent,
    },
};
use sluice_pipeline::delivery::DeliveryState;
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};

pub(crate) const WINDOW_MS: i64 = 600_000;
pub(crate) const MAX_BYTES: u64 = 16_000;
pub(crate) const PROJECT_BYTES: u64 = 12_000;
pub(crate) const DEAD_BYTES: u64 = 2_000;
pub(crate) const DEAD_AGE_MS: i64 = 1_800_000;

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) key: LaneKey,
    pub(crate) held_since_ms: Option<i64>,
    pub(crate) held_total_ms: i64,
    pub(crate) counts: DeliveryCounts,
}

#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) lane: i64,
    pub(crate) event_row: i64,
    pub(crate) event: Arc<StoredEvent>,
    pub(crate) state: DeliveryState,
    pub(crate) place: Place,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// In somebody's hands.
    Hand,
    /// On disk, its first round to come.
    Fresh,
    /// On disk, another round to come.
    Waiting {
        due_ms: i64,
    },
    Dead {
        outcome: EndingOutcome,
        reason: EndingReason,
        end_ms: i64,
        exported: bool,
    },
}

impl Delivery {
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.place, Place::Dead { .. })
    }

    fn bytes(&self) -> u64 {
        self.event.json.len() as u64
    }
}

/// What a change should do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expected {
    Accepted { created: Vec<(i64, i64, i64)>, open: Vec<(i64, u64)> },
    Gap(u64),
    Full(Full),
    Ended(usize),
    Redelivered { lanes: Vec<(i64, u64)>, more: bool },
    Marked(u64),
    Done,
}

#[derive(Clone)]
pub(crate) struct Reference {
    pub(crate) reporter: Reporter,
    pub(crate) producers: HashMap<String, u64>,
    pub(crate) keys: HashMap<[u8; 16], i64>,
    pub(crate) lanes: BTreeMap<i64, Lane>,
    pub(crate) deliveries: BTreeMap<i64, Delivery>,
    pub(crate) projects: BTreeMap<String, EventCounts>,
    pub(crate) reports: BTreeMap<u64, Bytes>,
    pub(crate) next_report: u64,
    pub(crate) next_delivery: i64,
    pub(crate) next_event: i64,
}

impl Reference {
    pub(crate) fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            producers: HashMap::new(),
            keys: HashMap::new(),
            lanes: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            projects: BTreeMap::new(),
            reports: BTreeMap::new(),
            next_report: 1,
            next_delivery: 1,
            next_event: 1,
        }
    }

    pub(crate) fn apply(&mut self, change: &Change, now_ms: i64) -> Expected {
        match change {
            Change::Accept(accept) => return self.accept(accept, now_ms),
            Change::Settle(settlement) => self.settle(settlement, now_ms),
            Change::Shelve { deliveries } => {
                for id in deliveries {
                    let delivery = self.deliveries.get_mut(id).unwrap();
                    if delivery.place == Place::Hand {
                        delivery.place = Place::Fresh;
                    }
                }
            }
            Change::AckReports { sequence_inclusive } => self.reports.retain(|at, _| at > sequence_inclusive),
            Change::Hold { lane } => {
                let lane = self.lane(lane);
                let lane = self.lanes.get_mut(&lane).unwrap();
                lane.held_since_ms = lane.held_since_ms.or(Some(now_ms));
            }
            Change::Resume { lane } => {
                let lane = self.lane(lane);
                let lane = self.lanes.get_mut(&lane).unwrap();
                if let Some(since_ms) = lane.held_since_ms.take() {
                    lane.held_total_ms += now_ms - since_ms;
                }
            }
            Change::Trim { lane, keep, except, limit } => {
                let open = self.open_in(*lane);
                let over = open.len().saturating_sub(*keep as usize).min(*limit);
                let chosen = open.into_iter().filter(|id| !except.contains(id)).take(over).collect();
                return self.end(chosen, EndingOutcome::Discarded, EndingReason::BacklogFull, now_ms);
            }
            Change::ExpireDown { lane, now_ms: lane_now_ms, window_ms, probe_ms, except, limit } => {
                let mut found: Vec<(i64, i64)> = self
                    .deliveries
                    .iter()
                    .filter(|(id, delivery)| delivery.lane == *lane && !except.contains(id))
                    .filter_map(|(id, delivery)| {
                        let Place::Waiting { due_ms } = delivery.place else { return None };
                        let opened_ms = delivery.state.window_open_ms?;
                        let passed = opened_ms + window_ms <= *lane_now_ms;
                        (passed && due_ms <= *probe_ms && delivery.state.attempts > 0).then_some((opened_ms, *id))
                    })
                    .collect();
                found.sort_unstable();
                let chosen = found.into_iter().map(|(_, id)| id).take(*limit).collect();
                return self.end(chosen, EndingOutcome::Expired, EndingReason::EndpointDown, now_ms);
            }
            Change::EndLane { lane, limit } => {
                let chosen = self.open_in(*lane).into_iter().take(*limit).collect();
                return self.end(chosen, EndingOutcome::Discarded, EndingReason::SyncDeleted, now_ms);
            }
            Change::Redeliver { selection, ended_before_ms, lanes, limit } => {
                return self.redeliver(selection, *ended_before_ms, lanes, *limit, now_ms);
            }
            Change::MarkExported { selection } => {
                let chosen = self.dead(selection);
                for id in &chosen {
                    if let Place::Dead { exported, .. } = &mut self.deliveries.get_mut(id).unwrap().place {
                        *exported = true;
                    }
                }
                return Expected::Marked(chosen.len() as u64);
            }
            Change::Open { .. } | Change::SaveCatalog(_) => unreachable!("not driven"),
        }
        Expected::Done
    }

    fn accept(&mut self, accept: &Accept, now_ms: i64) -> Expected {
        let producer = accept.producer.as_ref().unwrap().id.to_string();
        let next = self.producers.get(&producer).copied().unwrap_or(accept.first_sequence);
        if accept.first_sequence > next {
            return Expected::Gap(next);
        }
        let skip = ((next - accept.first_sequence) as usize).min(accept.items.len());
        let mut keys = self.keys.clone();
        let new: Vec<&Item> = accept
            .items
            .iter()
            .skip(skip)
            .filter(|item| {
                let key = match item {
                    Item::Rejected => None,
                    Item::Unmatched { key } => *key,
                    Item::Matched(matched) => matched.key,
                };
                let Some(key) = key else { return true };
                let known = keys.get(&key).is_some_and(|at_ms| now_ms - at_ms < WINDOW_MS);
                if !known {
                    keys.insert(key, now_ms);
                }
                !known
            })
            .collect();
        if skip < accept.items.len() {
            if let Some(full) = self.full(accept, &new) {
                return Expected::Full(full);
            }
            self.producers.insert(producer, accept.first_sequence + accept.items.len() as u64);
        }
        self.keys = keys;
        let mut created = Vec::new();
        let project = accept.project.to_string();
        let mut counts = self.projects.get(&project).copied().unwrap_or_default();
        counts.received += accept.items.len() as i64;
        counts.duplicates += (accept.items.len() - new.len()) as i64;
        for item in new {
            match item {
                Item::Rejected => counts.rejected += 1,
                Item::Unmatched { .. } => counts.unmatched += 1,
                Item::Matched(matched) => {
                    counts.matched += 1;
                    for target in &matched.lanes {
                        let lane = self.lane(&target.key);
                        let (id, event_row) = (self.next_delivery, self.next_event);
                        self.next_delivery += 1;
                        let lane_counts = &mut self.lanes.get_mut(&lane).unwrap().counts;
                        lane_counts.created += 1;
                        lane_counts.pending += 1;
                        let (event, state) = (matched.event.clone(), DeliveryState::new());
                        self.deliveries.insert(id, Delivery { lane, event_row, event, state, place: Place::Hand });
                        created.push((id, event_row, lane));
                        counts.created += 1;
                    }
                    self.next_event += 1;
                }
            }
        }
        self.projects.insert(project, counts);
        let lanes: std::collections::BTreeSet<i64> = created.iter().map(|(_, _, lane)| *lane).collect();
        let open = lanes.into_iter().map(|lane| (lane, self.lanes[&lane].counts.pending as u64)).collect();
        Expected::Accepted { created, open }
    }

    fn full(&self, accept: &Accept, new: &[&Item]) -> Option<Full> {
        let mut bytes = 0;
        for item in new {
            let Item::Matched(matched) = item else { continue };
            bytes += (matched.event.json.len() * matched.lanes.len()) as u64;
            for target in &matched.lanes {
                let pending =
                    self.lanes.values().find(|lane| lane.key == target.key).map_or(0, |lane| lane.counts.pending);
                if target.refuse_from.is_some_and(|limit| pending as u64 >= limit) {
                    return Some(Full::Lane(target.key.clone()));
                }
            }
        }
        let used = |project: Option<&str>| -> u64 {
            let of = |delivery: &&Delivery| project.is_none_or(|project| self.project(delivery.lane) == project);
            self.deliveries.values().filter(of).map(Delivery::bytes).sum()
        };
        if bytes == 0 {
            None
        } else if used(None) + bytes > MAX_BYTES {
            Some(Full::Spool)
        } else if used(Some(&accept.project)) + bytes > PROJECT_BYTES {
            Some(Full::Project)
        } else {
            None
        }
    }

    fn settle(&mut self, settlement: &Settlement, now_ms: i64) {
        for report in &settlement.reports {
            self.report(report.clone());
        }
        let id = settlement.delivery;
        let Some(delivery) = self.deliveries.get_mut(&id).filter(|delivery| delivery.is_open()) else { return };
        let counts = &mut self.lanes.get_mut(&delivery.lane).unwrap().counts;
        match &settlement.outcome {
            Settled::Ended { outcome: EndingOutcome::Delivered, .. } => {
                counts.pending -= 1;
                counts.delivered += 1;
                self.deliveries.remove(&id);
            }
            Settled::Again { state, .. } | Settled::Ended { state, .. } if state.schedule < delivery.state.schedule => {
            }
            Settled::Again { state, due_ms } => {
                delivery.state = *state;
                delivery.place = Place::Waiting { due_ms: *due_ms };
            }
            Settled::Ended { outcome, reason, state } => {
                counts.pending -= 1;
                counts.dead_letters += 1;
                match outcome {
                    EndingOutcome::Expired => counts.expired += 1,
                    _ => counts.discarded += 1,
                }
                delivery.state = *state;
                delivery.place = Place::Dead { outcome: *outcome, reason: *reason, end_ms: now_ms, exported: false };
            }
        }
    }

    fn end(&mut self, chosen: Vec<i64>, outcome: EndingOutcome, reason: EndingReason, now_ms: i64) -> Expected {
        for id in &chosen {
            let delivery = self.deliveries.get_mut(id).unwrap();
            let lane = self.lanes.get_mut(&delivery.lane).unwrap();
            lane.counts.pending -= 1;
            lane.counts.dead_letters += 1;
            match outcome {
                EndingOutcome::Expired => lane.counts.expired += 1,
                _ => lane.counts.discarded += 1,
            }
            delivery.place = Place::Dead { outcome, reason, end_ms: now_ms, exported: false };
            let subject = Subject::of(&lane.key, delivery.event.id, delivery.event.accept_ms);
            let (schedule, attempts) = (delivery.state.schedule, delivery.state.attempts);
            let end = End { schedule, attempts, outcome, reason, end_ms: now_ms };
            let report = self.reporter.ending(&subject, &end);
            self.report(report);
        }
        Expected::Ended(chosen.len())
    }

    fn redeliver(
        &mut self,
        selection: &Selection,
        ended_before_ms: i64,
        lanes: &HashSet<i64>,
        limit: usize,
        now_ms: i64,
    ) -> Expected {
        let mut chosen = self.dead(selection);
        chosen.retain(|id| {
            let delivery = &self.deliveries[id];
            let Place::Dead { end_ms, .. } = delivery.place else { return false };
            lanes.contains(&delivery.lane) && end_ms < ended_before_ms
        });
        chosen.truncate(limit);
        let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
        for id in &chosen {
            let delivery = self.deliveries.get_mut(id).unwrap();
            let lane = self.lanes.get_mut(&delivery.lane).unwrap();
            lane.counts.redelivered += 1;
            lane.counts.pending += 1;
            lane.counts.dead_letters -= 1;
            delivery.state = delivery.state.redelivered();
            let due_ms = lane.held_since_ms.unwrap_or(now_ms) - lane.held_total_ms;
            delivery.place = Place::Waiting { due_ms };
            *counts.entry(delivery.lane).or_default() += 1;
        }
        Expected::Redelivered { lanes: counts.into_iter().collect(), more: chosen.len() >= limit }
    }

    /// What housekeeping removes.
    pub(crate) fn retain(&mut self, now_ms: i64) {
        let mut dead: Vec<(i64, i64)> = self
            .deliveries
            .iter()
            .filter_map(|(id, delivery)| match delivery.place {
                Place::Dead { end_ms, .. } => Some((end_ms, *id)),
                _ => None,
            })
            .collect();
        dead.sort_unstable();
        let mut bytes: u64 = dead.iter().map(|(_, id)| self.deliveries[id].bytes()).sum();
        for (end_ms, id) in dead {
            if end_ms >= now_ms - DEAD_AGE_MS && bytes <= DEAD_BYTES {
                break;
            }
            let delivery = self.deliveries.remove(&id).unwrap();
            bytes -= delivery.bytes();
            let counts = &mut self.lanes.get_mut(&delivery.lane).unwrap().counts;
            counts.removed += 1;
            counts.dead_letters -= 1;
        }
    }

    /// Dead letters of a selection by project, sync and reason, or by id.
    pub(crate) fn dead(&self, selection: &Selection) -> Vec<i64> {
        let is_chosen = |(id, delivery): (&i64, &Delivery)| {
            let Place::Dead { reason, .. } = delivery.place else { return None };
            let key = &self.lanes[&delivery.lane].key;
            let webhook_id = sluice_pipeline::event::WebhookId::new(delivery.event.id, &key.uid);
            let chosen = self.project(delivery.lane) == selection.project
                && selection.sync.as_ref().is_none_or(|sync| **sync == *key.name)
                && (selection.reasons.is_empty() || selection.reasons.contains(&reason))
                && (selection.delivery_ids.is_empty() || selection.delivery_ids.contains(&webhook_id));
            chosen.then_some(*id)
        };
        self.deliveries.iter().filter_map(is_chosen).collect()
    }

    pub(crate) fn project(&self, lane: i64) -> &str {
        self.lanes[&lane].key.name.split('/').nth(1).unwrap()
    }

    /// Everything that is in hand, as after a crash, is on disk alone.
    pub(crate) fn forget_hands(&mut self) {
        for delivery in self.deliveries.values_mut() {
            if delivery.place == Place::Hand {
                delivery.place = Place::Fresh;
            }
        }
    }

    pub(crate) fn in_hand(&self) -> HashSet<i64> {
        self.deliveries.iter().filter(|(_, delivery)| delivery.place == Place::Hand).map(|(id, _)| *id).collect()
    }

    fn open_in(&self, lane: i64) -> Vec<i64> {
        let open = self.deliveries.iter().filter(|(_, delivery)| delivery.lane == lane && delivery.is_open());
        open.map(|(id, _)| *id).collect()
    }

    fn lane(&mut self, key: &LaneKey) -> i64 {
        if let Some((id, _)) = self.lanes.iter().find(|(_, lane)| lane.key == *key) {
            return *id;
        }
        let id = self.lanes.len() as i64 + 1;
        let lane = Lane { key: key.clone(), held_since_ms: None, held_total_ms: 0, counts: DeliveryCounts::default() };
        self.lanes.insert(id, lane);
        id
    }

    fn report(&mut self, report: Bytes) {
        self.reports.insert(self.next_report, report);
        self.next_report += 1;
    }
}
