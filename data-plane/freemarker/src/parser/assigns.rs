//! `#assign`.

use super::Parser;
use crate::ast::{AssignOp, Assignment, BinaryOp, ElementKind, Expr, Target};
use crate::error::Raised;
use crate::lexer::text::Found;
use crate::lexer::token::Token;
use crate::outline::Kind;

impl<'p> Parser<'p, '_> {
    pub(super) fn target(&mut self) -> Result<Target, Raised> {
        let name = match self.next.token {
            Token::String(text) => {
                let start = self.next.start;
                let kind = self.string_literal(text, start)?;
                let crate::ast::ExprKind::String(name) = kind else {
                    return self.error_at(start, "the name of a variable can't have interpolations");
                };
                self.bump();
                name.into()
            }
            _ => self.name("the name of a variable")?,
        };
        Ok(Target { symbol: self.state.scope.symbol(&name) })
    }

    pub(super) fn assign_directive(&mut self, found: Found<'p>) -> Result<ElementKind, Raised> {
        let start = self.next.start;
        let target = self.target()?;
        if self.at_end() || self.next.token == Token::Name("in") {
            return self.capture(target, found);
        }
        let mut assignments = vec![self.assignment(target, start)?];
        while !self.at_end() {
            self.take(Token::Comma);
            if self.next.token == Token::Name("in") {
                break;
            }
            let start = self.next.start;
            let target = self.target()?;
            assignments.push(self.assignment(target, start)?);
        }
        if self.next.token == Token::Name("in") {
            return self.error_at(self.next.start, "this engine does not support assigning into a namespace");
        }
        self.end_tag(true)?;
        self.outline(Kind::Silent, found.start, self.pos);
        Ok(ElementKind::Assign(assignments.into()))
    }

    pub(super) fn assignment(&mut self, target: Target, start: usize) -> Result<Assignment, Raised> {
        let one = || -> Expr {
            Expr { kind: crate::ast::ExprKind::Number(crate::number::Number::Int(1)), span: self.next_span() }
        };
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
        Ok(Assignment { target, op: AssignOp::Change(op), value, span })
    }

    pub(super) fn capture(&mut self, target: Target, found: Found<'p>) -> Result<ElementKind, Raised> {
        if self.next.token == Token::Name("in") {
            return self.error_at(self.next.start, "this engine does not support assigning into a namespace");
        }
        self.end_tag(false)?;
        self.open_outline(Kind::Closed, found.start);
        let (body, stop) = self.body("assign", found, &["/assign"])?;
        self.end(&stop)?;
        self.close_outline(self.pos);
        Ok(ElementKind::Capture { target, body })
    }
}
