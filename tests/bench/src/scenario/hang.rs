//! A thousand endpoints, of which one in ten answers after ten seconds: what that does to the others.

use std::time::Duration;

use sluice_tests::events::{SyncBuilder as _, sync_to};

use super::{
    Context,
    deliver::{self, Case},
};
use crate::{report::Goal, stage::Plan};

/// One endpoint of so many hangs.
const ONE_IN: usize = 10;

pub(super) async fn run(context: &mut Context) {
    let well = measure(context, None).await;
    // The same load, so that latencies can be compared.
    let hanging = measure(context, Some(well.half_rate)).await;
    // As many of those that are well as there would be without the others.
    let share = 1.0 - 1.0 / ONE_IN as f64;
    let kept = hanging.full.rate() / (well.full.rate() * share);
    let kept_half = hanging.half.rate() / (well.half.rate() * share);
    let p99 = |outcome: &deliver::Outcome| outcome.half.latency.unwrap_or_default().p99;
    let grown = p99(&hanging) / p99(&well);
    context.add(well.full);
    context.add(well.half);
    let goal = Some(Goal::AtLeast(0.95));
    context.add(hanging.full.ratio("deliveries/s to those that are well ÷ without", kept, goal));
    let half = hanging.half.ratio("deliveries/s to those that are well ÷ without", kept_half, goal);
    context.add(half.ratio("p99 ÷ without", grown, Some(Goal::AtMost(1.2))));
}

/// Some hang, at half load with so many events a second; or all are well.
async fn measure(context: &mut Context, hangs_at: Option<f64>) -> deliver::Outcome {
    let hangs = hangs_at.is_some();
    let endpoints = context.options.pick(None, 20, 1_000);
    let hang = context.options.pick(None, Duration::from_secs(1), Duration::from_secs(10));
    let case = Case {
        name: if hangs { "one in ten hangs" } else { "all are well" }.to_owned(),
        plan: Plan { hosts: endpoints, hang, ..Plan::default() },
        types: endpoints,
        requests: if hangs { 1.0 - 1.0 / ONE_IN as f64 } else { 1.0 },
        takers: if hangs { 0 } else { endpoints as u64 },
        half_rate: hangs_at,
        judged: false,
        ..Case::plain("hang")
    };
    deliver::measure(context, case, |stage| {
        let path = |number: usize| if hangs && number.is_multiple_of(ONE_IN) { "/hang" } else { "/ok" };
        let sync = |number| sync_to(&stage.sink.url(number, path(number))).event_types(&[&format!("t{number}")]);
        (0..endpoints).map(sync).collect()
    })
    .await
}
