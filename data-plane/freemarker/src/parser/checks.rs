//! Literals where their type makes no sense are refused when parsing.

use super::Parser;
use crate::ast::{Expr, ExprKind};
use crate::error::{Raised, parse};

/// Types of literals.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    String,
    Number,
    Boolean,
    Sequence,
    Hash,
}

impl Literal {
    fn of(expr: &Expr) -> Option<Self> {
        Some(match expr.kind {
            ExprKind::String(_) | ExprKind::Template(_) => Literal::String,
            ExprKind::Number(_) => Literal::Number,
            ExprKind::Bool(_) => Literal::Boolean,
            ExprKind::List(_) => Literal::Sequence,
            ExprKind::Hash(_) => Literal::Hash,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Literal::String => "string",
            Literal::Number => "number",
            Literal::Boolean => "boolean",
            Literal::Sequence => "list",
            Literal::Hash => "hash",
        }
    }
}

impl Parser<'_, '_> {
    /// Refuses a literal of the types given.
    pub(super) fn refuse(&self, expr: &Expr, refused: &[Literal], expected: &str) -> Result<(), Raised> {
        match Literal::of(expr) {
            Some(literal) if refused.contains(&literal) && !self.is_replacement(expr) => {
                let shown = expr.span.text(self.state.source);
                let shown = if shown.chars().count() > 40 { "..." } else { shown };
                Err(parse(
                    expr.span,
                    format!(
                        "Found {} literal: {shown}. Expecting{} {expected}",
                        literal.name(),
                        if literal == Literal::String { ":" } else { "" }
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether it stands for the placeholder of an `#escape`, whose expression was looked at without it.
    fn is_replacement(&self, expr: &Expr) -> bool {
        self.state.placeholder.as_ref().is_some_and(|(_, replacement)| replacement.span == expr.span)
    }

    pub(super) fn only_number(&self, expr: &Expr) -> Result<(), Raised> {
        use Literal::{Boolean, Hash, Sequence, String};
        self.refuse(expr, &[String, Sequence, Hash, Boolean], "number")
    }

    pub(super) fn only_boolean(&self, expr: &Expr) -> Result<(), Raised> {
        use Literal::{Hash, Number, Sequence, String};
        self.refuse(expr, &[String, Sequence, Hash, Number], "boolean (true/false)")
    }

    pub(super) fn only_printable(&self, expr: &Expr) -> Result<(), Raised> {
        self.refuse(
            expr,
            &[Literal::Sequence, Literal::Hash],
            "string or something automatically convertible to string (number, date or boolean)",
        )
    }
}
