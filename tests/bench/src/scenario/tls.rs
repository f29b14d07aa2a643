//! As `original`, over TLS.

use sluice_tests::events::sync_to;

use super::{
    Context,
    deliver::{self, Case},
};
use crate::{sink::Protocol, stage::Plan};

pub(super) async fn run(context: &mut Context, scenario: &'static str, protocol: Protocol) {
    let case = Case { plan: Plan { protocol, ..Plan::default() }, ..Case::plain(scenario) };
    let outcome = deliver::measure(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
    context.add(outcome.full);
    context.add(outcome.half);
}
