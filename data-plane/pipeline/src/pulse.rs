//! When a side of a catalog stream speaks, and when the other's silence ends the stream. The same for nodes and the control plane.

/// Between heartbeats.
pub const HEARTBEAT_MS: i64 = 10_000;

/// Who says nothing for so long is gone: a connection that is half open breaks no other way.
pub const SILENCE_MS: i64 = 40_000;

/// What is due on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing, until [`Pulse::due_ms`].
    Wait,
    /// To send a heartbeat; the next one is due later.
    Heartbeat,
    /// To end the stream: the other side has said nothing for [`SILENCE_MS`].
    Silent,
    /// To end the stream, as it has lived long enough, and to begin another.
    Over,
}

/// One side's pulse on one stream.
#[derive(Clone, Debug)]
pub struct Pulse {
    heartbeat_ms: i64,
    silent_ms: i64,
    over_ms: i64,
}

impl Pulse {
    /// Of a stream that begins now, the first heartbeat in `first_heartbeat_in_ms`, and lives `lifetime_ms` at most.
    #[must_use]
    pub fn new(now_ms: i64, first_heartbeat_in_ms: i64, lifetime_ms: i64) -> Self {
        Self {
            heartbeat_ms: now_ms.saturating_add(first_heartbeat_in_ms),
            silent_ms: now_ms.saturating_add(SILENCE_MS),
            over_ms: now_ms.saturating_add(lifetime_ms),
        }
    }

    /// The other side has said something, whatever it is. What this side sends says nothing about the other.
    pub fn heard(&mut self, now_ms: i64) {
        self.silent_ms = now_ms.saturating_add(SILENCE_MS);
    }

    /// When to ask again what is due.
    #[must_use]
    pub fn due_ms(&self) -> i64 {
        self.heartbeat_ms.min(self.silent_ms).min(self.over_ms)
    }

    /// What is due now.
    #[must_use]
    pub fn beat(&mut self, now_ms: i64) -> Beat {
        if now_ms >= self.silent_ms {
            Beat::Silent
        } else if now_ms >= self.over_ms {
            Beat::Over
        } else if now_ms >= self.heartbeat_ms {
            self.heartbeat_ms = now_ms.saturating_add(HEARTBEAT_MS);
            Beat::Heartbeat
        } else {
            Beat::Wait
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_come_every_ten_seconds_as_long_as_the_other_side_speaks() {
        let mut pulse = Pulse::new(0, 0, i64::MAX);
        for now_ms in [0, 10_000, 20_000, 30_000, 40_000, 50_000] {
            pulse.heard(now_ms);
            assert_eq!(pulse.due_ms(), now_ms);
            assert_eq!(pulse.beat(now_ms), Beat::Heartbeat);
            assert_eq!(pulse.beat(now_ms), Beat::Wait);
        }
    }

    #[test]
    fn bug_a_silent_half_open_stream_goes_on_as_if_it_lived() {
        // One's own heartbeats still leave, into a connection that nobody reads.
        let mut pulse = Pulse::new(0, HEARTBEAT_MS, i64::MAX);
        let mut sent = 0;
        loop {
            let now_ms = pulse.due_ms();
            match pulse.beat(now_ms) {
                Beat::Heartbeat => sent += 1,
                Beat::Silent => break assert_eq!((now_ms, sent), (SILENCE_MS, 3)),
                other => panic!("{other:?} at {now_ms}"),
            }
        }
    }

    #[test]
    fn a_stream_ends_when_it_has_lived_long_enough() {
        let mut pulse = Pulse::new(0, HEARTBEAT_MS, 15_000);
        assert_eq!((pulse.due_ms(), pulse.beat(10_000)), (10_000, Beat::Heartbeat));
        assert_eq!((pulse.due_ms(), pulse.beat(15_000)), (15_000, Beat::Over));
    }
}
