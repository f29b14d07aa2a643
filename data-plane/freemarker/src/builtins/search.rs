//! Built-ins that look for a string in another.

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, runtime};
use crate::eval::{Interp, utf16_len};
use crate::number::Number;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn search(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        if call.which == BuiltIn::Substring {
            return self.substring_built_in(&text, call);
        }
        let wanted = self.needed_text(call, 0)?;
        self.meter.scan(text.len() + wanted.len())?;
        match call.which {
            BuiltIn::Contains => Ok(Value::Bool(text.contains(&*wanted))),
            BuiltIn::StartsWith => Ok(Value::Bool(text.starts_with(&*wanted))),
            BuiltIn::EndsWith => Ok(Value::Bool(text.ends_with(&*wanted))),
            BuiltIn::IndexOf | BuiltIn::LastIndexOf => self.position(&text, &wanted, call),
            BuiltIn::RemoveBeginning => {
                let kept = text.strip_prefix(&*wanted).map(str::to_owned);
                self.changed(text, kept)
            }
            BuiltIn::RemoveEnding => {
                let kept = text.strip_suffix(&*wanted).map(str::to_owned);
                self.changed(text, kept)
            }
            _ => {
                let longer = (!text.ends_with(&*wanted)).then(|| format!("{}{}", &*text, &*wanted));
                self.changed(text, longer)
            }
        }
    }

    pub(super) fn changed(&mut self, text: Text<'r>, new: Option<String>) -> Result<Value<'r>, Raised> {
        match new {
            Some(new) => self.built(new),
            None => Ok(Value::String(text)),
        }
    }

    fn substring_built_in(&mut self, text: &Text<'r>, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        self.meter.scan(text.len())?;
        let len = utf16_len(text) as i64;
        let from = self.index_arg(call, 0)?.unwrap_or(0);
        let to = self.index_arg(call, 1)?.unwrap_or(len);
        if from < 0 || to < 0 || from > len || to > len || from > to {
            return Err(runtime(format!("?substring({from}, {to}) is not within the string: its length is {len}")));
        }
        self.part_in_units(text, from as usize, to as usize)
    }

    fn position(&mut self, text: &str, wanted: &str, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let from = self.index_arg(call, 1)?;
        let len = utf16_len(text);
        let found = if call.which == BuiltIn::IndexOf {
            let from = usize::try_from(from.unwrap_or(0)).unwrap_or(0).min(len);
            let start = byte_offset(text, from);
            text.get(start..).and_then(|rest| rest.find(wanted)).map(|at| start + at)
        } else {
            match from {
                Some(from) if from < 0 => None,
                Some(from) => {
                    // the match may begin at that place at the latest
                    let last = byte_offset(text, usize::try_from(from).unwrap_or(0).min(len));
                    let end = (last + wanted.len()).min(text.len());
                    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end));
                    text.get(..end.unwrap_or(text.len())).and_then(|part| part.rfind(wanted))
                }
                None => text.rfind(wanted),
            }
        };
        Ok(match found {
            Some(at) => Value::int(utf16_len(text.get(..at).unwrap_or_default())),
            None => Value::Number(Number::Int(-1)),
        })
    }
}

/// The byte offset of a UTF-16 offset.
pub(super) fn byte_offset(text: &str, utf16: usize) -> usize {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units >= utf16 {
            return at;
        }
        units += c.len_utf16();
    }
    text.len()
}
