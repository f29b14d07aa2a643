//! The spool's promises, through its handle and its trait.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use sluice_host::clock::Clock;
use sluice_node::{
    report::Reporter,
    spool::{
        AcceptError, Notice, Spool, SpoolLimits, SqliteFactory, Started, start,
        store::{
            Accept, Change, DueQuery, Effect, Item, LaneKey, Matched, Producer, Settled, Settlement, Store, StoreError,
            StoreFactory, StoreReader, StoredEvent, Target, Upkeep,
        },
    },
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};
use tokio::sync::mpsc::UnboundedReceiver;

fn factory(folder: &Path) -> SqliteFactory {
    let limits = SpoolLimits { reserve_bytes: 0, ..SpoolLimits::default() };
    SqliteFactory::new(folder, Reporter::new("nodes/n1", "i1"), limits)
}

fn open(folder: &Path) -> Started {
    start(&factory(folder), Clock::manual(1_000_000).0).unwrap()
}

fn lane(uid: &str) -> LaneKey {
    LaneKey { uid: uid.into(), name: format!("projects/default/syncs/{uid}").into() }
}

fn matched(sequence: u64, lanes: &[&str]) -> Item {
    let event = StoredEvent {
        id: EventId::new("default", "p", sequence),
        accept_ms: 1_000_000,
        event_type: "a".to_owned(),
        json: Bytes::from(format!("{{\"event_type\":\"a\",\"n\":{sequence}}}")),
        traceparent: String::new(),
        tracestate: String::new(),
    };
    let lanes = lanes.iter().map(|uid| Target { key: lane(uid), refuse_from: None }).collect();
    Item::Matched(Box::new(Matched { event: Arc::new(event), key: None, lanes }))
}

fn accept(first_sequence: u64, items: Vec<Item>) -> Accept {
    Accept { producer: Some(producer()), project: "default".into(), first_sequence, items }
}

fn producer() -> Producer {
    Producer { project: "default".into(), id: "p".into() }
}

async fn send(spool: &Spool, fence: u64, accept: Accept) -> Result<(), AcceptError> {
    spool.accept(accept, fence).await.await.unwrap()
}

async fn created(notices: &mut UnboundedReceiver<Notice>) -> Vec<(i64, i64, i64)> {
    loop {
        if let Notice::Created { created, .. } = notices.recv().await.unwrap() {
            return created.iter().map(|new| (new.delivery, new.event_row, new.lane)).collect();
        }
    }
}

fn delivered((delivery, event, lane): (i64, i64, i64)) -> Settlement {
    Settlement {
        delivery,
        event,
        lane,
        body: None,
        outcome: Settled::Ended {
            outcome: EndingOutcome::Delivered,
            reason: EndingReason::Unspecified,
            state: DeliveryState::new(),
        },
        reports: vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
    }
}

fn due(lane: i64) -> DueQuery {
    DueQuery { lane, now_ms: i64::MAX, except: HashSet::new(), limit: 100, max_bytes: 1 << 20 }
}

#[tokio::test]
async fn what_was_acked_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, mut notices } = open(folder.path());
    let opened = spool.open(producer(), 7).await.unwrap();
    assert_eq!((opened.known, opened.next_sequence), (false, 7));
    let items = vec![matched(7, &["a", "b"]), Item::Unmatched { key: None }, Item::Rejected, matched(10, &["a"])];
    send(&spool, opened.fence, accept(7, items)).await.unwrap();
    let made = created(&mut notices).await;
    assert_eq!(made.len(), 3);
    spool.settle(delivered(made[0]));
    spool.finish().await;
    drop((spool, notices));

    let Started { spool, .. } = open(folder.path());
    assert!(matches!(spool.open(producer(), 1).await.unwrap(), opened if opened.known && opened.next_sequence == 11));
    let lanes = spool.read(|reader| reader.lanes()).await.unwrap();
    let mut left = Vec::new();
    for row in lanes {
        let due = spool.read(move |reader| reader.due(&due(row.lane))).await.unwrap();
        left.extend(due.deliveries.into_iter().map(|delivery| (row.key.uid.to_string(), delivery.event.id)));
    }
    left.sort_by_key(|(uid, _)| uid.clone());
    let id = |sequence| EventId::new("default", "p", sequence);
    assert_eq!(left, [("a".to_owned(), id(10)), ("b".to_owned(), id(7))]);
    let ledger = spool.read(|reader| reader.ledger()).await.unwrap();
    let events = ledger.events;
    assert_eq!((events.received, events.rejected, events.unmatched, events.matched), (4, 1, 1, 2));
    let pending: Vec<_> = ledger.deliveries.iter().map(|(_, counts)| (counts.created, counts.pending)).collect();
    assert_eq!(pending, [(2, 1), (1, 1)]);
}

#[tokio::test]
async fn a_gap_stores_nothing_and_a_repetition_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, .. } = open(folder.path());
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    let gap = send(&spool, fence, accept(2, vec![matched(2, &["a"])])).await.unwrap_err();
    assert!(matches!(gap, AcceptError::Gap { expected: 1 }), "{gap}");
    send(&spool, fence, accept(1, vec![matched(1, &["a"]), matched(2, &["a"])])).await.unwrap();
    send(&spool, fence, accept(2, vec![matched(2, &["a"]), matched(3, &["a"])])).await.unwrap();
    let events = spool.read(|reader| reader.ledger()).await.unwrap().events;
    assert_eq!((events.received, events.duplicates, events.matched), (4, 1, 3));
}

#[tokio::test]
async fn report_sequences_go_on_after_every_report_was_acked() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, mut notices } = open(folder.path());
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    send(&spool, fence, accept(1, vec![matched(1, &["a"]), matched(2, &["a"])])).await.unwrap();
    let made = created(&mut notices).await;
    spool.settle(delivered(made[0]));
    spool.finish().await;
    spool.ack_reports(2);
    spool.finish().await;
    drop((spool, notices));

    let Started { spool, .. } = open(folder.path());
    spool.settle(delivered(made[1]));
    spool.finish().await;
    let reports = spool.read(|reader| reader.reports(0, 10)).await.unwrap();
    assert_eq!((reports.first_sequence, reports.reports.len(), reports.next_sequence), (3, 2, 5));
}

#[test]
fn a_spool_of_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("spool.db")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let error = factory(folder.path()).writer().err().unwrap();
    assert_eq!(error.to_string(), "the spool has format 99, this program reads 3");
}

#[tokio::test]
async fn a_spool_from_before_the_journal_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, .. } = open(folder.path());
    let opened = spool.open(producer(), 1).await.unwrap();
    send(&spool, opened.fence, accept(1, vec![matched(1, &["a"])])).await.unwrap();
    spool.finish().await;
    drop(spool);
    let connection = rusqlite::Connection::open(folder.path().join("spool.db")).unwrap();
    connection
        .execute_batch(
            "ALTER TABLE state DROP COLUMN journal; ALTER TABLE state DROP COLUMN lost; PRAGMA user_version = 2",
        )
        .unwrap();
    drop(connection);
    std::fs::remove_file(folder.path().join("spool.journal")).unwrap();

    let Started { spool, .. } = open(folder.path());
    assert_eq!(spool.due(due(1)).await.unwrap().deliveries.len(), 1);
    assert_eq!(spool.open(producer(), 1).await.unwrap().next_sequence, 2);
}

#[tokio::test]
async fn a_clock_behind_the_newest_stored_time_counts_as_that_time() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, .. } = open(folder.path());
    let opened = spool.open(producer(), 1).await.unwrap();
    send(&spool, opened.fence, accept(1, vec![matched(1, &["a"])])).await.unwrap();
    drop(spool);
    let (clock, _) = Clock::manual(5);
    start(&factory(folder.path()), clock.clone()).unwrap();
    assert_eq!(clock.now_ms(), 1_000_000);
}

/// A store whose first commits fail, as on a full disk.
struct Failing {
    store: Box<dyn Store>,
    left: Arc<AtomicUsize>,
    /// Whether there is no room for what the journal has.
    is_full: Arc<AtomicBool>,
}

impl Store for Failing {
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let failing = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(StoreError::Stopped) } else { self.store.apply(changes, now_ms) }
    }

    fn merge(&mut self) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::SeqCst) { Err(StoreError::Full) } else { self.store.merge() }
    }

    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError> {
        self.store.upkeep(now_ms)
    }
}

struct FailingFactory {
    inner: SqliteFactory,
    left: Arc<AtomicUsize>,
    is_full: Arc<AtomicBool>,
}

impl StoreFactory for FailingFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        let (left, is_full) = (self.left.clone(), self.is_full.clone());
        Ok(Box::new(Failing { store: self.inner.writer()?, left, is_full }))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.inner.reader()
    }
}

#[tokio::test]
async fn a_settled_round_survives_commits_that_fail_and_a_producer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let left = Arc::new(AtomicUsize::new(0));
    let failing = FailingFactory { inner: factory(folder.path()), left: left.clone(), is_full: Arc::default() };
    let Started { spool, mut notices } = start(&failing, Clock::manual(1_000_000).0).unwrap();
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    send(&spool, fence, accept(1, vec![matched(1, &["a"])])).await.unwrap();
    let made = created(&mut notices).await;

    left.store(1, Ordering::SeqCst);
    spool.settle(delivered(made[0]));
    // The failed commit is made up for by the next one, whatever brings it about.
    let settled = tokio::time::timeout(Duration::from_secs(30), notices.recv()).await.unwrap().unwrap();
    assert!(matches!(settled, Notice::Settled(settled) if settled == [(made[0].2, made[0].0, None)]));

    left.store(1, Ordering::SeqCst);
    let refused = send(&spool, fence, accept(2, vec![matched(2, &["a"])])).await.unwrap_err();
    assert!(matches!(refused, AcceptError::Store(_)), "{refused}");
    send(&spool, fence, accept(2, vec![matched(2, &["a"])])).await.unwrap();
    let ledger = spool.read(|reader| reader.ledger()).await.unwrap();
    assert_eq!((ledger.events.received, ledger.deliveries[0].1.delivered, ledger.deliveries[0].1.pending), (2, 1, 1));
}

#[tokio::test]
async fn reports_that_no_reader_finds_are_waited_for_and_other_questions_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (left, is_full) = (Arc::default(), Arc::new(AtomicBool::new(false)));
    let failing = FailingFactory { inner: factory(folder.path()), left, is_full: is_full.clone() };
    let Started { spool, mut notices } = start(&failing, Clock::manual(1_000_000).0).unwrap();
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    send(&spool, fence, accept(1, vec![matched(1, &["a"])])).await.unwrap();
    let made = created(&mut notices).await;
    is_full.store(true, Ordering::SeqCst);
    spool.settle(delivered(made[0]));
    spool.next_report().wait_for(|next| *next == 3).await.unwrap();
    assert!(matches!(spool.reports(0, 10).await, Err(StoreError::Unmerged)));
    let ledger = spool.read(|reader| reader.ledger()).await.unwrap();
    assert_eq!(ledger.events.received, 1);
    is_full.store(false, Ordering::SeqCst);
    assert_eq!(spool.reports(0, 10).await.unwrap().reports.len(), 2);
}

/// A store whose housekeeping is always due and never works.
struct Neglected {
    store: Box<dyn Store>,
    asked: Arc<AtomicUsize>,
}

impl Store for Neglected {
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        self.store.apply(changes, now_ms)
    }

    fn merge(&mut self) -> Result<(), StoreError> {
        self.store.merge()
    }

    fn upkeep_is_due(&self) -> bool {
        true
    }

    fn upkeep(&mut self, _: i64) -> Result<Upkeep, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Full)
    }
}

struct NeglectedFactory {
    inner: SqliteFactory,
    asked: Arc<AtomicUsize>,
}

impl StoreFactory for NeglectedFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Neglected { store: self.inner.writer()?, asked: self.asked.clone() }))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.inner.reader()
    }
}

#[tokio::test]
async fn housekeeping_that_fails_is_not_tried_with_every_commit() {
    let folder = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let factory = NeglectedFactory { inner: factory(folder.path()), asked: asked.clone() };
    let Started { spool, .. } = start(&factory, Clock::manual(1_000_000).0).unwrap();
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    // As many commits as there are in the time of some twenty tries.
    let (began, mut sequence) = (Instant::now(), 1);
    while began.elapsed() < Duration::from_millis(250) {
        send(&spool, fence, accept(sequence, vec![matched(sequence, &["a"])])).await.unwrap();
        sequence += 1;
    }
    let most = 2 + began.elapsed().as_secs() as usize;
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked <= most, "{asked} times, {most} would be one a second");
}

/// A store that finds damage wherever one delivery is settled.
struct Damaged {
    store: Box<dyn Store>,
    delivery: i64,
}

impl Store for Damaged {
    fn apply(&mut self, changes: &[Change], now_ms: i64) -> Result<Vec<Effect>, StoreError> {
        let concerns = |change: &Change| matches!(change, Change::Settle(settled) if settled.delivery == self.delivery);
        if changes.iter().any(concerns) {
            return Err(StoreError::Damaged { record: "a page".to_owned() });
        }
        self.store.apply(changes, now_ms)
    }

    fn merge(&mut self) -> Result<(), StoreError> {
        self.store.merge()
    }

    fn upkeep(&mut self, now_ms: i64) -> Result<Upkeep, StoreError> {
        self.store.upkeep(now_ms)
    }
}

struct DamagedFactory {
    inner: SqliteFactory,
    delivery: i64,
}

impl StoreFactory for DamagedFactory {
    fn writer(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(Damaged { store: self.inner.writer()?, delivery: self.delivery }))
    }

    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.inner.reader()
    }
}

#[tokio::test]
async fn a_change_that_meets_damage_does_not_hold_up_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = DamagedFactory { inner: factory(folder.path()), delivery: 2 };
    let Started { spool, mut notices } = start(&damaged, Clock::manual(1_000_000).0).unwrap();
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    send(&spool, fence, accept(1, (1..=3).map(|n| matched(n, &["a"])).collect())).await.unwrap();
    for new in created(&mut notices).await {
        spool.settle(delivered(new));
    }
    spool.finish().await;
    let counts = spool.read_long(|reader| reader.ledger()).await.unwrap().deliveries[0].1;
    assert_eq!((counts.delivered, counts.pending), (2, 1));
}

#[tokio::test]
async fn what_was_shelved_is_told_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let Started { spool, mut notices } = open(folder.path());
    let fence = spool.open(producer(), 1).await.unwrap().fence;
    send(&spool, fence, accept(1, (1..=3).map(|n| matched(n, &["a"])).collect())).await.unwrap();
    let made = created(&mut notices).await;
    assert!(spool.read(|reader| reader.due(&due(1))).await.unwrap().deliveries.is_empty(), "all are in hand");
    spool.shelve(vec![made[1].0]);
    let notice = notices.recv().await.unwrap();
    assert!(matches!(&notice, Notice::Shelved(deliveries) if *deliveries == [made[1].0]), "{notice:?}");
    let found = spool.read(|reader| reader.due(&due(1))).await.unwrap().deliveries;
    assert_eq!(found.iter().map(|delivery| delivery.delivery).collect::<Vec<_>>(), [made[1].0]);
}
