//! Printing what needs no value of its own: `${x?c}`, `${x?json_string}`, `${number}` and dates go
//! straight into the output.

use super::Interp;
use super::follow::Followed;
use crate::ast::{BuiltInCall, Expr, ExprKind, Form};
use crate::builtins::BuiltIn;
use crate::builtins::escapes::{Escape, script_content};
use crate::error::{Place, Raised};
use crate::output_format::Escaping;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    /// `${…}`
    #[inline(never)]
    pub(super) fn output(&mut self, expr: &'r Expr, escaping: Escaping) -> Result<(), Raised> {
        let value = match self.follow(expr)? {
            Followed::Node(node) => match node.as_str() {
                Some(text) if escaping.is_on() => return self.emit_escaped(escaping.format, text),
                Some(text) => return self.emit(text.as_bytes()),
                None => Value::json(node),
            },
            Followed::Missing => Value::Missing,
            Followed::Other => {
                if !escaping.is_on() && self.print_directly(expr)? {
                    return Ok(());
                }
                if let Some(text) = self.borrowed_text(expr) {
                    self.meter.step().at(expr.span)?;
                    return match escaping.is_on() {
                        true => self.emit_escaped(escaping.format, text),
                        false => self.emit(text.as_bytes()),
                    };
                }
                self.eval(expr)?
            }
        };
        self.print(value, expr, escaping)
    }

    /// Prints an expression if there is a short way to do so, where nothing is escaped.
    fn print_directly(&mut self, expr: &'r Expr) -> Result<bool, Raised> {
        let ExprKind::BuiltIn(call) = &expr.kind else { return Ok(false) };
        if call.form != Form::Bare || !matches!(call.which, BuiltIn::C | BuiltIn::JsonString) {
            return Ok(false);
        }
        self.meter.step().at(expr.span)?;
        self.meter.enter().at(expr.span)?;
        let result = self.print_built_in(call);
        self.meter.leave();
        result.map(|()| true)
    }

    /// A text for `?c` or `?json_string`.
    fn print_literal(&mut self, text: &str, call: &BuiltInCall) -> Result<(), Raised> {
        self.meter.scan(text.len())?;
        let start = self.out.len();
        if call.which == BuiltIn::JsonString {
            script_content(text, Escape::Json, false, &mut self.out);
        } else {
            self.formats.c.string(text, &mut self.out);
        }
        let len = self.out.len() - start;
        self.count_output(len)
    }

    /// The text that a variable has as its value, if it is read in place.
    fn borrowed_text(&self, expr: &'r Expr) -> Option<&'r str> {
        match self.peek(expr) {
            Some(Value::String(Text::Borrowed(text))) => Some(text),
            _ => None,
        }
    }

    fn print_built_in(&mut self, call: &'r BuiltInCall) -> Result<(), Raised> {
        let start = self.out.len();
        let value = match self.follow(&call.target)? {
            Followed::Node(node) if node.as_str().is_some() => {
                return self.print_literal(node.as_str().unwrap_or_default(), call);
            }
            Followed::Node(node) => match node.number_text().and_then(PlainNumber::of) {
                Some(number) if call.which == BuiltIn::C => {
                    self.meter.steps(number.steps)?;
                    return self.emit(number.text.as_bytes());
                }
                _ => Value::json(node),
            },
            Followed::Missing => Value::Missing,
            Followed::Other => match self.borrowed_text(&call.target) {
                Some(text) => {
                    self.meter.step().at(call.target.span)?;
                    return self.print_literal(text, call);
                }
                None => self.eval(&call.target)?,
            },
        };
        if call.which == BuiltIn::JsonString {
            let value = self.settled(value)?;
            let text = self.text_of(value, &call.target)?;
            return self.print_literal(&text, call);
        }
        match value {
            Value::Number(number) => {
                self.meter.steps(number.cost())?;
                self.formats.c.number(&number, &mut self.out);
            }
            Value::String(text) => return self.print_literal(&text, call),
            other => {
                let text = self.literal_of(other, call)?;
                self.out.extend_from_slice(text.as_bytes());
            }
        }
        let len = self.out.len() - start;
        self.count_output(len)
    }
}

/// A number that `?c` writes, in any language, as the data has it.
struct PlainNumber<'d> {
    text: &'d str,
    /// What it would cost as a number.
    steps: u64,
}

impl<'d> PlainNumber<'d> {
    /// A JSON number without exponent that has few digits, and no zero at its end after the point.
    fn of(text: &'d str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() > 18 {
            return None;
        }
        let mut point = None;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'.' => point = Some(at),
                b'0'..=b'9' => {}
                b'-' if bytes.get(at + 1) != Some(&b'0') => {}
                _ => return None,
            }
        }
        match point {
            None => Some(PlainNumber { text, steps: 0 }),
            Some(point) if bytes.len() - point <= 7 && bytes.last() != Some(&b'0') => {
                Some(PlainNumber { text, steps: 1 })
            }
            Some(_) => None,
        }
    }
}
