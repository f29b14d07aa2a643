//! Reopening dead letters: all nodes at once, the count first, then how far it has come.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::{
    delivery::v1::{DeadLetterFilter, RedeliverDeadLettersRequest, RedeliverDeadLettersResponse},
    node::v1::{Command, RedeliverProgress, command::Command as What, command_result::Result as Outcome},
};
use tonic::{Code, Streaming};

use self::support::{Plane, START_MS, commanded::CommandStream, name, reason, sync, timestamp};

const ALL: &str = "projects/default/syncs/-";

async fn begin(plane: &Plane, parent: &str) -> Streaming<RedeliverDeadLettersResponse> {
    let filter = Some(DeadLetterFilter { event_types: vec!["order".into()], ..Default::default() });
    let request = RedeliverDeadLettersRequest { parent: parent.into(), filter };
    plane.deliveries().redeliver_dead_letters(request).await.unwrap().into_inner()
}

fn progress(found_count: i64, redelivered_count: i64) -> Outcome {
    Outcome::Redeliver(RedeliverProgress { found_count, redelivered_count })
}

async fn given(stream: &mut CommandStream) -> Command {
    let command = stream.next().await;
    let Some(What::Redeliver(redeliver)) = &command.command else { panic!("{command:?}") };
    assert_eq!(redeliver.filter.as_ref().unwrap().event_types, ["order"]);
    command
}

async fn next(told: &mut Streaming<RedeliverDeadLettersResponse>) -> (i64, i64, bool) {
    let RedeliverDeadLettersResponse { found_count, redelivered_count, complete, .. } =
        told.message().await.unwrap().unwrap();
    (found_count, redelivered_count, complete)
}

#[tokio::test]
async fn the_count_comes_first_and_then_the_progress_of_all_nodes_at_once() {
    let plane = Plane::start().await;
    let (_a, mut a) = plane.commanded("a").await;
    let (_b, mut b) = plane.commanded("b").await;
    let mut told = begin(&plane, ALL).await;
    let (for_a, for_b) = (given(&mut a).await, given(&mut b).await);
    assert_ne!(for_a.id, for_b.id);
    assert_eq!(for_a.issue_time, Some(timestamp(START_MS)), "what ends later is not taken");

    a.news(&for_a, progress(5, 0)).await;
    b.news(&for_b, progress(3, 0)).await;
    assert_eq!(next(&mut told).await, (8, 0, false), "both have counted");
    a.news(&for_a, progress(5, 2)).await;
    assert_eq!(next(&mut told).await, (8, 2, false));
    b.last(&for_b, progress(3, 3)).await;
    assert_eq!(next(&mut told).await, (8, 5, false));
    a.last(&for_a, progress(5, 5)).await;
    assert_eq!(next(&mut told).await, (8, 8, false));
    assert_eq!(next(&mut told).await, (8, 8, true));
    assert!(told.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_command_that_was_not_answered_comes_again_with_the_same_id_on_the_nodes_next_stream() {
    let plane = Plane::start().await;
    let (_catalog, mut stream) = plane.commanded("a").await;
    let mut told = begin(&plane, ALL).await;
    let command = given(&mut stream).await;
    stream.news(&command, progress(9, 0)).await;
    assert_eq!(next(&mut told).await, (9, 0, false));
    drop(stream);

    let mut stream = CommandStream::open(plane.channel.clone(), "a").await;
    assert_eq!(given(&mut stream).await, command);
    stream.last(&command, progress(9, 9)).await;
    assert_eq!(next(&mut told).await, (9, 9, false));
    assert_eq!(next(&mut told).await, (9, 9, true));
    drop(told);

    let mut later = begin(&plane, ALL).await;
    let command = given(&mut stream).await;
    stream.last(&command, progress(0, 0)).await;
    assert_eq!([next(&mut later).await, next(&mut later).await], [(0, 0, false), (0, 0, true)], "the old one is over");
}

#[tokio::test]
async fn a_command_whose_caller_has_gone_is_not_given_again() {
    let plane = Plane::start().await;
    let (_catalog, mut stream) = plane.commanded("a").await;
    let told = begin(&plane, ALL).await;
    let abandoned = given(&mut stream).await;
    drop(told);
    plane.create("orders", sync()).await;
    let mut later = begin(&plane, &name("orders")).await;
    // The end of the first is noticed some time later: until then its command comes again, before the later one.
    let (stream, command) = loop {
        let mut stream = CommandStream::open(plane.channel.clone(), "a").await;
        let command = given(&mut stream).await;
        if command.id != abandoned.id {
            break (stream, command);
        }
    };
    stream.last(&command, progress(1, 1)).await;
    assert_eq!([next(&mut later).await, next(&mut later).await], [(1, 0, false), (1, 1, true)]);
}

#[tokio::test]
async fn a_node_that_falls_silent_is_named_and_the_rest_goes_on() {
    let plane = Plane::start().await;
    let (_a, mut a) = plane.commanded("a").await;
    let (_b, mut b) = plane.commanded("b").await;
    let mut told = begin(&plane, ALL).await;
    let (for_a, _) = (given(&mut a).await, given(&mut b).await);
    a.last(&for_a, progress(4, 4)).await;
    plane.hand.advance_to_next("node's progress").await;
    let told_all = async {
        let mut last = RedeliverDeadLettersResponse::default();
        while let Some(message) = told.message().await.unwrap() {
            last = message;
        }
        last
    };
    let last = told_all.await;
    // Whether the answer or the time came first is chance: what was answered stays either way.
    assert!(last.complete);
    assert!(last.unreachable_nodes.iter().any(|node| node.node == "nodes/b" && node.reason == "no answer within 30 s"));
}

#[tokio::test]
async fn a_sync_that_is_gone_has_nothing_to_reopen() {
    let plane = Plane::start().await;
    let request = RedeliverDeadLettersRequest { parent: name("deleted"), filter: None };
    let status = plane.deliveries().redeliver_dead_letters(request).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "SYNC_NOT_FOUND".into()));
}

#[tokio::test]
async fn without_nodes_it_is_complete_at_once() {
    let plane = Plane::start().await;
    let mut told = begin(&plane, ALL).await;
    assert_eq!(next(&mut told).await, (0, 0, true));
}
