//! Patterns that were read before.

use std::rc::Rc;

use super::{Flags, Regex};

/// Patterns in a template are few; those made up while it runs are not kept for ever.
const MAX_KEPT: usize = 16;

/// The patterns of one rendering.
#[derive(Default)]
pub(crate) struct RegexCache {
    kept: Vec<(String, Flags, Rc<Regex>)>,
}

impl RegexCache {
    pub(crate) fn find(&self, pattern: &str, flags: Flags) -> Option<Rc<Regex>> {
        let found = self.kept.iter().find(|(known, of, _)| *of == flags && known == pattern);
        found.map(|(_, _, regex)| Rc::clone(regex))
    }

    pub(crate) fn keep(&mut self, pattern: &str, flags: Flags, regex: Regex) -> Rc<Regex> {
        if self.kept.len() >= MAX_KEPT {
            self.kept.clear();
        }
        let regex = Rc::new(regex);
        self.kept.push((pattern.to_owned(), flags, Rc::clone(&regex)));
        regex
    }
}
