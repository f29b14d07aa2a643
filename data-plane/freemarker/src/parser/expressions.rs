//! Operators, from the loosest to the tightest (FreeMarker manual: "Expressions / Operator
//! precedence").

use super::Parser;
use super::checks::Literal;
use crate::ast::{BinaryOp, Chain, CompareOp, Comparison, Expr, ExprKind, RangeExpr, RangeKind};
use crate::error::Raised;
use crate::lexer::token::{Token, lex};

impl Parser<'_, '_> {
    /// Parses an expression up to what cannot belong to it.
    pub(super) fn expression(&mut self) -> Result<Expr, Raised> {
        self.nested(|parser| parser.or())
    }

    fn or(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let first = self.and()?;
        if self.next.token != Token::Or {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(Token::Or) {
            let operand = self.and()?;
            if let [first] = operands.as_slice() {
                self.only_boolean(first)?;
            }
            self.only_boolean(&operand)?;
            operands.push(operand);
        }
        self.logical(start, operands, ExprKind::Or)
    }

    fn and(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let first = self.equality()?;
        if self.next.token != Token::And {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(Token::And) {
            let operand = self.equality()?;
            if let [first] = operands.as_slice() {
                self.only_boolean(first)?;
            }
            self.only_boolean(&operand)?;
            operands.push(operand);
        }
        self.logical(start, operands, ExprKind::And)
    }

    fn logical(
        &mut self,
        start: usize,
        operands: Vec<Expr>,
        kind: fn(Box<[Expr]>) -> ExprKind,
    ) -> Result<Expr, Raised> {
        let span = match (operands.first(), operands.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => self.next_span(),
        };
        Ok(self.spanning(start, Expr { kind: kind(operands.into()), span }))
    }

    fn equality(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let left = self.relational()?;
        let op = match self.next.token {
            Token::Assign | Token::Equal => CompareOp::Equal,
            Token::NotEqual => CompareOp::NotEqual,
            _ => return Ok(left),
        };
        self.bump();
        let right = self.relational()?;
        for literal in [Literal::Hash, Literal::Sequence] {
            self.refuse(&left, &[literal], "different type for equality check")?;
            self.refuse(&right, &[literal], "different type for equality check")?;
        }
        Ok(self.spanning(start, comparison(op, left, right)))
    }

    fn relational(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let left = self.range()?;
        let op = match self.next.token {
            Token::Greater | Token::GreaterOrEqual if self.at_end() => return Ok(left),
            Token::Greater | Token::GreaterWord => CompareOp::Greater,
            Token::GreaterOrEqual | Token::GreaterOrEqualWord => CompareOp::GreaterOrEqual,
            Token::Less => CompareOp::Less,
            Token::LessOrEqual => CompareOp::LessOrEqual,
            _ => return Ok(left),
        };
        self.bump();
        let right = self.range()?;
        for operand in [&left, &right] {
            self.refuse(
                operand,
                &[Literal::Sequence, Literal::Hash, Literal::String, Literal::Boolean],
                "number or date",
            )?;
        }
        Ok(self.spanning(start, comparison(op, left, right)))
    }

    fn range(&mut self) -> Result<Expr, Raised> {
        let at = self.next.start;
        let start = self.sum()?;
        let mut kind = match self.next.token {
            Token::DotDot => RangeKind::Inclusive,
            Token::DotDotLess => RangeKind::Exclusive,
            Token::DotDotStar => RangeKind::Counted,
            _ => return Ok(start),
        };
        let operator = self.bump();
        let end = if kind != RangeKind::Inclusive || self.begins_expression() {
            Some(self.sum()?)
        } else {
            kind = RangeKind::Endless;
            None
        };
        self.only_number(&start)?;
        let mut span = start.span.to(self.span(operator.start, operator.end));
        if let Some(end) = &end {
            self.only_number(end)?;
            span = span.to(end.span);
        }
        Ok(self.spanning(at, Expr { kind: ExprKind::Range(Box::new(RangeExpr { start, kind, end })), span }))
    }

    fn sum(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let first = self.product()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.next.token {
                Token::Plus => BinaryOp::Add,
                Token::Minus => BinaryOp::Subtract,
                _ => return Ok(self.chain(start, first, rest)),
            };
            self.bump();
            let operand = self.product()?;
            if op == BinaryOp::Subtract {
                if rest.is_empty() {
                    self.only_number(&first)?;
                }
                self.only_number(&operand)?;
            }
            rest.push((op, operand));
        }
    }

    fn product(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        let first = self.unary()?;
        let mut rest = Vec::new();
        loop {
            let op = match self.next.token {
                Token::Divide if self.at_any_empty_end() => return Ok(self.chain(start, first, rest)),
                Token::Times => BinaryOp::Multiply,
                Token::Divide => BinaryOp::Divide,
                Token::Remainder => BinaryOp::Remainder,
                _ => return Ok(self.chain(start, first, rest)),
            };
            self.bump();
            let operand = self.unary()?;
            if rest.is_empty() {
                self.only_number(&first)?;
            }
            self.only_number(&operand)?;
            rest.push((op, operand));
        }
    }

    fn unary(&mut self) -> Result<Expr, Raised> {
        let start = self.next.start;
        match self.next.token {
            Token::Plus | Token::Minus => {
                let negative = self.bump().token == Token::Minus;
                let operand = Box::new(self.primary()?);
                let span = self.span(start, start).to(operand.span);
                Ok(Expr { kind: ExprKind::Sign { negative, operand }, span })
            }
            Token::Exclamation => {
                self.bump();
                // a row of exclamation marks nests
                let operand = Box::new(match self.next.token {
                    Token::Exclamation => self.nested(|parser| parser.unary())?,
                    _ => self.primary()?,
                });
                let span = self.span(start, start).to(operand.span);
                Ok(Expr { kind: ExprKind::Not(operand), span })
            }
            _ => self.primary(),
        }
    }

    fn chain(&self, start: usize, first: Expr, rest: Vec<(BinaryOp, Expr)>) -> Expr {
        let Some((_, last)) = rest.last() else { return first };
        let span = first.span.to(last.span);
        self.spanning(start, Expr { kind: ExprKind::Chain(Box::new(Chain { first, rest: rest.into() })), span })
    }

    /// Whether what comes next can only be an expression, judged by its first token.
    pub(super) fn starts_expression(&self) -> bool {
        matches!(self.next.token, Token::Plus | Token::Minus | Token::Exclamation) || self.begins_expression()
    }

    /// Whether an expression comes next, judged by its first tokens.
    pub(super) fn begins_expression(&self) -> bool {
        let mut token = self.next;
        match token.token {
            Token::Plus | Token::Minus => token = lex(self.text, token.end),
            _ => {
                while token.token == Token::Exclamation {
                    token = lex(self.text, token.end);
                }
            }
        }
        match token.token {
            Token::Name(name) => !matches!(name, "as" | "in" | "using"),
            Token::Integer(_)
            | Token::Decimal(_)
            | Token::String(_)
            | Token::Dot
            | Token::BracketOpen
            | Token::ParenOpen
            | Token::BraceOpen => true,
            // so that the error is about the literal
            Token::BadEscape(_) | Token::Unclosed(_) | Token::Interpolation(_) => true,
            _ => false,
        }
    }
}

fn comparison(op: CompareOp, left: Expr, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    Expr { kind: ExprKind::Compare(Box::new(Comparison { op, left, right })), span }
}
