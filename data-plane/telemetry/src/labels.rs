//! How many names become values of an attribute: the first so many, all others are `_other`. So a backend is never flooded, whatever
//! users name their syncs. Who has a value keeps it as long as the process lives.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// All that are beyond the limit.
pub const OTHER: &str = "_other";

/// Which names share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Syncs.
    Syncs,
    /// Projects.
    Projects,
    /// Nodes.
    Nodes,
}

/// Names of one kind.
#[derive(Debug)]
pub struct Labels {
    limit: usize,
    known: Mutex<HashSet<Arc<str>>>,
    other: Arc<str>,
}

impl Labels {
    /// Takes `limit` names.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, known: Mutex::default(), other: OTHER.into() }
    }

    /// The attribute's value for `name`. Not for the path of an event: it looks names up.
    #[must_use]
    pub fn of(&self, name: &str) -> Arc<str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = known.get(name) {
            return label.clone();
        }
        if known.len() >= self.limit {
            return self.other.clone();
        }
        let label: Arc<str> = name.into();
        known.insert(label.clone());
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_names_keep_their_value_and_the_others_share_one() {
        let labels = Labels::new(2);
        let values: Vec<_> = ["a", "b", "c", "a", "d"].into_iter().map(|name| labels.of(name)).collect();
        assert_eq!(values.iter().map(|value| &**value).collect::<Vec<_>>(), ["a", "b", OTHER, "a", OTHER]);
        assert_eq!(&*Labels::new(0).of("a"), OTHER);
    }
}
