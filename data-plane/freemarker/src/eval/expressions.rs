//! Evaluating expressions.

use std::sync::Arc;

use super::Interp;
use super::arguments::Args;
use super::convert::number_fault;
use super::follow::Followed;
use crate::ast::{Expr, ExprKind, Piece};
use crate::callable::Kind;
use crate::error::{Place, Raised, limit, runtime};
use crate::markup::Markup;
use crate::model::{Hash, Map};
use crate::span::Span;
use crate::value::{Method, Text, Value};

impl<'r> Interp<'r> {
    /// Evaluates an expression; [`Value::Missing`] is left to who asked.
    pub(crate) fn eval(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match self.follow(expr)? {
            Followed::Node(node) => return Ok(Value::json(node)),
            Followed::Missing => return Ok(Value::Missing),
            Followed::Other => {}
        }
        self.meter.step().at(expr.span)?;
        match &expr.kind {
            ExprKind::String(text) => Ok(Value::String(Text::Borrowed(text))),
            ExprKind::Number(number) => Ok(Value::Number(number.clone())),
            ExprKind::Bool(flag) => Ok(Value::Bool(*flag)),
            ExprKind::Variable(variable) => Ok(self.variable(variable)),
            _ => {
                self.meter.enter().at(expr.span)?;
                let value = self.eval_nested(expr);
                self.meter.leave();
                value
            }
        }
    }

    fn eval_nested(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match &expr.kind {
            ExprKind::Dot(member) => self.dot(&member.target, &member.key),
            ExprKind::Index(index) => self.index(&index.0, &index.1),
            ExprKind::Call { callee, args } => self.call(callee, args),
            ExprKind::BuiltIn(call) => self.built_in(call, expr),
            ExprKind::Default(default) => {
                let value = self.forgiving(&default.0)?;
                match (&default.1, value.is_missing()) {
                    (_, false) => Ok(value),
                    (Some(fallback), true) => self.eval(fallback),
                    (None, true) => Ok(Value::Nothing { is_boolean: false }),
                }
            }
            ExprKind::Exists(target) => self.exists(target).map(Value::Bool),
            ExprKind::Not(operand) => Ok(Value::Bool(!self.condition(operand)?)),
            ExprKind::Sign { negative: true, operand } => {
                self.number(operand)?.negate().map(Value::Number).map_err(number_fault)
            }
            // of what is missing it is missing, too
            ExprKind::Sign { negative: false, operand } => match self.eval(operand)? {
                value @ (Value::Number(_) | Value::Missing) => Ok(value),
                other => Err(self.expected("number", &other, operand)),
            },
            ExprKind::Chain(chain) => self.chain(chain, expr.span),
            ExprKind::Compare(comparison) => self.comparison(comparison, expr.span),
            ExprKind::And(operands) => {
                for operand in operands {
                    if !self.condition(operand)? {
                        return Ok(Value::Bool(false));
                    }
                }
                Ok(Value::Bool(true))
            }
            ExprKind::Or(operands) => {
                for operand in operands {
                    if self.condition(operand)? {
                        return Ok(Value::Bool(true));
                    }
                }
                Ok(Value::Bool(false))
            }
            ExprKind::Group(inner) => self.eval(inner),
            ExprKind::Template(pieces) => self.pieces(pieces, expr.span),
            ExprKind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.present(item)?);
                }
                self.built_sequence(values)
            }
            ExprKind::Hash(entries) => self.hash(entries),
            ExprKind::Range(range) => self.range(range),
            ExprKind::Special(special) => self.special(*special),
            ExprKind::Held(place) => Ok(self.held(*place)),
            ExprKind::Lambda(_) => Err(runtime("a lambda can only be an argument of ?filter, ?map and the like")),
            ExprKind::String(_) | ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Variable(_) => self.eval(expr),
        }
    }

    /// `target??`
    pub(super) fn exists(&mut self, target: &'r Expr) -> Result<bool, Raised> {
        match self.follow(target)? {
            Followed::Node(node) => Ok(!node.is_null()),
            Followed::Missing => Ok(false),
            Followed::Other => Ok(!self.forgiving(target)?.is_missing()),
        }
    }

    /// Evaluates what `!` or `??` stands after: in parentheses, missing values on the way are
    /// forgiven too.
    pub(crate) fn forgiving(&mut self, target: &'r Expr) -> Result<Value<'r>, Raised> {
        if !matches!(target.kind, ExprKind::Group(_)) {
            return self.eval(target);
        }
        let mark = self.mark();
        match self.eval(target) {
            Err(fault) if fault.missing => {
                self.unwind(&mark);
                Ok(Value::Missing)
            }
            other => other,
        }
    }

    fn call(&mut self, callee: &'r Expr, args: &'r [Expr]) -> Result<Value<'r>, Raised> {
        match self.eval(callee)? {
            Value::Method(method) => {
                let values = self.values(args)?;
                self.call_method(method.as_ref(), &values)
            }
            Value::Callable(callable) => match &callable.0 {
                Kind::Macro(target) => self.call_function(*target, None, Args::Positional(args)),
                Kind::Bound(bound) => self.call_function(bound.target, Some(bound), Args::Positional(args)),
                Kind::Pass | Kind::Interpreted(_) | Kind::OptionalInclude(_) => {
                    Err(self.expected("method or function", &Value::Callable(callable.clone()), callee))
                }
                Kind::BuiltIn(waiting) => {
                    let values = self.values(args)?;
                    // what went wrong in it is the call's, wherever the built-in stands
                    self.call_waiting(waiting, &values).map_err(|mut fault| {
                        fault.span = fault.span.map(|_| callee.span);
                        fault.blamed = None;
                        fault
                    })
                }
                _ => {
                    let values = self.values(args)?;
                    self.call_with_values(&callable, &values)
                }
            },
            Value::Missing => Err(self.missing(callee)),
            // it can be called, too
            Value::Nothing { is_boolean: true } => self.values(args).map(|_| Value::Missing),
            other => Err(self.expected("method or function", &other, callee)),
        }
    }

    fn values(&mut self, exprs: &'r [Expr]) -> Result<Vec<Value<'r>>, Raised> {
        let mut values = Vec::with_capacity(exprs.len());
        for expr in exprs {
            values.push(self.eval(expr)?);
        }
        Ok(values)
    }

    /// Calls a method of the host; what it makes counts as built by the template.
    pub(crate) fn call_method(&mut self, method: &dyn Method, args: &[Value<'r>]) -> Result<Value<'r>, Raised> {
        self.meter.steps(10)?;
        let value = method.call(args).map_err(runtime)?;
        if let Value::String(Text::Owned(text)) = &value {
            self.meter.scan(text.len())?;
            self.meter.value(text.len())?;
        }
        Ok(value)
    }

    fn pieces(&mut self, pieces: &'r [Piece], span: Span) -> Result<Value<'r>, Raised> {
        let mut out = String::new();
        // a part that is markup makes all of it markup
        let mut markup: Option<Arc<Markup<'r>>> = None;
        for piece in pieces {
            let text: Text<'r> = match piece {
                Piece::Text(text) => Text::Borrowed(text),
                Piece::Output(expr) => match self.eval(expr)? {
                    Value::Markup(part) => {
                        let left = match markup.take() {
                            Some(left) => left,
                            None if out.is_empty() => {
                                markup = Some(part);
                                continue;
                            }
                            None => Arc::new(Self::from_plain(part.format, Text::from(std::mem::take(&mut out)))),
                        };
                        markup = self.joined(&left, &part, span)?;
                        continue;
                    }
                    value => self.text_of(value, expr)?,
                },
                Piece::NumberOutput { value, min_decimals, max_decimals } => {
                    Text::from(self.number_output(value, *min_decimals, *max_decimals)?)
                }
            };
            self.meter.value(text.len())?;
            match markup.take() {
                Some(left) => {
                    let right = Self::from_plain(left.format, text);
                    markup = self.joined(&left, &right, span)?;
                }
                None => out.push_str(&text),
            }
        }
        match markup {
            Some(markup) => Ok(Value::Markup(markup)),
            None => self.built(out),
        }
    }

    fn joined(&mut self, left: &Markup<'r>, right: &Markup<'r>, span: Span) -> Result<Option<Arc<Markup<'r>>>, Raised> {
        match self.join_markup(left, right, span)? {
            Value::Markup(markup) => Ok(Some(markup)),
            _ => Ok(None),
        }
    }

    fn hash(&mut self, entries: &'r [(Expr, Expr)]) -> Result<Value<'r>, Raised> {
        self.charge_items(2 * entries.len())?;
        let mut map = Map::default();
        for (key, value) in entries {
            let key = self.text(key)?;
            let value = self.present(value)?;
            map.insert(key, value).map_err(limit)?;
        }
        map.repeated = entries.len() - map.len();
        Ok(Value::Hash(Hash::Map(map.into())))
    }
}
