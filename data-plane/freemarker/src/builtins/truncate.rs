//! `?truncate` and its relatives, which cut a string and say so at its end.

use std::sync::Arc;

use super::BuiltIn;
use crate::ast::BuiltInCall;
use crate::error::{Raised, runtime};
use crate::eval::{Interp, utf16_len};
use crate::markup::Markup;
use crate::output_format::OutputFormat;
use crate::value::{Text, Value};
use crate::whitespace::is_java_space;

/// Where a string may be cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Boundary {
    /// Between words if that keeps three quarters of the length, else anywhere.
    Any,
    Word,
    Character,
}

/// The sign that something was cut.
enum Sign<'r> {
    Plain(Text<'r>),
    Markup(Arc<Markup<'r>>),
}

impl<'r> Sign<'r> {
    fn into_value(self) -> Value<'r> {
        match self {
            Sign::Plain(text) => Value::String(text),
            Sign::Markup(markup) => Value::Markup(markup),
        }
    }
}

/// How the sign is counted.
struct Terminator {
    len: usize,
    /// Dots before it would look like a part of it.
    removes_dots: bool,
}

impl Terminator {
    fn of(sign: &Sign<'_>) -> Self {
        let begins_with_dot = |text: &str| text.starts_with(['.', '\u{2026}']);
        match sign {
            Sign::Plain(text) => Terminator { len: utf16_len(text), removes_dots: begins_with_dot(text) },
            Sign::Markup(markup) if matches!(&*markup.format(), "HTML" | "XHTML" | "XML") => {
                let shown = without_tags(&markup.text());
                Terminator { len: utf16_len(&shown), removes_dots: begins_with_dot(&shown) }
            }
            // nothing is known of other formats
            Sign::Markup(_) => Terminator { len: 3, removes_dots: true },
        }
    }
}

/// What is seen of HTML or XML: each character reference is one character, a dot if it is one.
fn without_tags(markup: &str) -> String {
    let mut shown = String::new();
    let mut rest = markup;
    while let Some(c) = rest.chars().next() {
        let after = |end: &str| rest.split_once(end).map_or("", |(_, after)| after);
        rest = if rest.starts_with("<!--") {
            after("-->")
        } else if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let (data, after) = data.split_once("]]>").unwrap_or((data, ""));
            shown.push_str(data);
            after
        } else if c == '<' {
            after(">")
        } else if let Some(reference) = rest.strip_prefix('&') {
            let (name, after) = reference.split_once(';').unwrap_or((reference, ""));
            shown.push(if is_dot_reference(name) { '.' } else { '?' });
            after
        } else {
            shown.push(c);
            rest.get(c.len_utf8()..).unwrap_or_default()
        };
    }
    shown
}

fn is_dot_reference(name: &str) -> bool {
    let code = match name.strip_prefix('#') {
        Some(hex) if hex.starts_with(['x', 'X']) => u32::from_str_radix(hex.get(1..).unwrap_or_default(), 16).ok(),
        Some(digits) => digits.parse().ok(),
        None => return matches!(name, "hellip" | "period"),
    };
    matches!(code, Some(0x2e | 0x2026))
}

impl<'r> Interp<'r> {
    pub(super) fn truncate(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        self.meter.scan(text.len())?;
        let max = self.index_arg(call, 0)?.unwrap_or(0);
        // every argument is evaluated before a length is looked at
        let sign = self.sign(call)?;
        let max = length(call, 0, max)?;
        let given_len = self.length_arg(call, 2)?;
        let units: Vec<u16> = text.encode_utf16().collect();
        if units.len() <= max {
            return Ok(Value::String(text));
        }
        let mut terminator = Terminator::of(&sign);
        if let Some(len) = given_len {
            terminator.len = len;
        }
        let boundary = match call.which {
            BuiltIn::TruncateW | BuiltIn::TruncateWM => Boundary::Word,
            BuiltIn::TruncateC | BuiltIn::TruncateCM => Boundary::Character,
            _ => Boundary::Any,
        };
        let kept = match cut(&units, max, &terminator, boundary) {
            Some((kept, space)) if kept > 0 => {
                let mut out = String::from_utf16_lossy(units.get(..kept).unwrap_or_default());
                if space {
                    out.push(' ');
                }
                out
            }
            // the sign is shown even where it is too long
            _ => return Ok(sign.into_value()),
        };
        match sign {
            Sign::Plain(sign) => self.built(kept + &*sign),
            Sign::Markup(sign) => {
                self.meter.value(2 * kept.len() + sign.size())?;
                let kept = Markup { format: sign.format, plain: Some(Text::from(kept)), markup: None };
                Ok(Value::Markup(Arc::new(kept.join(&sign))))
            }
        }
    }

    /// What shows that something was cut.
    fn sign(&mut self, call: &'r BuiltInCall) -> Result<Sign<'r>, Raised> {
        let takes_markup = matches!(call.which, BuiltIn::TruncateM | BuiltIn::TruncateWM | BuiltIn::TruncateCM);
        let Some(expr) = call.args.get(1) else {
            return Ok(match takes_markup {
                true => Sign::Markup(Arc::new(Markup {
                    format: OutputFormat::HTML,
                    plain: None,
                    markup: Some(Text::Borrowed("<span class='truncateTerminator'>[&#8230;]</span>")),
                })),
                false => Sign::Plain(Text::Borrowed("[...]")),
            });
        };
        match self.eval(expr)? {
            Value::Markup(markup) if takes_markup => Ok(Sign::Markup(markup)),
            Value::String(text) => Ok(Sign::Plain(text)),
            Value::Nothing { .. } => Ok(Sign::Plain(Text::Borrowed(""))),
            other => {
                let wanted = if takes_markup { "string or markup output" } else { "string" };
                Err(self.bad_argument(call.which.name(), 1, wanted, &other))
            }
        }
    }

    fn length_arg(&mut self, call: &'r BuiltInCall, place: usize) -> Result<Option<usize>, Raised> {
        self.index_arg(call, place)?.map(|given| length(call, place, given)).transpose()
    }
}

fn length(call: &BuiltInCall, place: usize, given: i64) -> Result<usize, Raised> {
    let refused = |_| runtime(format!("argument {} of ?{} can't be negative", place + 1, call.which.name()));
    usize::try_from(given).map_err(refused)
}

/// How many UTF-16 units stay, and whether a space comes between them and the sign; `None` for nothing.
fn cut(units: &[u16], max: usize, terminator: &Terminator, boundary: Boundary) -> Option<(usize, bool)> {
    let add_space = terminator.len != 0;
    let first_guess = max.checked_sub(terminator.len + 1)?;
    // indexes are of the last unit that stays
    let mut last = without_space(units, first_guess)?;
    if boundary != Boundary::Character {
        let found = cut_at_word(units, max, last, terminator, boundary);
        if found.is_some() || boundary == Boundary::Word {
            return found.map(|last| (last + 1, add_space));
        }
    }
    if last == first_guess && add_space && ends_word(units, last) {
        last = last.checked_sub(1)?;
    }
    loop {
        last = without_space(units, last)?;
        if !is_dot(units, last) || add_space && ends_word(units, last) || !terminator.removes_dots {
            break;
        }
        while is_dot(units, last) {
            last = last.checked_sub(1)?;
        }
    }
    Some((last + 1, add_space && ends_word(units, last)))
}

fn cut_at_word(units: &[u16], max: usize, last: usize, terminator: &Terminator, boundary: Boundary) -> Option<usize> {
    let add_space = terminator.len != 0;
    let taken = terminator.len + usize::from(add_space) + 1;
    let least = match boundary {
        Boundary::Any => (3 * max).div_ceil(4).saturating_sub(taken),
        _ => 0,
    };
    let mut at = max.checked_sub(taken)?.min(last);
    let mut space_follows = is_space(units, at + 1);
    loop {
        if at < least {
            return None;
        }
        let is_here = is_space(units, at);
        if !is_here && space_follows {
            if !add_space && is_dot(units, at) && terminator.removes_dots {
                while is_dot(units, at) || is_space(units, at) {
                    at = at.checked_sub(1).filter(|at| *at >= least)?;
                }
            }
            return Some(at);
        }
        space_follows = is_here;
        at = at.checked_sub(1)?;
    }
}

/// The end counts as white space.
fn is_space(units: &[u16], at: usize) -> bool {
    units.get(at).is_none_or(|unit| char::from_u32(u32::from(*unit)).is_some_and(is_java_space))
}

fn is_dot(units: &[u16], at: usize) -> bool {
    units.get(at).is_some_and(|unit| matches!(*unit, 0x2e | 0x2026))
}

fn ends_word(units: &[u16], last: usize) -> bool {
    is_space(units, last + 1)
}

fn without_space(units: &[u16], mut last: usize) -> Option<usize> {
    while is_space(units, last) {
        last = last.checked_sub(1)?;
    }
    Some(last)
}
