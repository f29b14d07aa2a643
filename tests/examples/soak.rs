//! Half of what the machine can carry, for as long as `SOAK_SECONDS` says (600): memory and files stay flat, and nothing is
//! left at the end. Real processes on loopback; run it through `tests/soak.sh`. Ends with exit code 1 if a figure is not as it
//! should be.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a script: a failure here is a failed run

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sluice_client::Publisher;
use sluice_proto::sync::v1::RetryPolicy;
use sluice_tests::{
    endpoint::{Endpoint, status},
    events::{SyncBuilder as _, sync_to},
    ledger,
    measure::{folder_bytes, rss_bytes},
    process::{Plane, Setup},
    scenario::create,
};

/// How long the machine's full load is measured.
const CALIBRATION: Duration = Duration::from_secs(10);

/// Events that may wait then: the load that the machine carries is that of the deliveries, not of the intake.
const AHEAD: usize = 2_000;

/// Events go out in this many portions a second.
const PORTIONS: u32 = 20;

/// Memory may differ by this much between the second quarter of the run and the last.
const MEMORY_SLACK: u64 = 12 << 20;

/// And the node's files by this much: a write-ahead log grows and shrinks.
const FILE_SLACK: u64 = 48 << 20;

#[derive(Clone, Copy, Debug)]
struct Sample {
    rss: u64,
    files: u64,
}

#[tokio::main]
async fn main() {
    let seconds: u64 = std::env::var("SOAK_SECONDS").map_or(600, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let node = Plane::node_with(&data, "127.0.0.1:0", control_plane.address(), &Setup::default()).await.unwrap();
    let endpoints = [Endpoint::start().await, Endpoint::start().await, Endpoint::start().await];
    endpoints.iter().for_each(Endpoint::only_count);
    // The third one fails the first request of each delivery: all of them come again.
    let failed = Mutex::new(HashSet::new());
    endpoints[2].decide(move |request| {
        let id = request.header("webhook-id").to_owned();
        let mut failed = failed.lock().unwrap();
        if failed.remove(&id) {
            return status(200);
        }
        failed.insert(id);
        status(500)
    });
    create(&control_plane.url(), "everything", sync_to(&endpoints[0].url("/"))).await;
    let template = sync_to(&endpoints[1].url("/")).event_types(&["purchase"]);
    create(&control_plane.url(), "purchases", template.template(r#"{"user": "${input.user_id}"}"#)).await;
    let mut retried = sync_to(&endpoints[2].url("/")).event_types(&["error"]);
    let offsets = (1..=9).map(|seconds| prost_types::Duration { seconds, nanos: 0 }).collect();
    retried.retry_policy = Some(RetryPolicy { round_offsets: offsets, ..RetryPolicy::default() });
    create(&control_plane.url(), "retried", retried).await;

    let publisher = Arc::new(Publisher::builder(&node.url()).connect().await.unwrap());
    let mut number = 0;
    let began = Instant::now();
    while began.elapsed() < CALIBRATION {
        while number > endpoints[0].count() + AHEAD {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        publisher.send(event(number)).await.unwrap();
        number += 1;
    }
    let carried = endpoints[0].count() as f64 / began.elapsed().as_secs_f64();
    settle(&control_plane, number).await;
    let rate = (carried / 2.0).max(1.0);
    println!("full load {carried:.0} events/s; soaking at {rate:.0} events/s for {seconds} s");

    let mut samples = Vec::new();
    let mut portions = tokio::time::interval(Duration::from_secs(1) / PORTIONS);
    let (began, first) = (Instant::now(), number);
    let mut next_sample = Duration::ZERO;
    while began.elapsed().as_secs() < seconds {
        portions.tick().await;
        let wanted = first + (began.elapsed().as_secs_f64() * rate) as usize;
        while number < wanted {
            publisher.send(event(number)).await.unwrap();
            number += 1;
        }
        if began.elapsed() >= next_sample {
            let sample = Sample { rss: rss_bytes(node.id()), files: folder_bytes(&data) };
            println!(
                "{:>5} s  node {:>6.1} MiB, its files {:>7.1} MiB, control plane {:>6.1} MiB, its files {:>7.1} MiB, {} events",
                began.elapsed().as_secs(),
                mib(sample.rss),
                mib(sample.files),
                mib(rss_bytes(control_plane.id())),
                mib(folder_bytes(&folder.path().join("control-plane"))),
                number,
            );
            samples.push(sample);
            next_sample += Duration::from_secs((seconds / 60).max(1));
        }
    }
    let Ok(publisher) = Arc::try_unwrap(publisher) else { unreachable!("nobody else holds it") };
    let summary = publisher.finish().await.unwrap();
    assert_eq!((summary.acked, summary.rejected_count()), (number as u64, 0));
    let counted = settle(&control_plane, number).await;
    println!("{counted:?}");
    assert_eq!(counted.syncs.values().map(|counts| counts.expired_count + counts.discarded_count).sum::<i64>(), 0);
    assert_eq!(endpoints[0].count(), number, "each event came once");
    let flat = [
        is_flat("memory", &samples, |sample| sample.rss, MEMORY_SLACK),
        is_flat("files", &samples, |sample| sample.files, FILE_SLACK),
    ];
    assert_eq!(node.terminate().await.code(), Some(0));
    if flat.contains(&false) {
        std::process::exit(1);
    }
}

/// Waits until every delivery of the first `events` events has ended.
async fn settle(control_plane: &Plane, events: usize) -> ledger::Counted {
    let deliveries = (0..events).map(|number| 1 + i64::from(number % 20 < 9)).sum();
    ledger::settled(&control_plane.url(), deliveries).await
}

/// Compares the last quarter with the second; the first is the warming up.
fn is_flat(what: &str, samples: &[Sample], figure: impl Fn(&Sample) -> u64, slack: u64) -> bool {
    let highest = |quarter: &[Sample]| quarter.iter().map(&figure).max().unwrap_or_default();
    let (begin, end) = (samples.len() / 4, samples.len() - samples.len() / 4);
    let (before, after) =
        (highest(&samples[begin..samples.len() / 2]), highest(&samples[end.min(samples.len() - 1)..]));
    let flat = after <= before + slack.max(before / 10);
    println!("{what}: {:.1} MiB, then {:.1} MiB: {}", mib(before), mib(after), if flat { "flat" } else { "GROWS" });
    flat
}

fn event(number: usize) -> Bytes {
    let kind = match number % 20 {
        0..=7 => "purchase",
        8 => "error",
        _ => "view",
    };
    format!(
        r#"{{"event_type":"{kind}","user_id":"u-{number}","event_time":"2024-03-13 10:21:14.919000","event_properties":{{"text":"{}"}}}}"#,
        "x".repeat(500)
    )
    .into()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
