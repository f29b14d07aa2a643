//! Documents against serde_json: the same texts are taken, and hold the same values.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::Value;
use sluice_freemarker::json::{self, Document, Kind, Node};

const EVENT: &str = include_str!("../benches/event.json");

/// Whether a document holds a value. Numbers are compared as serde_json reads the text kept of them.
fn same(node: Node<'_>, value: &Value) -> bool {
    match (node.kind(), value) {
        (Kind::Null, Value::Null) => node.is_null(),
        (Kind::Bool, Value::Bool(flag)) => node.as_bool() == Some(*flag),
        (Kind::Number, Value::Number(number)) => {
            serde_json::from_str::<Value>(node.number_text().unwrap()).unwrap() == Value::Number(number.clone())
        }
        (Kind::String, Value::String(text)) => node.as_str() == Some(text),
        (Kind::Array, Value::Array(items)) => {
            node.len() == items.len() && items.iter().enumerate().all(|(at, item)| same(node.at(at).unwrap(), item))
        }
        (Kind::Object, Value::Object(members)) => {
            node.len() == members.len()
                && members.iter().all(|(key, value)| node.get(key).is_some_and(|node| same(node, value)))
                && node.members().all(|(key, _)| members.contains_key(key))
        }
        _ => false,
    }
}

fn check(bytes: &[u8]) {
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(json::check(bytes, 100).err(), Document::parse(bytes, 100).err(), "{shown}");
    match (Document::parse(bytes, 100), serde_json::from_slice::<Value>(bytes)) {
        (Ok(document), Ok(value)) => assert!(same(document.root(), &value), "{shown}"),
        (Err(error), Err(_)) => assert!(error.offset() <= bytes.len(), "{shown}"),
        (Ok(_), Err(error)) => {
            // a document keeps the text of numbers that are too large for a double
            assert!(error.to_string().starts_with("number out of range"), "{shown}: {error}");
        }
        (Err(error), Ok(_)) => panic!("{shown}: {error}"),
    }
}

fn json() -> impl Strategy<Value = String> {
    let space = prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")];
    let string = prop_oneof![
        "[a-c]{0,2}",
        "[ -~é€𝄞]{0,20}",
        r#"([a-z]|\\[\\"/bfnrt]|\\u[0-9a-dA-F]{4}|\\ud83d\\ude00){0,6}"#,
        "[a-z]{7,17}",
    ];
    let quoted = string.prop_map(|text| match text.contains('\\') {
        true => format!("\"{text}\""),
        false => serde_json::to_string(&text).unwrap(),
    });
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|int| int.to_string()),
        r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        quoted.clone().boxed(),
    ];
    leaf.prop_recursive(4, 200, 90, move |inner| {
        let member = (quoted.clone(), space.clone(), inner.clone())
            .prop_map(|(key, gap, value)| format!("{gap}{key}{gap}:{gap}{value}{gap}"));
        prop_oneof![
            prop::collection::vec(inner, 0..20).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec(member.clone(), 0..12).prop_map(|members| format!("{{{}}}", members.join(","))),
            prop::collection::vec(member, 60..90).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_read_as_serde_json_reads_it(text in json()) {
        check(text.as_bytes());
    }

    #[test]
    fn what_is_almost_json_is_refused_alike(text in json(), at in any::<prop::sample::Index>(), byte in prop::sample::select(
        b"\"\\{}[]:,0-+.eE \n\x00\x1f\x7f\x80\xc3ntfu".to_vec()), how in 0..3) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len() + 1);
        match how {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => bytes[at] = byte,
            _ => bytes.truncate(at),
        }
        check(&bytes);
    }
}

#[test]
fn every_prefix_of_an_event_is_refused_and_every_broken_byte_treated_alike() {
    for end in 0..EVENT.trim_end().len() {
        assert!(Document::parse(&EVENT.as_bytes()[..end], 64).is_err(), "{end}");
    }
    let mut bytes = EVENT.as_bytes().to_vec();
    for at in 0..bytes.len() {
        for wrong in [b'"', b'\\', b',', b'}', b'0', 0x80] {
            let right = std::mem::replace(&mut bytes[at], wrong);
            check(&bytes);
            bytes[at] = right;
        }
    }
}

/// Keys that are all alike at both ends, and in length, are told apart all the same, and fast.
#[test]
fn keys_that_look_the_same_are_not() {
    for count in [5, 40, 64, 65, 20_000] {
        let members: Vec<String> = (0..count).map(|i| format!("\"prefix--{i:08}--suffix\":{i}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let document = Document::parse(text.as_bytes(), 8).unwrap();
        let root = document.root();
        assert_eq!(root.len(), count);
        for i in [0, count / 2, count - 1] {
            let found = root.get(&format!("prefix--{i:08}--suffix")).and_then(Node::number_text);
            assert_eq!(found, Some(i.to_string().as_str()));
        }
        assert!(root.get("prefix--99999999--suffix").is_none());
        assert!(root.get("").is_none());
    }
}

#[test]
fn errors_say_where() {
    for (text, offset, message) in [
        ("", 0, "EOF while parsing a value at byte 0"),
        ("[", 1, "EOF while parsing a list at byte 1"),
        ("{", 1, "EOF while parsing an object at byte 1"),
        ("[1,]", 3, "trailing comma at byte 3"),
        ("{\"a\":1,}", 7, "trailing comma at byte 7"),
        ("{\"a\" 1}", 5, "expected `:` at byte 5"),
        ("{a:1}", 1, "key must be a string at byte 1"),
        ("[1 2]", 3, "expected `,` or `]` at byte 3"),
        ("01", 1, "invalid number at byte 1"),
        ("[-]", 2, "invalid number at byte 2"),
        ("nul", 3, "EOF while parsing a value at byte 3"),
        ("nulL", 3, "expected ident at byte 3"),
        ("1 2", 2, "trailing characters at byte 2"),
        ("\"a\\x\"", 3, "invalid escape at byte 3"),
        ("\"\\ud800\"", 3, "lone surrogate found in an escape at byte 3"),
        ("\"abc", 4, "EOF while parsing a string at byte 4"),
    ] {
        let error = Document::parse(text.as_bytes(), 8).unwrap_err();
        assert_eq!((error.offset(), error.to_string().as_str()), (offset, message), "{text}");
    }
}
