//! `a.b.c` in JSON data, without a value for each step: most of what templates do.

use super::Interp;
use super::access::member_steps;
use crate::ast::{Expr, ExprKind, Member};
use crate::error::{Place, Raised};
use crate::json::{Kind, Node};
use crate::model::Hash;
use crate::value::Value;

use super::variables::Stored;

/// Where a chain of names leads to.
pub(crate) enum Followed<'r> {
    /// To this, which may be `null`.
    Node(Node<'r>),
    /// To a member that an object has not.
    Missing,
    /// The expression is no such chain, or leads through something else than objects; nothing has
    /// been counted.
    Other,
}

/// What following a chain of names costs: as much as evaluating it step by step.
#[derive(Default)]
struct Cost {
    steps: u64,
    levels: u32,
}

impl<'r> Interp<'r> {
    /// Follows a chain of names.
    #[inline(always)]
    pub(crate) fn follow(&mut self, expr: &'r Expr) -> Result<Followed<'r>, Raised> {
        match &expr.kind {
            ExprKind::Dot(member) => self.follow_to(member).at(expr.span),
            _ => Ok(Followed::Other),
        }
    }

    #[inline(never)]
    fn follow_to(&mut self, member: &'r Member) -> Result<Followed<'r>, Raised> {
        let mut cost = Cost { steps: 1, levels: 1 };
        let Some(object) = self.object_of(&member.target, &mut cost) else { return Ok(Followed::Other) };
        if !self.meter.has_levels(cost.levels) {
            // evaluated step by step it fails at the right place
            return Ok(Followed::Other);
        }
        self.meter.steps(cost.steps + member_steps(object))?;
        Ok(match object.get_again(&member.key) {
            Some(node) => Followed::Node(node),
            None => Followed::Missing,
        })
    }

    /// The JSON object that an expression has as its value, if it is a chain of names.
    fn object_of(&self, expr: &'r Expr, cost: &mut Cost) -> Option<Node<'r>> {
        cost.steps += 1;
        match &expr.kind {
            ExprKind::Variable(variable) => match self.stored(variable) {
                Stored::At(Value::Hash(Hash::Json(node))) => Some(*node),
                _ => None,
            },
            ExprKind::Dot(member) => {
                cost.levels += 1;
                let object = self.object_of(&member.target, cost)?;
                cost.steps += member_steps(object);
                object.get_again(&member.key).filter(|node| node.kind() == Kind::Object)
            }
            _ => None,
        }
    }
}
