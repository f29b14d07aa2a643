//! Parsing and rendering: the documented example, an order (2 KB of template), and an order after every field of an
//! event (10 KB); the same with minijinja; and what reading the event as JSON costs by itself.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that fails must stop")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_freemarker::json::Document;
use sluice_freemarker::{ErrorKind, Limits, Root, Settings, Template};

const EVENT: &str = include_str!("event.json");

/// The name, and the source for this engine and for minijinja.
const TEMPLATES: &[(&str, &str, &str)] = &[
    ("example", include_str!("templates/example.ftl"), include_str!("templates/example.jinja")),
    ("order", include_str!("templates/order.ftl"), include_str!("templates/order.jinja")),
    ("everything", include_str!("templates/everything.ftl"), include_str!("templates/everything.jinja")),
];

fn template(source: &str) -> Template {
    Template::parse("bench", source, &Settings::default()).unwrap()
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let settings = Settings::default();
    for (name, source, jinja) in TEMPLATES {
        group.throughput(Throughput::Bytes(source.len() as u64));
        group.bench_function(format!("{name}/freemarker"), |b| {
            b.iter(|| Template::parse("bench", black_box(source), &settings).unwrap());
        });
        let environment = minijinja::Environment::new();
        group.throughput(Throughput::Bytes(jinja.len() as u64));
        group.bench_function(format!("{name}/minijinja"), |b| {
            b.iter(|| environment.template_from_str(black_box(jinja)).map(|_| ()).unwrap());
        });
    }
}

/// Rendering from data that is there in the engine's own form.
fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    let event = Document::parse(EVENT.as_bytes(), 64).unwrap();
    let root = Root::new().with_json("input", event.root());
    let limits = Limits::default();
    let value: minijinja::Value = serde_json::from_str(EVENT).unwrap();
    let context = minijinja::context! { input => value };
    for (name, source, jinja) in TEMPLATES {
        let template = template(source);
        let mut out = Vec::with_capacity(64 << 10);
        group.bench_function(format!("{name}/freemarker"), |b| {
            b.iter(|| {
                out.clear();
                template.render(black_box(&root), &limits, &mut out).unwrap()
            });
        });
        let environment = minijinja::Environment::new();
        let jinja = environment.template_from_str(jinja).unwrap();
        group.bench_function(format!("{name}/minijinja"), |b| {
            b.iter(|| {
                out.clear();
                jinja.render_captured_to(black_box(&context).clone(), &mut out).map(|_| ()).unwrap();
            });
        });
    }
}

/// From the event's bytes to the body's, which is what a delivery costs; and reading the event into a tree, to compare.
fn event(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("event");
    group.throughput(Throughput::Bytes(EVENT.len() as u64));
    group.bench_function("read/serde_json", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(EVENT.as_bytes())).unwrap());
    });
    group.bench_function("read/document", |b| {
        b.iter(|| Document::parse(black_box(EVENT.as_bytes()), 64).unwrap());
    });
    let limits = Limits::default();
    for (name, source, jinja) in TEMPLATES {
        let template = template(source);
        let mut out = Vec::with_capacity(64 << 10);
        group.bench_function(format!("read_and_render/{name}/freemarker"), |b| {
            b.iter(|| {
                out.clear();
                let event = Document::parse(black_box(EVENT.as_bytes()), 64).unwrap();
                let root = Root::new().with_json("input", event.root());
                template.render(&root, &limits, &mut out).unwrap()
            });
        });
        let environment = minijinja::Environment::new();
        let jinja = environment.template_from_str(jinja).unwrap();
        group.bench_function(format!("read_and_render/{name}/minijinja"), |b| {
            b.iter(|| {
                out.clear();
                let event: minijinja::Value = serde_json::from_slice(black_box(EVENT.as_bytes())).unwrap();
                jinja.render_captured_to(minijinja::context! { input => event }, &mut out).map(|_| ()).unwrap();
            });
        });
    }
}

/// What the default limit of steps comes to in time: templates that never end, of several kinds.
fn default_steps(criterion: &mut Criterion) {
    const ENDLESS: &[(&str, &str)] = &[
        ("arithmetic", "<#list 1.. as i><#if i * 7 % 13 == 20>x</#if></#list>"),
        ("calls", "<#function fib n><#return (n < 2)?then(n, fib(n - 1) + fib(n - 2))></#function>${fib(60)}"),
        ("formats", "<#list 1.. as i><#if (i / 7)?string('#,##0.00') == 'x'>x</#if></#list>"),
        ("regex", "<#list 1.. as i>${'aaaaaaaaaaaaaaaaaaaaaaaaaaaa'?matches('(a+)+b')?c}</#list>"),
        ("sorts", "<#list 1.. as i><#if input?keys?sort?first == 'x'>x</#if></#list>"),
        ("texts", "<#list 1.. as i><#if ('x'?left_pad(1000) + i)?contains('y')>x</#if></#list>"),
    ];
    let mut group = criterion.benchmark_group("default_steps");
    group.sample_size(20);
    let event = Document::parse(EVENT.as_bytes(), 64).unwrap();
    let root = Root::new().with_json("input", event.root());
    let limits = Limits::default();
    let mut out = Vec::new();
    for (name, source) in ENDLESS {
        let template = template(source);
        group.bench_function(*name, |b| {
            b.iter(|| {
                out.clear();
                let error = template.render(black_box(&root), &limits, &mut out).expect_err("it never ends");
                assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
            });
        });
    }
}

criterion_group!(benches, parse, render, event, default_steps);
criterion_main!(benches);
