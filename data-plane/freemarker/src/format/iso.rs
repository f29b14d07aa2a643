//! ISO 8601 and XML Schema dates (FreeMarker manual: "Settings / datetime_format", `iso` and `xs`;
//! built-ins `iso_…`).

use super::calendar::{Civil, DAY_MS};
use super::date::{DateKind, local};
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
            match option {
                "h" | "m" | "s" | "ms" if xs => {
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
        let mut out = String::new();
        if date.kind != DateKind::Time {
            let year = wall.year;
            let year = if self.xs && year <= 0 { year - 1 } else { year };
            let year = if year < 0 { year.to_string() } else { format!("{year:04}") };
            out = format!("{year}-{:02}-{:02}", wall.month, wall.day);
            if date.kind == DateKind::DateTime {
                out.push('T');
            }
        }
        if date.kind != DateKind::Date {
            out.push_str(&format!("{:02}", wall.hour));
            if self.accuracy != Accuracy::Hours {
                out.push_str(&format!(":{:02}", wall.minute));
            }
            if !matches!(self.accuracy, Accuracy::Hours | Accuracy::Minutes) {
                out.push_str(&format!(":{:02}", wall.second));
            }
            match self.accuracy {
                Accuracy::Milliseconds => out.push_str(&format!(".{:03}", wall.millisecond)),
                Accuracy::AsNeeded if wall.millisecond > 0 => {
                    let fraction = format!(".{:03}", wall.millisecond);
                    out.push_str(fraction.trim_end_matches('0'));
                }
                _ => {}
            }
        }
        if self.show_offset.unwrap_or(date.kind != DateKind::Date || self.xs) {
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
            if self.xs && kind == DateKind::Date {
                (date, offset) = split_offset(date, 8)?;
            }
            self.read_date(date, &mut wall)?;
        }
        if let Some(time) = time {
            let (time, found) = split_offset(time, 0)?;
            offset = found;
            self.read_time(time, &mut wall)?;
        }
        let mut local = wall.gregorian_ms();
        if kind == DateKind::Time {
            local = local.rem_euclid(DAY_MS);
        }
        Some(match offset {
            Some(seconds) => local - seconds * 1000,
            None => zone.to_epoch(local),
        })
    }

    fn read_date(&self, text: &str, wall: &mut Civil) -> Option<()> {
        let (negative, figures) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (year, month, day) = if figures.contains('-') {
            let mut parts = figures.split('-');
            let found = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() {
                return None;
            }
            found
        } else if self.xs {
            return None;
        } else {
            let (year, rest) = figures.split_at_checked(figures.len().checked_sub(4)?)?;
            (year, rest.get(..2)?, rest.get(2..)?)
        };
        if year.len() < 4 || year.len() > 9 {
            return None;
        }
        let year = figure(year, year.len(), 0, 999_999_999)?;
        wall.year = if negative { -year } else { year };
        if self.xs && wall.year < 0 {
            wall.year += 1;
        }
        wall.month = figure(month, 2, 1, 12)?;
        wall.day = figure(day, 2, 1, 31)?;
        // strict: a 30th of February is no date
        let real = Civil::gregorian(wall.gregorian_ms());
        (real.day == wall.day && real.month == wall.month).then_some(())
    }

    fn read_time(&self, text: &str, wall: &mut Civil) -> Option<()> {
        let (clock, fraction) = match text.split_once(['.', ',']) {
            Some((clock, fraction)) => (clock, Some(fraction)),
            None => (text, None),
        };
        let parts: Vec<&str> = if clock.contains(':') {
            clock.split(':').collect()
        } else if clock.len() > 2 && !self.xs {
            if clock.len() % 2 == 1 || !clock.is_ascii() {
                return None;
            }
            (0..clock.len() / 2).filter_map(|i| clock.get(2 * i..2 * i + 2)).collect()
        } else {
            vec![clock]
        };
        if parts.len() > 3 || self.xs && parts.len() != 3 || fraction.is_some() && parts.len() != 3 {
            return None;
        }
        wall.hour = figure(parts.first()?, 2, 0, 24)?;
        wall.minute = parts.get(1).map_or(Some(0), |part| figure(part, 2, 0, 59))?;
        wall.second = parts.get(2).map_or(Some(0), |part| figure(part, 2, 0, 60))?;
        if let Some(fraction) = fraction {
            if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let ms: String = fraction.chars().chain("00".chars()).take(3).collect();
            wall.millisecond = ms.parse().ok()?;
        }
        (wall.hour < 24 || wall.minute + wall.second + wall.millisecond == 0).then_some(())
    }
}

fn figure(text: &str, len: usize, min: i64, max: i64) -> Option<i64> {
    if text.len() != len || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|value| (min..=max).contains(value))
}

/// Splits off `Z`, `+hh`, `+hhmm` or `+hh:mm`, looking from the byte `from` on.
fn split_offset(text: &str, from: usize) -> Option<(&str, Option<i64>)> {
    if let Some(rest) = text.strip_suffix('Z') {
        return Some((rest, Some(0)));
    }
    let sign = text.bytes().enumerate().skip(from).find(|(_, b)| matches!(b, b'+' | b'-'));
    match sign {
        Some((at, _)) => {
            let (rest, offset) = text.split_at_checked(at)?;
            if offset.len() < 3 {
                return None;
            }
            Some((rest, Some(custom_offset(offset)?)))
        }
        None => Some((text, None)),
    }
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
