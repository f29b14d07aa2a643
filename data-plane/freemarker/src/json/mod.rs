//! A parsed JSON text that is read in place.
//!
//! [`Document`] is a flat arena over the bytes it was parsed from: strings without escapes and all
//! numbers are slices of the input, so that a template reads an event without copying it.

mod build;

use std::fmt;

use build::Builder;

/// Objects with more members than this get a sorted index.
const INDEX_FROM: usize = 16;

/// No index: the object is small enough to be searched from end to end.
const NO_INDEX: u32 = u32::MAX;

/// The kind of a JSON value.
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

/// A text that is no JSON, or is nested too deeply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    message: String,
    offset: usize,
}

impl JsonError {
    /// Where the text went wrong, in bytes from its start.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.message, self.offset)
    }
}

impl std::error::Error for JsonError {}

/// A JSON text and the arena of what it holds.
///
/// Numbers keep the text they were written with, objects keep the order of their keys. Of duplicate
/// keys the first gives the place and the last the value, as FreeMarker's hashes have it.
#[derive(Debug)]
pub struct Document<'a> {
    source: &'a str,
    /// Strings that were written with escapes, decoded, one after the other.
    unescaped: String,
    items: Vec<Entry>,
    members: Vec<Member>,
    /// For each big object: its members' places, sorted by key.
    index: Vec<u32>,
    root: Entry,
}

impl<'a> Document<'a> {
    /// Parses one JSON value that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`JsonError`] when the bytes are no JSON text in UTF-8, are longer than 4 GiB, or hold
    /// arrays and objects nested more than `max_depth` deep.
    pub fn parse(bytes: &'a [u8], max_depth: usize) -> Result<Document<'a>, JsonError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(JsonError { message: "text longer than 4 GiB".into(), offset: 0 });
        }
        let source = std::str::from_utf8(bytes)
            .map_err(|e| JsonError { message: "text that is not UTF-8".into(), offset: e.valid_up_to() })?;
        Builder::new(source, max_depth).run()
    }

    /// The value that the whole text is.
    pub fn root(&self) -> Node<'_> {
        Node { document: self, entry: self.root }
    }

    fn text(&self, text: TextRef) -> &str {
        let (start, end) = (text.start as usize, text.start as usize + text.len as usize);
        let from: &str = if text.unescaped { &self.unescaped } else { self.source };
        from.get(start..end).unwrap_or_default()
    }
}

/// One value of a [`Document`]: as cheap to copy as a reference.
#[derive(Clone, Copy)]
pub struct Node<'d> {
    document: &'d Document<'d>,
    entry: Entry,
}

impl<'d> Node<'d> {
    /// What kind of value this is.
    pub fn kind(self) -> Kind {
        match self.entry {
            Entry::Null => Kind::Null,
            Entry::Bool(_) => Kind::Bool,
            Entry::Number(_) => Kind::Number,
            Entry::String(_) => Kind::String,
            Entry::Array { .. } => Kind::Array,
            Entry::Object { .. } => Kind::Object,
        }
    }

    /// The member of an object; `None` when there is none of that name or this is no object.
    pub fn get(self, key: &str) -> Option<Node<'d>> {
        let Entry::Object { start, len, index } = self.entry else { return None };
        let document = self.document;
        let members = slice(&document.members, start, len);
        let found = if index == NO_INDEX {
            members.iter().find(|member| document.text(member.key) == key)
        } else {
            let order = slice(&document.index, index, len);
            let key_of =
                |place: &u32| document.members.get(*place as usize).map_or("", |member| document.text(member.key));
            let place = order.binary_search_by(|place| key_of(place).cmp(key)).ok()?;
            order.get(place).and_then(|place| document.members.get(*place as usize))
        };
        found.map(|member| Node { document, entry: member.value })
    }

    /// The item of an array, counted from 0; `None` past its end or when this is no array.
    pub fn at(self, index: usize) -> Option<Node<'d>> {
        let Entry::Array { start, len } = self.entry else { return None };
        let entry = slice(&self.document.items, start, len).get(index)?;
        Some(Node { document: self.document, entry: *entry })
    }

    /// How many items an array or members an object has; 0 for anything else.
    pub fn len(self) -> usize {
        match self.entry {
            Entry::Array { len, .. } | Entry::Object { len, .. } => len as usize,
            _ => 0,
        }
    }

    /// Whether [`Node::len`] is 0.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The text of a string.
    pub fn as_str(self) -> Option<&'d str> {
        match self.entry {
            Entry::String(text) => Some(self.document.text(text)),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.entry {
            Entry::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A number exactly as it was written, so that no digit is lost.
    pub fn number_text(self) -> Option<&'d str> {
        match self.entry {
            Entry::Number(text) => Some(self.document.text(text)),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(self) -> bool {
        matches!(self.entry, Entry::Null)
    }

    /// The members of an object in the order of their first appearance; none for anything else.
    pub fn members(self) -> impl Iterator<Item = (&'d str, Node<'d>)> {
        let document = self.document;
        let members = match self.entry {
            Entry::Object { start, len, .. } => slice(&document.members, start, len),
            _ => &[],
        };
        members.iter().map(move |member| (document.text(member.key), Node { document, entry: member.value }))
    }

    /// The member at a place counted from 0; `None` past the end or when this is no object.
    pub fn member_at(self, place: usize) -> Option<(&'d str, Node<'d>)> {
        let Entry::Object { start, len, .. } = self.entry else { return None };
        let member = slice(&self.document.members, start, len).get(place)?;
        Some((self.document.text(member.key), Node { document: self.document, entry: member.value }))
    }

    /// The items of an array in order; none for anything else.
    pub fn items(self) -> impl Iterator<Item = Node<'d>> {
        let document = self.document;
        let items = match self.entry {
            Entry::Array { start, len } => slice(&document.items, start, len),
            _ => &[],
        };
        items.iter().map(move |entry| Node { document, entry: *entry })
    }

    /// Appends this value as compact JSON text; numbers as they were written.
    pub fn write_json(self, out: &mut Vec<u8>) {
        let mut open = vec![];
        let mut next = Some(self);
        loop {
            if let Some(node) = next.take() {
                match node.entry {
                    Entry::Null => out.extend_from_slice(b"null"),
                    Entry::Bool(true) => out.extend_from_slice(b"true"),
                    Entry::Bool(false) => out.extend_from_slice(b"false"),
                    Entry::Number(text) => {
                        out.extend_from_slice(node.document.text(text).as_bytes());
                    }
                    Entry::String(text) => write_json_string(node.document.text(text), out),
                    Entry::Array { .. } => {
                        out.push(b'[');
                        open.push((node, 0));
                    }
                    Entry::Object { .. } => {
                        out.push(b'{');
                        open.push((node, 0));
                    }
                }
            }
            let Some((node, place)) = open.last_mut() else { return };
            let separator = if *place == 0 { &b""[..] } else { b"," };
            match node.kind() {
                Kind::Object => match node.member_at(*place) {
                    Some((key, value)) => {
                        out.extend_from_slice(separator);
                        write_json_string(key, out);
                        out.push(b':');
                        next = Some(value);
                    }
                    None => out.push(b'}'),
                },
                _ => match node.at(*place) {
                    Some(value) => {
                        out.extend_from_slice(separator);
                        next = Some(value);
                    }
                    None => out.push(b']'),
                },
            }
            *place += 1;
            if next.is_none() {
                open.pop();
            }
        }
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_json(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Appends a string as a JSON string literal with its quotes.
pub(crate) fn write_json_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..=31 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// A string's place: in the source, or in the arena of decoded strings.
#[derive(Clone, Copy, Debug)]
struct TextRef {
    start: u32,
    len: u32,
    unescaped: bool,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Null,
    Bool(bool),
    Number(TextRef),
    String(TextRef),
    Array { start: u32, len: u32 },
    Object { start: u32, len: u32, index: u32 },
}

#[derive(Clone, Copy, Debug)]
struct Member {
    key: TextRef,
    value: Entry,
}

fn slice<T>(all: &[T], start: u32, len: u32) -> &[T] {
    all.get(start as usize..start as usize + len as usize).unwrap_or_default()
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
