//! Values as literals of another language: `?c`, `?cn` (FreeMarker manual: "Settings / c_format").

use super::number::computer;
use crate::builtins::escapes::{Escape, Sink, java_content, script_content};
use crate::number::Number;

/// The setting `c_format`: whose literals `?c` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CFormat {
    /// Numbers with at most 16 decimals, as before FreeMarker 2.3.32.
    Legacy,
    JavaScriptOrJson,
    Json,
    JavaScript,
    Java,
    Xs,
}

impl CFormat {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "legacy" | "default" => CFormat::Legacy,
            "JavaScript or JSON" => CFormat::JavaScriptOrJson,
            "JSON" => CFormat::Json,
            "JavaScript" => CFormat::JavaScript,
            "Java" => CFormat::Java,
            "XS" => CFormat::Xs,
            _ => {
                return Err(format!(
                    "there is no c_format \"{text}\": there are \"JavaScript or JSON\", \"JSON\", \"JavaScript\", \
                     \"Java\", \"XS\" and \"legacy\""
                ));
            }
        })
    }

    /// What stands for a missing value.
    pub(crate) fn null(self) -> &'static str {
        if self == CFormat::Xs { "" } else { "null" }
    }

    /// Appends a number.
    pub(crate) fn number(self, number: &Number, out: &mut impl Sink) {
        match (self, number) {
            (_, Number::Int(int)) => write_int(*int, out),
            (CFormat::Legacy, _) => out.text(&computer(number)),
            _ => out.text(&number.to_exact_string()),
        }
    }

    /// Appends a string as a literal.
    pub(crate) fn string(self, text: &str, out: &mut impl Sink) {
        if self == CFormat::Xs {
            return out.text(text);
        }
        out.text("\"");
        match self {
            CFormat::Java => java_content(text, out),
            CFormat::JavaScript => script_content(text, Escape::JavaScript, true, out),
            _ => script_content(text, Escape::Json, true, out),
        }
        out.text("\"");
    }
}

/// Appends an integer in digits.
fn write_int(int: i64, out: &mut impl Sink) {
    // the longest is -9223372036854775808
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut rest = int.unsigned_abs();
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        start = place;
        if rest == 0 {
            break;
        }
    }
    if int < 0 {
        out.text("-");
    }
    out.text(digits.get(start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default());
}
