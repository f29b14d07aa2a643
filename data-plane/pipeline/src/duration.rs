//! Durations as the wire has them.

use std::time::Duration;

/// The duration; one that is negative or malformed counts as the greatest, which is out of every field's bounds.
pub(crate) fn from_proto(duration: &prost_types::Duration) -> Duration {
    // not `TryFrom` of prost-types 0.14, which overflows on `i64::MIN`
    match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Duration::new(seconds, nanos),
        _ => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_are_none_are_out_of_every_bound() {
        let proto = |seconds, nanos| prost_types::Duration { seconds, nanos };
        assert_eq!(from_proto(&proto(1, 500_000_000)), Duration::from_millis(1500));
        for wrong in [proto(-1, 0), proto(0, -1), proto(i64::MIN, i32::MIN), proto(1, -1), proto(i64::MAX, i32::MAX)] {
            assert_eq!(from_proto(&wrong), Duration::MAX);
        }
    }
}
