//! Events in, requests out: what most scenarios do, each with other syncs.

use sluice_proto::sync::v1::Sync;

use super::Context;
use crate::{
    event::Shape,
    load::{Load, Pace, Sent},
    report::{Goal, Measured},
    sink::Stats,
    stage::{Plan, Stage},
    usage::{Usage, Watch},
    yardstick::Done,
};

/// Events under way at full load: a lane always has enough, and memory holds most of them.
const AHEAD: u64 = 2_000;

/// A case of a scenario.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Which scenario.
    pub(super) scenario: &'static str,
    /// Which case of it; empty if there is but one.
    pub(super) name: String,
    /// What is on the stage.
    pub(super) plan: Plan,
    /// Which event.
    pub(super) shape: Shape,
    /// How many types of events there are, by turns.
    pub(super) types: usize,
    /// Numbers of the syncs that take events, and how many requests each event makes over all of them.
    pub(super) takers: Vec<usize>,
    /// Requests for each event.
    pub(super) requests: u64,
    /// Whether what it costs is held to the goals.
    pub(super) judged: bool,
}

impl Case {
    /// One sync takes every event.
    #[must_use]
    pub(super) fn plain(scenario: &'static str) -> Self {
        Self {
            scenario,
            name: String::new(),
            plan: Plan::default(),
            shape: Shape::Small,
            types: 1,
            takers: vec![0],
            requests: 1,
            judged: true,
        }
    }

    fn name(&self, load: &str) -> String {
        if self.name.is_empty() { load.to_owned() } else { format!("{}, {load}", self.name) }
    }
}

/// What a phase came to.
pub(super) struct Phase {
    /// What was sent.
    pub(super) sent: Sent,
    /// What the sink has counted.
    pub(super) stats: Stats,
    /// What the processes have used, until the last report was stored.
    pub(super) processes: Vec<Usage>,
}

impl Phase {
    /// From the first event to the last request.
    #[must_use]
    pub(super) fn seconds(&self) -> f64 {
        (self.stats.ok.last_ns.saturating_sub(self.sent.began_ns)) as f64 / 1e9
    }
}

/// A stage that serves a case, and how many requests it has delivered.
pub(super) struct Delivering {
    /// The stage.
    pub(super) stage: Stage,
    case: Case,
    delivered: u64,
}

impl Delivering {
    /// Starts it and warms it up.
    pub(super) async fn start(context: &Context, case: Case, syncs: impl FnOnce(&Stage) -> Vec<Sync>) -> Self {
        let stage = Stage::start(&context.options.dir, case.plan.clone()).await;
        stage.serve(syncs(&stage)).await;
        let mut delivering = Self { stage, case, delivered: 0 };
        delivering.phase(context.options.warm_up(), None).await;
        delivering
    }

    /// Sends so many events, at a rate or as fast as they are delivered, and waits until everything has arrived and was reported.
    pub(super) async fn phase(&mut self, count: u64, rate: Option<f64>) -> Phase {
        self.stage.sink.reset().await;
        let requests = self.case.requests;
        let pace = rate.map_or(Pace::Ahead { events: AHEAD, requests, sink: self.stage.sink.admin() }, Pace::Rate);
        let load = Load { nodes: self.stage.node_urls(), shape: self.case.shape, types: self.case.types, count, pace };
        let mut child = load.start();
        let mut processes = self.stage.processes();
        processes.push(("load".to_owned(), child.id()));
        let watch = Watch::begin(&processes);
        let sent: Sent = child.says().await;
        assert_eq!(sent.count, count, "all events are taken");
        let stats = self.stage.sink.wait_for(count * requests, |stats| stats.ok.count).await;
        assert_eq!(stats.ok.count, count * requests, "each event comes once to each sync that takes it");
        self.delivered += count * requests;
        let each = self.delivered / self.case.takers.len() as u64;
        let reported: Vec<(usize, u64)> = self.case.takers.iter().map(|taker| (*taker, each)).collect();
        self.stage.reported(&reported).await;
        Phase { sent, stats, processes: watch.end(count * requests) }
    }
}

/// Full load, then half of it, beside the yardstick; gives what full load came to.
pub(super) async fn measure(context: &mut Context, case: Case, syncs: impl FnOnce(&Stage) -> Vec<Sync>) -> Measured {
    let mut delivering = Delivering::start(context, case, syncs).await;
    let full = delivering.phase(context.options.events(), None).await;
    let body_bytes = usize::try_from(full.stats.ok.bytes / full.stats.ok.count).expect("a body that fits");
    delivering.stage.sink.reset().await;
    let bare = context.post(&delivering.stage, body_bytes).await;
    let rate = (context.options.events() as f64 / full.seconds() / 2.0).max(1.0);
    let count = (rate * context.options.seconds()).ceil() as u64;
    let half = delivering.phase(count, Some(rate)).await;
    let full = measured(&delivering.case, "full load", &full, bare);
    context.add(full.clone());
    let half = measured(&delivering.case, "half load", &half, bare);
    context.add(half);
    full
}

fn measured(case: &Case, load: &str, phase: &Phase, bare: Done) -> Measured {
    let (full, count) = (load == "full load", phase.stats.ok.count);
    let measured = Measured {
        scenario: case.scenario.to_owned(),
        case: case.name(load),
        unit: "deliveries".to_owned(),
        count,
        seconds: phase.seconds(),
        // At full load it says how many are under way, and no more.
        latency: (!full).then_some(phase.stats.ok.latency),
        processes: phase.processes.clone(),
        ..Measured::default()
    };
    let goal = |goal| case.judged.then_some(goal);
    let cpu = measured.cpu("node") / bare.cpu_per_thousand_ms;
    let mut measured = measured.ratio("node's CPU ÷ bare client's", cpu, goal(Goal::AtMost(2.0)));
    if full {
        let rate = measured.rate() / bare.rate();
        measured = measured.ratio("deliveries/s ÷ bare requests/s", rate, goal(Goal::AtLeast(0.45)));
    } else {
        let latency = phase.stats.ok.latency;
        measured = measured.fact("first byte, p50", latency.p50, "ms", goal(Goal::AtMost(2.0)));
        measured = measured.fact("first byte, p99", latency.p99, "ms", goal(Goal::AtMost(10.0)));
    }
    measured
}
