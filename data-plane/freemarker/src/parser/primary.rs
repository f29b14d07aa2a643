//! Literals, names, and what may follow them: `.name`, `[key]`, `(args)`, `?built_in`, `!`, `??`.

use super::Parser;
use super::checks::Literal;
use crate::ast::{BuiltInCall, Expr, ExprKind, Form, Lambda, Special};
use crate::builtins::{Arguments, BuiltIn, Lookup};
use crate::error::{Raised, limit};
use crate::lexer::token::{Token, lex, plain_name};
use crate::limits::MAX_NESTING;
use crate::number::Number;
use crate::settings::snake_case;

impl Parser<'_, '_> {
    pub(super) fn primary(&mut self) -> Result<Expr, Raised> {
        let depth = self.state.depth;
        let mut name = None;
        if let Token::Name(text) = self.next.token {
            name = Some(plain_name(text));
        }
        let mut expr = self.base()?;
        loop {
            // each step nests what came before it
            self.state.depth += 1;
            if self.state.depth > MAX_NESTING {
                return Err(
                    limit(format!("the expression is nested more than {MAX_NESTING} deep")).at(self.next_span())
                );
            }
            expr = match self.next.token {
                Token::Dot => self.dot(expr)?,
                Token::BracketOpen => self.index(expr)?,
                Token::ParenOpen => self.call(expr)?,
                Token::Question => self.built_in(expr, name.as_deref())?,
                Token::Exclamation => self.default(expr)?,
                Token::QuestionQuestion => {
                    let end = self.bump().end;
                    let span = expr.span.to(self.span(end, end));
                    Expr { kind: ExprKind::Exists(Box::new(expr)), span }
                }
                _ => {
                    self.state.depth = depth;
                    return Ok(expr);
                }
            };
            name = None;
        }
    }

    fn base(&mut self) -> Result<Expr, Raised> {
        let span = self.next_span();
        let kind = match self.next.token {
            Token::Name("true") => ExprKind::Bool(true),
            Token::Name("false") => ExprKind::Bool(false),
            Token::Name("as" | "in" | "using") => return self.unexpected("an expression"),
            Token::Name(name) => ExprKind::Variable(self.state.scope.resolve(&plain_name(name))),
            Token::Integer(text) | Token::Decimal(text) => match Number::parse(text) {
                Some(number) => ExprKind::Number(number),
                None => return self.error_at(self.next.start, "the number has too many digits"),
            },
            Token::String(text) => {
                let start = self.next.start;
                let kind = self.nested(|parser| parser.string_literal(text, start))?;
                self.bump();
                return Ok(Expr { kind, span });
            }
            Token::ParenOpen => return self.group(),
            Token::BracketOpen => return self.list(),
            Token::BraceOpen => return self.hash(),
            Token::Dot => return self.special(),
            _ => return self.unexpected("an expression"),
        };
        self.bump();
        Ok(Expr { kind, span })
    }

    fn group(&mut self) -> Result<Expr, Raised> {
        let start = self.bump().start;
        let inner = self.expression()?;
        let end = self.expect(Token::ParenClose, "\")\"")?.end;
        Ok(Expr { kind: ExprKind::Group(Box::new(inner)), span: self.span(start, end) })
    }

    fn list(&mut self) -> Result<Expr, Raised> {
        let start = self.bump().start;
        let mut items = Vec::new();
        if self.next.token != Token::BracketClose {
            items.push(self.expression()?);
            loop {
                let comma = self.take(Token::Comma);
                if !comma && !self.begins_expression() {
                    break;
                }
                items.push(self.expression()?);
            }
        }
        let end = self.expect(Token::BracketClose, "\",\" or \"]\"")?.end;
        Ok(Expr { kind: ExprKind::List(items.into()), span: self.span(start, end) })
    }

    fn hash(&mut self) -> Result<Expr, Raised> {
        let start = self.bump().start;
        let mut entries = Vec::new();
        if self.next.token != Token::BraceClose {
            loop {
                let key = self.expression()?;
                self.refuse(&key, &[Literal::Sequence, Literal::Hash, Literal::Number, Literal::Boolean], "string")?;
                if !self.take(Token::Colon) {
                    self.expect(Token::Comma, "\":\"")?;
                }
                let value = self.expression()?;
                entries.push((key, value));
                if !self.take(Token::Comma) {
                    break;
                }
            }
        }
        let end = self.expect(Token::BraceClose, "\",\" or \"}\"")?.end;
        Ok(Expr { kind: ExprKind::Hash(entries.into()), span: self.span(start, end) })
    }

    fn special(&mut self) -> Result<Expr, Raised> {
        let start = self.bump().start;
        let Token::Name(name) = self.next.token else {
            return self.unexpected("the name of a special variable");
        };
        let name_start = self.next.start;
        self.check_naming(name, name_start)?;
        let special = match snake_case(name).as_str() {
            "now" => Special::Now,
            "locale" => Special::Locale,
            "lang" => Special::Lang,
            "time_zone" => Special::TimeZone,
            "template_name" | "main_template_name" | "current_template_name" => Special::TemplateName,
            "version" => Special::Version,
            "incompatible_improvements" => Special::IncompatibleImprovements,
            "output_format" => Special::OutputFormat,
            "auto_esc" => Special::AutoEsc,
            "output_encoding" => Special::OutputEncoding,
            "url_escaping_charset" => Special::UrlEscapingCharset,
            "data_model"
            | "globals"
            | "locals"
            | "main"
            | "namespace"
            | "vars"
            | "error"
            | "args"
            | "caller_template_name"
            | "get_optional_template"
            | "locale_object"
            | "node"
            | "current_node"
            | "pass" => {
                return self.error_at(name_start, format!("this engine does not support the special variable .{name}"));
            }
            _ => {
                return self.error_at(name_start, format!("unknown special variable name: \"{name}\""));
            }
        };
        let end = self.bump().end;
        Ok(Expr { kind: ExprKind::Special(special), span: self.span(start, end) })
    }

    fn dot(&mut self, target: Expr) -> Result<Expr, Raised> {
        self.bump();
        let text = self.text.get(self.next.start..self.next.end).unwrap_or_default();
        let key: Box<str> = match self.next.token {
            Token::Name(name) => plain_name(name).into(),
            // keywords are names after a dot
            _ if text.starts_with(|c: char| c.is_ascii_alphabetic()) => text.into(),
            Token::Times | Token::TimesTimes => {
                return self.error_at(self.next.start, "this engine does not support XML nodes");
            }
            _ => return self.unexpected("a name after \".\""),
        };
        if matches!(self.next.token, Token::String(_)) {
            return self.unexpected("a name after \".\"");
        }
        self.refuse(&target, &[Literal::String, Literal::Sequence, Literal::Boolean], "hash")?;
        let end = self.bump().end;
        let span = target.span.to(self.span(end, end));
        Ok(Expr { kind: ExprKind::Dot { target: Box::new(target), key }, span })
    }

    fn index(&mut self, target: Expr) -> Result<Expr, Raised> {
        self.bump();
        let key = self.expression()?;
        let end = self.expect(Token::BracketClose, "\"]\"")?.end;
        self.refuse(&target, &[Literal::Number, Literal::Boolean], "sequence or hash")?;
        let span = target.span.to(self.span(end, end));
        Ok(Expr { kind: ExprKind::Index(Box::new((target, key))), span })
    }

    fn call(&mut self, callee: Expr) -> Result<Expr, Raised> {
        let args = self.arguments(false)?;
        let span = callee.span.to(self.span(args.1, args.1));
        Ok(Expr { kind: ExprKind::Call { callee: Box::new(callee), args: args.0 }, span })
    }

    /// Parses arguments in parentheses; gives them and the offset after them.
    fn arguments(&mut self, lambdas: bool) -> Result<(Box<[Expr]>, usize), Raised> {
        self.expect(Token::ParenOpen, "\"(\"")?;
        let mut args = Vec::new();
        while self.next.token != Token::ParenClose {
            if !args.is_empty() {
                self.take(Token::Comma);
            }
            let arg = if lambdas && self.at_lambda() { self.lambda()? } else { self.expression()? };
            args.push(arg);
            if self.next.token != Token::Comma && !self.begins_expression() {
                break;
            }
        }
        let end = self.expect(Token::ParenClose, "\",\" or \")\"")?.end;
        Ok((args.into(), end))
    }

    /// Whether `x ->` or `(x) ->` comes next.
    fn at_lambda(&self) -> bool {
        let after = lex(self.text, self.next.end);
        match self.next.token {
            Token::Name(_) => after.token == Token::Arrow,
            Token::ParenOpen => {
                let close = lex(self.text, after.end);
                matches!(after.token, Token::Name(_))
                    && close.token == Token::ParenClose
                    && lex(self.text, close.end).token == Token::Arrow
            }
            _ => false,
        }
    }

    fn lambda(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let parenthesized = self.take(Token::ParenOpen);
        let Token::Name(name) = self.next.token else { return self.unexpected("a name") };
        self.bump();
        if parenthesized {
            self.expect(Token::ParenClose, "\")\"")?;
        }
        self.expect(Token::Arrow, "\"->\"")?;
        let slot = self.state.scope.push_parameter(&plain_name(name));
        let body = self.expression();
        self.state.scope.pop_locals(1);
        let body = body?;
        let span = self.span(start, start).to(body.span);
        Ok(Expr { kind: ExprKind::Lambda(Box::new(Lambda { slot, body })), span })
    }

    fn default(&mut self, target: Expr) -> Result<Expr, Raised> {
        let end = self.bump().end;
        let mut span = target.span.to(self.span(end, end));
        let fallback = if self.begins_expression() && !self.at_end() {
            let fallback = self.expression()?;
            span = target.span.to(fallback.span);
            Some(fallback)
        } else {
            None
        };
        Ok(Expr { kind: ExprKind::Default(Box::new((target, fallback))), span })
    }

    fn built_in(&mut self, target: Expr, target_name: Option<&str>) -> Result<Expr, Raised> {
        self.bump();
        let Token::Name(name) = self.next.token else {
            return self.unexpected("the name of a built-in");
        };
        let start = self.next.start;
        let which = match BuiltIn::find(name) {
            Lookup::Found(which) => which,
            Lookup::Unsupported => {
                return self.error_at(start, format!("this engine does not support the built-in ?{name}"));
            }
            Lookup::Unknown => {
                return self.error_at(start, format!("unknown built-in: \"{name}\""));
            }
        };
        self.check_naming(name, start)?;
        let end = self.bump().end;
        let mut call = BuiltInCall { which, target, args: Box::default(), form: Form::Bare, loop_slot: 0 };
        let arguments = which.arguments();
        if arguments.loop_variable {
            match target_name.and_then(|name| self.state.scope.loop_of(name)) {
                Some(slot) => call.loop_slot = slot,
                None => {
                    let message = format!("the left side of ?{name} must be a loop variable in scope");
                    return Err(crate::error::parse(call.target.span, message));
                }
            }
        }
        let end = self.built_in_arguments(&mut call, &arguments, name, end)?;
        let span = call.target.span.to(self.span(end, end));
        Ok(Expr { kind: ExprKind::BuiltIn(Box::new(call)), span })
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
                if count < arguments.min || count > arguments.max {
                    let wanted = match (arguments.min, arguments.max) {
                        (min, max) if min == max => format!("{min}"),
                        (min, usize::MAX) => format!("at least {min}"),
                        (min, max) => format!("{min} to {max}"),
                    };
                    return self.error_at(start, format!("?{name} takes {wanted} arguments, but there are {count}"));
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
            _ if arguments.min > 0 && !arguments.optional => {
                self.error_at(start, format!("?{name} needs arguments in parentheses"))
            }
            _ => Ok(end),
        }
    }
}
