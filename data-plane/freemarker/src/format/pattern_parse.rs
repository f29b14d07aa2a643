//! Java's `SimpleDateFormat` patterns for en_US: reading, lenient and by prefix as in Java.

use super::calendar::Civil;
use super::date_fields::{Field, Fields, ReadZone};
use super::locale::Locale;
use super::pattern::{DatePattern, Part};
use super::zone::Zone;
use super::zone_names;

/// Where the 100 years of two-digit years begin when the time is unknown.
const DEFAULT_CENTURY_START: i64 = 1950;

impl DatePattern {
    /// Reads a date from the start of `text`; what follows it is ignored.
    ///
    /// `now_ms` is what two-digit years are near to: from 80 years before to 20 years after.
    pub(crate) fn read(&self, text: &str, zone: &Zone, now_ms: Option<i64>) -> Result<i64, String> {
        let chars: Vec<char> = text.chars().collect();
        self.read_chars(&chars, zone, now_ms).ok_or_else(|| format!("unparseable date: \"{text}\""))
    }

    fn read_chars(&self, text: &[char], zone: &Zone, now_ms: Option<i64>) -> Option<i64> {
        let mut fields = Reader { fields: Fields::default(), own: zone, locale: self.locale };
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
                    // a field right before another number takes exactly its digits
                    let exact = matches!(self.parts.get(i + 1), Some(Part::Field(letter, count))
                        if is_numeric(*letter, *count));
                    let width = exact.then_some(*count);
                    pos = fields.read(*letter, *count, text, pos, width, now_ms)?;
                }
            }
        }
        fields.fields.epoch(zone, self.locale)
    }
}

/// Reads field by field.
struct Reader<'z> {
    fields: Fields,
    /// The zone of the setting, whose names are looked for first.
    own: &'z Zone,
    locale: &'static Locale,
}

impl Reader<'_> {
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
        let (fields, locale) = (&mut self.fields, self.locale);
        // names are looked for before the white space is skipped
        match letter {
            'G' => {
                let (index, end) = name(text, start, [&locale.eras, &[]])?;
                fields.before_christ = index == 0;
                return Some(end);
            }
            'M' | 'L' if count >= 3 => {
                let (index, end) = name(text, start, [&locale.months, &locale.short_months])?;
                fields.set(Field::Month, index as i64 + 1);
                return Some(end);
            }
            'E' => {
                let (index, end) = name(text, start, [&locale.weekdays, &locale.short_weekdays])?;
                fields.set(Field::DayOfWeek, index as i64);
                return Some(end);
            }
            'a' => {
                let (index, end) = name(text, start, [&locale.halves, &[]])?;
                fields.set(Field::HalfOfDay, index as i64);
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
        let (field, value) = match letter {
            'y' | 'Y' => {
                let two_digits = count <= 2 && end - pos == 2 && text.get(pos..end)?.iter().all(char::is_ascii_digit);
                let year = if two_digits { full_year(value, now_ms) } else { value };
                fields.century_start_ms =
                    century_start_ms(now_ms).filter(|start| two_digits && year == Civil::gregorian(*start).year);
                (if letter == 'y' { Field::Year } else { Field::WeekYear }, year)
            }
            'M' | 'L' => (Field::Month, value),
            'd' => (Field::Day, value),
            'D' => (Field::DayOfYear, value),
            'w' => (Field::WeekOfYear, value),
            'W' => (Field::WeekOfMonth, value),
            'F' => (Field::DayOfWeekInMonth, value),
            // from Monday as 1 to days from Sunday
            'u' => (Field::DayOfWeek, if value == 7 { 0 } else { value }),
            'H' => (Field::Hour, value),
            'k' => (Field::Hour, if value == 24 { 0 } else { value }),
            'K' => (Field::HalfDayHour, value),
            'h' => (Field::HalfDayHour, if value == 12 { 0 } else { value }),
            'm' => (Field::Minute, value),
            's' => (Field::Second, value),
            _ => (Field::Millisecond, value),
        };
        self.fields.set(field, value);
        Some(end)
    }

    fn read_zone(&mut self, text: &[char], pos: usize) -> Option<usize> {
        let sign = |at: usize| match text.get(at) {
            Some('+') => Some(1),
            Some('-') => Some(-1),
            _ => None,
        };
        if let Some(sign) = sign(pos) {
            return self.read_offset(text, pos + 1, sign, 0, false);
        }
        let rest: String = text.get(pos..)?.iter().take(80).collect();
        if rest.get(..3).is_some_and(|gmt| gmt.eq_ignore_ascii_case("GMT")) {
            let after = pos + 3;
            return match sign(after) {
                Some(sign) => self.read_offset(text, after + 1, sign, 0, true),
                None => {
                    self.fields.zone = Some(ReadZone::Offset(0));
                    Some(after)
                }
            };
        }
        let (len, zone) = named_zone(&rest, self.own)?;
        self.fields.zone = Some(zone);
        Some(pos + len)
    }

    fn read_iso_zone(&mut self, text: &[char], pos: usize, count: usize) -> Option<usize> {
        let sign = match text.get(pos)? {
            'Z' => {
                self.fields.zone = Some(ReadZone::Offset(0));
                return Some(pos + 1);
            }
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.read_offset(text, pos + 1, sign, count, count == 3)
    }

    /// `hh`, `hhmm` or `hh:mm` after a sign; `count` is 0 where the number of letters says nothing.
    fn read_offset(&mut self, text: &[char], pos: usize, sign: i64, count: usize, colon: bool) -> Option<usize> {
        let digit = |at: usize| text.get(at)?.to_digit(10).map(i64::from);
        let mut at = pos + 1;
        let mut hours = digit(pos)?;
        text.get(at)?;
        match digit(at) {
            Some(second) => {
                hours = hours * 10 + second;
                at += 1;
            }
            None if count > 0 || !colon => return None,
            None => {}
        }
        let mut minutes = 0;
        if count != 1 {
            if colon {
                if text.get(at) != Some(&':') {
                    return None;
                }
                at += 1;
            }
            minutes = digit(at)? * 10 + digit(at + 1)?;
            at += 2;
        }
        if hours > 23 || minutes > 59 {
            return None;
        }
        self.fields.zone = Some(ReadZone::Offset(sign * (hours * 3600 + minutes * 60)));
        Some(at)
    }
}

/// Whether a field is read as a number, and not as a name or a zone.
fn is_numeric(letter: char, count: usize) -> bool {
    match letter {
        'G' | 'E' | 'a' | 'z' | 'Z' | 'X' => false,
        'M' | 'L' => count <= 2,
        _ => true,
    }
}

/// A zone by its name in words or its abbreviation, and how long that is.
fn named_zone(text: &str, own: &Zone) -> Option<(usize, ReadZone)> {
    let begins = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    for (daylight, long) in [(false, true), (false, false), (true, true), (true, false)] {
        if let Some(names) = own.names() {
            let name = names.name(daylight, long);
            if begins(name) {
                let always = names.name(!daylight, long) == name;
                return Some((name.len(), ReadZone::Named { zone: own.clone(), daylight, always }));
            }
        }
    }
    let known = zone_names::find_at_start(text)?;
    let zone = Zone::find(known.zone)?;
    Some((known.name.len(), ReadZone::Named { zone, daylight: known.daylight, always: known.always }))
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

/// The longest of the names, whole or short, that the text goes on with, in any case.
fn name(text: &[char], pos: usize, names: [&[&str]; 2]) -> Option<(usize, usize)> {
    let matches = |name: &str| {
        let mut text = text.get(pos..).unwrap_or_default().iter();
        name.chars().all(|c| text.next().is_some_and(|t| t.eq_ignore_ascii_case(&c)))
    };
    let all = names.iter().flat_map(|names| names.iter().enumerate());
    let found = all.filter(|(_, name)| matches(name)).max_by_key(|(_, name)| name.len());
    found.map(|(index, name)| (index, pos + name.chars().count()))
}

/// When the 100 years of two-digit years begin: in the middle of a year.
fn century_start_ms(now_ms: Option<i64>) -> Option<i64> {
    let now = Civil::gregorian(now_ms?);
    Some(Civil { year: now.year - 80, ..now }.gregorian_ms())
}

fn full_year(two_digits: i64, now_ms: Option<i64>) -> i64 {
    let start = match now_ms {
        Some(now) => Civil::gregorian(now).year - 80,
        None => DEFAULT_CENTURY_START,
    };
    let year = start - start.rem_euclid(100) + two_digits;
    if year < start { year + 100 } else { year }
}
