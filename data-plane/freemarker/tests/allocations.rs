//! A rendering that was done before needs no memory but for what it prints.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sluice_freemarker::json::{self, Document};
use sluice_freemarker::{Limits, Root, Settings, Template};

const EVENT: &str = include_str!("../benches/event.json");

/// Allocations of a rendering into a buffer that is big enough.
fn allocations(source: &str) -> u64 {
    let template = Template::parse("t", source, &Settings::default()).unwrap();
    let event = Document::parse(EVENT.as_bytes(), 64).unwrap();
    let root = Root::new().with_json("input", event.root());
    let limits = Limits::default();
    let mut out = Vec::with_capacity(64 << 10);
    template.render(&root, &limits, &mut out).unwrap();
    let printed = out.len();
    out.clear();
    let counted = allocation_counter::measure(|| {
        template.render(&root, &limits, &mut out).unwrap();
    });
    assert_eq!(out.len(), printed);
    assert_eq!(counted.count_current, 0, "what was allocated is freed");
    counted.count_total
}

#[test]
fn the_documented_example_allocates_nothing() {
    assert_eq!(allocations(include_str!("../benches/templates/example.ftl")), 0);
}

#[test]
fn conditions_lists_and_escapes_of_plain_text_allocate_nothing() {
    assert_eq!(allocations("{<#if input.paying == \"true\" && input.event_id gt 1>\"a\": 1</#if>}"), 0);
    assert_eq!(allocations("${input.user_id?json_string} ${input.session_id?c}"), 0);
}

/// What is read stands in a few vectors, however many values there are.
#[test]
fn reading_an_event_allocates_a_few_times() {
    let counted = allocation_counter::measure(|| {
        Document::parse(EVENT.as_bytes(), 64).unwrap();
    });
    assert!(counted.count_total <= 6, "{}", counted.count_total);
    let long = format!("[{}{EVENT}]", format!("{EVENT},").repeat(1000));
    let counted = allocation_counter::measure(|| {
        Document::parse(long.as_bytes(), 64).unwrap();
    });
    // and not much more of them than the text is long
    assert!(counted.count_total <= 30, "{}", counted.count_total);
    assert!(counted.bytes_max < 6 * long.len() as u64, "{} of {}", counted.bytes_max, long.len());
}

#[test]
fn to_check_a_text_takes_no_memory() {
    let counted = allocation_counter::measure(|| {
        json::check(EVENT.as_bytes(), 64).unwrap();
    });
    assert!(counted.bytes_max < 1024, "{}", counted.bytes_max);
}

/// Texts of 1 MiB whose values are as short as can be.
#[test]
fn no_document_takes_much_more_than_its_text() {
    const BYTES: usize = 1 << 20;
    let filled = |open: &str, item: &str, last: &str| {
        let count = (BYTES - open.len() - last.len()) / item.len();
        format!("{open}{}{last}", item.repeat(count))
    };
    let numbered: String = (0..90_000).map(|number| format!("\"{number}\":0,")).collect();
    let texts = [
        filled("[", "[],", "0]"),
        filled("[", "0,", "0]"),
        filled("[", "[0],", "0]"),
        filled("[", "[0,0],", "0]"),
        filled("[", "{},", "0]"),
        filled("[", "{\"\":0},", "0]"),
        filled("[", "{\"\\n\":0},", "0]"),
        filled("{", "\"\":0,", "\"\":0}"),
        filled("[", "\"\\n\",", "0]"),
        filled("[\"", ",", "\"]"),
        filled("[", &format!("[{}0],", "0,".repeat(99)), "0]"),
        filled("[", &format!("[{}0],", "0,".repeat(29_999)), "0]"),
        format!("{{{numbered}\"\":0}}"),
        format!("{}{}", "[".repeat(60), "]".repeat(60)),
    ];
    for text in texts {
        assert!(text.len() <= BYTES);
        let counted = allocation_counter::measure(|| {
            Document::parse(text.as_bytes(), 64).unwrap();
        });
        let shown = text.get(..20).unwrap_or_default();
        println!("{shown}: {} MiB", counted.bytes_max >> 20);
        assert!(counted.bytes_max <= 40 << 20, "{shown}: {}", counted.bytes_max);
    }
}
