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
    /// Share of the traces; none: nothing at all is told.
    traces: Option<&'static str>,
    hangs: bool,
    cpu_goal: Option<Goal>,
    rate_goal: Option<Goal>,
}

const CASES: [Told; 4] = [
    Told { name: "off", traces: None, hangs: false, cpu_goal: None, rate_goal: None },
    Told {
        name: "metrics and 1 % of traces",
        traces: Some("0.01"),
        hangs: false,
        cpu_goal: Some(Goal::AtMost(1.1)),
        rate_goal: None,
    },
    Told { name: "all traces", traces: Some("1"), hangs: false, cpu_goal: None, rate_goal: None },
    Told {
        name: "1 % of traces, the backend hangs",
        traces: Some("0.01"),
        hangs: true,
        cpu_goal: None,
        rate_goal: Some(Goal::AtLeast(0.98)),
    },
];

pub(super) async fn run(context: &mut Context) {
    let mut off = None;
    for Told { name, traces, hangs, cpu_goal, rate_goal } in CASES {
        let backend = Backend::start().await;
        if hangs {
            backend.set(Mood::Hangs);
        }
        let told = |ratio: &str| {
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint().into()),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".into()),
                ("OTEL_TRACES_SAMPLER_ARG", ratio.into()),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1000".into()),
            ]
        };
        let node = Setup { env: traces.map(told).unwrap_or_default(), ..Setup::default() };
        let case = Case { plan: Plan { node, ..Plan::default() }, ..Case::plain(SCENARIO) };
        let mut delivering = Delivering::start(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
        let phase = delivering.phase(context.options.events() / 2, None).await;
        let measured = measured_full(SCENARIO, name, &phase);
        let (cost, rate) = *off.get_or_insert((measured.cpu("node"), measured.rate()));
        let (cost, rate) = (measured.cpu("node") / cost, measured.rate() / rate);
        let measured = measured.ratio("node's CPU ÷ that without", cost, cpu_goal);
        context.add(measured.ratio("deliveries/s ÷ without", rate, rate_goal));
    }
}
