//! Who is connected, what they hold and what that says of a sync.

use super::*;

fn hello(node: &str) -> Hello {
    Hello { node: format!("nodes/{node}"), ..Default::default() }
}

fn at(revision: i64) -> Position {
    Position { epoch: "e".into(), revision, hash: String::new() }
}

#[test]
fn a_newer_session_of_a_node_replaces_the_older() {
    let nodes = Nodes::default();
    let first = nodes.join(hello("a"), || 1);
    let second = nodes.join(hello("a"), || 2);
    assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
    drop(first);
    assert!(nodes.list("", 9, |_| true, |_| None)[0].connected, "the end of the older says nothing");
    drop(second);
    let node = nodes.list("", 9, |_| true, |_| None).remove(0);
    assert!(!node.connected);
    assert_eq!(node.state_change_time, Some(timestamp(2)));
}

#[test]
fn the_node_that_has_been_gone_longest_is_forgotten_first() {
    let nodes = Nodes::default();
    drop(nodes.join(hello("a"), || 2));
    drop(nodes.join(hello("b"), || 1));
    let _connected = nodes.join(hello("c"), || 0);
    nodes.lock().forget_beyond(2);
    let left: Vec<_> = nodes.list("", 9, |_| true, |_| None).into_iter().map(|node| node.name).collect();
    assert_eq!(left, ["nodes/a", "nodes/c"]);
}

#[test]
fn a_rollout_counts_connected_nodes() {
    let nodes = Nodes::default();
    let members: Vec<_> = ["a", "b", "c", "d"].map(|name| nodes.join(hello(name), || 0)).into();
    let sync = Sync { uid: "u".into(), revision: 5, ..Default::default() };
    members[0].acked(at(5), Vec::new());
    members[1].acked(at(4), Vec::new());
    members[2].acked(at(6), vec![RefusedSync { uid: "u".into(), ..Default::default() }]);
    let rollout = nodes.rollout(&sync, "e");
    assert_eq!((rollout.serving_count, rollout.pending_count, rollout.refusing_count), (1, 2, 1));
    assert_eq!(rollout.refusals[0].node, "nodes/c");
    assert_eq!(nodes.rollout(&sync, "another life").pending_count, 4);
    drop(members);
    assert_eq!(nodes.rollout(&sync, "e"), Rollout::default());
}

#[test]
fn each_node_tells_what_it_makes_of_a_sync_and_since_when() {
    let nodes = Nodes::default();
    let times = Arc::new(std::sync::atomic::AtomicI64::new(10));
    let clock = |times: &Arc<std::sync::atomic::AtomicI64>| {
        let times = times.clone();
        move || times.load(std::sync::atomic::Ordering::Relaxed)
    };
    let members: Vec<_> = ["a", "b", "c"].map(|name| nodes.join(hello(name), clock(&times))).into();
    let set = |ms| times.store(ms, std::sync::atomic::Ordering::Relaxed);
    let sync = Sync { uid: "u".into(), revision: 5, update_time: Some(timestamp(15)), ..Default::default() };
    for (ms, revision) in [(12, 4), (20, 5), (30, 6)] {
        set(ms);
        members[0].acked(at(revision), Vec::new());
    }
    members[1].acked(at(6), vec![RefusedSync { uid: "u".into(), ..Default::default() }]);
    let told = |after| nodes.rollouts(&sync, "e", after, 9);
    let states: Vec<_> = told("").iter().map(|one| (one.state(), one.since_time.unwrap())).collect();
    assert_eq!(
        states,
        [
            (RolloutState::Serving, timestamp(20)),
            (RolloutState::Refused, timestamp(30)),
            (RolloutState::Pending, timestamp(15)),
        ]
    );
    assert_eq!(told("nodes/b").len(), 1);
    assert!(nodes.rollouts(&sync, "another life", "", 9).iter().all(|one| one.state() == RolloutState::Pending));
}

#[test]
fn pending_deliveries_are_those_of_connected_nodes() {
    let nodes = Nodes::default();
    let load = |count| vec![SyncLoad { sync_uid: "u".into(), pending_count: count, ..SyncLoad::default() }];
    let (a, b) = (nodes.join(hello("a"), || 0), nodes.join(hello("b"), || 0));
    a.loads(load(3), false);
    b.loads(load(4), true);
    assert_eq!(nodes.pending_count("u"), 7);
    drop(a);
    assert_eq!(nodes.pending_count("u"), 4);
    assert_eq!(nodes.list("nodes/a", 9, |_| true, |_| None).len(), 1);
    let counted = |uid: &'static str| nodes.list("nodes/a", 9, move |one| one == uid, |_| None)[0].pending_count;
    assert_eq!((counted("u"), counted("another project's")), (4, 0));
}

#[test]
fn the_oldest_delivery_is_that_of_all_connected_nodes() {
    let nodes = Nodes::default();
    let load = |seconds| {
        let oldest_wait = Some(prost_types::Duration { seconds, nanos: 0 });
        vec![SyncLoad { sync_uid: "u".into(), pending_count: 1, oldest_wait }]
    };
    let (a, b) = (nodes.join(hello("a"), || 90_000), nodes.join(hello("b"), || 100_000));
    assert_eq!(nodes.waiting_since_ms("u"), None);
    a.loads(load(50), false);
    b.loads(load(20), false);
    assert_eq!(nodes.waiting_since_ms("u"), Some(40_000));
    drop(a);
    assert_eq!(nodes.waiting_since_ms("u"), Some(80_000));
}
