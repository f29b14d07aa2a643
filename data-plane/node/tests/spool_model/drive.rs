//! Makes changes of actions, applies them to both sides, and compares.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bytes::Bytes;
use sluice_node::{
    report::Reporter,
    spool::{
        SpoolLimits, SqliteFactory, inspect,
        store::{
            Accept, CatalogChange, Change, DeadLetterQuery, DueQuery, Effect, Item, LaneKey, Matched, Producer,
            Selection, Settled, Settlement, Store, StoreFactory as _, StoreReader, StoredEvent, Target,
        },
    },
};
use sluice_pipeline::{
    delivery::DeliveryState,
    event::{EventId, WebhookId},
};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};
use tempfile::TempDir;

use super::reference::{DEAD_AGE_MS, DEAD_BYTES, Expected, MAX_BYTES, PROJECT_BYTES, Place, Reference, WINDOW_MS};

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Rejected,
    Unmatched { key: Option<u8> },
    Matched { lanes: u8, key: Option<u8>, filler: usize },
}

#[derive(Clone, Debug)]
pub(crate) enum Round {
    Delivered,
    Again { wait_ms: i64, stale: bool },
    Expired,
    Discarded,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Accept { producer: usize, shift: i64, events: Vec<Event> },
    Settle { pick: usize, round: Round, body: bool },
    SettleEnded { pick: usize },
    Shelve { picks: Vec<usize> },
    Trim { lane: usize, keep: u64, limit: usize },
    ExpireDown { lane: usize, window_ms: i64, limit: usize },
    EndLane { lane: usize, limit: usize },
    Redeliver { project: usize, lane: Option<usize>, by_reason: bool, limit: usize },
    MarkExported { project: usize, pick: Option<usize> },
    Hold { lane: usize },
    Resume { lane: usize },
    Ack { count: u64 },
}

const PROJECTS: [&str; 2] = ["one", "two"];
const LANES: [(&str, &str); 3] =
    [("uid-a", "projects/one/syncs/a"), ("uid-b", "projects/one/syncs/b"), ("uid-c", "projects/two/syncs/c")];

/// The store and the reference, side by side.
pub(crate) struct Driver {
    folder: TempDir,
    store: Option<(Box<dyn Store>, Box<dyn StoreReader>)>,
    reference: Reference,
    pub(crate) now_ms: i64,
}

fn factory(folder: &TempDir) -> SqliteFactory {
    let limits = SpoolLimits {
        max_bytes: MAX_BYTES,
        project_share: PROJECT_BYTES as f64 / MAX_BYTES as f64,
        dead_letter_share: DEAD_BYTES as f64 / MAX_BYTES as f64,
        dead_letter_age: Duration::from_millis(DEAD_AGE_MS.unsigned_abs()),
        dedup_window: Duration::from_millis(WINDOW_MS.unsigned_abs()),
        reserve_bytes: 0,
        ..SpoolLimits::default()
    };
    SqliteFactory::new(folder.path(), Reporter::new("nodes/n1", "i1"), limits)
}

fn open(folder: &TempDir) -> (Box<dyn Store>, Box<dyn StoreReader>) {
    let factory = factory(folder);
    let store = factory.writer().unwrap();
    (store, factory.reader().unwrap())
}

fn key(lane: usize) -> LaneKey {
    let (uid, name) = LANES[lane];
    LaneKey { uid: uid.into(), name: name.into() }
}

impl Driver {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open(&folder));
        let reference = Reference::new(Reporter::new("nodes/n1", "i1"));
        Self { folder, store, reference, now_ms: 1_000_000_000 }
    }

    pub(crate) fn commit(&mut self, actions: &[Action]) {
        let (changes, expected, next) = self.predict(actions);
        let effects = self.store.as_mut().unwrap().0.apply(&changes, self.now_ms).unwrap();
        for ((change, effect), expected) in changes.iter().zip(effects).zip(expected) {
            assert_eq!(seen(effect), expected, "{change:?}");
        }
        self.reference = next;
    }

    /// Somebody else holds the file: the transaction breaks at its first write.
    pub(crate) fn failed_commit(&mut self, actions: &[Action]) {
        let (mut changes, ..) = self.predict(actions);
        // The journal alone cannot say this.
        changes.push(Change::Shelve { deliveries: Vec::new() });
        let other = rusqlite::Connection::open(self.folder.path().join("spool.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.store.as_mut().unwrap().0.apply(&changes, self.now_ms).unwrap_err();
    }

    /// The transaction breaks at its last change: what the journal had was written to the tables within it.
    pub(crate) fn broken_commit(&mut self, actions: &[Action]) {
        let (mut changes, ..) = self.predict(actions);
        changes.push(Change::SaveCatalog(CatalogChange {
            epoch: "another".to_owned(),
            revision: 1,
            replace: false,
            upserts: Vec::new(),
            deletions: Vec::new(),
        }));
        let other = rusqlite::Connection::open(self.folder.path().join("spool.db")).unwrap();
        other
            .execute_batch(
                "CREATE TRIGGER broken BEFORE UPDATE OF epoch ON state BEGIN SELECT RAISE(ABORT, 'broken'); END",
            )
            .unwrap();
        self.store.as_mut().unwrap().0.apply(&changes, self.now_ms).unwrap_err();
        other.execute_batch("DROP TRIGGER broken").unwrap();
    }

    pub(crate) fn upkeep(&mut self) {
        let (store, _) = self.store.as_mut().unwrap();
        while store.upkeep(self.now_ms).unwrap().more {}
        self.reference.retain(self.now_ms);
    }

    pub(crate) fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(open(&self.folder));
        self.reference.forget_hands();
    }

    pub(crate) fn verify(&self) {
        let report = inspect::verify(self.folder.path()).unwrap();
        assert!(report.is_whole(), "{report:#?}");
    }

    fn predict(&self, actions: &[Action]) -> (Vec<Change>, Vec<Expected>, Reference) {
        let mut next = self.reference.clone();
        let (mut changes, mut expected) = (Vec::new(), Vec::new());
        for action in actions {
            let Some(change) = self.change(&next, action) else { continue };
            expected.push(next.apply(&change, self.now_ms));
            changes.push(change);
        }
        // A commit has something to write.
        let ack = Change::AckReports { sequence_inclusive: 0 };
        expected.push(next.apply(&ack, self.now_ms));
        changes.push(ack);
        (changes, expected, next)
    }

    fn change(&self, reference: &Reference, action: &Action) -> Option<Change> {
        let row = |lane: usize| reference.lanes.iter().find(|(_, row)| row.key == key(lane)).map(|(id, _)| *id);
        let lane_time = |lane: i64| {
            let lane = &reference.lanes[&lane];
            lane.held_since_ms.unwrap_or(self.now_ms) - lane.held_total_ms
        };
        let selection = |project: usize, sync: Option<usize>| Selection {
            project: PROJECTS[project].to_owned(),
            sync: sync.map(|lane| LANES[lane].1.to_owned()),
            ..Selection::default()
        };
        Some(match action {
            Action::Accept { producer, shift, events } => self.accept(reference, *producer, *shift, events),
            Action::Settle { pick, round, body } => {
                let open: Vec<_> = reference.deliveries.iter().filter(|(_, delivery)| delivery.is_open()).collect();
                let (id, delivery) = open.get(pick.checked_rem(open.len())?)?;
                let began_ms = lane_time(delivery.lane);
                let mut state = delivery.state;
                state.window_open_ms.get_or_insert(began_ms);
                state.attempts += 1;
                let outcome = match round {
                    Round::Delivered => ended(EndingOutcome::Delivered, EndingReason::Unspecified, state),
                    Round::Expired => ended(EndingOutcome::Expired, EndingReason::RoundsUsedUp, state),
                    Round::Discarded => ended(EndingOutcome::Discarded, EndingReason::Render, state),
                    Round::Again { wait_ms, stale } => {
                        state.round += 1;
                        if *stale && state.schedule > 1 {
                            state.schedule -= 1;
                        }
                        Settled::Again { state, due_ms: began_ms + wait_ms }
                    }
                };
                Change::Settle(Settlement {
                    delivery: **id,
                    event: delivery.event_row,
                    lane: delivery.lane,
                    body: body.then(|| delivery.event.clone()),
                    outcome,
                    reports: vec![Bytes::from(format!("attempt of {id}")), Bytes::from(format!("end of {id}"))],
                })
            }
            Action::SettleEnded { pick } => {
                let dead: Vec<_> = reference.deliveries.iter().filter(|(_, delivery)| !delivery.is_open()).collect();
                let (id, delivery) = dead.get(pick.checked_rem(dead.len())?)?;
                Change::Settle(Settlement {
                    delivery: **id,
                    event: delivery.event_row,
                    lane: delivery.lane,
                    body: None,
                    outcome: ended(EndingOutcome::Delivered, EndingReason::Unspecified, delivery.state),
                    reports: vec![Bytes::from_static(b"late")],
                })
            }
            Action::Shelve { picks } => {
                let mut hand: Vec<i64> = reference.in_hand().into_iter().collect();
                hand.sort_unstable();
                let chosen: HashSet<i64> =
                    picks.iter().filter_map(|pick| hand.get(pick.checked_rem(hand.len())?).copied()).collect();
                Change::Shelve { deliveries: chosen.into_iter().collect() }
            }
            Action::Trim { lane, keep, limit } => {
                Change::Trim { lane: row(*lane)?, keep: *keep, except: reference.in_hand(), limit: *limit }
            }
            Action::ExpireDown { lane, window_ms, limit } => {
                let lane = row(*lane)?;
                let now_ms = lane_time(lane);
                let except = reference.in_hand();
                Change::ExpireDown { lane, now_ms, window_ms: *window_ms, probe_ms: now_ms, except, limit: *limit }
            }
            Action::EndLane { lane, limit } => Change::EndLane { lane: row(*lane)?, limit: *limit },
            Action::Redeliver { project, lane, by_reason, limit } => Change::Redeliver {
                selection: Selection {
                    reasons: if *by_reason {
                        vec![EndingReason::Render, EndingReason::EndpointDown]
                    } else {
                        Vec::new()
                    },
                    ..selection(*project, *lane)
                },
                ended_before_ms: self.now_ms,
                lanes: reference.lanes.keys().copied().collect(),
                limit: *limit,
            },
            Action::MarkExported { project, pick } => {
                let all = reference.dead(&selection(*project, None));
                let chosen = pick.and_then(|pick| all.get(pick.checked_rem(all.len())?));
                let delivery_ids = chosen.map(|id| {
                    let delivery = &reference.deliveries[id];
                    WebhookId::new(delivery.event.id, &reference.lanes[&delivery.lane].key.uid)
                });
                Change::MarkExported {
                    selection: Selection {
                        delivery_ids: delivery_ids.into_iter().collect(),
                        ..selection(*project, None)
                    },
                }
            }
            Action::Hold { lane } => Change::Hold { lane: key(*lane) },
            Action::Resume { lane } => Change::Resume { lane: key(*lane) },
            Action::Ack { count } => {
                let first = reference.reports.keys().next().copied().unwrap_or(reference.next_report);
                Change::AckReports {
                    sequence_inclusive: (first + count).saturating_sub(1).min(reference.next_report - 1),
                }
            }
        })
    }

    fn accept(&self, reference: &Reference, producer: usize, shift: i64, events: &[Event]) -> Change {
        let project: Arc<str> = PROJECTS[producer].into();
        let id = format!("producer-{producer}");
        let next = reference.producers.get(&id).copied().unwrap_or(1);
        let first_sequence = next.saturating_add_signed(shift).max(1);
        let key_of = |key: &Option<u8>| key.map(|key| [key; 16]);
        let items = (first_sequence..).zip(events).map(|(sequence, event)| match event {
            Event::Rejected => Item::Rejected,
            Event::Unmatched { key } => Item::Unmatched { key: key_of(key) },
            Event::Matched { lanes, key: event_key, filler } => {
                let stored = StoredEvent {
                    id: EventId::new(&project, &id, sequence),
                    accept_ms: self.now_ms,
                    event_type: format!("type-{}", sequence % 3),
                    json: Bytes::from(format!("{{\"n\":{sequence},\"filler\":\"{}\"}}", "x".repeat(*filler))),
                    traceparent: "00-trace".to_owned(),
                    tracestate: String::new(),
                };
                let of_project = (0..3).filter(|lane| LANES[*lane].1.split('/').nth(1) == Some(&project));
                let mut lanes: Vec<usize> = of_project.clone().filter(|lane| lanes & (1 << lane) != 0).collect();
                if lanes.is_empty() {
                    lanes = of_project.take(1).collect();
                }
                let refuse = |lane: usize| (lane == 1).then_some(10);
                let lanes =
                    lanes.into_iter().map(|lane| Target { key: key(lane), refuse_from: refuse(lane) }).collect();
                Item::Matched(Box::new(Matched { event: Arc::new(stored), key: key_of(event_key), lanes }))
            }
        });
        let items = items.collect();
        let producer = Producer { project: project.clone(), id: id.into() };
        Change::Accept(Accept { producer: Some(producer), project, first_sequence, items })
    }

    /// Everything that can be asked has the same answer on both sides.
    pub(crate) fn compare(&mut self) {
        let (store, _) = self.store.as_mut().unwrap();
        store.merge().unwrap();
        let (_, reader) = self.store.as_ref().unwrap();
        let reference = &self.reference;
        let ledger = reader.ledger().unwrap();
        for (_, counts) in &ledger.deliveries {
            let ended = counts.delivered + counts.expired + counts.discarded;
            assert_eq!(counts.created + counts.redelivered, ended + counts.pending, "{counts:?}");
        }
        let mut lanes: Vec<_> = reference.lanes.values().map(|lane| (lane.key.clone(), lane.counts)).collect();
        lanes.sort_by_key(|(key, _)| key.uid.clone());
        assert_eq!(ledger.deliveries, lanes);
        let projects: Vec<_> = reference.projects.clone().into_iter().collect();
        assert_eq!(ledger.projects, projects);
        let events = ledger.events;
        assert_eq!(events.received, events.rejected + events.duplicates + events.unmatched + events.matched);

        for lane in reference.lanes.keys() {
            self.compare_due(&**reader, *lane);
        }
        for project in PROJECTS {
            self.compare_dead_letters(&**reader, project);
        }
        let mut at = 0;
        let mut reports = Vec::new();
        loop {
            let some = reader.reports(at, 3).unwrap();
            if some.reports.is_empty() {
                assert_eq!(some.next_sequence, reference.next_report);
                break;
            }
            at = some.first_sequence + some.reports.len() as u64;
            reports.extend((some.first_sequence..).zip(some.reports));
        }
        let expected: Vec<_> = reference.reports.iter().map(|(at, report)| (*at, report.clone())).collect();
        assert_eq!(reports, expected);
        let stats = reader.stats().unwrap();
        assert_eq!((stats.reports, stats.damaged), (reference.reports.len() as u64, 0));
        let exported = |place: &Place| matches!(place, Place::Dead { exported: false, .. });
        let unexported = reference.deliveries.values().filter(|delivery| exported(&delivery.place)).count();
        assert_eq!(stats.unexported, unexported as u64);
    }

    fn compare_due(&self, reader: &dyn StoreReader, lane: i64) {
        let reference = &self.reference;
        let row = &reference.lanes[&lane];
        let now_ms = row.held_since_ms.unwrap_or(self.now_ms) - row.held_total_ms;
        let except = reference.in_hand();
        let due = reader.due(&DueQuery { lane, now_ms, except, limit: 1_000, max_bytes: usize::MAX }).unwrap();
        assert!(due.damaged.is_empty() && !due.more);
        let mut last = (i64::MIN, 0);
        for delivery in &due.deliveries {
            assert!((delivery.due_ms, delivery.delivery) > last, "in order");
            last = (delivery.due_ms, delivery.delivery);
            let known = &reference.deliveries[&delivery.delivery];
            assert_eq!((&delivery.event, delivery.state), (&known.event, known.state));
            if let Place::Waiting { due_ms } = known.place {
                assert_eq!(delivery.due_ms, due_ms);
            }
        }
        let mut found: Vec<i64> = due.deliveries.iter().map(|delivery| delivery.delivery).collect();
        found.sort_unstable();
        let is_due = |place: &Place| match place {
            Place::Fresh => true,
            Place::Waiting { due_ms } => *due_ms <= now_ms,
            Place::Hand | Place::Dead { .. } => false,
        };
        let of_lane = reference.deliveries.iter().filter(|(_, delivery)| delivery.lane == lane);
        let expected: Vec<i64> =
            of_lane.clone().filter(|(_, delivery)| is_due(&delivery.place)).map(|(id, _)| *id).collect();
        assert_eq!(found, expected);
        let later = of_lane.filter_map(|(_, delivery)| match delivery.place {
            Place::Waiting { due_ms } if due_ms > now_ms => Some(due_ms),
            _ => None,
        });
        assert_eq!(due.next_due_ms, later.min());
    }

    fn compare_dead_letters(&self, reader: &dyn StoreReader, project: &str) {
        let selection = Selection { project: project.to_owned(), ..Selection::default() };
        let mut found = Vec::new();
        let mut cursor = Some(0);
        while let Some(cursor_exclusive) = cursor {
            let selection = selection.clone();
            let query = DeadLetterQuery { selection, cursor_exclusive, limit: 2, max_bytes: 300, with_events: true };
            let page = reader.dead_letters(&query).unwrap();
            found.extend(page.letters);
            cursor = page.next_cursor;
        }
        let expected = self.reference.dead(&selection);
        assert_eq!(found.iter().map(|letter| letter.delivery).collect::<Vec<_>>(), expected);
        for letter in &found {
            let known = &self.reference.deliveries[&letter.delivery];
            let Place::Dead { outcome, reason, end_ms, exported } = known.place else { unreachable!() };
            assert_eq!(
                (letter.outcome, letter.reason, letter.end_ms, letter.exported),
                (outcome, reason, end_ms, exported)
            );
            assert_eq!((letter.schedule, letter.attempts), (known.state.schedule, known.state.attempts));
            assert_eq!((letter.event, &letter.event_type), (known.event.id, &known.event.event_type));
            assert_eq!(letter.json.as_ref(), Some(&known.event.json));
        }
        let bytes: u64 = found.iter().map(|letter| letter.event_bytes).sum();
        assert_eq!(reader.count_dead_letters(&selection).unwrap(), (found.len() as u64, bytes));
    }
}

fn ended(outcome: EndingOutcome, reason: EndingReason, state: DeliveryState) -> Settled {
    Settled::Ended { outcome, reason, state }
}

fn seen(effect: Effect) -> Expected {
    match effect {
        Effect::Accepted { created, open } => Expected::Accepted {
            created: created.iter().map(|new| (new.delivery, new.event_row, new.lane)).collect(),
            open,
        },
        Effect::Gap { expected } => Expected::Gap(expected),
        Effect::Full(full) => Expected::Full(full),
        Effect::LaneEnded { ended, .. } => Expected::Ended(ended),
        Effect::Redelivered { lanes, more, .. } => Expected::Redelivered { lanes, more },
        Effect::Marked(count) => Expected::Marked(count),
        Effect::Done { .. } => Expected::Done,
        Effect::Opened { .. } => unreachable!("not driven"),
    }
}
