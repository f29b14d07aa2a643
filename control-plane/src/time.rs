//! Instants on the wire and in the store.

use prost_types::Timestamp;
use sluice_pipeline::violation::reason;

use crate::error::Error;

/// An instant, from milliseconds since the epoch.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: ms.div_euclid(1_000), nanos }
}

/// Milliseconds since the epoch, rounded down; a missing instant is the epoch, what lies too far off the last that counts.
pub(crate) fn millis(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| {
        time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos.div_euclid(1_000_000)))
    })
}

/// The first whole millisecond at or after an instant that a caller gave in `field`: instants are stored rounded down.
///
/// # Errors
/// If it is not a valid timestamp.
pub(crate) fn bound(field: &str, time: &Timestamp) -> Result<i64, Error> {
    let valid = (0..1_000_000_000).contains(&time.nanos);
    let seconds = time.seconds.checked_mul(1_000).filter(|_| valid);
    let ms = seconds.and_then(|ms| ms.checked_add(i64::from((time.nanos + 999_999) / 1_000_000)));
    ms.ok_or_else(|| Error::invalid(field, reason::OUT_OF_RANGE, "not a timestamp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_the_way_there_and_back() {
        for ms in [0, 1, 999, 1_000, 1_700_000_000_123, -1] {
            assert_eq!(millis(Some(&timestamp(ms))), ms);
            assert_eq!(bound("f", &timestamp(ms)).unwrap(), ms);
        }
        assert_eq!(millis(Some(&Timestamp { seconds: i64::MAX, nanos: 0 })), i64::MAX);
    }

    #[test]
    fn bounds_are_rounded_up_and_checked() {
        assert_eq!(bound("f", &Timestamp { seconds: 1, nanos: 1 }).unwrap(), 1_001);
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0)] {
            assert!(bound("f", &Timestamp { seconds, nanos }).is_err());
        }
    }
}
