//! Which of many syncs take an event. Syncs are found by the event's type, and among those of one type by the value that they demand of
//! a property; what is left to ask is asked once, however many of them ask it.

mod by_value;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use self::by_value::ByValue;
use crate::{condition::Condition, event::Event, filter::Filter, sync::CompiledSync};

/// The enabled syncs of one project by the event types that they take.
#[derive(Default)]
pub(crate) struct Index {
    by_type: HashMap<Box<str>, Group>,
    any_type: Group,
    /// Syncs with patterns, by what every type that fits the pattern begins with.
    by_prefix: HashMap<Box<str>, Group>,
    /// The lengths of these beginnings, in bytes.
    prefix_lengths: BTreeSet<usize>,
    /// Of conditions that are the same one is kept.
    conditions: HashMap<[u8; 32], Arc<Condition>>,
}

/// Syncs that are looked at together.
#[derive(Default)]
struct Group {
    members: Vec<Member>,
    /// Members that are found by a value.
    by_value: ByValue,
    /// The others, which are always looked at.
    others: Vec<u32>,
    /// Places of the different conditions that are asked in this group.
    places: HashMap<[u8; 32], u32>,
    /// How often conditions are asked in this group.
    asked: usize,
}

struct Member {
    sync: Arc<CompiledSync>,
    /// Which of the sync's patterns has brought it here; none: its exact type, or that it takes any.
    pattern: Option<usize>,
    /// What it asks beyond what it is found by.
    conditions: Vec<(u32, Arc<Condition>)>,
}

/// What is known of the conditions of a group, for one event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    No,
    Holds,
    Fails,
}

impl Index {
    /// Adds a sync.
    pub(crate) fn add(&mut self, sync: &Arc<CompiledSync>) {
        let conditions: Vec<_> = sync.filter.conditions().iter().map(|condition| self.interned(condition)).collect();
        if sync.filter.takes_any_type() {
            self.any_type.add(sync, None, &conditions);
            return;
        }
        let mut types: Vec<_> = sync.filter.event_types().collect();
        // A type that is listed twice matches once.
        types.sort_unstable();
        types.dedup();
        for event_type in types {
            self.by_type.entry(event_type.into()).or_default().add(sync, None, &conditions);
        }
        for (index, pattern) in sync.filter.patterns().iter().enumerate() {
            self.prefix_lengths.insert(pattern.prefix.len());
            let group = self.by_prefix.entry(pattern.prefix.as_str().into()).or_default();
            group.add(sync, Some(index), &conditions);
        }
    }

    /// Adds to `out` the syncs that take the event, each once.
    pub(crate) fn matching<'c>(&'c self, event: &Event<'_>, out: &mut Vec<&'c Arc<CompiledSync>>) {
        let event_type = event.event_type();
        if let Some(group) = self.by_type.get(event_type) {
            group.matching(event, out);
        }
        self.any_type.matching(event, out);
        for length in self.prefix_lengths.iter().take_while(|length| **length <= event_type.len()) {
            if let Some(group) = event_type.get(..*length).and_then(|prefix| self.by_prefix.get(prefix)) {
                group.matching(event, out);
            }
        }
    }

    /// The condition that is the same and was there before, or this one.
    fn interned(&mut self, condition: &Arc<Condition>) -> Arc<Condition> {
        self.conditions.entry(*condition.fingerprint()).or_insert_with(|| Arc::clone(condition)).clone()
    }
}

impl Group {
    fn add(&mut self, sync: &Arc<CompiledSync>, pattern: Option<usize>, conditions: &[Arc<Condition>]) {
        let member = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let equalities = conditions.iter().enumerate().filter_map(|(at, condition)| Some((at, condition.equality()?)));
        let fewest = equalities.min_by_key(|(_, equality)| equality.values.len());
        let found_by = fewest.and_then(|(at, equality)| self.by_value.add(&equality, member).then_some(at));
        if found_by.is_none() {
            self.others.push(member);
        }
        let asked = conditions.iter().enumerate().filter(|(at, _)| Some(*at) != found_by);
        let asked = asked.map(|(_, condition)| {
            let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            let place = *self.places.entry(*condition.fingerprint()).or_insert(next);
            (place, Arc::clone(condition))
        });
        let conditions: Vec<_> = asked.collect();
        self.asked += conditions.len();
        self.members.push(Member { sync: Arc::clone(sync), pattern, conditions });
    }

    fn matching<'c>(&'c self, event: &Event<'_>, out: &mut Vec<&'c Arc<CompiledSync>>) {
        let mut found = Vec::new();
        self.by_value.find(event.root(), &mut found);
        // Without conditions that are asked more than once there is nothing to remember.
        let several = self.others.len() + found.len() > 1 && self.asked > self.places.len();
        let mut known = if several { vec![Known::No; self.places.len()] } else { Vec::new() };
        for member in self.others.iter().chain(&found) {
            let Some(member) = usize::try_from(*member).ok().and_then(|at| self.members.get(at)) else { continue };
            let of_type = member.pattern.is_none_or(|pattern| brings(&member.sync.filter, pattern, event.event_type()));
            if of_type && member.conditions.iter().all(|(place, condition)| holds(*place, condition, event, &mut known))
            {
                out.push(&member.sync);
            }
        }
    }
}

/// Whether the sync is taken for this pattern: it fits, and nothing before it has brought the sync.
fn brings(filter: &Filter, pattern: usize, event_type: &str) -> bool {
    let patterns = filter.patterns();
    let fits = |pattern: &crate::filter::TypePattern| pattern.fits(event_type);
    patterns.get(pattern).is_some_and(fits)
        && !filter.names(event_type)
        && !patterns.iter().take(pattern).any(|earlier| event_type.starts_with(&earlier.prefix) && fits(earlier))
}

fn holds(place: u32, condition: &Condition, event: &Event<'_>, known: &mut [Known]) -> bool {
    let slot = usize::try_from(place).ok().and_then(|place| known.get_mut(place));
    match slot {
        Some(Known::Holds) => true,
        Some(Known::Fails) => false,
        Some(slot) => {
            let holds = condition.holds(event.root());
            *slot = if holds { Known::Holds } else { Known::Fails };
            holds
        }
        None => condition.holds(event.root()),
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::{
        Condition as ProtoCondition, Destination, EventSelection, Filter as ProtoFilter, OriginalPayload,
        PropertyCondition, PropertyOperator, PropertyRoot, Sync, condition, event_selection::Payload,
    };

    use super::*;
    use crate::sync::{Rules, compile};

    fn demand(key: &str, operator: PropertyOperator, values: &[&str]) -> ProtoCondition {
        let property = PropertyCondition {
            root: PropertyRoot::UserProperties.into(),
            path: vec![key.into()],
            operator: operator.into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        ProtoCondition { condition: Some(condition::Condition::Property(property)) }
    }

    fn sync(number: usize, conditions: Vec<ProtoCondition>) -> Arc<CompiledSync> {
        let filter = ProtoFilter { conditions, ..ProtoFilter::default() };
        let sync = Sync {
            name: format!("projects/default/syncs/s{number}"),
            enabled: true,
            destination: Some(Destination { url: "https://crm.example.com/".into(), ..Destination::default() }),
            events: Some(EventSelection { filter: Some(filter), payload: Some(Payload::Original(OriginalPayload {})) }),
            ..Sync::default()
        };
        Arc::new(compile(&sync, &Rules::default()).unwrap())
    }

    fn event(user_properties: &str) -> String {
        format!(r#"{{"event_type": "e", "device_id": "d", "user_properties": {user_properties}}}"#)
    }

    #[test]
    fn what_many_syncs_ask_is_kept_and_answered_once() {
        let mut index = Index::default();
        let ask = |number: usize| {
            let plan = if number.is_multiple_of(2) { "pro" } else { "free" };
            sync(number, vec![demand("plan", PropertyOperator::StartsWith, &[plan])])
        };
        (0..1_000).map(ask).for_each(|sync| index.add(&sync));
        assert_eq!((index.any_type.asked, index.any_type.places.len(), index.conditions.len()), (1_000, 2, 2));
        let kept: Vec<_> = index.any_type.members.iter().map(|member| Arc::as_ptr(&member.conditions[0].1)).collect();
        assert!(
            kept.iter().step_by(2).all(|condition| *condition == kept[0]),
            "one condition for all that ask the same"
        );

        let json = event(r#"{"plan": "pro"}"#);
        let event = Event::parse(json.as_bytes()).unwrap();
        let mut out = Vec::new();
        index.matching(&event, &mut out);
        assert_eq!(out.len(), 500);
        let mut known = [Known::Fails];
        let condition = &index.any_type.members[0].conditions[0].1;
        assert!(!holds(0, condition, &event, &mut known), "what is known is not asked again");
    }

    #[test]
    fn syncs_that_demand_a_value_are_found_by_it() {
        let mut index = Index::default();
        for number in 0..1_000 {
            let customer = number.to_string();
            let conditions = vec![
                demand("plan", PropertyOperator::IsNot, &["free"]),
                demand("customer", PropertyOperator::Is, &[&customer]),
            ];
            index.add(&sync(number, conditions));
        }
        let group = &index.any_type;
        assert_eq!((group.others.len(), group.asked, group.places.len()), (0, 1_000, 1), "only the plan is asked");
        for (properties, found) in [
            (r#"{"customer": 7}"#, &["s7"][..]),
            (r#"{"customer": "7"}"#, &["s7"]),
            (r#"{"customer": [70e-1, "7", [8.0], {"a": 9}]}"#, &["s7", "s8"]),
            (r#"{"customer": "7", "plan": "free"}"#, &[]),
            (r#"{"customer": "07"}"#, &[]),
            (r#"{"customer": null}"#, &[]),
            ("{}", &[]),
        ] {
            let json = event(properties);
            let mut out = Vec::new();
            index.matching(&Event::parse(json.as_bytes()).unwrap(), &mut out);
            let names: Vec<_> = out.iter().map(|sync| sync.name.sync.as_str()).collect();
            assert_eq!(names, found, "{properties}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_found_is_what_matches(
            asked in proptest::collection::vec(proptest::collection::vec((0..2_usize, 0..4_usize, proptest::collection::vec(0..8_usize, 1..4)), 0..3), 0..20),
            has in (0..12_usize, 0..12_usize),
        ) {
            const VALUES: [&str; 8] = ["1", "1.0", "10e-1", "2", "true", "pro", "(none)", "free"];
            const PROPERTIES: [&str; 12] = [
                "1", "\"1\"", "1.00", "true", "\"true\"", "null", "[]", "[1, \"pro\"]", "[[2], true, 1]", "{}", "\"free\"", "\"(none)\"",
            ];
            let operators = [PropertyOperator::Is, PropertyOperator::Is, PropertyOperator::IsNot, PropertyOperator::Contains];
            let syncs: Vec<_> = asked.iter().enumerate().map(|(number, conditions)| {
                let conditions = conditions.iter().map(|(key, operator, values)| {
                    let values: Vec<_> = values.iter().map(|value| VALUES[*value]).collect();
                    demand(["a", "b"][*key], operators[*operator], &values)
                });
                sync(number, conditions.collect())
            }).collect();
            let mut index = Index::default();
            syncs.iter().for_each(|sync| index.add(sync));
            let json = event(&format!(r#"{{"a": {}, "b": {}}}"#, PROPERTIES[has.0], PROPERTIES[has.1]));
            let event = Event::parse(json.as_bytes()).unwrap();
            let mut out = Vec::new();
            index.matching(&event, &mut out);
            let mut found: Vec<_> = out.iter().map(|sync| sync.name.sync.clone()).collect();
            found.sort();
            let mut wanted: Vec<_> =
                syncs.iter().filter(|sync| sync.filter.matches(&event)).map(|sync| sync.name.sync.clone()).collect();
            wanted.sort();
            proptest::prop_assert_eq!(found, wanted);
        }
    }
}
