//! JSON text from what was read.

use super::{Kind, Node, Tag};

impl Node<'_> {
    /// Appends this value as compact JSON text; numbers as they were written.
    pub fn write_json(self, out: &mut Vec<u8>) {
        let mut open = vec![];
        let mut next = Some(self);
        loop {
            if let Some(node) = next.take() {
                match node.slot.tag {
                    Tag::Null => out.extend_from_slice(b"null"),
                    Tag::True => out.extend_from_slice(b"true"),
                    Tag::False => out.extend_from_slice(b"false"),
                    Tag::Number => out.extend_from_slice(node.number_text().unwrap_or_default().as_bytes()),
                    Tag::String | Tag::Decoded => write_json_string(node.as_str().unwrap_or_default(), out),
                    Tag::Array => {
                        out.push(b'[');
                        open.push((node, 0));
                    }
                    Tag::Object | Tag::BigObject => {
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
