//! A store with its reader in a folder of its own, and short ways to say changes.

#![allow(dead_code)]

use std::{cell::RefCell, collections::HashSet, io, path::Path, sync::Arc};

use bytes::Bytes;
use sluice_node::{
    report::Reporter,
    spool::{
        SpoolLimits, SqliteFactory, inspect,
        store::{
            Accept, Change, Created, DeadLetterQuery, DeadLetterRow, DeliveryCounts, Due, DueQuery, Effect, InsertKey,
            Item, LaneKey, Matched, Producer, Selection, Settled, Settlement, Store, StoreError, StoreFactory as _,
            StoreReader, StoredEvent, Target,
        },
    },
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};
use tempfile::TempDir;

pub(crate) const NOW_MS: i64 = 1_000_000_000;

/// A store.
pub(crate) struct Spool {
    folder: TempDir,
    factory: SqliteFactory,
    store: RefCell<Option<Box<dyn Store>>>,
    reader: Box<dyn StoreReader>,
    pub(crate) now_ms: i64,
    next_sequence: u64,
}

/// The default ones without a reserve.
pub(crate) fn limits() -> SpoolLimits {
    SpoolLimits { reserve_bytes: 0, ..SpoolLimits::default() }
}

pub(crate) fn factory(folder: &Path, limits: SpoolLimits) -> SqliteFactory {
    SqliteFactory::new(folder, Reporter::new("nodes/n1", "i1"), limits)
}

impl Spool {
    pub(crate) fn new(limits: SpoolLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let factory = factory(folder.path(), limits);
        Self::open(folder, factory)
    }

    pub(crate) fn with_free_space(
        limits: SpoolLimits,
        free_space: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let factory = factory(folder.path(), limits).with_free_space(free_space);
        Self::open(folder, factory)
    }

    fn open(folder: TempDir, factory: SqliteFactory) -> Self {
        let store = RefCell::new(Some(factory.writer().unwrap()));
        let reader = factory.reader().unwrap();
        Self { folder, factory, store, reader, now_ms: NOW_MS, next_sequence: 1 }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Finds everything that was committed.
    pub(crate) fn reader(&self) -> &dyn StoreReader {
        self.store.borrow_mut().as_mut().unwrap().merge().unwrap();
        &*self.reader
    }

    /// As after a crash: what the journal alone has stays there.
    pub(crate) fn reopen(&mut self) {
        drop(self.store.take());
        self.store = RefCell::new(Some(self.factory.writer().unwrap()));
        self.reader = self.factory.reader().unwrap();
    }

    /// Stops it, has something done to its files, and opens it again.
    pub(crate) fn meanwhile(self, work: impl FnOnce(&Path)) -> Self {
        self.store.borrow_mut().as_mut().unwrap().checkpoint().unwrap();
        self.crashed(work)
    }

    /// The same without a word to it before.
    pub(crate) fn crashed(self, work: impl FnOnce(&Path)) -> Self {
        let Self { folder, factory, store, reader, now_ms, next_sequence } = self;
        // The writer goes last: it copies the log back.
        drop(reader);
        drop(store);
        work(folder.path());
        Self { now_ms, next_sequence, ..Self::open(folder, factory) }
    }

    pub(crate) fn try_apply(&mut self, changes: &[Change]) -> Result<Vec<Effect>, StoreError> {
        for change in changes {
            if let Change::Accept(accept) = change {
                self.next_sequence = self.next_sequence.max(accept.first_sequence + accept.items.len() as u64);
            }
        }
        self.store.get_mut().as_mut().unwrap().apply(changes, self.now_ms)
    }

    pub(crate) fn apply_all(&mut self, changes: Vec<Change>) -> Vec<Effect> {
        self.try_apply(&changes).unwrap()
    }

    pub(crate) fn apply(&mut self, change: Change) -> Effect {
        self.apply_all(vec![change]).remove(0)
    }

    pub(crate) fn created(&mut self, change: Change) -> Vec<Created> {
        match self.apply(change) {
            Effect::Accepted { created, .. } => created,
            effect => panic!("not accepted: {effect:?}"),
        }
    }

    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(crate) fn upkeep(&mut self) {
        while self.upkeep_once() {}
    }

    /// One piece; gives whether there may be more.
    pub(crate) fn upkeep_once(&mut self) -> bool {
        self.store.get_mut().as_mut().unwrap().upkeep(self.now_ms).unwrap().more
    }

    pub(crate) fn due(&self, lane: i64) -> Due {
        let query = DueQuery { lane, now_ms: i64::MAX, except: HashSet::new(), limit: 10_000, max_bytes: usize::MAX };
        self.reader().due(&query).unwrap()
    }

    pub(crate) fn counts(&self, uid: &str) -> DeliveryCounts {
        let ledger = self.reader().ledger().unwrap();
        ledger.deliveries.into_iter().find(|(key, _)| &*key.uid == uid).unwrap().1
    }

    pub(crate) fn dead_letters(&self) -> Vec<DeadLetterRow> {
        let selection = Selection { project: "default".to_owned(), ..Selection::default() };
        let query =
            DeadLetterQuery { selection, cursor_exclusive: 0, limit: 1_000, max_bytes: usize::MAX, with_events: true };
        self.reader().dead_letters(&query).unwrap().letters
    }

    /// Every record is whole and every count is right.
    pub(crate) fn verify(&self) {
        self.reader();
        let report = inspect::verify(self.path()).unwrap();
        assert!(report.is_whole(), "{report:#?}");
    }
}

pub(crate) fn producer(project: &str) -> Producer {
    Producer { project: project.into(), id: "p".into() }
}

pub(crate) fn accept(first_sequence: u64, items: Vec<Item>) -> Change {
    accept_of("default", first_sequence, items)
}

pub(crate) fn accept_of(project: &str, first_sequence: u64, items: Vec<Item>) -> Change {
    Change::Accept(Accept { producer: Some(producer(project)), project: project.into(), first_sequence, items })
}

pub(crate) fn unmatched(key: Option<InsertKey>) -> Item {
    Item::Unmatched { key }
}

pub(crate) fn matched(sequence: u64, lanes: &[&str], key: Option<InsertKey>) -> Item {
    item("default", sequence, lanes, key, 20)
}

/// An event of that many bytes.
pub(crate) fn sized(sequence: u64, lanes: &[&str], bytes: usize) -> Item {
    item("default", sequence, lanes, None, bytes)
}

/// An event of another project that goes to a lane of its name.
pub(crate) fn sized_of(project: &str, sequence: u64, bytes: usize) -> Item {
    item(project, sequence, &[project], None, bytes)
}

fn item(project: &str, sequence: u64, lanes: &[&str], key: Option<InsertKey>, bytes: usize) -> Item {
    let mut json = format!("{{\"n\":\"{sequence:08}");
    json.extend(std::iter::repeat_n('x', bytes.saturating_sub(json.len() + 2)));
    json.push_str("\"}");
    let event = StoredEvent {
        id: EventId::new(project, "p", sequence),
        accept_ms: NOW_MS,
        event_type: "a".to_owned(),
        json: Bytes::from(json),
        traceparent: String::new(),
        tracestate: String::new(),
    };
    let target = |uid: &&str| Target {
        key: LaneKey { uid: (*uid).into(), name: format!("projects/{project}/syncs/{uid}").into() },
        refuse_from: None,
    };
    Item::Matched(Box::new(Matched { event: Arc::new(event), key, lanes: lanes.iter().map(target).collect() }))
}

pub(crate) fn delivered(new: &Created) -> Change {
    ended(new, EndingOutcome::Delivered, EndingReason::Unspecified)
}

pub(crate) fn discarded(new: &Created, reason: EndingReason) -> Change {
    ended(new, EndingOutcome::Discarded, reason)
}

/// Another round is due then.
pub(crate) fn again(new: &Created, due_ms: i64) -> Change {
    settle(new, Settled::Again { state: DeliveryState { round: 2, attempts: 1, ..DeliveryState::new() }, due_ms })
}

fn ended(new: &Created, outcome: EndingOutcome, reason: EndingReason) -> Change {
    settle(new, Settled::Ended { outcome, reason, state: DeliveryState::new() })
}

fn settle(new: &Created, outcome: Settled) -> Change {
    Change::Settle(Settlement {
        delivery: new.delivery,
        event: new.event_row,
        lane: new.lane,
        body: Some(new.event.clone()),
        outcome,
        reports: vec![Bytes::from(format!("report of {}", new.delivery))],
    })
}
