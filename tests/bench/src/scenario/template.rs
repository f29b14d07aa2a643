//! The documented event is rendered with the documented template.

use sluice_tests::events::{SyncBuilder as _, sync_to};

use super::{
    Context,
    deliver::{self, Case},
};
use crate::{
    event::{Shape, TEMPLATE},
    yardstick,
};

pub(super) async fn run(context: &mut Context) {
    let case = Case { shape: Shape::Documented, ..Case::plain("template") };
    let outcome =
        deliver::measure(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok")).template(TEMPLATE)]).await;
    let count = context.options.pick(None, 1_000, 200_000);
    let parse = yardstick::parse(Shape::Documented, count).await;
    context.yardstick("serde_json reads the documented event", "events", parse, vec![parse.usage()]);
    let ratio = outcome.full.cpu("node") / parse.cpu_per_thousand_ms;
    context.add(outcome.full.ratio("node's CPU ÷ serde_json's", ratio, None));
    context.add(outcome.half);
}
