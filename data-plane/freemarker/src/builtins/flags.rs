//! The flags of built-ins that search, and searching without regard to case.

use crate::regex;

/// The flags of `?replace` and its like.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) regex: bool,
    pub(super) first_only: bool,
    pub(super) of_regex: regex::Flags,
}

impl Flags {
    /// Reads flags; FreeMarker only warns about those it does not know.
    pub(super) fn parse(text: &str) -> Self {
        let mut flags = Flags::default();
        for flag in text.chars() {
            match flag {
                'i' => flags.of_regex.ignore_case = true,
                'm' => flags.of_regex.multi_line = true,
                's' => flags.of_regex.dot_all = true,
                'c' => flags.of_regex.comments = true,
                'r' => flags.regex = true,
                'f' => flags.first_only = true,
                _ => {}
            }
        }
        flags
    }

    pub(super) fn ignore_case(self) -> bool {
        self.of_regex.ignore_case
    }
}

/// A text in which positions can be found without regard to case.
///
/// As in FreeMarker it is compared in lower case, with positions of that taken for the text's own.
pub(super) struct Haystack<'t> {
    text: &'t str,
    lower: Option<String>,
}

impl<'t> Haystack<'t> {
    pub(super) fn new(text: &'t str, ignore_case: bool) -> Self {
        Haystack { text, lower: ignore_case.then(|| text.to_lowercase()).filter(|lower| lower.len() == text.len()) }
    }

    pub(super) fn compared(&self) -> &str {
        self.lower.as_deref().unwrap_or(self.text)
    }

    pub(super) fn find(&self, wanted: &str, from: usize) -> Option<usize> {
        let rest = self.compared().get(from..)?;
        let found = match wanted.as_bytes() {
            // no need to prepare a search for a single byte
            [byte] => rest.bytes().position(|other| other == *byte),
            _ => rest.find(wanted),
        };
        found.map(|at| from + at)
    }
}
