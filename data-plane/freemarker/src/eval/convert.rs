//! Values as the types that operators need, and the errors when they are others.

use super::Interp;
use crate::ast::{Expr, ExprKind, Form};
use crate::builtins::BuiltIn;
use crate::error::{Place, Raised, runtime};
use crate::format::date::{CompiledDateFormat, DateKind};
use crate::format::number::NumberFormat;
use crate::model::{Range, Sequence};
use crate::number::{Number, NumberFault};
use crate::value::{Date, Text, Value};

impl<'r> Interp<'r> {
    /// Evaluates an expression that must have a value; namespaces become hashes of their own.
    pub(crate) fn value(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match self.eval(expr)? {
            Value::Missing => Err(self.missing(expr)),
            value @ Value::Scope(_) => self.settled(value),
            value => Ok(value),
        }
    }

    /// Evaluates an expression that must have a value, which is kept as it is.
    pub(crate) fn present(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match self.eval(expr)? {
            Value::Missing => Err(self.missing(expr)),
            value => Ok(value),
        }
    }

    /// Evaluates an expression to a string; numbers, dates and booleans become one.
    pub(crate) fn text(&mut self, expr: &'r Expr) -> Result<Text<'r>, Raised> {
        let value = self.eval(expr)?;
        self.text_of(value, expr)
    }

    /// The value as an interpolation prints it, if it is no markup.
    pub(super) fn printed(&mut self, value: Value<'r>, expr: &Expr) -> Result<Text<'r>, Raised> {
        if value.is_unprintable() {
            return Err(self.expected(
                "string or something automatically convertible to string (number, date or boolean), or \"template \
                 output\" ",
                &value,
                expr,
            ));
        }
        self.text_of(value, expr)
    }

    /// The value as a string.
    pub(crate) fn text_of(&mut self, value: Value<'r>, expr: &Expr) -> Result<Text<'r>, Raised> {
        match value {
            Value::String(text) => Ok(text),
            Value::Nothing { .. } => Ok(Text::Borrowed("")),
            Value::Sequence(Sequence::Matches(matches)) => self.text_of(Value::Bool(matches.is_whole()), expr),
            Value::Number(number) => {
                // a malformed one is no fault of the expression
                self.usable_number_format()?;
                self.number_text(&number).map(Text::from).at(expr.span)
            }
            Value::Bool(flag) => match self.formats.boolean.printed(flag) {
                Some(word) => Ok(Text::from(word.to_owned())),
                None => Err(runtime(
                    "Can't convert boolean to string automatically, because the \"boolean_format\" setting was \
                     \"true,false\", which is the legacy deprecated default, and we treat it as if no format was set. \
                     This is the default configuration; you should provide the format explicitly for each place where \
                     you print a boolean.\n\n----\nTip: Write something like myBool?string('yes', 'no') to specify \
                     boolean formatting in place.\n----\nTip: If you want \"true\"/\"false\" result as you are \
                     generating computer-language output (not for direct human consumption), then use \"?c\", like \
                     ${myBool?c}. (If you always generate computer-language output, then it's might be reasonable to \
                     set the \"boolean_format\" setting to \"c\" instead.)\n----\nTip: If you need the same two values \
                     on most places, the programmers can set the \"boolean_format\" setting to something like \
                     \"yes,no\". However, then it will be easy to unwillingly format booleans like that.\n----",
                )),
            },
            Value::Date(date) => self.date_text(date).map(Text::from),
            Value::Missing => Err(self.missing(expr)),
            other => Err(self.expected(
                "string or something automatically convertible to string (number, date or boolean)",
                &other,
                expr,
            )),
        }
    }

    pub(crate) fn number_text(&mut self, number: &Number) -> Result<String, Raised> {
        self.meter.steps(number.cost())?;
        self.usable_number_format()?.format(number).map_err(runtime)
    }

    pub(crate) fn date_text(&mut self, date: Date) -> Result<String, Raised> {
        self.usable_date_format(date.kind)?.format(date, &self.formats.zone).map_err(runtime)
    }

    /// The setting's format, unless that is malformed.
    pub(crate) fn usable_number_format(&self) -> Result<&NumberFormat, Raised> {
        let formats = &*self.formats;
        formats.number.as_ref().map_err(|problem| {
            runtime(format!(
                "Failed to get number format object for the current number format string, \"{}\": {problem}",
                formats.number_source
            ))
        })
    }

    /// The setting's format for dates of a kind, unless that is malformed.
    pub(crate) fn usable_date_format(&self, kind: DateKind) -> Result<&CompiledDateFormat, Raised> {
        let named = self.formats.date_format(kind);
        named.format.as_ref().map_err(|problem| {
            let setting = match kind {
                DateKind::Date => "date_format",
                DateKind::Time => "time_format",
                DateKind::DateTime => "datetime_format",
            };
            runtime(format!(
                "The value of the \"{setting}\" FreeMarker configuration setting is a malformed date/time/datetime format \
                 string: \"{}\". Reason given: {problem}",
                named.source
            ))
        })
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
            other => Err(self.expected("number", &other, expr)),
        }
    }

    /// Evaluates an expression that must be true or false.
    pub(crate) fn condition(&mut self, expr: &'r Expr) -> Result<bool, Raised> {
        let mut expr = expr;
        while let ExprKind::Group(inner) = &expr.kind {
            expr = inner;
        }
        // what conditions are made of mostly, without a value in between
        match &expr.kind {
            ExprKind::BuiltIn(call) if call.which == BuiltIn::Matches && call.form == Form::Called => {
                return self.matches_whole(call, expr);
            }
            ExprKind::Exists(target) => {
                self.meter.step().at(expr.span)?;
                self.meter.enter().at(expr.span)?;
                let exists = self.exists(target)?;
                self.meter.leave();
                return Ok(exists);
            }
            ExprKind::BuiltIn(call)
                if call.fits && matches!(call.which, BuiltIn::IsString | BuiltIn::IsNumber | BuiltIn::IsBoolean) =>
            {
                self.meter.step().at(expr.span)?;
                self.meter.enter().at(expr.span)?;
                let is = self.is_of_type(call)?;
                self.meter.leave();
                return Ok(is);
            }
            // refused before its ends are looked at
            ExprKind::Range(_) => {
                let range = Range { start: 0, len: Some(0), descending: false, adapts: false, inclusive: false };
                return Err(self.expected("boolean", &Value::Sequence(Sequence::Range(range)), expr));
            }
            _ => {}
        }
        match self.eval(expr)? {
            Value::Bool(flag) => Ok(flag),
            Value::Missing => Err(self.missing(expr)),
            other => other.as_bool().ok_or_else(|| self.expected("boolean", &other, expr)),
        }
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
