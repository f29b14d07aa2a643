//! What directives and expressions are made of.

use crate::ast::{AssignPlace, Block, CallArgs, Element, ElementKind, Expr, ExprKind, Piece};

/// Calls `each` with the expressions that stand in a directive's own tags.
pub(crate) fn each_expr<'e>(element: &'e Element, each: &mut dyn FnMut(&'e Expr)) {
    match &element.kind {
        ElementKind::Output { value, .. }
        | ElementKind::NumberOutput { value, .. }
        | ElementKind::Setting { value, .. }
        | ElementKind::Stop(Some(value))
        | ElementKind::Return(Some(value)) => each(value),
        ElementKind::If(branches) => branches.iter().filter_map(|branch| branch.condition.as_ref()).for_each(each),
        ElementKind::List(list) => each(&list.source),
        ElementKind::Assign(assignments) => {
            if let AssignPlace::In(namespace) = &assignments.place {
                each(namespace);
            }
            assignments.items.iter().for_each(|assignment| each(&assignment.value));
        }
        ElementKind::Switch(switch) => {
            each(&switch.value);
            switch.cases.iter().flat_map(|case| &case.values).for_each(each);
        }
        ElementKind::Call(call) => {
            each(&call.callee);
            match &call.args {
                CallArgs::Positional(args) => args.iter().for_each(each),
                CallArgs::Named(args) => args.iter().for_each(|(_, arg)| each(arg)),
            }
        }
        ElementKind::Nested(values) => values.iter().for_each(each),
        ElementKind::Include(include) => {
            each(&include.name);
            [&include.parse, &include.encoding, &include.ignore_missing].into_iter().flatten().for_each(each);
        }
        ElementKind::Import(import) => each(&import.name),
        _ => {}
    }
}

/// Calls `each` with the blocks in a directive.
pub(crate) fn each_block<'e>(element: &'e Element, each: &mut dyn FnMut(&'e Block)) {
    match &element.kind {
        ElementKind::If(branches) => branches.iter().for_each(|branch| each(&branch.body)),
        ElementKind::List(list) => {
            each(&list.body);
            list.otherwise.iter().for_each(each);
        }
        ElementKind::Items(items) => each(&items.body),
        ElementKind::Sep { body, .. } | ElementKind::Compress(body) | ElementKind::Plain(body) => each(body),
        ElementKind::Capture(capture) => each(&capture.body),
        ElementKind::Switch(switch) => switch.cases.iter().for_each(|case| each(&case.body)),
        ElementKind::Call(call) => call.content.iter().for_each(each),
        ElementKind::Attempt(attempt) => {
            each(&attempt.body);
            each(&attempt.recover);
        }
        _ => {}
    }
}

/// The expressions that an expression is made of.
pub(crate) fn parts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Template(pieces) => pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(_) => None,
                Piece::Output(value) | Piece::NumberOutput { value, .. } => Some(value),
            })
            .collect(),
        ExprKind::List(items) | ExprKind::And(items) | ExprKind::Or(items) => items.iter().collect(),
        ExprKind::Hash(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
        ExprKind::Range(range) => std::iter::once(&range.start).chain(&range.end).collect(),
        ExprKind::Dot(member) => vec![&member.target],
        ExprKind::Exists(target) | ExprKind::Not(target) | ExprKind::Group(target) => {
            vec![target]
        }
        ExprKind::Index(index) => vec![&index.0, &index.1],
        ExprKind::Call { callee, args } => std::iter::once(&**callee).chain(args).collect(),
        ExprKind::BuiltIn(call) => std::iter::once(&call.target).chain(&call.args).collect(),
        ExprKind::Default(default) => std::iter::once(&default.0).chain(&default.1).collect(),
        ExprKind::Sign { operand, .. } => vec![operand],
        ExprKind::Chain(chain) => {
            std::iter::once(&chain.first).chain(chain.rest.iter().map(|(_, operand)| operand)).collect()
        }
        ExprKind::Compare(comparison) => vec![&comparison.left, &comparison.right],
        ExprKind::Lambda(lambda) => vec![&lambda.body],
        ExprKind::String(_)
        | ExprKind::Number(_)
        | ExprKind::Bool(_)
        | ExprKind::Variable(_)
        | ExprKind::Special(_)
        | ExprKind::Held(_) => Vec::new(),
    }
}
