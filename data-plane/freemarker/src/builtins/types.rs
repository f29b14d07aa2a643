//! Built-ins for any type: existence, choices, types, printing.

use super::BuiltIn;
use super::methods::wrong_count;
use crate::ast::{BuiltInCall, Expr, Form};
use crate::error::{Raised, runtime};
use crate::eval::Interp;
use crate::model::Sequence;
use crate::value::{Text, Value};

/// What `?is_…` tells of a value.
pub(super) fn is(which: BuiltIn, value: &Value<'_>) -> bool {
    use crate::format::date::DateKind;
    let nothing = matches!(value, Value::Nothing { .. });
    match which {
        BuiltIn::IsString => nothing || matches!(value, Value::String(_)) || value.lacks_charset().is_some(),
        BuiltIn::IsNumber => matches!(value, Value::Number(_)),
        BuiltIn::IsBoolean => value.as_bool().is_some(),
        BuiltIn::IsCollection => match value {
            Value::Sequence(Sequence::Matches(_)) => true,
            Value::Sequence(Sequence::List(list)) => list.is_collection(),
            _ => false,
        },
        BuiltIn::IsSequence | BuiltIn::IsIndexable => nothing || matches!(value, Value::Sequence(_)),
        BuiltIn::IsEnumerable => nothing || matches!(value, Value::Sequence(_)),
        BuiltIn::IsHash => nothing || matches!(value, Value::Hash(_) | Value::Scope(_)),
        BuiltIn::IsHashEx => nothing || matches!(value, Value::Hash(_)),
        BuiltIn::IsMethod => match value {
            Value::Method(_) | Value::Nothing { is_boolean: true } => true,
            Value::Callable(callable) => callable.type_name() == "method",
            _ => false,
        },
        BuiltIn::IsMacro => matches!(value, Value::Callable(callable) if callable.target().is_some()),
        BuiltIn::IsDirective => match value {
            Value::Callable(callable) => callable.type_name() != "method",
            _ => false,
        },
        BuiltIn::IsTransform => matches!(value, Value::Callable(callable) if callable.type_name() == "transform"),
        BuiltIn::IsMarkupOutput => matches!(value, Value::Markup(_)),
        BuiltIn::IsDate | BuiltIn::IsDateLike => matches!(value, Value::Date(_)),
        BuiltIn::IsDateOnly => matches!(value, Value::Date(d) if d.kind == DateKind::Date),
        BuiltIn::IsTime => matches!(value, Value::Date(d) if d.kind == DateKind::Time),
        BuiltIn::IsDatetime => matches!(value, Value::Date(d) if d.kind == DateKind::DateTime),
        // nothing of the JSON world is any of the others
        _ => false,
    }
}

fn has_content(value: &Value<'_>) -> bool {
    match value {
        Value::Missing | Value::Nothing { .. } => false,
        Value::String(text) => !text.is_empty(),
        Value::Sequence(sequence) => !sequence.is_empty(),
        Value::Hash(hash) => !hash.is_empty(),
        Value::Markup(markup) => !markup.is_empty(),
        // what is called has no content
        Value::Method(_) | Value::Callable(_) => false,
        _ => true,
    }
}

impl<'r> Interp<'r> {
    /// Built-ins whose left side may be missing.
    pub(super) fn existence(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let value = self.forgiving(&call.target)?;
        Ok(match call.which {
            BuiltIn::HasContent => match value.lacks_charset() {
                Some(problem) => return Err(runtime(problem)),
                None => Value::Bool(has_content(&value)),
            },
            BuiltIn::Exists => Value::Bool(!value.is_missing()),
            BuiltIn::IfExists if value.is_missing() => Value::Nothing { is_boolean: true },
            BuiltIn::IfExists => value,
            BuiltIn::Default => {
                let mut found = value;
                if found.is_missing() && call.args.is_empty() {
                    return Err(wrong_count(call.which, 1, usize::MAX, 0));
                }
                for arg in &call.args {
                    // all arguments are evaluated, as those of any method
                    let value = self.eval(arg)?;
                    if found.is_missing() {
                        found = value;
                    }
                }
                found
            }
            _ if value.is_missing() => Value::Missing,
            which => {
                let text = self.text_of(value, &call.target)?;
                let trimmed = text.trim_matches(|c| c <= ' ');
                match which {
                    BuiltIn::EmptyToNull if text.is_empty() => Value::Missing,
                    BuiltIn::BlankToNull | BuiltIn::TrimToNull if trimmed.is_empty() => Value::Missing,
                    BuiltIn::TrimToNull if trimmed.len() < text.len() => {
                        let trimmed = trimmed.to_owned();
                        self.built(trimmed)?
                    }
                    _ => Value::String(text),
                }
            }
        })
    }

    /// `?then` and `?switch`: only what is chosen is evaluated.
    pub(super) fn choice(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        if call.which == BuiltIn::Then {
            let chosen = usize::from(!self.condition(&call.target)?);
            return match call.args.get(chosen) {
                Some(expr) => self.present(expr),
                None => Err(super::dispatch::needs_arguments(call)),
            };
        }
        let value = self.value(&call.target)?;
        for pair in call.args.chunks(2) {
            match pair {
                [case, result] => {
                    let other = self.value(case)?;
                    if self.equal(&value, &other, expr)? {
                        return self.present(result);
                    }
                }
                [default] => return self.present(default),
                _ => {}
            }
        }
        Err(runtime("?switch found no case that is equal, and has no default").at(call.target.span))
    }

    /// `?c` and `?cn`
    fn literal(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let value = self.eval(&call.target)?;
        let text = self.literal_of(value, call)?;
        if let Text::Owned(text) = &text {
            self.meter.value(text.len())?;
        }
        Ok(Value::String(text))
    }

    pub(crate) fn literal_of(&mut self, value: Value<'r>, call: &'r BuiltInCall) -> Result<Text<'r>, Raised> {
        let format = self.formats.c;
        if let Some(flag) = value.as_bool() {
            return Ok(Text::Borrowed(if flag { "true" } else { "false" }));
        }
        let mut out = String::new();
        match value {
            Value::Number(number) => {
                self.meter.steps(number.cost())?;
                format.number(&number, &mut out);
            }
            Value::String(text) => {
                self.meter.scan(text.len())?;
                out.reserve(text.len() + 2);
                format.string(&text, &mut out);
            }
            Value::Nothing { .. } => format.string("", &mut out),
            Value::Missing if call.which == BuiltIn::Cn => return Ok(Text::Borrowed(format.null())),
            Value::Missing => return Err(self.missing(&call.target)),
            other => return Err(self.expected("number, boolean, or string", &other, &call.target)),
        }
        Ok(Text::from(out))
    }

    /// `?string`
    pub(super) fn printing(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        if call.which != BuiltIn::String {
            return self.literal(call);
        }
        let value = self.value(&call.target)?;
        if call.form == Form::Keyed {
            return self.format_or_part(value, call, expr);
        }
        if call.form == Form::Called {
            if let Some(flag) = value.as_bool() {
                let (yes, no) = (self.printed_arg(call, 0)?, self.printed_arg(call, 1)?);
                let (Some(yes), Some(no)) = (yes, no) else {
                    return Err(wrong_count(call.which, 2, 2, call.args.len()));
                };
                return Ok(Value::String(if flag { yes } else { no }));
            }
            if call.args.len() > 1 && matches!(value, Value::Number(_) | Value::Date(_)) {
                for place in 0..call.args.len() {
                    self.printed_arg(call, place)?;
                }
                return Err(wrong_count(call.which, 1, 1, call.args.len()));
            }
        }
        if call.form == Form::Called && !matches!(value, Value::Number(_) | Value::Date(_)) {
            return Err(self.expected("method or function", &value, expr));
        }
        let format = self.format_arg(call)?;
        self.formatted(value, format, call)
    }

    /// `x?string[key]`: what is in brackets is a format, or says which part of the string is wanted.
    fn format_or_part(&mut self, value: Value<'r>, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let Some(key) = call.args.first() else { return Ok(value) };
        match self.value(key)? {
            Value::String(format) if matches!(value, Value::Number(_) | Value::Date(_)) => {
                self.formatted(value, Some(format), call)
            }
            found => {
                let text = self.formatted(value, None, call)?;
                self.indexed(text, found, expr, key)
            }
        }
    }

    pub(super) fn formatted(
        &mut self,
        value: Value<'r>,
        format: Option<Text<'r>>,
        call: &'r BuiltInCall,
    ) -> Result<Value<'r>, Raised> {
        let value = match value {
            Value::Sequence(Sequence::Matches(matches)) => Value::Bool(matches.is_whole()),
            other => other,
        };
        let text = match (value, format) {
            (Value::String(text), None) => return Ok(Value::String(text)),
            (Value::Nothing { .. }, None) => return Ok(Value::String(Text::Borrowed(""))),
            (Value::Bool(flag), None) => self.formats.boolean.word(flag).to_owned(),
            (Value::Number(number), None) => self.number_text(&number)?,
            (Value::Number(number), Some(format)) => {
                // looked at whether it is used or not, as in FreeMarker
                self.usable_number_format()?;
                self.meter.steps(number.cost())?;
                self.number_format(&format)?.format(&number).map_err(runtime)?
            }
            (Value::Date(date), None) => self.date_text(date)?,
            (Value::Date(date), Some(format)) => {
                self.usable_date_format(date.kind)?;
                let format = self.date_format(&format, date.kind)?;
                format.format(date, &self.formats.zone).map_err(runtime)?
            }
            (other @ (Value::Bool(_) | Value::String(_) | Value::Nothing { .. }), Some(_)) => {
                return Err(self.expected(
                    "a number or a date, as there is a format after ?string",
                    &other,
                    &call.target,
                ));
            }
            (other, _) => {
                return Err(self.expected("a number, date, boolean or string", &other, &call.target));
            }
        };
        self.built(text)
    }
}
