//! Built-ins that look for a string in another.

use super::BuiltIn;
use super::dispatch::needs_arguments;
use crate::ast::BuiltInCall;
use crate::error::{Raised, runtime};
use crate::eval::{Interp, utf16_len, utf16_slice};
use crate::number::Number;
use crate::value::{Text, Value};

/// The flags of `?replace` and its like.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    first_only: bool,
}

impl<'r> Interp<'r> {
    pub(super) fn search(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        if call.which == BuiltIn::Substring {
            return self.substring_built_in(&text, call);
        }
        let wanted = match call.which {
            BuiltIn::Replace | BuiltIn::Split => self.printed_arg(call, 0)?,
            _ => self.text_arg(call, 0)?,
        };
        let Some(wanted) = wanted else { return Err(needs_arguments(call)) };
        self.meter.scan(text.len() + wanted.len())?;
        match call.which {
            BuiltIn::Contains => Ok(Value::Bool(text.contains(&*wanted))),
            BuiltIn::StartsWith => Ok(Value::Bool(text.starts_with(&*wanted))),
            BuiltIn::EndsWith => Ok(Value::Bool(text.ends_with(&*wanted))),
            BuiltIn::IndexOf | BuiltIn::LastIndexOf => self.position(&text, &wanted, call),
            BuiltIn::Replace => self.replace(&text, &wanted, call),
            BuiltIn::Split => self.split(&text, &wanted, call),
            BuiltIn::RemoveBeginning => {
                let kept = text.strip_prefix(&*wanted).map(str::to_owned);
                self.changed(text, kept)
            }
            BuiltIn::RemoveEnding => {
                let kept = text.strip_suffix(&*wanted).map(str::to_owned);
                self.changed(text, kept)
            }
            BuiltIn::EnsureStartsWith => {
                let longer = (!text.starts_with(&*wanted)).then(|| format!("{}{}", &*wanted, &*text));
                self.changed(text, longer)
            }
            BuiltIn::EnsureEndsWith => {
                let longer = (!text.ends_with(&*wanted)).then(|| format!("{}{}", &*text, &*wanted));
                self.changed(text, longer)
            }
            _ => self.keep(text, &wanted, call),
        }
    }

    fn changed(&mut self, text: Text<'r>, new: Option<String>) -> Result<Value<'r>, Raised> {
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
        self.built(utf16_slice(text, from as usize, to as usize))
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

    /// The flags argument; regular expressions are not there yet.
    fn flags(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Flags, Raised> {
        let mut flags = Flags::default();
        let Some(text) = self.text_arg(call, place)? else { return Ok(flags) };
        for flag in text.chars() {
            match flag {
                'i' => flags.ignore_case = true,
                'f' => flags.first_only = true,
                'r' => return Err(runtime("this engine does not support regular expressions")),
                'm' | 's' | 'c' => {}
                other => return Err(runtime(format!("there is no flag '{other}'"))),
            }
        }
        Ok(flags)
    }

    fn replace(&mut self, text: &Text<'r>, wanted: &str, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let Some(new) = self.printed_arg(call, 1)? else { return Err(needs_arguments(call)) };
        let flags = self.flags(call, 2)?;
        if wanted.is_empty() {
            let count = if flags.first_only { 1 } else { text.chars().count() + 1 };
            self.meter.value(new.len().saturating_mul(count))?;
            if flags.first_only {
                return self.built(format!("{}{}", &*new, &**text));
            }
            let mut out = new.to_string();
            for c in text.chars() {
                out.push(c);
                out.push_str(&new);
            }
            return self.built(out);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest: &str = text;
        while let Some((at, len)) = find(rest, wanted, flags.ignore_case) {
            self.meter.value(new.len() + at)?;
            self.meter.step()?;
            out.push_str(rest.get(..at).unwrap_or_default());
            out.push_str(&new);
            rest = rest.get(at + len..).unwrap_or_default();
            if flags.first_only {
                break;
            }
        }
        out.push_str(rest);
        self.built(out)
    }

    fn split(&mut self, text: &Text<'r>, separator: &str, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let flags = self.flags(call, 1)?;
        let mut parts = Vec::new();
        if separator.is_empty() {
            for c in text.chars() {
                parts.push(self.built(c.to_string())?);
            }
            return self.built_sequence(parts);
        }
        let mut rest: &str = text;
        while let Some((at, len)) = find(rest, separator, flags.ignore_case) {
            parts.push(self.built(rest.get(..at).unwrap_or_default().to_owned())?);
            self.charge_items(1)?;
            rest = rest.get(at + len..).unwrap_or_default();
        }
        parts.push(self.built(rest.to_owned())?);
        self.built_sequence(parts)
    }

    /// `?keep_before` and its three relatives.
    fn keep(&mut self, text: Text<'r>, wanted: &str, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let flags = self.flags(call, 1)?;
        let last = matches!(call.which, BuiltIn::KeepBeforeLast | BuiltIn::KeepAfterLast);
        let before = matches!(call.which, BuiltIn::KeepBefore | BuiltIn::KeepBeforeLast);
        let found = if !last {
            find(&text, wanted, flags.ignore_case)
        } else if flags.ignore_case {
            let mut found = None;
            let mut from = 0;
            while let Some((at, len)) = text.get(from..).and_then(|rest| find(rest, wanted, true)) {
                self.meter.step()?;
                found = Some((from + at, len));
                from += at + text.get(from + at..).and_then(|r| r.chars().next()).map_or(1, char::len_utf8);
            }
            found
        } else {
            text.rfind(wanted).map(|at| (at, wanted.len()))
        };
        match found {
            Some((at, _)) if before => self.built(text.get(..at).unwrap_or_default().to_owned()),
            Some((at, len)) => self.built(text.get(at + len..).unwrap_or_default().to_owned()),
            None if before => Ok(Value::String(text)),
            None => Ok(Value::String(Text::Borrowed(""))),
        }
    }
}

/// Where `wanted` first is, and how long it is there.
fn find(text: &str, wanted: &str, ignore_case: bool) -> Option<(usize, usize)> {
    if !ignore_case {
        return text.find(wanted).map(|at| (at, wanted.len()));
    }
    text.char_indices().map(|(at, _)| at).chain([text.len()]).find_map(|at| {
        let mut rest = text.get(at..)?.chars();
        let mut len = 0;
        for w in wanted.chars() {
            let c = rest.next()?;
            let same = c == w || c.to_lowercase().eq(w.to_lowercase());
            if !same {
                return None;
            }
            len += c.len_utf8();
        }
        Some((at, len))
    })
}

/// The byte offset of a UTF-16 offset.
fn byte_offset(text: &str, utf16: usize) -> usize {
    let mut units = 0;
    for (at, c) in text.char_indices() {
        if units >= utf16 {
            return at;
        }
        units += c.len_utf16();
    }
    text.len()
}
