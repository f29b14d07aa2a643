//! Reports in random batches, and a list of them that is searched from end to end: both tell the same.

use std::{collections::HashMap, fs, path::Path};

use proptest::prelude::*;
use prost::Message as _;
use sluice_host::{clock::Clock, sealing::SecretsKey};
use sluice_proto::{
    delivery::v1::EndingOutcome,
    node::v1::{AttemptEnding, Report as Message, report},
    sync::v1::SyncHealth,
};

use super::*;
use crate::{
    figures::{
        health::Signs,
        rollup::{Counts, Resolution},
    },
    publish::Publisher,
    reports::chunk::Report,
    store::Reports,
    time::timestamp,
};

/// Five slots.
const SPAN_MS: i64 = 5 * 300_000;

#[derive(Clone, Debug)]
struct Told {
    sync: u8,
    event: u8,
    start_ms: i64,
    outcome: AttemptOutcome,
    ends: bool,
}

fn told() -> impl Strategy<Value = Told> {
    let outcome = prop_oneof![
        3 => Just(AttemptOutcome::Delivered),
        1 => Just(AttemptOutcome::RetryNow),
        1 => Just(AttemptOutcome::Expired)
    ];
    // Coarse, so that many begin at the same moment.
    (0..4_u8, 0..40_u8, 0..SPAN_MS / 1_000, outcome, any::<bool>()).prop_map(|(sync, event, at, outcome, ends)| Told {
        sync,
        event,
        start_ms: at * 1_000,
        outcome,
        ends,
    })
}

fn report(told: &Told, sequence: u64) -> Report {
    // Two projects of two syncs each.
    let delivery = format!("projects/p{}/syncs/s{}/deliveries/{sequence:032x}", told.sync / 2, told.sync);
    let attempt = Attempt {
        delivery,
        sync_uid: format!("u{}", told.sync),
        event_id: format!("{:032x}", told.event),
        outcome: told.outcome.into(),
        accept_time: Some(timestamp(told.start_ms)),
        start_time: Some(timestamp(told.start_ms)),
        ..Attempt::default()
    };
    let outcome = match told.outcome {
        AttemptOutcome::Delivered => EndingOutcome::Delivered,
        _ => EndingOutcome::Expired,
    };
    let end_time = Some(timestamp(told.start_ms + 5));
    let ending = AttemptEnding { outcome: outcome.into(), reason: 0, end_time, attempt_count: 1 };
    let message = Message { report: Some(report::Report::Attempt(attempt)), ending: told.ends.then_some(ending) };
    let encoded = Bytes::from(message.encode_to_vec());
    let Ok(Read::Kept(head)) = Read::of(encoded.clone()) else { panic!("an attempt") };
    Report { sequence, head, encoded }
}

/// Everything that `query` takes of these, the newest first, without the order among those of the same moment.
fn expected(all: &[Report], query: &AttemptQuery) -> Vec<(i64, Bytes)> {
    let mut found: Vec<_> = all
        .iter()
        .filter(|report| query.takes_report(&report.head))
        .map(|report| (report.head.at_ms(), report.encoded.clone()))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// The same from the store, page by page.
async fn listed(store: &Store, query: &AttemptQuery, page: usize) -> Vec<(i64, Bytes)> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let read = store.attempts(query, after, page).await.unwrap();
        let Some(last) = read.last() else { break };
        after = Some((last.start_ms, last.id));
        found.extend(read.into_iter().map(|listed| {
            let sequence = u64::from_str_radix(listed.attempt.delivery.rsplit('/').next().unwrap(), 16).unwrap();
            (listed.start_ms, sequence)
        }));
    }
    assert!(found.is_sorted_by(|a, b| a.0 >= b.0), "the newest first");
    found.sort_unstable();
    found.into_iter().rev().map(|(at_ms, sequence)| (at_ms, Bytes::copy_from_slice(&sequence.to_be_bytes()))).collect()
}

fn sequences(expected: Vec<(i64, Bytes)>) -> Vec<(i64, Bytes)> {
    let mut found: Vec<_> = expected
        .into_iter()
        .map(|(at_ms, report)| {
            let delivery = attempt(report).unwrap().delivery;
            (at_ms, u64::from_str_radix(delivery.rsplit('/').next().unwrap(), 16).unwrap())
        })
        .collect();
    found.sort_unstable();
    found.into_iter().rev().map(|(at_ms, sequence)| (at_ms, Bytes::copy_from_slice(&sequence.to_be_bytes()))).collect()
}

fn queries(told: &[Told]) -> Vec<AttemptQuery> {
    let all = |scope| AttemptQuery {
        scope,
        outcomes: Vec::new(),
        start_ms_inclusive: None,
        end_ms_exclusive: None,
        event_id: String::new(),
        delivery_id: String::new(),
    };
    let project = || all(AttemptScope::Project("p0".into()));
    let (from, to) = (SPAN_MS / 4, SPAN_MS / 4 * 3);
    let mut queries = vec![
        project(),
        all(AttemptScope::Sync("u3".into())),
        all(AttemptScope::Sync("u9".into())),
        AttemptQuery { outcomes: vec![AttemptOutcome::Delivered as i32], ..project() },
        AttemptQuery { outcomes: vec![AttemptOutcome::Expired as i32, AttemptOutcome::RetryNow as i32], ..project() },
        AttemptQuery { start_ms_inclusive: Some(from), end_ms_exclusive: Some(to), ..project() },
        AttemptQuery { delivery_id: format!("{:032x}", told.len()), ..project() },
    ];
    queries.extend((0..40).step_by(9).map(|event| AttemptQuery { event_id: format!("{event:032x}"), ..project() }));
    queries
}

async fn check(store: &Store, all: &[Report], told: &[Told]) {
    for query in queries(told) {
        for page in [1_000, 7] {
            assert_eq!(listed(store, &query, page).await, sequences(expected(all, &query)));
        }
    }
}

/// The same from what is on disk by now.
async fn check_after_crash(folder: &Path, key: &SecretsKey, all: &[Report]) {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|file| file.file_type().unwrap().is_file()) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let store = Store::open(copy.path(), key, Publisher::new(Clock::system())).await.unwrap();
    check_figures(&store, all).await;
    store.close().await;
}

async fn check_figures(store: &Store, all: &[Report]) {
    check_counts(store, all).await;
    let healths = store.healths(&["u0", "u1", "u2", "u3"]).await.unwrap();
    let attempts = all.iter().filter_map(|report| Some((report, report.head.attempt.as_ref()?.start_ms)));
    let mut expected: HashMap<String, Signs> = HashMap::new();
    for (report, start_ms) in attempts {
        let signs = expected.entry(String::from_utf8_lossy(&report.head.sync_uid).into_owned()).or_default();
        match report.head.fate() {
            Fate::Succeeded => signs.success(start_ms),
            Fate::Failed => signs.failure(&attempt(report.encoded.clone()).unwrap(), start_ms),
        }
    }
    assert_eq!(healths.len(), expected.len());
    for (uid, signs) in expected {
        let (told, expected) = (&healths[&uid], signs.after(&SyncHealth::default()));
        assert_eq!((told.state, told.last_success_time), (expected.state, expected.last_success_time));
        assert_eq!(told.failing_since, expected.failing_since);
    }
    let minutes = store.series("u1", Resolution::Minute, 0..SPAN_MS).await.unwrap();
    let mut sum = Counts::default();
    minutes.iter().for_each(|(_, counts)| sum.merge(counts));
    let (counts, _) = store.metrics("u1", 0, SPAN_MS, 0).await.unwrap();
    assert_eq!(sum, counts);
    assert!(minutes.is_sorted_by(|a, b| a.0 < b.0));
}

async fn check_counts(store: &Store, all: &[Report]) {
    // From within a slot to within another one: its edges are counted report by report.
    for (start_ms, end_ms) in [(7_000, 1_207_000), (61_001, 61_003), (0, SPAN_MS)] {
        let mut expected = Counts::default();
        for head in all.iter().map(|report| &report.head).filter(|head| head.sync_uid == "u1") {
            if let Some(attempt) = head.attempt.as_ref().filter(|one| (start_ms..end_ms).contains(&one.start_ms)) {
                expected.attempt(attempt.outcome);
            }
            if let Some(ended) = head.ended.filter(|ended| (start_ms..end_ms).contains(&ended.end_ms)) {
                expected.ending(&ended);
            }
        }
        let (counts, _) = store.metrics("u1", start_ms, end_ms, 0).await.unwrap();
        assert_eq!(counts, expected, "{start_ms}..{end_ms}");
    }
}

fn run(told: &[Told], batch: usize, before_ms: i64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretsKey::random();
        let store = Store::open(folder.path(), &key, Publisher::new(Clock::system())).await.unwrap();
        let all: Vec<Report> = told.iter().zip(1..).map(|(told, sequence)| report(told, sequence)).collect();
        for (first, piece) in (0..).step_by(batch).zip(told.chunks(batch)) {
            let kept: Vec<_> = piece.iter().zip(first + 1..).map(|(told, sequence)| report(told, sequence)).collect();
            let last_sequence = first + piece.len() as u64;
            let reports =
                Reports { spool_id: "s".into(), may_repeat_before: 1, last_sequence, kept, dropped: Vec::new() };
            assert_eq!(store.store_reports(reports).await.unwrap(), last_sequence);
        }
        check(&store, &all, told).await;
        check_figures(&store, &all).await;
        check_after_crash(folder.path(), &key, &all).await;
        store.write_figures().await.unwrap();
        check_figures(&store, &all).await;
        check_after_crash(folder.path(), &key, &all).await;
        while store.tidy_marks(i64::MAX, 3).await.unwrap() > 0 {}
        let runs: i64 = sqlx::query_scalar("SELECT count(*) FROM report_runs").fetch_one(&store.readers).await.unwrap();
        assert!(runs <= 10, "one of each slot and fate: {runs}");
        check(&store, &all, told).await;

        // Successes of whole chunks are forgotten up to a moment, failures stay.
        let mut gone = 0;
        loop {
            let (count, _) = store.forget_reports(Fate::Succeeded, i64::MIN, before_ms, 2).await.unwrap();
            if count == 0 {
                break;
            }
            gone += count;
        }
        let query = &queries(told)[0];
        let left = listed(&store, query, 1_000).await;
        let before: Vec<_> = sequences(expected(&all, query));
        let must_stay = before.iter().filter(|(at_ms, sequence)| {
            let told = &told[usize::try_from(u64::from_be_bytes(sequence[..].try_into().unwrap())).unwrap() - 1];
            *at_ms >= before_ms || told.outcome != AttemptOutcome::Delivered
        });
        assert!(must_stay.into_iter().all(|one| left.contains(one)));
        assert!(left.iter().all(|one| before.contains(one)));
        let old_success = |told: &&Told| {
            told.outcome == AttemptOutcome::Delivered && told.start_ms + 5 < (before_ms / 300_000) * 300_000
        };
        assert!(gone >= told.iter().filter(old_success).count() as u64, "{gone}");
        // What is left of nothing is cleared away.
        while store.forget_reports(Fate::Failed, i64::MIN, i64::MAX, 2).await.unwrap().0 > 0 {}
        while store.forget_reports(Fate::Succeeded, i64::MIN, i64::MAX, 2).await.unwrap().0 > 0 {}
        while store.tidy_marks(i64::MAX, 3).await.unwrap() > 0 {}
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM report_runs) + (SELECT count(*) FROM report_pages)
                 + (SELECT count(*) FROM report_chunks)",
        )
        .fetch_one(&store.readers)
        .await
        .unwrap();
        assert_eq!(left, 0);
        store.close().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("SLUICE_FULL").is_some() { 300 } else { 16 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn lists_and_counts_are_those_of_all_reports(
        told in prop::collection::vec(told(), 0..600),
        batch in 1..40_usize,
        before_ms in 0..SPAN_MS,
    ) {
        run(&told, batch, before_ms);
    }
}

#[test]
fn a_chunk_that_is_damaged_hides_nothing_else() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &SecretsKey::random(), Publisher::new(Clock::system())).await.unwrap();
        for sequence in 1..=3 {
            let told = Told { sync: 0, event: 1, start_ms: 1_000, outcome: AttemptOutcome::Delivered, ends: true };
            let kept = vec![report(&told, sequence)];
            let reports = Reports {
                spool_id: "s".into(),
                may_repeat_before: 1,
                last_sequence: sequence,
                kept,
                dropped: Vec::new(),
            };
            store.store_reports(reports).await.unwrap();
        }
        sqlx::query("UPDATE report_chunks SET body = zeroblob(length(body)) WHERE id = 2")
            .execute(&store.writer)
            .await
            .unwrap();
        let query = &queries(&[])[0];
        let found: Vec<_> = listed(&store, query, 10).await.into_iter().map(|(_, sequence)| sequence[7]).collect();
        assert_eq!(found, [3, 1]);
        store.close().await;
    });
}
