//! `Retry-After` ([RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)): seconds, or a date in any of
//! the three forms of §5.6.7.

use std::time::Duration;

/// The longest wait that is told; longer ones count as this. Far beyond every retry window, and safe to add to any time.
pub const MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How long to wait from `now_ms` on, at most [`MAX`]. `None` if the value is neither seconds nor a date; zero for a date
/// that has passed.
#[must_use]
pub fn parse(value: &[u8], now_ms: i64) -> Option<Duration> {
    let value = value.trim_ascii();
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = value
            .iter()
            .fold(0_u64, |seconds, digit| seconds.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
        return Some(Duration::from_secs(seconds).min(MAX));
    }
    let at_ms = date(std::str::from_utf8(value).ok()?, now_ms)?;
    let wait_ms = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    Some(Duration::from_millis(wait_ms).min(MAX))
}

/// The instant that an HTTP date names, in milliseconds since the epoch.
fn date(text: &str, now_ms: i64) -> Option<i64> {
    let (weekday, rest) = text.split_once([',', ' '])?;
    let date = if text.get(weekday.len()..)?.starts_with(',') {
        let rest = rest.strip_prefix(' ')?.strip_suffix(" GMT")?;
        match SHORT_WEEKDAYS.contains(&weekday) {
            true => imf_fixdate(rest)?,
            false if LONG_WEEKDAYS.contains(&weekday) => rfc850(rest, now_ms)?,
            false => return None,
        }
    } else if SHORT_WEEKDAYS.contains(&weekday) {
        asctime(rest)?
    } else {
        return None;
    };
    date.epoch_ms()
}

const SHORT_WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Date {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

/// `06 Nov 1994 08:49:37`
fn imf_fixdate(text: &str) -> Option<Date> {
    let mut parts = text.split(' ');
    let date = Date {
        day: digits(parts.next()?, 2)?,
        month: month(parts.next()?)?,
        year: digits(parts.next()?, 4)?,
        second_of_day: time(parts.next()?)?,
    };
    parts.next().is_none().then_some(date)
}

/// `06-Nov-94 08:49:37`: a year that would be more than 50 years ahead is one of the century before.
fn rfc850(text: &str, now_ms: i64) -> Option<Date> {
    let (date, clock) = text.split_once(' ')?;
    let mut parts = date.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let now_year = 1970 + now_ms / (86_400_000 * 1461 / 4);
    let mut year = digits(year, 2)? + now_year - now_year.rem_euclid(100);
    if year > now_year + 50 {
        year -= 100;
    }
    Some(Date { day: digits(day, 2)?, month: self::month(month)?, year, second_of_day: time(clock)? })
}

/// `Nov  6 08:49:37 1994`
fn asctime(text: &str) -> Option<Date> {
    let mut parts = text.splitn(2, ' ');
    let month = month(parts.next()?)?;
    let rest = parts.next()?;
    let (day, rest) = (rest.get(..2)?, rest.get(2..)?.strip_prefix(' ')?);
    let (clock, year) = rest.split_once(' ')?;
    let day = match day.strip_prefix(' ') {
        Some(day) => digits(day, 1)?,
        None => digits(day, 2)?,
    };
    Some(Date { day, month, year: digits(year, 4)?, second_of_day: time(clock)? })
}

/// `08:49:37`; a leap second counts as the next one.
fn time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let second = digits(parts.next()?, 2)?;
    (parts.next().is_none() && hour <= 23 && minute <= 59 && second <= 60).then_some((hour * 60 + minute) * 60 + second)
}

fn month(name: &str) -> Option<i64> {
    let index = MONTHS.iter().position(|month| *month == name)?;
    i64::try_from(index).ok().map(|index| index + 1)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

impl Date {
    fn epoch_ms(&self) -> Option<i64> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days_of_month = match self.month {
            2 => 28 + i64::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if !(1..=days_of_month).contains(&self.day) {
            return None;
        }
        // days since 1970-01-01, counting years from March, so that the leap day is the last one
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let days =
            365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
        Some((days * 86_400 + self.second_of_day) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06T08:49:37Z, the example of RFC 9110.
    const EXAMPLE_MS: i64 = 784_111_777_000;

    #[track_caller]
    fn seconds(value: &str, now_ms: i64) -> Option<u64> {
        parse(value.as_bytes(), now_ms).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_are_seconds() {
        assert_eq!(seconds("0", EXAMPLE_MS), Some(0));
        assert_eq!(seconds("120", EXAMPLE_MS), Some(120));
        assert_eq!(seconds(" 7 ", EXAMPLE_MS), Some(7));
    }

    #[test]
    fn dates_come_in_three_forms() {
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(seconds(date, EXAMPLE_MS - 90_000), Some(90), "{date}");
            assert_eq!(seconds(date, EXAMPLE_MS), Some(0), "{date}");
            assert_eq!(seconds(date, EXAMPLE_MS + 1), Some(0), "{date}");
        }
        assert_eq!(seconds("Sun Nov 16 08:49:37 1994", EXAMPLE_MS), Some(10 * 86_400));
    }

    #[test]
    fn the_calendar_is_right() {
        for (date, at_s) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Mon, 23 Nov 2026 12:00:00 GMT", 1_795_435_200),
            ("Thu, 31 Dec 2099 23:59:60 GMT", 4_102_444_800),
        ] {
            let now_ms = at_s * 1000 - 5_000;
            assert_eq!(seconds(date, now_ms), Some(5), "{date}");
        }
    }

    #[test]
    fn two_digit_years_lie_within_fifty_years_ahead() {
        let now_ms = 1_795_435_200_000; // 2026-11-23
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT", now_ms), Some(0));
        assert!(seconds("Tuesday, 24-Nov-26 12:00:00 GMT", now_ms) == Some(86_400));
        assert!(seconds("Monday, 24-Nov-70 12:00:00 GMT", now_ms) > Some(40 * 365 * 86_400));
    }

    #[test]
    fn hostile_values_are_none_or_bounded() {
        for value in ["99999999999999999999999999", "18446744073709551616", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(parse(value.as_bytes(), EXAMPLE_MS), Some(MAX), "{value}");
        }
        for value in [
            "",
            " ",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "0x10",
            "١٢",
            "soon",
            ",",
            " , ",
            "Sun,",
            "Sun, ",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sonntag, 06-Nov-94 08:49:37 GMT",
            "Sun Nov 06 08:49:37",
            "Sun Nov é6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 GMT, 5",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "2026-11-23T12:00:00Z",
        ] {
            assert_eq!(parse(value.as_bytes(), EXAMPLE_MS), None, "{value}");
        }
        assert_eq!(parse(b"\xff\xfe", EXAMPLE_MS), None);
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value: Vec<u8>, now_ms: i64) {
            let _ = parse(&value, now_ms);
        }

        #[test]
        fn no_date_panics(value in "[A-Za-z]{3,9},? [0-9 A-Za-z:-]{0,30}( GMT)?", now_ms: i64) {
            let _ = parse(value.as_bytes(), now_ms);
        }
    }
}
