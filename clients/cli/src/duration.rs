//! Lengths of time as people write them: `30s`, `10m`, `1h30m`, `2d`, `500ms`.

use std::time::Duration;

/// Reads a length of time, for clap.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a length of time such as 30s, 10m, 1h30m or 2d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).ok_or_else(expected)?;
        let number: u64 = number.parse().map_err(|_| expected())?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters).ok_or_else(expected)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(expected()),
        };
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(expected)?;
        total = total.checked_add(part).ok_or_else(expected)?;
        rest = after;
    }
    Ok(total)
}

/// What came over the wire; none if it is negative.
pub(crate) fn received(duration: prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(duration.seconds).ok()?, nanos))
}

/// A length of time for people, as short as it can be: `0.8 ms`, `12 ms`, `1.34 s`, `2 min 5 s`.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if duration.is_zero() {
        "0 ms".to_owned()
    } else if seconds < 0.01 {
        format!("{:.1} ms", seconds * 1e3)
    } else if seconds < 1.0 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 60.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_over_the_wire_is_a_length_of_time_or_none() {
        let received = |seconds, nanos| received(prost_types::Duration { seconds, nanos });
        assert_eq!(received(1, 500_000_000), Some(Duration::from_millis(1_500)));
        assert_eq!(received(i64::MAX, 0), Some(Duration::from_secs(i64::MAX as u64)));
        for (seconds, nanos) in [(i64::MIN, 0), (-1, 0), (0, -1), (0, i32::MIN), (i64::MAX, i32::MAX)] {
            assert_eq!(received(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn lengths_of_time_are_read() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_examples() {
        for text in
            ["", "10", "m", "1x", "-1s", "1.5h", "1h 30m", "99999999999999999999s", "9999999999999999999d", "1é"]
        {
            assert!(parse(text).is_err_and(|error| error.contains("1h30m")), "{text}");
        }
    }

    #[test]
    fn lengths_of_time_are_shown() {
        let shown: Vec<_> = [0, 800, 12_300, 1_344_000, 125_000_000]
            .map(|micros| show(Duration::from_micros(micros)))
            .into_iter()
            .collect();
        assert_eq!(shown, ["0 ms", "0.8 ms", "12 ms", "1.34 s", "2 min 5 s"]);
    }
}
