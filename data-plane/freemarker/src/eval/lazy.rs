//! What `?filter`, `?map` and the like give where FreeMarker does not lay it out: only what is asked for is evaluated, in
//! indexes and slices, too.

use super::Interp;
use super::access::bounds;
use super::listing::{Derivation, ListIter};
use crate::ast::{Expr, ExprKind};
use crate::builtins::BuiltIn;
use crate::error::{Raised, runtime};
use crate::model::{Range, Sequence};
use crate::value::{Text, Value};

/// What an expression gives where items may wait.
pub(crate) enum Given<'r> {
    /// Items that are made when they are asked for.
    Items(ListIter<'r>),
    Value(Value<'r>),
}

/// A part of what waits.
pub(super) struct Part {
    /// Items that are not gone past yet, before the first one.
    pub(super) skip: i64,
    pub(super) next: i64,
    /// How many are left; none for all.
    pub(super) left: Option<i64>,
    /// It is no error when there are less.
    pub(super) adapts: bool,
    /// How many items it has, where that is known.
    pub(super) size: Option<i64>,
}

impl<'r> Interp<'r> {
    /// The value of an expression, or its items while they wait.
    pub(crate) fn given(&mut self, expr: &'r Expr) -> Result<Given<'r>, Raised> {
        let inner = without_parentheses(expr);
        if !waits(inner) {
            return self.value(expr).map(Given::Value);
        }
        self.meter.step()?;
        self.meter.enter()?;
        let given = match &inner.kind {
            ExprKind::BuiltIn(call) => match derivation(call.which) {
                Some(how) => {
                    let items = self.items_of(&call.target)?;
                    self.derive(call, how, items).map(Given::Items)
                }
                None => match self.given(&call.target)? {
                    Given::Value(value) => self.sequence_of_value(value, &call.target).map(Given::Value),
                    items => Ok(items),
                },
            },
            ExprKind::Index(index) => match self.part(&index.0, &index.1)? {
                Given::Value(Value::Missing) => Err(self.missing(inner)),
                given => Ok(given),
            },
            _ => self.value(inner).map(Given::Value),
        };
        self.meter.leave();
        given
    }

    fn sequence_of_value(&mut self, value: Value<'r>, target: &Expr) -> Result<Value<'r>, Raised> {
        match value {
            sequence @ Value::Sequence(_) => Ok(sequence),
            Value::Nothing { .. } => self.built_sequence(Vec::new()),
            other => Err(self.expected("a sequence", &other, target)),
        }
    }

    /// An item or a slice of what waits.
    pub(super) fn part(&mut self, target: &'r Expr, key: &'r Expr) -> Result<Given<'r>, Raised> {
        let mut items = match self.given(target)? {
            Given::Items(items) => items,
            Given::Value(value) => {
                let found = self.value(key)?;
                return self.indexed(value, found, target, key).map(Given::Value);
            }
        };
        match self.value(key)? {
            Value::Number(number) => {
                let index = number.to_index();
                let mut place = 0;
                while index >= 0
                    && let Some(item) = self.next_item(&mut items)?
                {
                    if place == index {
                        return Ok(Given::Value(item.first));
                    }
                    place += 1;
                }
                Ok(Given::Value(Value::Missing))
            }
            Value::String(_) | Value::Nothing { .. } => {
                let sequence = self.built_sequence(Vec::new())?;
                Err(self.expected("hash", &sequence, target))
            }
            Value::Sequence(Sequence::Range(range)) => self.waiting_slice(items, range, target, key),
            other => Err(self.expected("number, range, or string", &other, key)),
        }
    }

    fn waiting_slice(
        &mut self,
        items: ListIter<'r>,
        range: Range,
        target: &Expr,
        key: &Expr,
    ) -> Result<Given<'r>, Raised> {
        let size = items.size();
        let bounds =
            bounds(range, size.unwrap_or(i64::from(i32::MAX))).map_err(|problem| runtime(problem).at(key.span))?;
        // FreeMarker makes a string of nothing
        let Some((start, count)) = bounds else {
            return Ok(Given::Value(Value::String(Text::Borrowed(""))));
        };
        if range.descending {
            return self.backwards(items, start, count, target).map(Given::Value);
        }
        let part = Part {
            skip: start,
            next: 0,
            left: range.len.map(i64::from),
            adapts: range.adapts,
            size: size.and(i64::try_from(count).ok()),
        };
        Ok(Given::Items(items.part(part)))
    }

    fn backwards(
        &mut self,
        mut items: ListIter<'r>,
        first: i64,
        count: usize,
        target: &Expr,
    ) -> Result<Value<'r>, Raised> {
        let last = first + 1 - i64::try_from(count).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        let mut place = 0;
        while place <= first
            && let Some(item) = self.next_item(&mut items)?
        {
            if place >= last {
                self.charge_items(1)?;
                found.push(item.first);
            }
            place += 1;
        }
        if place <= first {
            return Err(runtime(format!(
                "Range top index {first} (0-based) is outside the sliced sequence of length {place}."
            ))
            .at(target.span));
        }
        found.reverse();
        Value::sequence(found).map_err(crate::error::limit)
    }

    /// The next item of a part; an error where the slice goes past the end.
    pub(super) fn next_of_part(
        &mut self,
        items: &mut ListIter<'r>,
        part: &mut Part,
    ) -> Result<Option<Value<'r>>, Raised> {
        self.skip_before(items, part)?;
        if part.left == Some(0) {
            return Ok(None);
        }
        let Some(item) = self.next_item(items)? else {
            if part.adapts {
                return Ok(None);
            }
            let last = part.next + part.left.unwrap_or(0) - 1;
            return Err(runtime(format!(
                "Range end index {last} is out of bounds, as sliced sequence only has {} elements.",
                part.next
            )));
        };
        part.next += 1;
        part.left = part.left.map(|left| left - 1);
        Ok(Some(item.first))
    }

    pub(super) fn part_has_next(&mut self, items: &mut ListIter<'r>, part: &mut Part) -> Result<bool, Raised> {
        self.skip_before(items, part)?;
        Ok(part.left != Some(0) && (!part.adapts || self.has_next(items)?))
    }

    fn skip_before(&mut self, items: &mut ListIter<'r>, part: &mut Part) -> Result<(), Raised> {
        while part.skip > 0 {
            if self.next_item(items)?.is_none() {
                return Err(runtime(format!(
                    "Range start index {} is out of bounds, as the sliced sequence only has {} elements.",
                    part.next + part.skip,
                    part.next
                )));
            }
            part.skip -= 1;
            part.next += 1;
        }
        Ok(())
    }
}

/// Whether what an expression gives may wait.
pub(super) fn waits(expr: &Expr) -> bool {
    match &without_parentheses(expr).kind {
        ExprKind::BuiltIn(call) if call.which == BuiltIn::Sequence => waits(&call.target),
        ExprKind::BuiltIn(call) => derivation(call.which).is_some(),
        ExprKind::Index(index) => waits(&index.0),
        _ => false,
    }
}

fn without_parentheses(expr: &Expr) -> &Expr {
    let mut expr = expr;
    while let ExprKind::Group(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

fn derivation(which: BuiltIn) -> Option<Derivation> {
    Some(match which {
        BuiltIn::Filter => Derivation::Filter,
        BuiltIn::Map => Derivation::Map,
        BuiltIn::TakeWhile => Derivation::TakeWhile,
        BuiltIn::DropWhile => Derivation::DropWhile,
        _ => return None,
    })
}
