//! Printing under an output format, and values that are markup.

use std::sync::Arc;

use super::Interp;
use crate::ast::Expr;
use crate::error::{Place, Raised, runtime};
use crate::markup::Markup;
use crate::output_format::{Escaping, OutputFormat};
use crate::span::Span;
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    /// Prints what an interpolation gives.
    pub(super) fn print(&mut self, value: Value<'r>, expr: &Expr, escaping: Escaping) -> Result<(), Raised> {
        let markup = match value {
            Value::Markup(markup) => markup,
            // numbers go from their format to the output
            Value::Number(number) => {
                if !escaping.is_on()
                    && let Ok(format) = &self.formats.number
                {
                    let start = self.out.len();
                    self.meter.steps(number.cost()).at(expr.span)?;
                    format.write(&number, &mut self.out).map_err(runtime).at(expr.span)?;
                    let len = self.out.len() - start;
                    return self.count_output(len);
                }
                self.usable_number_format()?;
                let text = self.number_text(&number).at(expr.span)?;
                return self.emit_escaped(escaping.format, &text);
            }
            // most of what is printed is data read in place
            other => {
                let text = self.printed(other, expr)?;
                return if escaping.is_on() {
                    self.emit_escaped(escaping.format, &text)
                } else {
                    self.emit(text.as_bytes())
                };
            }
        };
        let format = escaping.format;
        if markup.format == format || format.mixes() {
            return self.emit(markup.text().as_bytes());
        }
        match &markup.plain {
            Some(plain) if format.is_markup() => self.emit_escaped(format, plain),
            Some(plain) => self.emit(plain.as_bytes()),
            None => {
                let message = format!(
                    "The value to print is in \"{}\" format, which differs from the current output format, \
                     \"{format}\". Format conversion wasn't possible.",
                    markup.format
                );
                let mut fault = self.blamed(message, expr, &[]);
                fault.span = None;
                Err(fault)
            }
        }
    }

    pub(super) fn emit_escaped(&mut self, format: OutputFormat, text: &str) -> Result<(), Raised> {
        let start = self.out.len();
        format.escape(text, &mut self.out);
        let len = self.out.len() - start;
        self.count_output(len)
    }

    /// The value of text that was captured.
    pub(super) fn captured(&mut self, text: String, escaping: Escaping) -> Value<'r> {
        let text = Text::from(text);
        if !escaping.format.is_markup() {
            return Value::String(text);
        }
        Value::Markup(Arc::new(Markup { format: escaping.format, plain: None, markup: Some(text) }))
    }

    /// A plain text in a format, to be escaped.
    pub(super) fn from_plain(format: OutputFormat, plain: Text<'r>) -> Markup<'r> {
        Markup { format, plain: Some(plain), markup: None }
    }

    /// `+` where one side is markup at least.
    pub(super) fn join_markup(
        &mut self,
        left: &Markup<'r>,
        right: &Markup<'r>,
        span: Span,
    ) -> Result<Value<'r>, Raised> {
        self.meter.value(2 * (left.size() + right.size()))?;
        let joined = if left.format == right.format {
            left.join(right)
        } else if let Some(plain) = &right.plain {
            left.join(&Self::from_plain(left.format, plain.clone()))
        } else if let Some(plain) = &left.plain {
            Self::from_plain(right.format, plain.clone()).join(right)
        } else {
            let message = format!(
                "Concatenation left hand operand is in \"{}\" format, while the right hand operand is in \"{}\". \
                 Conversion to common format wasn't possible.",
                left.format, right.format
            );
            return Err(self.blamed_at(message, span, &[]));
        };
        Ok(Value::Markup(Arc::new(joined)))
    }

    /// `?esc` and `?no_esc`
    pub(super) fn escaped_value(
        &mut self,
        value: Value<'r>,
        expr: &Expr,
        format: OutputFormat,
        escape: bool,
    ) -> Result<Value<'r>, Raised> {
        let wanted = "string or something automatically convertible to string (number, date or boolean), or \"template \
                      output\" ";
        let markup = match value {
            Value::Markup(markup) if markup.format == format => return Ok(Value::Markup(markup)),
            Value::Markup(markup) => match &markup.plain {
                Some(plain) => Self::from_plain(format, plain.clone()),
                None => {
                    let message = format!(
                        "The left side operand of ?{} is in \"{}\" format, which differs from the current output \
                         format, \"{format}\". Conversion wasn't possible.",
                        if escape { "esc" } else { "no_esc" },
                        markup.format
                    );
                    return Err(runtime(message));
                }
            },
            Value::Sequence(_) | Value::Hash(_) | Value::Method(_) | Value::Callable(_) | Value::Scope(_) => {
                return Err(self.expected(wanted, &value, expr));
            }
            other => {
                let text = self.text_of(other, expr)?;
                if escape { Self::from_plain(format, text) } else { Markup { format, plain: None, markup: Some(text) } }
            }
        };
        self.meter.value(markup.size())?;
        Ok(Value::Markup(Arc::new(markup)))
    }
}
