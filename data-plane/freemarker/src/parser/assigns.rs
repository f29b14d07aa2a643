//! `#assign`, `#global` and `#local`.

use super::Parser;
use super::directive::Directive;
use crate::ast::{AssignOp, AssignPlace, Assignment, Assignments, BinaryOp, Capture, ElementKind, Expr, Target};
use crate::error::Raised;
use crate::lexer::literal::decode;
use crate::lexer::text::Found;
use crate::lexer::token::{Token, lex};
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    /// The name of a variable that is set, and where it stands.
    pub(super) fn target_name(&mut self) -> Result<(String, usize), Raised> {
        let start = self.next.start;
        let name = match self.next.token {
            Token::String(text) => {
                let raw = text.strip_prefix('r');
                let body = raw.unwrap_or(text);
                let body = body.get(1..body.len().saturating_sub(1)).unwrap_or_default();
                let name = if raw.is_some() { body.to_owned() } else { decode(body) };
                self.bump();
                name
            }
            _ => self.name("the name of a variable")?,
        };
        Ok((name, start))
    }

    fn target(&mut self, directive: Directive) -> Result<(Target, usize), Raised> {
        let (name, start) = self.target_name()?;
        let scope = &mut self.state.scope;
        let id = match directive {
            Directive::Local => scope.macro_slot(&name).unwrap_or_default(),
            _ => scope.symbol(&name),
        };
        Ok((Target { id }, start))
    }

    pub(super) fn assign_directive(&mut self, directive: Directive, found: Found<'p>) -> Result<ElementKind, Raised> {
        if directive == Directive::Local && self.state.inside.is_none() {
            return self.error_at(found.start, "Local variable assigned outside a macro.");
        }
        let (target, start) = self.target(directive)?;
        if self.at_end() || self.next.token == Token::Name("in") {
            return self.capture(directive, target, found);
        }
        let mut items = vec![self.assignment(target, start)?];
        while self.at_assignment() {
            self.take(Token::Comma);
            let (target, start) = self.target(directive)?;
            items.push(self.assignment(target, start)?);
        }
        let place = self.place(directive)?;
        self.end_tag(true)?;
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Assign(Box::new(Assignments { place, items: items.into() })))
    }

    /// Whether one more assignment comes, with or without a comma before.
    fn at_assignment(&self) -> bool {
        let name = if self.next.token == Token::Comma { lex(self.text, self.next.end) } else { self.next };
        matches!(name.token, Token::Name(_) | Token::String(_))
            && matches!(
                lex(self.text, name.end).token,
                Token::Assign
                    | Token::PlusAssign
                    | Token::MinusAssign
                    | Token::TimesAssign
                    | Token::DivideAssign
                    | Token::RemainderAssign
                    | Token::PlusPlus
                    | Token::MinusMinus
            )
    }

    /// Parses `in namespace`, if it comes next.
    fn place(&mut self, directive: Directive) -> Result<AssignPlace, Raised> {
        let start = self.next.start;
        if self.next.token == Token::Name("in") {
            self.bump();
            let namespace = self.expression()?;
            if directive != Directive::Assign {
                return self.error_at(start, "Cannot assign to namespace here.");
            }
            return Ok(AssignPlace::In(namespace));
        }
        Ok(match directive {
            Directive::Global => AssignPlace::Global,
            Directive::Local => AssignPlace::Local,
            _ => AssignPlace::Namespace,
        })
    }

    fn assignment(&mut self, target: Target, start: usize) -> Result<Assignment, Raised> {
        let one = || -> Expr {
            Expr { kind: crate::ast::ExprKind::Number(crate::number::Number::Int(1)), span: self.next_span() }
        };
        let postfix = matches!(self.next.token, Token::PlusPlus | Token::MinusMinus);
        let (op, value) = match self.next.token {
            Token::PlusPlus => (BinaryOp::Add, Some(one())),
            Token::MinusMinus => (BinaryOp::Subtract, Some(one())),
            Token::PlusAssign => (BinaryOp::Add, None),
            Token::MinusAssign => (BinaryOp::Subtract, None),
            Token::TimesAssign => (BinaryOp::Multiply, None),
            Token::DivideAssign => (BinaryOp::Divide, None),
            Token::RemainderAssign => (BinaryOp::Remainder, None),
            Token::Assign => {
                self.bump();
                let value = self.expression()?;
                let span = self.span(start, start).to(value.span);
                return Ok(Assignment { target, op: AssignOp::Set, value, span });
            }
            _ => return self.unexpected("\"=\""),
        };
        let operator = self.bump();
        let (value, end) = match value {
            Some(value) => (value, self.span(operator.end, operator.end)),
            None => {
                let value = self.expression()?;
                let end = value.span;
                (value, end)
            }
        };
        let span = self.span(start, start).to(end);
        Ok(Assignment { target, op: if postfix { AssignOp::Step(op) } else { AssignOp::Change(op) }, value, span })
    }

    fn capture(&mut self, directive: Directive, target: Target, found: Found<'p>) -> Result<ElementKind, Raised> {
        let place = self.place(directive)?;
        self.end_tag(false)?;
        self.open_outline(Kind::Closed, found.start);
        let escaping = self.state.escaping;
        let (body, stop) = self.body("#assign or #local or #global", &["/assign", "/local", "/global"])?;
        let wanted = match directive {
            Directive::Global => "/global",
            Directive::Local => "/local",
            _ => "/assign",
        };
        if stop.name != wanted {
            return self.error_at(stop.found.map_or(self.pos, |tag| tag.start), "Mismatched assignment tags.");
        }
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Capture(Box::new(Capture { target, place, body, escaping })))
    }
}
