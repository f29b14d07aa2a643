//! The values that expressions have (FreeMarker manual: "Template Authoring / Values, types").

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::format::date::DateKind;
use crate::json::{Kind, Node, write_json_string};
use crate::limits::MAX_VALUE_DEPTH;
use crate::number::Number;

/// A value: read in place from a JSON document, built by an expression, or given by the host.
///
/// The set of variants grows with the engine, hence `non_exhaustive`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value<'d> {
    /// No value: JSON's `null`, or something that is not there. Printing it is an error.
    Missing,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Text<'d>),
    /// A date, a time of day, or both.
    Date(Date),
    /// A sequence.
    Sequence(Sequence<'d>),
    /// A hash: values by name, in order.
    Hash(Hash<'d>),
    /// A method of the host.
    Method(Arc<dyn Method>),
    /// What `x!` gives for a missing `x`: an empty string, sequence and hash at once.
    Nothing,
}

/// A function that the host gives to templates, called as `name(a, b)`.
pub trait Method: Send + Sync {
    /// Calls the method. It must not block, and its work must be bounded by its arguments' size.
    ///
    /// # Errors
    /// A message for the template's author; the rendering ends with it.
    fn call<'d>(&self, args: &[Value<'d>]) -> Result<Value<'d>, String>;
}

impl fmt::Debug for dyn Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("method")
    }
}

/// A point in time, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub epoch_ms: i64,
    /// Which parts of it count.
    pub kind: DateKind,
}

impl<'d> Value<'d> {
    /// A string that the value owns.
    pub fn string(text: impl Into<String>) -> Self {
        Value::String(Text::Owned(text.into().into()))
    }

    /// A sequence of values.
    ///
    /// # Errors
    /// When the items are sequences or hashes nested more than
    /// [`MAX_VALUE_DEPTH`] deep.
    pub fn sequence(items: Vec<Value<'d>>) -> Result<Self, String> {
        List::new(items).map(|list| Value::Sequence(Sequence::List(Arc::new(list))))
    }

    /// A hash of values; of entries with the same key the last one's value counts.
    ///
    /// # Errors
    /// When the values are sequences or hashes nested more than
    /// [`MAX_VALUE_DEPTH`] deep.
    pub fn hash<K: Into<Text<'d>>>(
        entries: impl IntoIterator<Item = (K, Value<'d>)>,
    ) -> Result<Self, String> {
        let mut map = Map::default();
        for (key, value) in entries {
            map.insert(key.into(), value)?;
        }
        Ok(Value::Hash(Hash::Map(Arc::new(map))))
    }

    /// The value of a JSON node; nothing is copied. A number of more than
    /// [`MAX_NUMBER_DIGITS`](crate::limits::MAX_NUMBER_DIGITS) digits becomes a string.
    pub fn json(node: Node<'d>) -> Self {
        match node.kind() {
            Kind::Null => Value::Missing,
            Kind::Bool => Value::Bool(node.as_bool().unwrap_or_default()),
            Kind::String => Value::String(Text::Borrowed(node.as_str().unwrap_or_default())),
            Kind::Array => Value::Sequence(Sequence::Json(node)),
            Kind::Object => Value::Hash(Hash::Json(node)),
            Kind::Number => {
                let text = node.number_text().unwrap_or_default();
                match Number::parse(text) {
                    Some(number) => Value::Number(number),
                    None => Value::String(Text::Borrowed(text)),
                }
            }
        }
    }

    /// Appends the value as compact JSON text: missing values as `null`, dates as ISO 8601 strings.
    ///
    /// # Errors
    /// When the value is or holds a method, or is an endless range.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            Value::Missing => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Number(number) => out.extend_from_slice(number.to_plain_string().as_bytes()),
            Value::String(text) => write_json_string(text, out),
            Value::Nothing => out.extend_from_slice(b"\"\""),
            Value::Date(date) => {
                write_json_string(&crate::format::iso::utc(date.epoch_ms, date.kind), out);
            }
            Value::Sequence(Sequence::Json(node)) | Value::Hash(Hash::Json(node)) => {
                node.write_json(out);
            }
            Value::Sequence(sequence) => {
                let Some(len) = sequence.len() else {
                    return Err("an endless range has no JSON text".into());
                };
                // a range is a few bytes that stand for up to 2^31 numbers
                if len > 1 << 20 {
                    return Err("a range of more than 1048576 numbers is too long for JSON".into());
                }
                out.push(b'[');
                for index in 0..len {
                    if index > 0 {
                        out.push(b',');
                    }
                    sequence.get(index).unwrap_or(Value::Missing).write_json(out)?;
                }
                out.push(b']');
            }
            Value::Hash(hash) => {
                out.push(b'{');
                for index in 0..hash.len() {
                    let Some((key, value)) = hash.entry(index) else { continue };
                    if index > 0 {
                        out.push(b',');
                    }
                    write_json_string(&key, out);
                    out.push(b':');
                    value.write_json(out)?;
                }
                out.push(b'}');
            }
            Value::Method(_) => return Err("a method has no JSON text".into()),
        }
        Ok(())
    }

    pub(crate) fn int(int: usize) -> Self {
        Value::Number(Number::Int(i64::try_from(int).unwrap_or(i64::MAX)))
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Value::Missing)
    }

    /// What error messages call the value's type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Missing => "missing value",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Date(date) => date.kind.name(),
            Value::Sequence(_) => "sequence",
            Value::Hash(_) => "extended_hash",
            Value::Method(_) => "method",
            Value::Nothing => "string+sequence+hash (the empty default)",
        }
    }

    fn depth(&self) -> u32 {
        match self {
            Value::Sequence(Sequence::List(list)) => list.depth,
            Value::Hash(Hash::Map(map)) => map.depth,
            _ => 0,
        }
    }
}

/// A string: a slice of the data or the template, or one that was built.
#[derive(Clone, Debug)]
pub enum Text<'d> {
    /// Read in place.
    Borrowed(&'d str),
    /// Built by an expression or by the host.
    Owned(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl<'d> From<&'d str> for Text<'d> {
    fn from(text: &'d str) -> Self {
        Text::Borrowed(text)
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Owned(text.into())
    }
}

impl<'d> From<Cow<'d, str>> for Text<'d> {
    fn from(text: Cow<'d, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => Text::from(text),
        }
    }
}

/// A sequence of values.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Sequence<'d> {
    /// A JSON array, read in place.
    Json(Node<'d>),
    /// Values that an expression or the host put in order.
    List(Arc<List<'d>>),
    /// `a..b` and its like.
    Range(Range),
}

impl<'d> Sequence<'d> {
    /// How many items there are; `None` for an endless range.
    pub fn len(&self) -> Option<usize> {
        match self {
            Sequence::Json(node) => Some(node.len()),
            Sequence::List(list) => Some(list.items.len()),
            Sequence::Range(range) => range.len(),
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
        }
    }
}

/// The items of a sequence that was built, and how deep they nest.
#[derive(Debug)]
pub struct List<'d> {
    items: Vec<Value<'d>>,
    depth: u32,
}

impl<'d> List<'d> {
    pub(crate) fn new(items: Vec<Value<'d>>) -> Result<Self, String> {
        let inner = items.iter().map(Value::depth).max().unwrap_or(0);
        Ok(List { items, depth: one_deeper(inner)? })
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub(crate) start: i64,
    /// `None`: endless.
    pub(crate) len: Option<u32>,
    pub(crate) descending: bool,
    /// `a..*n` and `a..`: as a slice they stop at the end of what is sliced.
    pub(crate) adapts: bool,
}

impl Range {
    /// How many integers; `None` when it never ends.
    pub fn len(&self) -> Option<usize> {
        self.len.map(|len| len as usize)
    }

    /// Whether it has no integer at all.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
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
#[derive(Debug, Default)]
pub struct Map<'d> {
    entries: Vec<(Text<'d>, Value<'d>)>,
    /// Places of the entries sorted by key, once there are more than a few.
    index: Vec<u32>,
    depth: u32,
}

impl<'d> Map<'d> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_keep_order_and_find_keys_at_any_size() {
        let entries = (0..50).map(|i| (format!("k{}", i % 40), Value::int(i)));
        let Ok(Value::Hash(hash)) = Value::hash(entries) else { panic!() };
        assert_eq!(hash.len(), 40);
        for i in 0..40 {
            let expected = if i < 10 { i + 40 } else { i };
            let Value::Number(n) = hash.get(&format!("k{i}")) else { panic!("k{i}") };
            assert_eq!(n, Number::Int(expected));
            assert_eq!(&*hash.entry(i as usize).unwrap().0, format!("k{i}"));
        }
        assert!(hash.get("nope").is_missing());
    }

    #[test]
    fn values_do_not_nest_for_ever() {
        let mut value = Value::Missing;
        let mut depth = 0;
        while let Ok(outer) = Value::sequence(vec![value.clone()]) {
            value = outer;
            depth += 1;
        }
        assert_eq!(depth, MAX_VALUE_DEPTH);
    }

    #[test]
    fn writes_json() {
        let value = Value::hash([
            ("a", Value::sequence(vec![Value::int(1), Value::Missing, Value::string("q\"\n")]).unwrap()),
            ("b", Value::Bool(true)),
        ]);
        let mut out = Vec::new();
        value.unwrap().write_json(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":[1,null,"q\"\n"],"b":true}"#);
    }
}
