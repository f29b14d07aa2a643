//! Filters: what they take, and what they say about it.

use proptest::prelude::*;
use sluice_pipeline::{event::Event, filter::Verdict, violation::reason};
use sluice_proto::sync::v1::{
    Condition, ConditionList, Filter,
    PropertyOperator::{self, *},
    PropertyRoot::{self, *},
    condition,
};

use crate::support::{SyncExt, compiled, conditions, property, sync, types as types_of, violations};

const EVENT: &str = r#"{
    "event_type": "purchase", "user_id": null, "platform": "iOS", "empty": "",
    "event_properties": {
        "Page.path": "/Checkout/Thanks", "price": 10.50, "big": 9007199254740993, "zero": -0, "text number": "10",
        "skus": ["A-1", "b-2", null, ["deep"]], "sizes": [1, 2.0], "none": [], "nothing": [null], "map": {"a": 1},
        "stra\u00dfe": "GRÜNE Straße", "true": true, "false text": "false", "name": "(none)"
    },
    "user_properties": {"orders": 4, "plan": "pro", "since": "2026-11-23"},
    "group_properties": {"org": {"acme": {"seats": 12}}},
    "groups": {"org": ["acme", "beta"]}
}"#;

fn verdict(filter: Filter, event: &str) -> Verdict {
    let sync = compiled(&sync("s").with_filter(filter));
    let event = Event::parse(event.as_bytes()).unwrap();
    let verdict = sync.filter.explain(&event);
    assert_eq!(verdict.matched, sync.filter.matches(&event), "{verdict:?}");
    verdict
}

fn holds(condition: Condition) -> bool {
    verdict(conditions([condition]), EVENT).matched
}

/// Whether the test holds of an event property; its negation must say the opposite.
#[track_caller]
fn check(path: &str, operator: PropertyOperator, values: &[&str], expected: bool) {
    let holds = |operator| holds(property(EventProperties, path, operator, values));
    assert_eq!(holds(operator), expected, "{path} {operator:?} {values:?}");
    let negation = match operator {
        Is => IsNot,
        Contains => DoesNotContain,
        StartsWith => DoesNotStartWith,
        EndsWith => DoesNotEndWith,
        IsSet => IsNotSet,
        SetIs => SetIsNot,
        Glob => DoesNotGlob,
        Regex => DoesNotRegex,
        _ => return,
    };
    assert_eq!(holds(negation), !expected, "{path} {negation:?} {values:?}");
}

#[test]
fn an_empty_filter_takes_everything() {
    let verdict = verdict(Filter::default(), EVENT);
    assert!(verdict.matched);
    assert_eq!(verdict.reason, "the filter is empty: every event is taken");
}

#[test]
fn event_types_are_alternatives_and_exact() {
    let reason = |event_types: &[&str]| {
        let verdict = verdict(types_of(event_types), EVENT);
        (verdict.matched, verdict.reason)
    };
    assert_eq!(reason(&["purchase"]), (true, r#"event_type is "purchase""#.into()));
    assert_eq!(
        reason(&["checkout", "purchase"]),
        (true, r#"event_type is "purchase", one of "checkout", "purchase""#.into())
    );
    assert_eq!(reason(&["Purchase"]), (false, r#"event_type is "purchase", not "Purchase""#.into()));
    assert_eq!(
        reason(&["a", "b", "c", "d", "e", "f", "g"]),
        (false, r#"event_type is "purchase", not one of "a", "b", "c", "d", "e" and 2 more"#.into())
    );
}

#[test]
fn strings_are_equal_exactly_and_values_are_alternatives() {
    check("Page.path", Is, &["/Checkout/Thanks"], true);
    check("Page.path", Is, &["/checkout/thanks"], false);
    check("Page.path", Is, &["x", "/Checkout/Thanks"], true);
    check("text number", Is, &["10"], true);
    check("text number", Is, &["10.0"], false);
}

#[test]
fn numbers_are_equal_as_numbers_to_the_last_digit() {
    check("price", Is, &["10.5"], true);
    check("price", Is, &["105e-1"], true);
    check("price", Is, &["10"], false);
    check("price", Is, &["10.50x"], false);
    check("big", Is, &["9007199254740993.0"], true);
    check("big", Is, &["9007199254740992"], false);
    check("zero", Is, &["0"], true);
    check("price", Is, &["1", "x", "12", "3", "10.500", "2"], true);
}

#[test]
fn booleans_are_equal_by_their_text_be_they_booleans_or_strings() {
    check("true", Is, &["true"], true);
    check("true", Is, &["false"], false);
    check("true", Is, &["1"], false);
    check("false text", Is, &["false"], true);
}

#[test]
fn none_stands_for_a_missing_or_null_property() {
    let user_id = |operator, values: &[&str]| holds(property(PropertyRoot::Event, "user_id", operator, values));
    assert!(user_id(Is, &["(none)"]));
    assert!(!user_id(IsNot, &["(none)"]));
    assert!(user_id(Is, &["u1", "(none)"]));
    assert!(!user_id(Is, &["u1"]));
    assert!(user_id(IsNot, &["u1"]), "a missing property is not any value");
    check("missing", Is, &["(none)"], true);
    check("missing/deeper", Is, &["(none)"], true);
    check("price/deeper", Is, &["(none)"], true);
    check("price", Is, &["(none)"], false);
    check("name", Is, &["(none)"], false);
    check("missing", Contains, &["(none)"], true);
    check("missing", Contains, &["none"], false);
    check("missing", Less, &["1"], false);
    check("missing", Greater, &["1"], false);
}

#[test]
fn contains_starts_and_ends_ignore_case() {
    check("Page.path", Contains, &["checkout"], true);
    check("Page.path", Contains, &["CHECKOUT/THANKS"], true);
    check("Page.path", Contains, &["cart", "thank"], true);
    check("Page.path", Contains, &["cart"], false);
    check("Page.path", StartsWith, &["/check"], true);
    check("Page.path", StartsWith, &["checkout"], false);
    check("Page.path", EndsWith, &["thanks"], true);
    check("Page.path", EndsWith, &["/Checkout/Thanks and more"], false);
    check("straße", Contains, &["grüne STRASSE"], true);
    check("straße", StartsWith, &["GRÜN"], true);
    check("straße", EndsWith, &["ße"], true);
    check("price", Contains, &[".5"], true);
    check("true", StartsWith, &["TR"], true);
}

#[test]
fn an_array_matches_when_any_element_does() {
    check("skus", Is, &["b-2"], true);
    check("skus", Is, &["c-3"], false);
    check("skus", Is, &["deep"], true);
    check("skus", Contains, &["B-"], true);
    check("sizes", Is, &["2"], true);
    check("sizes", Less, &["2"], true);
    check("sizes", Greater, &["2"], false);
    check("none", Is, &["(none)"], false);
    check("nothing", Is, &["(none)"], false);
    check("none", IsSet, &[], true);
    assert!(holds(property(Groups, "org", Is, &["beta"])));
}

#[test]
fn order_is_of_numbers_if_both_are_else_of_texts() {
    for (operator, below, equal, above) in [
        (Less, true, false, false),
        (LessOrEqual, true, true, false),
        (Greater, false, false, true),
        (GreaterOrEqual, false, true, true),
    ] {
        check("price", operator, &["11"], below);
        check("price", operator, &["10.500"], equal);
        check("price", operator, &["9"], above);
        check("text number", operator, &["9"], above);
    }
    let since = |operator, value| holds(property(UserProperties, "since", operator, &[value]));
    assert!(since(Greater, "2026-09-30"));
    assert!(!since(Less, "2026-09-30"));
    assert!(since(GreaterOrEqual, "2026-11-23"));
    check("big", Greater, &["9007199254740992"], true);
    check("price", Less, &["1", "100"], true);
}

#[test]
fn objects_are_set_and_compare_with_nothing() {
    check("map", IsSet, &[], true);
    check("map", Is, &["{}", "1", "a"], false);
    check("map", Contains, &["a"], false);
    check("map/a", Is, &["1"], true);
    check("missing", IsSet, &[], false);
}

#[test]
fn between_takes_both_ends() {
    check("price", Between, &["10.5", "11"], true);
    check("price", Between, &["9", "10.50"], true);
    check("price", Between, &["9", "10"], false);
    check("sizes", Between, &["1.5", "3"], true);
    check("missing", Between, &["0", "9"], false);
    assert!(holds(property(UserProperties, "since", Between, &["2026-11-01", "2026-11-30"])));
}

#[test]
fn sets_are_compared_whatever_their_order() {
    check("sizes", SetIs, &["2", "1.0"], true);
    check("sizes", SetIs, &["1"], false);
    check("sizes", SetIs, &["1", "2", "3"], false);
    check("sizes", SetContains, &["2"], true);
    check("sizes", SetContains, &["2", "3"], false);
    check("sizes", SetDoesNotContain, &["3", "4"], true);
    check("sizes", SetDoesNotContain, &["3", "2"], false);
    check("skus", SetContains, &["A-1", "deep"], true);
    check("skus", SetIs, &["A-1", "b-2", "deep"], true);
    check("text number", SetIs, &["10"], true);
    check("true", SetIs, &["true"], true);
    check("none", SetIs, &["a"], false);
    check("none", SetDoesNotContain, &["a"], true);
    check("missing", SetContains, &["a"], false);
    check("missing", SetDoesNotContain, &["a"], true);
}

#[test]
fn patterns_fit_texts() {
    check("Page.path", Glob, &["/Checkout/*"], true);
    check("Page.path", Glob, &["/Checkout"], false);
    check("Page.path", Glob, &["/*"], false);
    check("Page.path", Glob, &["/cart", "/**"], true);
    check("Page.path", Regex, &["thanks$"], false);
    check("Page.path", Regex, &["(?i)thanks$"], true);
    check("price", Regex, &["^10\\.5"], true);
    check("skus", Glob, &["b-[0-9]"], true);
    check("missing", Glob, &["**"], false);
}

fn all(conditions: Vec<Condition>) -> Condition {
    Condition { condition: Some(condition::Condition::All(ConditionList { conditions })) }
}

fn any_of(conditions: Vec<Condition>) -> Condition {
    Condition { condition: Some(condition::Condition::Any(ConditionList { conditions })) }
}

fn not(inner: Condition) -> Condition {
    Condition { condition: Some(condition::Condition::Not(Box::new(inner))) }
}

fn plan(value: &str) -> Condition {
    property(UserProperties, "plan", Is, &[value])
}

#[test]
fn conditions_are_put_together() {
    assert!(holds(any_of(vec![plan("free"), plan("pro")])));
    assert!(!holds(all(vec![plan("free"), plan("pro")])));
    assert!(holds(not(plan("free"))));
    assert!(holds(all(vec![not(any_of(vec![plan("a"), plan("b")])), plan("pro")])));
    let told = verdict(conditions([any_of(vec![plan("free"), plan("pro")])]), EVENT).reason;
    assert_eq!(told, "any of 2 (user_properties.plan is \"pro\": being \"pro\" holds)");

    let sync = compiled(&sync("s").with_filter(conditions([not(any_of(vec![plan("free"), plan("pro")]))])));
    let verdicts = sync.filter.verdicts(&Event::parse(EVENT.as_bytes()).unwrap());
    let told: Vec<_> = verdicts.iter().map(|verdict| (verdict.field.as_str(), verdict.holds)).collect();
    assert_eq!(
        told,
        [
            ("events.filter.conditions[0]", false),
            ("events.filter.conditions[0].not", true),
            ("events.filter.conditions[0].not.any.conditions[0]", false),
            ("events.filter.conditions[0].not.any.conditions[1]", true),
        ]
    );
}

#[test]
fn nesting_is_bounded_and_empty_lists_are_refused() {
    let told = |condition: Condition| violations(&sync("s").with_filter(conditions([condition])));
    assert_eq!(told(any_of(Vec::new())), [("events.filter.conditions[0].any.conditions".into(), reason::REQUIRED)]);
    let nested = |depth| (1..depth).fold(plan("a"), |inner, _| not(inner));
    compiled(&sync("s").with_filter(conditions([nested(8)])));
    assert_eq!(told(nested(9)), [(format!("events.filter.conditions[0]{}", ".not".repeat(8)), reason::TOO_MANY)]);
    let wide = any_of(vec![plan("a"); 200]);
    assert_eq!(told(wide), [("events.filter.conditions[0].any.conditions[199]".into(), reason::TOO_MANY)]);
    compiled(&sync("s").with_filter(conditions([any_of(vec![plan("a"); 199])])));
    let broken = all(vec![plan("a"), not(property(Groups, "a", Is, &[]))]);
    assert_eq!(
        told(broken),
        [("events.filter.conditions[0].all.conditions[1].not.property.values".into(), reason::REQUIRED)]
    );
}

#[test]
fn event_types_may_be_patterns() {
    let filter = |types: &[&str], patterns: &[&str]| Filter {
        event_type_patterns: patterns.iter().map(ToString::to_string).collect(),
        ..types_of(types)
    };
    assert!(verdict(filter(&[], &["pur*"]), EVENT).matched);
    assert!(verdict(filter(&["a"], &["b", "p?rch[a-b]se"]), EVENT).matched);
    let refused = verdict(filter(&["a"], &["Pur*"]), EVENT);
    assert_eq!(
        (refused.matched, refused.reason.as_str()),
        (false, "event_type is \"purchase\", not one of \"a\", \"Pur*\"")
    );
    let taken = verdict(filter(&[], &["pur*"]), EVENT).reason;
    assert_eq!(taken, "event_type is \"purchase\", which fits \"pur*\"");
    let wrong = violations(&sync("s").with_filter(filter(&[], &["", "[a"])));
    let field = |index: usize| format!("events.filter.event_type_patterns[{index}]");
    assert_eq!(wrong, [(field(0), reason::REQUIRED), (field(1), reason::INVALID_VALUE)]);
}

#[test]
fn a_filter_names_the_features_that_a_node_must_have() {
    let needs = |filter| sluice_pipeline::sync::required_features(&sync("s").with_filter(filter));
    assert_eq!(needs(conditions([plan("a")])), ["filter.property"]);
    assert_eq!(needs(conditions([not(plan("a"))])), ["filter.nested", "filter.property"]);
    let patterns = Filter { event_type_patterns: vec!["a*".into()], ..Filter::default() };
    assert_eq!(needs(patterns), ["filter.event_type_patterns"]);
}

#[test]
fn every_root_is_reached() {
    assert!(holds(property(PropertyRoot::Event, "platform", Is, &["iOS"])));
    assert!(holds(property(PropertyRoot::Event, "empty", Is, &[""])));
    assert!(holds(property(UserProperties, "plan", Is, &["pro"])));
    assert!(holds(property(GroupProperties, "org/acme/seats", Greater, &["10"])));
    assert!(holds(property(Groups, "org", Is, &["acme"])));
}

#[test]
fn the_reason_tells_every_condition_that_holds_or_those_that_do_not() {
    let filter = |orders: &str| Filter {
        event_types: vec!["purchase".into()],
        conditions: vec![
            property(UserProperties, "orders", Greater, &[orders]),
            property(EventProperties, "Page.path", Contains, &["thanks", "bye"]),
            property(PropertyRoot::Event, "user_id", IsNotSet, &[]),
        ],
        ..Filter::default()
    };
    assert_eq!(
        verdict(filter("2"), EVENT).reason,
        "event_type is \"purchase\"; user_properties.orders is 4: greater than \"2\" holds; \
         event_properties[\"Page.path\"] is \"/Checkout/Thanks\": containing any of \"thanks\", \"bye\" holds; \
         user_id is missing or null: not being set holds"
    );
    let refused = verdict(filter("5"), EVENT);
    assert!(!refused.matched);
    assert_eq!(refused.reason, "user_properties.orders is 4: greater than \"5\" does not hold");
    let skus = verdict(conditions([property(EventProperties, "skus", Is, &["x"])]), EVENT);
    assert_eq!(skus.reason, "event_properties.skus is an array of 4 elements: being \"x\" does not hold");
}

#[test]
fn what_makes_no_sense_is_a_violation() {
    let violations = |condition| violations(&sync("s").with_filter(conditions([condition])));
    let field = |name: &str| format!("events.filter.conditions[0]{name}");
    assert_eq!(violations(Condition { condition: None }), [(field(""), reason::UNKNOWN_VARIANT)]);
    for (condition, name, reason) in [
        (property(PropertyRoot::Unspecified, "a", Is, &["x"]), ".property.root", reason::REQUIRED),
        (property(Groups, "a", PropertyOperator::Unspecified, &["x"]), ".property.operator", reason::REQUIRED),
        (property(Groups, "a", Is, &[]), ".property.values", reason::REQUIRED),
        (property(Groups, "a", IsSet, &["x"]), ".property.values", reason::INVALID_VALUE),
        (property(Groups, "a", Contains, &["x", ""]), ".property.values[1]", reason::INVALID_VALUE),
        (property(Groups, "a", Less, &["(none)"]), ".property.values[0]", reason::INVALID_VALUE),
        (property(Groups, "a", Is, &["x"; 10_001]), ".property.values", reason::TOO_MANY),
        (property(Groups, "a", Contains, &["x"; 1001]), ".property.values", reason::TOO_MANY),
        (property(Groups, "a", Regex, &["x"; 21]), ".property.values", reason::TOO_MANY),
        (property(Groups, "a", Regex, &["ok", "(x"]), ".property.values[1]", reason::INVALID_VALUE),
        (property(Groups, "a", Glob, &["[x"]), ".property.values[0]", reason::INVALID_VALUE),
        (property(Groups, "a", Between, &["1"]), ".property.values", reason::INVALID_VALUE),
        (property(Groups, "a", Between, &["10", "9"]), ".property.values", reason::INVALID_VALUE),
        (property(Groups, "a", SetIs, &["(none)"]), ".property.values[0]", reason::INVALID_VALUE),
        (property(Groups, "a", Is, &[&"x".repeat(1025)]), ".property.values[0]", reason::TOO_LONG),
        (property(Groups, &["a"; 65].join("/"), Is, &["x"]), ".property.path", reason::TOO_MANY),
    ] {
        assert_eq!(violations(condition), [(field(name), reason)]);
    }
}

#[test]
fn unknown_roots_and_operators_are_violations_never_no_condition() {
    let filter = |change: &dyn Fn(&mut sluice_proto::sync::v1::PropertyCondition)| {
        let mut condition = property(Groups, "a", Is, &["x"]);
        match condition.condition.as_mut().unwrap() {
            sluice_proto::sync::v1::condition::Condition::Property(property) => change(property),
            other => panic!("{other:?}"),
        }
        violations(&sync("s").with_filter(conditions([condition])))
    };
    let field = |name: &str| format!("events.filter.conditions[0].property.{name}");
    assert_eq!(filter(&|property| property.root = 99), [(field("root"), reason::UNKNOWN_VARIANT)]);
    assert_eq!(filter(&|property| property.operator = 99), [(field("operator"), reason::UNKNOWN_VARIANT)]);
    assert_eq!(filter(&|property| property.path.clear()), [(field("path"), reason::REQUIRED)]);
    assert_eq!(
        filter(&|property| (property.root, property.operator) = (99, -1)),
        [(field("root"), reason::UNKNOWN_VARIANT), (field("operator"), reason::UNKNOWN_VARIANT)]
    );
}

#[test]
fn filters_are_bounded() {
    let many = Filter {
        event_types: (0..1001).map(|n| n.to_string()).chain([String::new()]).collect(),
        conditions: vec![property(Groups, "a", IsSet, &[]); 51],
        event_type_patterns: vec!["*".into(); 101],
    };
    assert_eq!(
        violations(&sync("s").with_filter(many)),
        [
            ("events.filter.event_types".to_owned(), reason::TOO_MANY),
            ("events.filter.event_types[1001]".to_owned(), reason::REQUIRED),
            ("events.filter.conditions".to_owned(), reason::TOO_MANY),
            ("events.filter.event_type_patterns".to_owned(), reason::TOO_MANY),
        ]
    );
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-3_i64..3).prop_map(Into::into),
        prop::sample::select(vec!["", "a", "A", "ab", "1", "(none)"]).prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("[ab]", inner, 0..2)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn negations_are_exact_complements(
        value in json(),
        values in prop::collection::vec(prop::sample::select(vec!["a", "B", "1", "1.0", "true", "(none)"]), 1..4),
    ) {
        let event = serde_json::json!({"event_type": "e", "p": value}).to_string();
        let holds = |operator, values: &[&str]| {
            verdict(conditions([property(PropertyRoot::Event, "p", operator, values)]), &event).matched
        };
        prop_assert_ne!(holds(Is, &values), holds(IsNot, &values));
        prop_assert_ne!(holds(Contains, &values), holds(DoesNotContain, &values));
        prop_assert_ne!(holds(IsSet, &[]), holds(IsNotSet, &[]));
        prop_assert!(!holds(Is, &values) || holds(Contains, &values) || event.contains('1'));
    }
}
