//! Days and the calendars that name them: Gregorian, and Julian before 1582-10-15 as in Java.

/// Milliseconds in a day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// 1582-10-15, the first day of the Gregorian calendar, in days since 1970-01-01.
const CUTOVER: i64 = -141_427;

/// A wall clock's reading.
///
/// ```
/// use sluice_freemarker::Civil;
///
/// let civil = Civil::from_utc_ms(1_700_000_000_000);
/// assert_eq!((civil.year, civil.month, civil.day), (2023, 11, 14));
/// assert_eq!(civil.utc_ms(), 1_700_000_000_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year: 0 is 1 BC.
    pub year: i64,
    /// Month from 1.
    pub month: i64,
    /// Day of the month from 1.
    pub day: i64,
    /// Hour from 0.
    pub hour: i64,
    /// Minute from 0.
    pub minute: i64,
    /// Second from 0.
    pub second: i64,
    /// Millisecond of the second from 0.
    pub millisecond: i64,
}

/// The number of a day since the epoch, and the milliseconds in it. A zone may lead beyond 64 bits.
fn day_and_rest(local_ms: i128) -> (i64, i64) {
    match i64::try_from(local_ms) {
        Ok(ms) => (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS)),
        Err(_) => {
            let day = i128::from(DAY_MS);
            (local_ms.div_euclid(day) as i64, local_ms.rem_euclid(day) as i64)
        }
    }
}

impl Civil {
    /// What clocks in UTC show at a time in milliseconds since the epoch.
    pub fn from_utc_ms(epoch_ms: i64) -> Self {
        Self::gregorian(epoch_ms)
    }

    /// The milliseconds since the epoch at which clocks in UTC show this; fields out of their
    /// ranges carry over.
    pub fn utc_ms(&self) -> i64 {
        self.gregorian_ms()
    }

    /// Reads off milliseconds since 1970-01-01T00:00 in the Gregorian calendar of all time.
    pub(crate) fn gregorian(local_ms: impl Into<i128>) -> Self {
        let (day, rest) = day_and_rest(local_ms.into());
        let (year, month, date) = gregorian_date(day);
        Self::at(year, month, date, rest)
    }

    /// Reads them off in the Julian calendar before its end.
    pub(crate) fn with_cutover(local_ms: impl Into<i128>) -> Self {
        let (day, rest) = day_and_rest(local_ms.into());
        let (year, month, date) = if day < CUTOVER { julian_date(day) } else { gregorian_date(day) };
        Self::at(year, month, date, rest)
    }

    fn at(year: i64, month: i64, day: i64, ms: i64) -> Self {
        Civil {
            year,
            month,
            day,
            hour: ms / 3_600_000,
            minute: ms / 60_000 % 60,
            second: ms / 1000 % 60,
            millisecond: ms % 1000,
        }
    }

    /// Milliseconds since 1970-01-01T00:00 of the Gregorian calendar; fields out of their ranges
    /// carry over, as in a lenient Java calendar.
    pub(crate) fn gregorian_ms(&self) -> i64 {
        let (year, month) = self.carried_month();
        self.ms(gregorian_day(year, month, 1) + self.day - 1)
    }

    /// The same for a calendar that is Julian before its cutover.
    pub(crate) fn cutover_ms(&self) -> i64 {
        let (year, month) = self.carried_month();
        let day = gregorian_day(year, month, 1) + self.day - 1;
        if day >= CUTOVER {
            return self.ms(day);
        }
        self.ms(julian_day(year, month, 1) + self.day - 1)
    }

    fn carried_month(&self) -> (i64, i64) {
        (self.year + (self.month - 1).div_euclid(12), (self.month - 1).rem_euclid(12) + 1)
    }

    fn ms(&self, day: i64) -> i64 {
        let wide = |n: i64| i128::from(n);
        let minutes = (wide(day) * 24 + wide(self.hour)) * 60 + wide(self.minute);
        let ms = minutes * 60_000 + wide(self.second) * 1000 + wide(self.millisecond);
        // far beyond any year that can be written, and safe to add offsets to
        let end = wide(i64::MAX / 4);
        i64::try_from(ms.clamp(-end, end)).unwrap_or_default()
    }
}

/// The day number, from 1970-01-01, of a date in the Gregorian calendar.
pub(crate) fn gregorian_day(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    y.div_euclid(400) * 146_097 + y.rem_euclid(400) * 365 + y.rem_euclid(400) / 4 - y.rem_euclid(400) / 100
        + day_of_year
        - 719_468
}

fn gregorian_date(day: i64) -> (i64, i64, i64) {
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    month_and_day(yoe + era * 400, doy)
}

fn julian_day(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    y.div_euclid(4) * 1461 + y.rem_euclid(4) * 365 + day_of_year - 719_470
}

fn julian_date(day: i64) -> (i64, i64, i64) {
    let z = day + 719_470;
    let era = z.div_euclid(1461);
    let doe = z.rem_euclid(1461);
    let yoe = (doe - doe / 1460) / 365;
    month_and_day(yoe + era * 4, doe - 365 * yoe)
}

/// From a year that begins with March and a day in it.
fn month_and_day(year: i64, day_of_year: i64) -> (i64, i64, i64) {
    let mp = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (if month <= 2 { year + 1 } else { year }, month, day)
}

/// Day of the week: 0 is Sunday.
pub(crate) fn weekday(local_ms: i64) -> i64 {
    (local_ms.div_euclid(DAY_MS) + 4).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        for day in (-1_000_000..1_000_000).step_by(37) {
            let (y, m, d) = gregorian_date(day);
            assert_eq!(gregorian_day(y, m, d), day);
            let (y, m, d) = julian_date(day);
            assert_eq!(julian_day(y, m, d), day);
        }
        assert_eq!(gregorian_date(0), (1970, 1, 1));
        assert_eq!(gregorian_date(CUTOVER), (1582, 10, 15));
        assert_eq!(julian_date(CUTOVER - 1), (1582, 10, 4));
        assert_eq!(weekday(0), 4);
    }
}
