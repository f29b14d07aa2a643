//! Broken templates and bytes that are none: whatever comes in, an answer comes out.
//!
//! To look for long with other chances: `PROPTEST_CASES=1000000 PROPTEST_RNG_SEED=$RANDOM cargo test --release -p
//! sluice-freemarker --test robustness`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "the templates to break are files")]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, Limits, Root, Settings, Template};

/// The templates of the case files, each with its data.
static CASES: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let mut cases = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"), &mut cases);
    assert!(cases.len() > 150);
    cases.sort();
    cases
});

fn collect(folder: &Path, cases: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, cases);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(path).unwrap();
            let section = |name: &str| {
                let content = text.split_once(&format!("-- {name}\n"))?.1;
                Some(content.split("\n-- ").next().unwrap_or_default().to_owned())
            };
            cases.push((section("template").unwrap(), section("model").unwrap_or_else(|| "{}".into())));
        }
    }
}

fn render(source: &str, model: &str) -> Result<Vec<u8>, Error> {
    let document = Document::parse(model.as_bytes(), 100).unwrap();
    let mut root = Root::new().with_now(0);
    for (name, node) in document.root().members() {
        root = root.with_json(name, node);
    }
    let template = Template::parse("t", source, &Settings::default())?;
    let mut out = Vec::new();
    template.render(&root, &Limits::default(), &mut out)?;
    Ok(out)
}

/// Output is UTF-8, an error can be shown and has a place in the template or none.
fn check(source: &str, model: &str) {
    match render(source, model) {
        Ok(output) => drop(String::from_utf8(output).unwrap()),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(error.line() == 0, error.column() == 0 && error.source_line().is_none(), "{error}");
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Cut(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    Put(prop::sample::Index, String),
    /// A piece of another template.
    Splice(prop::sample::Index, prop::sample::Index, prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    let pieces = prop::sample::select(vec![
        "${",
        "}",
        "<#",
        "</#",
        ">",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "'",
        "!",
        "??",
        "?",
        ".",
        "..",
        "-->",
        "<#--",
        "<@",
        "</@",
        "\u{0}",
        "é",
        "\u{301}",
        "😀",
        "\r",
        "\t",
        "9999999999",
        "<#if ",
        "<#list ",
        "<#else>",
        "</#list>",
        " as ",
        "->",
        "\\",
        ";",
    ]);
    prop_oneof![
        (index(), 1..8usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (index(), 1..20usize).prop_map(|(at, length)| Change::Double(at, length)),
        (index(), pieces).prop_map(|(at, piece)| Change::Put(at, piece.into())),
        (index(), any::<char>()).prop_map(|(at, c)| Change::Put(at, c.into())),
        (index(), index(), index(), 1..40usize)
            .prop_map(|(at, other, from, length)| Change::Splice(at, other, from, length)),
    ]
}

fn changed(source: &str, changes: &[Change]) -> String {
    let mut chars: Vec<char> = source.chars().collect();
    for change in changes {
        let place = |index: &prop::sample::Index, length: usize| index.index(length + 1);
        match change {
            Change::Cut(at, length) => {
                let at = place(at, chars.len());
                chars.drain(at..(at + length).min(chars.len()));
            }
            Change::Double(at, length) => {
                let at = place(at, chars.len());
                let piece = chars[at..(at + length).min(chars.len())].to_vec();
                chars.splice(at..at, piece);
            }
            Change::Put(at, piece) => {
                let at = place(at, chars.len());
                chars.splice(at..at, piece.chars());
            }
            Change::Splice(at, other, from, length) => {
                let other: Vec<char> = CASES[other.index(CASES.len())].0.chars().collect();
                let from = place(from, other.len());
                let at = place(at, chars.len());
                chars.splice(at..at, other[from..(from + length).min(other.len())].iter().copied());
            }
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000),
    ) })]

    #[test]
    fn broken_cases_never_panic(case in any::<prop::sample::Index>(), changes in prop::collection::vec(change(), 1..6)) {
        let (source, model) = &CASES[case.index(CASES.len())];
        check(&changed(source, &changes), model);
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes), "{}");
        if let Ok(document) = Document::parse(&bytes, 8) {
            document.root().write_json(&mut Vec::new());
        }
    }
}
