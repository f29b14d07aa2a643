//! The order of `?sort` and `?sort_by`.

use std::cmp::Ordering;

use crate::collation;
use crate::eval::{a_or_an, compare_values};
use crate::value::Value;

/// Why items can't be sorted.
pub(super) enum Unsortable {
    /// An item that has no value, after others that have.
    Missing { index: usize },
    /// An item of a wrong type, and what is wrong.
    WrongType { index: usize, problem: String },
}

/// What is sorted by: the type of the first key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyType {
    String,
    Number,
    Date,
    Boolean,
}

impl KeyType {
    fn of(key: &Value<'_>) -> Option<Self> {
        match key {
            Value::String(_) | Value::Nothing { .. } => Some(KeyType::String),
            Value::Number(_) => Some(KeyType::Number),
            Value::Date(_) => Some(KeyType::Date),
            other => other.as_bool().map(|_| KeyType::Boolean),
        }
    }

    fn name(self) -> &'static str {
        match self {
            KeyType::String => "string",
            KeyType::Number => "number",
            KeyType::Date => "date/time",
            KeyType::Boolean => "boolean",
        }
    }
}

/// Sorts items by their keys, which must all be numbers, strings, booleans or dates; `what` the keys are to who reads
/// of a problem.
pub(super) fn sorted<'r>(keyed: Vec<(Value<'r>, Value<'r>)>, what: &str) -> Result<Vec<Value<'r>>, Unsortable> {
    let Some((first, _)) = keyed.first() else { return Ok(Vec::new()) };
    let Some(wanted) = KeyType::of(first) else {
        let problem = "Values used for sorting must be numbers, strings, date/times or booleans.".to_owned();
        return Err(Unsortable::WrongType { index: 0, problem });
    };
    for (index, (key, _)) in keyed.iter().enumerate() {
        if key.is_missing() {
            return Err(Unsortable::Missing { index });
        }
        if KeyType::of(key) != Some(wanted) {
            let name = wanted.name();
            let problem = format!(
                "All {what}s in the sequence must be {name}s, because the first {what} was that. However, the {what} \
                 of the current item isn't a {name} but {}.",
                a_or_an(key.type_name())
            );
            return Err(Unsortable::WrongType { index, problem });
        }
    }
    let sorted = merge_sort(keyed, &mut |a, b| match (&a.0, &b.0) {
        (Value::String(a), Value::String(b)) => collation::compare(a, b),
        // of whatever kind
        (Value::Date(a), Value::Date(b)) => a.epoch_ms.cmp(&b.epoch_ms),
        (a, b) => compare_values(a, b).unwrap_or(Ordering::Equal),
    });
    Ok(sorted.into_iter().map(|(_, item)| item).collect())
}

/// Sorts stably, whatever the comparison says: collators know strings of which each comes before
/// the next and the last before the first, and the standard library may panic at that.
fn merge_sort<T>(items: Vec<T>, compare: &mut impl FnMut(&T, &T) -> Ordering) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (merge_sort(left, compare), merge_sort(right, compare));
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b).is_gt() { right.next() } else { left.next() };
        sorted.extend(next);
    }
    sorted.extend(left);
    sorted.extend(right);
    sorted
}
