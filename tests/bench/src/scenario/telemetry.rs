//! What it costs to tell OpenTelemetry: nothing, one trace of a hundred, all of them, with metrics and logs; and to tell a backend that
//! takes everything and never answers.

use sluice_tests::{
    events::sync_to,
    otlp::{Backend, Mood},
    process::Setup,
};

use super::{
    Context,
    deliver::{Case, Delivering, measured_full},
};
use crate::{report::Goal, stage::Plan};

const SCENARIO: &str = "telemetry";

/// What is told.
struct Told {
    name: &'static str,
    /// Share of the traces.
    traces: &'static str,
    hangs: bool,
    cpu_goal: Option<Goal>,
    rate_goal: Option<Goal>,
}

const CASES: [Told; 3] = [
    Told {
        name: "metrics and 1 % of traces",
        traces: "0.01",
        hangs: false,
        cpu_goal: Some(Goal::AtMost(1.1)),
        rate_goal: None,
    },
    Told { name: "all traces", traces: "1", hangs: false, cpu_goal: None, rate_goal: None },
    Told {
        name: "1 % of traces, the backend hangs",
        traces: "0.01",
        hangs: true,
        cpu_goal: None,
        rate_goal: Some(Goal::AtLeast(0.98)),
    },
];

/// How often each is measured, in turn with a node that tells nothing: one turn differs from the next by as much as is looked for.
const TURNS: usize = 5;

pub(super) async fn run(context: &mut Context) {
    let turns = if context.options.quick { 1 } else { TURNS };
    let events = context.options.events() / 2;
    let mut off = started(context, Setup::default()).await;
    let mut without = Vec::new();
    let mut cases = Vec::new();
    for Told { name, traces, hangs, cpu_goal, rate_goal } in CASES {
        let backend = Backend::start().await;
        if hangs {
            backend.set(Mood::Hangs);
        }
        let env = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint().into()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".into()),
            ("OTEL_TRACES_SAMPLER_ARG", traces.into()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1000".into()),
        ];
        let mut telling = started(context, Setup { env, ..Setup::default() }).await;
        let (mut with, mut costs, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..turns {
            let silent = measured_full(SCENARIO, "off", &off.phase(events, None).await);
            let told = measured_full(SCENARIO, name, &telling.phase(events, None).await);
            costs.push(told.cpu("node") / silent.cpu("node"));
            rates.push(told.rate() / silent.rate());
            without.push(silent);
            with.push(told);
        }
        let measured = median_of(with, |one| one.cpu("node"));
        let measured = measured.ratio("node's CPU ÷ that without", median_of(costs, |cost| *cost), cpu_goal);
        cases.push(measured.ratio("deliveries/s ÷ without", median_of(rates, |rate| *rate), rate_goal));
    }
    context.add(median_of(without, |one| one.cpu("node")));
    cases.into_iter().for_each(|case| context.add(case));
}

async fn started(context: &Context, node: Setup) -> Delivering {
    let case = Case { plan: Plan { node, ..Plan::default() }, ..Case::plain(SCENARIO) };
    Delivering::start(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await
}

/// The one in the middle.
fn median_of<T>(mut all: Vec<T>, figure: impl Fn(&T) -> f64) -> T {
    all.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    all.swap_remove(all.len() / 2)
}
