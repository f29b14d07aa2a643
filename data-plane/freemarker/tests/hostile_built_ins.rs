//! Built-ins and formats under attack: every template ends soon, with an error that names the bound.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, ErrorKind, Limits, Root, Settings, Template};

fn render(source: &str, model: &str) -> Result<String, Error> {
    let model = Document::parse(model.as_bytes(), 100).unwrap();
    let root = Root::new().with_json("input", model.root());
    let template = Template::parse("hostile.ftl", source, &Settings::default())?;
    let mut out = Vec::new();
    template.render(&root, &Limits::default(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn assert_limit(source: &str, names: &str) {
    let error = render(source, &format!("\"{}\"", "a".repeat(5000))).expect_err(source);
    assert_eq!(error.kind(), ErrorKind::Limit, "{source}: {error}");
    assert!(error.message().contains(names), "{source}: {error}");
}

#[test]
fn regular_expressions_that_backtrack_for_ever_use_up_the_steps() {
    for pattern in ["(a+)+b", "(a|a)*b", "(.*)*x", "(?:a?){30}a{30}b", "(?=(a+)+b)", "(?<=a{0,2000})b", "(a*)*\\1b"] {
        assert_limit(&format!("${{input?replace(r\"{pattern}\", '', 'r')}}"), "200000 steps (in a regular expression)");
        assert_limit(&format!("${{input?matches(r\"{pattern}\")?size}}"), "200000 steps");
        assert_limit(&format!("${{input?split(r\"{pattern}\", 'r')?size}}"), "200000 steps");
        assert_limit(&format!("${{input?keep_after_last(r\"{pattern}\", 'r')}}"), "200000 steps");
    }
}

#[test]
fn regular_expressions_cost_steps_to_read() {
    assert_limit("<#list 1.. as i><#if input?matches(r'[\\p{L}\\p{N}]+' + i)></#if></#list>", "200000 steps");
}

#[test]
fn regular_expressions_have_a_size() {
    for pattern in ["(((a{99}){99}){99}){99}", "(ab){1000000000}", "(?:\\p{L}x){5000}"] {
        let error = render(&format!("${{input?matches(r'{pattern}')?c}}"), "\"a\"").unwrap_err();
        assert!(error.message().contains("more than 30000 parts"), "{error}");
    }
    let nested = format!("${{'a'?matches(r'{}a{}')?c}}", "(".repeat(1000), ")".repeat(1000));
    assert!(render(&nested, "1").unwrap_err().message().contains("more than 60 deep"));
    let long = format!("${{'a'?matches(r'{}')?c}}", "a".repeat(20_000));
    assert!(render(&long, "1").unwrap_err().message().contains("longer than 10000 bytes"));
}

#[test]
fn replacements_that_grow_are_counted() {
    assert_limit("${input?replace('(.*)', '$1$1$1$1$1$1$1$1$1'?left_pad(40000, '$1'), 'r')}", "16777216 bytes");
    assert_limit("${input?replace('a', input)}", "16777216 bytes");
    assert_limit("${input?replace('', input)}", "16777216 bytes");
}

#[test]
fn padding_is_counted_before_it_is_done() {
    for width in ["2147483647", "1000000000"] {
        assert_limit(&format!("${{'a'?left_pad({width})}}"), "16777216 bytes");
        assert_limit(&format!("${{'a'?right_pad({width}, 'xyz')}}"), "16777216 bytes");
    }
}

#[test]
fn chunks_are_filled_within_bounds() {
    assert_limit("${[1]?chunk(2000000000, 0)?size}", "200000 steps");
}

#[test]
fn numbers_have_a_size_in_every_format() {
    let huge = "1e999";
    for source in [
        "${input?string('0.###E0')}",
        "${input?string('#,##0.00')}",
        "${input?c}",
        "${input?string('0;;multiplier=1000000')}",
        "${input?double?c}",
        "${(input * input)?c}",
        "${input?lower_abc}",
    ] {
        match render(source, huge) {
            Ok(text) => assert!(text.len() < 3000, "{source}: {} bytes", text.len()),
            Err(error) => assert_ne!(error.kind(), ErrorKind::Parse, "{source}: {error}"),
        }
    }
}

#[test]
fn enormous_patterns_are_bounded() {
    let zeros = "0".repeat(100_000);
    for source in [
        format!("${{1?string('{zeros}')}}"),
        format!("${{1?string('0.{zeros}')}}"),
        format!("${{1?string('0E{zeros}')}}"),
        format!("${{1?string('{}0')}}", "#,".repeat(50_000)),
        format!("<#list 1.. as i>${{1?string('{zeros}' + i)}}</#list>"),
        format!("${{0?number_to_datetime?string('{}')}}", "y".repeat(100_000)),
        format!("<#list 1.. as i>${{0?number_to_datetime?string(\"{}'\" + i + \"'\")}}</#list>", "yM".repeat(50_000)),
    ] {
        match render(&source, "1") {
            Ok(text) => assert!(text.len() <= 100_100, "{} bytes", text.len()),
            Err(error) => assert!(!error.message().is_empty()),
        }
    }
}

#[test]
fn sorting_strings_that_the_collator_goes_round_in_circles_with_does_not_panic() {
    let parts = ["a", "-", " ", "_", "b", "\\u0301", "\\u0001"];
    let mut words = Vec::new();
    for i in 0..343 {
        words.push(format!("\"{}{}{}\"", parts[i % 7], parts[i / 7 % 7], parts[i / 49 % 7]));
    }
    let sorted = render("${input?sort?size}", &format!("[{}]", words.join(","))).unwrap();
    assert_eq!(sorted, "343");
}
