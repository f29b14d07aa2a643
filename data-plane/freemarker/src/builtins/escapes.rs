//! Built-ins that make strings safe for another language.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::settings::charset;
use crate::value::Value;

impl<'r> Interp<'r> {
    pub(super) fn escape(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let value = self.value(&call.target)?;
        if let Value::Markup(markup) = &value
            && markup.format.is_escaped_by(call.which.name())
        {
            return Ok(value);
        }
        let text = self.text_of(value, &call.target)?;
        self.meter.scan(text.len())?;
        if needs_no_escape(call.which, &text) {
            return Ok(Value::String(text));
        }
        let mut out = String::with_capacity(text.len() + text.len() / 8);
        match call.which {
            BuiltIn::JsonString => json_content(&text, false, &mut out),
            BuiltIn::JsString => script_content(&text, Script::JavaScript, false, &mut out),
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
                let given = self.text_arg(call, 0)?;
                let name = match given {
                    Some(name) => name.to_string(),
                    None => {
                        let formats = &*self.formats;
                        let set = formats.url_charset.clone().or(formats.output_encoding.clone());
                        set.ok_or_else(|| {
                            runtime(format!(
                                "?{0} needs to know the character set: write ?{0}(\"UTF-8\") or \
                                 set url_escaping_charset",
                                call.which.name()
                            ))
                        })?
                    }
                };
                let name = charset(&name).map_err(runtime)?;
                url(&text, &name, call.which == BuiltIn::UrlPath, &mut out);
            }
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Json,
    JavaScript,
}

/// Escapes the content of a JSON string so that it can stand in an HTML script element too.
///
/// With `quoted` the quote before the text is taken into account: `/` at its start is safe then.
pub(crate) fn json_content(text: &str, quoted: bool, out: &mut String) {
    script_content(text, Script::Json, quoted, out);
}

fn script_content(text: &str, script: Script, quoted: bool, out: &mut String) {
    let json = script == Script::Json;
    let mut before = [if quoted { '"' } else { '\0' }; 2];
    let mut chars = text.chars().peekable();
    let mut at_start = !quoted;
    while let Some(c) = chars.next() {
        let [before2, before1] = before;
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\'' if !json => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if at_start || before1 == '<' => out.push_str("\\/"),
            '<' if matches!(chars.peek(), None | Some('!' | '?')) => {
                out.push_str(if json { "\\u003C" } else { "\\x3C" });
            }
            '>' if closes(at_start, before2, before1) => {
                out.push_str(if json { "\\u003E" } else { "\\>" });
            }
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' if !json => {
                out.push_str(&format!("\\x{:02X}", c as u32));
            }
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04X}", c as u32));
            }
            c => out.push(c),
        }
        before = [before1, c];
        at_start = false;
    }
}

/// Whether `>` may end a comment or a CDATA section: after `--` or `]]`, of which the first part
/// may come before the text.
fn closes(at_start: bool, before2: char, before1: char) -> bool {
    at_start || matches!((before2, before1), ('-', '-') | (']', ']') | ('\0', '-') | ('\0', ']'))
}

fn java_content(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
}

fn markup(text: &str, apostrophe: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str(apostrophe),
            c => out.push(c),
        }
    }
}

fn url(text: &str, charset: &str, path: bool, out: &mut String) {
    let escape = |byte: u8, out: &mut String| out.push_str(&format!("%{byte:02X}"));
    for c in text.chars() {
        let safe = c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '.' | '!' | '~' | '*' | '\'' | '(' | ')')
            || path && c == '/';
        if safe {
            out.push(c);
            continue;
        }
        match charset {
            "utf-16be" => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    unit.to_be_bytes().into_iter().for_each(|byte| escape(byte, out));
                }
            }
            "iso-8859-1" | "latin1" => {
                escape(u8::try_from(u32::from(c)).unwrap_or(b'?'), out);
            }
            "us-ascii" | "ascii" => escape(if c.is_ascii() { c as u8 } else { b'?' }, out),
            _ => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(byte, out)),
        }
    }
}
