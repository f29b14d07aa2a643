//! Values as literals of another language: `?c`, `?cn` (FreeMarker manual: "Settings / c_format").

use super::number::{MAX_DECIMALS, computer};
use crate::builtins::escapes::{Escape, Sink, java_content, script_content};
use crate::number::{Digits, Number};

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
            (_, Number::Int(int)) => out.text(&Digits::of(*int, 0)),
            (CFormat::Legacy, Number::Short { unscaled, scale }) if *scale <= MAX_DECIMALS => {
                out.text(&Digits::of(*unscaled, *scale));
            }
            // not so near to 0 that it would have an exponent
            (_, Number::Short { unscaled, scale }) if *scale <= 6 => out.text(&Digits::of(*unscaled, *scale)),
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
