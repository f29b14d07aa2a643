//! Sequences and hashes: read in place from JSON, or built.

use std::sync::Arc;

use crate::json::Node;
use crate::limits::MAX_VALUE_DEPTH;
use crate::matches::Matches;
use crate::number::Number;
use crate::value::{Text, Value};

/// A sequence of values.
///
/// ```
/// use sluice_freemarker::{Number, Value};
///
/// let value = Value::sequence(vec![Value::Number(Number::Int(1)), Value::string("a")])?;
/// let Value::Sequence(sequence) = value else { unreachable!() };
/// assert_eq!(sequence.len(), Some(2));
/// assert!(sequence.get(2).is_none());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sequence<'d> {
    /// A JSON array, read in place.
    Json(Node<'d>),
    /// Values that an expression or the host put in order.
    List(Arc<List<'d>>),
    /// `a..b` and its like.
    Range(Range),
    /// What `?matches` found; is a boolean, too.
    Matches(Arc<Matches<'d>>),
    /// So many groups of a match that there was none of: reading one is an error.
    NoGroups(usize),
}

impl<'d> Sequence<'d> {
    /// How many items there are; `None` for an endless range.
    #[inline]
    pub fn len(&self) -> Option<usize> {
        match self {
            Sequence::Json(node) => Some(node.len()),
            Sequence::List(list) => Some(list.items.len()),
            Sequence::Range(range) => range.len(),
            Sequence::Matches(matches) => Some(matches.len()),
            Sequence::NoGroups(count) => Some(*count),
        }
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The item at an index counted from 0; `None` past the end.
    pub fn get(&self, index: usize) -> Option<Value<'d>> {
        match self {
            Sequence::Json(node) => node.at(index).map(Value::json),
            Sequence::List(list) => list.items.get(index).cloned(),
            Sequence::Range(range) => range.get(index).map(|int| Value::Number(Number::Int(int))),
            Sequence::Matches(matches) => matches.get(index),
            Sequence::NoGroups(_) => None,
        }
    }
}

/// The items of a sequence that was built, and how deep they nest.
///
/// ```
/// use sluice_freemarker::{Sequence, Value};
///
/// let Value::Sequence(Sequence::List(list)) = Value::sequence(vec![Value::Bool(true)])? else { unreachable!() };
/// assert_eq!(list.items().len(), 1);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct List<'d> {
    items: Vec<Value<'d>>,
    depth: u32,
    /// `?keys` and `?values` give what is a collection, too.
    is_collection: bool,
}

impl<'d> List<'d> {
    pub(crate) fn new(items: Vec<Value<'d>>) -> Result<Self, String> {
        let inner = items.iter().map(Value::depth).max().unwrap_or(0);
        Ok(List { items, depth: one_deeper(inner)?, is_collection: false })
    }

    /// The keys or values of a hash.
    pub(crate) fn collection(items: Vec<Value<'d>>) -> Result<Self, String> {
        List::new(items).map(|list| List { is_collection: true, ..list })
    }

    pub(crate) fn is_collection(&self) -> bool {
        self.is_collection
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// The items in order.
    pub fn items(&self) -> &[Value<'d>] {
        &self.items
    }
}

/// Dropping, printing and comparing values recurse: their depth is bounded where they are made.
fn one_deeper(inner: u32) -> Result<u32, String> {
    if inner >= MAX_VALUE_DEPTH {
        return Err(format!("sequences and hashes are nested more than {MAX_VALUE_DEPTH} deep"));
    }
    Ok(inner + 1)
}

/// `a..b`, `a..<b`, `a..*n` and `a..`: integers that are never laid out in memory.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let mut out = Vec::new();
/// let template = Template::parse("t", "<#list 3..1 as i>${i}</#list>", &Settings::default())?;
/// template.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"321");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub(crate) start: i64,
    /// FreeMarker's int, below 0 when it overflows; `None`: endless.
    pub(crate) len: Option<i32>,
    pub(crate) descending: bool,
    /// `a..*n` and `a..`: as a slice they stop at the end of what is sliced.
    pub(crate) adapts: bool,
    /// `a..b`: as a slice of a string, `n+1..n` is empty.
    pub(crate) inclusive: bool,
}

impl Range {
    /// How many integers; `None` when it never ends.
    pub fn len(&self) -> Option<usize> {
        self.len.map(|len| usize::try_from(len).unwrap_or(0))
    }

    /// Whether it has no integer at all.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    pub(crate) fn get(&self, index: usize) -> Option<i64> {
        if self.len().is_some_and(|len| index >= len) {
            return None;
        }
        let step = i64::try_from(index).ok()?;
        if self.descending { self.start.checked_sub(step) } else { self.start.checked_add(step) }
    }
}

/// Values by name, in the order of their first appearance.
///
/// ```
/// use sluice_freemarker::Value;
///
/// let Value::Hash(hash) = Value::hash([("a", Value::Bool(true))])? else { unreachable!() };
/// assert!(matches!(hash.get("a"), Value::Bool(true)));
/// assert!(matches!(hash.get("b"), Value::Missing));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Hash<'d> {
    /// A JSON object, read in place.
    Json(Node<'d>),
    /// Entries that an expression or the host made.
    Map(Arc<Map<'d>>),
}

impl<'d> Hash<'d> {
    /// How many entries there are, those without value included.
    pub fn len(&self) -> usize {
        match self {
            Hash::Json(node) => node.len(),
            Hash::Map(map) => map.entries.len(),
        }
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a key; [`Value::Missing`] when there is none.
    pub fn get(&self, key: &str) -> Value<'d> {
        match self {
            Hash::Json(node) => node.get(key).map_or(Value::Missing, Value::json),
            Hash::Map(map) => map.get(key).cloned().unwrap_or(Value::Missing),
        }
    }

    /// The key at a place counted from 0.
    pub(crate) fn key(&self, place: usize) -> Option<Text<'d>> {
        match self {
            Hash::Json(node) => node.member_at(place).map(|(key, _)| Text::Borrowed(key)),
            Hash::Map(map) => map.entries.get(place).map(|(key, _)| key.clone()),
        }
    }

    /// The entry at a place counted from 0.
    pub fn entry(&self, place: usize) -> Option<(Text<'d>, Value<'d>)> {
        match self {
            Hash::Json(node) => {
                let (key, value) = node.member_at(place)?;
                Some((Text::Borrowed(key), Value::json(value)))
            }
            Hash::Map(map) => map.entries.get(place).cloned(),
        }
    }
}

/// Maps with more entries than this are searched by a sorted index.
const INDEX_FROM: usize = 12;

/// The entries of a hash that was built.
///
/// ```
/// use sluice_freemarker::{Hash, Value};
///
/// let Value::Hash(hash) = Value::hash([("a", Value::Bool(true))])? else { unreachable!() };
/// assert!(matches!(hash, Hash::Map(_)));
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Default)]
pub struct Map<'d> {
    entries: Vec<(Text<'d>, Value<'d>)>,
    /// Places of the entries sorted by key, once there are more than a few.
    index: Vec<u32>,
    depth: u32,
    /// Keys that a literal repeats: FreeMarker counts them in the literal's size.
    pub(crate) repeated: usize,
}

impl<'d> Map<'d> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Sets a key's value; a key that is there already keeps its place.
    pub(crate) fn insert(&mut self, key: Text<'d>, value: Value<'d>) -> Result<(), String> {
        self.depth = self.depth.max(one_deeper(value.depth())?);
        match self.find(&key) {
            Ok(place) => {
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.1 = value;
                }
            }
            Err(sorted_place) => {
                let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
                self.entries.push((key, value));
                if self.entries.len() > INDEX_FROM {
                    if self.index.is_empty() {
                        self.index = (0..=place).collect();
                        let entries = &self.entries;
                        self.index.sort_by_key(|place| key_at(entries, *place));
                    } else {
                        self.index.insert(sorted_place, place);
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&Value<'d>> {
        let place = self.find(key).ok()?;
        self.entries.get(place).map(|entry| &entry.1)
    }

    /// The place of a key among the entries, or else where it would be in the index.
    fn find(&self, key: &str) -> Result<usize, usize> {
        if self.index.is_empty() {
            return self.entries.iter().position(|entry| &*entry.0 == key).ok_or(0);
        }
        let sorted = self.index.binary_search_by(|place| key_at(&self.entries, *place).cmp(key))?;
        self.index.get(sorted).map(|place| *place as usize).ok_or(sorted)
    }
}

fn key_at<'m>(entries: &'m [(Text<'_>, Value<'_>)], place: u32) -> &'m str {
    entries.get(place as usize).map_or("", |entry| &*entry.0)
}
