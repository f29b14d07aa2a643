//! Every event is taken by ten syncs, each with an endpoint of its own.

use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{self, Case},
};
use crate::stage::Plan;

const SYNCS: usize = 10;

pub(super) async fn run(context: &mut Context) {
    let case = Case {
        plan: Plan { hosts: SYNCS, ..Plan::default() },
        requests: SYNCS as f64,
        takers: SYNCS as u64,
        ..Case::plain("ten-match")
    };
    let outcome = deliver::measure(context, case, |stage| {
        (0..SYNCS).map(|number| sync_to(&stage.sink.url(number, "/ok"))).collect()
    });
    let outcome = outcome.await;
    context.add(outcome.full);
    context.add(outcome.half);
}
