//! The order of `?sort` and `?sort_by`.

use std::cmp::Ordering;

use crate::collation;
use crate::eval::compare_values;
use crate::value::Value;

/// Sorts items by their keys, which must all be numbers, strings, booleans, or dates of one kind.
pub(super) fn sorted<'r>(keyed: Vec<(Value<'r>, Value<'r>)>) -> Result<Vec<Value<'r>>, String> {
    for (index, (key, _)) in keyed.iter().enumerate() {
        if key.is_missing() {
            return Err(format!("item {index} is missing"));
        }
        let comparable = keyed.first().is_some_and(|first| compare_values(&first.0, key).is_ok());
        if !comparable || matches!(key, Value::Sequence(_) | Value::Hash(_)) {
            return Err(format!("item {index} is a {}, which can't be sorted among these", key.type_name()));
        }
    }
    let sorted = merge_sort(keyed, &mut |a, b| match (&a.0, &b.0) {
        (Value::String(a), Value::String(b)) => collation::compare(a, b),
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
