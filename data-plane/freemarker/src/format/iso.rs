//! ISO 8601 and XML Schema dates (FreeMarker manual: "Settings / datetime_format", `iso` and `xs`;
//! built-ins `iso_…`).

use super::calendar::Civil;
use super::date::{DateKind, local};
use super::pattern::write_padded;
use super::zone::{Zone, custom_offset};
use crate::value::Date;

/// How fine the time is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accuracy {
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
    /// Seconds, and milliseconds as far as there are any.
    AsNeeded,
}

/// The formats `iso` and `xs` with their options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsoFormat {
    pub(crate) accuracy: Accuracy,
    /// Whether the offset is printed; `None`: as the standard has it.
    pub(crate) show_offset: Option<bool>,
    /// Print in UTC whatever the time zone is.
    pub(crate) utc: bool,
    /// XML Schema rather than ISO 8601.
    pub(crate) xs: bool,
}

/// `iso` without options.
pub(crate) const PLAIN: IsoFormat =
    IsoFormat { accuracy: Accuracy::AsNeeded, show_offset: None, utc: false, xs: false };

/// A date in UTC with all of its milliseconds.
pub(crate) fn utc(epoch_ms: i64, kind: DateKind) -> String {
    IsoFormat { utc: true, ..PLAIN }.format(Date { epoch_ms, kind }, &Zone::Utc)
}

impl IsoFormat {
    /// Reads `iso` or `xs` and options after it; `None` when the text is some other format.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (xs, options) = match (text.strip_prefix("iso"), text.strip_prefix("xs")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return None,
        };
        if !options.is_empty() && !options.starts_with([' ', '_']) {
            return None;
        }
        let mut format = IsoFormat { xs, ..PLAIN };
        for option in options.split([' ', '_']).filter(|option| !option.is_empty()) {
            let again = match option {
                "h" | "m" | "s" | "ms" => format.accuracy != Accuracy::AsNeeded,
                "nz" | "fz" => format.show_offset.is_some(),
                _ => format.utc,
            };
            if again {
                return Some(Err(format!("the option \"{option}\" says again what another one has said")));
            }
            match option {
                "h" | "m" if xs => {
                    return Some(Err(format!("xs formats have no option \"{option}\"")));
                }
                "h" => format.accuracy = Accuracy::Hours,
                "m" => format.accuracy = Accuracy::Minutes,
                "s" => format.accuracy = Accuracy::Seconds,
                "ms" => format.accuracy = Accuracy::Milliseconds,
                "nz" => format.show_offset = Some(false),
                "fz" => format.show_offset = Some(true),
                "u" => format.utc = true,
                // UTC for what has no zone of its own; nothing of JSON has one
                "fu" => format.utc = true,
                _ => {
                    return Some(Err(format!(
                        "\"{option}\" is no option of the {} formats: these are h, m, s, ms, nz, \
                         fz, u and fu",
                        if xs { "xs" } else { "iso" }
                    )));
                }
            }
        }
        Some(Ok(format))
    }

    pub(crate) fn format(&self, date: Date, zone: &Zone) -> String {
        let zone = if self.utc { &Zone::Utc } else { zone };
        let wall = Civil::gregorian(local(date.epoch_ms, zone));
        let mut out = String::with_capacity(32);
        let field = |number: i64, width: usize, before: &str, out: &mut String| {
            out.push_str(before);
            write_padded(number, width, out);
        };
        if date.kind != DateKind::Time {
            let year = wall.year;
            let year = if self.xs && year <= 0 { year - 1 } else { year };
            field(year, if year < 0 { 1 } else { 4 }, "", &mut out);
            field(wall.month, 2, "-", &mut out);
            field(wall.day, 2, "-", &mut out);
            if date.kind == DateKind::DateTime {
                out.push('T');
            }
        }
        if date.kind != DateKind::Date {
            field(wall.hour, 2, "", &mut out);
            if self.accuracy != Accuracy::Hours {
                field(wall.minute, 2, ":", &mut out);
            }
            if !matches!(self.accuracy, Accuracy::Hours | Accuracy::Minutes) {
                field(wall.second, 2, ":", &mut out);
            }
            match self.accuracy {
                Accuracy::Milliseconds => field(wall.millisecond, 3, ".", &mut out),
                Accuracy::AsNeeded if wall.millisecond > 0 => {
                    field(wall.millisecond, 3, ".", &mut out);
                    out.truncate(out.trim_end_matches('0').len());
                }
                _ => {}
            }
        }
        // ISO 8601 has no zone after a date
        let may_show = self.xs || date.kind != DateKind::Date;
        if may_show && self.show_offset.unwrap_or(true) {
            out.push_str(&offset(zone, date.epoch_ms));
        }
        out
    }

    /// Reads a date; strict, unlike patterns.
    pub(crate) fn read(&self, text: &str, kind: DateKind, zone: &Zone) -> Result<i64, String> {
        let what = if self.xs { "XML Schema" } else { "ISO 8601" };
        self.read_parts(text, kind, zone).ok_or_else(|| format!("this is no {what} {}", kind.name()))
    }

    fn read_parts(&self, text: &str, kind: DateKind, zone: &Zone) -> Option<i64> {
        if self.xs {
            return read_in(Style::Xs, text, kind, zone);
        }
        read_in(Style::Extended, text, kind, zone).or_else(|| read_in(Style::Basic, text, kind, zone))
    }
}

/// How dates are written; no two of them mix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `2020-01-02T03:04:05+01:00`, of which the year may be short.
    Xs,
    /// The same, with minutes and seconds as far as they are needed.
    Extended,
    /// `20200102T030405+0100`
    Basic,
}

fn read_in(style: Style, text: &str, kind: DateKind, zone: &Zone) -> Option<i64> {
    let (date, time) = match kind {
        DateKind::DateTime => {
            let (date, time) = text.split_once('T')?;
            (Some(date), Some(time))
        }
        DateKind::Date => (Some(text), None),
        DateKind::Time => (None, Some(text)),
    };
    let mut offset = None;
    let mut wall = Civil { year: 1970, month: 1, day: 1, ..Civil::default() };
    if let Some(mut date) = date {
        if style == Style::Xs && kind == DateKind::Date {
            (date, offset) = split_offset(style, date)?;
        }
        read_date(style, date, &mut wall)?;
    }
    if let Some(time) = time {
        let (time, found) = split_offset(style, time)?;
        offset = found;
        read_time(style, time, &mut wall)?;
    }
    let local = wall.gregorian_ms();
    match offset {
        Some(seconds) => Some(local - seconds * 1000),
        None => zone.to_epoch_if_real(local),
    }
}

fn read_date(style: Style, text: &str, wall: &mut Civil) -> Option<()> {
    let (rest, day) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let rest = if style == Style::Basic { rest } else { rest.strip_suffix('-')? };
    let (rest, month) = rest.split_at_checked(rest.len().checked_sub(2)?)?;
    let year = if style == Style::Basic { rest } else { rest.strip_suffix('-')? };
    let (negative, year) = match year.strip_prefix('-') {
        Some(year) => (true, year),
        None => (false, year),
    };
    let least = if style == Style::Xs { 1 } else { 4 };
    if year.len() < least || !year.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // far beyond what clocks can show
    let year: i64 = year.parse().ok().filter(|year| *year <= 200_000_000)?;
    wall.year = if negative { -year } else { year };
    if style == Style::Xs && wall.year <= 0 {
        // there is no year 0
        if wall.year == 0 {
            return None;
        }
        wall.year += 1;
    }
    wall.month = figure(month, 1, 12)?;
    wall.day = figure(day, 1, 31)?;
    // strict: a 30th of February is no date
    let real = Civil::gregorian(wall.gregorian_ms());
    (real.day == wall.day && real.month == wall.month).then_some(())
}

fn read_time(style: Style, text: &str, wall: &mut Civil) -> Option<()> {
    let (clock, fraction) = match text.find(['.', ',']) {
        Some(at) => (text.get(..at)?, Some(text.get(at..)?)),
        None => (text, None),
    };
    let mut parts = [None; 3];
    let mut rest = clock;
    for (index, part) in parts.iter_mut().enumerate() {
        if index > 0 {
            if rest.is_empty() {
                break;
            }
            rest = if style == Style::Basic { rest } else { rest.strip_prefix(':')? };
        }
        let (two, after) = rest.split_at_checked(2)?;
        *part = Some(two);
        rest = after;
    }
    let complete = parts.iter().all(Option::is_some);
    if !rest.is_empty() || !complete && (style == Style::Xs || fraction.is_some()) {
        return None;
    }
    let [hour, minute, second] = parts;
    wall.hour = figure(hour?, 0, 24)?;
    wall.minute = minute.map_or(Some(0), |part| figure(part, 0, 59))?;
    wall.second = second.map_or(Some(0), |part| figure(part, 0, 59))?;
    if let Some(fraction) = fraction {
        let digits = fraction.get(1..)?;
        let comma = fraction.starts_with(',');
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || comma && style == Style::Xs {
            return None;
        }
        let ms: String = digits.chars().chain("00".chars()).take(3).collect();
        wall.millisecond = ms.parse().ok()?;
    }
    (wall.hour < 24 || wall.minute + wall.second + wall.millisecond == 0).then_some(())
}

/// Two digits.
fn figure(text: &str, min: i64, max: i64) -> Option<i64> {
    if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| (min..=max).contains(value))
}

/// Splits off the offset from UTC, in seconds, that a date or time ends with.
fn split_offset(style: Style, text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Some((rest, Some(0)));
    }
    let lens: &[usize] = match style {
        Style::Xs => &[6],
        Style::Extended => &[6, 3],
        Style::Basic => &[5, 3],
    };
    for len in lens {
        let Some((rest, offset)) = text.len().checked_sub(*len).and_then(|at| text.split_at_checked(at)) else {
            continue;
        };
        let digits = offset.get(1..).unwrap_or_default();
        let shape =
            digits.bytes().enumerate().all(|(i, b)| if *len == 6 && i == 2 { b == b':' } else { b.is_ascii_digit() });
        // the hyphens of a date are none
        if offset.starts_with(['+', '-']) && shape && !(*len == 3 && rest.ends_with(|c: char| !c.is_ascii_digit())) {
            return Some((rest, Some(custom_offset(offset)?)));
        }
    }
    Some((text, None))
}

/// `Z`, or the offset as `+hh:mm`, with seconds when there are any.
pub(crate) fn offset(zone: &Zone, epoch_ms: i64) -> String {
    let seconds = zone.offset_at(epoch_ms);
    if seconds == 0 {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.abs();
    let mut out = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 > 0 {
        out.push_str(&format!(":{:02}", seconds % 60));
    }
    out
}
