//! All endpoints are down: what waits grows; then they come up, and it drains.

use std::time::{Duration, Instant};

use prost_types::Duration as ProtoDuration;
use sluice_proto::sync::v1::RetryPolicy;
use sluice_tests::{
    events::sync_to,
    ledger,
    measure::{folder_bytes, peak_rss_bytes, rss_bytes},
};

use super::{Context, mib};
use crate::{
    load::{Load, Sent},
    report::{Goal, Measured, Point, Series},
    sink::Mode,
    stage::{Plan, Stage},
    usage::Watch,
};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What fails while nobody has noticed yet comes again soon.
const ROUNDS_AFTER_SECONDS: [i64; 9] = [2, 5, 10, 30, 60, 120, 300, 600, 1_200];

pub(super) async fn run(context: &mut Context) {
    let count = context.options.events();
    let mut stage = Stage::start(&context.options.dir, Plan::default()).await;
    let mut sync = sync_to(&stage.sink.url(0, "/ok"));
    let rounds = ROUNDS_AFTER_SECONDS.map(|seconds| ProtoDuration { seconds, nanos: 0 });
    sync.retry_policy = Some(RetryPolicy { round_offsets: rounds.into(), ..RetryPolicy::default() });
    stage.serve(vec![sync]).await;
    let idle = rss_bytes(stage.nodes[0].id());
    stage.sink.set(Mode::Down).await;

    let mut waiting = Series { what: "deliveries that wait".to_owned(), points: Vec::new() };
    let mut memory = Series { what: "node's memory, MiB".to_owned(), points: Vec::new() };
    let (began, node) = (Instant::now(), stage.nodes[0].id());
    let control_plane = stage.control_plane.url();
    let mut look = async || {
        let seconds = began.elapsed().as_secs_f64();
        memory.points.push(Point { seconds, value: mib(rss_bytes(node)) });
        if let Some(counted) = ledger::of_all_nodes(&control_plane).await {
            waiting.points.push(Point { seconds, value: counted.pending() as f64 });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let mut child = Load::small(stage.node_urls(), count).start();
    let mut processes = stage.processes();
    processes.push(("load".to_owned(), child.id()));
    let watch = Watch::begin(&processes, stage.folder());
    let mut saying = Box::pin(child.says::<Sent>());
    let sent = loop {
        tokio::select! {
            sent = &mut saying => break sent,
            () = look() => {}
        }
    };
    drop(saying);
    let taking = watch.end(count);
    let (files, peak) = (folder_bytes(&stage.node_folder(0)), peak_rss_bytes(node));

    let watch = Watch::begin(&processes, stage.folder());
    stage.sink.set(Mode::Up).await;
    let up = Instant::now();
    while stage.sink.stats().await.ok.count < count {
        look().await;
        assert!(up.elapsed() < Duration::from_secs(600), "what waited does not drain");
    }
    // From the first delivery on: when a breaker lets one through is not a matter of speed.
    let stats = stage.sink.stats().await.ok;
    let drained = (stats.last_ns - stats.first_ns) as f64 / 1e9;
    stage.reported([0], count).await;
    let draining = watch.end(count);

    let grown = Measured {
        scenario: "down".to_owned(),
        case: "the backlog grows".to_owned(),
        unit: "events".to_owned(),
        count,
        seconds: sent.seconds(),
        processes: taking,
        series: vec![waiting, memory],
        ..Measured::default()
    };
    let more = mib(peak.saturating_sub(idle));
    let grown = grown.fact("memory beyond an idle node's", more, "MiB", Some(Goal::AtMost(64.0)));
    context.add(grown.fact("files", files as f64 / count as f64, "B a delivery", None));
    stage.sink.reset().await;
    let bare = context.post(&stage, 700).await;
    let measured = Measured {
        scenario: "down".to_owned(),
        case: "the backlog drains".to_owned(),
        unit: "deliveries".to_owned(),
        count,
        seconds: drained,
        processes: draining,
        ..Measured::default()
    };
    let ratio = measured.rate() / bare.rate();
    context.add(measured.ratio("deliveries/s ÷ bare requests/s", ratio, None));
}
