//! A test of one property of an event.

use sluice_freemarker::json::{Kind, Node};
use sluice_proto::sync::v1::{self, PropertyOperator, PropertyRoot};

use crate::{
    comparison::{Comparison, Numbers, Order, Text, Words},
    event::kind_in_words,
    filter::{list, quoted},
    pattern::Patterns,
    set::{Held, Set},
    violation::{Violations, reason, shown},
};

const MAX_VALUES: usize = 1_000;
/// Equality looks its values up: lists like cohorts are cheap.
const MAX_EQUAL_VALUES: usize = 10_000;
const MAX_PATTERNS: usize = 20;
const MAX_VALUE_CHARS: usize = 1024;
const MAX_SEGMENTS: usize = 64;

/// What stands for a missing or null property among the values.
pub(crate) const NONE: &str = "(none)";

/// A compiled test of a property.
pub(crate) struct Property {
    /// Keys from the event object down, the root's one included.
    path: Vec<Box<str>>,
    test: Test,
    /// Whether the condition holds where the test does not.
    negated: bool,
    /// As the user wrote them, for messages.
    operator: PropertyOperator,
    values: Vec<String>,
}

enum Test {
    /// Present and not null.
    IsSet,
    /// It holds exactly the values.
    SetIs(Set),
    /// It holds all of the values.
    SetContains(Set),
    /// It holds any of the values.
    SetTouches(Set),
    /// A value, or any element of an array, compares so; or the property is missing and `(none)` is among the values.
    Any { comparison: Comparison, or_missing: bool },
}

/// What a property must be: one of the values, or an array that has one.
pub(crate) struct Equality<'p> {
    /// Keys from the event object down.
    pub(crate) path: &'p [Box<str>],
    /// At least one.
    pub(crate) values: &'p [String],
}

/// The property, if it is present and not null.
pub(crate) fn property_at<'d>(path: &[Box<str>], event: Node<'d>) -> Option<Node<'d>> {
    path.iter().try_fold(event, |node, key| node.get(key)).filter(|node| !node.is_null())
}

impl Property {
    pub(crate) fn compile(property: &v1::PropertyCondition, field: &str, violations: &mut Violations) -> Option<Self> {
        let root = root(property.root, field, violations);
        let path = path(&property.path, field, violations);
        let operator = operator(property.operator, field, violations)?;
        let values = values(operator, &property.values, field, violations)?;
        let (root, path) = (root?, path?);
        let texts = || values.iter().map(String::as_str).filter(|value| *value != NONE);
        let comparison = match operator {
            PropertyOperator::Is | PropertyOperator::IsNot => {
                Comparison::Equal { texts: texts().map(Into::into).collect(), numbers: Numbers::new(texts()) }
            }
            PropertyOperator::Contains | PropertyOperator::DoesNotContain => {
                let Some(contains) = Comparison::contains(texts()) else {
                    let field = format!("{field}.values");
                    violations.add(field, reason::TOO_LONG, "the values are too long altogether");
                    return None;
                };
                contains
            }
            PropertyOperator::StartsWith | PropertyOperator::DoesNotStartWith => {
                Comparison::StartsWith(Words::new(texts()))
            }
            PropertyOperator::EndsWith | PropertyOperator::DoesNotEndWith => Comparison::EndsWith(Words::new(texts())),
            PropertyOperator::Less => Comparison::ordered(Order::Less, texts()),
            PropertyOperator::LessOrEqual => Comparison::ordered(Order::LessOrEqual, texts()),
            PropertyOperator::Greater => Comparison::ordered(Order::Greater, texts()),
            PropertyOperator::GreaterOrEqual => Comparison::ordered(Order::GreaterOrEqual, texts()),
            PropertyOperator::Between => between(texts(), field, violations)?,
            PropertyOperator::Glob | PropertyOperator::DoesNotGlob => {
                patterns(Patterns::globs(texts()), field, violations)?
            }
            PropertyOperator::Regex | PropertyOperator::DoesNotRegex => {
                patterns(Patterns::regexes(texts()), field, violations)?
            }
            PropertyOperator::SetIs
            | PropertyOperator::SetIsNot
            | PropertyOperator::SetContains
            | PropertyOperator::SetDoesNotContain
            | PropertyOperator::IsSet
            | PropertyOperator::IsNotSet
            | PropertyOperator::Unspecified => Comparison::Never,
        };
        let test = match operator {
            PropertyOperator::IsSet | PropertyOperator::IsNotSet => Test::IsSet,
            PropertyOperator::SetIs | PropertyOperator::SetIsNot => Test::SetIs(Set::new(texts())),
            PropertyOperator::SetContains => Test::SetContains(Set::new(texts())),
            PropertyOperator::SetDoesNotContain => Test::SetTouches(Set::new(texts())),
            _ => Test::Any { comparison, or_missing: values.iter().any(|value| value == NONE) },
        };
        let negated = matches!(
            operator,
            PropertyOperator::IsNot
                | PropertyOperator::DoesNotContain
                | PropertyOperator::DoesNotStartWith
                | PropertyOperator::DoesNotEndWith
                | PropertyOperator::IsNotSet
                | PropertyOperator::SetIsNot
                | PropertyOperator::SetDoesNotContain
                | PropertyOperator::DoesNotGlob
                | PropertyOperator::DoesNotRegex
        );
        let path = root.into_iter().map(Into::into).chain(path).collect();
        Some(Self { path, test, negated, operator, values })
    }

    /// What the property must be, if the condition holds where it has one of some values and nowhere else.
    pub(crate) fn equality(&self) -> Option<Equality<'_>> {
        let is_equality = self.operator == PropertyOperator::Is && !self.values.iter().any(|value| value == NONE);
        is_equality.then_some(Equality { path: &self.path, values: &self.values })
    }

    /// Whether the condition holds for an event's object.
    pub(crate) fn holds(&self, event: Node<'_>) -> bool {
        self.holds_for(self.property(event))
    }

    /// The same with the reason, such as `user_properties.orders is 4: greater than "2" holds`.
    pub(crate) fn explain(&self, event: Node<'_>) -> (bool, String) {
        let property = self.property(event);
        let holds = self.holds_for(property);
        let verb = if holds { "holds" } else { "does not hold" };
        let text = format!("{} is {}: {} {verb}", self.label(), found(property), self.demand());
        (holds, text)
    }

    fn property<'d>(&self, event: Node<'d>) -> Option<Node<'d>> {
        property_at(&self.path, event)
    }

    fn holds_for(&self, property: Option<Node<'_>>) -> bool {
        let test_holds = match (&self.test, property) {
            (Test::IsSet, property) => property.is_some(),
            (Test::SetIs(_) | Test::SetContains(_) | Test::SetTouches(_), None) => false,
            (Test::SetIs(set), Some(property)) => set.held(property) == Held { known: set.count(), others: false },
            (Test::SetContains(set), Some(property)) => set.held(property).known == set.count(),
            (Test::SetTouches(set), Some(property)) => set.held(property).known > 0,
            (Test::Any { or_missing, .. }, None) => *or_missing,
            (Test::Any { comparison, .. }, Some(property)) => any_element(property, comparison),
        };
        test_holds != self.negated
    }

    /// The path as people write it: `user_properties.orders`, `event_properties["Page.path"]`.
    fn label(&self) -> String {
        let mut label = String::new();
        for key in &self.path {
            let is_plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'));
            if !is_plain || key.is_empty() {
                label.push_str(&format!("[{}]", quoted(key)));
            } else {
                if !label.is_empty() {
                    label.push('.');
                }
                label.push_str(&shown(key, 64));
            }
        }
        label
    }

    fn demand(&self) -> String {
        let words = match self.operator {
            PropertyOperator::Is => "being",
            PropertyOperator::IsNot => "not being",
            PropertyOperator::Contains => "containing",
            PropertyOperator::DoesNotContain => "not containing",
            PropertyOperator::StartsWith => "starting with",
            PropertyOperator::EndsWith => "ending with",
            PropertyOperator::Less => "less than",
            PropertyOperator::LessOrEqual => "less than or equal to",
            PropertyOperator::Greater => "greater than",
            PropertyOperator::GreaterOrEqual => "greater than or equal to",
            PropertyOperator::DoesNotStartWith => "not starting with",
            PropertyOperator::DoesNotEndWith => "not ending with",
            PropertyOperator::Glob => "fitting the pattern",
            PropertyOperator::DoesNotGlob => "not fitting the pattern",
            PropertyOperator::Regex => "fitting the expression",
            PropertyOperator::DoesNotRegex => "not fitting the expression",
            PropertyOperator::Between => return format!("between {}", self.all_values(" and ")),
            PropertyOperator::SetIs => return format!("holding exactly {}", self.all_values(", ")),
            PropertyOperator::SetIsNot => return format!("not holding exactly {}", self.all_values(", ")),
            PropertyOperator::SetContains => return format!("holding all of {}", self.all_values(", ")),
            PropertyOperator::SetDoesNotContain => return format!("holding none of {}", self.all_values(", ")),
            PropertyOperator::IsSet => return "being set".into(),
            PropertyOperator::IsNotSet | PropertyOperator::Unspecified => return "not being set".into(),
        };
        let any_of = if self.values.len() > 1 { "any of " } else { "" };
        format!("{words} {any_of}{}", list(self.values.iter().map(String::as_str)))
    }
}

impl Property {
    fn all_values(&self, between: &str) -> String {
        match self.values.as_slice() {
            [one, two] => format!("{}{between}{}", quoted(one), quoted(two)),
            values => list(values.iter().map(String::as_str)),
        }
    }
}

/// From the first value to the second, both included.
fn between<'v>(
    mut values: impl Iterator<Item = &'v str>,
    field: &str,
    violations: &mut Violations,
) -> Option<Comparison> {
    let (Some(low), Some(high), None) = (values.next(), values.next(), values.next()) else {
        let description = "`BETWEEN` takes two values, the least and the greatest";
        violations.add(format!("{field}.values"), reason::INVALID_VALUE, description);
        return None;
    };
    let ordered = [
        Comparison::ordered(Order::GreaterOrEqual, [low].into_iter()),
        Comparison::ordered(Order::LessOrEqual, [high].into_iter()),
    ];
    if !ordered.iter().all(|bound| bound.holds(Text::String(low))) {
        let description = format!("{} comes after {}: the lesser one comes first", quoted(low), quoted(high));
        violations.add(format!("{field}.values"), reason::INVALID_VALUE, description);
        return None;
    }
    let [from, to] = ordered;
    Some(Comparison::Both(Box::new((from, to))))
}

fn patterns(
    compiled: Result<Patterns, (Option<usize>, String)>,
    field: &str,
    violations: &mut Violations,
) -> Option<Comparison> {
    match compiled {
        Ok(patterns) => Some(Comparison::Fits(patterns)),
        Err((index, why)) => {
            let at = index.map_or_else(String::new, |index| format!("[{index}]"));
            violations.add(format!("{field}.values{at}"), reason::INVALID_VALUE, why);
            None
        }
    }
}

/// Whether the value, or any element of an array of arrays …, compares so. Nulls and objects never do.
fn any_element(node: Node<'_>, comparison: &Comparison) -> bool {
    match node.kind() {
        Kind::Array => node.items().any(|item| any_element(item, comparison)),
        Kind::Object | Kind::Null => false,
        Kind::String => node.as_str().is_some_and(|text| comparison.holds(Text::String(text))),
        Kind::Number => node.number_text().is_some_and(|text| comparison.holds(Text::Number(text))),
        Kind::Bool => node.as_bool().is_some_and(|value| comparison.holds(Text::String(bool_text(value)))),
    }
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn found(property: Option<Node<'_>>) -> String {
    let Some(property) = property else {
        return "missing or null".into();
    };
    match property.kind() {
        Kind::String => quoted(property.as_str().unwrap_or_default()),
        Kind::Number | Kind::Bool => {
            let text = property.number_text().or(property.as_bool().map(bool_text));
            shown(text.unwrap_or_default(), 64)
        }
        Kind::Array => match property.len() {
            1 => "an array of 1 element".into(),
            count => format!("an array of {count} elements"),
        },
        kind => kind_in_words(kind).into(),
    }
}

/// The key of the event that holds the root; `None` within if it is the event itself.
fn root(root: i32, field: &str, violations: &mut Violations) -> Option<Option<&'static str>> {
    match PropertyRoot::try_from(root) {
        Ok(PropertyRoot::Event) => Some(None),
        Ok(PropertyRoot::EventProperties) => Some(Some("event_properties")),
        Ok(PropertyRoot::UserProperties) => Some(Some("user_properties")),
        Ok(PropertyRoot::GroupProperties) => Some(Some("group_properties")),
        Ok(PropertyRoot::Groups) => Some(Some("groups")),
        Ok(PropertyRoot::Unspecified) => {
            violations.add(
                format!("{field}.root"),
                reason::REQUIRED,
                "no root is chosen: `PROPERTY_ROOT_EVENT` (the event itself), `…_EVENT_PROPERTIES`, `…_USER_PROPERTIES`, \
                 `…_GROUP_PROPERTIES` or `…_GROUPS` is expected",
            );
            None
        }
        Err(_) => {
            violations.add(
                format!("{field}.root"),
                reason::UNKNOWN_VARIANT,
                format!("this version does not know the root {root}"),
            );
            None
        }
    }
}

fn path(path: &[String], field: &str, violations: &mut Violations) -> Option<Vec<Box<str>>> {
    let field = format!("{field}.path");
    if path.is_empty() {
        violations.add(
            field,
            reason::REQUIRED,
            "the path is empty: it holds the keys from the root down to the property",
        );
        return None;
    }
    if path.len() > MAX_SEGMENTS {
        violations.add(
            field,
            reason::TOO_MANY,
            format!("{} keys; events are nested at most {MAX_SEGMENTS} deep", path.len()),
        );
        return None;
    }
    Some(path.iter().map(|key| key.as_str().into()).collect())
}

fn operator(operator: i32, field: &str, violations: &mut Violations) -> Option<PropertyOperator> {
    let field = format!("{field}.operator");
    match PropertyOperator::try_from(operator) {
        Ok(PropertyOperator::Unspecified) => {
            violations.add(field, reason::REQUIRED, "no operator is chosen, such as `PROPERTY_OPERATOR_IS`");
            None
        }
        Ok(operator) => Some(operator),
        Err(_) => {
            violations.add(
                field,
                reason::UNKNOWN_VARIANT,
                format!("this version does not know the operator {operator}"),
            );
            None
        }
    }
}

fn values(
    operator: PropertyOperator,
    values: &[String],
    field: &str,
    violations: &mut Violations,
) -> Option<Vec<String>> {
    let takes_none = matches!(operator, PropertyOperator::IsSet | PropertyOperator::IsNotSet);
    let is_order = matches!(
        operator,
        PropertyOperator::Less
            | PropertyOperator::LessOrEqual
            | PropertyOperator::Greater
            | PropertyOperator::GreaterOrEqual
            | PropertyOperator::Between
    );
    let is_equality = matches!(operator, PropertyOperator::Is | PropertyOperator::IsNot);
    let is_set = matches!(
        operator,
        PropertyOperator::SetIs
            | PropertyOperator::SetIsNot
            | PropertyOperator::SetContains
            | PropertyOperator::SetDoesNotContain
    );
    let is_pattern = matches!(
        operator,
        PropertyOperator::Glob
            | PropertyOperator::DoesNotGlob
            | PropertyOperator::Regex
            | PropertyOperator::DoesNotRegex
    );
    let max = match (is_equality, is_pattern) {
        (true, _) => MAX_EQUAL_VALUES,
        (_, true) => MAX_PATTERNS,
        _ => MAX_VALUES,
    };
    let first = |what: &dyn Fn(&String) -> bool| values.iter().position(what);
    let (at, reason, description) = if takes_none && !values.is_empty() {
        (None, reason::INVALID_VALUE, "the operator takes no values".to_owned())
    } else if !takes_none && values.is_empty() {
        (None, reason::REQUIRED, "there is no value to compare with".to_owned())
    } else if values.len() > max {
        (None, reason::TOO_MANY, format!("{} values; at most {max} are taken", values.len()))
    } else if let Some(at) = first(&|value| value.chars().nth(MAX_VALUE_CHARS).is_some()) {
        (Some(at), reason::TOO_LONG, format!("the value has more than {MAX_VALUE_CHARS} characters"))
    } else if let Some(at) = first(&|value| is_order && value == NONE) {
        (Some(at), reason::INVALID_VALUE, format!("nothing is less or greater than `{NONE}`"))
    } else if let Some(at) = first(&|value| is_set && value == NONE) {
        let description = format!("no array holds `{NONE}`: ask for it with `IS` or `IS_NOT_SET`");
        (Some(at), reason::INVALID_VALUE, description)
    } else if let Some(at) = first(&|value| !is_equality && !is_set && value.is_empty()) {
        (Some(at), reason::INVALID_VALUE, "the value is empty, which compares alike with every text".to_owned())
    } else {
        return Some(values.to_vec());
    };
    let at = at.map_or_else(String::new, |at| format!("[{at}]"));
    violations.add(format!("{field}.values{at}"), reason, description);
    None
}
