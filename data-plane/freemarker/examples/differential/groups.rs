//! Groups of features, to leave out of the templates what an engine does not have.

use std::collections::BTreeSet;

/// Every group, in the order in which `--help` shows them.
pub(crate) const ALL: &[&str] = &[
    "assign",
    "attempt",
    "broken",
    "camel",
    "compress",
    "dates",
    "escape",
    "eval",
    "formats",
    "function",
    "header",
    "include",
    "interpolation",
    "list",
    "macro",
    "missing",
    "namespace",
    "noparse",
    "outputformat",
    "rare",
    "regex",
    "sequences",
    "setting",
    "special",
    "square",
    "strings",
    "switch",
    "trim",
    "truncate",
    "wrong",
];

/// The groups that templates may use.
pub(crate) struct Groups(BTreeSet<&'static str>);

impl Groups {
    pub(crate) fn all() -> Self {
        Groups(ALL.iter().copied().collect())
    }

    pub(crate) fn only(names: &str) -> Result<Self, String> {
        names.split(',').map(known).collect::<Result<_, _>>().map(Groups)
    }

    pub(crate) fn without(mut self, names: &str) -> Result<Self, String> {
        for name in names.split(',') {
            self.0.remove(known(name)?);
        }
        Ok(self)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        debug_assert!(ALL.contains(&name), "{name}");
        self.0.contains(name)
    }
}

fn known(name: &str) -> Result<&'static str, String> {
    ALL.iter()
        .copied()
        .find(|known| *known == name)
        .ok_or_else(|| format!("there is no group {name}: {}", ALL.join(" ")))
}
