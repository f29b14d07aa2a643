//! Literals, names, and what may follow them: `.name`, `[key]`, `(args)`, `?built_in`, `!`, `??`.

use super::checks::Literal;
use super::{EXPRESSION, Parser};
use crate::ast::{Bindings, Expr, ExprKind, Form, Lambda, Member};
use crate::builtins::unfinished;
use crate::error::{Raised, limit};
use crate::json::Key;
use crate::lexer::token::{Token, lex, plain_name};
use crate::limits::MAX_NESTING;
use crate::number::Number;

impl Parser<'_, '_> {
    pub(super) fn primary(&mut self) -> Result<Expr, Raised> {
        let (start, depth) = (self.next.start, self.state.depth);
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
            expr = self.spanning(start, expr);
            name = None;
        }
    }

    fn base(&mut self) -> Result<Expr, Raised> {
        let span = self.next_span();
        let kind = match self.next.token {
            Token::Name("true") => ExprKind::Bool(true),
            Token::Name("false") => ExprKind::Bool(false),
            Token::Name("as" | "in" | "using") => return self.unexpected(EXPRESSION),
            Token::Name(name) => {
                let name = plain_name(name);
                if let Some(expr) = self.replacement(&name)? {
                    self.bump();
                    return Ok(expr);
                }
                ExprKind::Variable(self.state.scope.resolve(&name))
            }
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
            _ => return self.unexpected(EXPRESSION),
        };
        self.bump();
        Ok(Expr { kind, span })
    }

    fn group(&mut self) -> Result<Expr, Raised> {
        let start = self.open_bracket('(').start;
        let inner = self.expression()?;
        let end = self.close_bracket(Token::ParenClose, "\")\"")?.end;
        Ok(Expr { kind: ExprKind::Group(Box::new(inner)), span: self.span(start, end) })
    }

    fn list(&mut self) -> Result<Expr, Raised> {
        let start = self.open_bracket('[').start;
        let mut items = Vec::new();
        if self.next.token != Token::BracketClose {
            items.push(self.expression()?);
            loop {
                let comma = self.take(Token::Comma);
                if !comma && !self.starts_expression() {
                    break;
                }
                items.push(self.expression()?);
            }
        }
        let end = self.close_bracket(Token::BracketClose, "\"]\"")?.end;
        Ok(Expr { kind: ExprKind::List(items.into()), span: self.span(start, end) })
    }

    fn hash(&mut self) -> Result<Expr, Raised> {
        let start = self.open_bracket('{').start;
        let mut entries = Vec::new();
        if self.next.token != Token::BraceClose {
            loop {
                let key = self.expression()?;
                if !self.take(Token::Colon) {
                    self.expect(Token::Comma, "\":\"")?;
                }
                let value = self.expression()?;
                self.refuse(&key, &[Literal::Sequence, Literal::Hash, Literal::Number, Literal::Boolean], "string")?;
                entries.push((key, value));
                if !self.take(Token::Comma) {
                    break;
                }
            }
        }
        let end = self.close_bracket(Token::BraceClose, "\"}\"")?.end;
        Ok(Expr { kind: ExprKind::Hash(entries.into()), span: self.span(start, end) })
    }

    fn dot(&mut self, target: Expr) -> Result<Expr, Raised> {
        self.bump();
        let text = self.text.get(self.next.start..self.next.end).unwrap_or_default();
        let key = match self.next.token {
            Token::Name(name) => Key::new(plain_name(name)),
            // keywords are names after a dot
            _ if text.starts_with(|c: char| c.is_ascii_alphabetic()) => Key::new(text),
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
        if let Some(mut call) = unfinished(&target).filter(|call| call.which.arguments().keyed).cloned() {
            call.args = Box::new([Expr { kind: ExprKind::String((*key).into()), span: self.span(end, end) }]);
            call.form = Form::Keyed;
            call.fits = call.which.fits(call.form, 1);
            return Ok(Expr { kind: ExprKind::BuiltIn(Box::new(call)), span });
        }
        Ok(Expr { kind: ExprKind::Dot(Box::new(Member { target, key })), span })
    }

    fn index(&mut self, target: Expr) -> Result<Expr, Raised> {
        self.open_bracket('[');
        let key = self.expression()?;
        let end = self.close_bracket(Token::BracketClose, "\"]\"")?.end;
        self.refuse(&target, &[Literal::Number, Literal::Boolean], "sequence or hash")?;
        let span = target.span.to(self.span(end, end));
        if let Some(mut call) = unfinished(&target).filter(|call| call.which.arguments().keyed).cloned() {
            call.args = Box::new([key]);
            call.form = Form::Keyed;
            call.fits = call.which.fits(call.form, 1);
            return Ok(Expr { kind: ExprKind::BuiltIn(Box::new(call)), span });
        }
        Ok(Expr { kind: ExprKind::Index(Box::new((target, key))), span })
    }

    fn call(&mut self, callee: Expr) -> Result<Expr, Raised> {
        let args = self.arguments(false)?;
        let span = callee.span.to(self.span(args.1, args.1));
        if let Some(mut call) = unfinished(&callee).cloned() {
            call.args = args.0;
            call.form = Form::Called;
            call.fits = call.which.fits(call.form, call.args.len());
            return Ok(Expr { kind: ExprKind::BuiltIn(Box::new(call)), span });
        }
        Ok(Expr { kind: ExprKind::Call { callee: Box::new(callee), args: args.0 }, span })
    }

    /// Parses arguments in parentheses; gives them and the offset after them.
    pub(super) fn arguments(&mut self, lambdas: bool) -> Result<(Box<[Expr]>, usize), Raised> {
        if self.next.token != Token::ParenOpen {
            return self.unexpected("\"(\"");
        }
        self.open_bracket('(');
        let mut args = Vec::new();
        while self.next.token != Token::ParenClose {
            if !args.is_empty() {
                self.take(Token::Comma);
            }
            let arg = if lambdas && self.at_lambda() { self.lambda()? } else { self.expression()? };
            args.push(arg);
            if self.next.token != Token::Comma && !self.starts_expression() {
                break;
            }
        }
        let end = self.close_bracket(Token::ParenClose, "\")\"")?.end;
        Ok((args.into(), end))
    }

    /// Whether `x ->`, `(x) ->` or a list of parameters that is too long or too short comes next.
    fn at_lambda(&self) -> bool {
        let mut after = lex(self.text, self.next.end);
        match self.next.token {
            Token::Name(_) => after.token == Token::Arrow,
            Token::ParenOpen => {
                while matches!(after.token, Token::Name(_) | Token::Comma) {
                    after = lex(self.text, after.end);
                }
                after.token == Token::ParenClose && lex(self.text, after.end).token == Token::Arrow
            }
            _ => false,
        }
    }

    fn lambda(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let parenthesized = self.take(Token::ParenOpen);
        let mut names = Vec::new();
        while let Token::Name(name) = self.next.token {
            names.push(plain_name(name));
            self.bump();
            if !parenthesized || !self.take(Token::Comma) {
                break;
            }
        }
        if parenthesized {
            self.expect(Token::ParenClose, "\")\"")?;
        }
        let [name] = names.as_slice() else {
            return self.error_at(
                start,
                format!(
                    "?filter, ?map and the like must have a lambda expression with 1 parameter, but it declared {}.",
                    names.len()
                ),
            );
        };
        if self.state.placeholder.as_ref().is_some_and(|(placeholder, _)| placeholder == name) {
            return self.error_at(
                start,
                format!("Escape placeholder ({name}) can't be used in the parameter list of a lambda expressions."),
            );
        }
        self.expect(Token::Arrow, "\"->\"")?;
        let slot = self.state.scope.push_parameter(name);
        let body = self.expression();
        self.state.scope.pop_locals(1);
        let body = body?;
        let span = self.span(start, start).to(body.span);
        let bindings = Bindings { names: Box::new([(name.as_str().into(), slot)]), loop_slot: None, falls_back: false };
        Ok(Expr { kind: ExprKind::Lambda(Box::new(Lambda { slot, bindings, body, span })), span })
    }

    fn default(&mut self, target: Expr) -> Result<Expr, Raised> {
        let end = self.bump().end;
        let mut span = target.span.to(self.span(end, end));
        // `a=b! c=d`: in a call white space after the mark ends the argument
        let ends_argument = self.named_arguments && self.parens == 0 && self.next.start > end;
        self.named_arguments &= !ends_argument;
        let called = self.next.token == Token::ParenOpen && !self.holds_one_expression();
        let fallback = if !ends_argument && !called && self.begins_expression() && !self.at_end() {
            let fallback = self.expression()?;
            span = target.span.to(fallback.span);
            Some(fallback)
        } else {
            None
        };
        Ok(Expr { kind: ExprKind::Default(Box::new((target, fallback))), span })
    }

    /// Whether the parentheses that come next hold one expression, and are no arguments.
    fn holds_one_expression(&self) -> bool {
        let (mut depth, mut at, mut any) = (0u32, self.next.end, false);
        let mut after_operand = false;
        loop {
            let next = lex(self.text, at);
            match next.token {
                Token::ParenClose if depth == 0 => return any,
                Token::Comma if depth == 0 => return false,
                // two values in a row
                Token::Name(name)
                    if depth == 0 && after_operand && !matches!(name, "gt" | "gte" | "lt" | "lte" | "and" | "or") =>
                {
                    return false;
                }
                Token::Integer(_) | Token::Decimal(_) | Token::String(_) if depth == 0 && after_operand => {
                    return false;
                }
                Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
                Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.saturating_sub(1),
                Token::End => return true,
                _ if next.end <= at => return true,
                _ => {}
            }
            any = true;
            after_operand = matches!(
                next.token,
                Token::Name(_)
                    | Token::Integer(_)
                    | Token::Decimal(_)
                    | Token::String(_)
                    | Token::QuestionQuestion
                    | Token::ParenClose
                    | Token::BracketClose
                    | Token::BraceClose
            );
            at = next.end;
        }
    }
}
