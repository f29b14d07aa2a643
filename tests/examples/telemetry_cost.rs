//! What telling OpenTelemetry costs a node at full speed: processor time per delivered event, with nothing told, with metrics, logs
//! and one trace of a hundred, with all traces, and with a backend that hangs. Real processes on loopback, one after the other, by turns.
//!
//! `cargo build --release --workspace --bins && cargo run --release -p sluice-tests --example telemetry_cost`; `COST_EVENTS`
//! (40,000) a run, `COST_RUNS` (3) of each.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a script: a failure here is a failed run

use std::time::{Duration, Instant};

use sluice_client::Publisher;
use sluice_tests::{
    endpoint::Endpoint,
    events::{event, sync_to},
    measure::{cpu_time, rss_bytes},
    otlp::{Backend, Mood},
    process::{Plane, Setup},
    scenario::create,
};

const WARM_UP: usize = 4_000;

#[tokio::main]
async fn main() {
    let number = |name: &str, missing: usize| std::env::var(name).map_or(missing, |text| text.parse().unwrap());
    let (events, runs) = (number("COST_EVENTS", 40_000), number("COST_RUNS", 3));
    let kinds = ["nothing told", "1 % of traces", "all traces", "1 %, backend hangs"];
    let mut costs = vec![Vec::new(); kinds.len()];
    for run in 0..runs {
        for (at, kind) in kinds.into_iter().enumerate() {
            let ratio = if kind == "all traces" { "1" } else { "0.01" };
            let (cpu, rate, rss) = measure(events, (at > 0).then_some(ratio), kind.ends_with("hangs")).await;
            println!("run {}: {kind}: {cpu:.1} µs/event, {rate:.0} events/s, {} MiB", run + 1, rss >> 20);
            costs[at].push((cpu, rate));
        }
    }
    let median = |costs: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(which).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (cpu, rate) = (median(&costs[0], |cost| cost.0), median(&costs[0], |cost| cost.1));
    for (kind, costs) in kinds.iter().zip(&costs).skip(1) {
        println!(
            "{kind}: processor time {:+.1} %, rate {:+.1} %",
            (median(costs, |cost| cost.0) / cpu - 1.0) * 100.0,
            (median(costs, |cost| cost.1) / rate - 1.0) * 100.0
        );
    }
}

/// Microseconds of the node's processor time per event, events per second, and its memory at the end.
async fn measure(events: usize, ratio: Option<&str>, hangs: bool) -> (f64, f64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::start().await;
    if hangs {
        backend.set(Mood::Hangs);
    }
    let mut setup = Setup::default();
    if let Some(ratio) = ratio {
        setup.env = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint().into()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".into()),
            ("OTEL_TRACES_SAMPLER_ARG", ratio.into()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000".into()),
        ];
    }
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let data = folder.path().join("node");
    let node = Plane::node_with(&data, "127.0.0.1:0", control_plane.address(), &setup).await.unwrap();
    let endpoint = Endpoint::start().await;
    endpoint.only_count();
    create(&control_plane.url(), "s", sync_to(&endpoint.url("/"))).await;
    let publisher = Publisher::builder(&node.url()).connect().await.unwrap();
    for number in 0..WARM_UP {
        publisher.send(event("a", &number.to_string())).await.unwrap();
    }
    endpoint.wait_for_count(WARM_UP).await;
    let (began, used) = (Instant::now(), cpu_time(node.id()));
    for number in 0..events {
        publisher.send(event("a", &number.to_string())).await.unwrap();
    }
    endpoint.wait_for_count(WARM_UP + events).await;
    let took = began.elapsed();
    // What is still to be reported and told belongs to it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = cpu_time(node.id()) - used;
    let rss = rss_bytes(node.id());
    publisher.finish().await.unwrap();
    (used.as_secs_f64() * 1e6 / events as f64, events as f64 / took.as_secs_f64(), rss)
}
