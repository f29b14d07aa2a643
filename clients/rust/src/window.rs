//! What a publisher holds and what it does next. Pure: no sockets, no clock, no randomness. The worker tells it what was
//! sent to it and what came from the node; it answers what to send.
//!
//! Events are kept until they are acked. After a reconnect *all* of them are sent again, also those that the node says it
//! has: it does not store them twice, but it says again which of them it refused, and that may be what got lost.

use std::collections::VecDeque;

use bytes::Bytes;
use sluice_proto::event::v1::{self, RejectionReason};

use crate::error::Error;

/// Largest event that a publisher sends: 3 MiB. Nodes refuse events above 1 MiB one by one; this bound keeps an event from
/// breaking the stream for all the others.
pub const MAX_EVENT_BYTES: usize = 3 << 20;

/// Most events in one batch.
const MAX_BATCH_EVENTS: usize = 256;
/// Bytes at which a batch is full, if the node does not ask for smaller ones.
const MAX_BATCH_BYTES: usize = 256 << 10;

/// An event that the node refused; it is acked and will not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its sequence.
    pub sequence: u64,
    /// Why, for programs.
    pub reason: RejectionReason,
    /// Why and what would be right, for people.
    pub message: String,
}

/// Events from the oldest unacked one to the newest, and how far the present stream has sent them.
#[derive(Debug)]
pub(crate) struct Window {
    /// Sequence of the first element of `held`.
    oldest: u64,
    held: VecDeque<Bytes>,
    /// Sequence of the next event to send on this stream; never less than `oldest`.
    next_to_send: u64,
    /// Bytes sent on this stream and not acked.
    in_flight: usize,
    /// The newest rejection that was passed on.
    last_rejected: u64,
    window_bytes: usize,
    max_batch_bytes: usize,
}

/// What an ack came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Events that are done with since the ack before.
    pub(crate) events: u64,
    /// Those that were refused and not told before, by sequence.
    pub(crate) rejections: Vec<Rejected>,
}

impl Window {
    /// Nothing held; the first event will have the sequence `first`.
    pub(crate) fn new(first: u64) -> Self {
        Self {
            oldest: first,
            held: VecDeque::new(),
            next_to_send: first,
            in_flight: 0,
            last_rejected: 0,
            window_bytes: usize::MAX,
            max_batch_bytes: MAX_BATCH_BYTES,
        }
    }

    /// Takes one more event, with the next sequence.
    pub(crate) fn push(&mut self, event: Bytes) {
        self.held.push_back(event);
    }

    /// The last sequence that is acked; 0 if the first one is 1 and nothing is.
    pub(crate) fn acked(&self) -> u64 {
        self.oldest.saturating_sub(1)
    }

    /// Whether everything is acked.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether an ack is owed for something that this stream has sent.
    pub(crate) fn awaits_ack(&self) -> bool {
        self.next_to_send > self.oldest
    }

    /// First message of a new stream.
    pub(crate) fn open(&mut self, producer_id: &str) -> v1::Open {
        self.next_to_send = self.oldest;
        self.in_flight = 0;
        v1::Open { producer_id: producer_id.to_owned(), first_sequence: self.oldest }
    }

    /// Where the node stands. Gives how many of the events from the oldest unacked on it holds already.
    ///
    /// [`Error::Gap`] if the node lacks events that were acked, so by another node.
    pub(crate) fn opened(&mut self, opened: &v1::Opened) -> Result<u64, Error> {
        if opened.next_sequence < self.oldest {
            return Err(Error::Gap { expected: opened.next_sequence, oldest: self.oldest });
        }
        self.window_bytes = limit(opened.window_bytes, usize::MAX);
        self.max_batch_bytes = limit(opened.max_batch_bytes, MAX_BATCH_BYTES);
        Ok(opened.next_sequence - self.oldest)
    }

    /// Whether [`Window::next_batch`] has something to send now.
    pub(crate) fn can_send(&self) -> bool {
        self.unsent().next().is_some_and(|event| self.fits(event))
    }

    /// The next events to send, within the limits of batch and window; an event above them goes alone.
    pub(crate) fn next_batch(&mut self) -> Option<v1::Batch> {
        let first_sequence = self.next_to_send;
        let mut events = Vec::new();
        let mut bytes = 0_usize;
        while events.len() < MAX_BATCH_EVENTS {
            let Some(event) = self.unsent().next() else { break };
            let full = !events.is_empty() && bytes.saturating_add(event.len()) > self.max_batch_bytes;
            if full || !self.fits(event) {
                break;
            }
            bytes = bytes.saturating_add(event.len());
            let json = event.clone();
            self.in_flight = self.in_flight.saturating_add(json.len());
            self.next_to_send += 1;
            events.push(v1::Event { json, traceparent: String::new(), tracestate: String::new() });
        }
        (!events.is_empty()).then_some(v1::Batch { first_sequence, events })
    }

    /// Forgets what is acked. An ack counts only for what this stream has sent, so that the rejections among the rest are
    /// still told; a rejection is told once.
    pub(crate) fn acked_by(&mut self, ack: v1::Ack) -> Acked {
        let mut acked = Acked::default();
        while self.oldest <= ack.acked_sequence_inclusive && self.oldest < self.next_to_send {
            let Some(event) = self.held.pop_front() else { break };
            self.in_flight = self.in_flight.saturating_sub(event.len());
            self.oldest += 1;
            acked.events += 1;
        }
        let mut rejections = ack.rejections;
        rejections.sort_by_key(|rejection| rejection.sequence);
        for rejection in rejections {
            if rejection.sequence > self.last_rejected && rejection.sequence < self.next_to_send {
                self.last_rejected = rejection.sequence;
                acked.rejections.push(Rejected {
                    sequence: rejection.sequence,
                    reason: rejection.reason(),
                    message: rejection.message,
                });
            }
        }
        acked
    }

    fn unsent(&self) -> impl Iterator<Item = &Bytes> {
        let sent = usize::try_from(self.next_to_send - self.oldest).unwrap_or(usize::MAX);
        self.held.range(sent.min(self.held.len())..)
    }

    fn fits(&self, event: &Bytes) -> bool {
        self.in_flight == 0 || self.in_flight.saturating_add(event.len()) <= self.window_bytes
    }
}

/// A limit as the node gave it; 0 means that it gave none.
fn limit(given: u64, most: usize) -> usize {
    match usize::try_from(given) {
        Ok(0) | Err(_) => most,
        Ok(given) => given.min(most),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(next_sequence: u64, window_bytes: u64) -> v1::Opened {
        v1::Opened { node: "nodes/a".into(), known: true, next_sequence, max_batch_bytes: 1000, window_bytes }
    }

    fn ack(acked_sequence_inclusive: u64, rejected: &[u64]) -> v1::Ack {
        let rejections = rejected
            .iter()
            .map(|&sequence| v1::Rejection {
                sequence,
                reason: RejectionReason::EventType.into(),
                message: "no type".into(),
            })
            .collect();
        v1::Ack { acked_sequence_inclusive, rejections }
    }

    fn window_of(events: usize, bytes: usize) -> Window {
        let mut window = Window::new(1);
        for _ in 0..events {
            window.push(Bytes::from(vec![b'x'; bytes]));
        }
        window.open("p");
        window.opened(&opened(1, 1_000_000)).unwrap();
        window
    }

    fn shape(batch: Option<v1::Batch>) -> Option<(u64, usize)> {
        batch.map(|batch| (batch.first_sequence, batch.events.len()))
    }

    fn told(acked: &Acked) -> Vec<u64> {
        acked.rejections.iter().map(|rejected| rejected.sequence).collect()
    }

    #[test]
    fn batches_are_packed_up_to_their_limits() {
        let mut window = window_of(25, 100);
        assert_eq!(shape(window.next_batch()), Some((1, 10)));
        assert_eq!(shape(window.next_batch()), Some((11, 10)));
        assert_eq!(shape(window.next_batch()), Some((21, 5)));
        assert_eq!(shape(window.next_batch()), None);
        assert!(window.awaits_ack());

        let mut many = window_of(600, 1);
        assert_eq!(shape(many.next_batch()), Some((1, 256)));
        assert_eq!(shape(many.next_batch()), Some((257, 256)));
        assert_eq!(shape(many.next_batch()), Some((513, 88)));
    }

    #[test]
    fn an_event_above_the_limits_goes_alone() {
        let mut window = window_of(0, 0);
        for bytes in [10, 5000, 10] {
            window.push(Bytes::from(vec![b'x'; bytes]));
        }
        window.window_bytes = 100;
        assert_eq!(shape(window.next_batch()), Some((1, 1)));
        assert!(!window.can_send(), "the window has no room for it while something is in flight");
        window.acked_by(ack(1, &[]));
        assert_eq!(shape(window.next_batch()), Some((2, 1)));
        window.acked_by(ack(2, &[]));
        assert_eq!(shape(window.next_batch()), Some((3, 1)));
    }

    #[test]
    fn no_more_is_in_flight_than_the_window_allows() {
        let mut window = window_of(25, 100);
        window.opened(&opened(1, 450)).unwrap();
        assert_eq!(shape(window.next_batch()), Some((1, 4)));
        assert!(!window.can_send());
        assert_eq!(window.acked_by(ack(3, &[])).events, 3);
        assert_eq!(shape(window.next_batch()), Some((5, 3)));
    }

    #[test]
    fn a_new_stream_sends_everything_unacked_again() {
        let mut window = window_of(20, 100);
        window.next_batch();
        window.next_batch();
        assert_eq!(window.acked_by(ack(7, &[])).events, 7);
        assert_eq!(window.open("p").first_sequence, 8);
        assert_eq!(window.opened(&opened(15, 10_000)).unwrap(), 7, "sequences 8 to 14 are on the node's disk");
        assert_eq!(shape(window.next_batch()), Some((8, 10)));
    }

    #[test]
    fn a_rejection_whose_ack_got_lost_is_told_after_the_resend_and_only_once() {
        let mut window = window_of(20, 100);
        window.next_batch();
        assert_eq!(told(&window.acked_by(ack(4, &[3]))), [3]);
        window.open("p");
        window.opened(&opened(11, 10_000)).unwrap();
        window.next_batch();
        let acked = window.acked_by(ack(14, &[9, 5]));
        assert_eq!((acked.events, told(&acked)), (10, vec![5, 9]));
        assert_eq!(told(&window.acked_by(ack(14, &[9]))), Vec::<u64>::new());
    }

    #[test]
    fn an_ack_counts_only_for_what_this_stream_has_sent() {
        let mut window = window_of(20, 100);
        window.next_batch();
        let acked = window.acked_by(ack(500, &[400]));
        assert_eq!((acked.events, told(&acked), window.acked()), (10, vec![], 10));
        assert_eq!(window.acked_by(ack(3, &[])), Acked::default(), "an older ack changes nothing");
    }

    #[test]
    fn a_node_that_lacks_acked_events_is_a_gap() {
        let mut window = window_of(20, 100);
        window.next_batch();
        window.acked_by(ack(7, &[]));
        window.open("p");
        assert!(matches!(window.opened(&opened(5, 10_000)), Err(Error::Gap { expected: 5, oldest: 8 })));
    }
}
