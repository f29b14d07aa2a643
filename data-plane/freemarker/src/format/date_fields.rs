//! From the fields that were read to a time, as Java's lenient calendar has it.

use super::calendar::{Civil, DAY_MS, weekday};
use super::locale::Locale;
use super::zone::Zone;

/// A field of a date that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Year,
    WeekYear,
    Month,
    Day,
    DayOfYear,
    WeekOfYear,
    WeekOfMonth,
    /// From 0, which is Sunday.
    DayOfWeek,
    DayOfWeekInMonth,
    Hour,
    HalfDayHour,
    /// 0 before noon, 1 after it.
    HalfOfDay,
    Minute,
    Second,
    Millisecond,
}

const COUNT: usize = Field::Millisecond as usize + 1;

/// The zone that the text names.
#[derive(Clone, Debug)]
pub(super) enum ReadZone {
    /// Seconds east of UTC.
    Offset(i64),
    Named {
        zone: Zone,
        daylight: bool,
        /// The name says nothing about summer and winter.
        always: bool,
    },
}

/// What was read, and in which order: where fields contradict each other the later ones count.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    values: [i64; COUNT],
    /// When a field was set: 0 is never.
    stamps: [u32; COUNT],
    last: u32,
    pub(super) before_christ: bool,
    pub(super) zone: Option<ReadZone>,
    /// For a year of two digits that may be the first or the last of a century: when that begins.
    pub(super) century_start_ms: Option<i64>,
}

/// How the day is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Day {
    Date,
    WeekOfMonth,
    WeekInMonth,
    Ordinal,
    WeekOfYear,
}

impl Fields {
    pub(super) fn set(&mut self, field: Field, value: i64) {
        self.last += 1;
        if let (Some(place), Some(stamp)) = (self.values.get_mut(field as usize), self.stamps.get_mut(field as usize)) {
            *place = value;
            *stamp = self.last;
        }
    }

    fn stamp(&self, field: Field) -> u32 {
        self.stamps.get(field as usize).copied().unwrap_or(0)
    }

    fn get(&self, field: Field) -> Option<i64> {
        let value = self.values.get(field as usize).copied()?;
        (self.stamp(field) > 0).then_some(value)
    }

    fn or(&self, field: Field, default: i64) -> i64 {
        self.get(field).unwrap_or(default)
    }

    /// The time in milliseconds since the epoch.
    pub(super) fn epoch(&self, zone: &Zone, locale: &Locale) -> Option<i64> {
        let epoch_ms = self.epoch_in_year(zone, locale)?;
        match self.century_start_ms {
            Some(start) if epoch_ms < start => {
                let mut later = self.clone();
                for field in [Field::Year, Field::WeekYear] {
                    if let Some(year) = later.get(field) {
                        later.set(field, year + 100);
                    }
                }
                later.epoch_in_year(zone, locale)
            }
            _ => Some(epoch_ms),
        }
    }

    fn epoch_in_year(&self, zone: &Zone, locale: &Locale) -> Option<i64> {
        let day = self.day(locale);
        let clock = Civil {
            year: 1970,
            month: 1,
            day: 1,
            hour: self.hour(),
            minute: self.or(Field::Minute, 0),
            second: self.or(Field::Second, 0),
            millisecond: self.or(Field::Millisecond, 0),
        };
        let local = day.checked_mul(DAY_MS)?.checked_add(clock.gregorian_ms())?;
        Some(match &self.zone {
            None => zone.to_epoch(local),
            Some(ReadZone::Offset(seconds)) => local - seconds * 1000,
            Some(ReadZone::Named { zone, always: true, .. }) => zone.to_epoch(local),
            Some(ReadZone::Named { zone, daylight, .. }) => {
                let standard = zone.standard_offset_at(zone.to_epoch(local));
                let offset = standard + if *daylight { 3600 } else { 0 };
                local - offset * 1000
            }
        })
    }

    fn hour(&self) -> i64 {
        let both = |a: u32, b: u32| if a == 0 || b == 0 { 0 } else { a.max(b) };
        let whole = self.stamp(Field::Hour);
        let half = both(self.stamp(Field::HalfDayHour), self.stamp(Field::HalfOfDay));
        if whole > 0 && whole >= half {
            return self.or(Field::Hour, 0);
        }
        self.or(Field::HalfDayHour, 0) + 12 * self.or(Field::HalfOfDay, 0)
    }

    fn year(&self) -> i64 {
        let year = self.or(Field::Year, if self.before_christ { 1 } else { 1970 });
        if self.before_christ { 1 - year } else { year }
    }

    /// The number of the day since 1970-01-01.
    fn day(&self, locale: &Locale) -> i64 {
        if let Some(year) = self.get(Field::WeekYear).filter(|_| self.stamp(Field::WeekYear) > self.stamp(Field::Year))
        {
            let week_start = locale.first_week(day_number(year, 1));
            let weekday = self.or(Field::DayOfWeek, locale.first_weekday);
            return week_start
                + 7 * (self.or(Field::WeekOfYear, 1) - 1)
                + (weekday - locale.first_weekday).rem_euclid(7);
        }
        let how = self.how();
        let month = if matches!(how, Day::Ordinal | Day::WeekOfYear) { 1 } else { self.or(Field::Month, 1) };
        let first = day_number(self.year(), month);
        let weekday = self.get(Field::DayOfWeek);
        let in_week = (weekday.unwrap_or(locale.first_weekday) - locale.first_weekday).rem_euclid(7);
        match how {
            Day::Date => {
                let date = Civil { year: self.year(), month, day: self.or(Field::Day, 1), ..Civil::default() };
                date.cutover_ms().div_euclid(DAY_MS)
            }
            Day::Ordinal => first + self.or(Field::DayOfYear, 1) - 1,
            Day::WeekOfMonth => locale.first_week(first) + 7 * (self.or(Field::WeekOfMonth, 1) - 1) + in_week,
            Day::WeekOfYear => locale.first_week(first) + 7 * (self.or(Field::WeekOfYear, 1) - 1) + in_week,
            Day::WeekInMonth => {
                let weekday = weekday.unwrap_or(locale.first_weekday);
                let which = self.or(Field::DayOfWeekInMonth, 1);
                if which >= 0 {
                    return on_or_before(first + 7 * which - 1, weekday);
                }
                let length = day_number(self.year(), month + 1) - first;
                on_or_before(first + length + 7 * (which + 1) - 1, weekday)
            }
        }
    }

    /// The fields that were set last tell the day, if they are enough to do so.
    fn how(&self) -> Day {
        let both = |a: u32, b: u32| if a == 0 || b == 0 { 0 } else { a.max(b) };
        let weekday = self.stamp(Field::DayOfWeek);
        let [week_of_month, in_month, week_of_year] =
            [Field::WeekOfMonth, Field::DayOfWeekInMonth, Field::WeekOfYear].map(|field| self.stamp(field));
        let mut ways = [
            (self.stamp(Field::Day), Day::Date),
            (both(week_of_month, weekday), Day::WeekOfMonth),
            (both(in_month, weekday), Day::WeekInMonth),
            (self.stamp(Field::DayOfYear), Day::Ordinal),
            (both(week_of_year, weekday), Day::WeekOfYear),
        ];
        if ways.iter().all(|(stamp, _)| *stamp == 0) {
            ways = [
                (week_of_month, Day::WeekOfMonth),
                (in_month.max(weekday), Day::WeekInMonth),
                (week_of_year, Day::WeekOfYear),
                (0, Day::Date),
                (0, Day::Date),
            ];
        }
        let mut best = (0, Day::Date);
        for way in ways {
            if way.0 > best.0 {
                best = way;
            }
        }
        match best.1 {
            // both told by a weekday that was set last
            Day::WeekOfMonth if week_of_month < week_of_year => Day::WeekOfYear,
            Day::WeekOfMonth if in_month > week_of_month && ways[1].0 == ways[2].0 => Day::WeekInMonth,
            Day::WeekInMonth if in_month < week_of_year => Day::WeekOfYear,
            how => how,
        }
    }
}

fn day_number(year: i64, month: i64) -> i64 {
    Civil { year, month, day: 1, ..Civil::default() }.cutover_ms().div_euclid(DAY_MS)
}

fn on_or_before(day: i64, wanted: i64) -> i64 {
    day - (weekday(day.saturating_mul(DAY_MS)) - wanted).rem_euclid(7)
}
