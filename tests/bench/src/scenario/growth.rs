//! What grows, and what it costs then: events, syncs, nodes.

use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{Case, Delivering, measured_full},
    many_syncs,
};
use crate::{
    report::{Goal, Measured},
    stage::Plan,
};

const SCENARIO: &str = "growth";

pub(super) async fn run(context: &mut Context) {
    events(context).await;
    syncs(context).await;
    nodes(context).await;
}

/// One load after the other on one stage, each ten times the last.
async fn events(context: &mut Context) {
    let mut delivering =
        Delivering::start(context, Case::plain(SCENARIO), |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
    for times in [1, 10, 100] {
        let count = (context.options.events() / 100).max(1) * times;
        let phase = delivering.phase(count, None).await;
        context.add(measured_full(SCENARIO, &format!("events × {times}"), &phase).at("events", count as f64));
    }
}

/// One of them takes the event.
async fn syncs(context: &mut Context) {
    let most = context.options.pick(None, 100, 10_000);
    let mut first = None;
    let mut count = 1;
    while count <= most {
        let case = Case { plan: many_syncs::plan(count), ..Case::plain(SCENARIO) };
        let mut delivering =
            Delivering::start(context, case, |stage| many_syncs::by_type(&stage.sink.url(0, "/ok"), count)).await;
        let phase = delivering.phase(context.options.events() / 2, None).await;
        let measured = measured_full(SCENARIO, &format!("syncs × {count}"), &phase).at("syncs", count as f64);
        let cost = *first.get_or_insert(measured.cpu("node"));
        let ratio = measured.cpu("node") / cost;
        context.add(measured.ratio("node's CPU ÷ that with 1 sync", ratio, None));
        count *= 10;
    }
}

/// Each gets every second event.
async fn nodes(context: &mut Context) {
    let mut first = None;
    for count in [1, 2] {
        let case = Case { plan: Plan { nodes: count, ..Plan::default() }, ..Case::plain(SCENARIO) };
        let mut delivering = Delivering::start(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
        let phase = delivering.phase(context.options.events(), None).await;
        let measured: Measured = measured_full(SCENARIO, &format!("nodes × {count}"), &phase);
        let cost = *first.get_or_insert(measured.cpu("node"));
        let ratio = measured.cpu("node") / cost;
        let measured = measured.at("nodes", count as f64);
        context.add(measured.ratio("all nodes' CPU ÷ that of 1 node", ratio, Some(Goal::AtMost(1.05))));
    }
}
