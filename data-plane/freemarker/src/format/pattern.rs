//! Java's `SimpleDateFormat` patterns: printing (reading is in [`super::pattern_parse`]).

use std::fmt::Write;

use super::calendar::{Civil, DAY_MS, weekday};
use super::date::local;
use super::locale::Locale;
use super::zone::Zone;

/// A pattern such as `yyyy-MM-dd HH:mm:ss.SSS`, ready to use.
#[derive(Clone, Debug)]
pub(crate) struct DatePattern {
    pub(super) parts: Vec<Part>,
    pub(super) locale: &'static Locale,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(char),
    /// A pattern letter and how often it is repeated.
    Field(char, usize),
}

const LETTERS: &str = "GyYMLwWDdFEuaHkKhmsSzZX";

/// A field is at most this wide: `yyyyy…` of any length would print that many digits.
const MAX_REPEAT: usize = 255;

impl DatePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A message saying what is malformed.
    pub(crate) fn parse(text: &str, locale: &'static Locale) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                if chars.next_if_eq(&'\'').is_some() {
                    parts.push(Part::Literal('\''));
                } else {
                    quoted = !quoted;
                }
            } else if quoted || !c.is_ascii_alphabetic() {
                parts.push(Part::Literal(c));
            } else if LETTERS.contains(c) {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if count > MAX_REPEAT || c == 'X' && count > 3 {
                    return Err(format!("in the date format \"{text}\" the letter {c} is repeated too often"));
                }
                parts.push(Part::Field(c, count));
            } else {
                return Err(format!("illegal pattern character '{c}' in the date format \"{text}\""));
            }
        }
        if quoted {
            return Err(format!("the date format \"{text}\" has an unclosed quote"));
        }
        Ok(DatePattern { parts, locale })
    }

    /// The date as text.
    pub(crate) fn format(&self, epoch_ms: i64, zone: &Zone) -> String {
        let mut out = String::with_capacity(32);
        let local = local(epoch_ms, zone);
        let wall_ms = i64::try_from(local).unwrap_or(epoch_ms);
        let shown = Shown { wall: Civil::with_cutover(local), wall_ms, epoch_ms, zone };
        for part in &self.parts {
            match part {
                Part::Literal(c) => out.push(*c),
                Part::Field(letter, count) => {
                    write_field(*letter, *count, &shown, self.locale, &mut out);
                }
            }
        }
        out
    }
}

/// A time as clocks show it in a zone.
struct Shown<'z> {
    wall: Civil,
    wall_ms: i64,
    epoch_ms: i64,
    zone: &'z Zone,
}

fn write_field(letter: char, count: usize, shown: &Shown<'_>, locale: &Locale, out: &mut String) {
    let Shown { wall, wall_ms, epoch_ms, zone } = shown;
    let (wall_ms, epoch_ms) = (*wall_ms, *epoch_ms);
    let named = |names: &[&'static str], index: i64| {
        usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default()
    };
    let number = match letter {
        'G' => return out.push_str(named(&locale.eras, i64::from(wall.year > 0))),
        'y' => return write_year(year_of_era(wall.year), count, out),
        'Y' => return write_year(week_year(wall, wall_ms, locale).0, count, out),
        'M' | 'L' if count >= 3 => {
            let names = if count == 3 { &locale.short_months } else { &locale.months };
            return out.push_str(named(names, wall.month - 1));
        }
        'E' => {
            let names = if count <= 3 { &locale.short_weekdays } else { &locale.weekdays };
            return out.push_str(named(names, weekday(wall_ms)));
        }
        'a' => return out.push_str(named(&locale.halves, wall.hour / 12)),
        'z' => return out.push_str(&zone.name_at(epoch_ms, count >= 4)),
        'Z' => return write_offset(zone.offset_at(epoch_ms), 2, out),
        'X' if zone.offset_at(epoch_ms) == 0 => return out.push('Z'),
        'X' => return write_offset(zone.offset_at(epoch_ms), count, out),
        'M' | 'L' => wall.month,
        'w' => week_year(wall, wall_ms, locale).1,
        'W' => {
            let day = wall_ms.div_euclid(DAY_MS);
            (day - locale.first_week(day - wall.day + 1)).div_euclid(7) + 1
        }
        'D' => day_of_year(wall, wall_ms),
        'F' => (wall.day - 1) / 7 + 1,
        'u' => (weekday(wall_ms) + 6) % 7 + 1,
        'd' => wall.day,
        'H' => wall.hour,
        'k' if wall.hour == 0 => 24,
        'k' => wall.hour,
        'K' => wall.hour % 12,
        'h' => (wall.hour + 11) % 12 + 1,
        'm' => wall.minute,
        's' => wall.second,
        _ => wall.millisecond,
    };
    write_padded(number, count, out);
}

fn year_of_era(year: i64) -> i64 {
    if year > 0 { year } else { 1 - year }
}

fn write_year(year: i64, count: usize, out: &mut String) {
    if year < 0 {
        out.push('-');
    }
    let year = year.abs();
    if count == 2 {
        write_padded(year % 100, 2, out);
    } else {
        write_padded(year, count, out);
    }
}

/// `+hh`, `+hhmm` or `+hh:mm` for 1, 2 and 3.
fn write_offset(seconds: i64, style: usize, out: &mut String) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
    out.push(sign);
    write_padded(hours, 2, out);
    match style {
        1 => {}
        2 => write_padded(minutes, 2, out),
        _ => {
            out.push(':');
            write_padded(minutes, 2, out);
        }
    }
}

/// Appends a number with zeros before it.
pub(super) fn write_padded(number: i64, width: usize, out: &mut String) {
    // nearly all fields are of two digits
    if let (Ok(small @ 0..100), 2) = (u8::try_from(number), width) {
        out.push(char::from(b'0' + small / 10));
        out.push(char::from(b'0' + small % 10));
        return;
    }
    // writing to a string does not fail
    let _ = write!(out, "{number:0width$}");
}

fn day_of_year(wall: &Civil, wall_ms: i64) -> i64 {
    wall_ms.div_euclid(DAY_MS) - first_day(wall.year) + 1
}

/// The day number of the first of January.
fn first_day(year: i64) -> i64 {
    Civil { year, month: 1, day: 1, ..Civil::default() }.cutover_ms().div_euclid(DAY_MS)
}

/// The year that the week belongs to, and the week's number in it.
fn week_year(wall: &Civil, wall_ms: i64, locale: &Locale) -> (i64, i64) {
    let week_start = |year| locale.first_week(first_day(year));
    let day = wall_ms.div_euclid(DAY_MS);
    let year = if day >= week_start(wall.year + 1) {
        wall.year + 1
    } else if day < week_start(wall.year) {
        wall.year - 1
    } else {
        wall.year
    };
    (year, (day - week_start(year)) / 7 + 1)
}
