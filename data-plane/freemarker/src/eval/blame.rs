//! The errors of values that are missing or of the wrong type, as FreeMarker words them, and the
//! steps that led to an error.

use super::Interp;
use crate::ast::{Element, ElementKind, Expr, ExprKind, Macro};
use crate::error::{ErrorKind, Fault, Raised, StackFrame, runtime};
use crate::span::Span;
use crate::value::Value;

const TIP: &str = "If the failing expression is known to legally refer to something that's sometimes null or missing, \
                   either specify a default value like myOptionalVar!myDefault, or use \
                   <#if myOptionalVar??>when-present<#else>when-missing</#if>. (These only cover the last step of the \
                   expression; to cover the whole expression, use parenthesis: (myOptionalVar.foo)!myDefault, \
                   (myOptionalVar.foo)??";

const TIP_NO_DOLLAR: &str =
    "Variable references must not start with \"$\", unless the \"$\" is really part of the variable name.";

const TIP_AFTER_DOT: &str = "It's the step after the last dot that caused this error, not those before it.";

const TIP_BRACKETS: &str = "It's the final [] step that caused this error, not those before it.";

/// The longest stack trace that is kept.
const MAX_FRAMES: usize = 50;

impl<'r> Interp<'r> {
    /// An expression and where it is, as messages show it.
    pub(super) fn located(&self, span: Span) -> String {
        let template = self.template;
        let at = template.lines.position(&template.source, span.start);
        let source = span.text(&template.source).replace("\r\n", "\n").replace(['\n', '\r'], "\n    ");
        let place = match template.parsed.expression {
            Some(_) => "?eval-ed string".to_owned(),
            None => format!("template \"{}\"", template.name),
        };
        format!("{source}  [in {place} at line {}, column {}]", at.line, at.column)
    }

    /// An error that an expression is to blame for.
    pub(crate) fn blamed(&self, description: impl AsRef<str>, expr: &Expr, tips: &[&str]) -> Raised {
        self.blamed_at(description, expr.span, tips)
    }

    /// The same of an expression of which only the place is known.
    pub(super) fn blamed_at(&self, description: impl AsRef<str>, span: Span, tips: &[&str]) -> Raised {
        let description = description.as_ref().trim_end();
        let colon = if description.ends_with(':') { "" } else { "\nThe blamed expression:" };
        let mut message = format!("{description}{colon}\n==> {}", self.located(span));
        push_tips(&mut message, tips);
        runtime(message).at(span)
    }

    /// The error of an expression that has no value.
    pub(crate) fn missing(&self, expr: &Expr) -> Raised {
        let last_name = match &expr.kind {
            ExprKind::Variable(variable) => self.symbol_name(variable.symbol),
            ExprKind::Dot(member) => &member.key,
            _ => "",
        };
        let mut tips = Vec::new();
        match &expr.kind {
            _ if last_name.starts_with('$') => tips.push(TIP_NO_DOLLAR),
            ExprKind::Dot(member) => {
                tips.push(TIP_AFTER_DOT);
                match &*member.key {
                    "size" => tips.push("To query the size of a collection or map use ?size, like myList?size"),
                    "length" => tips.push("To query the length of a string use ?length, like myString?size"),
                    _ => {}
                }
            }
            ExprKind::Index(_) => tips.push(TIP_BRACKETS),
            _ => {}
        }
        tips.push(TIP);
        let mut fault = self.blamed("The following has evaluated to null or missing:", expr, &tips);
        fault.missing = true;
        fault
    }

    /// The error of a variable that `+=` and its like find no value in.
    pub(super) fn missing_target(&self, name: &str, scope: &str, operator: &str) -> Raised {
        let mut message = format!(
            "The target variable of the assignment, \"{name}\", was null or missing in the {scope}, and the \
             \"{operator}\" operator must get its value from there before assigning to it."
        );
        let tip = "If the target variable is known to be legally null or missing sometimes, instead of something like \
                   <#assign x += 1>, you could write <#if x??><#assign x += 1></#if> or <#assign x = (x!0) + 1>";
        let tips: &[&str] = if name.starts_with('$') { &[TIP_NO_DOLLAR, tip] } else { &[tip] };
        push_tips(&mut message, tips);
        let mut fault = runtime(message);
        fault.missing = true;
        fault
    }

    /// The error of a value of the wrong type.
    pub(crate) fn expected(&self, wanted: &str, value: &Value<'_>, expr: &Expr) -> Raised {
        self.expected_with(wanted, value, expr, &[])
    }

    pub(crate) fn expected_with(&self, wanted: &str, value: &Value<'_>, expr: &Expr, tips: &[&str]) -> Raised {
        if value.is_missing() {
            return self.missing(expr);
        }
        if let Some(problem) = value.lacks_charset().filter(|_| wanted.contains("string")) {
            return runtime(problem);
        }
        self.expected_at(wanted, value, expr.span, tips)
    }

    /// The same of an expression of which only the place is known.
    pub(super) fn expected_at(&self, wanted: &str, value: &Value<'_>, span: Span, tips: &[&str]) -> Raised {
        let description =
            format!("Expected {}, but this has evaluated to {}:", a_or_an(wanted), a_or_an(value.type_name()));
        let mut fault = self.blamed_at(description, span, tips);
        fault.blamed = Some(span);
        fault
    }

    /// The error of a built-in's argument of the wrong type.
    pub(crate) fn bad_argument(&self, built_in: &str, place: usize, wanted: &str, value: &Value<'_>) -> Raised {
        runtime(format!(
            "?{built_in}(...) expects {} as argument #{}, but received {}.",
            a_or_an(wanted),
            place + 1,
            a_or_an(value.type_name())
        ))
    }

    /// Settles the place of an error before its template is left.
    pub(super) fn sealed(&self, mut fault: Raised) -> Raised {
        let template = self.template;
        fault.seal(&template.name, &template.source, &template.lines);
        fault
    }

    /// Notes that an error passed a directive.
    #[cold]
    pub(super) fn traced(&self, fault: Raised, element: &'r Element) -> Raised {
        self.traced_at(fault, element, element.span)
    }

    /// The same of a part of a directive.
    #[cold]
    pub(super) fn traced_at(&self, fault: Raised, element: &'r Element, span: Span) -> Raised {
        let mut fault = fault;
        if let Some(span) = fault.blamed.take() {
            // the innermost directive tells what the expression is in it
            if let Some(part) = super::blamer::role_of(element, span, &self.template.source) {
                fault.message = format!("For {part}: {}", fault.message);
            }
        }
        let fault = fault.at(span);
        let shown = matches!(
            element.kind,
            ElementKind::Call(_) | ElementKind::Nested(_) | ElementKind::Include(_) | ElementKind::Import(_)
        );
        if !fault.stack.is_empty() && !shown {
            return fault;
        }
        self.with_step(fault, span, matches!(element.kind, ElementKind::Nested(_)))
    }

    /// The same of the definition of a macro that could not be called.
    pub(super) fn traced_at_definition(&self, fault: Raised, definition: &'r Macro) -> Raised {
        let fault = fault.at(definition.span);
        if fault.stack.is_empty() { self.with_step(fault, definition.span, false) } else { fault }
    }

    fn with_step(&self, mut fault: Raised, span: Span, nested: bool) -> Raised {
        if fault.stack.len() >= MAX_FRAMES || fault.kind == ErrorKind::Parse {
            return fault;
        }
        let template = self.template;
        let at = template.lines.position(&template.source, span.start);
        let follows_nested =
            fault.stack.last().is_some_and(|step| step.is_nested && step.description.starts_with("#nested"));
        // the code of a template that a macro includes is not the macro's
        let routine = self.frame().filter(|_| !self.ctx.outer_frame).map(|frame| frame.definition);
        let is_nested = !fault.stack.is_empty() && (nested || follows_nested);
        fault.stack.push(StackFrame {
            description: description(span.text(&template.source)),
            template: template.name.clone(),
            routine: routine.map(|definition| (definition.name.to_string(), definition.is_function)),
            line: at.line,
            column: at.column,
            is_nested,
        });
        fault
    }
}

fn push_tips(message: &mut String, tips: &[&str]) {
    if tips.is_empty() {
        return;
    }
    message.push('\n');
    for tip in tips {
        message.push_str("\n----\nTip: ");
        message.push_str(tip);
    }
    message.push_str("\n----");
}

/// A directive in one short line: its tag without the brackets.
fn description(source: &str) -> String {
    let tag = match source.chars().next() {
        Some('<' | '[') => {
            let end = tag_end(source);
            source.get(1..end).unwrap_or_default().trim_end_matches('/').trim_end()
        }
        _ => source,
    };
    let line = tag.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(37).collect();
    if short.len() < line.len() && line.chars().count() > 40 || line.len() < tag.len() {
        short.push_str("...");
    } else {
        short = line.to_owned();
    }
    short
}

/// Where the tag ends that `source` begins with; brackets in strings and parentheses don't end it.
fn tag_end(source: &str) -> usize {
    let (mut quote, mut depth) = (None, 0u32);
    let closer = if source.starts_with('[') { ']' } else { '>' };
    for (at, c) in source.char_indices().skip(1) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, c) if c == closer && depth == 0 => return at,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    source.len()
}

/// A name of a type with its article.
pub(crate) fn a_or_an(name: &str) -> String {
    if name.starts_with("a ") || name.starts_with("an ") {
        return name.to_owned();
    }
    let first = name.chars().next().unwrap_or_default().to_ascii_lowercase();
    let second = name.chars().nth(1).unwrap_or_default().to_ascii_lowercase();
    let article = match first {
        'a' | 'e' | 'i' => "an",
        'h' if name.starts_with("has") || name.starts_with("hi") => "a",
        'h' if name.starts_with("ht") => "an",
        'h' | 'u' | 'o' => "a(n)",
        'x' if !"aeiou".contains(second) => "an",
        _ => "a",
    };
    format!("{article} {name}")
}

impl Fault {
    /// Whether `#recover` and `!` may handle it.
    pub(super) fn can_be_handled(&self) -> bool {
        self.kind == ErrorKind::Runtime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_described_in_a_line() {
        assert_eq!(description("<#include \"a>b\">"), "#include \"a>b\"");
        assert_eq!(description("<@m a=1/>"), "@m a=1");
        assert_eq!(description("${x}"), "${x}");
        assert_eq!(description("<#if a\n  && b>"), "#if a...");
    }

    #[test]
    fn types_have_articles() {
        assert_eq!(a_or_an("extended_hash"), "an extended_hash");
        assert_eq!(a_or_an("hash"), "a hash");
        assert_eq!(a_or_an("string"), "a string");
    }
}
