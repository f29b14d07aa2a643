//! Expressions whose value is known when a template is parsed: the parameters of `#ftl` and `#outputformat`.

use std::cmp::Ordering;

use crate::ast::{BinaryOp, CompareOp, Comparison, Expr, ExprKind};
use crate::number::Number;

/// What such an expression comes to, as far as anybody asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
    Sequence,
    Hash,
}

/// The value of an expression that needs no variables, settings or built-ins.
pub(super) fn constant(expr: &Expr) -> Option<Constant> {
    Some(match &expr.kind {
        ExprKind::String(text) => Constant::Text(text.clone()),
        ExprKind::Number(number) => Constant::Number(number.clone()),
        ExprKind::Bool(value) => Constant::Bool(*value),
        ExprKind::List(items) => {
            items.iter().try_for_each(|item| constant(item).map(drop))?;
            Constant::Sequence
        }
        ExprKind::Hash(entries) => {
            for (key, value) in entries {
                constant(key)?;
                constant(value)?;
            }
            Constant::Hash
        }
        ExprKind::Range(range) => {
            number(&range.start)?;
            if let Some(end) = &range.end {
                number(end)?;
            }
            Constant::Sequence
        }
        ExprKind::Group(inner) => constant(inner)?,
        ExprKind::Exists(operand) => {
            constant(operand)?;
            Constant::Bool(true)
        }
        ExprKind::Not(operand) => Constant::Bool(!boolean(operand)?),
        ExprKind::Sign { negative, operand } => {
            let number = number(operand)?;
            Constant::Number(if *negative { number.negate().ok()? } else { number })
        }
        ExprKind::Chain(chain) => {
            let first = constant(&chain.first)?;
            chain.rest.iter().try_fold(first, |left, (op, right)| operate(*op, left, constant(right)?))?
        }
        ExprKind::Compare(comparison) => Constant::Bool(compare(comparison)?),
        // what comes after the operand that decides is not looked at
        ExprKind::And(operands) => first_that_is(operands, false)?,
        ExprKind::Or(operands) => first_that_is(operands, true)?,
        _ => return None,
    })
}

fn number(expr: &Expr) -> Option<Number> {
    match constant(expr)? {
        Constant::Number(number) => Some(number),
        _ => None,
    }
}

fn boolean(expr: &Expr) -> Option<bool> {
    match constant(expr)? {
        Constant::Bool(value) => Some(value),
        _ => None,
    }
}

fn first_that_is(operands: &[Expr], decides: bool) -> Option<Constant> {
    for operand in operands {
        if boolean(operand)? == decides {
            return Some(Constant::Bool(decides));
        }
    }
    Some(Constant::Bool(!decides))
}

fn operate(op: BinaryOp, left: Constant, right: Constant) -> Option<Constant> {
    Some(match (op, left, right) {
        (_, Constant::Number(left), Constant::Number(right)) => {
            let result = match op {
                BinaryOp::Add => left.add(&right),
                BinaryOp::Subtract => left.subtract(&right),
                BinaryOp::Multiply => left.multiply(&right),
                BinaryOp::Divide => left.divide(&right),
                BinaryOp::Remainder => left.remainder(&right),
            };
            Constant::Number(result.ok()?)
        }
        (BinaryOp::Add, Constant::Text(left), Constant::Text(right)) => {
            Constant::Text((left.into_string() + &right).into())
        }
        (BinaryOp::Add, Constant::Sequence, Constant::Sequence) => Constant::Sequence,
        _ => return None,
    })
}

/// Strings are compared by the rules of a locale, which there is none of yet.
fn compare(comparison: &Comparison) -> Option<bool> {
    let ordering = match (constant(&comparison.left)?, constant(&comparison.right)?, comparison.op) {
        (Constant::Number(left), Constant::Number(right), _) => left.compare(&right),
        (Constant::Bool(left), Constant::Bool(right), CompareOp::Equal | CompareOp::NotEqual) => left.cmp(&right),
        _ => return None,
    };
    Some(match comparison.op {
        CompareOp::Equal => ordering == Ordering::Equal,
        CompareOp::NotEqual => ordering != Ordering::Equal,
        CompareOp::Less => ordering == Ordering::Less,
        CompareOp::LessOrEqual => ordering != Ordering::Greater,
        CompareOp::Greater => ordering == Ordering::Greater,
        CompareOp::GreaterOrEqual => ordering != Ordering::Less,
    })
}
