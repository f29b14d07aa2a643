//! What a node makes of the control plane's messages. Tests that begin with `bug_` are named after mistakes that others shipped.

use std::sync::Arc;

use sluice_pipeline::{
    catalog::{Catalog, Position, catalog_hash},
    subscription::{Built, Changed, Step, Subscription},
    sync::Rules,
};
use sluice_proto::{
    node::v1::{
        CatalogAck, ControlPlaneHeartbeat, Delta, Resource, SnapshotChunk, SnapshotRequest,
        sync_catalog_response::Message,
    },
    sync::v1::Sync,
};

use crate::support::{SyncExt, sync};

fn hash(syncs: &[Sync]) -> String {
    catalog_hash(syncs.iter().map(|sync| (sync.uid.as_str(), sync.etag.as_str())))
}

/// A whole snapshot in one chunk.
fn snapshot(epoch: &str, revision: i64, syncs: &[Sync]) -> Message {
    Message::Snapshot(chunk(epoch, revision, 0, syncs, Some(hash(syncs))))
}

fn chunk(epoch: &str, revision: i64, index: u32, syncs: &[Sync], complete: Option<String>) -> SnapshotChunk {
    SnapshotChunk {
        epoch: epoch.into(),
        revision,
        index,
        resources: syncs.iter().map(Resource::of_sync).collect(),
        complete: complete.is_some(),
        catalog_hash: complete.unwrap_or_default(),
    }
}

/// From one revision to another, where `all` is what there is then.
fn delta(from_revision: i64, revision: i64, upserts: &[Sync], deletions: &[&str], all: &[Sync]) -> Message {
    Message::Delta(Delta {
        epoch: "e1".into(),
        from_revision,
        revision,
        upserts: upserts.iter().map(Resource::of_sync).collect(),
        deletions: deletions.iter().map(|uid| (*uid).to_owned()).collect(),
        catalog_hash: hash(all),
    })
}

fn heartbeat(Position { epoch, revision, hash }: Position) -> Message {
    Message::Heartbeat(ControlPlaneHeartbeat { epoch, revision, catalog_hash: hash })
}

#[track_caller]
fn built(step: Step) -> Built {
    let Step::Build(update) = step else { panic!("{step:?} is no update") };
    update.build(&Rules::default()).unwrap()
}

#[track_caller]
fn acked(subscription: &mut Subscription, message: Message) -> CatalogAck {
    let built = built(subscription.take(message));
    subscription.serve(built)
}

#[track_caller]
fn asked(step: Step) -> String {
    let Step::Ask(SnapshotRequest { reason }) = step else { panic!("{step:?} is no question") };
    reason
}

fn serving(syncs: &[Sync]) -> Subscription {
    let mut subscription = Subscription::new(Arc::new(Catalog::empty()));
    acked(&mut subscription, snapshot("e1", 1, syncs));
    subscription
}

#[test]
fn rule_3_the_catalog_is_swapped_at_the_last_chunk_and_not_before() {
    let (a, b) = (sync("a"), sync("b"));
    let mut subscription = serving(&[sync("old")]);
    let first = chunk("e2", 7, 0, std::slice::from_ref(&a), None);
    assert!(matches!(subscription.take(Message::Snapshot(first)), Step::Nothing));
    assert_eq!(subscription.position().revision, 1);
    let last = chunk("e2", 7, 1, std::slice::from_ref(&b), Some(hash(&[a, b.clone()])));
    let built = built(subscription.take(Message::Snapshot(last)));
    assert_eq!((subscription.position().revision, &built.changed), (1, &Changed::All), "built is not served");
    let ack = subscription.serve(built);
    assert_eq!((ack.epoch.as_str(), ack.revision), ("e2", 7));
    assert_eq!(subscription.catalog().uids().collect::<Vec<_>>(), ["uid-a", "uid-b"]);
}

#[test]
fn rule_3_a_snapshot_that_is_broken_off_by_the_stream_begins_anew() {
    let mut subscription = serving(&[]);
    let first = chunk("e1", 2, 0, &[sync("a")], None);
    assert!(matches!(subscription.take(Message::Snapshot(first)), Step::Nothing));
    subscription.connect();
    let second = chunk("e1", 2, 1, &[sync("b")], Some(hash(&[sync("a"), sync("b")])));
    assert!(asked(subscription.take(Message::Snapshot(second))).contains("chunk 1 came where chunk 0 was due"));
}

#[test]
fn rule_4_a_delta_from_elsewhere_is_answered_by_asking_for_all() {
    let (a, b) = (sync("a"), sync("b"));
    let mut subscription = serving(std::slice::from_ref(&a));
    let all = [a, b.clone()];
    assert!(asked(subscription.take(delta(0, 2, std::slice::from_ref(&b), &[], &all))).contains("from revision 0"));
    let Message::Delta(other_epoch) = delta(1, 2, &[b], &[], &all) else { unreachable!() };
    let other_epoch = Message::Delta(Delta { epoch: "e0".into(), ..other_epoch });
    assert!(asked(subscription.take(other_epoch)).contains("epoch"));
    assert_eq!(subscription.position().revision, 1);
}

#[test]
fn what_does_not_add_up_to_its_hash_is_not_served() {
    let mut subscription = serving(&[]);
    for message in [delta(1, 2, &[sync("a")], &[], &[sync("b")]), {
        Message::Snapshot(chunk("e1", 2, 0, &[sync("a")], Some(hash(&[sync("b")]))))
    }] {
        let Step::Build(update) = subscription.take(message) else { panic!("no update") };
        let error = update.build(&Rules::default()).unwrap_err();
        assert!(error.to_string().contains("the syncs have the hash sum256:"), "{error}");
        subscription.ask(&error.to_string());
        assert_eq!(subscription.position().revision, 1);
    }
}

#[test]
fn garbage_in_place_of_a_sync_is_not_served() {
    let mut subscription = serving(&[]);
    let mut broken = chunk("e1", 2, 0, &[], Some(hash(&[])));
    broken.resources.push(Resource::of_encoded_sync(b"\xff".to_vec().into()));
    let Step::Build(update) = subscription.take(Message::Snapshot(broken)) else { panic!("no update") };
    assert_eq!(update.build(&Rules::default()).unwrap_err().to_string(), "a sync cannot be read");
}

#[test]
fn rule_6_heartbeats_that_differ_twice_in_a_row_ask_for_a_snapshot() {
    let mut subscription = serving(&[sync("a")]);
    let same = subscription.position();
    let others = [
        Position { epoch: "e0".into(), ..same.clone() },
        Position { revision: 2, ..same.clone() },
        Position { hash: hash(&[]), ..same.clone() },
    ];
    for other in others {
        for message in [heartbeat(other.clone()), heartbeat(same.clone()), heartbeat(other.clone())] {
            assert!(matches!(subscription.take(message), Step::Nothing));
        }
        assert!(asked(subscription.take(heartbeat(other))).contains("heartbeats"));
    }
}

#[test]
fn bug_a_nack_is_mistaken_for_an_ack() {
    // There is no other answer than an ack that names what is refused, all of it each time, or a snapshot request: an ack
    // can be no half of a yes.
    let good = sync("a");
    let mut subscription = serving(std::slice::from_ref(&good));
    let bad = good.with(|sync| {
        sync.required_features = vec!["time.travel".into()];
        sync.revision = 2;
    });
    let ack = acked(&mut subscription, delta(1, 2, std::slice::from_ref(&bad), &[], std::slice::from_ref(&bad)));
    assert_eq!((ack.refused.len(), ack.refused[0].uid.as_str(), ack.refused[0].revision), (1, "uid-a", 2));
    let other = sync("b");
    let ack = acked(&mut subscription, delta(2, 3, std::slice::from_ref(&other), &[], &[bad, other.clone()]));
    assert_eq!((ack.revision, ack.refused.len()), (3, 1), "an ack of something else does not forget the refusal");
}

#[test]
fn bug_a_deletion_leaks_over_a_reconnect() {
    let mut subscription = serving(&[sync("a"), sync("gone")]);
    subscription.connect();
    acked(&mut subscription, snapshot("e1", 5, &[sync("a")]));
    assert_eq!(subscription.catalog().uids().collect::<Vec<_>>(), ["uid-a"]);
    subscription.connect();
    let built = built(subscription.take(delta(5, 6, &[], &["uid-a"], &[])));
    assert_eq!(built.changed, Changed::Some { upserts: vec![], deletions: vec!["uid-a".into()] }, "on disk, too");
    subscription.serve(built);
    assert_eq!(subscription.catalog().uids().len(), 0);
}

#[test]
fn bug_the_first_version_is_reported_in_place_of_the_latest() {
    let a = sync("a");
    let mut subscription = serving(std::slice::from_ref(&a));
    let second = a.with(|sync| sync.display_name = "second".into());
    acked(&mut subscription, delta(1, 2, std::slice::from_ref(&second), &[], std::slice::from_ref(&second)));
    let latest = Position { epoch: "e1".into(), revision: 2, hash: hash(&[second]) };
    assert_eq!(subscription.position(), latest);
    assert_eq!(subscription.connect(), latest, "the hello of the next stream says the latest, too");
}

#[test]
fn bug_a_failed_write_leaves_the_node_believing_what_it_does_not_hold() {
    let mut subscription = serving(&[]);
    let before = subscription.position();
    let built = built(subscription.take(delta(1, 2, &[sync("a")], &[], &[sync("a")])));
    // The disk is full: the stream ends, and the next hello says what holds.
    drop(built);
    assert_eq!(subscription.connect(), before);
}

#[test]
fn rule_7_a_delta_with_a_hash_of_an_unknown_kind_follows_on_a_snapshot_only() {
    let mut subscription = serving(&[]);
    let unknown = |from_revision, revision| {
        let Message::Delta(delta) = delta(from_revision, revision, &[sync("a")], &[], &[]) else { unreachable!() };
        Message::Delta(Delta { catalog_hash: "tree:42".into(), ..delta })
    };
    assert!(asked(subscription.take(unknown(1, 2))).contains("unknown kind"));
    acked(&mut subscription, Message::Snapshot(chunk("e1", 2, 0, &[], Some("tree:41".into()))));
    assert_eq!(acked(&mut subscription, unknown(2, 3)).catalog_hash, "tree:42");
}

#[test]
fn rule_7_a_hash_of_an_unknown_kind_is_given_back_and_asks_for_nothing() {
    let mut subscription = serving(&[]);
    let told = |hash: &str| Position { epoch: "e1".into(), revision: 2, hash: hash.into() };
    for unknown in ["tree:42", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", ""] {
        let message = chunk("e1", 2, 0, &[sync("a")], Some(unknown.into()));
        let ack = acked(&mut subscription, Message::Snapshot(message));
        assert_eq!((ack.revision, ack.catalog_hash.as_str()), (2, unknown));
        for _ in 0..9 {
            assert!(matches!(subscription.take(heartbeat(told(unknown))), Step::Nothing));
        }
        assert_eq!(subscription.connect(), told(unknown));
    }
    // Once it is told one that it knows, it checks again.
    acked(&mut subscription, delta(2, 3, &[], &[], &[sync("a")]));
    assert_eq!(subscription.position().hash, hash(&[sync("a")]));
}
