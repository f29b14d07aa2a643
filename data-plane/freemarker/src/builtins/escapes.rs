//! Built-ins that make strings safe for another language.

use super::BuiltIn;
use crate::ast::{BuiltInCall, Expr};
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::value::Value;

impl<'r> Interp<'r> {
    pub(super) fn escape(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let value = self.value(&call.target)?;
        if let Value::Markup(markup) = &value
            && markup.format.is_escaped_by(call.which.name())
        {
            return Ok(value);
        }
        let text = self.text_of(value, &call.target)?;
        // for other built-ins there is none
        let charset = self.printed_arg(call, 0)?;
        self.meter.scan(text.len())?;
        if needs_no_escape(call.which, &text) {
            return Ok(Value::String(text));
        }
        let mut out = String::with_capacity(text.len() + text.len() / 8);
        match call.which {
            BuiltIn::JsonString => script_content(&text, Escape::Json, false, &mut out),
            BuiltIn::JsString => script_content(&text, Escape::JavaScript, false, &mut out),
            BuiltIn::JString => java_content(&text, &mut out),
            BuiltIn::Html | BuiltIn::WebSafe | BuiltIn::Xhtml => {
                markup(&text, "&#39;", &mut out);
            }
            BuiltIn::Xml => markup(&text, "&apos;", &mut out),
            BuiltIn::Rtf => {
                for c in text.chars() {
                    if matches!(c, '\\' | '{' | '}') {
                        out.push('\\');
                    }
                    out.push(c);
                }
            }
            _ => {
                let formats = &*self.formats;
                let set = || formats.url_charset.clone().or(formats.output_encoding.clone());
                let Some(name) = charset.map(|name| name.to_string()).or_else(set) else {
                    // it may still be called with one
                    return Ok(super::methods::waiting_with(call, expr, Value::String(text)));
                };
                super::url::escape(&text, &name, call.which == BuiltIn::UrlPath, &mut out).map_err(runtime)?;
            }
        }
        // most texts need no escape, and are passed on as they came
        if *out == *text {
            return Ok(Value::String(text));
        }
        self.built(out)
    }
}

/// Whether a text stays as it is, as far as a look at its bytes can tell: most texts do, and need no
/// copy then.
fn needs_no_escape(which: BuiltIn, text: &str) -> bool {
    let script = matches!(which, BuiltIn::JsonString | BuiltIn::JsString);
    let markup = matches!(which, BuiltIn::Html | BuiltIn::WebSafe | BuiltIn::Xhtml | BuiltIn::Xml);
    (script || markup)
        && text.bytes().all(|byte| match byte {
            b'"' | b'\'' | b'<' | b'>' => false,
            b'&' => script,
            b'\\' | b'/' | 0..=0x1f | 0x7f => markup,
            // U+0080 to U+009F, U+2028 and U+2029 are among those that begin so
            0xc2 | 0xe2 => markup,
            _ => true,
        })
}

/// Where escaped text goes: into a string, or straight into the output.
pub(crate) trait Sink {
    fn text(&mut self, text: &str);
}

impl Sink for String {
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }
}

impl Sink for Vec<u8> {
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }
}

/// Whose string literals a text is escaped for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    Json,
    JavaScript,
}

/// Escapes the content of a JSON or JavaScript string so that it can stand in an HTML script
/// element too.
///
/// With `quoted` the quotes around the text are taken into account: some characters at its ends
/// are safe then, and so are apostrophes.
pub(crate) fn script_content(text: &str, escape: Escape, quoted: bool, out: &mut impl Sink) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if PLAIN_IN_SCRIPT.get(usize::from(*byte)).is_some_and(|plain| *plain) {
            continue;
        }
        let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { continue };
        let Some(escaped) = script_escape(bytes, at, c, escape, quoted) else { continue };
        out.text(text.get(copied..at).unwrap_or_default());
        copied = at + c.len_utf8();
        match escaped {
            Escaped::Letter(letter) => {
                out.text("\\");
                out.text(letter.encode_utf8(&mut [0; 4]));
            }
            Escaped::Code if escape == Escape::JavaScript && u32::from(c) < 0x100 => {
                out.text("\\x");
                push_hex(u32::from(c), 2, out);
            }
            Escaped::Code => {
                out.text("\\u");
                push_hex(u32::from(c), 4, out);
            }
        }
    }
    out.text(text.get(copied..).unwrap_or_default());
}

/// Bytes that never need an escape: most of ASCII, and what can't begin U+007F–9F or U+2028–9.
static PLAIN_IN_SCRIPT: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        plain[byte] = !(b < 0x20 || matches!(b, b'"' | b'\'' | b'\\' | b'/' | b'<' | b'>' | 0x7f | 0xc2 | 0xe2));
        byte += 1;
    }
    plain
};

enum Escaped {
    /// A backslash and this.
    Letter(char),
    /// A backslash and the code in hexadecimal digits.
    Code,
}

fn script_escape(bytes: &[u8], at: usize, c: char, escape: Escape, quoted: bool) -> Option<Escaped> {
    let before = |distance: usize| at.checked_sub(distance).and_then(|at| bytes.get(at)).copied();
    let dangerous = |is: bool, escaped: Escaped| is.then_some(escaped);
    match c {
        '"' | '\\' => Some(Escaped::Letter(c)),
        '\'' => dangerous(escape == Escape::JavaScript && !quoted, Escaped::Letter(c)),
        '\n' => Some(Escaped::Letter('n')),
        '\r' => Some(Escaped::Letter('r')),
        '\t' => Some(Escaped::Letter('t')),
        '\u{8}' => Some(Escaped::Letter('b')),
        '\u{c}' => Some(Escaped::Letter('f')),
        // against "</"
        '/' => dangerous(at == 0 && !quoted || before(1) == Some(b'<'), Escaped::Letter('/')),
        // against "<!" and "<?"
        '<' => dangerous(bytes.get(at + 1).map_or(!quoted, |next| matches!(next, b'!' | b'?')), Escaped::Code),
        // against "-->" and "]]>", of which the first part may come before the text
        '>' => {
            let closes = match (before(2), before(1)) {
                (_, None) => !quoted,
                (None, Some(b'-' | b']')) => !quoted,
                (Some(b'-'), Some(b'-')) | (Some(b']'), Some(b']')) => true,
                _ => false,
            };
            let escaped = if escape == Escape::Json { Escaped::Code } else { Escaped::Letter('>') };
            dangerous(closes, escaped)
        }
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => Some(Escaped::Code),
        _ => None,
    }
}

fn push_hex(code: u32, digits: u32, out: &mut impl Sink) {
    for place in (0..digits).rev() {
        let digit = char::from_digit(code >> (4 * place) & 0xf, 16).unwrap_or('0');
        out.text(digit.to_ascii_uppercase().encode_utf8(&mut [0; 4]));
    }
}

pub(crate) fn java_content(text: &str, out: &mut impl Sink) {
    for c in text.chars() {
        match c {
            '"' => out.text("\\\""),
            '\\' => out.text("\\\\"),
            '\n' => out.text("\\n"),
            '\r' => out.text("\\r"),
            '\t' => out.text("\\t"),
            '\u{8}' => out.text("\\b"),
            '\u{c}' => out.text("\\f"),
            '\0'..='\u{1f}' => out.text(&format!("\\u{:04x}", c as u32)),
            c => out.text(c.encode_utf8(&mut [0; 4])),
        }
    }
}

fn markup(text: &str, apostrophe: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&', '"', '\'']) {
        let (clean, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(clean);
        out.push_str(match special.as_bytes().first() {
            Some(b'<') => "&lt;",
            Some(b'>') => "&gt;",
            Some(b'&') => "&amp;",
            Some(b'"') => "&quot;",
            _ => apostrophe,
        });
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
}
