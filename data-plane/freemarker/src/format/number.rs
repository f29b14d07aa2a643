//! Number formats by name (FreeMarker manual: "Settings / number_format", built-in `string`).

use std::sync::OnceLock;

use super::decimal_pattern::DecimalPattern;
use super::locale::Locale;
use crate::number::{Digits, Number};

/// The decimals that `?c` writes.
pub(super) const MAX_DECIMALS: u8 = 16;

/// A format for numbers, as the setting `number_format` or `?string("…")` name it.
#[derive(Clone, Debug)]
pub(crate) struct NumberFormat {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// For computers: `.` before the decimals, no grouping, at most 16 decimals.
    Computer,
    Pattern(Box<DecimalPattern>),
}

impl NumberFormat {
    /// Reads `number`, `currency`, `percent`, `computer`, `c` or a DecimalFormat pattern.
    pub(crate) fn parse(text: &str, locale: &'static Locale) -> Result<Self, String> {
        let kind = match text {
            "computer" | "c" => Kind::Computer,
            "number" => Kind::Pattern(Box::new(DecimalPattern::parse(locale.number, locale)?)),
            "currency" => Kind::Pattern(Box::new(DecimalPattern::parse(locale.money, locale)?)),
            "percent" => Kind::Pattern(Box::new(DecimalPattern::parse(locale.percent, locale)?)),
            _ if super::names_custom(text) => {
                let name = text.trim_start_matches('@');
                return Err(format!("No custom number format was defined with name \"{name}\""));
            }
            pattern => Kind::Pattern(Box::new(DecimalPattern::parse(pattern, locale)?)),
        };
        Ok(NumberFormat { kind })
    }

    /// FreeMarker's default: grouping, and at most three decimals.
    pub(crate) fn locale_default() -> Self {
        Self::parse("number", Locale::us()).unwrap_or(NumberFormat { kind: Kind::Computer })
    }

    /// Appends the number.
    pub(crate) fn write(&self, number: &Number, out: &mut Vec<u8>) -> Result<(), String> {
        let text = match (&self.kind, number) {
            (Kind::Computer, Number::Int(int)) => Digits::of(*int, 0),
            (Kind::Pattern(pattern), Number::Int(int)) if pattern.keeps(*int) => Digits::of(*int, 0),
            _ => {
                out.extend_from_slice(self.format(number)?.as_bytes());
                return Ok(());
            }
        };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(crate) fn format(&self, number: &Number) -> Result<String, String> {
        match &self.kind {
            Kind::Computer => Ok(computer(number)),
            Kind::Pattern(pattern) => pattern.format(number),
        }
    }
}

/// The number as `?c` writes it: at most 16 decimals, half even, never an exponent.
pub(crate) fn computer(number: &Number) -> String {
    static PATTERN: OnceLock<Option<DecimalPattern>> = OnceLock::new();
    match number {
        Number::Int(int) => return int.to_string(),
        Number::Short { unscaled, scale } if *scale <= MAX_DECIMALS => {
            return Digits::of(*unscaled, *scale).to_owned();
        }
        _ => {}
    }
    let pattern = PATTERN.get_or_init(|| DecimalPattern::parse("0.################", Locale::us()).ok());
    match pattern.as_ref().map(|pattern| pattern.format(number)) {
        Some(Ok(text)) => text,
        _ => number.to_plain_string(),
    }
}
