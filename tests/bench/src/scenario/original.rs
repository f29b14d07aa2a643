//! Events of 700 bytes go out as they came.

use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{self, Case},
    mib,
};
use crate::report::Goal;

pub(super) async fn run(context: &mut Context) {
    let outcome =
        deliver::measure(context, Case::plain("original"), |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
    let idle = mib(outcome.idle_bytes);
    context.add(outcome.full.fact("memory of an idle node", idle, "MiB", Some(Goal::AtMost(30.0))));
    context.add(outcome.half);
}
