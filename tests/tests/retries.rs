//! Rounds and attempts as the retry policy has them, on a clock that moves only when told.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use sluice_proto::delivery::v1::{Attempt, AttemptError, AttemptOutcome};
use sluice_tests::{
    cluster::{Cluster, START_MS},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
};

const MINUTE_MS: i64 = 60_000;

fn start_ms(attempt: &Attempt) -> i64 {
    let time = attempt.start_time.as_ref().unwrap();
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}

#[tokio::test]
async fn two_500s_then_200_are_one_round_of_three_attempts() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(500), status(500)]);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;

    let first = cluster.time.now_ms();
    let second = cluster.time.advance_to_next("quick retry").await;
    let third = cluster.time.advance_to_next("quick retry").await;
    assert!((50..=150).contains(&(second - first)), "{}", second - first);
    assert!((100..=300).contains(&(third - second)), "{}", third - second);

    let received = endpoint.wait_for(3).await;
    let ids: Vec<_> = received.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()));
    let attempts = cluster.wait_for_attempts("s", 3).await;
    let facts: Vec<_> = attempts
        .iter()
        .map(|attempt| (attempt.round, attempt.attempt, attempt.outcome(), attempt.http_status))
        .collect();
    assert_eq!(
        facts,
        [
            (1, 1, AttemptOutcome::RetryNow, 500),
            (1, 2, AttemptOutcome::RetryNow, 500),
            (1, 3, AttemptOutcome::Delivered, 200)
        ]
    );
    cluster.settled().await;
    let metrics = cluster.metrics("s").await;
    assert_eq!((metrics.delivered_count, metrics.delivered_after_retry_count, metrics.attempt_count), (1, 1, 3));
}

#[tokio::test]
async fn a_400_is_one_attempt_a_round_and_the_next_round_a_minute_later() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400).body("no such field"));
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;

    let attempts = cluster.wait_for_attempts("s", 1).await;
    assert_eq!((attempts[0].round, attempts[0].attempt, attempts[0].http_status), (1, 1, 400));
    assert_eq!(attempts[0].outcome(), AttemptOutcome::RetryNextRound);
    assert_eq!(&attempts[0].response_excerpt[..], b"no such field");
    let due = attempts[0].next_round_time.as_ref().unwrap().seconds - START_MS / 1_000;
    assert!((54..=66).contains(&due), "next round after {due} s");

    cluster.time.advance_to_next("next round").await;
    let attempts = cluster.wait_for_attempts("s", 2).await;
    assert_eq!((attempts[1].round, attempts[1].attempt), (2, 1));
    let gap = start_ms(&attempts[1]) - start_ms(&attempts[0]);
    assert!((54_000..=66_000).contains(&gap), "second round after {gap} ms");
    assert_eq!(endpoint.received().len(), 2);
}

#[tokio::test]
async fn ten_rounds_in_four_hours_then_it_expires() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(404));
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    for round in 1..10 {
        cluster.wait_for_attempts("s", round).await;
        cluster.time.advance_to_next("next round").await;
    }
    let attempts = cluster.wait_for_attempts("s", 10).await;
    let rounds: Vec<_> = attempts.iter().map(|attempt| attempt.round).collect();
    assert_eq!(rounds, (1..=10).collect::<Vec<_>>());
    assert_eq!(attempts[9].outcome(), AttemptOutcome::Expired);
    let due = [0, 1, 3, 7, 15, 30, 60, 105, 165, 240];
    for (attempt, (due, before)) in attempts.iter().zip(due.iter().zip([&0].into_iter().chain(&due))) {
        let at = start_ms(attempt) - START_MS;
        let jitter = (due - before) * MINUTE_MS / 10;
        assert!((at - due * MINUTE_MS).abs() <= jitter, "round {} at {at} ms", attempt.round);
    }
    assert!(start_ms(&attempts[9]) <= START_MS + 240 * MINUTE_MS, "the last round's jitter goes down only");

    let ledger = cluster.settled().await;
    assert_eq!(ledger.deliveries[0].1.expired, 1);
    assert_eq!(cluster.metrics("s").await.expired_count, 1);
    assert_eq!(endpoint.received().len(), 10);
}

#[tokio::test]
async fn due_times_survive_a_restart() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(400)]);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    let due = cluster.wait_for_attempts("s", 1).await[0].next_round_time.as_ref().unwrap().seconds;
    cluster.stop_node().await;
    cluster.start_node().await;
    let woken = cluster.time.advance_to_next("next round").await;
    assert_eq!(woken / 1_000, due, "the round is made when it was due before the restart");
    assert_eq!(endpoint.wait_for(2).await[1].body, event("a", "u"));
    cluster.settled().await;
}

#[tokio::test]
async fn missed_rounds_merge_into_one() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400));
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    cluster.wait_for_attempts("s", 1).await;
    cluster.stop_node().await;
    // Rounds 2 to 8 pass while the node is down.
    cluster.time.advance(std::time::Duration::from_secs(110 * 60));
    cluster.start_node().await;
    let attempts = cluster.wait_for_attempts("s", 2).await;
    let next = attempts[1].next_round_time.as_ref().unwrap().seconds - START_MS / 1_000;
    assert!((159 * 60..=171 * 60).contains(&next), "the next one is the ninth, after {next} s");
    assert_eq!(endpoint.received().len(), 2);
}

#[tokio::test]
async fn retry_after_moves_the_next_round() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(429).header("retry-after", "600")]);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    let attempts = cluster.wait_for_attempts("s", 1).await;
    assert_eq!(attempts[0].outcome(), AttemptOutcome::RetryNextRound, "longer than the quick wait: the round is over");
    assert_eq!(attempts[0].next_round_time.as_ref().unwrap().seconds, START_MS / 1_000 + 600);
    cluster.time.advance_to_next("next round").await;
    endpoint.wait_for(2).await;
    cluster.settled().await;
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_tried_in_rounds() {
    let cluster = Cluster::start().await;
    // A port that was free a moment ago and that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    cluster.create("s", sync_to(&format!("http://{address}/"))).await;
    cluster.send([event("a", "u")]).await;
    let attempt = &cluster.wait_for_attempts("s", 1).await[0];
    assert_eq!((attempt.error(), attempt.outcome()), (AttemptError::Connect, AttemptOutcome::RetryNextRound));
    assert!(attempt.error_message.contains("check that the endpoint is up"), "{}", attempt.error_message);
}

#[tokio::test]
async fn a_mended_sync_mends_what_waits() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(400)]);
    let sync = cluster.create("s", sync_to(&endpoint.url("/wrong"))).await;
    cluster.send([event("a", "u")]).await;
    cluster.wait_for_attempts("s", 1).await;
    let mended = cluster
        .update(sluice_proto::sync::v1::Sync {
            name: sync.name.clone(),
            ..sync_to(&endpoint.url("/right")).template("{\"user\": \"${input.user_id}\"}")
        })
        .await;
    cluster.time.advance_to_next("next round").await;
    let received = endpoint.wait_for(2).await;
    assert_eq!((received[1].path.as_str(), received[1].text()), ("/right", "{\"user\": \"u\"}"));
    let attempts = cluster.wait_for_attempts("s", 2).await;
    assert_eq!((attempts[0].sync_revision, attempts[1].sync_revision), (sync.revision, mended.revision));
}

#[tokio::test]
async fn disabling_holds_what_is_open_and_stops_its_window() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(400)]);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    let due = cluster.wait_for_attempts("s", 1).await[0].next_round_time.as_ref().unwrap().seconds;
    cluster.disable("s").await;
    cluster.send([event("b", "not taken")]).await;
    let held_hours = 20;
    cluster.time.advance(std::time::Duration::from_secs(held_hours * 3_600 / 2));
    cluster.stop_node().await;
    cluster.start_node().await;
    cluster.time.advance(std::time::Duration::from_secs(held_hours * 3_600 / 2));
    assert_eq!(endpoint.received().len(), 1, "a disabled sync sends nothing");
    cluster.enable("s").await;
    let woken = cluster.time.advance_to_next("next round").await;
    assert_eq!(woken / 1_000, due + held_hours as i64 * 3_600, "the window stood still");
    assert_eq!(endpoint.wait_for(2).await[1].body, event("a", "u"));
    let ledger = cluster.settled().await;
    assert_eq!((ledger.events.matched, ledger.events.unmatched), (1, 1));
}

#[tokio::test]
async fn deleting_ends_what_is_open() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400));
    let sync = cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send((0..50).map(|n| event("a", &format!("u{n}")))).await;
    cluster.wait_for_attempts("s", 50).await;
    cluster.delete("s").await;
    let ledger = cluster.settled().await;
    assert_eq!((ledger.deliveries[0].1.created, ledger.deliveries[0].1.discarded), (50, 50));
    // A new sync with the old id inherits nothing.
    let again = cluster.create("s", sync_to(&endpoint.url("/new"))).await;
    assert_ne!(again.uid, sync.uid);
    assert_eq!(cluster.attempts("s").await.len(), 0);
}
