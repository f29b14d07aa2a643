//! Reading the text of a template as JSON: what is in strings, and where commas are left over.

use super::{Raw, Rule};
use crate::ast::{Block, Element, ElementKind, Expr, ExprKind, Local};
use crate::builtins::BuiltIn;
use crate::references::parts;
use crate::span::Span;
use crate::template::Inner;

pub(super) fn findings(inner: &Inner) -> Vec<Raw> {
    let mut reader = Reader { inner, found: Vec::new(), in_string: false, escaped: false, comma: None };
    if !reader.looks_like_json(&inner.parsed.body) {
        return Vec::new();
    }
    reader.block(&inner.parsed.body);
    reader.found
}

struct Reader<'t> {
    inner: &'t Inner,
    found: Vec<Raw>,
    in_string: bool,
    /// After a backslash in a string.
    escaped: bool,
    /// A comma after which nothing has come yet.
    comma: Option<Comma>,
}

#[derive(Clone, Copy)]
struct Comma {
    span: Span,
    /// It is at the end of what a list prints for each item.
    of_list: bool,
    /// It is in a block that may be left out.
    optional: bool,
}

impl<'t> Reader<'t> {
    /// Whether the first thing that the template prints opens an object or an array.
    fn looks_like_json(&self, block: &Block) -> bool {
        block.iter().find_map(|element| self.first_char(element)).is_some_and(|c| matches!(c, '{' | '['))
    }

    fn first_char(&self, element: &Element) -> Option<char> {
        match &element.kind {
            ElementKind::Text(id) => self.text(*id).trim_start().chars().next(),
            ElementKind::Compress(body) | ElementKind::Plain(body) => {
                body.iter().find_map(|element| self.first_char(element))
            }
            ElementKind::Output { .. } | ElementKind::NumberOutput { .. } | ElementKind::Call(_) => Some('$'),
            ElementKind::If(_) | ElementKind::List(_) | ElementKind::Switch(_) => Some('#'),
            _ => None,
        }
    }

    fn text(&self, id: u32) -> &'t str {
        self.inner.parsed.texts.get(id as usize).map_or("", |text| text)
    }

    fn block(&mut self, block: &Block) {
        for element in block {
            self.element(element);
        }
    }

    fn element(&mut self, element: &Element) {
        match &element.kind {
            ElementKind::Text(id) => self.read_text(self.text(*id), element.span),
            ElementKind::Output { value, .. } => {
                if self.in_string && !is_safe(value) {
                    let source = value.span.text(&self.inner.source);
                    self.found.push(Raw {
                        rule: Rule::UnescapedString,
                        message: format!("{source} is printed into a JSON string as it is"),
                        remedy: format!("write ${{({source})?json_string}}"),
                        span: value.span,
                    });
                }
                self.comma = None;
            }
            ElementKind::NumberOutput { .. } | ElementKind::Call(_) | ElementKind::Nested(_) => self.comma = None,
            ElementKind::Include(_) => self.comma = None,
            ElementKind::If(branches) => {
                let covers_all = branches.iter().any(|branch| branch.condition.is_none());
                let before = self.comma;
                self.branches(branches.iter().map(|branch| &branch.body), covers_all);
                // `<#if x?has_next>,</#if>` is a separator
                if branches.iter().filter_map(|branch| branch.condition.as_ref()).any(asks_for_next) {
                    self.comma = before;
                }
            }
            ElementKind::Switch(switch) => self.branches(switch.cases.iter().map(|case| &case.body), false),
            ElementKind::List(list) => {
                let before = self.state();
                self.comma = None;
                self.block(&list.body);
                let after = self.comma.map(|comma| Comma { of_list: true, optional: false, ..comma });
                self.restore(before);
                if let Some(otherwise) = &list.otherwise {
                    self.block(otherwise);
                    self.restore(before);
                }
                self.comma = after.or(before.2);
            }
            ElementKind::Items(items) => {
                self.block(&items.body);
                self.comma = self.comma.map(|comma| Comma { of_list: true, optional: false, ..comma });
            }
            // what separates comes only between items
            ElementKind::Sep { body, .. } => {
                let before = self.state();
                self.block(body);
                self.restore(before);
                self.comma = None;
            }
            ElementKind::Compress(body) | ElementKind::Plain(body) => self.block(body),
            ElementKind::Attempt(attempt) => self.block(&attempt.body),
            _ => {}
        }
    }

    fn branches<'b>(&mut self, bodies: impl Iterator<Item = &'b Block>, covers_all: bool) {
        let before = self.state();
        let mut left_over = None;
        for body in bodies {
            self.restore(before);
            self.block(body);
            let optional = !covers_all;
            left_over = left_over.or(self.comma.map(|comma| Comma { optional: comma.optional || optional, ..comma }));
        }
        if !covers_all {
            // nothing of it may be there
            left_over = left_over.or(before.2.map(|comma| Comma { optional: true, ..comma }));
        }
        let state = (before.0, before.1, left_over);
        self.restore(state);
    }

    fn state(&self) -> (bool, bool, Option<Comma>) {
        (self.in_string, self.escaped, self.comma)
    }

    fn restore(&mut self, state: (bool, bool, Option<Comma>)) {
        (self.in_string, self.escaped, self.comma) = state;
    }

    fn read_text(&mut self, text: &str, span: Span) {
        let source = span.text(&self.inner.source);
        let mut found_from = 0;
        for c in text.chars() {
            if self.in_string {
                match c {
                    _ if self.escaped => self.escaped = false,
                    '\\' => self.escaped = true,
                    '"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match c {
                '"' => {
                    self.in_string = true;
                    self.comma = None;
                }
                ',' => {
                    // stripping only takes white space away: the nth comma is the nth comma
                    let at = source.get(found_from..).and_then(|rest| rest.find(','));
                    let at = found_from + at.unwrap_or(0);
                    found_from = at + 1;
                    let start = span.start as usize + at;
                    self.comma = Some(Comma { span: Span::new(start, start + 1), of_list: false, optional: false });
                }
                '}' | ']' => {
                    if let Some(comma) = self.comma.take() {
                        self.left_over(comma);
                    }
                }
                c if c.is_whitespace() => {}
                _ => self.comma = None,
            }
        }
    }

    fn left_over(&mut self, comma: Comma) {
        let (message, remedy) = match (comma.of_list, comma.optional) {
            (true, _) => {
                ("the list prints a comma after its last item too", "print it between items only: <#sep>,</#sep>")
            }
            (false, true) => (
                "nothing follows this comma when the blocks after it are left out",
                "put the comma before the members that may be missing, or collect them in a sequence and join it",
            ),
            (false, false) => ("nothing follows this comma", "leave it out"),
        };
        self.found.push(Raw {
            rule: Rule::TrailingComma,
            message: message.to_owned(),
            remedy: remedy.to_owned(),
            span: comma.span,
        });
    }
}

/// Whether a condition is about items that are still to come.
fn asks_for_next(condition: &Expr) -> bool {
    match &condition.kind {
        ExprKind::BuiltIn(call) if matches!(call.which, BuiltIn::HasNext | BuiltIn::IsLast) => true,
        ExprKind::Variable(variable) => variable.locals.iter().any(|local| matches!(local, Local::LoopHasNext(_))),
        _ => parts(condition).into_iter().any(asks_for_next),
    }
}

/// Whether what an expression prints can stand in a JSON string.
fn is_safe(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Sign { .. } | ExprKind::Special(_) => true,
        ExprKind::String(text) => !text.contains(['"', '\\']) && !text.chars().any(char::is_control),
        ExprKind::Group(inner) => is_safe(inner),
        ExprKind::Default(default) => is_safe(&default.0) && default.1.as_ref().is_none_or(is_safe),
        ExprKind::Chain(chain) => is_safe(&chain.first) && chain.rest.iter().all(|(_, operand)| is_safe(operand)),
        ExprKind::BuiltIn(call) => match call.which {
            BuiltIn::Then | BuiltIn::Switch => call.args.iter().all(is_safe),
            BuiltIn::Default => is_safe(&call.target) && call.args.iter().all(is_safe),
            // numbers and dates in a format, and `?string` of what is safe
            BuiltIn::String => !call.args.is_empty() || is_safe(&call.target),
            BuiltIn::UpperCase | BuiltIn::LowerCase | BuiltIn::Trim | BuiltIn::Replace => is_safe(&call.target),
            BuiltIn::JsonString
            | BuiltIn::JsString
            | BuiltIn::Url
            | BuiltIn::UrlPath
            | BuiltIn::C
            | BuiltIn::Number
            | BuiltIn::Size
            | BuiltIn::Length
            | BuiltIn::Index
            | BuiltIn::Counter
            | BuiltIn::Round
            | BuiltIn::Floor
            | BuiltIn::Ceiling
            | BuiltIn::Abs
            | BuiltIn::Int
            | BuiltIn::Long
            | BuiltIn::Date
            | BuiltIn::Time
            | BuiltIn::Datetime
            | BuiltIn::NumberToDate
            | BuiltIn::NumberToTime
            | BuiltIn::NumberToDatetime
            | BuiltIn::ItemParity
            | BuiltIn::ItemParityCap
            | BuiltIn::LowerAbc
            | BuiltIn::UpperAbc
            | BuiltIn::IndexOf
            | BuiltIn::LastIndexOf
            | BuiltIn::Iso(_) => true,
            _ => false,
        },
        _ => false,
    }
}
