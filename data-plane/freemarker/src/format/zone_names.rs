//! The names of time zones in words and as abbreviations.

use std::collections::HashMap;
use std::sync::OnceLock;

static TABLE: &str = include_str!("zone_names.tsv");

/// What a zone is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    short: [&'static str; 2],
    long: [&'static str; 2],
}

impl Names {
    /// The names of a zone of the tz database; `None` when it has none.
    pub(super) fn of(id: &str) -> Option<Self> {
        index().by_id.get(id).copied()
    }

    pub(super) fn name(&self, daylight: bool, long: bool) -> &'static str {
        let [standard, summer] = if long { self.long } else { self.short };
        if daylight { summer } else { standard }
    }
}

/// A name as it is found in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) name: &'static str,
    /// A zone that has it.
    pub(super) zone: &'static str,
    pub(super) daylight: bool,
    /// It is the name in winter and in summer.
    pub(super) always: bool,
}

/// The longest name that a text begins with, in any case.
pub(super) fn find_at_start(text: &str) -> Option<Known> {
    let first = text.chars().next()?.to_ascii_lowercase();
    let candidates = index().by_first.get(&first)?;
    let begins = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    candidates.iter().filter(|known| begins(known.name)).max_by_key(|known| known.name.len()).copied()
}

struct Index {
    by_id: HashMap<&'static str, Names>,
    by_first: HashMap<char, Vec<Known>>,
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index { by_id: HashMap::new(), by_first: HashMap::new() };
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<&'static str> = line.split('\t').collect();
            let [standard, daylight, long_standard, long_daylight, ids] = columns[..] else { continue };
            let plain = |name: &'static str| name.strip_prefix('!').unwrap_or(name);
            let names =
                Names { short: [standard, daylight].map(plain), long: [long_standard, long_daylight].map(plain) };
            for id in ids.split(' ') {
                index.by_id.insert(id, names);
            }
            let Some(zone) = ids.split(' ').next() else { continue };
            let pairs = [[standard, daylight], [long_standard, long_daylight]];
            for (pair, daylight) in pairs.iter().flat_map(|pair| [(pair, false), (pair, true)]) {
                let always = pair[0] == pair[1];
                let name = pair[usize::from(daylight)];
                if let Some(first) = name.chars().next().filter(|c| *c != '!' && !(always && daylight)) {
                    let known = Known { name, zone, daylight, always };
                    index.by_first.entry(first.to_ascii_lowercase()).or_default().push(known);
                }
            }
        }
        index
    })
}
