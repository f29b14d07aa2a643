//! What it costs to tell OpenTelemetry: nothing, one trace of a hundred, all of them; with metrics and logs.

use sluice_tests::{events::sync_to, otlp::Backend, process::Setup};

use super::{
    Context,
    deliver::{Case, Delivering, measured_full},
};
use crate::stage::Plan;

const SCENARIO: &str = "telemetry";

pub(super) async fn run(context: &mut Context) {
    let mut off = None;
    for (name, ratio) in [("off", None), ("metrics and 1 % of traces", Some("0.01")), ("all traces", Some("1"))] {
        let backend = Backend::start().await;
        let told = |ratio: &str| {
            vec![
                ("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint().into()),
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".into()),
                ("OTEL_TRACES_SAMPLER_ARG", ratio.into()),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1000".into()),
            ]
        };
        let node = Setup { env: ratio.map(told).unwrap_or_default(), ..Setup::default() };
        let case = Case { plan: Plan { node, ..Plan::default() }, ..Case::plain(SCENARIO) };
        let mut delivering = Delivering::start(context, case, |stage| vec![sync_to(&stage.sink.url(0, "/ok"))]).await;
        let phase = delivering.phase(context.options.events() / 2, None).await;
        let measured = measured_full(SCENARIO, name, &phase);
        let (cost, rate) = *off.get_or_insert((measured.cpu("node"), measured.rate()));
        let (cost, rate) = (measured.cpu("node") / cost, measured.rate() / rate);
        context.add(measured.ratio("node's CPU ÷ that without", cost, None).ratio(
            "deliveries/s ÷ without",
            rate,
            None,
        ));
    }
}
