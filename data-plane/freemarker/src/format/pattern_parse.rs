//! Java's `SimpleDateFormat` patterns for en_US: reading, lenient and by prefix as in Java.

use super::calendar::Civil;
use super::pattern::{DatePattern, MONTHS, Part, WEEKDAYS};
use super::zone::{Zone, custom_offset};

/// Where the 100 years of two-digit years begin when the time is unknown.
const DEFAULT_CENTURY_START: i64 = 1950;

/// What was read so far; fields not mentioned are those of 1970-01-01T00:00.
struct Fields {
    wall: Civil,
    day_of_year: Option<i64>,
    before_christ: bool,
    /// The hour on a 12-hour clock, and whether it is past noon.
    half_day_hour: Option<i64>,
    afternoon: bool,
    offset: Option<i64>,
}

impl DatePattern {
    /// Reads a date from the start of `text`; what follows it is ignored.
    ///
    /// `now_ms` is what two-digit years are near to: from 80 years before to 20 years after.
    pub(crate) fn read(&self, text: &str, zone: &Zone, now_ms: Option<i64>) -> Result<i64, String> {
        let chars: Vec<char> = text.chars().collect();
        self.read_chars(&chars, zone, now_ms).ok_or_else(|| format!("unparseable date: \"{text}\""))
    }

    fn read_chars(&self, text: &[char], zone: &Zone, now_ms: Option<i64>) -> Option<i64> {
        let mut fields = Fields {
            wall: Civil { year: 1970, month: 1, day: 1, ..Civil::default() },
            day_of_year: None,
            before_christ: false,
            half_day_hour: None,
            afternoon: false,
            offset: None,
        };
        let mut pos = 0;
        for (i, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(c) => {
                    if text.get(pos) != Some(c) {
                        return None;
                    }
                    pos += 1;
                }
                Part::Field(letter, count) => {
                    // a field right before another one takes exactly its digits
                    let exact = matches!(self.parts.get(i + 1), Some(Part::Field(..)));
                    let width = exact.then_some(*count);
                    pos = fields.read(*letter, *count, text, pos, width, now_ms)?;
                }
            }
        }
        fields.epoch(zone)
    }
}

impl Fields {
    /// Reads one field; gives the position after it.
    fn read(
        &mut self,
        letter: char,
        count: usize,
        text: &[char],
        start: usize,
        width: Option<usize>,
        now_ms: Option<i64>,
    ) -> Option<usize> {
        let blanks = text.get(start..)?.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let pos = start + blanks;
        if pos >= text.len() {
            return None;
        }
        match letter {
            'G' => {
                let (index, end) = name(text, pos, &["BC", "AD"], None)?;
                self.before_christ = index == 0;
                return Some(end);
            }
            'M' | 'L' if count >= 3 => {
                let (index, end) = name(text, pos, &MONTHS, Some(3))?;
                self.wall.month = index as i64 + 1;
                return Some(end);
            }
            'E' => return name(text, pos, &WEEKDAYS, Some(3)).map(|found| found.1),
            'a' => {
                let (index, end) = name(text, pos, &["AM", "PM"], None)?;
                self.afternoon = index == 1;
                return Some(end);
            }
            'z' | 'Z' => return self.read_zone(text, pos),
            'X' => return self.read_iso_zone(text, pos, count),
            _ => {}
        }
        let limit = match width {
            Some(width) => {
                let limit = start + width;
                if limit > text.len() {
                    return None;
                }
                limit
            }
            None => text.len(),
        };
        let (value, end) = number(text, pos, limit)?;
        match letter {
            'y' | 'Y' => {
                let two_digits = count <= 2 && end - pos == 2 && text.get(pos..end)?.iter().all(char::is_ascii_digit);
                self.wall.year = if two_digits { full_year(value, now_ms) } else { value };
            }
            'M' | 'L' => self.wall.month = value,
            'd' => {
                self.wall.day = value;
                self.day_of_year = None;
            }
            'D' => self.day_of_year = Some(value),
            'H' => {
                self.wall.hour = value;
                self.half_day_hour = None;
            }
            'k' => {
                self.wall.hour = if value == 24 { 0 } else { value };
                self.half_day_hour = None;
            }
            'K' => self.half_day_hour = Some(value),
            'h' => self.half_day_hour = Some(if value == 12 { 0 } else { value }),
            'm' => self.wall.minute = value,
            's' => self.wall.second = value,
            'S' => self.wall.millisecond = value,
            // weeks: read, but they don't place the date
            _ => {}
        }
        Some(end)
    }

    fn read_zone(&mut self, text: &[char], pos: usize) -> Option<usize> {
        let rest: String = text.get(pos..)?.iter().take(40).collect();
        let (prefix, offset_text) = match rest.get(..3) {
            Some(gmt) if gmt.eq_ignore_ascii_case("GMT") => (3, rest.get(3..)?),
            _ => (0, rest.as_str()),
        };
        if offset_text.starts_with(['+', '-']) {
            let len = 1 + offset_text.bytes().skip(1).take(5).take_while(|b| b.is_ascii_digit() || *b == b':').count();
            for len in (2..=len).rev() {
                if let Some(seconds) = offset_text.get(..len).and_then(custom_offset) {
                    self.offset = Some(seconds);
                    return Some(pos + prefix + len);
                }
            }
            return None;
        }
        if prefix == 3 {
            self.offset = Some(0);
            return Some(pos + 3);
        }
        let len = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let abbreviation = rest.get(..len)?.to_ascii_uppercase();
        let hours = match abbreviation.as_str() {
            "UTC" | "UT" => 0,
            "EST" => -5,
            "EDT" => -4,
            "CST" => -6,
            "CDT" => -5,
            "MST" => -7,
            "MDT" => -6,
            "PST" => -8,
            "PDT" => -7,
            "CET" => 1,
            "CEST" => 2,
            "WET" => 0,
            "EET" => 2,
            "JST" => 9,
            _ => return None,
        };
        self.offset = Some(hours * 3600);
        Some(pos + len)
    }

    fn read_iso_zone(&mut self, text: &[char], pos: usize, count: usize) -> Option<usize> {
        if text.get(pos) == Some(&'Z') {
            self.offset = Some(0);
            return Some(pos + 1);
        }
        let len = match count {
            1 => 3,
            2 => 5,
            _ => 6,
        };
        let offset: String = text.get(pos..pos + len)?.iter().collect();
        if (count == 3) != offset.contains(':') {
            return None;
        }
        self.offset = Some(custom_offset(&offset)?);
        Some(pos + len)
    }

    fn epoch(mut self, zone: &Zone) -> Option<i64> {
        if self.before_christ {
            self.wall.year = 1 - self.wall.year;
        }
        if let Some(hour) = self.half_day_hour {
            self.wall.hour = hour + if self.afternoon { 12 } else { 0 };
        }
        if let Some(day) = self.day_of_year {
            self.wall.month = 1;
            self.wall.day = day;
        }
        let local = self.wall.cutover_ms();
        Some(match self.offset {
            Some(seconds) => local - seconds * 1000,
            None => zone.to_epoch(local),
        })
    }
}

/// An integer as Java's number format reads it: an optional minus and digits, as an `int`.
fn number(text: &[char], pos: usize, limit: usize) -> Option<(i64, usize)> {
    let negative = text.get(pos) == Some(&'-');
    let digits_from = pos + usize::from(negative);
    let digits = text.get(digits_from..limit)?.iter().map_while(|c| c.to_digit(10));
    let mut value = 0_i64;
    let mut len = 0;
    for digit in digits {
        value = value.saturating_mul(10).saturating_add(i64::from(digit));
        len += 1;
    }
    if len == 0 {
        return None;
    }
    // Java narrows a long to an int
    let value = i64::from(if negative { -value } else { value } as i32);
    Some((value, digits_from + len))
}

/// The longest of the names that the text goes on with, in any case; whole or by its first letters.
fn name(text: &[char], pos: usize, names: &[&str], short: Option<usize>) -> Option<(usize, usize)> {
    let matches = |name: &str| {
        let mut text = text.get(pos..).unwrap_or_default().iter();
        name.chars().all(|c| text.next().is_some_and(|t| t.eq_ignore_ascii_case(&c)))
    };
    let whole = names.iter().position(|name| matches(name));
    if let Some(index) = whole {
        return Some((index, pos + names.get(index)?.len()));
    }
    let len = short?;
    let index = names.iter().position(|name| name.get(..len).is_some_and(matches))?;
    Some((index, pos + len))
}

fn full_year(two_digits: i64, now_ms: Option<i64>) -> i64 {
    let start = match now_ms {
        Some(now) => Civil::gregorian(now).year - 80,
        None => DEFAULT_CENTURY_START,
    };
    let year = start - start.rem_euclid(100) + two_digits;
    if year < start { year + 100 } else { year }
}
