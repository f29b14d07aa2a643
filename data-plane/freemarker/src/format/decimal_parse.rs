//! Reading `DecimalFormat` patterns and the parameters after them.

use super::decimal_pattern::{Affix, Affixes, DecimalPattern, Rounding, Symbols};
use super::locale::Locale;

/// Splits off the parameters after the second unquoted semicolon.
pub(super) fn split_parameters(text: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    let mut semicolons = 0;
    for (i, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ';' if !quoted => semicolons += 1,
            _ => {}
        }
        if semicolons == 2 {
            let standard = text.get(..i).unwrap_or_default();
            let standard = standard.strip_suffix(';').unwrap_or(standard);
            return (standard, text.get(i + 1..));
        }
    }
    (text.strip_suffix(';').filter(|_| !quoted).unwrap_or(text), None)
}

/// Reads `name=value` pairs with white space or commas between, values optionally quoted.
pub(super) fn parameters(text: &str) -> Result<Vec<(String, String)>, String> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{a0}');
    let in_name =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}');
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches(blank);
    while !rest.is_empty() {
        let (name, after) = rest.split_at(rest.find(|c| !in_name(c)).unwrap_or(rest.len()));
        if name.is_empty() || name.starts_with(|c: char| c.is_numeric()) {
            return Err(format!("expected a name at \"{rest}\""));
        }
        let Some(after) = after.trim_start_matches(blank).strip_prefix('=') else {
            return Err(format!("expected \"=\" after \"{name}\""));
        };
        let after = after.trim_start_matches(blank);
        let (value, after) = match after.chars().next() {
            Some(quote @ ('\'' | '"')) => quoted(after, quote)?,
            _ => {
                let (value, after) = after.split_at(after.find(|c| !in_name(c)).unwrap_or(after.len()));
                if value.is_empty() || after.starts_with(['\'', '"']) {
                    return Err(format!(
                        "expected a value after \"{name}=\", quoted if it is more than letters and digits"
                    ));
                }
                (value.to_owned(), after)
            }
        };
        pairs.push((name.to_owned(), value));
        rest = after.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(more) => {
                rest = more.trim_start_matches(blank);
                if rest.is_empty() {
                    return Err("expected a name after the last comma".into());
                }
            }
            None if !rest.is_empty() && rest.len() == after.len() => {
                return Err(format!("expected white space or a comma at \"{rest}\""));
            }
            None => {}
        }
    }
    Ok(pairs)
}

/// Reads a quoted value in which a doubled quote stands for one.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut rest = text.get(1..).unwrap_or_default();
    loop {
        let Some((part, after)) = rest.split_once(quote) else {
            return Err(format!("the {quote} in \"{text}\" is not closed"));
        };
        value.push_str(part);
        match after.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return Ok((value, after)),
        }
    }
}

/// The parts of a pattern as they are counted from left to right.
#[derive(Default)]
pub(super) struct PatternParser {
    digits_left: usize,
    zeros: usize,
    digits_right: usize,
    decimal: Option<usize>,
    grouping: Option<usize>,
    exponent: Option<usize>,
    multiplier: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prefix,
    Number,
    Suffix,
}

impl PatternParser {
    pub(super) fn parse(mut self, text: &str, locale: &Locale) -> Result<DecimalPattern, String> {
        let chars: Vec<char> = text.chars().collect();
        let (positive, negative_start) = self.part(&chars, true)?;
        if self.zeros == 0
            && self.digits_left > 0
            && let Some(decimal) = self.decimal
        {
            // "###.###": the place before the separator counts as a zero
            let n = decimal.max(1);
            self.digits_right = self.digits_left.saturating_sub(n);
            self.digits_left = n - 1;
            self.zeros = 1;
        }
        let total = self.digits_left + self.zeros + self.digits_right;
        if self.decimal.is_none() && self.digits_right > 0
            || self.decimal.is_some_and(|d| d < self.digits_left || d > self.digits_left + self.zeros)
            || self.grouping == Some(0)
        {
            return Err("misplaced separator".into());
        }
        let negative = match negative_start {
            Some(start) => {
                let (negative, _) = self.part(chars.get(start..).unwrap_or_default(), false)?;
                Some(negative).filter(|negative| *negative != positive)
            }
            None => None,
        };
        let negative = negative.unwrap_or_else(|| {
            let mut negative = positive.clone();
            negative.prefix.insert(0, Affix::Minus);
            negative
        });
        let decimal = self.decimal.unwrap_or(total);
        let min_integer = decimal - self.digits_left;
        let empty = text.is_empty();
        Ok(DecimalPattern {
            positive,
            negative,
            min_integer,
            max_integer: if self.exponent.is_some() { self.digits_left + min_integer } else { 0 },
            min_fraction: if self.decimal.is_some() { self.digits_left + self.zeros - decimal } else { 0 },
            max_fraction: match self.decimal {
                Some(_) => total - decimal,
                None if empty => 340,
                None => 0,
            },
            grouping: self.grouping.unwrap_or(if empty { 3 } else { 0 }),
            always_separator: !empty && self.decimal.is_some_and(|decimal| decimal == 0 || decimal == total),
            exponent_digits: self.exponent,
            multiplier: self.multiplier.unwrap_or(1),
            symbols: Symbols::of(locale),
            rounding: Rounding::HalfEven,
        })
    }

    /// Reads one of the two parts; tells where the second one starts, if there is one.
    fn part(&mut self, chars: &[char], first: bool) -> Result<(Affixes, Option<usize>), String> {
        let mut affixes = Affixes::default();
        let mut phase = Phase::Prefix;
        let mut quoted = false;
        let mut pos = 0;
        while let Some(&c) = chars.get(pos) {
            let next = chars.get(pos + 1).copied();
            if phase == Phase::Number && !quoted {
                let taken = if first {
                    self.number_char(c, &chars[pos..])?
                } else {
                    usize::from(matches!(c, '#' | '0' | ',' | '.' | 'E'))
                };
                if taken == 0 || first && c == 'E' {
                    phase = Phase::Suffix;
                }
                pos += taken;
                continue;
            }
            let affix = match phase {
                Phase::Prefix => &mut affixes.prefix,
                _ => &mut affixes.suffix,
            };
            pos += 1;
            match c {
                '\'' if next == Some('\'') => {
                    affix.push(Affix::Literal('\''));
                    pos += 1;
                }
                '\'' => quoted = !quoted,
                c if quoted => affix.push(Affix::Literal(c)),
                '#' | '0' | ',' | '.' => {
                    phase = Phase::Number;
                    pos -= 1;
                }
                '\u{a4}' if next == Some('\u{a4}') => {
                    affix.push(Affix::CurrencyCode);
                    pos += 1;
                }
                '\u{a4}' => affix.push(Affix::Currency),
                ';' if phase == Phase::Prefix || !first => {
                    return Err("unquoted special character ';'".into());
                }
                ';' => return Ok((affixes, Some(pos))),
                '%' | '\u{2030}' => {
                    if first && self.multiplier.is_some() {
                        return Err("more than one percent or per mille sign".into());
                    }
                    let (part, factor) = if c == '%' { (Affix::Percent, 100) } else { (Affix::PerMille, 1000) };
                    affix.push(part);
                    if first {
                        self.multiplier = Some(factor);
                    }
                }
                '-' => affix.push(Affix::Minus),
                c => affix.push(Affix::Literal(c)),
            }
        }
        if quoted {
            return Err("unclosed quote".into());
        }
        Ok((affixes, None))
    }

    /// Counts a character of the number part; gives how many characters belong to it.
    fn number_char(&mut self, c: char, rest: &[char]) -> Result<usize, String> {
        let count_group = |parser: &mut Self| {
            if parser.decimal.is_none()
                && let Some(group) = &mut parser.grouping
            {
                *group += 1;
            }
        };
        match c {
            '#' => {
                if self.zeros > 0 {
                    self.digits_right += 1;
                } else {
                    self.digits_left += 1;
                }
                count_group(self);
            }
            '0' => {
                if self.digits_right > 0 {
                    return Err("unexpected '0'".into());
                }
                self.zeros += 1;
                count_group(self);
            }
            ',' => self.grouping = Some(0),
            '.' => {
                if self.decimal.is_some() {
                    return Err("more than one decimal separator".into());
                }
                self.decimal = Some(self.digits_left + self.zeros + self.digits_right);
            }
            'E' => {
                if self.exponent.is_some() {
                    return Err("more than one exponent".into());
                }
                let zeros = rest.iter().skip(1).take_while(|c| **c == '0').count();
                if self.digits_left + self.zeros < 1 || zeros < 1 {
                    return Err("malformed exponent".into());
                }
                self.exponent = Some(zeros);
                return Ok(1 + zeros);
            }
            _ => return Ok(0),
        }
        Ok(1)
    }
}
