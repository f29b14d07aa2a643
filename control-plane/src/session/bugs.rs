//! Mistakes that other push protocols have shipped, each with the test that would find it here. The node's side of them is in
//! `sluice_pipeline`'s tests of `subscription` and `pulse`.

use super::{
    Session, Step,
    tests::{at, is_snapshot, next, settled},
};
use crate::changelog::Position;

#[test]
fn bug_a_nack_is_mistaken_for_an_ack() {
    let mut session = settled(3);
    session.sent_delta(at(4));
    session.snapshot_requested();
    session.heartbeat(&at(3), &at(4));
    assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))), "4 does not count as held");
    // An ack of something else than what was sent is none either.
    let mut session = settled(3);
    session.sent_delta(at(4));
    session.acked(Position { hash: "another".into(), ..at(4) });
    assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))));
}

#[test]
fn bug_a_deletion_leaks_over_a_reconnect() {
    // What was deleted at 4 is in the delta from 3, as long as the change log knows it; then everything is replaced.
    let session = Session::new(at(3));
    assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Delta { from: 3 });
    assert!(is_snapshot(&next(&session, &at(20_000), None)));
    // A node that missed a deletion and says that it holds the revision is found out by the hash.
    let missed = Session::new(Position { hash: "with what is gone".into(), ..at(4) });
    assert!(is_snapshot(&next(&missed, &at(4), Some("hash 4"))));
}

#[test]
fn bug_a_node_forgot_what_the_server_believes_it_knows() {
    // Over a reconnect the hello counts, not what the node acked before.
    let before = settled(3);
    assert_eq!(next(&before, &at(3), Some("hash 3")), Step::Nothing);
    assert!(is_snapshot(&next(&Session::new(Position::default()), &at(3), Some("hash 0"))));
    // Within a stream its heartbeats do.
    let mut session = settled(3);
    for _ in 0..2 {
        session.heartbeat(&Position::default(), &at(3));
    }
    assert!(is_snapshot(&next(&session, &at(3), Some("hash 3"))));
    // An empty catalog has the same revision and hash in every epoch: the epoch tells.
    let mut session = settled(0);
    session.heartbeat(&Position { epoch: String::new(), ..at(0) }, &at(0));
    assert!(is_snapshot(&next(&session, &at(0), Some("hash 0"))));
}

#[test]
fn bug_the_first_version_counts_in_place_of_the_latest() {
    let mut session = settled(3);
    for revision in 4..7 {
        session.sent_delta(at(revision));
        session.acked(at(revision));
    }
    assert_eq!(next(&session, &at(6), Some("hash 6")), Step::Nothing);
    assert_eq!(next(&session, &at(7), Some("hash 6")), Step::Delta { from: 6 });
}

#[test]
fn bug_revisions_are_not_unique_after_a_failover() {
    // A store that was restored at 2 has counted up to 3 again with something else in it; even with the same hash it is
    // another epoch, and what is equal in revision and hash alone is not the same.
    let restored = |revision| Position { epoch: "e2".into(), ..at(revision) };
    for newest in [2, 3, 4] {
        assert!(is_snapshot(&next(&Session::new(at(3)), &restored(newest), Some("hash 3"))), "{newest}");
    }
    let mut session = Session::new(Position::default());
    session.sent_snapshot(restored(3));
    session.acked(restored(3));
    session.heartbeat(&at(3), &restored(3));
    assert!(is_snapshot(&next(&session, &restored(3), Some("hash 3"))), "a heartbeat of the old epoch does not pass");
}

#[test]
fn bug_a_new_server_meets_an_old_session() {
    // It has sent nothing yet; the node, still in the middle of its talk with the old one, acks what it never saw.
    let mut session = Session::new(at(3));
    session.acked(at(9));
    assert!(is_snapshot(&next(&session, &at(5), Some("hash 9"))), "ahead of this store");
    // Of the same store it goes on from there.
    let mut session = Session::new(at(3));
    session.acked(at(4));
    assert_eq!(next(&session, &at(5), Some("hash 4")), Step::Delta { from: 4 });
    // An ack of the old talk does not count for what this one has sent.
    let mut session = Session::new(at(3));
    session.sent_delta(at(5));
    session.acked(at(4));
    assert!(is_snapshot(&next(&session, &at(5), Some("hash 4"))));
}

#[test]
fn bug_a_silent_half_open_stream_is_awaited_for_ever() {
    // The node's heartbeats come, its ack does not: the update is lost in a stream that is open one way.
    let mut session = settled(3);
    session.sent_delta(at(4));
    for _ in 0..super::UNACKED_HEARTBEATS {
        assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Nothing);
        session.heartbeat(&at(3), &at(4));
    }
    assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))));
}
