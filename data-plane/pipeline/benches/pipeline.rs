//! What a node decides for each event: whether it is one, who takes it, what is sent, and when it is tried again.

#![allow(missing_docs, reason = "criterion's macros make functions without")]
#![allow(clippy::unwrap_used, reason = "a benchmark that fails must stop")]

mod fixture;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sluice_pipeline::{
    delivery::{DeliveryState, Next},
    event::{Event, WebhookId},
    request::{headers, render_body},
    schedule::RetryPolicy,
};

use fixture::{By, NOW_MS, catalog, event, sync};

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let event = event();
    group.throughput(Throughput::Bytes(event.len() as u64));
    group.bench_function("event", |b| b.iter(|| Event::parse(black_box(&event)).map(|_| ()).unwrap()));
    group.bench_function("serde_json", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&event)).unwrap());
    });
}

fn matching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("match");
    let event = event();
    let parsed = Event::parse(&event).unwrap();
    for (by, name) in [(By::Type, "type"), (By::Property, "property")] {
        for count in [1, 10, 1_000, 10_000] {
            let catalog = catalog(count, by);
            let mut takers = Vec::new();
            group.bench_function(format!("{name}/{count}"), |b| {
                b.iter(|| {
                    takers.clear();
                    catalog.matching("default", black_box(&parsed), &mut takers);
                    assert_eq!(takers.len(), 1);
                });
            });
        }
    }
}

fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    let (event, sync) = (event(), sync());
    group.bench_function("body", |b| b.iter(|| render_body(&sync, black_box(&event), NOW_MS).unwrap()));
    group.bench_function("headers", |b| b.iter(|| headers(black_box(&sync), WebhookId([7; 16]))));
}

fn schedule(criterion: &mut Criterion) {
    let policy = RetryPolicy::default();
    criterion.bench_function("schedule/all_rounds", |b| {
        b.iter(|| {
            let (mut state, mut now_ms) = (DeliveryState::new(), NOW_MS);
            while let Next::Again { due_ms } = state.after_round(black_box(&policy), now_ms, None, 0.5) {
                now_ms = due_ms;
            }
            now_ms
        });
    });
}

criterion_group!(benches, parse, matching, render, schedule);
criterion_main!(benches);
