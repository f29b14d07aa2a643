//! Arithmetic, concatenation and comparison.

use std::cmp::Ordering;

use super::Interp;
use super::convert::number_fault;
use crate::ast::{BinaryOp, Chain, CompareOp, Comparison, Expr};
use crate::collation;
use crate::error::{Raised, limit, runtime};
use crate::model::{Hash, Map, Sequence};
use crate::span::Span;
use crate::value::{Text, Value};

/// Why two values can't be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// They are of types that have no order, or of different types.
    Types,
    /// Both have a type that can only be equal or not.
    NoOrder,
}

/// Compares values of the same type: numbers, strings, booleans, dates of one kind.
pub(crate) fn compare_values(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, Mismatch> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Ok(a.compare(b)),
        (Value::Date(a), Value::Date(b)) if a.kind == b.kind => Ok(a.epoch_ms.cmp(&b.epoch_ms)),
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        _ => match (scalar(left), scalar(right)) {
            (Some(a), Some(b)) if collation::equal(a, b) => Ok(Ordering::Equal),
            // nothing asks for the order of strings here
            (Some(a), Some(b)) => Ok(a.cmp(b).then(Ordering::Less)),
            _ => left.as_bool().zip(right.as_bool()).map(|(a, b)| a.cmp(&b)).ok_or(Mismatch::Types),
        },
    }
}

fn scalar<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::String(text) => Some(text),
        Value::Nothing { .. } => Some(""),
        _ => None,
    }
}

impl<'r> Interp<'r> {
    pub(super) fn chain(&mut self, chain: &'r Chain, whole: Span) -> Result<Value<'r>, Raised> {
        let mut left = self.eval(&chain.first)?;
        if left.is_missing() && !matches!(chain.rest.first(), Some((BinaryOp::Add, _))) {
            return Err(self.missing(&chain.first));
        }
        let mut left_span = chain.first.span;
        // a string being put together: one buffer however many parts it has
        let mut buffer: Option<String> = None;
        for (op, expr) in &chain.rest {
            if *op != BinaryOp::Add && !matches!(left, Value::Number(_)) && buffer.is_none() {
                return Err(self.expected_at("number", &left, left_span, &[]));
            }
            let right = self.eval(expr)?;
            if let (Value::Number(_), Value::Number(_), None) = (&left, &right, &buffer) {
                left = self.operate(*op, left, right, None, expr)?;
                left_span = whole.to(expr.span);
                continue;
            }
            let (left_kept, right) = (std::mem::replace(&mut left, Value::Missing), self.settled(right)?);
            left = self.settled(left_kept)?;
            if left.is_missing() {
                return Err(self.missing(&chain.first));
            }
            if right.is_missing() {
                // a left side that can't be added to anything is the worse mistake
                if *op == BinaryOp::Add && buffer.is_none() && !matches!(left, Value::Markup(_)) {
                    let place = if left_span == chain.first.span { &chain.first } else { expr };
                    self.printed(left, place)?;
                }
                return Err(self.missing(expr));
            }
            if matches!(right, Value::Markup(_))
                && let Some(text) = buffer.take()
            {
                left = Value::String(Text::from(text));
            }
            if let Some(buffer) = &mut buffer {
                let text = self.printed(right, expr)?;
                self.meter.value(text.len())?;
                buffer.push_str(&text);
                continue;
            }
            let left_expr = (left_span == chain.first.span).then_some(&chain.first);
            let joins = *op == BinaryOp::Add
                && !matches!((&left, &right), (Value::Markup(_), _) | (_, Value::Markup(_)))
                && matches!((&left, &right), (Value::String(_), _) | (_, Value::String(_)))
                && matches!(chain.rest.last(), Some((BinaryOp::Add, _)))
                && chain.rest.iter().all(|(op, _)| *op == BinaryOp::Add);
            if joins {
                let first = left_expr.unwrap_or(expr);
                let (a, b) = (self.printed(left.clone(), first)?, self.printed(right, expr)?);
                self.meter.value(a.len() + b.len())?;
                let mut text = String::with_capacity(a.len() + b.len());
                text.push_str(&a);
                text.push_str(&b);
                buffer = Some(text);
                continue;
            }
            left = self.operate(*op, left, right, left_expr, expr)?;
            left_span = whole.to(expr.span);
        }
        Ok(match buffer {
            Some(text) => Value::String(Text::from(text)),
            None => left,
        })
    }

    /// Does one operation; `left_expr` is what the left side came from, if it is an expression.
    pub(super) fn operate(
        &mut self,
        op: BinaryOp,
        left: Value<'r>,
        right: Value<'r>,
        left_expr: Option<&Expr>,
        right_expr: &Expr,
    ) -> Result<Value<'r>, Raised> {
        if let (Value::Number(a), Value::Number(b)) = (&left, &right) {
            self.meter.steps(a.cost() * b.cost())?;
            let result = match op {
                BinaryOp::Add => a.add(b),
                BinaryOp::Subtract => a.subtract(b),
                BinaryOp::Multiply => a.multiply(b),
                BinaryOp::Divide => a.divide(b),
                BinaryOp::Remainder => a.remainder(b),
            };
            return result.map(Value::Number).map_err(number_fault);
        }
        let left_place = left_expr.unwrap_or(right_expr);
        if op != BinaryOp::Add {
            let (value, place) =
                if matches!(left, Value::Number(_)) { (right, right_expr) } else { (left, left_place) };
            return Err(self.expected("number", &value, place));
        }
        self.concatenate(left, right, left_place, right_expr)
    }

    fn concatenate(
        &mut self,
        left: Value<'r>,
        right: Value<'r>,
        left_expr: &Expr,
        right_expr: &Expr,
    ) -> Result<Value<'r>, Raised> {
        match (&left, &right) {
            (Value::Sequence(a), Value::Sequence(b)) => return self.join_sequences(a, b),
            (Value::Nothing { .. }, Value::Sequence(_) | Value::Hash(_)) => return Ok(right),
            (Value::Nothing { .. }, Value::Nothing { .. }) => return self.built_sequence(Vec::new()),
            (Value::Hash(hash), Value::Nothing { .. }) if hash.is_empty() => return Ok(right),
            (Value::Sequence(_) | Value::Hash(_), Value::Nothing { .. }) => return Ok(left),
            (Value::Hash(a), Value::Hash(b)) => return self.join_hashes(a, b),
            _ => {}
        }
        let span = left_expr.span.to(right_expr.span);
        match (left, right) {
            (Value::Markup(a), Value::Markup(b)) => self.join_markup(&a, &b, span),
            (Value::Markup(a), right) => {
                let b = Self::from_plain(a.format, self.printed(right, right_expr)?);
                self.join_markup(&a, &b, span)
            }
            (left, Value::Markup(b)) => {
                let a = Self::from_plain(b.format, self.printed(left, left_expr)?);
                self.join_markup(&a, &b, span)
            }
            (left, right) => {
                let a = self.printed(left, left_expr)?;
                let b = self.printed(right, right_expr)?;
                self.meter.value(a.len() + b.len())?;
                let mut text = String::with_capacity(a.len() + b.len());
                text.push_str(&a);
                text.push_str(&b);
                Ok(Value::String(Text::from(text)))
            }
        }
    }

    fn join_sequences(&mut self, a: &Sequence<'r>, b: &Sequence<'r>) -> Result<Value<'r>, Raised> {
        let mut items = self.laid_out(a)?;
        items.extend(self.laid_out(b)?);
        Value::sequence(items).map_err(limit)
    }

    /// The items of a sequence, copied and charged for.
    pub(crate) fn laid_out(&mut self, sequence: &Sequence<'r>) -> Result<Vec<Value<'r>>, Raised> {
        let Some(len) = sequence.len() else {
            return Err(limit("a range without end can't be laid out as a sequence"));
        };
        self.charge_items(len)?;
        Ok((0..len).map(|index| sequence.get(index).unwrap_or(Value::Missing)).collect())
    }

    fn join_hashes(&mut self, a: &Hash<'r>, b: &Hash<'r>) -> Result<Value<'r>, Raised> {
        if a.is_empty() || b.is_empty() {
            return Ok(Value::Hash(if a.is_empty() { b } else { a }.clone()));
        }
        self.charge_items(2 * (a.len() + b.len()))?;
        let mut map = Map::default();
        for hash in [a, b] {
            for place in 0..hash.len() {
                if let Some((key, value)) = hash.entry(place) {
                    map.insert(key, value).map_err(limit)?;
                }
            }
        }
        Ok(Value::Hash(Hash::Map(map.into())))
    }

    pub(super) fn comparison(&mut self, comparison: &'r Comparison, span: Span) -> Result<Value<'r>, Raised> {
        let Comparison { op, left, right } = comparison;
        let a = self.eval(left)?;
        let b = self.eval(right)?;
        for (value, expr) in [(&a, left), (&b, right)] {
            if value.is_missing() {
                return Err(self.missing(expr));
            }
        }
        if let (Value::String(a), Value::String(b)) = (&a, &b) {
            self.meter.scan(a.len().min(b.len()))?;
        }
        let ordered = !matches!(op, CompareOp::Equal | CompareOp::NotEqual);
        let ordering = match compare_values(&a, &b) {
            Ok(_) if ordered && !matches!(a, Value::Number(_) | Value::Date(_)) => Err(Mismatch::NoOrder),
            other => other,
        };
        let ordering = ordering.map_err(|m| self.incomparable(m, &a, &b, *op, span))?;
        Ok(Value::Bool(match op {
            CompareOp::Equal => ordering.is_eq(),
            CompareOp::NotEqual => ordering.is_ne(),
            CompareOp::Less => ordering.is_lt(),
            CompareOp::LessOrEqual => ordering.is_le(),
            CompareOp::Greater => ordering.is_gt(),
            CompareOp::GreaterOrEqual => ordering.is_ge(),
        }))
    }

    /// `==` as directives use it.
    pub(crate) fn equal(&mut self, a: &Value<'r>, b: &Value<'r>, place: &Expr) -> Result<bool, Raised> {
        self.equal_at(a, b, place.span)
    }

    pub(crate) fn equal_at(&mut self, a: &Value<'r>, b: &Value<'r>, span: Span) -> Result<bool, Raised> {
        if let (Value::String(a), Value::String(b)) = (a, b) {
            self.meter.scan(a.len().min(b.len()))?;
        }
        let equal = compare_values(a, b).map(Ordering::is_eq);
        equal.map_err(|m| self.incomparable(m, a, b, CompareOp::Equal, span))
    }

    #[cold]
    fn incomparable(&self, why: Mismatch, a: &Value<'r>, b: &Value<'r>, op: CompareOp, span: Span) -> Raised {
        match uncomparable_text(a, b) {
            Some(problem) if matches!(op, CompareOp::Equal | CompareOp::NotEqual) => runtime(problem),
            // That texts have no order is seen before they are made.
            Some(_) => self.blamed_at(format!("Can't use operator \"{}\" on string values.", op.symbol()), span, &[]),
            None => self.blamed_at(mismatch(why, a, b, op), span, &[]),
        }
    }
}

/// Why two texts can't be compared, if they are texts.
pub(crate) fn uncomparable_text(a: &Value<'_>, b: &Value<'_>) -> Option<String> {
    let is_text = |value: &Value<'_>| scalar(value).is_some() || value.lacks_charset().is_some();
    a.lacks_charset().or_else(|| b.lacks_charset()).filter(|_| is_text(a) && is_text(b))
}

fn mismatch(mismatch: Mismatch, a: &Value<'_>, b: &Value<'_>, op: CompareOp) -> String {
    match (mismatch, a, b) {
        (Mismatch::NoOrder, ..) => format!("Can't use operator \"{}\" on {} values.", op.symbol(), a.type_name()),
        (Mismatch::Types, Value::Date(a), Value::Date(b)) => format!(
            "Can't compare dates of different types. Left date type is {}, right date type is {}.",
            a.kind.name(),
            b.kind.name()
        ),
        (Mismatch::Types, ..) => format!(
            "Can't compare values of these types. Allowed comparisons are between two numbers, two strings, two dates, \
             or two booleans.\nLeft hand operand is {}.\nRight hand operand is {}.",
            super::blame::a_or_an(a.type_name()),
            super::blame::a_or_an(b.type_name())
        ),
    }
}
