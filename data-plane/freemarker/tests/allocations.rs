//! A rendering that was done before needs no memory but for what it prints.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sluice_freemarker::json::Document;
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
