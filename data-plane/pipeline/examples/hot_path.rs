//! The work of one event, so often, for `tests/bench/instructions.sh` to count its instructions.
//!
//! `hot_path parse|match_type|match_property|render|all COUNT`
#![allow(clippy::unwrap_used, clippy::expect_used)] // a script: a failure here is a failed run

#[path = "../benches/fixture/mod.rs"]
mod fixture;

use std::hint::black_box;

use sluice_pipeline::{catalog::Catalog, event::Event, request::render_body};

use fixture::{By, NOW_MS, catalog, event, sync};

/// As many as a node may well have.
const SYNCS: usize = 100;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (stage, count) = (arguments.next().expect("a stage"), arguments.next().expect("a count"));
    let count: usize = count.parse().expect("a count");
    let (event, sync) = (event(), sync());
    let (by_type, by_property) = (catalog(SYNCS, By::Type), catalog(SYNCS, By::Property));
    let parsed = Event::parse(&event).unwrap();
    for _ in 0..count {
        match stage.as_str() {
            "parse" => drop(black_box(Event::parse(black_box(&event)).unwrap())),
            "match_type" => matched(&by_type, black_box(&parsed)),
            "match_property" => matched(&by_property, black_box(&parsed)),
            "render" => drop(black_box(render_body(&sync, black_box(&event), NOW_MS).unwrap())),
            "all" => {
                matched(&by_type, &Event::parse(black_box(&event)).unwrap());
                drop(black_box(render_body(&sync, &event, NOW_MS).unwrap()));
            }
            other => panic!("{other} is no stage"),
        }
    }
}

fn matched(catalog: &Catalog, event: &Event<'_>) {
    let mut takers = Vec::new();
    catalog.matching("default", event, &mut takers);
    assert_eq!(takers.len(), 1);
}
