//! Millions of deliveries that wait for their second round: what they cost in memory, how long the node takes to start with
//! them, and whether they come when they are due. Real processes on loopback; run it through `tests/waiting.sh`.
//!
//! `WAITING_COUNT` (2,000,000) deliveries fail their first round; the second is due after `WAITING_OFFSET_SECONDS` (a second for
//! every 2,000 deliveries, at least 60).
#![allow(clippy::unwrap_used, clippy::expect_used)] // a script: a failure here is a failed run

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use sluice_client::Publisher;
use sluice_proto::sync::v1::{Limits, RetryPolicy};
use sluice_tests::{
    cluster::sync_name,
    endpoint::{Endpoint, Received, status},
    events::{SyncBuilder as _, sync_to},
    ledger,
    measure::{folder_bytes, rss_bytes},
    process::{Plane, Setup},
    scenario::create,
};

/// Second rounds that are looked at.
const OBSERVED: usize = 20_000;

/// What `performance.md` asks of 1 or 2 million waiting deliveries.
const MEMORY_GOAL: u64 = 64 << 20;
const ACCEPTS_GOAL: Duration = Duration::from_secs(5);
const DELIVERS_GOAL: Duration = Duration::from_secs(10);

/// When each event came first, and how long after it the second rounds came.
#[derive(Default)]
struct Rounds {
    first: Vec<Option<Instant>>,
    second: Vec<Duration>,
}

#[tokio::main]
async fn main() {
    let number = |name: &str, missing: usize| std::env::var(name).map_or(missing, |text| text.parse().unwrap());
    let count = number("WAITING_COUNT", 2_000_000);
    let offset = number("WAITING_OFFSET_SECONDS", (count / 2_000).max(60));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("node");
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let start =
        async || Plane::node_with(&data, "127.0.0.1:0", control_plane.address(), &Setup::default()).await.unwrap();
    let node = start().await;
    let (failing, healthy) = (Endpoint::start().await, Endpoint::start().await);
    failing.only_count();
    healthy.only_count();
    let rounds = Arc::new(Mutex::new(Rounds { first: vec![None; count], second: Vec::new() }));
    failing.decide({
        let rounds = rounds.clone();
        move |request| {
            note(&mut rounds.lock().unwrap(), request);
            status(400)
        }
    });
    let mut sync = sync_to(&failing.url("/")).event_types(&["waits"]);
    sync.destination.get_or_insert_default().limits = Some(Limits { max_concurrency: 128, ..Limits::default() });
    let offsets = [offset, offset + 86_400 / 2].map(|at| prost_types::Duration { seconds: at as i64, nanos: 0 });
    sync.retry_policy = Some(RetryPolicy { round_offsets: offsets.into(), ..RetryPolicy::default() });
    create(&control_plane.url(), "failing", sync).await;
    create(&control_plane.url(), "healthy", sync_to(&healthy.url("/")).event_types(&["goes"])).await;

    let idle = rss_bytes(node.id());
    println!("idle: {:.1} MiB", mib(idle));
    let publisher = Publisher::builder(&node.url()).connect().await.unwrap();
    let began = Instant::now();
    for number in 0..count {
        publisher.send(event("waits", number)).await.unwrap();
    }
    publisher.finish().await.unwrap();
    println!("{count} events accepted in {:.1} s", began.elapsed().as_secs_f64());
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while failing.count() < count {
        ticks.tick().await;
    }
    println!(
        "{count} first rounds made after {:.1} s; the second are due {offset} s after them",
        began.elapsed().as_secs_f64()
    );
    let early = rounds.lock().unwrap().second.len();
    let busy = rss_bytes(node.id());
    println!("waiting: {:.1} MiB, files {:.1} MiB", mib(busy), mib(folder_bytes(&data)));

    assert_eq!(node.terminate().await.code(), Some(0));
    let began = Instant::now();
    let node = start().await;
    let publisher = loop {
        if let Ok(publisher) = Publisher::builder(&node.url()).connect().await {
            break publisher;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "the node takes no events");
    };
    publisher.send(event("goes", count)).await.unwrap();
    publisher.flush().await.unwrap();
    let accepts = began.elapsed();
    healthy.wait_for_count(1).await;
    let delivers = began.elapsed();
    let counted = ledger::of_all_nodes(&control_plane.url()).await;
    let rested = rss_bytes(node.id());
    println!(
        "after a restart: accepts after {:.2} s, delivers after {:.2} s, {:.1} MiB",
        accepts.as_secs_f64(),
        delivers.as_secs_f64(),
        mib(rested)
    );
    if let Some(counted) = counted {
        println!("{:?}", counted.syncs[&sync_name("failing")]);
    }

    let wanted = (early + OBSERVED).min(count);
    let patience = Instant::now() + Duration::from_secs(offset as u64 * 2 + 120);
    while rounds.lock().unwrap().second.len() < wanted {
        assert!(Instant::now() < patience, "second rounds do not come");
        ticks.tick().await;
    }
    let rounds = rounds.lock().unwrap();
    let (earliest, latest) = bounds(offset);
    let gaps = &rounds.second[early..];
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    println!("second rounds came {:.1} to {:.1} s after the first", least.as_secs_f64(), most.as_secs_f64());
    println!("while deliveries fall due: {:.1} MiB", mib(rss_bytes(node.id())));
    let goals = [
        ("memory of what waits", busy.max(rested) <= idle + MEMORY_GOAL),
        ("accepts after a restart", accepts <= ACCEPTS_GOAL),
        ("delivers after a restart", delivers <= DELIVERS_GOAL),
        ("no round before its time", *least >= earliest),
        ("no round long after its time", *most <= latest),
    ];
    for (goal, met) in goals {
        println!("{goal}: {}", if met { "met" } else { "MISSED" });
    }
    if goals.iter().any(|(_, met)| !met) {
        std::process::exit(1);
    }
}

/// When a second round may come: a tenth of the gap to either side, and as late as a busy machine makes it.
fn bounds(offset: usize) -> (Duration, Duration) {
    let offset = Duration::from_secs(offset as u64);
    (offset.mul_f64(0.9) - Duration::from_millis(50), offset.mul_f64(1.1) + Duration::from_secs(30))
}

fn note(rounds: &mut Rounds, request: &Received) {
    let text = request.text();
    let number: usize = text.split("\"u-").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
    match rounds.first[number] {
        None => rounds.first[number] = Some(request.arrived),
        Some(first) => rounds.second.push(request.arrived - first),
    }
}

fn event(kind: &str, number: usize) -> Bytes {
    format!(
        r#"{{"event_type":"{kind}","user_id":"u-{number}","event_time":"2024-03-13 10:21:14.919000","event_properties":{{"text":"{}"}}}}"#,
        "x".repeat(200)
    )
    .into()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
