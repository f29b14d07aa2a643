//! Bytes flipped in the spool's file: what is damaged is named and lost alone, the rest is served.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod spool_support;

use std::{collections::HashSet, fs, path::Path};

use sluice_node::spool::{
    SpoolLimits, inspect,
    store::{Change, Created, DueQuery, Settled, Settlement, StoreError, StoreFactory as _},
};
use sluice_pipeline::{delivery::DeliveryState, event::EventId};
use sluice_proto::delivery::v1::{EndingOutcome, EndingReason};
use spool_support::{NOW_MS, Spool, accept, again, delivered, discarded, limits, matched};

/// Flips a bit where `text` is found in the file, `offset` bytes on.
fn flip(folder: &Path, text: &str, offset: usize) {
    let path = folder.join("spool.db");
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(text.as_bytes())).collect();
    assert!(!places.is_empty(), "{text} is in the file");
    for at in places {
        bytes[at + offset] ^= 1;
    }
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_in_a_chunk_damages_one_event() {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, (1..=20).map(|n| matched(n, &["a"], None)).collect()));
    let mut spool = spool.meanwhile(|folder| flip(folder, "00000007", 3));
    let due = spool.due(1);
    assert_eq!((due.deliveries.len(), due.damaged.len()), (19, 1));
    let damaged = due.damaged[0];
    assert_eq!((damaged.event, damaged.accept_ms), (EventId::new("default", "p", 7), NOW_MS));
    assert_eq!(spool.reader().stats().unwrap().damaged, 1);
    let report = inspect::verify(spool.path()).unwrap();
    assert_eq!((report.problem_count, report.events), (1, 20), "{report:?}");
    assert!(report.problems[0].contains("event 7 "), "{report:?}");

    // As the dispatcher ends it: a dead letter without its event.
    spool.apply(ended_as_damaged(damaged.delivery, damaged.event_row));
    let letters = spool.dead_letters();
    assert_eq!((letters.len(), letters[0].event, &letters[0].json), (1, damaged.event, &None));
    assert_eq!(spool.counts("a").pending, 19);
    assert_eq!(spool.reader().stats().unwrap().damaged, 1, "each is counted once");
}

fn ended_as_damaged(delivery: i64, event: i64) -> Change {
    let (outcome, reason, state) = (EndingOutcome::Discarded, EndingReason::Damaged, DeliveryState::new());
    let outcome = Settled::Ended { outcome, reason, state };
    Change::Settle(Settlement { delivery, event, lane: 1, body: None, outcome, reports: Vec::new() })
}

#[test]
fn flipped_reports_are_skipped_and_the_others_are_told() {
    let mut spool = Spool::new(limits());
    let made = spool.created(accept(1, (1..=3).map(|n| matched(n, &["a"], None)).collect()));
    for new in &made {
        spool.apply(delivered(new));
    }
    let mut spool = spool.meanwhile(|folder| flip(folder, "report of 2", 0));
    let first = spool.reader().reports(0, 10).unwrap();
    assert_eq!((first.first_sequence, first.reports.len()), (1, 1));
    let rest = spool.reader().reports(2, 10).unwrap();
    assert_eq!((rest.first_sequence, rest.reports.len(), rest.next_sequence), (3, 1, 4));
    assert_eq!(spool.reader().stats().unwrap().damaged, 1);
    spool.apply(Change::AckReports { sequence_inclusive: 3 });
    assert_eq!(spool.reader().stats().unwrap().reports, 0, "the damaged ones go with the others");
    spool.verify();
}

#[test]
fn a_chunk_whose_entries_are_damaged_is_lost_and_the_ledger_says_so() {
    let mut spool = Spool::new(limits());
    let first = spool.created(accept(1, (1..=5).map(|n| matched(n, &["a"], None)).collect()));
    spool.apply(again(&first[0], NOW_MS));
    spool.created(accept(6, (6..=8).map(|n| matched(n, &["a", "b"], None)).collect()));
    let spool = spool.meanwhile(|folder| {
        let connection = rusqlite::Connection::open(folder.join("spool.db")).unwrap();
        let changed = connection.execute("UPDATE chunks SET crc = crc + 1 WHERE chunk = 6", []).unwrap();
        assert_eq!(changed, 1);
    });
    let (a, b) = (spool.counts("a"), spool.counts("b"));
    assert_eq!((a.created, a.pending, a.discarded), (8, 5, 3));
    assert_eq!((b.created, b.pending, b.discarded), (3, 0, 3));
    assert_eq!(spool.due(1).deliveries.len(), 5);
    assert_eq!(spool.reader().stats().unwrap().damaged, 1);
    spool.verify();
}

#[test]
fn a_damaged_position_of_a_producer_counts_as_none() {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, vec![matched(1, &["a"], None)]));
    let mut spool = spool.meanwhile(|folder| {
        let connection = rusqlite::Connection::open(folder.join("spool.db")).unwrap();
        connection.execute("UPDATE producers SET next_sequence = 900", []).unwrap();
    });
    let report = inspect::verify(spool.path()).unwrap();
    assert_eq!(report.problems, ["producer p is damaged"]);
    // It is believed again, and what it sends keeps its ids.
    let made = spool.created(accept(2, vec![matched(2, &["a"], None)]));
    assert_eq!(made[0].event.id, EventId::new("default", "p", 2));
}

/// A spool with something in every table.
fn rich(limits: SpoolLimits) -> Spool {
    let mut spool = Spool::new(limits);
    let mut made = Vec::new();
    for first in (1..=60).step_by(20) {
        made.extend(spool.created(accept(
            first,
            (first..first + 20).map(|n| matched(n, &["a", "b"], Some(u128::from(n).to_le_bytes()))).collect(),
        )));
    }
    for (index, new) in made.iter().enumerate() {
        match index % 5 {
            0 => drop(spool.apply(delivered(new))),
            1 => drop(spool.apply(again(new, NOW_MS + index as i64))),
            2 => drop(spool.apply(discarded(new, EndingReason::Render))),
            _ => {}
        }
    }
    spool
}

/// Whatever byte is flipped: opening, reading, settling and housekeeping end, and what is served is what was accepted.
#[test]
fn no_flipped_byte_is_served_or_stops_the_spool() {
    let flips = if std::env::var_os("SLUICE_FULL").is_some() { 4_000 } else { 100 };
    let folder = {
        let spool = rich(limits());
        let kept = tempfile::tempdir().unwrap();
        spool.meanwhile(|folder| {
            fs::copy(folder.join("spool.db"), kept.path().join("spool.db")).unwrap();
        });
        kept
    };
    // The same, and a journal whose commits the tables do not have.
    let crashed = {
        let mut spool = rich(limits());
        let made = spool.created(accept(61, (61..=64).map(|n| matched(n, &["a", "b"], Some([9; 16]))).collect()));
        spool.apply_all(vec![delivered(&made[0]), Change::AckReports { sequence_inclusive: 30 }]);
        assert_eq!(inspect::verify(spool.path()).unwrap().commits_in_journal, 2);
        let kept = tempfile::tempdir().unwrap();
        spool.crashed(|folder| {
            for file in ["spool.db", "spool.journal"] {
                fs::copy(folder.join(file), kept.path().join(file)).unwrap();
            }
        });
        kept
    };
    let journal = fs::read(crashed.path().join("spool.journal")).unwrap();
    let whole = [folder, crashed].map(|folder| fs::read(folder.path().join("spool.db")).unwrap());
    let (mut opened, mut lost) = (0, 0);
    for n in 0..flips {
        let whole = &whole[n % 2];
        // Spread over the file, each time another bit.
        let at = (n * 2_654_435_761_usize) % whole.len();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (n % 8);
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join("spool.db"), bytes).unwrap();
        if n % 2 == 1 {
            fs::write(copy.path().join("spool.journal"), &journal).unwrap();
        }
        let Ok((served, damaged)) = use_it(copy.path()) else { continue };
        opened += 1;
        lost += damaged;
        assert!(served + damaged <= 200, "byte {at}: {served} served, {damaged} damaged");
    }
    assert!(opened * 10 > flips * 8, "only {opened} of {flips} could be opened");
    assert!(lost > 0, "some flips hit events");
}

/// Opens and uses a spool that may be damaged anywhere; gives how many deliveries it served and how many are damaged.
fn use_it(folder: &Path) -> Result<(usize, usize), StoreError> {
    let _ = inspect::verify(folder);
    let factory = spool_support::factory(folder, limits());
    let mut store = factory.writer()?;
    let reader = factory.reader()?;
    let _ = (reader.ledger(), reader.stats(), reader.reports(0, 100), reader.catalog());
    let (mut served, mut damaged) = (0, 0);
    for row in reader.lanes()? {
        let query =
            DueQuery { lane: row.lane, now_ms: i64::MAX, except: HashSet::new(), limit: 1_000, max_bytes: usize::MAX };
        let Ok(due) = reader.due(&query) else { continue };
        for delivery in &due.deliveries {
            let sequence: u64 = std::str::from_utf8(&delivery.event.json[6..14]).unwrap().parse().unwrap();
            assert_eq!(delivery.event.id, EventId::new("default", "p", sequence), "never served damaged");
        }
        served += due.deliveries.len();
        damaged += due.damaged.len();
        // All at once, and where that meets damage one by one, as the writer does it.
        let new = due.deliveries.into_iter().map(|delivery| Created {
            delivery: delivery.delivery,
            event_row: delivery.event_row,
            lane: row.lane,
            key: row.key.clone(),
            event: delivery.event,
        });
        let changes: Vec<Change> = new.map(|new| delivered(&new)).collect();
        if let Err(error) = store.apply(&changes, NOW_MS) {
            assert!(error.is_damage(), "{error:?}");
            for change in changes {
                if let Err(error) = store.apply(&[change], NOW_MS) {
                    assert!(error.is_damage(), "{error:?}");
                }
            }
        }
    }
    for _ in 0..1_000 {
        match store.upkeep(NOW_MS + 20_000) {
            Ok(upkeep) if !upkeep.more => break,
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_damage(), "{error:?}");
                break;
            }
        }
    }
    Ok((served, damaged))
}
