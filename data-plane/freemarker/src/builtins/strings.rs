//! Built-ins that change or read a string.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, limit, runtime};
use crate::eval::{Interp, utf16_len, utf16_slice};
use crate::number::Number;
use crate::value::{Text, Value};
use crate::whitespace::is_java_space;

impl<'r> Interp<'r> {
    pub(super) fn string_built_in(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        if call.which == BuiltIn::Boolean || call.which == BuiltIn::Number {
            let value = self.value(&call.target)?;
            // numbers and booleans are read back from how they are printed, as in FreeMarker
            let text = self.text_of(value, &call.target)?;
            // numbers of many digits take long to read
            self.meter.steps((text.len() / 16) as u64)?;
            return self.parsed(&text, call);
        }
        let text = self.text(&call.target)?;
        self.meter.scan(text.len())?;
        match call.which {
            BuiltIn::Length => Ok(Value::int(utf16_len(&text))),
            BuiltIn::UpperCase | BuiltIn::CUpperCase => {
                let same = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase());
                if same { Ok(Value::String(text)) } else { self.built(text.to_uppercase()) }
            }
            BuiltIn::LowerCase | BuiltIn::CLowerCase => {
                let same = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
                if same { Ok(Value::String(text)) } else { self.built(text.to_lowercase()) }
            }
            BuiltIn::CapFirst => self.built(change_first(&text, true)),
            BuiltIn::UncapFirst => self.built(change_first(&text, false)),
            BuiltIn::Capitalize => self.built(capitalize(&text)),
            BuiltIn::Trim => {
                let start = text.len() - text.trim_start_matches(|c| c <= ' ').len();
                let end = text.trim_end_matches(|c| c <= ' ').len();
                if start == 0 && end == text.len() {
                    return Ok(Value::String(text));
                }
                // of a text that is all blank the end comes before the start
                self.part_of(&text, start, end.max(start))
            }
            BuiltIn::ChopLinebreak => {
                let kept = text.strip_suffix("\r\n").or(text.strip_suffix(['\n', '\r']));
                let end = kept.unwrap_or(&text).len();
                self.part_of(&text, 0, end)
            }
            BuiltIn::WordList => {
                let mut words = Vec::new();
                for word in text.split([' ', '\t', '\n', '\r', '\u{c}']).filter(|w| !w.is_empty()) {
                    words.push(self.built(word.to_owned())?);
                }
                self.built_sequence(words)
            }
            _ => self.pad(text, call),
        }
    }

    fn parsed(&mut self, text: &Text<'r>, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let shown = || text.chars().take(80).collect::<String>();
        if call.which == BuiltIn::Number {
            return match Number::parse(text) {
                Some(number) => Ok(Value::Number(number)),
                None if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
                    Err(limit(format!("the number has more than {} digits", crate::limits::MAX_NUMBER_DIGITS)))
                }
                None => Err(runtime(format!("Can't convert this string to number: \"{}\"", shown()))),
            };
        }
        let boolean = &self.formats.boolean;
        match &**text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            other if other == boolean.word(true) => Ok(Value::Bool(true)),
            other if other == boolean.word(false) => Ok(Value::Bool(false)),
            _ => Err(runtime(format!("Can't convert this string to boolean: \"{}\"", shown())).at(call.target.span)),
        }
    }

    fn pad(&mut self, text: Text<'r>, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let width = usize::try_from(self.index_arg(call, 0)?.unwrap_or(0)).unwrap_or(0);
        let fill = self.text_arg(call, 1)?.unwrap_or(Text::Borrowed(" "));
        let len = utf16_len(&text);
        if width <= len {
            return Ok(Value::String(text));
        }
        if fill.is_empty() {
            return Err(runtime("the text to pad with must not be empty"));
        }
        self.meter.value(width)?;
        let fill_len = utf16_len(&fill);
        // on the right the fill goes on as if it had begun with the text
        let start = if call.which == BuiltIn::LeftPad { 0 } else { len % fill_len };
        let count = width - len;
        let repeated = fill.repeat((start + count) / fill_len + 1);
        let padding = utf16_slice(&repeated, start, start + count);
        self.built(if call.which == BuiltIn::LeftPad {
            format!("{padding}{}", &*text)
        } else {
            format!("{}{padding}", &*text)
        })
    }
}

fn change_first(text: &str, upper: bool) -> String {
    let start = text.len() - text.trim_start_matches(is_java_space).len();
    let (blank, rest) = text.split_at(start);
    let mut chars = rest.chars();
    let Some(first) = chars.next() else { return text.to_owned() };
    // Java changes one UTF-16 unit to one other
    let changed = match upper {
        true => single(first.to_uppercase(), first),
        false => single(first.to_lowercase(), first),
    };
    format!("{blank}{changed}{}", chars.as_str())
}

/// A case mapping to one character, as Java's `Character` has them.
fn single(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(c), None) => c,
        // the one letter whose lower case is two characters
        _ if original == '\u{130}' => 'i',
        _ => original,
    }
}

/// Words begin with what Java makes of a string of their first UTF-16 unit.
fn capitalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(BLANKS) {
        let mut rest = word.chars();
        match rest.next() {
            Some(first) if u32::from(first) <= 0xffff => out.extend(first.to_uppercase()),
            first => out.extend(first),
        }
        out.push_str(&rest.as_str().to_lowercase());
    }
    out
}

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
