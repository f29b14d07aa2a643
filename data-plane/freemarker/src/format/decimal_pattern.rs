//! Java's `DecimalFormat` patterns, with FreeMarker's parameters after `;;` (manual: "Settings /
//! number_format", "Extended Java decimal format").

use super::decimal_parse::{PatternParser, parameters, split_parameters};
use super::digits::Digits;
use super::locale::Locale;
use crate::number::Number;

/// A pattern such as `#,##0.00;(#,##0.00)`, ready to format with.
#[derive(Clone, Debug)]
pub(crate) struct DecimalPattern {
    pub(super) positive: Affixes,
    pub(super) negative: Affixes,
    pub(super) min_integer: usize,
    /// Only in exponential notation; else there is no maximum.
    pub(super) max_integer: usize,
    pub(super) min_fraction: usize,
    pub(super) max_fraction: usize,
    /// Digits per group; 0 for no groups.
    pub(super) grouping: usize,
    pub(super) always_separator: bool,
    /// The fewest digits of the exponent, in exponential notation.
    pub(super) exponent_digits: Option<usize>,
    /// 1, 100 or 1000, or what the parameter `multiplier` says.
    pub(super) multiplier: i64,
    pub(super) symbols: Symbols,
    pub(super) rounding: Rounding,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Affixes {
    pub(super) prefix: Vec<Affix>,
    pub(super) suffix: Vec<Affix>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affix {
    Literal(char),
    Minus,
    Percent,
    PerMille,
    Currency,
    CurrencyCode,
}

#[derive(Clone, Debug)]
pub(super) struct Symbols {
    pub(super) decimal: char,
    pub(super) monetary_decimal: char,
    pub(super) grouping: char,
    pub(super) monetary_grouping: char,
    pub(super) minus: char,
    pub(super) percent: char,
    pub(super) per_mille: char,
    pub(super) exponent: String,
    pub(super) zero: char,
    pub(super) currency: String,
    pub(super) currency_code: String,
}

impl Symbols {
    pub(super) fn of(locale: &Locale) -> Self {
        let [decimal, grouping, monetary_decimal, monetary_grouping, minus, percent, per_mille] = locale.signs;
        Symbols {
            decimal,
            monetary_decimal,
            grouping,
            monetary_grouping,
            minus,
            percent,
            per_mille,
            exponent: locale.exponent.into(),
            zero: '0',
            currency: locale.currency.into(),
            currency_code: locale.currency_code.into(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
    Ceiling,
    Floor,
    HalfUp,
    HalfDown,
    HalfEven,
    Unnecessary,
}

impl DecimalPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A message saying what is malformed.
    pub(crate) fn parse(text: &str, locale: &'static Locale) -> Result<Self, String> {
        let (standard, parameters) = split_parameters(text);
        let mut pattern = PatternParser::default()
            .parse(standard, locale)
            .map_err(|problem| format!("the number format pattern \"{text}\" is malformed: {problem}"))?;
        if let Some(parameters) = parameters {
            pattern
                .set_parameters(parameters, locale)
                .map_err(|problem| format!("the number format pattern \"{text}\" is malformed: {problem}"))?;
        }
        Ok(pattern)
    }

    /// The number as text.
    ///
    /// # Errors
    /// When the number would have to be rounded and `roundingMode=unnecessary` forbids it.
    pub(crate) fn format(&self, number: &Number) -> Result<String, String> {
        if let Number::Int(int) = number
            && self.is_plain()
        {
            return Ok(self.format_int(*int));
        }
        let negative = number.is_negative();
        let multiplied;
        let number = if self.multiplier == 1 {
            number
        } else {
            multiplied =
                number.multiply_exactly(self.multiplier).map_err(|_| "the number has too many digits".to_owned())?;
            &multiplied
        };
        let mut digits = Digits::of(number);
        match self.exponent_digits {
            Some(_) => {
                let max = self.max_integer.saturating_add(self.max_fraction);
                if max > 0 {
                    digits.keep(max as i64, negative, self.rounding)?;
                }
            }
            None => {
                let keep = digits.point + self.max_fraction as i64;
                digits.keep(keep, negative, self.rounding)?;
            }
        }
        let affixes = if negative { &self.negative } else { &self.positive };
        let mut out = String::new();
        self.write_affix(&affixes.prefix, &mut out);
        match self.exponent_digits {
            Some(exponent_digits) => self.write_exponential(&digits, exponent_digits, &mut out),
            None => self.write_plain(&digits, &mut out),
        }
        self.write_affix(&affixes.suffix, &mut out);
        Ok(out)
    }

    /// Whether integers are written as they are, apart from groups.
    fn is_plain(&self) -> bool {
        self.multiplier == 1
            && self.exponent_digits.is_none()
            && self.min_fraction == 0
            && !self.always_separator
            && self.min_integer <= 1
            && self.symbols.zero == '0'
    }

    /// Whether an integer is written in digits and nothing else.
    pub(super) fn keeps(&self, int: i64) -> bool {
        let one_group = self.grouping == 0 || self.grouping >= 3 && int < 1000;
        self.is_plain() && int >= 0 && one_group && self.positive == Affixes::default()
    }

    fn format_int(&self, int: i64) -> String {
        let affixes = if int < 0 { &self.negative } else { &self.positive };
        let mut out = String::with_capacity(32);
        self.write_affix(&affixes.prefix, &mut out);
        let grouping = if self.is_monetary() { self.symbols.monetary_grouping } else { self.symbols.grouping };
        let mut digits = [0_u8; 20];
        let mut rest = int.unsigned_abs();
        let mut count = 0;
        for digit in &mut digits {
            *digit = (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        for (place, digit) in digits.iter().enumerate().take(count).rev() {
            out.push(char::from(b'0' + digit));
            if self.grouping > 0 && place > 0 && place % self.grouping == 0 {
                out.push(grouping);
            }
        }
        self.write_affix(&affixes.suffix, &mut out);
        out
    }

    fn write_plain(&self, digits: &Digits, out: &mut String) {
        let whole = digits.point.max(0) as usize;
        let places = whole.max(self.min_integer);
        for i in (0..places).rev() {
            // i counts places from the decimal separator
            let digit = if i < whole { digits.at((whole - 1 - i) as i64) } else { 0 };
            out.push(self.digit(digit));
            if self.grouping > 0 && i > 0 && i % self.grouping == 0 {
                out.push(if self.is_monetary() { self.symbols.monetary_grouping } else { self.symbols.grouping });
            }
        }
        let fraction = (digits.digits.len() as i64 - digits.point).max(0) as usize;
        let fraction = if digits.digits.is_empty() { 0 } else { fraction };
        let fraction_present = self.min_fraction > 0 || fraction > 0;
        if !fraction_present && places == 0 {
            out.push(self.digit(0));
        }
        if self.always_separator || fraction_present {
            out.push(self.decimal_separator());
        }
        for i in 0..fraction.max(self.min_fraction) {
            out.push(self.digit(digits.at(digits.point + i as i64)));
        }
    }

    fn write_exponential(&self, digits: &Digits, exponent_digits: usize, out: &mut String) {
        let mut exponent = if digits.digits.is_empty() { 0 } else { digits.point };
        let repeat = self.max_integer as i64;
        let mut min_integer = self.min_integer as i64;
        if repeat > 1 && repeat > min_integer {
            exponent =
                if exponent >= 1 { (exponent - 1) / repeat * repeat } else { (exponent - repeat) / repeat * repeat };
            min_integer = 1;
        } else {
            exponent -= min_integer;
        }
        let zero = digits.digits.is_empty();
        let integer_digits = if zero { min_integer } else { digits.point - exponent };
        let min_digits = (self.min_integer + self.min_fraction) as i64;
        let total = (digits.digits.len() as i64).max(min_digits).max(integer_digits);
        for i in 0..total {
            if i == integer_digits {
                out.push(self.decimal_separator());
            }
            out.push(self.digit(digits.at(i)));
        }
        if self.always_separator && total == integer_digits {
            out.push(self.decimal_separator());
        }
        out.push_str(&self.symbols.exponent);
        if zero {
            exponent = 0;
        }
        if exponent < 0 {
            out.push(self.symbols.minus);
        }
        let text = exponent.unsigned_abs().to_string();
        for _ in text.len()..exponent_digits {
            out.push(self.digit(0));
        }
        out.extend(text.bytes().map(|b| self.digit(b - b'0')));
    }

    fn write_affix(&self, affix: &[Affix], out: &mut String) {
        for part in affix {
            match part {
                Affix::Literal(c) => out.push(*c),
                Affix::Minus => out.push(self.symbols.minus),
                Affix::Percent => out.push(self.symbols.percent),
                Affix::PerMille => out.push(self.symbols.per_mille),
                Affix::Currency => out.push_str(&self.symbols.currency),
                Affix::CurrencyCode => out.push_str(&self.symbols.currency_code),
            }
        }
    }

    fn digit(&self, digit: u8) -> char {
        char::from_u32(self.symbols.zero as u32 + u32::from(digit)).unwrap_or('0')
    }

    fn decimal_separator(&self) -> char {
        // what the locale has for money is not changed by the parameter decimalSeparator
        if self.is_monetary() { self.symbols.monetary_decimal } else { self.symbols.decimal }
    }

    fn is_monetary(&self) -> bool {
        let is_currency = |part: &Affix| matches!(part, Affix::Currency | Affix::CurrencyCode);
        let negative = self.negative.prefix.iter().chain(&self.negative.suffix);
        self.positive.prefix.iter().chain(&self.positive.suffix).chain(negative).any(is_currency)
    }

    fn set_parameters(&mut self, text: &str, locale: &Locale) -> Result<(), String> {
        let mut currency_symbol = None;
        for (name, value) in parameters(text)? {
            let one_char = || {
                let mut chars = value.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) if c.len_utf16() == 1 => Ok(c),
                    _ => Err(format!("{name} must be one character")),
                }
            };
            let symbols = &mut self.symbols;
            match name.as_str() {
                "roundingMode" => self.rounding = Rounding::parse(&value)?,
                "multiplier" | "multipier" => {
                    let multiplier: i32 = value.parse().map_err(|_| "multiplier must be an integer".to_owned())?;
                    self.multiplier = i64::from(multiplier);
                }
                "decimalSeparator" => symbols.decimal = one_char()?,
                "monetaryDecimalSeparator" => symbols.monetary_decimal = one_char()?,
                "groupingSeparator" => symbols.grouping = one_char()?,
                "minusSign" => symbols.minus = one_char()?,
                "percent" => symbols.percent = one_char()?,
                "perMill" => symbols.per_mille = one_char()?,
                "zeroDigit" => symbols.zero = one_char()?,
                "exponentSeparator" => symbols.exponent = value,
                // whatever the order, it comes after the code
                "currencySymbol" => currency_symbol = Some(value),
                "currencyCode" => {
                    let symbol = locale
                        .currency_symbol(&value)
                        .ok_or_else(|| format!("\"{value}\" is no currency code of ISO 4217"))?;
                    symbols.currency = symbol.to_owned();
                    symbols.currency_code = value;
                }
                // numbers of this engine are always finite
                "infinity" | "nan" => {}
                _ => return Err(format!("there is no parameter named {name}")),
            }
        }
        if let Some(symbol) = currency_symbol {
            self.symbols.currency = symbol;
        }
        Ok(())
    }
}

impl Rounding {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "up" => Rounding::Up,
            "down" => Rounding::Down,
            "ceiling" => Rounding::Ceiling,
            "floor" => Rounding::Floor,
            "halfUp" => Rounding::HalfUp,
            "halfDown" => Rounding::HalfDown,
            "halfEven" => Rounding::HalfEven,
            "unnecessary" => Rounding::Unnecessary,
            _ => return Err(format!("there is no roundingMode {text}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(number: &str, pattern: &str) -> String {
        DecimalPattern::parse(pattern, Locale::us()).unwrap().format(&Number::parse(number).unwrap()).unwrap()
    }

    #[test]
    fn formats_as_java_does() {
        for (number, pattern, expected) in [
            ("1234567.8915", "#,##0.###", "1,234,567.892"),
            ("0.0005", "#,##0.###", "0"),
            ("-0.0004", "#,##0.###", "-0"),
            ("2.5", "0", "2"),
            ("3.5", "0", "4"),
            ("0.125", "0.00", "0.12"),
            ("1.005", "0.00", "1.00"),
            ("0.5", "#.##", "0.5"),
            ("0.5", ".00", ".50"),
            ("0", "#", "0"),
            ("0.04", "#.#", "0"),
            ("1234567", "0.###E0", "1.235E6"),
            ("12345678", "#,####", "1234,5678"),
            ("-1234", "#,##0;(#,##0)", "(1,234)"),
            ("0.256", "#,##0%", "26%"),
            ("-1.5", "\u{a4}0.00", "-$1.50"),
            ("5", "000", "005"),
            ("12345", "##0.#####E0", "12.345E3"),
            ("0.00012", "00.###E0", "12E-5"),
            ("999.96", "0.0", "1000.0"),
            ("0.6", "0", "1"),
            ("0.06", "0", "0"),
            ("1", "nope", "nope1"),
            ("1", "0.'x'", "1.x"),
            ("1.5", "0;;roundingMode=halfUp", "2"),
            ("1234.5", "#,##0.0;;decimalSeparator=',' groupingSeparator='.'", "1.234,5"),
        ] {
            assert_eq!(format(number, pattern), expected, "{number} {pattern}");
        }
    }

    #[test]
    fn refuses_malformed_patterns() {
        for pattern in ["0.0.0", "#0#0", "0,", "0E", "'0", "0;;x=1", "0;;roundingMode=best"] {
            assert!(DecimalPattern::parse(pattern, Locale::us()).is_err(), "{pattern}");
        }
    }
}
