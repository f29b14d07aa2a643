//! The limits of a lane: what a sync, its endpoint and its operator allow.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use sluice_pipeline::breaker::{FIRST_WAIT, LONGEST_PAUSE, OPENS_AFTER};
use sluice_proto::{
    delivery::v1::{AttemptOutcome, EndingReason},
    event::v1::{Event, SendEventsRequest},
    sync::v1::{BacklogPolicy, Limits, RetryPolicy, Sync},
};
use sluice_tests::{
    cluster::{Cluster, START_MS, eventually},
    endpoint::{Endpoint, status},
    events::{event, sync_to},
};
use tonic::Code;

fn limited(url: &str, limits: Limits) -> Sync {
    let mut sync = sync_to(url);
    sync.destination.as_mut().unwrap().limits = Some(limits);
    sync
}

/// One request a round, and a round every hour.
fn one_request_an_hour(mut sync: Sync) -> Sync {
    let hour = |hours: i64| prost_types::Duration { seconds: 3_600 * hours, nanos: 0 };
    sync.retry_policy = Some(RetryPolicy {
        round_offsets: (1..=3).map(hour).collect(),
        max_attempts_per_round: 1,
        ..RetryPolicy::default()
    });
    sync
}

/// Waits until the node has so many deliveries at hand.
async fn in_memory(cluster: &Cluster, count: usize) {
    eventually("the deliveries are at hand", async || (cluster.node().figures().in_memory() == count).then_some(()))
        .await;
}

fn numbered(numbers: std::ops::Range<usize>) -> impl Iterator<Item = bytes::Bytes> {
    numbers.map(|n| event("a", &n.to_string()))
}

/// A cluster with a sync whose endpoint answers 500 to the first requests, until the breaker opens.
async fn down() -> (Cluster, Endpoint, usize) {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(500));
    cluster.create("s", one_request_an_hour(sync_to(&endpoint.url("/")))).await;
    cluster.send(numbered(0..200)).await;
    // Its wait for the first probe is the only thing that anybody waits for.
    let opened = eventually("the breaker has opened", async || {
        let attempts = cluster.attempts("s").await.len();
        (attempts >= OPENS_AFTER as usize && attempts == endpoint.count()).then_some(attempts)
    })
    .await;
    (cluster, endpoint, opened)
}

#[tokio::test]
async fn an_endpoint_that_is_down_gets_single_probes() {
    let (cluster, endpoint, opened) = down().await;
    // Those that were under way with the tenth came too, and no more.
    assert!(opened < 2 * OPENS_AFTER as usize, "{opened} requests");
    let mut wait = FIRST_WAIT;
    for probe in 1..=4 {
        cluster.next_round().await;
        cluster.wait_for_attempts("s", opened + probe).await;
        wait *= 2;
    }
    let attempts = cluster.attempts("s").await;
    assert_eq!((endpoint.count(), attempts.len()), (opened + 4, opened + 4));
    let starts: Vec<i64> = attempts[opened..].iter().map(|attempt| attempt.start_time.unwrap().seconds).collect();
    assert!(starts.is_sorted() && starts[3] - START_MS / 1_000 <= wait.as_secs().cast_signed() * 2, "{starts:?}");
    assert!(attempts.iter().all(|attempt| attempt.round == 1), "no round was spent without a request");

    endpoint.always(status(200));
    cluster.next_round().await;
    eventually("what never was tried is delivered as soon as the endpoint is back", async || {
        let (_, counts) = cluster.ledger().await.deliveries.swap_remove(0);
        (counts.pending == attempts.len() as i64).then_some(())
    })
    .await;
    cluster.time.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 200);
    assert_eq!(endpoint.count(), 200 + opened + 4);
}

#[tokio::test]
async fn a_delivery_past_its_window_ends_only_after_a_probe_has_failed_since() {
    let (mut cluster, endpoint, opened) = down().await;
    cluster.stop_node().await;
    // All windows pass while nobody is there to make a request.
    cluster.time.advance(Duration::from_secs(5 * 3_600));
    endpoint.always(status(200));
    cluster.start_node().await;
    let ledger = cluster.settled().await;
    assert_eq!((ledger.deliveries[0].1.delivered, endpoint.count()), (200, 200 + opened));
}

#[tokio::test]
async fn an_endpoint_that_stays_down_ends_them_all_with_this_reason() {
    let (cluster, endpoint, opened) = down().await;
    let rounds = async {
        loop {
            cluster.next_round().await;
        }
    };
    tokio::select! {
        _ = cluster.settled() => {}
        () = rounds => unreachable!("it goes on for ever"),
    }
    let letters = cluster.dead_letters("s").await;
    assert_eq!(letters.len(), 200);
    let down = letters.iter().filter(|letter| letter.reason() == EndingReason::EndpointDown).count();
    assert!(down > 100, "{down}");
    assert!(letters.iter().all(|letter| letter.attempt_count > 0 || letter.reason() == EndingReason::EndpointDown));
    assert!(endpoint.count() > opened, "{}", endpoint.count());
}

#[tokio::test]
async fn retry_after_pauses_the_whole_sync() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.script([status(429).header("retry-after", "120")]);
    cluster.create("s", one_request_an_hour(sync_to(&endpoint.url("/")))).await;
    cluster.send(numbered(0..1)).await;
    cluster.wait_for_attempts("s", 1).await;
    cluster.send(numbered(1..50)).await;
    in_memory(&cluster, 49).await;
    assert_eq!(cluster.next_round().await, START_MS + 120_000);
    endpoint.wait_for_count(50).await;

    // Longer than a pause may be: the delivery waits as it was told, the others do not.
    endpoint.script([status(503).header("retry-after", "1800")]);
    cluster.send(numbered(50..51)).await;
    cluster.wait_for_attempts("s", 51).await;
    cluster.send(numbered(51..60)).await;
    in_memory(&cluster, 9).await;
    let paused_ms = START_MS + 120_000 + LONGEST_PAUSE.as_millis() as i64;
    assert_eq!(cluster.next_round().await, paused_ms);
    endpoint.wait_for_count(60).await;
    cluster.time.advance(Duration::from_secs(2 * 3_600));
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 60);
}

#[tokio::test]
async fn no_more_requests_begin_in_a_second_than_the_sync_allows() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let free = Endpoint::start().await;
    cluster.create("free", sync_to(&free.url("/"))).await;
    let limits = Limits { max_requests_per_second: 5.0, ..Limits::default() };
    cluster.create("s", limited(&endpoint.url("/"), limits)).await;
    cluster.send(numbered(0..20)).await;
    free.wait_for_count(20).await;
    endpoint.wait_for_count(5).await;
    for second in 1..=3 {
        for fifth in 1..=5 {
            cluster.next_round().await;
            let now_ms = START_MS + second * 1_000 - 1_000 + fifth * 200;
            assert_eq!(cluster.time.now_ms(), now_ms);
            endpoint.wait_for_count((second * 5 + fifth) as usize).await;
        }
    }
    cluster.settled().await;
    assert_eq!(endpoint.count(), 20);
}

fn backlog(max_backlog: i64, policy: BacklogPolicy) -> Limits {
    Limits { max_backlog, backlog_policy: policy.into(), max_concurrency: 1, ..Limits::default() }
}

#[tokio::test]
async fn a_full_backlog_discards_the_oldest_and_counts_them() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let sync = limited(&endpoint.url("/"), backlog(10, BacklogPolicy::DiscardOldest));
    let sync = cluster.create("s", sync).await;
    endpoint.hold();
    cluster.send(numbered(0..1)).await;
    endpoint.wait_for_count(1).await;
    cluster.send(numbered(1..100)).await;
    let open = |open| {
        let cluster = &cluster;
        async move {
            eventually("the oldest were discarded", async || {
                (cluster.ledger().await.deliveries[0].1.pending == open).then_some(())
            })
            .await;
        }
    };
    open(10).await;

    // A limit that was lowered counts at once.
    let mut lower = cluster.get("s").await;
    assert_eq!(lower.etag, sync.etag);
    lower.destination.as_mut().unwrap().limits = Some(backlog(4, BacklogPolicy::DiscardOldest));
    cluster.update(lower).await;
    open(4).await;

    endpoint.release();
    let ledger = cluster.settled().await;
    assert_eq!((ledger.deliveries[0].1.delivered, ledger.deliveries[0].1.discarded), (4, 96));
    let delivered: Vec<_> = endpoint.received().into_iter().map(|request| request.body).collect();
    let newest = numbered(0..1).chain(numbered(97..100));
    assert!(newest.eq(delivered), "what was under way, and the newest");
    let letters = cluster.dead_letters("s").await;
    assert!(letters.iter().all(|letter| letter.reason() == EndingReason::BacklogFull));
    assert_eq!(letters.len(), 96);
}

#[tokio::test]
async fn a_full_backlog_refuses_events_where_that_is_wanted() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", limited(&endpoint.url("/"), backlog(10, BacklogPolicy::RefuseEvents))).await;
    endpoint.hold();
    cluster.send(numbered(0..10)).await;
    let ask = async |numbers| {
        let events = numbered(numbers).map(|json| Event { json, ..Event::default() }).collect();
        cluster.events().await.send_events(SendEventsRequest { events, ..Default::default() }).await
    };
    let refused = ask(10..11).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("syncs/s"), "{}", refused.message());
    assert_eq!(cluster.ledger().await.deliveries[0].1.created, 10, "nothing of it was stored");
    endpoint.release();
    cluster.settled().await;
    ask(10..11).await.unwrap();
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 11);
}

#[tokio::test]
async fn what_waits_is_on_disk_and_comes_in_the_order_of_its_due_times() {
    const COUNT: usize = 6_000;
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", limited(&endpoint.url("/"), Limits { max_concurrency: 1, ..Limits::default() })).await;
    endpoint.hold();
    for n in 0..COUNT / 500 {
        cluster.send(numbered(n * 500..(n + 1) * 500)).await;
    }
    endpoint.wait_for_count(1).await;
    assert_eq!(cluster.ledger().await.deliveries[0].1.pending, COUNT as i64);
    eventually("what has no room is on disk alone", async || {
        (cluster.node().figures().in_memory() <= 4_200).then_some(())
    })
    .await;
    endpoint.release();
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, COUNT as i64);
    assert_eq!(endpoint.by_webhook_id().len(), COUNT);
}

#[tokio::test]
async fn attempts_say_how_a_round_ended() {
    let (cluster, endpoint, opened) = down().await;
    let attempts = cluster.attempts("s").await;
    assert!(attempts.iter().all(|attempt| attempt.outcome() == AttemptOutcome::RetryNextRound));
    assert_eq!((attempts.len(), endpoint.count()), (opened, opened));
}
