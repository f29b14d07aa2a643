//! Which of many syncs take an event. What it costs depends on the syncs of the event's type and on how many different conditions
//! they have: a condition that several of them ask is answered once.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

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
    /// Places of the different conditions in this group.
    places: HashMap<[u8; 32], u32>,
    /// How often conditions are asked in this group.
    asked: usize,
}

struct Member {
    sync: Arc<CompiledSync>,
    /// Which of the sync's patterns has brought it here; none: its exact type, or that it takes any.
    pattern: Option<usize>,
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
        let conditions = conditions.iter().map(|condition| {
            let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            let place = *self.places.entry(*condition.fingerprint()).or_insert(next);
            (place, Arc::clone(condition))
        });
        let conditions: Vec<_> = conditions.collect();
        self.asked += conditions.len();
        self.members.push(Member { sync: Arc::clone(sync), pattern, conditions });
    }

    fn matching<'c>(&'c self, event: &Event<'_>, out: &mut Vec<&'c Arc<CompiledSync>>) {
        // Without conditions that are asked more than once there is nothing to remember.
        let mut known = if self.asked > self.places.len() { vec![Known::No; self.places.len()] } else { Vec::new() };
        for member in &self.members {
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

    fn sync(number: usize, plan: &str) -> Arc<CompiledSync> {
        let property = PropertyCondition {
            root: PropertyRoot::UserProperties.into(),
            path: vec!["plan".into()],
            operator: PropertyOperator::Is.into(),
            values: vec![plan.into()],
        };
        let condition = ProtoCondition { condition: Some(condition::Condition::Property(property)) };
        let filter = ProtoFilter { conditions: vec![condition], ..ProtoFilter::default() };
        let sync = Sync {
            name: format!("projects/default/syncs/s{number}"),
            enabled: true,
            destination: Some(Destination { url: "https://crm.example.com/".into(), ..Destination::default() }),
            events: Some(EventSelection { filter: Some(filter), payload: Some(Payload::Original(OriginalPayload {})) }),
            ..Sync::default()
        };
        Arc::new(compile(&sync, &Rules::default()).unwrap())
    }

    #[test]
    fn what_many_syncs_ask_is_kept_and_answered_once() {
        let mut index = Index::default();
        let syncs: Vec<_> =
            (0..1_000).map(|number| sync(number, if number % 2 == 0 { "pro" } else { "free" })).collect();
        syncs.iter().for_each(|sync| index.add(sync));
        assert_eq!((index.any_type.asked, index.any_type.places.len(), index.conditions.len()), (1_000, 2, 2));
        let kept: Vec<_> = index.any_type.members.iter().map(|member| Arc::as_ptr(&member.conditions[0].1)).collect();
        assert!(
            kept.iter().step_by(2).all(|condition| *condition == kept[0]),
            "one condition for all that ask the same"
        );

        let event =
            Event::parse(br#"{"event_type": "e", "device_id": "d", "user_properties": {"plan": "pro"}}"#).unwrap();
        let mut out = Vec::new();
        index.matching(&event, &mut out);
        assert_eq!(out.len(), 500);
        let mut known = [Known::Fails];
        let condition = &index.any_type.members[0].conditions[0].1;
        assert!(!holds(0, condition, &event, &mut known), "what is known is not asked again");
    }
}
