//! The values that expressions have (FreeMarker manual: "Template Authoring / Values, types").

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash as Hash64, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use crate::callable::{Callable, Layer, Scope};
use crate::format::date::DateKind;
use crate::json::{Kind, Node, write_json_string};
use crate::limits::{MAX_JSON_BYTES, MAX_NUMBER_DIGITS};
use crate::markup::Markup;
use crate::matches::Match;
use crate::model::{Hash, List, Map, Sequence};
use crate::number::Number;

/// A value: read in place from a JSON document, built by an expression, or given by the host.
///
/// The set of variants grows with the engine, hence `non_exhaustive`.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template, Value};
///
/// let mut out = Vec::new();
/// let template = Template::parse("t", "${name?upper_case}", &Settings::default())?;
/// template.render(&Root::new().with("name", Value::string("ada")), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"ADA");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
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
    /// A macro, function or directive.
    Callable(Callable<'d>),
    /// Text that is markup already.
    Markup(Arc<Markup<'d>>),
    /// The variables of a namespace or another layer, looked up as they are at that time.
    Scope(Scope),
    /// What `x!` gives for a missing `x`: an empty string, sequence and hash at once.
    Nothing {
        /// Whether it is `false` and a method, too, as what `x?if_exists` gives.
        is_boolean: bool,
    },
}

/// A function that the host gives to templates, called as `name(a, b)`.
///
/// ```
/// use std::sync::Arc;
/// use sluice_freemarker::{Limits, Method, Root, Settings, Template, Value};
///
/// struct Shout;
///
/// impl Method for Shout {
///     fn call<'d>(&self, args: &[Value<'d>]) -> Result<Value<'d>, String> {
///         match args {
///             [Value::String(text)] => Ok(Value::string(format!("{}!", &**text))),
///             _ => Err("shout takes a string".to_owned()),
///         }
///     }
/// }
///
/// let template = Template::parse("t", "${shout('hi')}", &Settings::default())?;
/// let mut out = Vec::new();
/// let root = Root::new().with("shout", Value::Method(Arc::new(Shout)));
/// template.render(&root, &Limits::default(), &mut out)?;
/// assert_eq!(out, b"hi!");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
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
///
/// ```
/// use sluice_freemarker::{Date, DateKind, Value};
///
/// let value = Value::Date(Date { epoch_ms: 1_700_000_000_000, kind: DateKind::DateTime });
/// let mut json = Vec::new();
/// value.write_json(&mut json)?;
/// assert_eq!(json, b"\"2023-11-14T22:13:20Z\"");
/// # Ok::<(), String>(())
/// ```
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
    /// [`MAX_VALUE_DEPTH`](crate::limits::MAX_VALUE_DEPTH) deep.
    pub fn sequence(items: Vec<Value<'d>>) -> Result<Self, String> {
        List::new(items).map(|list| Value::Sequence(Sequence::List(Arc::new(list))))
    }

    /// A hash of values; of entries with the same key the last one's value counts.
    ///
    /// # Errors
    /// When the values are sequences or hashes nested more than
    /// [`MAX_VALUE_DEPTH`](crate::limits::MAX_VALUE_DEPTH) deep.
    pub fn hash<K: Into<Text<'d>>>(entries: impl IntoIterator<Item = (K, Value<'d>)>) -> Result<Self, String> {
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

    /// A value of the type that a JSON node's value is of: reading a number takes a while.
    pub(crate) fn like(node: Node<'d>) -> Self {
        match node.number_text() {
            Some(text) if text.len() < MAX_NUMBER_DIGITS && !text.contains(['e', 'E']) => Value::int(0),
            _ => Value::json(node),
        }
    }

    /// Appends the value as compact JSON text: missing values as `null`, dates as ISO 8601 strings.
    ///
    /// # Errors
    /// When the value is or holds a method or an endless range, or when the text would be longer
    /// than [`MAX_JSON_BYTES`](crate::limits::MAX_JSON_BYTES): a sequence that holds another one
    /// many times is small itself.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), String> {
        self.write_json_within(out, out.len().saturating_add(MAX_JSON_BYTES))
    }

    fn write_json_within(&self, out: &mut Vec<u8>, end: usize) -> Result<(), String> {
        match self {
            Value::Missing => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Number(number) => out.extend_from_slice(number.to_plain_string().as_bytes()),
            Value::String(text) => write_json_string(text, out),
            Value::Nothing { .. } => out.extend_from_slice(b"\"\""),
            Value::Date(date) => write_json_string(&crate::format::iso::utc(date.epoch_ms, date.kind), out),
            Value::Sequence(Sequence::Json(node)) | Value::Hash(Hash::Json(node)) => node.write_json(out),
            Value::Sequence(sequence) => {
                let Some(len) = sequence.len() else {
                    return Err("an endless range has no JSON text".into());
                };
                out.push(b'[');
                for index in 0..len {
                    if index > 0 {
                        out.push(b',');
                    }
                    sequence.get(index).unwrap_or(Value::Missing).write_json_within(out, end)?;
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
                    value.write_json_within(out, end)?;
                }
                out.push(b'}');
            }
            Value::Markup(markup) => write_json_string(&markup.text(), out),
            Value::Method(_) | Value::Callable(_) => return Err("a method has no JSON text".into()),
            Value::Scope(_) => return Err("a namespace has no JSON text".into()),
        }
        if out.len() > end {
            return Err(format!("the JSON text is longer than {MAX_JSON_BYTES} bytes"));
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn int(int: usize) -> Self {
        Value::Number(Number::Int(i64::try_from(int).unwrap_or(i64::MAX)))
    }

    /// The boolean that the value is: results of `?matches` are one besides being a sequence.
    #[inline]
    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            Value::Sequence(Sequence::Matches(matches)) => Some(matches.is_whole()),
            Value::Nothing { is_boolean: true } => Some(false),
            _ => None,
        }
    }

    /// Whether it is neither a string nor turned into one.
    pub(crate) fn is_unprintable(&self) -> bool {
        match self {
            Value::Sequence(Sequence::Matches(_)) => false,
            Value::Sequence(_) | Value::Hash(_) | Value::Method(_) | Value::Callable(_) | Value::Scope(_) => true,
            _ => false,
        }
    }

    #[inline]
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
            Value::Callable(callable) => callable.type_name(),
            Value::Markup(_) => "markup_output",
            Value::Scope(Scope(Layer::Namespace(_))) => "namespace",
            Value::Scope(Scope(Layer::DataModel)) => "extended_hash",
            Value::Scope(_) => "hash",
            Value::Nothing { .. } => "string+sequence+hash (the empty default)",
        }
    }

    /// How deep sequences and hashes nest in it, those of JSON documents aside.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Value::Sequence(Sequence::List(list)) => list.depth(),
            Value::Hash(Hash::Map(map)) => map.depth(),
            _ => 0,
        }
    }
}

/// A string: a slice of the data or the template, or one that was built.
///
/// ```
/// use sluice_freemarker::Text;
///
/// let (borrowed, owned) = (Text::from("a"), Text::from("a".to_owned()));
/// assert_eq!(&*borrowed, &*owned);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Text<'d> {
    /// Read in place.
    Borrowed(&'d str),
    /// Built by an expression or by the host.
    Owned(Arc<str>),
    /// What a regular expression matched; knows its groups.
    Match(Arc<Match<'d>>),
}

impl Deref for Text<'_> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
            Text::Match(found) => found.text(),
        }
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text<'_> {}

impl Hash64 for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_VALUE_DEPTH;

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
