//! Traps are found where they are, and nowhere else.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use sluice_freemarker::lint::Rule;
use sluice_freemarker::{Settings, Template};

fn findings(source: &str, rule: Rule) -> Vec<(u32, u32)> {
    let template = Template::parse("t", source, &Settings::default()).unwrap();
    template.lint().iter().filter(|found| found.rule() == rule).map(|found| (found.line(), found.column())).collect()
}

#[test]
fn unguarded_paths() {
    let found = |source| findings(source, Rule::UnguardedPath);
    assert_eq!(found("${input.user_id}"), []);
    assert_eq!(found("${input.user_properties.email}"), [(1, 3)]);
    assert_eq!(found("${(input.user_properties.email)!}"), []);
    assert_eq!(found("${input.city!}\n${input.city}"), [(2, 3)]);
    assert_eq!(found("<#if input.a.b??>${input.a.b}</#if>"), []);
}

#[test]
fn unescaped_strings() {
    let found = |source| findings(source, Rule::UnescapedString);
    assert_eq!(found(r#"{"a": "${input.a}"}"#), [(1, 10)]);
    assert_eq!(found(r#"{"a": "${input.a?json_string}", "n": ${input.n}}"#), []);
    assert_eq!(
        found(r#"{"a": "${input.n?c} ${(input.d!"none")?json_string} ${input.t?datetime.iso?string.iso}"}"#),
        []
    );
    assert_eq!(found(r#"{"a": "\"${input.a}"}"#), [(1, 12)]);
    assert_eq!(found(r#"<#escape x as x?json_string>{"a": "${input.a}"}</#escape>"#), []);
    assert_eq!(found(r#"{"a": "<#if input.a??>${input.a}</#if>"}"#), [(1, 25)]);
    // no JSON
    assert_eq!(found(r#"Dear "${input.a}""#), []);
}

#[test]
fn fractions() {
    let found = |source| findings(source, Rule::FractionPattern);
    assert_eq!(found("${input.t?datetime('yyyy-MM-dd HH:mm:ss.SSS')?string.iso}"), [(1, 20)]);
    assert_eq!(found("${input.t?datetime('yyyy-MM-dd HH:mm:ss')?string('HH:mm:ss.SSS')}"), []);
    assert_eq!(found("<#setting datetime_format='yyyy-MM-dd HH:mm:ss.S'>"), [(1, 27)]);
    assert_eq!(found("<#macro m a=input.t?time('ss.S')></#macro>"), [(1, 26)]);
    assert_eq!(found("${input.t?datetime.iso}"), []);
}

#[test]
fn trailing_commas() {
    let found = |source| findings(source, Rule::TrailingComma);
    assert_eq!(found("[<#list input.a as x>${x},</#list>]"), [(1, 26)]);
    assert_eq!(found("[<#list input.a as x>${x}<#sep>,</#list>]"), []);
    assert_eq!(found("[<#list input.a as x>${x}<#if x_has_next>,</#if></#list>]").len(), 0);
    assert_eq!(found("{\"a\": 1,\n<#if input.b??>\"b\": 2,</#if>\n\"c\": 3}"), []);
    assert_eq!(found("{\"a\": 1<#if input.b??>, \"b\": 2</#if>}"), []);
    assert_eq!(found("{\"a\": 1,\n<#if input.b??>\n  \"b\": 2,\n</#if>\n}"), [(3, 9)]);
    assert_eq!(found("{\"a\": 1,\n<#if input.b??>\"b\": 2</#if>}"), [(1, 8)]);
    assert_eq!(found("[1, 2,]"), [(1, 6)]);
    assert_eq!(found("{\"a\": \",}\"}"), []);
}

#[test]
fn findings_say_what_helps() {
    let template = Template::parse("t", r#"{"a": "${input.a}"}"#, &Settings::default()).unwrap();
    let found = template.lint();
    assert_eq!(
        found.first().unwrap().to_string(),
        "1:10: input.a is printed into a JSON string as it is; write ${(input.a)?json_string}"
    );
}
