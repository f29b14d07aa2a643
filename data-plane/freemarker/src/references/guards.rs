//! What conditions prove to be there.

use super::path::Path;
use super::walk::Walker;
use crate::ast::{Expr, ExprKind};
use crate::builtins::BuiltIn;

impl Walker<'_> {
    /// The paths that have a value when a condition holds, or when it does not.
    pub(super) fn proved(&self, condition: &Expr, holds: bool) -> Vec<Path> {
        match &condition.kind {
            ExprKind::Group(inner) => self.proved(inner, holds),
            ExprKind::Not(operand) => self.proved(operand, !holds),
            ExprKind::And(operands) if holds => {
                operands.iter().flat_map(|operand| self.proved(operand, true)).collect()
            }
            ExprKind::Or(operands) if !holds => {
                operands.iter().flat_map(|operand| self.proved(operand, false)).collect()
            }
            ExprKind::Exists(target) if holds => self.path_of(target).into_iter().collect(),
            ExprKind::BuiltIn(call) if holds && matches!(call.which, BuiltIn::HasContent | BuiltIn::Exists) => {
                self.path_of(&call.target).into_iter().collect()
            }
            // a value that compares is there
            ExprKind::Compare(comparison) if holds => [&comparison.left, &comparison.right]
                .into_iter()
                .filter(|operand| !has_default(operand))
                .filter_map(|operand| self.path_of(operand))
                .collect(),
            _ => Vec::new(),
        }
    }
}

fn has_default(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Group(inner) => has_default(inner),
        ExprKind::Default(_) => true,
        ExprKind::BuiltIn(call) => has_default(&call.target),
        _ => false,
    }
}
