//! What the journal alone has: found after a crash, whatever of it was torn or has rotted.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod spool_support;

use std::{fs, path::Path};

use sluice_node::spool::{
    inspect,
    store::{Change, Effect},
};
use spool_support::{NOW_MS, Spool, accept, again, delivered, limits, matched, producer, sized, unmatched};

/// Where entries begin; those of generations before are among them.
fn entries(folder: &Path) -> Vec<usize> {
    let bytes = fs::read(folder.join("spool.journal")).unwrap();
    (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"SlJ1")).collect()
}

fn flip(folder: &Path, at: usize) {
    let path = folder.join("spool.journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// One commit in the tables, since the lane and the producer were new to them, and so many in the journal alone: of three events each.
fn with_commits(count: u64) -> Spool {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, vec![matched(1, &["a"], None)]));
    for n in 0..count {
        let first = 2 + 3 * n;
        spool.created(accept(first, (first..first + 3).map(|n| matched(n, &["a"], None)).collect()));
    }
    spool
}

#[test]
fn everything_is_found_after_a_crash() {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, vec![matched(1, &["a", "b"], None)]));
    let key = Some([7; 16]);
    let made = spool.created(accept(2, vec![matched(2, &["a", "b"], key), unmatched(None), matched(4, &["a"], None)]));
    // One chunk is over before any table has seen it, of another a part is.
    let over = spool.created(accept(5, vec![matched(5, &["b"], None)]));
    spool.apply(delivered(&over[0]));
    spool.apply_all(vec![delivered(&made[0]), Change::AckReports { sequence_inclusive: 1 }]);
    assert_eq!(inspect::verify(spool.path()).unwrap().commits_in_journal, 4);

    let mut spool = spool.crashed(|_| ());
    assert_eq!(inspect::verify(spool.path()).unwrap().commits_in_journal, 0, "the start takes them over");
    let (a, b) = (spool.counts("a"), spool.counts("b"));
    assert_eq!((a.created, a.delivered, a.pending), (3, 1, 2));
    assert_eq!((b.created, b.delivered, b.pending), (3, 1, 2));
    assert_eq!((spool.due(1).deliveries.len(), spool.due(2).deliveries.len()), (2, 2));
    let reports = spool.reader().reports(0, 10).unwrap();
    assert_eq!((reports.first_sequence, reports.reports.len(), reports.next_sequence), (2, 1, 3));
    let events = spool.reader().ledger().unwrap().events;
    assert_eq!((events.received, events.matched, events.unmatched), (5, 4, 1));
    let opened = spool.apply(Change::Open { producer: producer("default"), first_sequence: 1 });
    assert!(matches!(opened, Effect::Opened { known: true, next_sequence: 6 }), "{opened:?}");
    assert!(spool.created(accept(6, vec![matched(6, &["a"], key)])).is_empty(), "the key is known");
    assert_eq!(spool.reader().stats().unwrap().damaged, 0);
    spool.verify();
}

#[test]
fn what_follows_a_crash_is_found_after_the_next_one() {
    let mut spool = with_commits(2);
    for round in 0..3 {
        spool = spool.crashed(|_| ());
        let next = spool.next_sequence().max(8 + round);
        let made = spool.created(accept(next, vec![matched(next, &["a"], None)]));
        spool.apply(delivered(&made[0]));
    }
    let spool = spool.crashed(|_| ());
    let counts = spool.counts("a");
    assert_eq!((counts.created, counts.delivered, counts.pending), (10, 3, 7));
    spool.verify();
}

/// What the tables have of chunks: how many, and bytes of their events.
fn chunks_in_tables(spool: &Spool) -> (i64, i64) {
    let tables = rusqlite::Connection::open(spool.path().join("spool.db")).unwrap();
    tables
        .query_row("SELECT COUNT(*), COALESCE(SUM(length(body)), 0) FROM chunks", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap()
}

#[test]
fn the_tables_get_no_event_that_nobody_waits_for_any_more() {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, vec![matched(1, &["a", "b"], None)]));
    spool.upkeep();
    let (_, before) = chunks_in_tables(&spool);
    // Of one event of these, one delivery of two is open; two are over.
    let events = vec![sized(2, &["a"], 10_000), sized(3, &["b", "a"], 3_000), sized(4, &["a"], 10_000)];
    let made = spool.created(accept(2, events));
    spool.apply_all([&made[0], &made[1], &made[3]].into_iter().map(delivered).collect());
    spool.upkeep();
    let (_, after) = chunks_in_tables(&spool);
    assert!((3_000..4_000).contains(&(after - before)), "{before} {after}");
    spool.verify();

    // What becomes of it is found all the same, here and after a crash.
    let mut spool = spool.crashed(|_| ());
    let due = spool.due(1).deliveries;
    assert_eq!(due.iter().map(|due| due.event.json.len()).collect::<Vec<_>>(), [20, 3_000]);
    spool.apply(again(&made[2], NOW_MS));
    assert_eq!((spool.counts("a").pending, spool.counts("a").delivered, spool.counts("b").pending), (2, 2, 1));
    spool.verify();
}

#[test]
fn many_chunks_are_taken_over_in_pieces_and_a_crash_between_them_loses_nothing() {
    for pieces in 0..5 {
        let mut spool = Spool::new(limits());
        spool.created(accept(1, vec![matched(1, &["a"], None)]));
        spool.upkeep();
        let made: Vec<_> = (0..200)
            .map(|n| spool.created(accept(2 + 2 * n, (0..2).map(|k| matched(2 + 2 * n + k, &["a"], None)).collect())))
            .collect();
        spool.apply_all(made.iter().map(|made| delivered(&made[0])).collect());
        for piece in 1..=pieces {
            assert_eq!(spool.upkeep_once(), piece <= 3);
            assert_eq!(chunks_in_tables(&spool).0, (1 + 64 * piece).min(201));
            let found = inspect::verify(spool.path()).unwrap();
            assert!(found.is_whole(), "in the middle of it, too: {found:#?}");
        }
        // Chunks that are over, of those that the tables have by now and of the others.
        for chunk in [0, 63, 64, 150, 199] {
            spool.apply(delivered(&made[chunk][1]));
        }
        let spool = spool.crashed(|_| ());
        let counts = spool.counts("a");
        assert_eq!((counts.created, counts.delivered, counts.pending), (401, 205, 196), "after {pieces} pieces");
        assert_eq!(spool.due(1).deliveries.len(), 196);
        spool.verify();
    }
}

#[test]
fn what_a_piece_has_is_served_even_if_the_journal_is_lost() {
    let mut spool = Spool::new(limits());
    spool.created(accept(1, vec![matched(1, &["a"], None)]));
    spool.upkeep();
    for n in 2..102 {
        spool.created(accept(n, vec![matched(n, &["a"], None)]));
    }
    assert!(spool.upkeep_once());
    let mut spool = spool.crashed(|folder| fs::remove_file(folder.join("spool.journal")).unwrap());
    assert_eq!((spool.counts("a").pending, spool.due(1).deliveries.len()), (65, 65));
    spool.verify();
    // What comes now has ids of its own, though the producer stands where it stood.
    let made = spool.created(accept(2, vec![sized(2, &["a"], 500)]));
    spool.apply(again(&made[0], NOW_MS));
    let lengths: Vec<_> = spool.due(1).deliveries.iter().map(|due| due.event.json.len()).collect();
    assert_eq!((lengths.len(), lengths.iter().filter(|length| **length == 500).count()), (66, 1));
    spool.verify();
}

#[test]
fn keys_of_many_commits_are_one_row_and_known_after_a_crash() {
    let mut spool = Spool::new(limits());
    let key = |n: u64| Some(u128::from(n).to_le_bytes());
    spool.created(accept(1, vec![matched(1, &["a"], key(1))]));
    for n in 2..100 {
        spool.now_ms += 5;
        spool.created(accept(n, vec![matched(n, &["a"], key(n))]));
    }
    spool.upkeep();
    let tables = rusqlite::Connection::open(spool.path().join("spool.db")).unwrap();
    let rows: i64 = tables.query_row("SELECT COUNT(*) FROM keys", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
    drop(tables);
    let mut spool = spool.crashed(|_| ());
    assert!((1..100).all(|n| spool.created(accept(99 + n, vec![matched(1, &["a"], key(n))])).is_empty()));
    assert_eq!(spool.created(accept(199, vec![matched(199, &["a"], key(199))])).len(), 1);
    spool.verify();
}

#[test]
fn a_torn_end_is_as_if_it_had_never_been() {
    for cut in [1, 600] {
        let spool = with_commits(3);
        let spool = spool.crashed(|folder| {
            let last = *entries(folder).last().unwrap();
            let file = fs::OpenOptions::new().write(true).open(folder.join("spool.journal")).unwrap();
            file.set_len((last + cut) as u64).unwrap();
        });
        let counts = spool.counts("a");
        assert_eq!((counts.created, counts.pending), (7, 7));
        assert_eq!(spool.due(1).deliveries.len(), 7);
        assert_eq!(spool.reader().stats().unwrap().damaged, 0, "no crash is damage");
        spool.verify();
    }
}

#[test]
fn an_entry_that_has_rotted_is_lost_alone_and_the_ledger_says_so() {
    let spool = with_commits(3);
    let spool = spool.crashed(|folder| {
        let second = entries(folder)[1];
        flip(folder, second + 100);
        assert_eq!(inspect::verify(folder).unwrap().problems, ["the journal: commits at 1 places cannot be read"]);
    });
    let counts = spool.counts("a");
    assert_eq!((counts.created, counts.pending, counts.discarded), (10, 7, 3));
    assert_eq!(spool.due(1).deliveries.len(), 7);
    assert_eq!(spool.reader().stats().unwrap().damaged, 1);
    spool.verify();
}

#[test]
fn whatever_byte_rots_the_spool_opens_and_serves_what_is_whole() {
    let flips = if std::env::var_os("SLUICE_FULL").is_some() { 2_000 } else { 60 };
    for n in 0..flips {
        let mut spool = with_commits(3);
        let more = spool.created(accept(11, vec![matched(11, &["a"], None)]));
        spool.apply(delivered(&more[0]));
        let spool = spool.crashed(|folder| {
            let length = fs::metadata(folder.join("spool.journal")).unwrap().len() as usize;
            flip(folder, (n * 2_654_435_761) % length);
        });
        let counts = spool.counts("a");
        let served = spool.due(1).deliveries.len() as i64;
        // A round whose outcome was lost is made again.
        assert!(served <= 11 && served == counts.pending, "{n}: {served} served, {counts:?}");
        spool.verify();
    }
}

#[test]
fn a_chunk_that_cannot_be_read_any_more_holds_up_nothing_else() {
    let mut spool = with_commits(1);
    let made = spool.created(accept(5, vec![matched(5, &["a"], None)]));
    fs::File::options().write(true).open(spool.path().join("spool.journal")).unwrap().set_len(0).unwrap();
    // The tables take over what they can: a row is made for this one, whose event is in memory.
    spool.apply(again(&made[0], NOW_MS));
    assert_eq!(spool.counts("a").pending, 5);
    spool.reopen();
    let due = spool.due(1);
    assert_eq!((due.deliveries.len(), due.damaged.len()), (2, 3));
    assert!(spool.reader().stats().unwrap().damaged >= 3);
}

#[test]
fn a_chunk_that_cannot_be_taken_off_holds_up_nothing_and_is_counted_again() {
    let mut spool = Spool::new(limits());
    let waits = spool.created(accept(1, vec![matched(1, &["a"], None)]));
    let made = spool.created(accept(2, (2..=4).map(|n| matched(n, &["a"], None)).collect()));
    assert_eq!(spool.counts("a").pending, 4, "the tables have them");
    spool.apply_all(made.iter().map(delivered).collect());
    // As a page of theirs that has rotted.
    let tables = rusqlite::Connection::open(spool.path().join("spool.db")).unwrap();
    let rotten = format!(
        "CREATE TRIGGER rotten BEFORE DELETE ON chunks WHEN OLD.chunk = {} BEGIN SELECT RAISE(ABORT, 'rotten'); END",
        made[0].delivery
    );
    tables.execute_batch(&rotten).unwrap();
    spool.apply(again(&waits[0], NOW_MS));
    let counts = spool.counts("a");
    assert_eq!((counts.delivered, counts.pending), (3, 1));
    tables.execute_batch("DROP TRIGGER rotten").unwrap();
    drop(tables);

    let spool = spool.crashed(|_| ());
    // What it was told of them lies in the chunk no more: they are made again.
    let counts = spool.counts("a");
    assert_eq!((counts.created, counts.delivered, counts.pending), (4, 0, 4));
    assert_eq!(spool.due(1).deliveries.len(), 4);
    spool.verify();
}

#[test]
fn the_journal_of_another_spool_counts_as_none() {
    let other = with_commits(3);
    let spool = with_commits(2);
    let spool = spool.crashed(|folder| {
        fs::copy(other.path().join("spool.journal"), folder.join("spool.journal")).unwrap();
    });
    assert_eq!(spool.counts("a").created, 1, "what the tables had");
    spool.verify();
}

#[test]
fn a_journal_of_a_later_state_than_the_tables_is_told() {
    let mut spool = with_commits(2);
    let copy = tempfile::tempdir().unwrap();
    spool = spool.meanwhile(|folder| {
        fs::copy(folder.join("spool.db"), copy.path().join("spool.db")).unwrap();
    });
    // The tables go on, and the journal with them.
    let made = spool.created(accept(8, vec![matched(8, &["a"], None)]));
    spool.apply(again(&made[0], NOW_MS));
    spool.created(accept(9, vec![matched(9, &["a"], None)]));
    let spool = spool.crashed(|folder| {
        fs::copy(copy.path().join("spool.db"), folder.join("spool.db")).unwrap();
        for beside in ["spool.db-wal", "spool.db-shm"] {
            let _ = fs::remove_file(folder.join(beside));
        }
        assert_eq!(
            inspect::verify(folder).unwrap().problems,
            ["the journal is of a later state than the database file"]
        );
    });
    assert_eq!(spool.counts("a").created, 7);
    assert_eq!(spool.reader().stats().unwrap().damaged, 1);
    spool.verify();
}
