//! How one JSON value compares with the values of a condition.

use std::{cmp::Ordering, collections::HashSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::{decimal::Decimal, pattern::Patterns};

/// A JSON string (or a boolean, by its text), or a number by its text.
#[derive(Clone, Copy)]
pub(crate) enum Text<'a> {
    String(&'a str),
    Number(&'a str),
}

impl<'a> Text<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::String(text) | Self::Number(text) => text,
        }
    }
}

/// A comparison with any of some values.
pub(crate) enum Comparison {
    /// Strings exactly, numbers as numbers.
    Equal { texts: HashSet<Box<str>>, numbers: Numbers },
    /// Ignoring case, all values in one pass.
    Contains(AhoCorasick),
    /// Ignoring case.
    StartsWith(Words),
    /// Ignoring case.
    EndsWith(Words),
    /// As numbers if both read as numbers, else as strings, by their characters.
    Ordered { order: Order, values: Vec<Box<str>> },
    /// Both of two.
    Both(Box<(Self, Self)>),
    /// The text fits a pattern.
    Fits(Patterns),
    /// No value at all.
    Never,
}

impl Comparison {
    /// `None` if the values are too much for an automaton.
    pub(crate) fn contains<'v>(values: impl Iterator<Item = &'v str>) -> Option<Self> {
        AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(true)
            .build(values.map(folded))
            .ok()
            .map(Self::Contains)
    }

    pub(crate) fn ordered<'v>(order: Order, values: impl Iterator<Item = &'v str>) -> Self {
        Self::Ordered { order, values: values.map(Into::into).collect() }
    }

    pub(crate) fn holds(&self, value: Text<'_>) -> bool {
        match self {
            Self::Equal { texts, numbers } => match value {
                Text::String(text) => texts.contains(text),
                Text::Number(text) => numbers.contain(text),
            },
            Self::Contains(words) => caseless(value.text(), |text| words.is_match(text)),
            Self::StartsWith(words) => words.any_in(value.text(), starts_with),
            Self::EndsWith(words) => words.any_in(value.text(), ends_with),
            Self::Ordered { order, values } => {
                let number = Decimal::parse(value.text());
                values.iter().any(|other| {
                    order.admits(match (number, Decimal::parse(other)) {
                        (Some(number), Some(other)) => number.cmp(&other),
                        _ => value.text().cmp(other),
                    })
                })
            }
            Self::Both(both) => both.0.holds(value) && both.1.holds(value),
            Self::Fits(patterns) => patterns.fit(value.text()),
            Self::Never => false,
        }
    }
}

/// On which side of the value.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn admits(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

/// Those of the values that read as numbers, sorted.
pub(crate) struct Numbers(Vec<Box<str>>);

impl Numbers {
    pub(crate) fn new<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut numbers: Vec<_> = values.filter_map(|value| Some((Decimal::parse(value)?, value))).collect();
        numbers.sort_by_key(|(number, _)| *number);
        Self(numbers.into_iter().map(|(_, text)| text.into()).collect())
    }

    fn contain(&self, text: &str) -> bool {
        let Some(number) = Decimal::parse(text) else { return false };
        self.0
            .binary_search_by(|value| Decimal::parse(value).map_or(Ordering::Less, |value| value.cmp(&number)))
            .is_ok()
    }
}

/// Texts without their case.
pub(crate) struct Words(Vec<Box<str>>);

impl Words {
    pub(crate) fn new<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        Self(values.map(|value| folded(value).into()).collect())
    }

    /// Whether `test` holds for the text and any of the words.
    fn any_in(&self, text: &str, test: impl Fn(&[u8], &[u8]) -> bool) -> bool {
        caseless(text, |text| self.0.iter().any(|word| test(text, word.as_bytes())))
    }
}

/// Gives `test` the text without its case; or as it is if that is ASCII, which the tests compare without case themselves.
fn caseless(text: &str, test: impl Fn(&[u8]) -> bool) -> bool {
    if text.is_ascii() { test(text.as_bytes()) } else { test(folded(text).as_bytes()) }
}

/// A text without its case: each character's capital in small, so that ς and σ, ß and ss agree.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn starts_with(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
}

fn ends_with(text: &[u8], word: &[u8]) -> bool {
    text.len().checked_sub(word.len()).and_then(|at| text.get(at..)).is_some_and(|part| part.eq_ignore_ascii_case(word))
}
