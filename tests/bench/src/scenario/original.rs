//! Events of 700 bytes go out as they came: with as many at once as a sync has by default, and with more.

use sluice_proto::sync::v1::Limits;
use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{self, Case},
    mib,
};
use crate::report::Goal;

/// As many as go to one host by default, over all syncs.
const MORE_AT_ONCE: i32 = 256;

pub(super) async fn run(context: &mut Context) {
    let outcome =
        deliver::measure(context, Case::plain("original"), |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
    let idle = mib(outcome.idle_bytes);
    context.add(outcome.full.fact("memory of an idle node", idle, "MiB", Some(Goal::AtMost(30.0))));
    context.add(outcome.half);

    let case = Case { name: format!("{MORE_AT_ONCE} at once"), judged: false, ..Case::plain("original") };
    let outcome = deliver::measure(context, case, |stage| {
        let mut sync = sync_to(&stage.sink.url(0, "/ok"));
        sync.destination.get_or_insert_default().limits =
            Some(Limits { max_concurrency: MORE_AT_ONCE, ..Limits::default() });
        vec![sync]
    });
    let outcome = outcome.await;
    context.add(outcome.full);
    context.add(outcome.half);
}
