//! A parsed JSON text that is read in place.
//!
//! [`Document`] is a flat arena over the bytes it was parsed from: strings without escapes and all
//! numbers are slices of the input, so that a template reads an event without copying it.

mod error;
mod key;
mod parse;
mod scan;
mod write;

use std::fmt;

use parse::Parser;

pub use error::JsonError;
pub(crate) use key::Key;
pub(crate) use write::write_json_string;

/// Looks whether `bytes` are one JSON value, as [`Document::parse`] would, in next to no memory.
///
/// ```
/// use sluice_freemarker::json::check;
///
/// assert!(check(b"[1, {}]", 8).is_ok());
/// assert_eq!(check(b"[1, {]", 8).unwrap_err().offset(), 5);
/// ```
///
/// # Errors
/// Those of [`Document::parse`].
pub fn check(bytes: &[u8], max_depth: usize) -> Result<(), JsonError> {
    Parser::<false>::new(source(bytes)?, max_depth, usize::MAX).run().map(drop)
}

fn source(bytes: &[u8]) -> Result<&str, JsonError> {
    let error = |message: &str, offset| JsonError { message: message.to_owned(), offset, is_limit: false };
    if u32::try_from(bytes.len()).is_err() {
        return Err(error("text longer than 4 GiB", 0));
    }
    std::str::from_utf8(bytes).map_err(|e| error("text that is not UTF-8", e.valid_up_to()))
}

/// The kind of a JSON value.
///
/// ```
/// use sluice_freemarker::json::{Document, Kind};
///
/// let document = Document::parse(br#"[null, 1.10, "a"]"#, 8)?;
/// let kinds: Vec<_> = document.root().items().map(|item| item.kind()).collect();
/// assert_eq!(kinds, [Kind::Null, Kind::Number, Kind::String]);
/// # Ok::<(), sluice_freemarker::json::JsonError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number of any size and precision.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A JSON text and the arena of what it holds.
///
/// Numbers keep the text they were written with, objects keep the order of their keys. Of duplicate
/// keys the first gives the place and the last the value, as FreeMarker's hashes have it.
///
/// ```
/// use sluice_freemarker::json::Document;
///
/// let document = Document::parse(br#"{"price": 1.10, "id": 12345678901234567890}"#, 8)?;
/// assert_eq!(document.root().get("price").and_then(|price| price.number_text()), Some("1.10"));
/// # Ok::<(), sluice_freemarker::json::JsonError>(())
/// ```
#[derive(Debug)]
pub struct Document<'a> {
    source: &'a str,
    /// Strings that were written with escapes, decoded, one after the other.
    decoded: String,
    /// The children of each array and object side by side.
    slots: Vec<Slot>,
    /// For each big object: where its members start, and their places in it sorted by key.
    indexes: Vec<(u32, Box<[u32]>)>,
    root: Slot,
}

impl<'a> Document<'a> {
    /// Parses one JSON value that takes up all of `bytes`.
    ///
    /// Memory: some 100 bytes for each value while they are read, half of that and less from then on. For a text of
    /// 1 MiB that is 40 MiB at most.
    ///
    /// # Errors
    /// [`JsonError`] when the bytes are no JSON text in UTF-8, are longer than 4 GiB, or hold
    /// arrays and objects nested more than `max_depth` deep.
    pub fn parse(bytes: &'a [u8], max_depth: usize) -> Result<Document<'a>, JsonError> {
        Document::parse_some(bytes, max_depth, usize::MAX)
    }

    /// The same of no more than so many values: how much memory it takes depends on that.
    pub(crate) fn parse_some(bytes: &'a [u8], max_depth: usize, max_values: usize) -> Result<Document<'a>, JsonError> {
        Parser::<true>::new(source(bytes)?, max_depth, max_values).run()
    }

    /// The value that the whole text is.
    pub fn root(&self) -> Node<'_> {
        Node { document: self, slot: &self.root }
    }

    #[inline]
    fn text(&self, start: u32, len: u32, decoded: bool) -> &str {
        let (start, end) = (start as usize, start as usize + len as usize);
        let from: &str = if decoded { &self.decoded } else { self.source };
        from.get(start..end).unwrap_or_default()
    }

    #[inline]
    fn key(&self, slot: &Slot) -> &str {
        self.text(slot.key_start, slot.key_len, slot.key_decoded)
    }

    /// Whether a slot's key is this one. Bytes are compared: to cut a text out takes longer.
    #[inline]
    fn has_key(&self, slot: &Slot, key: &str) -> bool {
        if slot.key_len as usize != key.len() {
            return false;
        }
        let from: &str = if slot.key_decoded { &self.decoded } else { self.source };
        let start = slot.key_start as usize;
        from.as_bytes().get(start..start + key.len()) == Some(key.as_bytes())
    }

    #[inline]
    fn children(&self, slot: &Slot) -> &[Slot] {
        self.slots.get(slot.start as usize..slot.start as usize + slot.len as usize).unwrap_or_default()
    }

    /// The place of a key in an object.
    fn find(&self, object: &Slot, key: &str, signature: u32) -> Option<usize> {
        let members = self.children(object);
        if object.tag == Tag::BigObject {
            let index = self.indexes.binary_search_by_key(&object.start, |(start, _)| *start).ok()?;
            let (_, order) = self.indexes.get(index)?;
            let key_of = |place: &u32| members.get(*place as usize).map_or("", |member| self.key(member));
            let place = order.binary_search_by(|place| key_of(place).cmp(key)).ok()?;
            return order.get(place).map(|place| *place as usize);
        }
        members.iter().position(|member| member.signature == signature && self.has_key(member, key))
    }
}

/// One value of a [`Document`]: as cheap to copy as a reference.
///
/// ```
/// use sluice_freemarker::json::Document;
///
/// let document = Document::parse(br#"{"a": [true, "x"]}"#, 8)?;
/// let list = document.root().get("a").unwrap();
/// assert_eq!((list.len(), list.at(1).and_then(|item| item.as_str())), (2, Some("x")));
/// # Ok::<(), sluice_freemarker::json::JsonError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document<'d>,
    slot: &'d Slot,
}

impl<'d> Node<'d> {
    /// What kind of value this is.
    #[inline]
    pub fn kind(self) -> Kind {
        match self.slot.tag {
            Tag::Null => Kind::Null,
            Tag::True | Tag::False => Kind::Bool,
            Tag::Number => Kind::Number,
            Tag::String | Tag::Decoded => Kind::String,
            Tag::Array => Kind::Array,
            Tag::Object | Tag::BigObject => Kind::Object,
        }
    }

    /// The member of an object; `None` when there is none of that name or this is no object.
    pub fn get(self, key: &str) -> Option<Node<'d>> {
        let place = self.object()?.find(self.slot, key, key::signature(key))?;
        self.child(place)
    }

    /// The same for a key that is looked up in many documents of one shape.
    #[inline]
    pub(crate) fn get_again(self, key: &Key) -> Option<Node<'d>> {
        let document = self.object()?;
        let last = key.last_place();
        if let Some(slot) = document.children(self.slot).get(last as usize)
            && slot.signature == key.signature
            && document.has_key(slot, key)
        {
            return Some(Node { document, slot });
        }
        self.get_anew(key)
    }

    #[cold]
    fn get_anew(self, key: &Key) -> Option<Node<'d>> {
        let place = self.document.find(self.slot, key, key.signature)?;
        key.remember(u32::try_from(place).unwrap_or(0));
        self.child(place)
    }

    /// The document, if this is an object.
    #[inline]
    fn object(self) -> Option<&'d Document<'d>> {
        matches!(self.slot.tag, Tag::Object | Tag::BigObject).then_some(self.document)
    }

    #[inline]
    fn child(self, place: usize) -> Option<Node<'d>> {
        let slot = self.document.children(self.slot).get(place)?;
        Some(Node { document: self.document, slot })
    }

    /// The item of an array, counted from 0; `None` past its end or when this is no array.
    pub fn at(self, index: usize) -> Option<Node<'d>> {
        if self.slot.tag == Tag::Array { self.child(index) } else { None }
    }

    /// How many items an array or members an object has; 0 for anything else.
    #[inline]
    pub fn len(self) -> usize {
        match self.slot.tag {
            Tag::Array | Tag::Object | Tag::BigObject => self.slot.len as usize,
            _ => 0,
        }
    }

    /// Whether [`Node::len`] is 0.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The text of a string.
    #[inline]
    pub fn as_str(self) -> Option<&'d str> {
        let Slot { start, len, tag, .. } = *self.slot;
        match tag {
            Tag::String | Tag::Decoded => Some(self.document.text(start, len, tag == Tag::Decoded)),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.slot.tag {
            Tag::True => Some(true),
            Tag::False => Some(false),
            _ => None,
        }
    }

    /// A number exactly as it was written, so that no digit is lost.
    #[inline]
    pub fn number_text(self) -> Option<&'d str> {
        let Slot { start, len, tag, .. } = *self.slot;
        if tag == Tag::Number { Some(self.document.text(start, len, false)) } else { None }
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        self.slot.tag == Tag::Null
    }

    /// The members of an object in the order of their first appearance; none for anything else.
    pub fn members(self) -> impl Iterator<Item = (&'d str, Node<'d>)> {
        let document = self.document;
        let members = if self.kind() == Kind::Object { document.children(self.slot) } else { &[] };
        members.iter().map(move |slot| (document.key(slot), Node { document, slot }))
    }

    /// The member at a place counted from 0; `None` past the end or when this is no object.
    pub fn member_at(self, place: usize) -> Option<(&'d str, Node<'d>)> {
        self.object()?;
        let member = self.child(place)?;
        Some((self.document.key(member.slot), member))
    }

    /// The items of an array in order; none for anything else.
    pub fn items(self) -> impl Iterator<Item = Node<'d>> {
        let document = self.document;
        let items = if self.slot.tag == Tag::Array { document.children(self.slot) } else { &[] };
        items.iter().map(move |slot| Node { document, slot })
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_json(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// A value, in an object with its key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key_start: u32,
    key_len: u32,
    signature: u32,
    /// Of strings and numbers where their text starts, of arrays and objects their children.
    start: u32,
    len: u32,
    tag: Tag,
    /// Whether the key is among the decoded strings.
    key_decoded: bool,
}

impl Slot {
    const EMPTY: Slot =
        Slot { key_start: 0, key_len: 0, signature: 0, start: 0, len: 0, tag: Tag::Null, key_decoded: false };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Null,
    False,
    True,
    Number,
    /// A string that stands in the source as it is.
    String,
    /// A string among the decoded ones.
    Decoded,
    Array,
    Object,
    /// An object that has an index.
    BigObject,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> String {
        let document = Document::parse(text.as_bytes(), 64).unwrap();
        let mut out = Vec::new();
        document.root().write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keeps_numbers_order_and_escapes() {
        let text = r#"{"b":1.50,"a":[1e400,-0,{"x":null}],"s":"q\"\u0001é\n/","e":{},"z":[],"t":true}"#;
        assert_eq!(round_trip(text), text);
        assert_eq!(round_trip(" [ \"\\u00e9\" , \"\" ] "), r#"["é",""]"#);
    }

    #[test]
    fn of_duplicate_keys_the_last_value_stands_in_the_first_place() {
        assert_eq!(round_trip(r#"{"a":1,"b":2,"\u0061":3}"#), r#"{"a":3,"b":2}"#);
        let mut text = String::from("{");
        for i in 0..40 {
            text.push_str(&format!("\"k{}\":{i},", i % 30));
        }
        text.push_str("\"last\":0}");
        let document = Document::parse(text.as_bytes(), 8).unwrap();
        let root = document.root();
        assert_eq!(root.len(), 31);
        assert_eq!(root.get("k5").and_then(Node::number_text), Some("35"));
        assert_eq!(root.get("k25").and_then(Node::number_text), Some("25"));
        assert_eq!(root.get("k30").map(Node::kind), None);
        assert_eq!(root.member_at(5).map(|m| m.0), Some("k5"));
        assert_eq!(root.get("last").and_then(Node::number_text), Some("0"));
    }

    #[test]
    fn refuses_what_is_no_json() {
        for text in ["", "{", "[1,]", "{\"a\":1,}", "01", "nul", "1 2", "\"\u{1}\"", "[NaN]"] {
            assert!(Document::parse(text.as_bytes(), 64).is_err(), "{text}");
        }
        assert_eq!(Document::parse(b"[1, \xff]", 64).unwrap_err().offset(), 4);
        let deep = "[".repeat(100_000);
        let error = Document::parse(deep.as_bytes(), 64).unwrap_err();
        assert_eq!((error.offset(), error.to_string().as_str()), (64, "nesting deeper than 64 at byte 64"));
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(Document::parse(deep.as_bytes(), 50_000).map(|_| ()), Ok(()));
    }
}
