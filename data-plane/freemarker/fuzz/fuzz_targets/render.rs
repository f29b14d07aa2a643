//! Parses and renders whatever comes, with the default limits. The input is a template, then a NUL and a JSON object if
//! there is data. It may include itself, as `fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluice_freemarker::json::Document;
use sluice_freemarker::{Limits, Root, Settings, Template, Templates};

fuzz_target!(|input: &str| {
    let (source, model) = input.split_once('\0').unwrap_or((input, "{}"));
    let Ok(document) = Document::parse(model.as_bytes(), 64) else { return };
    let mut root = Root::new().with_now(0);
    for (name, node) in document.root().members() {
        root = root.with_json(name, node);
    }
    let settings = Settings::default();
    let mut templates = Templates::new(&settings);
    templates.insert("fuzz", source);
    let root = root.with_templates(&templates);
    let mut out = Vec::new();
    let rendered = Template::parse("fuzz", source, &settings)
        .and_then(|template| template.render(&root, &Limits::default(), &mut out));
    match rendered {
        Ok(usage) => {
            assert_eq!(usage.output_bytes, out.len());
            assert!(std::str::from_utf8(&out).is_ok());
        }
        Err(error) => {
            assert!(out.is_empty());
            assert!(!error.to_string().is_empty());
        }
    }
});
