//! The order of `?sort` and `?sort_by`.

use std::cmp::Ordering;

use crate::eval::compare_values;
use crate::value::Value;

/// Sorts items by their keys, which must all be numbers, strings, booleans, or dates of one kind.
pub(super) fn sorted<'r>(mut keyed: Vec<(Value<'r>, Value<'r>)>) -> Result<Vec<Value<'r>>, String> {
    for (index, (key, _)) in keyed.iter().enumerate() {
        if key.is_missing() {
            return Err(format!("item {index} is missing"));
        }
        let comparable = keyed.first().is_some_and(|first| compare_values(&first.0, key).is_ok());
        if !comparable || matches!(key, Value::Sequence(_) | Value::Hash(_)) {
            return Err(format!("item {index} is a {}, which can't be sorted among these", key.type_name()));
        }
    }
    keyed.sort_by(|a, b| match (&a.0, &b.0) {
        (Value::String(a), Value::String(b)) => collate(a, b),
        (a, b) => compare_values(a, b).unwrap_or(Ordering::Equal),
    });
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

/// Orders strings as people do, after the rules of Java's collator for English: by letters, then
/// by accents, then lower case before upper; white space, hyphens and underscores come last of all.
fn collate(a: &str, b: &str) -> Ordering {
    let primary = |text: &'_ str| -> Vec<(u8, char)> {
        text.chars().filter(|c| !is_ignored(*c)).map(|c| rank(base(c).0)).collect()
    };
    let accents = |text: &'_ str| -> Vec<u8> { text.chars().filter(|c| !is_ignored(*c)).map(|c| base(c).1).collect() };
    let cases =
        |text: &'_ str| -> Vec<bool> { text.chars().filter(|c| !is_ignored(*c)).map(char::is_uppercase).collect() };
    primary(a)
        .cmp(&primary(b))
        .then_with(|| accents(a).cmp(&accents(b)))
        .then_with(|| cases(a).cmp(&cases(b)))
        .then_with(|| ignored_of(a).cmp(&ignored_of(b)))
}

/// The places of ignored characters: the later one comes, the earlier the string sorts.
fn ignored_of(text: &str) -> Vec<(std::cmp::Reverse<usize>, char)> {
    text.chars().enumerate().filter(|(_, c)| is_ignored(*c)).map(|(place, c)| (std::cmp::Reverse(place), c)).collect()
}

fn is_ignored(c: char) -> bool {
    matches!(c, ' ' | '-' | '_' | '\u{a0}') || c.is_control()
}

/// Punctuation before digits before letters.
fn rank(c: char) -> (u8, char) {
    let class = if c.is_alphabetic() {
        2
    } else if c.is_numeric() {
        1
    } else {
        0
    };
    (class, c)
}

/// The letter without case and accent, and a number for the accent.
fn base(c: char) -> (char, u8) {
    let lower = c.to_lowercase().next().unwrap_or(c);
    let (letter, accent) = match lower {
        'à' => ('a', 2),
        'á' => ('a', 1),
        'â' => ('a', 3),
        'ã' => ('a', 4),
        'ä' => ('a', 5),
        'å' => ('a', 6),
        'ç' => ('c', 1),
        'è' => ('e', 2),
        'é' => ('e', 1),
        'ê' => ('e', 3),
        'ë' => ('e', 5),
        'ì' => ('i', 2),
        'í' => ('i', 1),
        'î' => ('i', 3),
        'ï' => ('i', 5),
        'ñ' => ('n', 4),
        'ò' => ('o', 2),
        'ó' => ('o', 1),
        'ô' => ('o', 3),
        'õ' => ('o', 4),
        'ö' => ('o', 5),
        'ő' => ('o', 7),
        'ù' => ('u', 2),
        'ú' => ('u', 1),
        'û' => ('u', 3),
        'ü' => ('u', 5),
        'ű' => ('u', 7),
        'ý' => ('y', 1),
        'ÿ' => ('y', 5),
        other => (other, 0),
    };
    (letter, accent)
}
