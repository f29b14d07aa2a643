//! Ten syncs, and 10,000, of which one takes the event: found by its type, or by a property that is another one for each sync.

use sluice_proto::sync::v1::{PropertyOperator, Sync};
use sluice_tests::events::{SyncBuilder as _, sync_to};

use super::{
    Context,
    deliver::{self, Case},
    mib,
};
use crate::{event::Shape, report::Goal, stage::Plan};

/// What the documented event has as its user's plan.
const PLAN: &str = "enterprise";

/// By what the sync is found.
#[derive(Clone, Copy)]
enum By {
    Type,
    Property,
}

pub(super) async fn run(context: &mut Context) {
    let many = context.options.pick(None, 100, 10_000);
    for (by, name) in [(By::Type, "by type"), (By::Property, "by property")] {
        let few = measure(context, by, &format!("10 syncs {name}"), 10).await;
        let outcome = measure(context, by, &format!("{many} syncs {name}"), many).await;
        let costs = |outcome: &deliver::Outcome| outcome.full.cpu("node");
        let ratio = costs(&outcome) / costs(&few);
        let more = mib(outcome.idle_bytes.saturating_sub(few.idle_bytes));
        context.add(few.full);
        context.add(few.half);
        let full = outcome.full.ratio("node's CPU ÷ that with 10 syncs", ratio, Some(Goal::AtMost(1.2)));
        context.add(full.fact("memory beyond that with 10 syncs", more, "MiB", Some(Goal::AtMost(100.0))));
        context.add(outcome.half);
    }
}

async fn measure(context: &mut Context, by: By, name: &str, count: usize) -> deliver::Outcome {
    let case = Case {
        name: name.to_owned(),
        plan: plan(count),
        shape: Shape::Documented,
        judged: false,
        ..Case::plain("many-syncs")
    };
    deliver::measure(context, case, |stage| {
        let url = stage.sink.url(0, "/ok");
        match by {
            By::Type => by_type(&url, count),
            By::Property => by_property(&url, count),
        }
    })
    .await
}

/// A stage that has room for so many syncs.
pub(super) fn plan(syncs: usize) -> Plan {
    Plan { control_plane: vec!["--max-syncs-per-project".to_owned(), syncs.to_string()], ..Plan::default() }
}

/// Each takes a type of its own.
pub(super) fn by_type(url: &str, count: usize) -> Vec<Sync> {
    (0..count).map(|number| sync_to(url).event_types(&[&format!("t{number}")])).collect()
}

/// Each takes those of one plan.
fn by_property(url: &str, count: usize) -> Vec<Sync> {
    let plans = (0..count).map(|number| if number == 0 { PLAN.to_owned() } else { format!("plan-{number}") });
    plans.map(|plan| sync_to(url).property(&["user_properties", "plan"], PropertyOperator::Is, &[&plan])).collect()
}
