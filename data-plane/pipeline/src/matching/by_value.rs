//! Syncs by a value that they demand: of ten thousand that ask each for another customer, an event finds its own by one look.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use sluice_freemarker::json::{Kind, Node};

use crate::{
    decimal::Decimal,
    property::{Equality, property_at},
};

/// The most values of a condition that members are found by; longer lists are looked up themselves.
const MAX_VALUES: usize = 64;

/// Members of a group by the values that they demand of properties.
#[derive(Default)]
pub(super) struct ByValue(Vec<Demanded>);

/// Members that demand something of one property.
struct Demanded {
    path: Box<[Box<str>]>,
    texts: HashMap<Box<str>, Vec<u32>>,
    /// By the hash of the number.
    numbers: HashMap<u64, Vec<OfNumber>>,
}

/// Members that demand one number.
struct OfNumber {
    text: Box<str>,
    members: Vec<u32>,
}

impl ByValue {
    /// Adds a member that takes no events but those for which the condition holds. False if it is none to find members by.
    pub(super) fn add(&mut self, condition: &Equality<'_>, member: u32) -> bool {
        if condition.values.len() > MAX_VALUES {
            return false;
        }
        let known = self.0.iter().position(|demanded| *demanded.path == *condition.path);
        let place = known.unwrap_or_else(|| {
            self.0.push(Demanded { path: condition.path.into(), texts: HashMap::new(), numbers: HashMap::new() });
            self.0.len() - 1
        });
        if let Some(demanded) = self.0.get_mut(place) {
            condition.values.iter().for_each(|value| demanded.add(value, member));
        }
        true
    }

    /// Adds to `out` the members that an event's object may interest, in their order and each once; the condition that each was
    /// added with holds.
    pub(super) fn find(&self, event: Node<'_>, out: &mut Vec<u32>) {
        for demanded in &self.0 {
            if let Some(property) = property_at(&demanded.path, event) {
                demanded.find(property, out);
            }
        }
        if out.len() > 1 {
            out.sort_unstable();
            out.dedup();
        }
    }
}

impl Demanded {
    fn add(&mut self, value: &str, member: u32) {
        push(self.texts.entry(value.into()).or_default(), member);
        let Some(number) = Decimal::parse(value) else { return };
        let same_hash = self.numbers.entry(hash(&number)).or_default();
        match same_hash.iter_mut().find(|known| known.is(&number)) {
            Some(known) => push(&mut known.members, member),
            None => same_hash.push(OfNumber { text: value.into(), members: vec![member] }),
        }
    }

    fn find(&self, property: Node<'_>, out: &mut Vec<u32>) {
        let text = match property.kind() {
            Kind::Array => return property.items().for_each(|item| self.find(item, out)),
            Kind::Object | Kind::Null => return,
            Kind::Number => {
                let Some(number) = property.number_text().and_then(Decimal::parse) else { return };
                let same_hash = self.numbers.get(&hash(&number)).map(Vec::as_slice).unwrap_or_default();
                let found = same_hash.iter().find(|known| known.is(&number));
                return out.extend(found.into_iter().flat_map(|known| &known.members));
            }
            Kind::String => property.as_str(),
            Kind::Bool => property.as_bool().map(|value| if value { "true" } else { "false" }),
        };
        out.extend(text.and_then(|text| self.texts.get(text)).into_iter().flatten());
    }
}

impl OfNumber {
    fn is(&self, number: &Decimal<'_>) -> bool {
        Decimal::parse(&self.text).is_some_and(|other| other == *number)
    }
}

/// A condition may list a value twice.
fn push(members: &mut Vec<u32>, member: u32) {
    if members.last() != Some(&member) {
        members.push(member);
    }
}

fn hash(number: &Decimal<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}
