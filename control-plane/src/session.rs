//! A node's session, the part that decides: what does this node lack? Pure: no store, no sockets, no clock.
//!
//! The shell (`feed.rs`, `api/catalog.rs`) tells what the node says and what the store holds, and does what comes back. At most
//! one delta or snapshot is on its way at a time: what changes meanwhile goes into the next one. The other side of it is
//! `sluice_pipeline::subscription`.

use std::ops::RangeInclusive;

use sluice_proto::PROTOCOL_VERSION;

use crate::{changelog::Position, error::Error};

/// Versions of the session protocol that this control plane takes.
pub(crate) const PROTOCOL_VERSIONS: RangeInclusive<u32> = 1..=PROTOCOL_VERSION;

/// Node heartbeats after which an update that was not acked is given up for a snapshot.
const UNACKED_HEARTBEATS: u32 = 6;
/// Node heartbeats for which another revision than the acked one is borne with.
const STRAY_HEARTBEATS: u32 = 2;
/// The most node heartbeats between two attempts to heal a mismatch that snapshots don't cure.
const MAX_PATIENCE: u32 = 32;

/// What to do for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It lacks nothing, or an answer is awaited.
    Nothing,
    /// Send what has changed since this revision, if the change log knows it as the node does: see [`Session::judge`]. Even if
    /// that is nothing: the ack tells what the node refuses.
    Delta {
        /// The node's revision.
        from: i64,
    },
    /// Send everything.
    Snapshot {
        /// Why, for the log.
        reason: &'static str,
    },
}

/// What is known of one session.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the node holds, by its hello or its last ack.
    held: Position,
    /// Nothing has been sent yet: an update is due whatever the node says it holds.
    greeted: bool,
    in_flight: Option<InFlight>,
    /// A snapshot has to be sent, and why.
    wanted: Option<&'static str>,
    /// Node heartbeats in a row that did not fit.
    mismatches: u32,
    /// How many of them are borne with before a snapshot; doubles with each snapshot that has not helped.
    patience: u32,
    /// At this revision snapshots have not helped: only heartbeats bring another one.
    hopeless_at: Option<i64>,
}

/// An update that has been sent and not acked.
#[derive(Debug)]
struct InFlight {
    position: Position,
    is_snapshot: bool,
    /// The node's heartbeats since.
    heartbeats: u32,
}

/// Checks the version that a node's hello names.
///
/// # Errors
/// [`Error::ProtocolVersion`] outside [`PROTOCOL_VERSIONS`].
pub(crate) fn check_version(found: u32) -> Result<(), Error> {
    if PROTOCOL_VERSIONS.contains(&found) { Ok(()) } else { Err(Error::ProtocolVersion { found }) }
}

impl Session {
    /// The session of a node that says hello and holds `held`.
    pub(crate) fn new(held: Position) -> Self {
        Self { held, greeted: true, in_flight: None, wanted: None, mismatches: 0, patience: 1, hopeless_at: None }
    }

    /// Why a node at a revision that the change log does not hold gets a snapshot.
    pub(crate) const UNKNOWN_REVISION: &str = "the node's revision is not in the change log";

    /// What the node lacks, where `newest` is the newest position.
    pub(crate) fn next(&self, newest: &Position) -> Step {
        if self.in_flight.is_some() {
            return Step::Nothing;
        }
        if let Some(reason) = self.wanted {
            return Step::Snapshot { reason };
        }
        if (!self.greeted && self.held == *newest) || self.hopeless_at == Some(newest.revision) {
            return Step::Nothing;
        }
        if self.held.epoch.is_empty() {
            return Step::Snapshot { reason: "the node holds no catalog" };
        }
        if self.held.epoch != newest.epoch {
            return Step::Snapshot { reason: "the node's catalog is of another epoch" };
        }
        if self.held.revision > newest.revision {
            return Step::Snapshot { reason: "the node is ahead of the store" };
        }
        Step::Delta { from: self.held.revision }
    }

    /// Whether an answer to what was sent is awaited.
    pub(crate) fn is_waiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether nothing that was sent has failed since the last ack: else only the newest snapshot is worth a try.
    pub(crate) fn is_well(&self) -> bool {
        self.wanted.is_none() && self.patience == 1
    }

    /// Whether a delta may follow on what the node holds, where `hash_then` is the hash that the change log has for its revision.
    ///
    /// # Errors
    /// Why it must be a snapshot.
    pub(crate) fn judge(&self, hash_then: &str) -> Result<(), &'static str> {
        // Between changes that were made at once the catalog never stood: there is no hash.
        let is_same = hash_then == self.held.hash && !hash_then.is_empty();
        if is_same { Ok(()) } else { Err("the node's catalog is not what it was at its revision") }
    }

    /// A delta that leads to `position` has been sent.
    pub(crate) fn sent_delta(&mut self, position: Position) {
        self.sent(position, false);
    }

    /// A snapshot of `position` has been sent to its end.
    pub(crate) fn sent_snapshot(&mut self, position: Position) {
        self.sent(position, true);
    }

    fn sent(&mut self, position: Position, is_snapshot: bool) {
        self.in_flight = Some(InFlight { position, is_snapshot, heartbeats: 0 });
        self.greeted = false;
        self.wanted = None;
        self.mismatches = 0;
        self.hopeless_at = None;
    }

    /// The node serves `held`.
    pub(crate) fn acked(&mut self, held: Position) {
        match &self.in_flight {
            Some(sent) if sent.position == held => {
                self.in_flight = None;
                self.mismatches = 0;
                self.patience = 1;
            }
            // It says again what it held before the delta, which it has not read yet.
            Some(sent) if !sent.is_snapshot && self.held == held => {}
            Some(_) => self.failed("the node's ack differs from what it was sent"),
            // It says unasked what it serves: whether that is right shows by its hash.
            None => {}
        }
        self.held = held;
    }

    /// The node cannot use what it was sent.
    pub(crate) fn snapshot_requested(&mut self) {
        self.failed("the node asks for it");
    }

    /// The node lives and serves this; `newest` is the newest position.
    pub(crate) fn heartbeat(&mut self, serves: &Position, newest: &Position) {
        if let Some(sent) = &mut self.in_flight {
            sent.heartbeats += 1;
            if sent.heartbeats >= UNACKED_HEARTBEATS {
                self.failed("an update was not acked");
            }
            return;
        }
        // What it has acked may be older than the newest: the difference is about to be sent.
        if serves == newest || (self.hopeless_at.is_none() && *serves == self.held) {
            self.mismatches = 0;
            return;
        }
        self.mismatches += 1;
        let stray = if serves.revision == newest.revision { 1 } else { STRAY_HEARTBEATS };
        if self.mismatches >= self.patience * stray {
            self.wanted = Some("the node's heartbeats differ from the catalog");
        }
    }

    /// What was sent did not do. After a delta comes a snapshot; after a snapshot one more; then only heartbeats bring
    /// others, ever more rarely, so that a node that cannot be helped isn't sent snapshots without end.
    fn failed(&mut self, reason: &'static str) {
        match self.in_flight.take() {
            Some(sent) if sent.is_snapshot => {
                if self.patience > 1 {
                    self.hopeless_at = Some(sent.position.revision);
                } else {
                    self.wanted = Some(reason);
                }
                self.patience = (self.patience * 2).min(MAX_PATIENCE);
            }
            _ => self.wanted = Some(reason),
        }
        self.mismatches = 0;
    }
}

#[cfg(test)]
mod bugs;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent in the end, where the change log has `hash_then` for the node's revision.
    pub(super) fn next(session: &Session, newest: &Position, hash_then: Option<&str>) -> Step {
        match session.next(newest) {
            Step::Delta { from } => match hash_then.map(|hash| session.judge(hash)) {
                None => Step::Snapshot { reason: Session::UNKNOWN_REVISION },
                Some(Ok(())) => Step::Delta { from },
                Some(Err(reason)) => Step::Snapshot { reason },
            },
            step => step,
        }
    }

    pub(super) fn at(revision: i64) -> Position {
        Position { epoch: "e1".into(), revision, hash: format!("hash {revision}") }
    }

    pub(super) fn settled(revision: i64) -> Session {
        let mut session = Session::new(at(revision));
        session.sent_delta(at(revision));
        session.acked(at(revision));
        session
    }

    pub(super) fn is_snapshot(step: &Step) -> bool {
        matches!(step, Step::Snapshot { .. })
    }

    #[test]
    fn rule_2_equal_epoch_revision_and_hash_give_a_delta() {
        let session = Session::new(at(3));
        assert_eq!(next(&session, &at(5), Some("hash 3")), Step::Delta { from: 3 });
        assert_eq!(next(&session, &at(3), Some("hash 3")), Step::Delta { from: 3 }, "its ack tells what is refused");
    }

    #[test]
    fn rule_2_everything_else_gives_a_snapshot() {
        let other_epoch = Position { epoch: "e0".into(), ..at(3) };
        assert!(is_snapshot(&next(&Session::new(other_epoch), &at(5), Some("hash 3"))), "restored store");
        assert!(is_snapshot(&next(&Session::new(at(9)), &at(5), None)), "node ahead");
        assert!(is_snapshot(&next(&Session::new(at(3)), &at(5), Some("another"))), "hash");
        assert!(is_snapshot(&next(&Session::new(at(3)), &at(5), None)), "out of the change log");
        assert!(is_snapshot(&next(&Session::new(Position::default()), &at(0), Some("hash 0"))), "no catalog");
    }

    #[test]
    fn rule_4_a_node_that_cannot_use_a_delta_gets_a_snapshot() {
        let mut session = settled(3);
        assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Delta { from: 3 });
        session.sent_delta(at(4));
        session.snapshot_requested();
        assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))));
    }

    #[test]
    fn rule_5_one_update_is_on_its_way_until_it_is_acked() {
        let mut session = settled(3);
        assert_eq!(next(&session, &at(3), Some("hash 3")), Step::Nothing);
        session.sent_delta(at(4));
        assert_eq!(next(&session, &at(7), Some("hash 3")), Step::Nothing);
        session.acked(at(4));
        assert_eq!(
            next(&session, &at(7), Some("hash 4")),
            Step::Delta { from: 4 },
            "what came meanwhile goes together"
        );
    }

    #[test]
    fn rule_5_acks_that_nobody_waits_for_are_taken_for_what_they_say() {
        let mut session = Session::new(at(3));
        session.sent_delta(at(4));
        session.acked(at(3));
        assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Nothing, "the delta is still on its way");
        session.acked(at(4));
        session.acked(at(4));
        assert_eq!(next(&session, &at(4), Some("hash 4")), Step::Nothing);
        session.acked(at(2));
        assert_eq!(next(&session, &at(4), Some("hash 2")), Step::Delta { from: 2 });
        assert!(is_snapshot(&next(&session, &at(4), Some("another"))));
    }

    #[test]
    fn rule_5_an_update_that_is_never_acked_is_given_up_for_a_snapshot() {
        let mut session = settled(3);
        session.sent_delta(at(4));
        for _ in 1..UNACKED_HEARTBEATS {
            session.heartbeat(&at(3), &at(4));
            assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Nothing);
        }
        session.heartbeat(&at(3), &at(4));
        assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))));
    }

    #[test]
    fn rule_6_another_hash_at_the_same_revision_heals_by_a_snapshot() {
        let mut session = settled(3);
        session.heartbeat(&Position { hash: "another".into(), ..at(3) }, &at(3));
        assert!(is_snapshot(&next(&session, &at(3), Some("hash 3"))));
    }

    #[test]
    fn rule_6_another_revision_heals_by_a_snapshot_if_it_lasts() {
        let mut session = settled(3);
        session.heartbeat(&at(2), &at(3));
        assert_eq!(next(&session, &at(3), Some("hash 3")), Step::Nothing);
        session.heartbeat(&at(3), &at(3));
        session.heartbeat(&at(2), &at(3));
        assert_eq!(next(&session, &at(3), Some("hash 3")), Step::Nothing);
        session.heartbeat(&at(2), &at(3));
        assert!(is_snapshot(&next(&session, &at(3), Some("hash 3"))));
    }

    #[test]
    fn rule_6_a_heartbeat_that_crosses_a_change_is_no_mismatch() {
        let mut session = settled(3);
        for _ in 0..9 {
            session.heartbeat(&at(3), &at(4));
        }
        assert_eq!(next(&session, &at(4), Some("hash 3")), Step::Delta { from: 3 });
    }

    #[test]
    fn rule_6_a_node_that_cannot_be_helped_gets_snapshots_ever_more_rarely() {
        let wrong = Position { hash: "wrong".into(), ..at(3) };
        let mut session = settled(3);
        let mut heartbeats_between = Vec::new();
        let mut heartbeats = 0;
        while heartbeats_between.len() < 8 {
            if is_snapshot(&next(&session, &at(3), Some("hash 3"))) {
                heartbeats_between.push(heartbeats);
                heartbeats = 0;
                session.sent_snapshot(at(3));
                session.acked(wrong.clone());
            } else {
                session.heartbeat(&Position { hash: "wrong".into(), ..at(3) }, &at(3));
                heartbeats += 1;
            }
        }
        assert_eq!(heartbeats_between, [1, 0, 4, 8, 16, 32, 32, 32]);
        assert!(is_snapshot(&next(&session, &at(4), Some("hash 3"))), "a new revision is sent at once");
    }

    #[test]
    fn rule_7_only_versions_outside_the_range_are_refused() {
        for version in PROTOCOL_VERSIONS {
            check_version(version).unwrap();
        }
        for version in [0, PROTOCOL_VERSION + 1, u32::MAX] {
            let error = check_version(version).unwrap_err().to_string();
            assert!(error.contains(&format!("version {version} ")) && error.contains("takes 1 to 1"), "{error}");
        }
    }
}
