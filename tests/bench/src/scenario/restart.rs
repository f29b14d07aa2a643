//! A restart while very many deliveries wait for their second round.

use std::time::{Duration, Instant};

use prost_types::Duration as ProtoDuration;
use sluice_client::Publisher;
use sluice_proto::sync::v1::{Limits, RetryPolicy};
use sluice_tests::{
    endpoint::PATIENCE,
    events::{SyncBuilder as _, sync_to},
    measure::{folder_bytes, rss_bytes},
};

use super::{Context, mib};
use crate::{
    event::Shape,
    load::{Load, Sent},
    report::{Goal, Measured},
    stage::{Plan, Stage},
    usage::Watch,
};

/// The second round is due after the scenario has ended.
const SECOND_ROUND: ProtoDuration = ProtoDuration { seconds: 43_200, nanos: 0 };

pub(super) async fn run(context: &mut Context) {
    let count = context.options.waiting();
    let mut stage = Stage::start(&context.options.dir, Plan::default()).await;
    let mut waits = sync_to(&stage.sink.url(0, "/refuse")).event_types(&["t0"]);
    waits.destination.get_or_insert_default().limits = Some(Limits { max_concurrency: 128, ..Limits::default() });
    waits.retry_policy = Some(RetryPolicy { round_offsets: vec![SECOND_ROUND], ..RetryPolicy::default() });
    stage.serve(vec![waits, sync_to(&stage.sink.url(0, "/ok")).event_types(&["goes"])]).await;
    let idle = rss_bytes(stage.nodes[0].id());
    let mut child = Load::small(stage.node_urls(), count).start();
    let watch = Watch::begin(&stage.processes(), stage.folder());
    let began = Instant::now();
    child.says::<Sent>().await;
    stage.sink.wait_for(count, |stats| stats.refused.count).await;
    let seconds = began.elapsed().as_secs_f64();
    drop(child);
    let failing = Measured {
        scenario: "restart".to_owned(),
        case: "the first rounds fail".to_owned(),
        unit: "deliveries".to_owned(),
        count,
        seconds,
        processes: watch.end(count),
        ..Measured::default()
    };
    context.add(failing);
    let busy = rss_bytes(stage.nodes[0].id());
    let files = folder_bytes(&stage.node_folder(0)) as f64 / count as f64;

    let node = stage.nodes.remove(0);
    assert!(node.terminate().await.success(), "the node ends as asked");
    let began = Instant::now();
    let node = stage.start_node(0).await;
    let publisher = loop {
        if let Ok(publisher) = Publisher::builder(&node.url()).connect().await {
            break publisher;
        }
        assert!(began.elapsed() < PATIENCE, "the node takes no events");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    publisher.send(Shape::Small.maker("goes").event(0, 0)).await.expect("a node that takes events");
    publisher.flush().await.expect("an ack");
    let accepts = began.elapsed().as_secs_f64();
    stage.sink.wait_for(1, |stats| stats.ok.count).await;
    let delivers = began.elapsed().as_secs_f64();
    let rested = rss_bytes(node.id());
    let measured = Measured {
        scenario: "restart".to_owned(),
        case: format!("started again with {count} that wait"),
        unit: "start".to_owned(),
        count: 1,
        seconds: delivers,
        ..Measured::default()
    };
    let more = mib(busy.max(rested).saturating_sub(idle));
    context.add(
        measured
            .fact("accepts after", accepts, "s", Some(Goal::AtMost(5.0)))
            .fact("delivers after", delivers, "s", Some(Goal::AtMost(10.0)))
            .fact("memory beyond an idle node's", more, "MiB", Some(Goal::AtMost(64.0)))
            .fact("files", files, "B a delivery", None),
    );
}
