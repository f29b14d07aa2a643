//! Evaluating expressions.

use super::Interp;
use super::convert::number_fault;
use crate::ast::{Expr, ExprKind, Local, Piece, Special, Variable};
use crate::error::{Place, Raised, limit, runtime};
use crate::format::date::DateKind;
use crate::model::{Hash, Map};
use crate::value::{Date, Method, Text, Value};

impl<'r> Interp<'r> {
    /// Evaluates an expression; [`Value::Missing`] is left to who asked.
    pub(crate) fn eval(&mut self, expr: &'r Expr) -> Result<Value<'r>, Raised> {
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
            ExprKind::Dot { target, key } => self.dot(target, key),
            ExprKind::Index(index) => self.index(&index.0, &index.1),
            ExprKind::Call { callee, args } => self.call(callee, args),
            ExprKind::BuiltIn(call) => self.built_in(call, expr),
            ExprKind::Default(default) => {
                let value = self.forgiving(&default.0)?;
                match (&default.1, value.is_missing()) {
                    (_, false) => Ok(value),
                    (Some(fallback), true) => self.eval(fallback),
                    (None, true) => Ok(Value::Nothing),
                }
            }
            ExprKind::Exists(target) => Ok(Value::Bool(!self.forgiving(target)?.is_missing())),
            ExprKind::Not(operand) => Ok(Value::Bool(!self.condition(operand)?)),
            ExprKind::Sign { negative, operand } => {
                let number = self.number(operand)?;
                if *negative {
                    number.negate().map(Value::Number).map_err(number_fault)
                } else {
                    Ok(Value::Number(number))
                }
            }
            ExprKind::Chain(chain) => self.chain(chain),
            ExprKind::Compare(comparison) => self.comparison(comparison),
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
            ExprKind::Template(pieces) => self.pieces(pieces),
            ExprKind::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    values.push(self.value(item)?);
                }
                self.built_sequence(values)
            }
            ExprKind::Hash(entries) => self.hash(entries),
            ExprKind::Range(range) => self.range(range),
            ExprKind::Special(special) => self.special(*special),
            ExprKind::Lambda(_) => Err(runtime("a lambda can only be an argument of ?filter, ?map and the like")),
            ExprKind::String(_) | ExprKind::Number(_) | ExprKind::Bool(_) | ExprKind::Variable(_) => self.eval(expr),
        }
    }

    /// Evaluates what `!` or `??` stands after: in parentheses, missing values on the way are
    /// forgiven too.
    pub(crate) fn forgiving(&mut self, target: &'r Expr) -> Result<Value<'r>, Raised> {
        let result = self.eval(target);
        match result {
            Err(fault) if fault.missing && matches!(target.kind, ExprKind::Group(_)) => Ok(Value::Missing),
            other => other,
        }
    }

    fn variable(&self, variable: &'r Variable) -> Value<'r> {
        for local in &variable.locals {
            let value = match local {
                Local::Loop(slot) => self.local(*slot),
                Local::Parameter(slot) => return self.local(*slot),
                Local::LoopIndex(slot) => return Value::int(self.loop_state(*slot).0),
                Local::LoopHasNext(slot) => return Value::Bool(self.loop_state(*slot).1),
            };
            if !value.is_missing() {
                return value;
            }
        }
        match self.namespace.get(variable.symbol as usize) {
            Some(value) if !value.is_missing() => value.clone(),
            _ => self.root.get(self.symbol_name(variable.symbol)),
        }
    }

    fn local(&self, slot: u32) -> Value<'r> {
        self.locals.get(slot as usize).cloned().unwrap_or(Value::Missing)
    }

    fn call(&mut self, callee: &'r Expr, args: &'r [Expr]) -> Result<Value<'r>, Raised> {
        let method = match self.value(callee)? {
            Value::Method(method) => method,
            other => return Err(self.expected("a method or function", &other, callee)),
        };
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.eval(arg)?);
        }
        self.call_method(method.as_ref(), &values)
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

    fn pieces(&mut self, pieces: &'r [Piece]) -> Result<Value<'r>, Raised> {
        let mut out = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Output(expr) => {
                    let text = self.text(expr)?;
                    self.meter.value(text.len())?;
                    out.push_str(&text);
                }
                Piece::NumberOutput { value, min_decimals, max_decimals } => {
                    out.push_str(&self.number_output(value, *min_decimals, *max_decimals)?);
                }
            }
        }
        self.built(out)
    }

    fn hash(&mut self, entries: &'r [(Expr, Expr)]) -> Result<Value<'r>, Raised> {
        self.charge_items(2 * entries.len())?;
        let mut map = Map::default();
        for (key, value) in entries {
            let key = match self.value(key)? {
                Value::String(text) => text,
                Value::Nothing => Text::Borrowed(""),
                other => return Err(self.expected("a string as the key", &other, key)),
            };
            let value = self.value(value)?;
            map.insert(key, value).map_err(limit)?;
        }
        Ok(Value::Hash(Hash::Map(map.into())))
    }

    fn special(&mut self, special: Special) -> Result<Value<'r>, Raised> {
        let template = self.template;
        Ok(match special {
            Special::Now => match self.root.now_ms() {
                Some(epoch_ms) => Value::Date(Date { epoch_ms, kind: DateKind::DateTime }),
                None => return Err(runtime(".now is not known in this rendering")),
            },
            Special::Locale => Value::string(self.formats.locale.as_str()),
            Special::Lang => Value::string(self.formats.locale.split('_').next().unwrap_or_default()),
            Special::TimeZone => Value::string(self.formats.zone.name()),
            Special::TemplateName => Value::String(Text::Borrowed(&template.name)),
            Special::Version => Value::String(Text::Borrowed("2.3.34")),
            Special::IncompatibleImprovements => Value::String(Text::Borrowed("2.3.31")),
            Special::OutputFormat => Value::String(Text::Borrowed("undefined")),
            Special::AutoEsc => Value::Bool(false),
            Special::OutputEncoding => match &self.formats.output_encoding {
                Some(encoding) => Value::string(encoding.as_str()),
                None => Value::Missing,
            },
            Special::UrlEscapingCharset => match &self.formats.url_charset {
                Some(charset) => Value::string(charset.as_str()),
                None => Value::Missing,
            },
        })
    }
}
