//! Reads whatever comes as JSON: what is taken is written as text that is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_freemarker::json::{self, Document};

fuzz_target!(|input: &[u8]| {
    assert_eq!(json::check(input, 64).err(), Document::parse(input, 64).err());
    let document = match Document::parse(input, 64) {
        Ok(document) => document,
        Err(error) => {
            assert!(error.offset() <= input.len());
            return;
        }
    };
    let mut text = Vec::new();
    document.root().write_json(&mut text);
    let mut again = Vec::new();
    Document::parse(&text, 64).unwrap().root().write_json(&mut again);
    assert_eq!(text, again);
    for (key, _) in document.root().members() {
        assert!(document.root().get(key).is_some());
    }
});
