//! The session protocol, driven by a hand-written node. Tests are named after the MUST rules of the protocol.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use sluice_proto::{
    node::v1::{
        Hello, ListNodesRequest, NodeHeartbeat, RefusedSync, SnapshotRequest, SyncLoad, sync_catalog_request::Message,
        sync_catalog_response::Message as Answer,
    },
    sync::v1::{DeleteSyncRequest, Rollout, Sync, UpdateSyncRequest, Violation},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use self::support::{FakeNode, Held, Plane, START_MS, Update, hello, name, reason, sync, timestamp, with_template};

async fn rename(plane: &Plane, id: &str, display_name: &str) -> Sync {
    let sync = Sync { name: name(id), display_name: display_name.into(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["display_name".into()] });
    let request = UpdateSyncRequest { sync: Some(sync), update_mask, validate_only: false, ..Default::default() };
    plane.syncs().update_sync(request).await.unwrap().into_inner()
}

async fn delete(plane: &Plane, id: &str) {
    plane
        .syncs()
        .delete_sync(DeleteSyncRequest { name: name(id), etag: String::new(), ..Default::default() })
        .await
        .unwrap();
}

/// A node that has connected with nothing and holds everything.
async fn settled(plane: &Plane, node: &str) -> FakeNode {
    let mut node = plane.node(node, &Held::default()).await;
    node.welcome().await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
    node
}

/// Reads until the node's ack has been taken in.
async fn rollout(plane: &Plane, id: &str, done: impl Fn(&Rollout) -> bool) -> Rollout {
    loop {
        let rollout = plane.get(id).await.unwrap().rollout.unwrap();
        if done(&rollout) {
            return rollout;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn rule_1_the_first_message_does_not_wait_for_headers() {
    let plane = Plane::start().await;
    // The fake node sends its hello before it waits for anything.
    let welcome = plane.node("a", &Held::default()).await.welcome().await;
    assert_eq!(welcome.revision, 0);
    assert_eq!(welcome.catalog_hash, Held::default().hash());
    assert!(!welcome.epoch.is_empty());
}

#[tokio::test]
async fn rule_2_a_node_without_a_catalog_gets_a_snapshot_with_secrets_and_disabled_syncs() {
    let plane = Plane::start().await;
    plane.create("plain", sync()).await;
    plane.create("off", Sync { enabled: false, ..sync() }).await;
    plane.create("secret", support::with_headers(vec![support::secret("Authorization", "s3cret")])).await;
    let node = settled(&plane, "a").await;
    assert_eq!(node.held.ids(), ["off", "plain", "secret"]);
    assert_eq!(node.held.revision, 3);
    let bytes: Vec<_> = node.held.syncs.iter().flat_map(prost::Message::encode_to_vec).collect();
    assert!(bytes.windows(6).any(|window| window == b"s3cret"));
}

#[tokio::test]
async fn rule_2_a_known_revision_gets_what_has_changed_since() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    plane.create("b", sync()).await;
    let node = settled(&plane, "n").await;
    let held = node.held.clone();
    drop(node);
    rename(&plane, "b", "B").await;
    plane.create("c", sync()).await;
    delete(&plane, "a").await;
    let mut node = plane.node("n", &held).await.holding(&held);
    node.welcome().await;
    assert_eq!(node.settle().await, Update::Delta { from: 2 });
    assert_eq!(node.held.ids(), ["b", "c"]);
    assert_eq!(node.held.revision, 5);
}

#[tokio::test]
async fn rule_2_a_node_that_is_up_to_date_acks_an_empty_delta() {
    let mut plane = Plane::start().await;
    plane.create("a", sync()).await;
    let held = settled(&plane, "n").await.held;
    plane.restart().await;
    let mut node = plane.node("n", &held).await.holding(&held);
    node.welcome().await;
    assert_eq!(plane.get("a").await.unwrap().rollout.unwrap().pending_count, 1, "not known until it acks");
    assert_eq!(node.settle().await, Update::Delta { from: 1 });
    assert_eq!(node.held, held);
    rollout(&plane, "a", |rollout| rollout.serving_count == 1).await;
}

#[tokio::test]
async fn rule_2_another_epoch_another_hash_or_a_node_ahead_get_a_snapshot() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let held = settled(&plane, "n").await.held;
    for strange in [
        Held { epoch: "another life".into(), ..held.clone() },
        Held { revision: 99, ..held.clone() },
        Held { syncs: Vec::new(), ..held.clone() },
        Held { revision: -1, ..held.clone() },
    ] {
        let mut node = plane.node("n", &strange).await;
        node.welcome().await;
        assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
        assert_eq!(node.held, held);
    }
}

#[tokio::test]
async fn rule_2_a_deletion_during_a_disconnect_cannot_leak() {
    let plane = Plane::start().await;
    plane.create("gone", sync()).await;
    let node = settled(&plane, "n").await;
    let stale = Held { epoch: "another life".into(), ..node.held.clone() };
    drop(node);
    delete(&plane, "gone").await;
    let mut node = plane.node("n", &stale).await.holding(&stale);
    node.welcome().await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
    assert_eq!(node.held.ids(), Vec::<&str>::new());
}

#[tokio::test]
async fn rule_3_a_large_catalog_comes_in_chunks() {
    let plane = Plane::start().await;
    let template = format!("\"{}\"", "x".repeat(100_000));
    for number in 0..7 {
        plane.create(&format!("s{number}"), with_template(&template)).await;
    }
    let mut node = plane.node("n", &Held::default()).await;
    node.welcome().await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 7 });
    assert_eq!(node.held.syncs.len(), 7);
}

#[tokio::test]
async fn rule_3_changes_too_large_for_one_message_come_as_a_snapshot() {
    let plane = Plane::start().await;
    let held = settled(&plane, "n").await.held;
    let template = format!("\"{}\"", "x".repeat(250_000));
    for number in 0..10 {
        plane.create(&format!("s{number}"), with_template(&template)).await;
    }
    let mut node = plane.node("n", &held).await.holding(&held);
    node.welcome().await;
    assert!(matches!(node.settle().await, Update::Snapshot { chunks: 10 }));
}

#[tokio::test]
async fn rule_4_a_node_that_cannot_use_a_delta_asks_for_a_snapshot() {
    let plane = Plane::start().await;
    let mut node = settled(&plane, "n").await;
    plane.create("a", sync()).await;
    assert_eq!(node.update().await, Update::Delta { from: 0 });
    node.send(Message::SnapshotRequest(SnapshotRequest { reason: "checksum".into() })).await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
    assert_eq!(node.held.ids(), ["a"]);
}

#[tokio::test]
async fn rule_5_changes_while_an_update_is_not_acked_come_together() {
    let plane = Plane::start().await;
    let mut node = settled(&plane, "n").await;
    plane.create("a", sync()).await;
    assert_eq!(node.update().await, Update::Delta { from: 0 });
    rename(&plane, "a", "A2").await;
    plane.create("b", sync()).await;
    delete(&plane, "b").await;
    rename(&plane, "a", "A3").await;
    node.ack().await;
    assert_eq!(node.settle().await, Update::Delta { from: 1 });
    assert_eq!(node.held.revision, 5);
    assert_eq!(node.held.syncs[0].display_name, "A3");
}

#[tokio::test]
async fn rule_5_every_session_is_sent_every_change() {
    let plane = Plane::start().await;
    let (mut a, mut b) = (settled(&plane, "a").await, settled(&plane, "b").await);
    let created = plane.create("orders", sync()).await;
    assert_eq!(created.rollout.unwrap().pending_count, 2);
    a.settle().await;
    rollout(&plane, "orders", |rollout| (rollout.serving_count, rollout.pending_count) == (1, 1)).await;
    b.settle().await;
    rollout(&plane, "orders", |rollout| (rollout.serving_count, rollout.pending_count) == (2, 0)).await;
}

#[tokio::test]
async fn rule_5_refused_syncs_are_shown_one_by_one() {
    let plane = Plane::start().await;
    let mut node = settled(&plane, "n").await;
    let refused = plane.create("refused", sync()).await;
    node.settle().await;
    plane.create("served", sync()).await;
    node.update().await;
    let violation =
        Violation { field: "required_features".into(), reason: "UNKNOWN_FEATURE".into(), ..Default::default() };
    let refusal = RefusedSync { uid: refused.uid, revision: refused.revision, violations: vec![violation.clone()] };
    node.ack_refusing(vec![refusal]).await;

    let shown = rollout(&plane, "refused", |rollout| rollout.refusing_count == 1).await;
    assert_eq!((shown.serving_count, shown.pending_count), (0, 0));
    assert_eq!(shown.refusals[0].node, "nodes/n");
    assert_eq!(shown.refusals[0].violations, [violation]);
    rollout(&plane, "served", |rollout| rollout.serving_count == 1).await;
}

#[tokio::test]
async fn rule_6_both_sides_tell_revision_and_hash_every_ten_seconds() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let mut node = settled(&plane, "n").await;
    plane.hand.advance_to_next("catalog heartbeat").await;
    let Some(Answer::Heartbeat(beat)) = node.next().await.unwrap() else { panic!("no heartbeat") };
    assert_eq!((beat.revision, beat.catalog_hash), (1, node.held.hash()));
}

#[tokio::test]
async fn rule_6_a_mismatch_heals_by_a_snapshot() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let mut node = settled(&plane, "n").await;
    node.heartbeat(1, "not what it should be").await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
    node.heartbeat(1, &node.held.hash()).await;
    node.heartbeat(0, "lost its catalog").await;
    node.heartbeat(0, "lost its catalog").await;
    assert_eq!(node.settle().await, Update::Snapshot { chunks: 1 });
}

#[tokio::test]
async fn rule_6_a_silent_stream_is_closed() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let mut node = settled(&plane, "n").await;
    rollout(&plane, "a", |rollout| rollout.serving_count == 1).await;
    for _ in 0..4 {
        plane.hand.advance_to_next("catalog heartbeat").await;
    }
    let status = node.ended().await;
    assert_eq!(reason(&status), (Code::DeadlineExceeded, "STREAM_SILENT".into()));
    let nodes = plane.nodes().list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    assert!(!nodes[0].connected);
}

#[tokio::test]
async fn rule_7_an_unsupported_version_is_told_the_range() {
    let plane = Plane::start().await;
    for protocol_version in [0, 2, 4_000_000_000] {
        let greeting = Hello { protocol_version, ..hello("n", &Held::default()) };
        let status = FakeNode::connect(plane.channel.clone(), greeting).await.ended().await;
        assert_eq!(reason(&status), (Code::FailedPrecondition, "PROTOCOL_VERSION_UNSUPPORTED".into()));
        assert!(status.message().contains("takes 1 to 1"), "{}", status.message());
        assert_eq!(status.get_details_error_info().unwrap().metadata["max_inclusive"], "1");
    }
}

#[tokio::test]
async fn rule_7_a_sync_travels_with_the_features_that_it_requires() {
    let plane = Plane::start().await;
    plane.create("a", with_template("{}")).await;
    assert_eq!(settled(&plane, "n").await.held.syncs[0].required_features, ["payload.template"]);
}

#[tokio::test]
async fn a_newer_session_of_a_node_replaces_the_older() {
    let plane = Plane::start().await;
    let mut older = settled(&plane, "n").await;
    let newer = settled(&plane, "n").await;
    assert_eq!(reason(&older.ended().await), (Code::Aborted, "SESSION_REPLACED".into()));
    let nodes = plane.nodes().list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    assert_eq!((nodes.len(), nodes[0].connected), (1, true));
    drop(newer);
}

#[tokio::test]
async fn streams_that_do_not_begin_rightly_are_refused() {
    let plane = Plane::start().await;
    for node in ["", "n", "nodes/", "nodes/N", "nodes/a/b"] {
        let greeting = Hello { node: node.into(), ..hello("n", &Held::default()) };
        let status = FakeNode::connect(plane.channel.clone(), greeting).await.ended().await;
        assert_eq!(reason(&status), (Code::InvalidArgument, "PROTOCOL_VIOLATION".into()));
    }
    let mut node = settled(&plane, "n").await;
    node.send(Message::Hello(hello("n", &Held::default()))).await;
    assert_eq!(node.ended().await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn streams_end_when_the_control_plane_stops() {
    let mut plane = Plane::start().await;
    let mut node = settled(&plane, "n").await;
    plane.stop().await;
    assert_eq!(reason(&node.ended().await), (Code::Unavailable, "STOPPING".into()));
}

#[tokio::test]
async fn nodes_are_listed_with_what_they_say_of_themselves() {
    let plane = Plane::start().await;
    plane.create("a", sync()).await;
    let mut members = Vec::new();
    for node in ["c", "a", "b"] {
        members.push(settled(&plane, node).await);
    }
    let load = |uid: &str, pending_count| SyncLoad { sync_uid: uid.into(), pending_count, ..Default::default() };
    let loads = vec![load("u", 5), load("v", 2)];
    let beat = NodeHeartbeat {
        revision: 1,
        catalog_hash: members[1].held.hash(),
        loads,
        draining: true,
        in_flight_count: 3,
        spool_bytes: 4_096,
        ..Default::default()
    };
    plane.hand.advance(Duration::from_secs(1));
    members[1].send(Message::Heartbeat(beat)).await;
    let first = loop {
        let request = ListNodesRequest { page_size: 2, page_token: String::new() };
        let page = plane.nodes().list_nodes(request).await.unwrap().into_inner();
        if page.nodes[0].pending_count == 7 {
            break page;
        }
        tokio::task::yield_now().await;
    };
    let names: Vec<_> = first.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["nodes/a", "nodes/b"]);
    let node = &first.nodes[0];
    assert_eq!((node.instance.as_str(), node.product_version.as_str()), ("a-1", "0.1.0"));
    assert_eq!((node.protocol_version, node.connected, node.revision), (1, true, 1));
    assert_eq!(node.ingest_address, "127.0.0.1:7601");
    assert!(node.draining && !first.nodes[1].draining);
    assert_eq!(node.state_change_time, Some(support::timestamp(support::START_MS)));
    assert_eq!(node.heartbeat_time, Some(support::timestamp(support::START_MS + 1_000)));

    let request = ListNodesRequest { page_size: 2, page_token: first.next_page_token };
    let rest = plane.nodes().list_nodes(request).await.unwrap().into_inner();
    assert_eq!((rest.nodes.len(), rest.nodes[0].name.as_str(), rest.next_page_token.as_str()), (1, "nodes/c", ""));
    assert_eq!((node.in_flight_count, node.spool_bytes, node.behind_since_time), (3, 4_096, None));

    // What a node has not acked yet it is behind with, from when it was changed.
    plane.create("b", sync()).await;
    plane.hand.advance(Duration::from_secs(1));
    plane.create("c", sync()).await;
    for _ in 0..2 {
        members[0].settle().await;
    }
    let list = async || plane.nodes().list_nodes(ListNodesRequest::default()).await.unwrap().into_inner();
    let page = loop {
        let page = list().await;
        if page.nodes[2].behind_since_time.is_none() {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(page.revision, 3);
    assert_eq!(page.nodes[0].behind_since_time, Some(support::timestamp(support::START_MS + 1_000)));
    drop(members.remove(1));
    loop {
        let node = list().await.nodes.remove(0);
        if !node.connected {
            assert_eq!((node.behind_since_time, node.in_flight_count, node.spool_bytes), (None, 0, 4_096));
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rollout_is_told_node_by_node() {
    use sluice_proto::sync::v1::{ListSyncRolloutsRequest, RolloutState};
    let plane = Plane::start().await;
    let sync = plane.create("a", sync()).await;
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3"] {
        let mut node = plane.node(name, &Held::default()).await;
        node.welcome().await;
        node.update().await;
        nodes.push(node);
    }
    nodes[0].ack().await;
    let violations = vec![Violation { field: "events".into(), ..Default::default() }];
    nodes[1]
        .ack_refusing(vec![RefusedSync { uid: sync.uid.clone(), revision: 1, violations: violations.clone() }])
        .await;

    let list = async |page_size, page_token: &str| {
        let request = ListSyncRolloutsRequest { parent: name("a"), page_size, page_token: page_token.into() };
        plane.syncs().list_sync_rollouts(request).await.unwrap().into_inner()
    };
    let states = [RolloutState::Serving, RolloutState::Refused, RolloutState::Pending];
    let rollouts = loop {
        let rollouts = list(0, "").await.rollouts;
        // Acks are on their way.
        if rollouts.iter().map(|rollout| rollout.state()).eq(states) {
            break rollouts;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(rollouts[1].violations, violations);
    assert!(rollouts.iter().all(|rollout| rollout.since_time == Some(timestamp(START_MS))));
    let first = list(2, "").await;
    let second = list(2, &first.next_page_token).await;
    assert_eq!((first.rollouts.len(), second.rollouts.len(), second.next_page_token.as_str()), (2, 1, ""));
    let missing = ListSyncRolloutsRequest { parent: name("b"), ..Default::default() };
    assert_eq!(plane.syncs().list_sync_rollouts(missing).await.unwrap_err().code(), tonic::Code::NotFound);
}
