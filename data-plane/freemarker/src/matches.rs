//! What `?matches` gives: all matches in a text, and whether the whole text is one.

use std::sync::Arc;

use crate::regex::Found;
use crate::value::{Text, Value};

/// The matches of a regular expression in a text.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let source = r"<#list 'a1 b22'?matches(r'([a-z])(\d+)') as m>${m?groups[2]};</#list>";
/// let mut out = Vec::new();
/// Template::parse("t", source, &Settings::default())?.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"1;22;");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Debug)]
pub struct Matches<'d> {
    text: Text<'d>,
    whole: Option<Found>,
    group_count: usize,
    found: Vec<Found>,
}

impl<'d> Matches<'d> {
    pub(crate) fn new(text: Text<'d>, whole: Option<Found>, group_count: usize, found: Vec<Found>) -> Self {
        Matches { text, whole, group_count, found }
    }

    /// Whether the whole text matches.
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// How many matches there are in the text.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value<'d>> {
        let found = self.found.get(index)?.clone();
        Some(Value::String(Text::Match(Arc::new(Match { text: self.text.clone(), found }))))
    }

    /// The groups of the whole text's match, if it is one; how many there would be.
    pub(crate) fn groups(&self) -> Result<Vec<Value<'d>>, usize> {
        let found = self.whole.clone().ok_or(self.group_count)?;
        let whole = Match { text: self.text.clone(), found };
        // here, unlike in the single matches, a group that took no part is empty
        let empty = || Value::String(Text::Borrowed(""));
        Ok(whole.groups().into_iter().map(|group| if group.is_missing() { empty() } else { group }).collect())
    }
}

/// One match of a regular expression: a string with groups.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let source = "<#list 'a1 b22'?matches('[a-z]') as m>${m?upper_case}</#list>";
/// let mut out = Vec::new();
/// Template::parse("t", source, &Settings::default())?.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"AB");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Debug)]
pub struct Match<'d> {
    text: Text<'d>,
    found: Found,
}

impl<'d> Match<'d> {
    /// What matched.
    pub fn text(&self) -> &str {
        self.text.get(self.found.start()..self.found.end()).unwrap_or_default()
    }

    pub(crate) fn groups(&self) -> Vec<Value<'d>> {
        (0..self.found.group_count())
            .map(|index| match (self.found.group(index), &self.text) {
                (Some((start, end)), Text::Borrowed(text)) => {
                    Value::String(Text::Borrowed(text.get(start..end).unwrap_or_default()))
                }
                (Some((start, end)), text) => Value::string(text.get(start..end).unwrap_or_default()),
                (None, _) => Value::Missing,
            })
            .collect()
    }
}
