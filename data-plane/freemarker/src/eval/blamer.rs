//! What an expression is to the directive or operator that it is part of: "condition", "left-hand
//! operand" and so on, for error messages.

use crate::ast::{AssignPlace, Element, ElementKind, Expr, ExprKind, Piece};
use crate::builtins::BuiltIn;
use crate::span::Span;

/// The directive or operator that the expression at `span` is part of, and as what.
pub(super) fn role_of(element: &Element, span: Span, source: &str) -> Option<String> {
    let mut search = Search { span, source, found: None };
    search.element(element);
    search.found
}

struct Search<'s> {
    span: Span,
    source: &'s str,
    found: Option<String>,
}

impl Search<'_> {
    fn element(&mut self, element: &Element) {
        match &element.kind {
            ElementKind::Output { value, .. } => self.part("${...}", "content", value),
            ElementKind::NumberOutput { value, .. } => self.part("#{...}", "content", value),
            ElementKind::If(branches) => {
                for (place, branch) in branches.iter().enumerate() {
                    if let Some(condition) = &branch.condition {
                        self.part(if place == 0 { "#if" } else { "#elseif" }, "condition", condition);
                    }
                }
            }
            ElementKind::List(list) => self.part("#list", "list source", &list.source),
            ElementKind::Assign(assignments) => {
                for assignment in &assignments.items {
                    self.part("#assign", "assignment source", &assignment.value);
                }
                if let AssignPlace::In(namespace) = &assignments.place {
                    self.part("#assign", "namespace", namespace);
                }
            }
            ElementKind::Setting { value, .. } => self.part("#setting", "item value", value),
            ElementKind::Switch(switch) => {
                self.part("#switch", "value", &switch.value);
                for value in switch.cases.iter().flat_map(|case| &case.values) {
                    self.part("#case", "condition", value);
                }
            }
            ElementKind::Stop(Some(message)) => self.part("#stop", "message", message),
            ElementKind::Call(call) => {
                self.part("@", "callee", &call.callee);
                match &call.args {
                    crate::ast::CallArgs::Positional(args) => self.parts("@", "argument value", args),
                    crate::ast::CallArgs::Named(args) => {
                        for (_, value) in args {
                            self.part("@", "argument value", value);
                        }
                    }
                }
            }
            ElementKind::Nested(values) => self.parts("#nested", "passed value", values),
            ElementKind::Return(Some(value)) => self.part("#return", "value", value),
            ElementKind::Include(include) => {
                self.part("#include", "template name", &include.name);
                let options = [&include.parse, &include.encoding, &include.ignore_missing];
                for option in options.into_iter().flatten() {
                    self.part("#include", "parameter", option);
                }
            }
            ElementKind::Import(import) => self.part("#import", "template name", &import.name),
            _ => {}
        }
    }

    fn part(&mut self, whole: &str, role: &str, expr: &Expr) {
        if self.found.is_some() {
            return;
        }
        if expr.span == self.span {
            let quote = if whole.contains('"') { '`' } else { '"' };
            self.found = Some(format!("{quote}{whole}{quote} {role}"));
            return;
        }
        self.expression(expr);
    }

    fn parts(&mut self, whole: &str, role: &str, exprs: &[Expr]) {
        for expr in exprs {
            self.part(whole, role, expr);
        }
    }

    fn expression(&mut self, expr: &Expr) {
        let (left, right) = ("left-hand operand", "right-hand operand");
        match &expr.kind {
            ExprKind::Dot(member) => self.part(".", left, &member.target),
            ExprKind::Index(index) => {
                self.part("...[...]", left, &index.0);
                self.part("...[...]", "enclosed operand", &index.1);
            }
            ExprKind::Call { callee, args } => {
                self.part("...(...)", "callee", callee);
                self.parts("...(...)", "argument value", args);
            }
            ExprKind::BuiltIn(call) => {
                // as it is written
                let after = self.source.get(call.target.span.end as usize..expr.span.end as usize);
                let name = after.and_then(|after| after.split('?').nth(1)).map(str::trim_start).unwrap_or_default();
                let len = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
                let at_parse_time = matches!(
                    call.which,
                    BuiltIn::Filter
                        | BuiltIn::Map
                        | BuiltIn::TakeWhile
                        | BuiltIn::DropWhile
                        | BuiltIn::Then
                        | BuiltIn::Switch
                );
                let args = if at_parse_time { "(...)" } else { "" };
                let name = format!("?{}{args}", name.get(..len).unwrap_or_default());
                self.part(&name, left, &call.target);
                self.parts(&name, "argument value", &call.args);
            }
            ExprKind::Default(default) => {
                self.part("...!...", left, &default.0);
                if let Some(fallback) = &default.1 {
                    self.part("...!...", right, fallback);
                }
            }
            ExprKind::Exists(target) => self.part("??", left, target),
            ExprKind::Not(operand) => self.part("!", right, operand),
            ExprKind::Sign { negative, operand } => self.part(if *negative { "-..." } else { "+..." }, right, operand),
            ExprKind::Chain(chain) => {
                let symbol = chain.rest.first().map_or("+", |(op, _)| op.symbol());
                self.part(symbol, left, &chain.first);
                let mut before = chain.first.span;
                for (op, operand) in &chain.rest {
                    // what was put together so far is the left side of the next operator
                    if self.found.is_none() && before == self.span {
                        self.found = Some(format!("\"{}\" {left}", op.symbol()));
                    }
                    self.part(op.symbol(), right, operand);
                    before = before.to(operand.span);
                }
            }
            ExprKind::Compare(comparison) => {
                self.part(comparison.op.symbol(), left, &comparison.left);
                self.part(comparison.op.symbol(), right, &comparison.right);
            }
            ExprKind::And(operands) | ExprKind::Or(operands) => {
                let symbol = if matches!(expr.kind, ExprKind::And(_)) { "&&" } else { "||" };
                for (place, operand) in operands.iter().enumerate() {
                    self.part(symbol, if place == 0 { left } else { right }, operand);
                }
            }
            ExprKind::Group(inner) => self.part("(...)", "enclosed operand", inner),
            ExprKind::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(_) => {}
                        Piece::Output(value) | Piece::NumberOutput { value, .. } => {
                            self.part("dynamic \"...\"", "value part", value);
                        }
                    }
                }
            }
            ExprKind::List(items) => self.parts("[...]", "item value", items),
            ExprKind::Hash(entries) => {
                for (key, value) in entries {
                    self.part("{...}", "item key", key);
                    self.part("{...}", "item value", value);
                }
            }
            ExprKind::Range(range) => {
                self.part("..", left, &range.start);
                if let Some(end) = &range.end {
                    self.part("..", right, end);
                }
            }
            ExprKind::Lambda(lambda) => self.part("->", "value", &lambda.body),
            ExprKind::String(_)
            | ExprKind::Number(_)
            | ExprKind::Bool(_)
            | ExprKind::Variable(_)
            | ExprKind::Special(_)
            | ExprKind::Held(_) => {}
        }
    }
}
