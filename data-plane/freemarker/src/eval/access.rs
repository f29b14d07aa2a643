//! `.name`, `[key]`, slices and ranges.

use super::Interp;
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
            Value::Nothing => Ok(Value::Missing),
            Value::Scope(scope) => Ok(self.in_layer(scope.0, key)),
            other => Err(self.expected("hash", other, target)),
        }
    }

    pub(super) fn index(&mut self, target: &'r Expr, key: &'r Expr) -> Result<Value<'r>, Raised> {
        let value = self.present(target)?;
        match self.value(key)? {
            Value::Number(number) => self.item(value, number.to_index(), target),
            Value::String(name) => self.member(&value, &name, target),
            Value::Nothing => self.member(&value, "", target),
            Value::Sequence(Sequence::Range(range)) => self.slice(value, range, target, key),
            other => Err(self.expected("number, range, or string", &other, key)),
        }
    }

    fn item(&mut self, value: Value<'r>, index: i64, target: &Expr) -> Result<Value<'r>, Raised> {
        match &value {
            Value::Sequence(sequence) => {
                let item = usize::try_from(index).ok().and_then(|index| sequence.get(index));
                return Ok(item.unwrap_or(Value::Missing));
            }
            Value::Nothing => return Ok(Value::Missing),
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
            Value::Nothing | Value::Hash(_) | Value::Method(_) | Value::Callable(_) | Value::Scope(_) => {
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
        let bounds = bounds(range, size).map_err(runtime).at(key.span)?;
        let Some((start, count)) = bounds else { return self.built_sequence(Vec::new()) };
        self.charge_items(count)?;
        let items = (0..count as i64)
            .map(|i| if range.descending { start - i } else { start + i })
            .map(|i| usize::try_from(i).ok().and_then(|i| sequence.get(i)).unwrap_or(Value::Missing));
        let items = items.collect();
        Value::sequence(items).map_err(crate::error::limit)
    }

    fn substring(&mut self, text: &Text<'r>, range: Range) -> Result<Value<'r>, Raised> {
        self.meter.scan(text.len())?;
        let len = utf16_len(text) as i64;
        // [n+1..n] was always allowed to mean nothing
        let legacy_empty = range.descending && range.len == Some(2) && !range.adapts;
        if legacy_empty && range.start < len {
            return Ok(Value::String(Text::Borrowed("")));
        }
        if range.descending && range.len.is_none_or(|len| len > 1) && !(range.adapts) {
            return Err(runtime("a string can't be sliced backwards"));
        }
        match bounds(range, len).map_err(runtime)? {
            Some((start, count)) => {
                if range.descending && count > 1 {
                    return Err(runtime("a string can't be sliced backwards"));
                }
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
        let length = |count: i64| Some(u32::try_from(count).unwrap_or(u32::MAX));
        let range = match (range.kind, end) {
            (RangeKind::Counted, Some(count)) => {
                Range { start, len: length(count.abs()), descending: count < 0, adapts: true }
            }
            (RangeKind::Inclusive, Some(end)) => {
                Range { start, len: length((end - start).abs() + 1), descending: end < start, adapts: false }
            }
            (RangeKind::Exclusive, Some(end)) => {
                Range { start, len: length((end - start).abs()), descending: end < start, adapts: false }
            }
            _ => Range { start, len: None, descending: false, adapts: true },
        };
        Ok(Value::Sequence(Sequence::Range(range)))
    }
}

/// How much dearer than other expressions finding a member of an object is.
#[inline]
pub(super) fn member_steps(object: Node<'_>) -> u64 {
    (object.len().min(16) / 8) as u64
}

/// Where a slice starts and how many items it has, in something of `size` items; `None` for an
/// empty one.
fn bounds(range: Range, size: i64) -> Result<Option<(i64, usize)>, String> {
    let wanted = range.len.map_or(i64::MAX, i64::from);
    if wanted == 0 {
        return Ok(None);
    }
    let start = range.start;
    // a slice may start right after the end if it may be empty
    let start_limit = if range.adapts && !range.descending { size + 1 } else { size };
    if start < 0 || start >= start_limit {
        return Err(format!("the range starts at {start}, which is outside of what is sliced: its size is {size}"));
    }
    let available = if range.descending { start + 1 } else { size - start };
    if wanted > available && !range.adapts {
        return Err(format!("the range ends outside of what is sliced: its size is {size}"));
    }
    let count = wanted.min(available);
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
