//! How much time has truly passed: a clock that nobody sets, and the name of what it counts from.

use std::time::Duration;

/// Names this boot of the machine: two processes that read the same one share [`ticks`]. Empty where that cannot be known.
pub(super) fn id() -> String {
    if cfg!(target_os = "linux") {
        // Unreadable in some sandboxes: then a restart is treated as that of a machine.
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    } else {
        String::new()
    }
}

/// Time since the machine's boot, sleep included.
#[cfg(target_os = "linux")]
pub(super) fn ticks() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    let ticks = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(ticks.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(ticks.tv_nsec).unwrap_or_default())
}

/// Time since the first call.
#[cfg(not(target_os = "linux"))]
pub(super) fn ticks() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static STARTED: OnceLock<Instant> = OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_forward_and_the_boot_stays_the_same() {
        let first = ticks();
        assert!(ticks() >= first);
        assert_eq!(id(), id());
    }
}
