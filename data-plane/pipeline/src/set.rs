//! What an array holds, compared with some values.

use std::collections::HashMap;

use sluice_freemarker::json::{Kind, Node};

use crate::decimal::Decimal;

/// The values that an array is compared with: strings exactly, numbers as numbers.
pub(crate) struct Set {
    /// Number of distinct values.
    count: usize,
    texts: HashMap<Box<str>, usize>,
    /// Those that read as numbers, sorted, with the numbers of their values.
    numbers: Vec<(Box<str>, usize)>,
}

/// Which of the values an array has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// How many of them.
    pub(crate) known: usize,
    /// Whether it has another one too.
    pub(crate) others: bool,
}

impl Set {
    pub(crate) fn new<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut set = Self { count: 0, texts: HashMap::new(), numbers: Vec::new() };
        for value in values {
            if set.texts.contains_key(value) {
                continue;
            }
            // `1` and `1.0` are one value, as far as numbers go.
            let equal = Decimal::parse(value).and_then(|number| set.number(number));
            let index = equal.unwrap_or(set.count);
            set.texts.insert(value.into(), index);
            if equal.is_none() {
                set.count += 1;
                if let Some(number) = Decimal::parse(value) {
                    let at =
                        set.numbers.partition_point(|(other, _)| Decimal::parse(other).is_some_and(|n| n < number));
                    set.numbers.insert(at, (value.into(), index));
                }
            }
        }
        set
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What of them the property holds: an array's elements, those of arrays in it too, or the single value itself.
    pub(crate) fn held(&self, property: Node<'_>) -> Held {
        let mut seen = vec![false; self.count];
        let mut others = false;
        self.look(property, &mut seen, &mut others);
        Held { known: seen.into_iter().filter(|seen| *seen).count(), others }
    }

    fn look(&self, node: Node<'_>, seen: &mut [bool], others: &mut bool) {
        let found = match node.kind() {
            Kind::Array => return node.items().for_each(|item| self.look(item, seen, others)),
            Kind::Null | Kind::Object => return,
            Kind::String => node.as_str().and_then(|text| self.texts.get(text).copied()),
            Kind::Bool => self.texts.get(if node.as_bool() == Some(true) { "true" } else { "false" }).copied(),
            Kind::Number => node.number_text().and_then(Decimal::parse).and_then(|number| self.number(number)),
        };
        match found.and_then(|index| seen.get_mut(index)) {
            Some(seen) => *seen = true,
            None => *others = true,
        }
    }

    fn number(&self, number: Decimal<'_>) -> Option<usize> {
        let order = |(text, _): &(Box<str>, usize)| {
            Decimal::parse(text).map_or(std::cmp::Ordering::Less, |value| value.cmp(&number))
        };
        let at = self.numbers.binary_search_by(order).ok()?;
        self.numbers.get(at).map(|(_, index)| *index)
    }
}
