//! What templates read is found without rendering them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use sluice_freemarker::{Guard, Settings, Template};

/// Paths in order, `?` after those whose last step is guarded, `??` after those that are all.
fn reads(source: &str) -> String {
    let template = Template::parse("t", source, &Settings::default()).unwrap();
    let shown = template.references().into_iter().map(|read| {
        let mark = match read.guard() {
            Guard::None => "",
            Guard::LastStep => "?",
            Guard::All => "??",
        };
        format!("{}{mark}", read.path())
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn paths_are_read_from_the_root() {
    assert_eq!(reads("${input.a.b} ${input['x y'].c?upper_case}"), "input.a.b input[\"x y\"].c");
    assert_eq!(reads("${input.items[0].name} ${input.h[input.k]}"), "input.items[].name input.h[] input.k");
    assert_eq!(reads("${.data_model.input.a} ${\"a ${input.b}\"}"), "input.a input.b");
    assert_eq!(
        reads("<#if input.a == 1 && input.b gt 2>${input.c + input.d}</#if>"),
        "input.a input.b input.c input.d"
    );
}

#[test]
fn guards_are_told_apart() {
    assert_eq!(reads("${input.a!} ${input.a.b!'x'} ${(input.a.b)!}"), "input.a? input.a.b? input.a.b??");
    assert_eq!(reads("<#if input.a??>${input.a} ${input.b}</#if>${input.a}"), "input.a? input.a?? input.b input.a");
    assert_eq!(reads("<#if !input.a??>x<#else>${input.a}</#if>"), "input.a? input.a??");
    assert_eq!(
        reads("<#if input.a.b?has_content && input.a.b != ''>${input.a.b}</#if>"),
        "input.a.b? input.a.b?? input.a.b??"
    );
    assert_eq!(reads("${input.a???then(input.a, input.b)}"), "input.a? input.a?? input.b");
    assert_eq!(reads("<#if (input.a.b)??>${input.a.c}</#if>"), "input.a.b?? input.a.c");
    assert_eq!(reads("${input.a!input.b!'c'}"), "input.a? input.b?");
    assert_eq!(reads("<#if input.a == 1>${input.a}</#if>"), "input.a input.a??");
}

#[test]
fn aliases_and_loops_are_followed() {
    assert_eq!(reads("<#assign u = input.user>${u.name}"), "input.user input.user.name");
    assert_eq!(reads("${u.name}<#assign u = input.user!{}>"), "input.user.name input.user?");
    assert_eq!(reads("<#assign u = input.a><#assign u = input.b>${u.x}"), "input.a input.b");
    assert_eq!(
        reads("<#list input.items as i>${i.n}<#list i.xs as x>${x}</#list></#list>"),
        "input.items input.items[].n input.items[].xs input.items[].xs[]"
    );
    assert_eq!(reads("<#list input.h as k, v>${k}${v.a}</#list>"), "input.h input.h[].a");
    assert_eq!(reads("<#list input.h?keys as k>${k}${input.h[k]}</#list>"), "input.h input.h[]");
    assert_eq!(reads("<#list input.xs><#items as x>${x.a}</#items></#list>"), "input.xs input.xs[].a");
    assert_eq!(
        reads("<#list input.xs?filter(x -> x.ok)?sort_by('n') as x>${x.a}</#list>"),
        "input.xs input.xs[].ok input.xs[].a"
    );
    assert_eq!(reads("${input.xs?map(x -> x.a)?join(',')}"), "input.xs input.xs[].a");
    assert_eq!(reads("${(input.xs?first).a} ${(input.a!input.b).c}"), "input.xs[].a input.a.c input.b");
    assert_eq!(
        reads("<#list input.xs as x>${x?index} ${x_index} ${x?counter}</#list>"),
        "input.xs input.xs[] input.xs[]"
    );
}

#[test]
fn variables_of_the_template_are_no_data() {
    assert_eq!(
        reads("<#macro m a><#local b = input.x>${a} ${b.y} ${input.z}</#macro><@m a=input.w/>"),
        "input.x input.x.y input.z input.w"
    );
    assert_eq!(reads("<#function f x><#return x + input.y></#function>${f(1)}"), "input.y");
    assert_eq!(reads("<#assign n = 1><#assign t>x</#assign>${n} ${t}<#import 'l' as l>${l.x}"), "");
    assert_eq!(reads("<@m ; a>${a}${input.b}</@m><#macro m><#nested 1></#macro>"), "input.b");
}

#[test]
fn places_are_those_of_the_expressions() {
    let template = Template::parse("t", "a\n${ input.user_id?upper_case }", &Settings::default()).unwrap();
    let reads = template.references();
    let read = reads.first().unwrap();
    assert_eq!((read.line(), read.column(), read.length(), read.steps()), (2, 4, 13, 1));
}
