//! Output formats: which language the output is in, and how plain text is escaped in it
//! (FreeMarker manual: "Auto-escaping and output formats").

use std::fmt;

/// A format, or formats in one another: `HTML{XML}` is XML in HTML. The names' numbers, outermost
/// first, four bits each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OutputFormat(u64);

const NAMES: [&str; 9] = ["undefined", "plainText", "HTML", "XHTML", "XML", "RTF", "JSON", "JavaScript", "CSS"];

/// More formats in one another than this can't be told apart.
const MAX_COMBINED: u32 = 16;

/// When interpolations escape by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum AutoEscaping {
    /// Wherever the format is one of markup.
    Enabled,
    Disabled,
    /// As enabled; a template can't switch it off.
    Forced,
}

/// The format at a place of a template, and whether interpolations escape there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Escaping {
    pub(crate) format: OutputFormat,
    pub(crate) policy: AutoEscaping,
}

impl Default for Escaping {
    fn default() -> Self {
        Escaping { format: OutputFormat::UNDEFINED, policy: AutoEscaping::Enabled }
    }
}

impl Escaping {
    /// Whether interpolations escape.
    pub(crate) fn is_on(self) -> bool {
        self.format.is_markup() && self.policy != AutoEscaping::Disabled
    }
}

impl OutputFormat {
    pub(crate) const UNDEFINED: OutputFormat = OutputFormat(1);
    pub(crate) const HTML: OutputFormat = OutputFormat(3);
    pub(crate) const XML: OutputFormat = OutputFormat(5);

    /// Finds a format by its name, such as `HTML` or `HTML{XML}`.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        if let Some(outer_and_inner) = name.strip_suffix('}') {
            let Some((outer, inner)) = outer_and_inner.split_once('{') else {
                return Err(format!("Missing opening '{{' in: {name}"));
            };
            let inner_end = inner.trim_end_matches('}');
            let (outer, inner) = match inner_end.rfind('{') {
                // the innermost is last: A{B{C}}
                Some(_) => (Self::basic(outer)?, Self::find(inner)?),
                None => (Self::basic(outer)?, Self::basic(inner_end)?),
            };
            for format in [outer, inner] {
                if !format.is_markup() {
                    return Err(format!(
                        "The \"{format}\" output format can't be used in ...{{...}} expression, because it's not a \
                         markup format."
                    ));
                }
            }
            return outer.with_inner(inner);
        }
        Self::basic(name)
    }

    fn basic(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("0-length format name".into());
        }
        match (1..).zip(NAMES).find(|(_, known)| *known == name) {
            Some((number, _)) => Ok(OutputFormat(number)),
            None => Err(format!(
                "Unregistered output format name, \"{name}\". The output formats registered in the Configuration are: \
                 \"CSS\", \"HTML\", \"JSON\", \"JavaScript\", \"RTF\", \"XHTML\", \"XML\", \"plainText\", \"undefined\""
            )),
        }
    }

    /// `self{inner}`
    pub(crate) fn with_inner(self, inner: OutputFormat) -> Result<Self, String> {
        if self.depth() + inner.depth() > MAX_COMBINED {
            return Err(format!("more than {MAX_COMBINED} output formats are in one another"));
        }
        Ok(OutputFormat(self.0 | inner.0 << (4 * self.depth())))
    }

    fn depth(self) -> u32 {
        (u64::BITS - self.0.leading_zeros()).div_ceil(4)
    }

    /// The formats, outermost first.
    fn parts(self) -> impl DoubleEndedIterator<Item = u64> {
        (0..self.depth()).map(move |level| self.0 >> (4 * level) & 0xf)
    }

    /// Whether it can escape.
    pub(crate) fn is_markup(self) -> bool {
        (3..=6).contains(&(self.0 & 0xf))
    }

    /// Whether values of other formats are printed as they are.
    pub(crate) fn mixes(self) -> bool {
        self == Self::UNDEFINED
    }

    /// Whether `?html` and its like leave values of this format alone.
    pub(crate) fn is_escaped_by(self, built_in: &str) -> bool {
        match self.0 & 0xf {
            3 | 4 => matches!(built_in, "html" | "xml" | "xhtml"),
            5 => built_in == "xml",
            6 => built_in == "rtf",
            _ => false,
        }
    }

    /// Appends a plain text, escaped.
    pub(crate) fn escape(self, text: &str, out: &mut Vec<u8>) {
        let depth = self.depth();
        if depth <= 1 {
            return escape_in(self.0, text, out);
        }
        let mut current = text.as_bytes().to_vec();
        for part in self.parts().rev() {
            let mut escaped = Vec::with_capacity(current.len());
            escape_in(part, std::str::from_utf8(&current).unwrap_or_default(), &mut escaped);
            current = escaped;
        }
        out.extend_from_slice(&current);
    }

    /// A plain text, escaped.
    pub(crate) fn escaped(self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len() + text.len() / 8);
        self.escape(text, &mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// Copies what needs no escape in stretches.
fn escape_in(format: u64, text: &str, out: &mut Vec<u8>) {
    let mut start = 0;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match (format, byte) {
            (3..=5, b'<') => b"&lt;",
            (3..=5, b'>') => b"&gt;",
            (3..=5, b'&') => b"&amp;",
            (3..=5, b'"') => b"&quot;",
            (3 | 4, b'\'') => b"&#39;",
            (5, b'\'') => b"&apos;",
            (6, b'\\') => b"\\\\",
            (6, b'{') => b"\\{",
            (6, b'}') => b"\\}",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(start..at).unwrap_or_default());
        out.extend_from_slice(escaped);
        start = at + 1;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, part) in self.parts().enumerate() {
            if level > 0 {
                f.write_str("{")?;
            }
            f.write_str(NAMES.get((part as usize).wrapping_sub(1)).copied().unwrap_or_default())?;
        }
        f.write_str(&"}".repeat(self.depth().saturating_sub(1) as usize))
    }
}

impl fmt::Debug for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_combine() {
        for name in ["undefined", "CSS", "HTML", "HTML{XML}", "RTF{HTML{XML}}"] {
            assert_eq!(OutputFormat::find(name).unwrap().to_string(), name);
        }
        assert!(OutputFormat::find("HTML{plainText}").is_err());
        assert!(OutputFormat::find("HTML{nope}").is_err());
        assert!(OutputFormat::find("HTML}").is_err());
        assert_eq!(OutputFormat::find("HTML{RTF}").unwrap().escaped("<{'"), "&lt;\\{&#39;");
        assert!(OutputFormat::find("RTF{XML}").unwrap().is_markup());
        assert!(!OutputFormat::UNDEFINED.is_markup());
    }
}
