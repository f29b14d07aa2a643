//! Patterns that misread fractions of a second.

use super::{Raw, Rule};
use crate::ast::{Block, Element, ElementKind, Expr, ExprKind};
use crate::builtins::BuiltIn;
use crate::references::{each_block, each_expr, parts};
use crate::template::Inner;

pub(super) fn findings(inner: &Inner) -> Vec<Raw> {
    let mut found = Vec::new();
    block(&inner.parsed.body, &mut found);
    for definition in &inner.parsed.macros {
        for default in definition.params.iter().filter_map(|param| param.default.as_ref()) {
            expr(default, &mut found);
        }
        block(&definition.body, &mut found);
    }
    found
}

fn block(elements: &Block, found: &mut Vec<Raw>) {
    for element in elements {
        self::element(element, found);
    }
}

fn element(element: &Element, found: &mut Vec<Raw>) {
    if let ElementKind::Setting { name, value, .. } = &element.kind
        && matches!(&**name, "date_format" | "time_format" | "datetime_format")
    {
        pattern(value, found);
    }
    each_expr(element, &mut |value| expr(value, found));
    each_block(element, &mut |body| block(body, found));
}

fn expr(expression: &Expr, found: &mut Vec<Raw>) {
    if let ExprKind::BuiltIn(call) = &expression.kind
        && matches!(call.which, BuiltIn::Date | BuiltIn::Time | BuiltIn::Datetime)
        && let Some(arg) = call.args.first()
    {
        pattern(arg, found);
    }
    for part in parts(expression) {
        expr(part, found);
    }
}

fn pattern(arg: &Expr, found: &mut Vec<Raw>) {
    let ExprKind::String(text) = &arg.kind else { return };
    if !has_fraction(text) {
        return;
    }
    found.push(Raw {
        rule: Rule::FractionPattern,
        message: format!(
            "the pattern \"{text}\" reads every digit of the fraction as milliseconds: six of them add minutes"
        ),
        remedy:
            "cut the fraction to three digits before, as with ?replace(r'(\\.\\d{3})\\d+', '$1', 'r'), or drop it with \
                 ?keep_before_last(\".\") and leave it out of the pattern"
                .to_owned(),
        span: arg.span,
    });
}

/// Whether a pattern reads fractions of a second after a dot or comma.
fn has_fraction(pattern: &str) -> bool {
    let (mut quoted, mut before) = (false, ' ');
    for c in pattern.chars() {
        match c {
            '\'' => quoted = !quoted,
            'S' if !quoted && matches!(before, '.' | ',') => return true,
            _ => {}
        }
        before = c;
    }
    false
}
