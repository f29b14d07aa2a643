//! The data that templates are rendered with, and the words that they are made of.

use crate::random::Random;

pub(super) const STRINGS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "abc",
    "Abc dEF",
    "foo bar  baz",
    "  padded\t",
    "x,y,,z,",
    "one;two;three",
    "line 1\nline 2",
    "\r\n",
    "say \"hi\" & <b>it's</b>",
    "back\\slash/slash",
    "</script><!-- ]]>",
    "näïve ÉTÉ",
    "ß straße",
    "ﬁ ΑΣ",
    "日本語",
    "😀 smile",
    "a\u{301}",
    "nbsp\u{a0}end",
    "\u{2028}",
    "\u{7f}",
    "true",
    "false",
    "12",
    "-7.50",
    "1e3",
    "007",
    " 5",
    "key",
    "k1",
    "aaa",
    "aXbXc",
    "[x](y)*+?",
    "$1 ${x} #{y}",
    "2022-02-28 20:07:01.795000",
    "2022-02-28",
    "20:07:01",
    "2024-12-31T23:59:59Z",
    "user@example.com",
    "https://example.com/a b?c=d&e=f#g",
    "Mixed-case_words and 42 numbers",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "42",
    "99",
    "-12",
    "255",
    "1000",
    "1234567",
    "-1234567",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "123456789012345678901234567890",
    "0.5",
    "1.5",
    "2.5",
    "-0.5",
    "-2.5",
    "0.1",
    "0.125",
    "12.345",
    "1234.5678",
    "-1234.5",
    "0.0005",
    "0.00000001",
    "99.995",
    "1.10",
    "5.0",
    "1e3",
    "1E-7",
    "1.5e10",
    "1666641999123",
];

/// The data model as JSON text (a tree of values would round the numbers): `s…` are strings, `n…` numbers, `b…`
/// booleans, `q…` sequences, `h…` hashes, `z…` nothing.
pub(super) fn model(random: &mut Random) -> String {
    let mut members = Vec::new();
    for name in ["s1", "s2", "s3"] {
        members.push((name, string(random)));
    }
    for name in ["n1", "n2", "n3"] {
        members.push((name, number(random)));
    }
    for name in ["b1", "b2"] {
        members.push((name, boolean(random)));
    }
    members.push(("q1", sequence_of(random, string)));
    members.push(("q2", sequence_of(random, number)));
    members.push(("q3", sequence_of(random, record)));
    members.push(("q4", sequence_of(random, |random| any(random, 1))));
    members.push(("h1", record(random)));
    members.push(("h2", hash(random, 2)));
    members.push(("z1", "null".into()));
    if random.percent(50) {
        members.push(("input", event(random)));
    }
    object(&members)
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub(super) fn string_text(random: &mut Random) -> &'static str {
    random.pick(STRINGS)
}

pub(super) fn number_text(random: &mut Random) -> &'static str {
    random.pick(NUMBERS)
}

fn string(random: &mut Random) -> String {
    quoted(string_text(random))
}

fn number(random: &mut Random) -> String {
    number_text(random).to_owned()
}

fn boolean(random: &mut Random) -> String {
    random.percent(50).to_string()
}

fn any(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 | 1 => string(random),
        2 | 3 => number(random),
        4 => boolean(random),
        5 => "null".into(),
        6 | 7 => sequence_of(random, |random| any(random, 0)),
        _ => hash(random, depth - 1),
    }
}

fn sequence_of(random: &mut Random, item: impl Fn(&mut Random) -> String) -> String {
    let length = *random.pick(&[&0, &1, &2, &3, &3, &4, &6]);
    let items: Vec<String> = (0..length).map(|_| item(random)).collect();
    format!("[{}]", items.join(", "))
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", members.join(", "))
}

fn hash(random: &mut Random, depth: usize) -> String {
    let mut keys = vec!["key", "k1", "a", "n", "with space", "UPPER", "é", "1"];
    let members: Vec<_> =
        (0..random.below(4)).map(|_| (keys.swap_remove(random.below(keys.len())), any(random, depth))).collect();
    object(&members)
}

/// What lists of things look like: every one has the same keys, but for one.
fn record(random: &mut Random) -> String {
    let inner = object(&[("k", number(random)), ("s", string(random))]);
    let mut members = vec![("name", string(random)), ("n", number(random)), ("inner", inner)];
    if random.percent(90) {
        members.push(("tag", if random.percent(20) { "null".into() } else { string(random) }));
    }
    object(&members)
}

fn event(random: &mut Random) -> String {
    object(&[
        ("user_id", string(random)),
        ("event_type", string(random)),
        ("event_time", quoted("2022-10-24 20:07:32.123")),
        ("amount", number(random)),
        ("paid", boolean(random)),
        ("event_properties", hash(random, 2)),
        ("user_properties", record(random)),
        ("tags", sequence_of(random, string)),
        ("nothing", "null".into()),
    ])
}
