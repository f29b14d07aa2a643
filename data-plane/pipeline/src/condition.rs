//! One condition of a filter: a test of a property, or conditions put together.

use sha2::{Digest as _, Sha256};
use sluice_freemarker::json::Node;
use sluice_proto::sync::v1::{self, condition};

use crate::{
    property::{Equality, Property},
    violation::{Violations, reason},
};

const MAX_DEPTH: usize = 8;
/// Conditions of one filter, those within others too.
pub(crate) const MAX_CONDITIONS_IN_ALL: usize = 200;

/// A compiled condition.
pub(crate) struct Condition {
    /// Conditions with the same are the same.
    fingerprint: [u8; 32],
    test: Test,
}

enum Test {
    Property(Property),
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
}

/// What a condition says of an event, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Path of the condition, such as `events.filter.conditions[1].any.conditions[0]`.
    pub field: String,
    /// Whether it holds.
    pub holds: bool,
    /// What it asks, and what the event has.
    pub reason: String,
}

impl Condition {
    /// `None` if there is a violation. `left` counts down the conditions that the filter may still have.
    pub(crate) fn compile(
        condition: &v1::Condition,
        field: &str,
        left: &mut usize,
        violations: &mut Violations,
    ) -> Option<Self> {
        use prost::Message as _;
        let test = Test::compile(condition, field, 1, left, violations)?;
        Some(Self { fingerprint: Sha256::digest(condition.encode_to_vec()).into(), test })
    }

    /// Conditions with the same fingerprint hold for the same events.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// As [`Property::equality`].
    pub(crate) fn equality(&self) -> Option<Equality<'_>> {
        if let Test::Property(property) = &self.test { property.equality() } else { None }
    }

    /// Whether the condition holds for an event's object.
    pub(crate) fn holds(&self, event: Node<'_>) -> bool {
        self.test.holds(event)
    }

    /// The same with the reason, such as `user_properties.orders is 4: greater than "2" holds`.
    pub(crate) fn explain(&self, event: Node<'_>) -> (bool, String) {
        self.test.explain(event)
    }

    /// What it and each condition within it says.
    pub(crate) fn verdicts(&self, event: Node<'_>, field: String, verdicts: &mut Vec<Verdict>) {
        self.test.verdicts(event, field, verdicts);
    }
}

impl Test {
    fn compile(
        condition: &v1::Condition,
        field: &str,
        depth: usize,
        left: &mut usize,
        violations: &mut Violations,
    ) -> Option<Self> {
        if *left == 0 {
            let description =
                format!("a filter has at most {MAX_CONDITIONS_IN_ALL} conditions, those within others too");
            violations.add(field, reason::TOO_MANY, description);
            return None;
        }
        *left -= 1;
        if depth > MAX_DEPTH {
            let description = format!("conditions are nested at most {MAX_DEPTH} deep");
            violations.add(field, reason::TOO_MANY, description);
            return None;
        }
        match &condition.condition {
            Some(condition::Condition::Property(property)) => {
                Property::compile(property, &format!("{field}.property"), violations).map(Self::Property)
            }
            Some(condition::Condition::All(list)) => {
                Self::list(list, &format!("{field}.all"), depth, left, violations).map(Self::All)
            }
            Some(condition::Condition::Any(list)) => {
                Self::list(list, &format!("{field}.any"), depth, left, violations).map(Self::Any)
            }
            Some(condition::Condition::Not(inner)) => {
                let inner = Self::compile(inner, &format!("{field}.not"), depth + 1, left, violations)?;
                Some(Self::Not(Box::new(inner)))
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
    }

    fn list(
        list: &v1::ConditionList,
        field: &str,
        depth: usize,
        left: &mut usize,
        violations: &mut Violations,
    ) -> Option<Vec<Self>> {
        if list.conditions.is_empty() {
            let description = "the list is empty: it takes at least one condition";
            violations.add(format!("{field}.conditions"), reason::REQUIRED, description);
            return None;
        }
        let mut tests = Vec::new();
        for (index, condition) in list.conditions.iter().enumerate() {
            let none_left = *left == 0;
            let field = format!("{field}.conditions[{index}]");
            tests.extend(Self::compile(condition, &field, depth + 1, left, violations));
            if none_left {
                // Said once, where there is one too many.
                return None;
            }
        }
        (tests.len() == list.conditions.len()).then_some(tests)
    }

    fn holds(&self, event: Node<'_>) -> bool {
        match self {
            Self::Property(property) => property.holds(event),
            Self::All(tests) => tests.iter().all(|test| test.holds(event)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(event)),
            Self::Not(test) => !test.holds(event),
        }
    }

    fn explain(&self, event: Node<'_>) -> (bool, String) {
        let holds = self.holds(event);
        let text = match self {
            Self::Property(property) => return property.explain(event),
            // What decided: everything that holds if it holds, else everything that doesn't.
            Self::All(tests) | Self::Any(tests) => {
                let told = tests.iter().map(|test| test.explain(event));
                let told: Vec<_> = told.filter(|(part, _)| *part == holds).map(|(_, text)| text).collect();
                let words = if matches!(self, Self::All(_)) { "all" } else { "any" };
                format!("{words} of {} ({})", tests.len(), told.join("; "))
            }
            Self::Not(test) => format!("not ({})", test.explain(event).1),
        };
        (holds, text)
    }

    fn verdicts(&self, event: Node<'_>, field: String, verdicts: &mut Vec<Verdict>) {
        let (holds, reason) = match self {
            Self::Property(property) => property.explain(event),
            Self::All(tests) => (self.holds(event), format!("all of {}", tests.len())),
            Self::Any(tests) => (self.holds(event), format!("any of {}", tests.len())),
            Self::Not(_) => (self.holds(event), "not".to_owned()),
        };
        verdicts.push(Verdict { field: field.clone(), holds, reason });
        match self {
            Self::Property(_) => {}
            Self::All(tests) | Self::Any(tests) => {
                let word = if matches!(self, Self::All(_)) { "all" } else { "any" };
                for (index, test) in tests.iter().enumerate() {
                    test.verdicts(event, format!("{field}.{word}.conditions[{index}]"), verdicts);
                }
            }
            Self::Not(test) => test.verdicts(event, format!("{field}.not"), verdicts),
        }
    }
}
