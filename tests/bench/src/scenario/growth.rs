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

/// Events a second for each node, where all have the same to do: what two nodes do is not more than the machine can.
const EACH: f64 = 6_000.0;

/// Each gets every second event. At full load they share the machine's cores, and each has half as much to do at once; at a rate of
/// its own each has as much to do as one that is alone.
async fn nodes(context: &mut Context) {
    let (mut full_cost, mut each_cost) = (None, None);
    for count in [1, 2] {
        let case = Case { plan: Plan { nodes: count, ..Plan::default() }, ..Case::plain(SCENARIO) };
        let mut delivering = Delivering::start(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
        let full = delivering.phase(context.options.events(), None).await;
        let rate = EACH * count as f64;
        let each = delivering.phase((rate * context.options.seconds()).ceil() as u64, Some(rate)).await;
        let name = format!("nodes × {count}");
        let each_name = format!("{name}, {EACH:.0} events a second each");
        for (name, phase, first, goal) in
            [(&name, full, &mut full_cost, None), (&each_name, each, &mut each_cost, Some(Goal::AtMost(1.05)))]
        {
            let measured: Measured = measured_full(SCENARIO, name, &phase);
            let cost = *first.get_or_insert(measured.cpu("node"));
            let ratio = measured.cpu("node") / cost;
            let measured = if goal.is_none() { measured.at("nodes", count as f64) } else { measured };
            context.add(measured.ratio("all nodes' CPU ÷ that of 1 node", ratio, goal));
        }
    }
}
