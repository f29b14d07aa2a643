//! `.name`, `[key]`, slices and ranges.

use super::Interp;
use super::lazy::{Given, waits};
use crate::ast::{Expr, RangeExpr, RangeKind};
use crate::error::{Place, Raised, runtime};
use crate::json::{Key, Node};
use crate::model::{Hash, Range, Sequence};
use crate::value::{Text, Value};

impl<'r> Interp<'r> {
    pub(super) fn dot(&mut self, target: &'r Expr, key: &'r Key) -> Result<Value<'r>, Raised> {
        let value = self.present(target)?;
        match &value {
            Value::Hash(Hash::Json(node)) => {
                self.meter.steps(member_steps(*node))?;
                Ok(node.get_again(key).map_or(Value::Missing, Value::json))
            }
            _ => self.member(&value, key, target),
        }
    }

    fn member(&mut self, value: &Value<'r>, key: &str, target: &Expr) -> Result<Value<'r>, Raised> {
        match value {
            Value::Hash(Hash::Json(node)) => {
                self.meter.steps(member_steps(*node))?;
                Ok(node.get(key).map_or(Value::Missing, Value::json))
            }
            Value::Hash(hash) => Ok(hash.get(key)),
            Value::Nothing { .. } => Ok(Value::Missing),
            Value::Scope(scope) => Ok(self.in_layer(scope.0, key)),
            other => Err(self.expected("hash", other, target)),
        }
    }

    pub(super) fn index(&mut self, target: &'r Expr, key: &'r Expr) -> Result<Value<'r>, Raised> {
        if waits(target) {
            return match self.part(target, key)? {
                Given::Items(items) => self.laid_out_items(items),
                Given::Value(value) => Ok(value),
            };
        }
        let value = self.present(target)?;
        let found = self.value(key)?;
        self.indexed(value, found, target, key)
    }

    /// The part of a value that `key` says, which has been evaluated.
    pub(crate) fn indexed(
        &mut self,
        value: Value<'r>,
        found: Value<'r>,
        target: &Expr,
        key: &Expr,
    ) -> Result<Value<'r>, Raised> {
        match found {
            Value::Number(number) => self.item(value, number.to_index(), target),
            Value::String(name) => self.member(&value, &name, target),
            Value::Nothing { .. } => self.member(&value, "", target),
            Value::Sequence(Sequence::Range(range)) => self.slice(value, range, target, key),
            other => Err(self.expected("number, range, or string", &other, key)),
        }
    }

    fn item(&mut self, value: Value<'r>, index: i64, target: &Expr) -> Result<Value<'r>, Raised> {
        match &value {
            Value::Sequence(sequence) => {
                if let Sequence::NoGroups(count) = sequence {
                    // FreeMarker asks for those before the first, too
                    return match usize::try_from(index) {
                        Ok(index) if index >= *count => Ok(Value::Missing),
                        _ => Err(no_group()),
                    };
                }
                let item = usize::try_from(index).ok().and_then(|index| sequence.get(index));
                return Ok(item.unwrap_or(Value::Missing));
            }
            Value::Nothing { .. } => return Ok(Value::Missing),
            Value::Hash(_) | Value::Scope(_) => {
                return Err(self.expected_with(
                    "sequence or string or something automatically convertible to string (number, date or boolean)",
                    &value,
                    target,
                    &["You had a numerical value inside the []. Currently that's only supported for sequences (lists) \
                       and strings. To get a Map item with a non-string key, use myMap?api.get(myKey)."],
                ));
            }
            Value::Method(_) | Value::Callable(_) | Value::Markup(_) => {
                return Err(self.expected(
                    "sequence or string or something automatically convertible to string (number, date or boolean)",
                    &value,
                    target,
                ));
            }
            _ => {}
        }
        let text = self.text_of(value, target)?;
        let len = utf16_len(&text);
        self.meter.scan(text.len())?;
        match usize::try_from(index) {
            Ok(index) if index < len => self.part_in_units(&text, index, index + 1),
            _ => Err(runtime(format!(
                "String index out of range: The index was {index} (0-based), but the length of the string is only {len}."
            ))),
        }
    }

    fn slice(&mut self, value: Value<'r>, range: Range, target: &Expr, key: &Expr) -> Result<Value<'r>, Raised> {
        let sequence = match value {
            Value::Sequence(sequence) => Some(sequence),
            Value::Nothing { .. } => match self.built_sequence(Vec::new())? {
                Value::Sequence(nothing) => Some(nothing),
                _ => None,
            },
            Value::Hash(_) | Value::Method(_) | Value::Callable(_) | Value::Scope(_) => {
                return Err(self.expected(
                    "sequence or string or something automatically convertible to string (number, date or boolean)",
                    &value,
                    target,
                ));
            }
            other => {
                let text = self.text_of(other, target)?;
                return self.substring(&text, range).at(key.span);
            }
        };
        let Some(sequence) = sequence else { return Ok(Value::Missing) };
        let size = sequence.len().map_or(i64::from(i32::MAX), |len| len as i64);
        let bounds = bounds(range, size).map_err(|problem| runtime(problem).at(key.span))?;
        let Some((start, count)) = bounds else { return self.built_sequence(Vec::new()) };
        self.charge_items(count)?;
        readable(&sequence)?;
        let items = (0..count as i64)
            .map(|i| if range.descending { start - i } else { start + i })
            .map(|i| usize::try_from(i).ok().and_then(|i| sequence.get(i)).unwrap_or(Value::Missing));
        let items = items.collect();
        Value::sequence(items).map_err(crate::error::limit)
    }

    fn substring(&mut self, text: &Text<'r>, range: Range) -> Result<Value<'r>, Raised> {
        self.meter.scan(text.len())?;
        let len = utf16_len(text) as i64;
        match bounds(range, len).map_err(runtime)? {
            // [n+1..n] was always allowed to mean nothing
            Some((_, 2)) if range.descending && range.inclusive => Ok(Value::String(Text::Borrowed(""))),
            Some((start, count)) if range.descending && count > 1 => Err(runtime(format!(
                "Decreasing ranges aren't allowed for slicing strings (as it would give reversed text). The index range \
                 was: first = {start}, last = {}",
                start + 1 - count as i64
            ))),
            Some((start, count)) => {
                let start = usize::try_from(start).unwrap_or(0);
                self.part_in_units(text, start, start + count)
            }
            None => Ok(Value::String(Text::Borrowed(""))),
        }
    }

    /// A part of a text, in UTF-16 code units.
    pub(crate) fn part_in_units(&mut self, text: &Text<'r>, from: usize, to: usize) -> Result<Value<'r>, Raised> {
        if text.is_ascii() { self.part_of(text, from, to) } else { self.built(utf16_slice(text, from, to)) }
    }

    pub(super) fn range(&mut self, range: &'r RangeExpr) -> Result<Value<'r>, Raised> {
        let start = self.number(&range.start)?.to_index();
        let end = match &range.end {
            Some(end) => Some(self.number(end)?.to_index()),
            None => None,
        };
        let length = |count: i64, more: i32| Some((count as i32).wrapping_abs().wrapping_add(more));
        let (len, descending) = match (range.kind, end) {
            (RangeKind::Counted, Some(count)) => (length(count, 0), count < 0),
            (RangeKind::Inclusive, Some(end)) => (length(end - start, 1), end < start),
            (RangeKind::Exclusive, Some(end)) => (length(end - start, 0), end < start),
            _ => (None, false),
        };
        let inclusive = range.kind == RangeKind::Inclusive;
        let adapts = len.is_none() || range.kind == RangeKind::Counted;
        let range = Range { start, len, descending, adapts, inclusive };
        Ok(Value::Sequence(Sequence::Range(range)))
    }
}

/// An error if the items can't be read.
pub(crate) fn readable(sequence: &Sequence<'_>) -> Result<(), Raised> {
    if matches!(sequence, Sequence::NoGroups(_)) { Err(no_group()) } else { Ok(()) }
}

fn no_group() -> Raised {
    runtime("Failed to read regular expression match group")
}

/// How much dearer than other expressions finding a member of an object is.
#[inline]
pub(super) fn member_steps(object: Node<'_>) -> u64 {
    (object.len().min(16) / 8) as u64
}

/// Where a slice starts and how many items it has, in something of `size` items; `None` for an
/// empty one.
pub(super) fn bounds(range: Range, size: i64) -> Result<Option<(i64, usize)>, String> {
    if range.len == Some(0) {
        return Ok(None);
    }
    let start = range.start;
    if start < 0 {
        return Err(format!("Negative range start index ({start}) isn't allowed for a range used for slicing."));
    }
    // a slice may start right after the end if it may be empty
    let start_limit = if range.adapts && !range.descending { size + 1 } else { size };
    if start >= start_limit {
        return Err(format!(
            "Range start index {start} is out of bounds, because what is sliced has only {size} items (note that \
             indices are 0-based)."
        ));
    }
    let available = if range.descending { start + 1 } else { size - start };
    let count = match range.len {
        None => available,
        Some(len) => {
            // an int, too
            let steps = if range.descending { len.wrapping_sub(1).wrapping_neg() } else { len.wrapping_sub(1) };
            let last = i64::from((start as i32).wrapping_add(steps));
            if (0..size).contains(&last) {
                i64::from(len)
            } else if range.adapts {
                available
            } else if last < 0 {
                return Err(format!("Negative range end index ({last}) isn't allowed for a range used for slicing."));
            } else {
                return Err(format!(
                    "Range end index {last} is out of bounds, because what is sliced has only {size} items (note that \
                     indices are 0-based)."
                ));
            }
        }
    };
    Ok((count > 0).then_some((start, usize::try_from(count).unwrap_or(0))))
}

/// The length in UTF-16 code units, as FreeMarker counts.
pub(crate) fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// A part of a text, in UTF-16 code units; half of a pair becomes U+FFFD.
pub(crate) fn utf16_slice(text: &str, from: usize, to: usize) -> String {
    if text.is_ascii() {
        return text.get(from..to).unwrap_or_default().to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().skip(from).take(to.saturating_sub(from)).collect();
    String::from_utf16_lossy(&units)
}
