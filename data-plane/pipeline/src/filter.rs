//! Which events a sync takes: any of the types, and all of the conditions.

use std::{collections::HashSet, fmt};

use sluice_proto::sync::v1::{self, condition};

use crate::{
    condition::Condition,
    event::Event,
    violation::{Violations, reason, shown},
};

const MAX_EVENT_TYPES: usize = 1000;
const MAX_CONDITIONS: usize = 50;

/// A compiled filter. The empty one takes every event.
#[derive(Default)]
pub struct Filter {
    /// In the user's order, for messages; empty: every type.
    event_types: Vec<Box<str>>,
    /// The same, to look them up.
    event_type_set: HashSet<Box<str>>,
    conditions: Vec<Condition>,
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
        let conditions = filter
            .conditions
            .iter()
            .take(MAX_CONDITIONS)
            .enumerate()
            .filter_map(|(index, condition)| {
                let field = format!("events.filter.conditions[{index}]");
                match &condition.condition {
                    Some(condition::Condition::Property(property)) => {
                        Condition::compile(property, &format!("{field}.property"), violations)
                    }
                    None => {
                        violations.add(
                            field,
                            reason::UNKNOWN_VARIANT,
                            "the condition is empty, or of a kind that this version does not know",
                        );
                        None
                    }
                }
            })
            .collect();
        Self {
            event_types: filter.event_types.iter().map(|event_type| event_type.as_str().into()).collect(),
            event_type_set: filter.event_types.iter().map(|event_type| event_type.as_str().into()).collect(),
            conditions,
        }
    }

    fn takes_type(&self, event_type: &str) -> bool {
        self.event_type_set.is_empty() || self.event_type_set.contains(event_type)
    }

    fn explain_type(&self, event_type: &str) -> Option<(bool, String)> {
        if self.event_types.is_empty() {
            return None;
        }
        let takes = self.takes_type(event_type);
        let (event_type, list) = (quoted(event_type), list(self.event_types()));
        Some((
            takes,
            match (takes, self.event_types.len()) {
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
