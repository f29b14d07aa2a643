//! `?name` after an expression: which built-in it is, and its arguments.

use super::Parser;
use crate::ast::{BuiltInCall, Expr, ExprKind, Form};
use crate::builtins::{Arguments, BuiltIn, Lookup, when_called};
use crate::error::Raised;
use crate::lexer::token::{Token, plain_name};
use crate::output_format::AutoEscaping;
use crate::parser::scope::LoopOf;

impl Parser<'_, '_> {
    pub(super) fn built_in(&mut self, target: Expr, target_name: Option<&str>) -> Result<Expr, Raised> {
        self.bump();
        let Token::Name(name) = self.next.token else {
            return self.unexpected("the name of a built-in");
        };
        let start = self.next.start;
        let which = match BuiltIn::find(name) {
            Lookup::Found(which) => which,
            Lookup::Unknown => {
                let message = format!(
                    "Unknown built-in: \"{name}\". Help (latest version): \
                     http://freemarker.org/docs/ref_builtins.html"
                );
                return self.error_at(start, message);
            }
        };
        self.check_naming(name, start)?;
        let end = self.bump().end;
        let escaping = self.state.escaping;
        self.check_escaping_of(which, name, start)?;
        let mut call = BuiltInCall {
            which,
            target,
            args: Box::default(),
            form: Form::Bare,
            fits: true,
            loop_slot: 0,
            escaping,
            when_called: Box::default(),
        };
        let arguments = which.arguments();
        if arguments.loop_variable {
            let Some(variable) = target_name else {
                let message =
                    format!("Expression used as the left hand operand of ?{name} must be a simple loop variable name.");
                return Err(crate::error::parse(call.target.span, message));
            };
            let problem = match self.state.scope.loop_of(variable) {
                LoopOf::Loop(slot) => {
                    call.loop_slot = slot;
                    None
                }
                LoopOf::Content => Some(format!(
                    "The left hand operand of ?{name} can't be the loop variable of an user defined directive: \
                     {variable}"
                )),
                LoopOf::Nothing => Some(format!(
                    "The left hand operand of ?{name} must be a loop variable, but there's no loop variable in scope \
                     with this name: {variable}"
                )),
            };
            if let Some(problem) = problem {
                return Err(crate::error::parse(call.target.span, problem));
            }
        }
        let end = self.built_in_arguments(&mut call, &arguments, name, end)?;
        call.fits = which.fits(call.form, call.args.len());
        if call.form == Form::Bare {
            call.when_called = when_called(&call);
        }
        let span = call.target.span.to(self.span(end, end));
        Ok(Expr { kind: ExprKind::BuiltIn(Box::new(call)), span })
    }

    /// Built-ins that escape have no place where output escapes by itself, or can't.
    fn check_escaping_of(&self, which: BuiltIn, name: &str, start: usize) -> Result<(), Raised> {
        let escaping = self.state.escaping;
        let format = escaping.format;
        match which {
            BuiltIn::Html | BuiltIn::WebSafe | BuiltIn::Xhtml | BuiltIn::Xml | BuiltIn::Rtf if escaping.is_on() => self
                .error_at(
                    start,
                    format!(
                        "Using ?{name} (legacy escaping) is not allowed when auto-escaping is on with a markup output \
                         format ({format}), to avoid double-escaping mistakes."
                    ),
                ),
            BuiltIn::NoEsc if escaping.policy == AutoEscaping::Forced => {
                self.error_at(start, super::escaping::forced(&format!("The ?{name} expression")))
            }
            BuiltIn::Esc | BuiltIn::NoEsc if !format.is_markup() => self.error_at(
                start,
                format!(
                    "?{name} can't be used here, as the current output format isn't a markup (escaping) format: \
                     {format}"
                ),
            ),
            _ => Ok(()),
        }
    }

    fn built_in_arguments(
        &mut self,
        call: &mut BuiltInCall,
        arguments: &Arguments,
        name: &str,
        end: usize,
    ) -> Result<usize, Raised> {
        let start = self.next.start;
        match self.next.token {
            Token::ParenOpen if arguments.max > 0 => {
                let (args, end) = self.arguments(arguments.lambda)?;
                let count = args.len();
                if arguments.counted_early && (count < arguments.min || count > arguments.max) {
                    let wanted = match (arguments.min, arguments.max) {
                        (min, max) if min == max => format!("{min}"),
                        (min, usize::MAX) => format!("at least {min}"),
                        (min, max) => format!("{min} to {max}"),
                    };
                    let s = if arguments.max == 1 { "" } else { "s" };
                    return self.error_at(
                        start,
                        format!("?{name}(...) requires exactly {wanted} parameter{s}, but there are {count}."),
                    );
                }
                call.args = args;
                call.form = Form::Called;
                Ok(end)
            }
            Token::Dot if arguments.keyed => {
                self.bump();
                let Token::Name(key) = self.next.token else {
                    return self.unexpected("the name of a format");
                };
                let span = self.next_span();
                call.args = Box::new([Expr { kind: ExprKind::String(plain_name(key).into()), span }]);
                call.form = Form::Keyed;
                Ok(self.bump().end)
            }
            Token::BracketOpen if arguments.keyed => {
                self.bump();
                let key = self.expression()?;
                call.args = Box::new([key]);
                call.form = Form::Keyed;
                Ok(self.expect(Token::BracketClose, "\"]\"")?.end)
            }
            _ if arguments.counted_early => self.unexpected("\"(\""),
            _ => Ok(end),
        }
    }
}
