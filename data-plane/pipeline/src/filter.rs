//! Which events a sync takes: any of the types, and all of the conditions.

use std::{collections::HashSet, fmt, sync::Arc};

use sluice_proto::sync::v1;

pub use crate::condition::Verdict as ConditionVerdict;
use crate::{
    condition::{Condition, MAX_CONDITIONS_IN_ALL},
    event::Event,
    pattern::{Patterns, literal_prefix},
    violation::{Violations, reason, shown},
};

const MAX_EVENT_TYPES: usize = 1000;
const MAX_CONDITIONS: usize = 50;
const MAX_PATTERNS: usize = 100;
const MAX_PATTERN_CHARS: usize = 1024;

/// A compiled filter. The empty one takes every event.
#[derive(Default)]
pub struct Filter {
    /// In the user's order, for messages; empty: every type.
    event_types: Vec<Box<str>>,
    /// The same, to look them up.
    event_type_set: HashSet<Box<str>>,
    /// Patterns of event types, beside those.
    patterns: Vec<TypePattern>,
    conditions: Vec<Arc<Condition>>,
}

/// A pattern of event types.
pub(crate) struct TypePattern {
    glob: Box<str>,
    /// What every type that fits begins with.
    pub(crate) prefix: String,
    pattern: Patterns,
}

impl TypePattern {
    /// Whether the event type fits.
    pub(crate) fn fits(&self, event_type: &str) -> bool {
        self.pattern.fit(event_type)
    }
}

/// Whether a filter takes an event, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it does.
    pub matched: bool,
    /// For people: everything that holds if it matched, else everything that doesn't, such as
    /// `event_type is "home", not one of "checkout", "purchase"`.
    pub reason: String,
}

impl Filter {
    /// Whether the filter takes the event.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        self.takes_type(event.event_type()) && self.conditions_hold(event)
    }

    /// The same with the reason. Slower: for people only.
    #[must_use]
    pub fn explain(&self, event: &Event<'_>) -> Verdict {
        let event_type = self.explain_type(event.event_type());
        let conditions = self.conditions.iter().map(|condition| condition.explain(event.root()));
        let tests: Vec<_> = event_type.into_iter().chain(conditions).collect();
        let matched = tests.iter().all(|(holds, _)| *holds);
        let told: Vec<_> = tests.into_iter().filter(|(holds, _)| *holds == matched).map(|(_, text)| text).collect();
        let reason =
            if told.is_empty() { "the filter is empty: every event is taken".to_owned() } else { told.join("; ") };
        Verdict { matched, reason }
    }

    /// The event types that the filter takes; none: every type.
    pub fn event_types(&self) -> impl ExactSizeIterator<Item = &str> {
        self.event_types.iter().map(AsRef::as_ref)
    }

    /// Whether all of the conditions hold, whatever the event's type.
    pub(crate) fn conditions_hold(&self, event: &Event<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(event.root()))
    }

    /// Whether it takes every event type.
    pub(crate) fn takes_any_type(&self) -> bool {
        self.event_types.is_empty() && self.patterns.is_empty()
    }

    /// The patterns of event types that it takes beside [`Filter::event_types`].
    pub(crate) fn patterns(&self) -> &[TypePattern] {
        &self.patterns
    }

    /// Whether it names the event type exactly.
    pub(crate) fn names(&self, event_type: &str) -> bool {
        self.event_type_set.contains(event_type)
    }

    /// Its conditions, all of which must hold.
    pub(crate) fn conditions(&self) -> &[Arc<Condition>] {
        &self.conditions
    }

    /// What each part of the filter says of the event, whether or not it decided. For people only.
    #[must_use]
    pub fn verdicts(&self, event: &Event<'_>) -> Vec<ConditionVerdict> {
        let mut verdicts = Vec::new();
        if let Some((holds, reason)) = self.explain_type(event.event_type()) {
            verdicts.push(ConditionVerdict { field: "events.filter.event_types".to_owned(), holds, reason });
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            condition.verdicts(event.root(), format!("events.filter.conditions[{index}]"), &mut verdicts);
        }
        verdicts
    }

    pub(crate) fn compile(filter: Option<&v1::Filter>, violations: &mut Violations) -> Self {
        let Some(filter) = filter else {
            return Self::default();
        };
        event_types(&filter.event_types, violations);
        let count = filter.conditions.len();
        if count > MAX_CONDITIONS {
            violations.add(
                "events.filter.conditions",
                reason::TOO_MANY,
                format!("{count} conditions; at most {MAX_CONDITIONS} are taken"),
            );
        }
        let mut left = MAX_CONDITIONS_IN_ALL;
        let conditions = filter.conditions.iter().take(MAX_CONDITIONS).enumerate();
        let conditions = conditions
            .filter_map(|(index, condition)| {
                let field = format!("events.filter.conditions[{index}]");
                Condition::compile(condition, &field, &mut left, violations).map(Arc::new)
            })
            .collect();
        let patterns = patterns(&filter.event_type_patterns, violations);
        Self {
            event_types: filter.event_types.iter().map(|event_type| event_type.as_str().into()).collect(),
            event_type_set: filter.event_types.iter().map(|event_type| event_type.as_str().into()).collect(),
            patterns,
            conditions,
        }
    }

    fn takes_type(&self, event_type: &str) -> bool {
        self.takes_any_type()
            || self.event_type_set.contains(event_type)
            || self.patterns.iter().any(|pattern| pattern.fits(event_type))
    }

    fn explain_type(&self, event_type: &str) -> Option<(bool, String)> {
        if self.takes_any_type() {
            return None;
        }
        let takes = self.takes_type(event_type);
        if let Some(pattern) = self.patterns.iter().find(|pattern| pattern.fits(event_type)) {
            let text = format!("event_type is {}, which fits {}", quoted(event_type), quoted(&pattern.glob));
            return Some((true, text));
        }
        let wanted: Vec<&str> =
            self.event_types().chain(self.patterns.iter().map(|pattern| pattern.glob.as_ref())).collect();
        let (event_type, count, list) = (quoted(event_type), wanted.len(), list(wanted.into_iter()));
        Some((
            takes,
            match (takes, count) {
                (true, 1) => format!("event_type is {event_type}"),
                (true, _) => format!("event_type is {event_type}, one of {list}"),
                (false, 1) => format!("event_type is {event_type}, not {list}"),
                (false, _) => format!("event_type is {event_type}, not one of {list}"),
            },
        ))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field("event_types", &self.event_types)
            .field("conditions", &self.conditions.len())
            .finish()
    }
}

/// Values as messages show them.
pub(crate) fn list<'v>(values: impl ExactSizeIterator<Item = &'v str>) -> String {
    const SHOWN: usize = 5;
    let rest = values.len().saturating_sub(SHOWN);
    let mut text = values.take(SHOWN).map(quoted).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}

/// A text in quotes as messages show it.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text, 64))
}

fn patterns(globs: &[String], violations: &mut Violations) -> Vec<TypePattern> {
    const FIELD: &str = "events.filter.event_type_patterns";
    if globs.len() > MAX_PATTERNS {
        let description = format!("{} patterns; at most {MAX_PATTERNS} are taken", globs.len());
        violations.add(FIELD, reason::TOO_MANY, description);
    }
    let mut patterns = Vec::new();
    for (index, glob) in globs.iter().take(MAX_PATTERNS).enumerate() {
        let compiled = if glob.is_empty() {
            Err((reason::REQUIRED, "the pattern is empty, and no event's type is".to_owned()))
        } else if glob.chars().nth(MAX_PATTERN_CHARS).is_some() {
            Err((reason::TOO_LONG, format!("the pattern has more than {MAX_PATTERN_CHARS} characters")))
        } else {
            Patterns::globs([glob.as_str()].into_iter()).map_err(|(_, why)| (reason::INVALID_VALUE, why))
        };
        match compiled {
            Ok(pattern) => {
                patterns.push(TypePattern { glob: glob.as_str().into(), prefix: literal_prefix(glob), pattern });
            }
            Err((reason, why)) => violations.add(format!("{FIELD}[{index}]"), reason, why),
        }
    }
    patterns
}

fn event_types(event_types: &[String], violations: &mut Violations) {
    const FIELD: &str = "events.filter.event_types";
    if event_types.len() > MAX_EVENT_TYPES {
        violations.add(
            FIELD,
            reason::TOO_MANY,
            format!("{} event types; at most {MAX_EVENT_TYPES} are taken", event_types.len()),
        );
    }
    if let Some(index) = event_types.iter().position(String::is_empty) {
        violations.add(format!("{FIELD}[{index}]"), reason::REQUIRED, "the event type is empty, and no event's is");
    }
}
