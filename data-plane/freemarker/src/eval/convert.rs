//! Values as the types that operators need, and the errors when they are others.

use super::Interp;
use crate::ast::{Expr, ExprKind};
use crate::error::{Fault, Place, Raised, runtime};
use crate::number::{Number, NumberFault};
use crate::value::{Date, Text, Value};

impl<'r> Interp<'r> {
    /// Evaluates an expression that must have a value.
    pub(crate) fn value(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let value = self.eval(expr)?;
        if value.is_missing() { Err(self.missing(expr)) } else { Ok(value) }
    }

    /// Evaluates an expression to a string; numbers, dates and booleans become one.
    pub(crate) fn text(&mut self, expr: &'r Expr) -> Result<Text<'r>, Raised> {
        let value = self.eval(expr)?;
        self.text_of(value, expr)
    }

    /// The value as it is printed.
    pub(crate) fn text_of(&mut self, value: Value<'r>, expr: &Expr) -> Result<Text<'r>, Raised> {
        match value {
            Value::String(text) => Ok(text),
            Value::Nothing => Ok(Text::Borrowed("")),
            Value::Number(number) => self.number_text(&number).map(Text::from).at(expr.span),
            Value::Bool(flag) => match self.formats.boolean.printed(flag) {
                Some(word) => Ok(Text::from(word.to_owned())),
                None => Err(runtime(
                    "can't print a boolean: the boolean_format setting has no words for it\nTip: \
                     write flag?c for \"true\" or \"false\", or flag?string(\"yes\", \"no\"), or \
                     set boolean_format",
                )),
            },
            Value::Date(date) => self.date_text(date).map(Text::from),
            Value::Missing => Err(self.missing(expr)),
            other => {
                Err(self.expected("a string or something that prints as one (number, date or boolean)", &other, expr))
            }
        }
    }

    pub(crate) fn number_text(&mut self, number: &Number) -> Result<String, Raised> {
        self.meter.steps(number.cost())?;
        self.formats.number.format(number).map_err(runtime)
    }

    pub(crate) fn date_text(&mut self, date: Date) -> Result<String, Raised> {
        let formats = &*self.formats;
        formats.date_format(date.kind).format.format(date, &formats.zone).map_err(runtime)
    }

    /// `#{…}`
    pub(super) fn number_output(&mut self, expr: &'r Expr, min: u32, max: u32) -> Result<String, Raised> {
        let number = self.number(expr)?;
        self.meter.steps(number.cost())?;
        let pattern = format!("0.{}{}", "0".repeat(min as usize), "#".repeat(max.saturating_sub(min) as usize));
        let pattern = if max == 0 { "0" } else { pattern.as_str() };
        self.number_format(pattern)?.format(&number).map_err(runtime)
    }

    pub(crate) fn number(&mut self, expr: &'r Expr) -> Result<Number, Raised> {
        match self.eval(expr)? {
            Value::Number(number) => Ok(number),
            Value::Missing => Err(self.missing(expr)),
            other => Err(self.expected("a number", &other, expr)),
        }
    }

    /// Evaluates an expression that must be true or false.
    pub(crate) fn condition(&mut self, expr: &'r Expr) -> Result<bool, Raised> {
        let mut expr = expr;
        while let ExprKind::Group(inner) = &expr.kind {
            expr = inner;
        }
        match self.eval(expr)? {
            Value::Bool(flag) => Ok(flag),
            Value::Missing => Err(self.missing(expr)),
            other => Err(self.expected("a boolean", &other, expr)),
        }
    }

    /// The source of an expression.
    pub(crate) fn source_of(&self, expr: &Expr) -> &'r str {
        expr.span.text(&self.template.source)
    }

    /// The error of an expression that has no value.
    pub(crate) fn missing(&self, expr: &Expr) -> Raised {
        let mut message = format!("The following has evaluated to null or missing:\n==> {}", self.source_of(expr));
        if matches!(expr.kind, ExprKind::Dot { .. } | ExprKind::Index(_)) {
            message.push_str("\nTip: it is the last step that gave nothing, not those before it");
        }
        message.push_str(
            "\nTip: if it may be missing, give a default with name!default, or test it with \
             <#if name??>…</#if>; that covers the last step only, for all of them put parentheses \
             around: (a.b.c)!default",
        );
        Box::new(Fault { missing: true, ..*runtime(message) }).at(expr.span)
    }

    /// The error of an argument of the wrong type.
    pub(crate) fn bad_argument(&self, wanted: &str, value: &Value<'_>, expr: &Expr) -> Raised {
        let mut fault = self.expected(wanted, value, expr);
        fault.span = None;
        fault
    }

    /// The error of a value of the wrong type.
    pub(crate) fn expected(&self, wanted: &str, value: &Value<'_>, expr: &Expr) -> Raised {
        runtime(format!(
            "Expected {wanted}, but this has evaluated to a {}:\n==> {}",
            value.type_name(),
            self.source_of(expr)
        ))
        .at(expr.span)
    }

    pub(crate) fn symbol_name(&self, symbol: u32) -> &'r str {
        self.template.parsed.sizes.symbols.get(symbol as usize).map_or("", |name| name)
    }
}

/// The error of an arithmetic operation.
pub(crate) fn number_fault(fault: NumberFault) -> Raised {
    match fault {
        NumberFault::DivisionByZero => runtime("Arithmetic operation failed: / by zero"),
        NumberFault::TooManyDigits => {
            crate::error::limit(format!("a number has more than {} digits", crate::limits::MAX_NUMBER_DIGITS))
        }
    }
}
