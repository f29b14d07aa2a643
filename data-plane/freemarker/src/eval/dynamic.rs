//! Built-ins that run templates or change how macros are called: `?interpret`, `?eval` and others.

use std::sync::Arc;

use super::frames::Context;
use super::{Flow, Interp};
use crate::ast::{BuiltInCall, Expr};
use crate::builtins::BuiltIn;
use crate::callable::{Bound, BoundArgs, BoundMethod, Callable, Kind, Layer, Scope};
use crate::error::{ErrorKind, Fault, Raised, limit, runtime};
use crate::json::{Document, Kind as JsonKind, Node};
use crate::limits::{MAX_NESTING, MAX_VALUE_DEPTH};
use crate::model::{Hash, Map};
use crate::output_format::Escaping;
use crate::parser::{parse, parse_expression, parse_leading_expression, parse_plain};
use crate::template::Inner;
use crate::template_name;
use crate::value::{Text, Value};

/// What a template of a text costs at least, in bytes, for each byte of its text.
const TREE_BYTES: usize = 24;

/// What a value of a JSON text takes while it is read, in bytes.
const READ_BYTES: usize = 64;

/// How deep a template that is made while rendering may nest at least.
const LEAST_NESTING: u32 = 12;

impl<'r> Interp<'r> {
    pub(crate) fn evaluator_built_in(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match call.which {
            BuiltIn::Interpret => self.interpret(call, expr),
            BuiltIn::Eval => self.eval_text(call, expr),
            BuiltIn::EvalJson => self.eval_json(call, expr),
            BuiltIn::Esc | BuiltIn::NoEsc => {
                let value = self.eval(&call.target)?;
                let escape = call.which == BuiltIn::Esc;
                self.escaped_value(value, &call.target, call.escaping.format, escape)
            }
            BuiltIn::MarkupString => match self.eval(&call.target)? {
                Value::Markup(markup) => {
                    self.meter.value(markup.size())?;
                    Ok(Value::String(markup.text()))
                }
                Value::Missing => Err(self.missing(&call.target)),
                other => Err(self.expected("markup output", &other, &call.target)),
            },
            BuiltIn::Namespace => match self.eval(&call.target)? {
                Value::Callable(callable) if callable.target().is_some() => {
                    let namespace = callable.target().map_or(0, |target| target.namespace);
                    Ok(Value::Scope(Scope(Layer::Namespace(namespace))))
                }
                Value::Missing => Err(self.missing(&call.target)),
                other => Err(self.expected("macro or function", &other, &call.target)),
            },
            BuiltIn::AbsoluteTemplateName => {
                let name = self.text(&call.target)?;
                let base = match call.args.first() {
                    Some(base) => match self.value(base)? {
                        Value::String(base) => base,
                        Value::Nothing { .. } => Text::Borrowed(""),
                        other => return Err(self.bad_argument(call.which.name(), 0, "string", &other)),
                    },
                    None => Text::Borrowed(self.template.name.as_str()),
                };
                let full = template_name::join(&base, &name);
                let absolute = if full.contains("://") || full.starts_with('/') { full } else { format!("/{full}") };
                self.built(absolute)
            }
            _ => self.with_args(call),
        }
    }

    // ?with_args

    fn with_args(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let last = call.which == BuiltIn::WithArgsLast;
        let name = call.which.name();
        let target = self.eval(&call.target)?;
        let Some(arg) = call.args.first() else {
            return Err(runtime(format!("?{name} needs an argument")));
        };
        let args = self.value(arg)?;
        let wrong = |args: &Value<'_>| {
            runtime(format!(
                "?{name}(...) expects an extended hash or sequence as argument #1, but received {}.",
                super::blame::a_or_an(args.type_name())
            ))
        };
        match target {
            Value::Callable(callable) if callable.target().is_some() => {
                let Some(target) = callable.target() else { return Ok(Value::Missing) };
                let args = match args {
                    Value::Sequence(items) => BoundArgs::Positional(self.laid_out(&items)?),
                    Value::Hash(_) if target.definition.is_function => {
                        return Err(runtime(format!(
                            "When applied on a function, ?{name} can't have a hash argument. Use a sequence argument."
                        )));
                    }
                    Value::Hash(hash) => {
                        self.charge_items(2 * hash.len())?;
                        BoundArgs::Named((0..hash.len()).filter_map(|place| hash.entry(place)).collect())
                    }
                    other => return Err(wrong(&other)),
                };
                Ok(Value::Callable(Callable(Kind::Bound(Arc::new(Bound { target, args, last })))))
            }
            Value::Method(method) => match args {
                Value::Sequence(items) => {
                    let args = self.laid_out(&items)?;
                    let bound = BoundMethod { method, args, last };
                    Ok(Value::Callable(Callable(Kind::BoundMethod(Arc::new(bound)))))
                }
                Value::Hash(_) => Err(runtime(format!(
                    "When applied on a method, ?{name} can't have a hash argument. Use a sequence argument."
                ))),
                other => Err(wrong(&other)),
            },
            Value::Missing => Err(self.missing(&call.target)),
            other => Err(self.expected("macro, function, directive, or method", &other, &call.target)),
        }
    }

    // ?interpret

    fn interpret(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let (source, id) = match self.value(&call.target)? {
            Value::Sequence(parts) => {
                let Some(first) = parts.get(0) else { return Err(self.missing(&call.target)) };
                let source = self.text_of(first, &call.target)?;
                let id = match parts.get(1) {
                    Some(id) => self.text_of(id, &call.target)?,
                    None => Text::Borrowed("anonymous_interpreted"),
                };
                (source, id)
            }
            Value::String(source) => (source, Text::Borrowed("anonymous_interpreted")),
            other => return Err(self.expected("sequence or string", &other, &call.target)),
        };
        let name = format!("{}->{}", self.template.name, &*id);
        let made = self.make(name, &source, call.escaping, parse);
        let unit = made.map_err(|fault| {
            quoted(*fault, |message| {
                format!(
                    "Template parsing with \"?interpret\" has failed with this error:\n\n---begin-message---\n{message}\
                     \n---end-message---\n\nThe failed expression:\n==> {}",
                    self.located(expr.span)
                )
            })
            .at(expr.span)
        })?;
        Ok(Value::Callable(Callable(Kind::Interpreted(unit))))
    }

    /// Parses a text while rendering; gives the number of its template.
    fn make(
        &mut self,
        name: String,
        source: &str,
        escaping: Escaping,
        parse: fn(
            &str,
            &crate::span::Lines,
            crate::settings::Syntax,
            Escaping,
        ) -> Result<crate::parser::Parsed, Raised>,
    ) -> Result<u32, Raised> {
        self.meter.steps(50 + source.len() as u64 / 2)?;
        self.meter.value(1024 + source.len().saturating_mul(TREE_BYTES))?;
        let mut settings = self.main.settings.clone();
        // parsing nests on top of what is running
        settings.syntax.depth = (self.meter.depth() / 4).min(MAX_NESTING - LEAST_NESTING);
        let shown = name.clone();
        let inner = match Inner::parse(name, source.to_owned(), settings, escaping, parse) {
            Ok(inner) => inner,
            Err(mut fault) => {
                fault.seal(&shown, source, &crate::span::Lines::new(source));
                return Err(fault);
            }
        };
        let arena = self.arena;
        let Some(inner) = arena.keep(inner) else {
            return Err(limit(format!(
                "more than {} templates and expressions are made while rendering",
                super::arena::CAPACITY
            )));
        };
        self.load(inner)
    }

    /// A template that is a text as it is.
    pub(super) fn plain_unit(&mut self, name: &str, source: &str) -> Result<u32, Raised> {
        self.make(name.to_owned(), source, Escaping::default(), parse_plain)
    }

    pub(super) fn run_interpreted(&mut self, unit: u32) -> Result<Flow, Raised> {
        self.run_unit(unit).map_err(|fault| {
            if fault.kind == ErrorKind::Limit {
                return fault;
            }
            runtime(format!(
                "Template created with \"?interpret\" has stopped with this error:\n\n---begin-message---\n{}\
                 \n---end-message---",
                fault.with_stack()
            ))
        })
    }

    // ?eval

    fn eval_text(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let value = self.value(&call.target)?;
        let source = self.text_of(value, &call.target)?;
        let key = (source.to_string(), call.escaping);
        let unit = match self.evaluated.get(&key) {
            Some(unit) => {
                self.meter.scan(source.len())?;
                *unit
            }
            None => {
                let name = || self.template.name.clone();
                let made = match self.make(name(), &source, call.escaping, parse_expression) {
                    // FreeMarker puts the text into parentheses and reads no further than they hold: `1) + 2` is 3
                    Err(fault) if fault.kind == ErrorKind::Parse && source.contains(')') => {
                        let source = format!("({})", &*source);
                        self.make(name(), &source, call.escaping, parse_leading_expression).map_err(|_| fault)
                    }
                    made => made,
                };
                let unit = made.map_err(|fault| self.eval_failed(*fault, expr).at(expr.span))?;
                self.evaluated.insert(key, unit);
                unit
            }
        };
        let template = self.template_of(unit);
        let Some(expression) = &template.parsed.expression else { return Ok(Value::Missing) };
        self.meter.enter()?;
        self.meter.enter()?;
        let locals = self.open_locals(&template.parsed.sizes.frame);
        let ctx = Context {
            unit,
            base: locals.0,
            loop_base: locals.1,
            outer_scope: self.ctx.scope,
            outer_frame: self.ctx.frame > 0,
            ..self.ctx
        };
        let result = self.within(ctx, |interp| interp.eval(expression));
        // FreeMarker places these at the directive
        let value = result.map_err(|fault| self.eval_failed(*fault, expr))?;
        self.close_locals(locals);
        self.meter.leave();
        self.meter.leave();
        Ok(value)
    }

    fn eval_failed(&self, fault: Fault, expr: &Expr) -> Raised {
        quoted(fault, |message| {
            format!(
                "Failed to \"?eval\" string with this error:\n\n---begin-message---\n{message}\n---end-message---\n\n\
                 The failing expression:\n==> {}",
                self.located(expr.span)
            )
        })
    }

    // ?eval_json

    fn eval_json(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let value = self.value(&call.target)?;
        let source = self.text_of(value, &call.target)?;
        self.meter.steps(10 + source.len() as u64 / 16)?;
        let bare = without_comments(&source);
        let most = self.meter.value_bytes_left() / READ_BYTES;
        let document =
            Document::parse_some(bare.as_bytes(), MAX_VALUE_DEPTH as usize - 1, most).map_err(|problem| {
                if problem.is_limit() {
                    return limit(format!("?{} reads {problem}, which would take too much memory", call.which.name()));
                }
                runtime(format!(
                "Failed to \"?{}\" string with this error:\n\n---begin-message---\n{problem}\n---end-message---\n\nThe \
                 failing expression:\n==> {}",
                call.which.name(),
                self.located(expr.span)
            ))
            .at(expr.span)
            })?;
        self.owned(document.root())
    }

    /// A copy of a JSON value that needs its document no more.
    fn owned(&mut self, node: Node<'_>) -> Result<Value<'r>, Raised> {
        Ok(match node.kind() {
            JsonKind::Null => Value::Missing,
            JsonKind::String => self.built(node.as_str().unwrap_or_default().to_owned())?,
            JsonKind::Bool => Value::Bool(node.as_bool().unwrap_or_default()),
            JsonKind::Number => match Value::json(node) {
                Value::Number(number) => Value::Number(number),
                _ => self.built(node.number_text().unwrap_or_default().to_owned())?,
            },
            JsonKind::Array => {
                self.charge_items(node.len())?;
                let mut items = Vec::with_capacity(node.len());
                for item in node.items() {
                    items.push(self.owned(item)?);
                }
                Value::sequence(items).map_err(limit)?
            }
            JsonKind::Object => {
                self.charge_items(2 * node.len())?;
                let mut map = Map::default();
                for (key, value) in node.members() {
                    self.meter.value(key.len())?;
                    map.insert(Text::from(key.to_owned()), self.owned(value)?).map_err(limit)?;
                }
                Value::Hash(Hash::Map(map.into()))
            }
        })
    }
}

/// An error that quotes another one.
fn quoted(fault: Fault, message: impl FnOnce(&str) -> String) -> Raised {
    if fault.kind == ErrorKind::Limit {
        return Box::new(fault);
    }
    let shown = match (&fault.placed, fault.kind) {
        (Some(placed), ErrorKind::Parse) => placed.syntax_error(&fault.message),
        _ => fault.message,
    };
    runtime(message(&shown))
}

/// FreeMarker's JSON may have comments.
fn without_comments(json: &str) -> std::borrow::Cow<'_, str> {
    if !json.contains("/*") && !json.contains("//") {
        return json.into();
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(['"', '/']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = if from.starts_with("/*") {
            from.find("*/").map_or(from.len(), |end| end + 2)
        } else if from.starts_with("//") {
            from.find(['\n', '\r']).unwrap_or(from.len())
        } else {
            let len = if from.starts_with('"') { string_len(from) } else { 1 };
            out.push_str(from.get(..len).unwrap_or_default());
            rest = from.get(len..).unwrap_or_default();
            continue;
        };
        out.push(' ');
        rest = from.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    out.into()
}

fn string_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}
