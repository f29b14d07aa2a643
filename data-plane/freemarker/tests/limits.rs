//! No template and no data brings the engine down: it ends, in bounds, with an answer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
#![allow(clippy::disallowed_methods, reason = "how long a rendering takes is what is tested here")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use sluice_freemarker::json::Document;
use sluice_freemarker::{Error, ErrorKind, Limits, Method, Root, Settings, Template, Templates, Value};

fn render(template: &str, model: &str) -> Result<String, Error> {
    let document = Document::parse(model.as_bytes(), 100).unwrap();
    let template = Template::parse("t", template, &Settings::default())?;
    let mut out = Vec::new();
    let root = Root::new().with_json("input", document.root());
    template.render(&root, &Limits::default(), &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn kind(template: &str) -> Option<ErrorKind> {
    render(template, "{}").err().map(|error| error.kind())
}

#[test]
fn deep_templates_are_errors() {
    let n = 100_000;
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{\"a\":", "}"),
        ("-(", ")"),
        ("!(", ")"),
        ("a[", "]"),
        ("a(", ")"),
        ("a?then(", ",1)"),
        ("x!", ""),
        ("1 + (", ")"),
        ("\"${", "}\""),
        ("[1]?map(x -> ", ")"),
        ("1..", ""),
        ("!", "true"),
        ("- ", "1"),
    ] {
        let template = format!("${{{}1{}}}", open.repeat(n), close.repeat(n));
        assert!(kind(&template).is_some(), "{open}");
    }
    for (open, close) in [
        ("<#if true>", "</#if>"),
        ("<#list [1] as x>", "</#list>"),
        ("<#assign x>", "</#assign>"),
        ("<#switch 1><#case 1>", "</#switch>"),
        ("<#list [1]><#items as x>", "</#items></#list>"),
        ("<#list [1] as x><#sep>", "</#sep></#list>"),
    ] {
        let n = 10_000;
        let template = format!("{}x{}", open.repeat(n), close.repeat(n));
        assert_eq!(kind(&template), Some(ErrorKind::Limit), "{open}");
        // no end tags either
        assert!(kind(&open.repeat(n)).is_some(), "{open}");
    }
    for step in [".a", "[0]", "?size", "??", "!", "?c", "?upper_case"] {
        assert!(kind(&format!("${{a{}}}", step.repeat(n))).is_some(), "{step}");
    }
}

#[test]
fn what_is_allowed_to_nest_runs_on_a_small_stack() {
    // threads of a server have 2 MiB; leave half of that to others
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let n = 75;
        for (open, close) in [
            ("(", ")"),
            ("[", "]?size"),
            ("true?then(", ",1)"),
            ("[1]?map(x -> ", ")?first"),
            ("nope!(", ")"),
            ("(1 + -", " * 2 % 3)"),
            ("[", "][0]"),
        ] {
            for n in [n, n / 2, n / 3, n / 4] {
                let template = format!("${{{}1{}}}", open.repeat(n), close.repeat(n));
                let _ = render(&template, "{}");
            }
        }
        for (open, close) in [
            ("<#if true>", "</#if>"),
            ("<#list [1] as x>", "</#list>"),
            ("<#assign x>", "</#assign>"),
            ("<#switch 1><#case 1>", "</#switch>"),
        ] {
            let template = format!("{}x{}", open.repeat(n), close.repeat(n));
            let _ = render(&template, "{}");
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn long_chains_do_not_nest() {
    let n = 20_000;
    for (part, expected) in [("+ 1 ", "20,001"), ("* 1 ", "1"), ("+ 'a' ", ""), ("- 0 ", "1")] {
        let output = render(&format!("${{1 {}}}", part.repeat(n)), "{}").unwrap();
        if !expected.is_empty() {
            assert_eq!(output, expected);
        }
    }
    let template = format!("<#if false>{}<#else>x</#if>", "<#elseif false>".repeat(n));
    assert_eq!(render(&template, "{}").unwrap(), "x");
    assert_eq!(render(&format!("${{(true{})?c}}", "&& true".repeat(n)), "{}").unwrap(), "true");
}

#[test]
fn endless_work_ends_soon() {
    let attacks = [
        "<#list 1.. as x></#list>",
        "<#list 1.. as x>${x}</#list>",
        "<#list 1..2000000000 as x><#list 1..2000000000 as y></#list></#list>",
        "<#assign s = 'x'><#list 1.. as i><#assign s = s + s></#list>",
        "<#assign s = [1]><#list 1.. as i><#assign s = s + s></#list>",
        "<#assign s = {'a':1}><#list 1.. as i><#assign s = s + {'k' + i: s}></#list>",
        "<#assign s = []><#list 1.. as i><#assign s = [s]></#list>",
        "<#assign s = []><#list 1.. as i><#assign s = s + [i]></#list>",
        "<#assign n = 3><#list 1.. as i><#assign n = n * n></#list>",
        "<#assign n = 1.1><#list 1.. as i><#assign n = n / 3 * 7></#list>",
        "${('a'?left_pad(2000000000))?length}",
        "${('a'?left_pad(2000000000, 'ab'))?length}",
        "${(1..)?join(',')}",
        "${(1..)?filter(x -> false)?size}",
        "${(1..)?map(x -> x)?filter(x -> true)?size}",
        "${(1..2000000000)?reverse?size}",
        "${(1..2000000000)?sort?size}",
        "${(1..2000000000)?chunk(2)?size}",
        "${[1]?chunk(2000000000, 1)?size}",
        "${(1..)?seq_contains(-1)?c}",
        "${(1..2000000000)?seq_last_index_of(0)}",
        "${((1..)+[1])?size}",
        "${(1..)[0..*2000000000]?size}",
        "<#assign s = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'>\
         <#list 1..12 as i><#assign s = s + s></#list>\
         <#list 1.. as i><#assign t = s?upper_case?lower_case?replace('x', 'yy')></#list>",
        "<#assign s = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'>\
         <#list 1..10 as i><#assign s = s + s></#list>\
         <#list 1.. as i><#if s?contains('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxy')></#if>\
         </#list>",
        "<#assign s = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'>\
         <#list 1..10 as i><#assign s = s + s></#list>\
         <#list 1.. as i><#assign t = s?replace('X', 'Y', 'i')></#list>",
        "<#assign s = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'>\
         <#list 1..10 as i><#assign s = s + s></#list>\
         <#list 1.. as i><#assign t = s[1..*1] + s[5] + s?length></#list>",
        "<#list 1.. as i><#assign x>${i}</#assign></#list>",
        "<#list 1.. as i>${i?string('0.' + i)}</#list>",
        "<#list 1.. as i>${i?number_to_datetime?string('yyyy' + i)}</#list>",
        "<#list 1.. as i><#setting number_format='0.' + i></#list>",
        "<#list 1.. as i>${'2020-01-02 03:04:05'?datetime('yyyy-MM-dd HH:mm:ss')}</#list>",
        "<#list 1.. as i>${i?number_to_datetime?iso('America/New_York')}</#list>",
        "${1e999999999}",
        "${'1e999999999'?number}",
        "${'1e999'?number * '1e999'?number}",
        "<#list 1.. as i>${('1e900'?number + 1)?string('0.00')}</#list>",
        "<#list 1.. as i>${('1e-900'?number + 1)?c}</#list>",
        "<#list 1.. as i>${'1e-900'?number / '7e-900'?number}</#list>",
        "<#list 1.. as i>${input?size}</#list>",
    ];
    let mut worst = (Duration::ZERO, "");
    for attack in attacks {
        let start = cpu_time();
        let error = render(attack, "{}").expect_err(attack);
        let took = cpu_time() - start;
        assert!(!error.message().is_empty());
        if took > worst.0 {
            worst = (took, attack);
        }
    }
    // some 20 ms optimised; debug builds get a hundred times that
    assert!(worst.0 < Duration::from_secs(2), "{worst:?}");
}

/// What this thread has used of the processor: the time on the wall depends on what else the machine does.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A method such as hosts give: the JSON text of its argument.
struct ToJson;

impl Method for ToJson {
    fn call<'d>(&self, args: &[Value<'d>]) -> Result<Value<'d>, String> {
        let mut json = Vec::new();
        args.first().unwrap_or(&Value::Missing).write_json(&mut json)?;
        String::from_utf8(json).map(Value::string).map_err(|error| error.to_string())
    }
}

#[test]
fn json_of_small_values_stays_small() {
    let root = Root::new().with("toJson", Value::Method(Arc::new(ToJson)));
    for (source, limit) in [
        ("<#assign s = [1]><#list 1..100 as i><#assign s = [s, s]></#list>${toJson(s)}", true),
        ("<#assign s = []><#list 1..100 as i><#assign s = {'a': s, 'b': s}></#list>${toJson(s)}", true),
        ("<#list 1.. as i><#assign s = toJson(1..2000000000)></#list>", true),
        ("<#list 1.. as i><#assign s = toJson(1..100000)></#list>", true),
        ("${toJson({'a': [1, 2.50, 'x', {}], 'b': true})}", false),
    ] {
        let template = Template::parse("t", source, &Settings::default()).unwrap();
        let start = cpu_time();
        let result = template.render(&root, &Limits::default(), &mut Vec::new());
        assert_eq!(result.is_err(), limit, "{source}");
        assert!(cpu_time() - start < Duration::from_secs(2), "{source}");
    }
}

#[test]
fn limits_hold_to_the_letter() {
    let document = Document::parse(b"{}", 10).unwrap();
    let root = Root::new().with_json("input", document.root());
    let template = Template::parse("t", "<#list 1..100 as x>${x}</#list>", &Settings::default()).unwrap();
    let mut out = b"kept".to_vec();
    let usage = template.render(&root, &Limits::default(), &mut out).unwrap();
    assert_eq!((usage.output_bytes, out.len()), (192, 196));
    let mut limits = Limits::default();
    limits.max_output_bytes = 192;
    limits.max_steps = usage.steps;
    assert!(template.render(&root, &limits, &mut Vec::new()).is_ok());
    let mut out = b"kept".to_vec();
    limits.max_output_bytes = 191;
    let error = template.render(&root, &limits, &mut out).unwrap_err();
    assert_eq!((error.kind(), out.as_slice()), (ErrorKind::Limit, &b"kept"[..]));
    assert_eq!((error.line(), error.column()), (1, 20));
    limits.max_output_bytes = 192;
    limits.max_steps -= 1;
    assert_eq!(template.render(&root, &limits, &mut Vec::new()).unwrap_err().kind(), ErrorKind::Limit);
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(kind(&long), Some(ErrorKind::Limit));
}

#[test]
fn many_tags_on_one_line_are_parsed_soon_or_refused() {
    let start = cpu_time();
    let _ = render(&"a${1}".repeat(200_000), "{}");
    let _ = render(&format!("{}<#rt>", "a${1}".repeat(100_000)), "{}");
    let _ = render(&"<#t>a".repeat(200_000), "{}");
    let _ = render(&"\n<#t> ".repeat(170_000), "{}");
    let _ = render(&"<#if true></#if>".repeat(60_000), "{}");
    let took = cpu_time() - start;
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn templates_are_shared_between_threads() {
    fn assert_shared<T: Send + Sync + Clone>() {}
    assert_shared::<Template>();
    assert_shared::<Settings>();
    assert_shared::<Value<'static>>();
}

/// Pieces that templates are made of, so that random ones get past the first token.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "${",
        "}",
        "#{",
        "<#if ",
        "<#elseif ",
        "<#else>",
        "</#if>",
        "<#list ",
        " as x>",
        " as k, v>",
        "</#list>",
        "<#items as y>",
        "</#items>",
        "<#sep>",
        "</#sep>",
        "<#assign ",
        "</#assign>",
        "<#setting number_format=",
        "<#switch ",
        "<#case ",
        "<#default>",
        "</#switch>",
        "<#break>",
        "<#t>",
        "<#lt>",
        "<#rt>",
        "<#nt>",
        "<#--",
        "-->",
        "<#noparse>",
        "</#noparse>",
        "<#ftl>",
        "<#ftl output_format='HTML'>",
        "<#macro m x y=1 z...>",
        "</#macro>",
        "<#function f x>",
        "</#function>",
        "<#return ",
        "<#nested ",
        "<@m ",
        "<@m/>",
        "</@>",
        "; a, b>",
        "<#local x=",
        "<#global x=",
        "<#attempt>",
        "<#recover>",
        "</#attempt>",
        "<#compress>",
        "</#compress>",
        "<#escape x as ",
        "</#escape>",
        "<#outputformat 'XML'>",
        "</#outputformat>",
        "<#include ",
        "<#import ",
        "<#on ",
        "f(",
        ".vars",
        ".locals",
        ".namespace",
        ".error",
        ".args",
        "?interpret",
        "?eval",
        "?eval_json",
        "?esc",
        "?no_esc",
        "?markup_string",
        "?with_args(",
        "'${x}'",
        "[#if ",
        "]",
        "[",
        "(",
        ")",
        "{",
        ":",
        ",",
        ";m1M2",
        "x",
        "input",
        ".a",
        "['b']",
        "[0]",
        "[1..]",
        "?c",
        "?string",
        "?string('",
        "?size",
        "?keys",
        "?filter(x -> ",
        "?map(x -> ",
        "?join(',')",
        "?date('yyyy')",
        "?datetime",
        "?number",
        "?index",
        "?substring(",
        "?split('",
        "?left_pad(",
        "?json_string",
        "?sort",
        "?then(",
        "!",
        "??",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "<",
        ">",
        "gt",
        "&&",
        "||",
        "..",
        "..<",
        "..*",
        "'",
        "\"",
        "\\",
        "\\x",
        "r'",
        "1",
        "0",
        "2.5",
        "99999999999999999999",
        "true",
        "'a'",
        "\n",
        "\r",
        "\t",
        " ",
        "é",
        "😀",
        "\u{0}",
        "text",
        ">",
        "/>",
        "=",
        ".now",
    ]);
    prop_oneof![8 => fixed.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_template_panics(pieces in prop::collection::vec(piece(), 0..40)) {
        let source = pieces.concat();
        let model = r#"{"a":{"b":[1,2.5,"x",null,true]},"b":"text é😀","x":[{"k":1}]}"#;
        if let Err(error) = render(&source, model) {
            let _ = error.to_string();
            let _ = error.stack().len();
            prop_assert!(error.line() as usize <= source.matches(['\n', '\r']).count() + 1);
        }
    }

    #[test]
    fn no_template_panics_when_it_is_read(pieces in prop::collection::vec(piece(), 0..40)) {
        if let Ok(template) = Template::parse("t", &pieces.concat(), &Settings::default()) {
            let _ = (template.references(), template.lint());
        }
    }

    #[test]
    fn no_expression_panics(pieces in prop::collection::vec(piece(), 0..12)) {
        let _ = render(&format!("${{{}}}", pieces.concat()), r#"{"a":1,"b":"é"}"#);
    }

    #[test]
    fn no_json_panics(text in "[\\[\\]{}:,\"a\\\\u0-9eE+.tfn -]{0,40}") {
        if let Ok(document) = Document::parse(text.as_bytes(), 8) {
            let mut out = Vec::new();
            document.root().write_json(&mut out);
            let again = Document::parse(&out, 8).unwrap();
            let mut twice = Vec::new();
            again.root().write_json(&mut twice);
            prop_assert_eq!(out, twice);
        }
    }

    #[test]
    fn formats_never_panic(pattern in "[#0,.;%E'yMdHhmsSzXGkKDFwWuaZ \u{a4}-]{0,12}", n in any::<i64>(), d in any::<f64>()) {
        let model = format!("{{\"n\":{n},\"d\":{}}}", if d.is_finite() { d } else { 0.0 });
        let quoted = pattern.replace('\'', "\\'");
        for template in [
            format!("${{input.n?string('{quoted}')}}"),
            format!("${{input.d?string('{quoted}')}}"),
            format!("${{input.n?number_to_datetime?string('{quoted}')}}"),
            "${input.n?number_to_datetime?iso_utc}".to_owned(),
            format!("${{'{n}'?datetime('{quoted}')?long}}"),
        ] {
            let _ = render(&template, &model);
        }
    }
}

#[test]
fn endless_recursion_ends_on_a_small_stack() {
    let attacks = [
        "<#macro m><@m/></#macro><@m/>",
        "<#macro m><#if true><#list [1] as x><#switch 1><#case 1><@m/></#switch></#list></#if></#macro><@m/>",
        "<#macro m><#nested></#macro><#macro n><@m><@n/></@m></#macro><@n/>",
        "<#macro m><@m><#nested></@m></#macro><@m>x</@m>",
        "<#function f x><#return f(x + 1)></#function>${f(1)}",
        "<#function f x><#return 1 + (2 * (f([x, {'a': x}]?size + 1)))></#function>${f(1)}",
        "<#function f x><#return [1]?map(y -> f(y))?first></#function>${f(1)}",
        "<#function f x><#return \"a${f(x)}b\"></#function>${f(1)}",
        "<#macro m a=b b=c c=f()></#macro><#function f><@m/><#return 1></#function>${f()}",
        "<#include 't'>",
        "<#include 'lib'>",
        "<#import 'lib' as l><@l.m/>",
        "<#macro m><#attempt><@m/><#recover><@m/></#attempt></#macro><@m/>",
        "<#macro m><#local x><@m/></#local></#macro><@m/>",
        "<#macro m><#compress><@m/></#compress></#macro><@m/>",
        "<#assign s = r'<@s?interpret/>'><@s?interpret/>",
        "<#assign s = 's?eval'>${s?eval}",
        "<#assign s = '(s + \" \")?eval'>${s?eval}",
        "<#macro m><#assign t = r'<@m/>'><@t?interpret/></#macro><@m/>",
        "<#macro m><@.vars['m']/></#macro><@m/>",
        "<#macro m x...><@m?with_args(x) 1/></#macro><@m/>",
        "<#macro m x...><@m?with_args_last([x]) 1/></#macro><@m 1/>",
        "<@.get_optional_template('t').include/>",
        "<#list 1.. as i><@r'<#assign x=1>'?interpret/></#list>",
        "<#list 1.. as i><#assign x = ('1 + ' + i?c)?eval></#list>",
        "<#list 1.. as i><#assign x>${x!}xxxxxxxx</#assign></#list>",
        "<#list 1.. as i><#attempt>${nope}<#recover>${.error}</#attempt></#list>",
        "<#assign s = '[1]'><#list 1..12 as i><#assign s = '[' + s + ',' + s + ']'></#list><#list 1.. as i><#assign x = s?eval_json></#list>",
    ];
    // parsing comes on top of what is running already
    let deep = format!("{}1{}", "(".repeat(75), ")".repeat(75));
    let blocks = format!("{}1{}", "<#if true>".repeat(75), "</#if>".repeat(75));
    let parses = [
        format!("<#function f x><#return '{deep} + f(1)'?eval></#function>${{f(1)}}"),
        format!("<#macro m><#attempt>${{'{deep}'?eval}}<#recover></#attempt><@m/></#macro><@m/>"),
        format!("<#macro m><#attempt><@r'{blocks}'?interpret/><#recover></#attempt><@m/></#macro><@m/>"),
    ];
    let attacks: Vec<String> = attacks.into_iter().map(str::to_owned).chain(parses).collect();
    for attack in attacks {
        // threads of a server have 2 MiB; leave half of that to others
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            let settings = Settings::default();
            let mut templates = Templates::new(&settings);
            templates.insert("t", &attack);
            templates.insert("lib", "<#macro m><#include 'lib'><@m/></#macro><#include 'lib'><@m/>");
            let template = Template::parse("t", &attack, &settings).unwrap();
            let root = Root::new().with_templates(&templates);
            let start = cpu_time();
            let error = template.render(&root, &Limits::default(), &mut Vec::new()).expect_err(&attack);
            let _ = error.to_string();
            assert!(cpu_time() - start < Duration::from_secs(5), "{attack}: {:?}", cpu_time() - start);
            assert_eq!(error.kind(), ErrorKind::Limit, "{attack}");
        });
        thread.unwrap().join().unwrap();
    }
}
