//! Intake alone: events in batches that no sync takes, acked after the fsync; beside appends to a plain file, and gRPC alone.

use std::path::Path;

use sluice_tests::events::{SyncBuilder as _, sync_to};

use super::Context;
use crate::{
    batches::{self, Acked},
    event::Shape,
    report::{Goal, Measured},
    stage::{Plan, Stage},
    usage::{Usage, Watch},
    yardstick::{self, Done, Echo},
};

const BATCH: u64 = 256;
/// Batches under way, so that the next ones are there when an fsync ends.
const UNDER_WAY: usize = 8;

pub(super) async fn run(context: &mut Context) {
    let count = context.options.pick(None, 2_560, 1_000_000);
    let append = yardstick::append(&context.options.dir, Shape::Small, 256, count).await;
    let name = format!("append of 700 bytes to a file, fdatasync after {BATCH}");
    context.yardstick(&name, "events", append, vec![append.usage()]);

    let server = Echo::start().await;
    let (acked, processes) =
        sent(&server.url, &context.options.dir, count, vec![("yardstick".to_owned(), server.id())]).await;
    let cpu_per_thousand_ms = processes[0].cpu_per_thousand_ms;
    let echo = Done { count: acked.count, seconds: acked.seconds, cpu_per_thousand_ms };
    context.yardstick(&format!("gRPC stream of 700 bytes, {BATCH} in a message"), "events", echo, processes);
    drop(server);

    let stage = Stage::start(&context.options.dir, Plan::default()).await;
    stage.serve(vec![sync_to(&stage.sink.url(0, "/ok")).event_types(&["another"])]).await;
    let node = stage.node_urls().remove(0);
    sent(&node, stage.folder(), context.options.warm_up(), stage.processes()).await;
    let (acked, processes) = sent(&node, stage.folder(), count, stage.processes()).await;
    let measured = Measured {
        scenario: "ingest".to_owned(),
        case: format!("batches of {BATCH}, no sync takes them; latency is that of acks"),
        unit: "events".to_owned(),
        count: acked.count,
        seconds: acked.seconds,
        latency: Some(acked.latency),
        processes,
        ..Measured::default()
    };
    let (rate, cpu) = (measured.rate() / append.rate(), measured.cpu("node") / cpu_per_thousand_ms);
    let measured = measured.ratio("events/s ÷ appends/s", rate, Some(Goal::AtLeast(0.5)));
    context.add(measured.ratio("node's CPU ÷ that of gRPC alone", cpu, None));
}

async fn sent(to: &str, folder: &Path, count: u64, mut processes: Vec<(String, u32)>) -> (Acked, Vec<Usage>) {
    let mut child = batches::start(to, Shape::Small, BATCH, UNDER_WAY, count);
    processes.push(("load".to_owned(), child.id()));
    let watch = Watch::begin(&processes, folder);
    let acked: Acked = child.says().await;
    (acked, watch.end(acked.count))
}
