//! Dead letters, asked of a real node: found, shown, delivered again, exported.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use sluice_proto::{
    delivery::v1::{
        CountDeadLettersRequest, DeadLetter, DeadLetterFilter, EndingOutcome, EndingReason, ExportDeadLettersRequest,
        GetDeadLetterRequest, GetDeadLetterResponse, MarkDeadLettersExportedRequest, RedeliverDeadLettersRequest,
        RedeliverDeadLettersResponse,
    },
    sync::v1::{RetryPolicy, Sync},
};
use sluice_tests::{
    cluster::{Cluster, eventually, sync_name},
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, event, sync_to},
};

const ALL: &str = "projects/default/syncs/-";

/// A sync whose template fails on every event: each is a dead letter at once.
fn broken(url: &str) -> Sync {
    sync_to(url).template("${input.no_such_thing}")
}

/// A sync that makes two rounds, a minute apart, and gives up.
fn hasty(url: &str) -> Sync {
    let offset = prost_types::Duration { seconds: 60, nanos: 0 };
    Sync { retry_policy: Some(RetryPolicy { round_offsets: vec![offset], ..RetryPolicy::default() }), ..sync_to(url) }
}

/// Waits until so many dead letters of a sync are there; gives them.
async fn letters(cluster: &Cluster, id: &str, count: usize) -> Vec<DeadLetter> {
    eventually(&format!("{count} dead letters of {id}"), async || {
        let letters = cluster.dead_letters(id).await;
        (letters.len() == count).then_some(letters)
    })
    .await
}

/// Delivers again; gives the first answer and the last.
async fn redeliver(
    cluster: &Cluster,
    parent: &str,
    filter: DeadLetterFilter,
) -> (RedeliverDeadLettersResponse, RedeliverDeadLettersResponse) {
    // What ended in this very millisecond is not taken.
    cluster.time.advance(Duration::from_millis(1));
    let request = RedeliverDeadLettersRequest { parent: parent.into(), filter: Some(filter) };
    let mut told = cluster.deliveries().await.redeliver_dead_letters(request).await.unwrap().into_inner();
    let first = told.message().await.unwrap().unwrap();
    let mut last = first.clone();
    while let Some(message) = told.message().await.unwrap() {
        last = message;
    }
    assert!(last.complete && last.unreachable_nodes.is_empty(), "{last:?}");
    (first, last)
}

async fn show(cluster: &Cluster, name: &str) -> GetDeadLetterResponse {
    let request = GetDeadLetterRequest { name: name.into() };
    cluster.deliveries().await.get_dead_letter(request).await.unwrap().into_inner()
}

async fn count(cluster: &Cluster, filter: DeadLetterFilter) -> i64 {
    let request = CountDeadLettersRequest { parent: ALL.into(), filter: Some(filter) };
    let counted = cluster.deliveries().await.count_dead_letters(request).await.unwrap().into_inner();
    assert_eq!(counted.unreachable_nodes, []);
    counted.count
}

#[tokio::test]
async fn what_could_not_be_rendered_is_shown_mended_and_delivered() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let created = cluster.create("s", broken(&endpoint.url("/"))).await;
    let events: Vec<_> = (0..3).map(|n| event("signup", &n.to_string())).collect();
    cluster.send(events.clone()).await;
    let dead = letters(&cluster, "s", 3).await;
    assert!(dead.iter().all(|letter| letter.reason() == EndingReason::Render && !letter.exported));
    assert!(dead.iter().all(|letter| letter.outcome() == EndingOutcome::Discarded && letter.event_json.is_empty()));

    cluster.wait_for_attempts("s", 3).await;
    let shown = show(&cluster, &dead[1].delivery).await;
    let letter = shown.dead_letter.unwrap();
    assert_eq!(letter.event_json, events[1], "the events are in the order of acceptance, byte for byte");
    assert_eq!((letter.node.as_str(), letter.event_type.as_str(), letter.schedule), ("nodes/n1", "signup", 1));
    assert_eq!(letter.event_bytes, events[1].len() as i64);
    assert_eq!(shown.attempts.len(), 1);
    assert!(shown.attempts[0].error_message.contains("no_such_thing"), "{}", shown.attempts[0].error_message);

    cluster.update(Sync { name: created.name, etag: created.etag, ..sync_to(&endpoint.url("/")) }).await;
    let (first, last) = redeliver(&cluster, &sync_name("s"), DeadLetterFilter::default()).await;
    assert_eq!((first.found_count, first.redelivered_count), (3, 0), "the count comes first");
    assert_eq!((last.found_count, last.redelivered_count), (3, 3));
    let received = endpoint.wait_for(3).await;
    let id = letter.delivery.rsplit('/').next().unwrap();
    assert!(received.iter().any(|request| request.header("webhook-id") == id), "the same delivery");
    let ledger = cluster.settled().await;
    let (_, counts) = &ledger.deliveries[0];
    assert_eq!((counts.created, counts.redelivered, counts.discarded, counts.delivered), (3, 3, 3, 3));
    assert_eq!((counts.dead_letters, letters(&cluster, "s", 0).await.len()), (0, 0));
}

#[tokio::test]
async fn one_that_fails_again_is_a_dead_letter_again_and_is_taken_once() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", broken(&endpoint.url("/"))).await;
    cluster.send((0..50).map(|n| event("signup", &n.to_string()))).await;
    letters(&cluster, "s", 50).await;
    let (_, last) = redeliver(&cluster, &sync_name("s"), DeadLetterFilter::default()).await;
    assert_eq!(last.redelivered_count, 50);
    let again = letters(&cluster, "s", 50).await;
    assert!(again.iter().all(|letter| letter.schedule == 2), "a schedule of its own");

    let attempts = eventually("the attempts of both schedules are stored", async || {
        let attempts = show(&cluster, &again[0].delivery).await.attempts;
        (attempts.len() == 2).then_some(attempts)
    })
    .await;
    assert_eq!([attempts[0].round, attempts[1].round], [1, 2], "rounds go on counting");
    let ledger = cluster.settled().await;
    let (_, counts) = &ledger.deliveries[0];
    assert_eq!((counts.created, counts.redelivered, counts.discarded), (50, 50, 100));
}

#[tokio::test]
async fn filters_choose_and_deleted_syncs_keep_theirs() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    for id in ["kept", "deleted"] {
        cluster.create(id, broken(&endpoint.url("/"))).await;
    }
    cluster.send([event("signup", "1"), event("purchase", "2"), event("purchase", "3")]).await;
    let dead = letters(&cluster, "kept", 3).await;
    letters(&cluster, "deleted", 3).await;
    let of_type = |event_type: &str| DeadLetterFilter { event_types: vec![event_type.into()], ..Default::default() };
    assert_eq!(count(&cluster, DeadLetterFilter::default()).await, 6);
    assert_eq!(count(&cluster, of_type("purchase")).await, 4);
    let reasons = vec![EndingReason::BacklogFull.into()];
    assert_eq!(count(&cluster, DeadLetterFilter { reasons, ..Default::default() }).await, 0);
    let id = dead[0].delivery.rsplit('/').next().unwrap().to_owned();
    let one = DeadLetterFilter { delivery_ids: vec![id], ..Default::default() };
    assert_eq!(count(&cluster, one.clone()).await, 1);
    let ended = dead[0].end_time;
    assert_eq!(count(&cluster, DeadLetterFilter { end_time_exclusive: ended, ..Default::default() }).await, 0);
    assert_eq!(count(&cluster, DeadLetterFilter { start_time_inclusive: ended, ..Default::default() }).await, 6);

    cluster.delete("deleted").await;
    eventually("the node knows", async || {
        let uids = cluster.node().catalog().borrow().uids().len();
        (uids == 1).then_some(())
    })
    .await;
    let (first, last) = redeliver(&cluster, ALL, of_type("purchase")).await;
    assert_eq!((first.found_count, last.redelivered_count), (2, 2), "those of the deleted sync are left out");
    letters(&cluster, "kept", 3).await;
    let (_, last) = redeliver(&cluster, ALL, one).await;
    assert_eq!(last.redelivered_count, 1);
    assert_eq!(letters(&cluster, "deleted", 3).await.len(), 3, "still readable");
}

#[tokio::test]
async fn an_expired_delivery_is_delivered_once_its_endpoint_is_well() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400));
    cluster.create("s", hasty(&endpoint.url("/"))).await;
    cluster.send([event("signup", "1")]).await;
    cluster.wait_for_attempts("s", 1).await;
    cluster.time.advance(Duration::from_secs(120));
    cluster.settled().await;
    let dead = letters(&cluster, "s", 1).await.remove(0);
    assert_eq!((dead.outcome(), dead.reason()), (EndingOutcome::Expired, EndingReason::RoundsUsedUp));
    assert_eq!(dead.attempt_count, 2);
    endpoint.always(status(200));
    let before = endpoint.count();
    redeliver(&cluster, ALL, DeadLetterFilter::default()).await;
    endpoint.wait_for_count(before + 1).await;
    let ledger = cluster.settled().await;
    assert_eq!((ledger.deliveries[0].1.expired, ledger.deliveries[0].1.delivered), (1, 1));
}

#[tokio::test]
async fn an_export_holds_every_event_and_is_marked_afterwards() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", broken(&endpoint.url("/"))).await;
    let events: Vec<_> = (0..1_200).map(|n| event("signup", &n.to_string())).collect();
    cluster.send(events.clone()).await;
    letters(&cluster, "s", 1_200).await;
    // They outlive the node's process.
    cluster.stop_node().await;
    cluster.start_node().await;
    letters(&cluster, "s", 1_200).await;

    let request = ExportDeadLettersRequest { parent: ALL.into(), filter: None };
    let mut stream = cluster.deliveries().await.export_dead_letters(request).await.unwrap().into_inner();
    let mut exported = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        assert_eq!(piece.unreachable_nodes, []);
        exported.extend(piece.dead_letters);
    }
    assert!(exported.iter().map(|letter| &letter.event_json).eq(events.iter()));
    assert!(exported.iter().all(|letter| !letter.exported));

    let deliveries = exported[..1_000].iter().map(|letter| letter.delivery.clone()).collect();
    let mark = MarkDeadLettersExportedRequest { parent: ALL.into(), deliveries };
    let marked = cluster.deliveries().await.mark_dead_letters_exported(mark).await.unwrap().into_inner();
    assert_eq!(marked.marked_count, 1_000);
    let letters = letters(&cluster, "s", 1_200).await;
    assert!(letters[..1_000].iter().all(|letter| letter.exported));
    assert!(letters[1_000..].iter().all(|letter| !letter.exported));
}
