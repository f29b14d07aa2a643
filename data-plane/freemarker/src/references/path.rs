//! Paths into the data.

use std::fmt;

use crate::lexer::letters::is_letter;
use crate::template::Root;
use crate::value::Value;

/// A root variable and the steps after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    root: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Key(String),
    /// Any item.
    Item,
}

/// Longer paths are not followed: aliases of aliases could grow without end.
const MAX_STEPS: usize = 64;

/// Items of one sequence or hash that are looked at.
const MAX_ITEMS: usize = 1_000;

impl Path {
    pub(super) fn root(name: &str) -> Self {
        Path { root: name.to_owned(), steps: Vec::new() }
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn key(&self, key: &str) -> Option<Self> {
        self.with(Step::Key(key.to_owned()))
    }

    pub(super) fn item(&self) -> Option<Self> {
        self.with(Step::Item)
    }

    fn with(&self, step: Step) -> Option<Self> {
        if self.steps.len() >= MAX_STEPS {
            return None;
        }
        let mut longer = self.clone();
        longer.steps.push(step);
        Some(longer)
    }

    /// Whether it leads to no value there.
    pub(super) fn lacks_in(&self, root: &Root<'_>) -> bool {
        lacks(root.get(&self.root), &self.steps)
    }

    /// Whether this is `other`, or what `other` is in.
    pub(super) fn leads_to(&self, other: &Path) -> bool {
        self.root == other.root && other.steps.starts_with(&self.steps)
    }
}

/// The depth is that of the steps.
fn lacks(value: &Value<'_>, steps: &[Step]) -> bool {
    let Some((step, rest)) = steps.split_first() else { return matches!(value, Value::Missing) };
    match (step, value) {
        (Step::Key(key), Value::Hash(hash)) => lacks(&hash.get(key), rest),
        (Step::Item, Value::Sequence(items)) => {
            let count = items.len().unwrap_or(0).min(MAX_ITEMS);
            (0..count).filter_map(|index| items.get(index)).any(|item| lacks(&item, rest))
        }
        (Step::Item, Value::Hash(hash)) => {
            let count = hash.len().min(MAX_ITEMS);
            (0..count).filter_map(|place| hash.entry(place)).any(|(_, value)| lacks(&value, rest))
        }
        _ => true,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for step in &self.steps {
            match step {
                Step::Item => f.write_str("[]")?,
                Step::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
            }
        }
        Ok(())
    }
}

/// Whether a key can be written after a dot.
fn is_plain(key: &str) -> bool {
    key.starts_with(is_letter) && key.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}
