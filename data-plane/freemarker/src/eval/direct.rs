//! Printing what needs no value of its own: `${x?c}`, `${x?json_string}`, `${number}` and dates go
//! straight into the output.

use super::Interp;
use crate::ast::{BuiltInCall, Expr, ExprKind, Form};
use crate::builtins::BuiltIn;
use crate::builtins::escapes::{Escape, script_content};
use crate::error::{Place, Raised};
use crate::value::Value;

impl<'r> Interp<'r> {
    /// Prints an expression if there is a short way to do so, where nothing is escaped.
    pub(super) fn print_directly(&mut self, expr: &'r Expr) -> Result<bool, Raised> {
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

    fn print_built_in(&mut self, call: &'r BuiltInCall) -> Result<(), Raised> {
        let start = self.out.len();
        if call.which == BuiltIn::JsonString {
            let text = self.text(&call.target)?;
            self.meter.scan(text.len())?;
            script_content(&text, Escape::Json, false, &mut self.out);
        } else {
            let value = self.eval(&call.target)?;
            match value {
                Value::Number(number) => {
                    self.meter.steps(number.cost())?;
                    self.formats.c.number(&number, &mut self.out);
                }
                Value::String(text) => {
                    self.meter.scan(text.len())?;
                    self.formats.c.string(&text, &mut self.out);
                }
                other => {
                    let text = self.literal_of(other, call)?;
                    self.out.extend_from_slice(text.as_bytes());
                }
            }
        }
        let len = self.out.len() - start;
        self.count_output(len)
    }
}
