//! What a process leaves behind so that the next one knows how much time has passed, whatever has become of the machine's
//! clock in between. Decides only.

/// So much may the machine's clock differ from the true time before it counts as a jump, in milliseconds. Corrections that
/// keep it right are far smaller.
pub const TOLERANCE_MS: i64 = 2_000;

/// A moment, told twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeMark {
    /// Milliseconds since the Unix epoch, by our clock.
    pub wall_ms: i64,
    /// Names the boot of the machine; empty where that cannot be known.
    pub boot_id: String,
    /// Milliseconds since that boot, sleep included.
    pub since_boot_ms: i64,
}

/// Where a clock goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What time it is, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// How far the machine's clock has jumped, as far as that can be known: forward (positive) or back (negative); 0 if it
    /// has not.
    pub jump_ms: i64,
}

/// What time it is at a start, after `stored` was the newest moment on disk. `now` is what the machine says.
/// `anything_open`: whether something that is kept hangs on the time; if not, the machine is believed.
///
/// On the same boot the time that has truly passed is known, and a clock that was set in between moves nothing. After another
/// boot it is not: a clock that is behind the stored time counts as that time, one that is ahead is believed.
#[must_use]
pub fn resume(stored: &TimeMark, now: &TimeMark, anything_open: bool) -> Resumed {
    let same_boot = !now.boot_id.is_empty() && now.boot_id == stored.boot_id;
    let passed_ms =
        now.since_boot_ms.checked_sub(stored.since_boot_ms).filter(|passed_ms| same_boot && *passed_ms >= 0);
    let not_before_ms = now.wall_ms.max(stored.wall_ms);
    let (now_ms, jump_ms) = match passed_ms {
        Some(passed_ms) => {
            let true_ms = stored.wall_ms.saturating_add(passed_ms);
            let jump_ms = now.wall_ms.saturating_sub(true_ms);
            if jump_ms.saturating_abs() > TOLERANCE_MS { (true_ms, jump_ms) } else { (not_before_ms, 0) }
        }
        None => (not_before_ms, now.wall_ms.saturating_sub(not_before_ms)),
    };
    Resumed { now_ms: if anything_open { now_ms } else { now.wall_ms }, jump_ms }
}

/// Notices that the machine's clock was set.
#[derive(Clone, Copy, Debug)]
pub struct JumpWatch {
    /// By how much the machine's clock is ahead of ours.
    ahead_ms: i64,
}

impl JumpWatch {
    /// Watches from here on. `wall_ms`: what the machine says; `our_ms`: what our clock says.
    #[must_use]
    pub fn new(wall_ms: i64, our_ms: i64) -> Self {
        Self { ahead_ms: wall_ms.saturating_sub(our_ms) }
    }

    /// How far the machine's clock has jumped since the last jump, or the beginning: forward (positive) or back (negative).
    pub fn observe(&mut self, wall_ms: i64, our_ms: i64) -> Option<i64> {
        let ahead_ms = wall_ms.saturating_sub(our_ms);
        let jump_ms = ahead_ms.saturating_sub(self.ahead_ms);
        if jump_ms.saturating_abs() <= TOLERANCE_MS {
            return None;
        }
        self.ahead_ms = ahead_ms;
        Some(jump_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;
    const NOW: i64 = 1_795_435_200_000;

    fn mark(wall_ms: i64, boot_id: &str, since_boot_ms: i64) -> TimeMark {
        TimeMark { wall_ms, boot_id: boot_id.to_owned(), since_boot_ms }
    }

    fn stored() -> TimeMark {
        mark(NOW, "a", 50_000)
    }

    #[test]
    fn on_the_same_boot_a_clock_that_was_set_moves_nothing() {
        for jump_ms in [DAY, -DAY, 2_001, -2_001] {
            let now = mark(NOW + 60_000 + jump_ms, "a", 110_000);
            assert_eq!(resume(&stored(), &now, true), Resumed { now_ms: NOW + 60_000, jump_ms });
        }
    }

    #[test]
    fn on_the_same_boot_a_clock_that_is_right_is_believed() {
        for drift_ms in [0, 2_000, -2_000] {
            let now = mark(NOW + 60_000 + drift_ms, "a", 110_000);
            assert_eq!(resume(&stored(), &now, true), Resumed { now_ms: NOW + 60_000 + drift_ms, jump_ms: 0 });
        }
        let at_once = mark(NOW - 500, "a", 50_000);
        assert_eq!(resume(&stored(), &at_once, true), Resumed { now_ms: NOW, jump_ms: 0 }, "but never goes back");
    }

    #[test]
    fn after_another_boot_the_stored_time_is_the_earliest() {
        for boot_id in ["b", ""] {
            let behind = mark(NOW - DAY, boot_id, 1_000);
            assert_eq!(resume(&stored(), &behind, true), Resumed { now_ms: NOW, jump_ms: -DAY });
            let ahead = mark(NOW + DAY, boot_id, 1_000);
            assert_eq!(resume(&stored(), &ahead, true), Resumed { now_ms: NOW + DAY, jump_ms: 0 });
        }
        let nobody_knows = mark(NOW, "", 50_000);
        let later = mark(NOW - DAY, "", 60_000);
        assert_eq!(resume(&nobody_knows, &later, true).now_ms, NOW, "two that are not known are not the same");
        let copied = mark(NOW - DAY, "a", 40_000);
        assert_eq!(
            resume(&stored(), &copied, true).now_ms,
            NOW,
            "less time since boot is another boot in all but name"
        );
    }

    #[test]
    fn with_nothing_open_the_machine_is_believed() {
        let now = mark(NOW - DAY, "a", 110_000);
        assert_eq!(resume(&stored(), &now, false), Resumed { now_ms: NOW - DAY, jump_ms: -DAY - 60_000 });
        let rebooted = mark(NOW - DAY, "b", 0);
        assert_eq!(resume(&stored(), &rebooted, false), Resumed { now_ms: NOW - DAY, jump_ms: -DAY });
    }

    #[test]
    fn no_values_are_too_great() {
        let extremes = [i64::MIN, -1, 0, 1, i64::MAX];
        for (stored_ms, now_ms) in extremes.iter().flat_map(|a| extremes.map(|b| (*a, b))) {
            for (before_ms, since_ms) in extremes.iter().flat_map(|a| extremes.map(|b| (*a, b))) {
                for open in [true, false] {
                    let _ = resume(&mark(stored_ms, "a", before_ms), &mark(now_ms, "a", since_ms), open);
                }
            }
            let _ = JumpWatch::new(stored_ms, now_ms).observe(now_ms, stored_ms);
        }
    }

    #[test]
    fn each_jump_is_noticed_once() {
        let mut watch = JumpWatch::new(NOW, NOW);
        assert_eq!(watch.observe(NOW + 10_000, NOW + 10_000), None);
        assert_eq!(watch.observe(NOW + 20_000 + DAY, NOW + 20_000), Some(DAY));
        assert_eq!(watch.observe(NOW + 30_000 + DAY, NOW + 30_000), None);
        assert_eq!(watch.observe(NOW + 40_000 + 1_000, NOW + 40_000), Some(1_000 - DAY));
        assert_eq!(watch.observe(NOW + 50_000 - 1_000, NOW + 50_000), None, "within what is tolerated");
    }
}
