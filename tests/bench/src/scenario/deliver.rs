//! Events in, requests out: what most scenarios do, each with other syncs.

use sluice_proto::sync::v1::Sync;
use sluice_tests::measure::rss_bytes;

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

/// Of so many syncs that take events one is asked whether all that it has delivered is stored, before a phase is over.
const ASKED: usize = 100;

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
    /// Requests that are answered at once for each event, on average.
    pub(super) requests: f64,
    /// How many syncs take events, the first ones, each as many as the others; 0: what is still open is not waited for.
    pub(super) takers: u64,
    /// Events a second at half load, if it is not half of what was delivered at full load.
    pub(super) half_rate: Option<f64>,
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
            requests: 1.0,
            takers: 1,
            half_rate: None,
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
    /// Memory of a node that has served nothing yet but has the catalog.
    pub(super) idle_bytes: u64,
    case: Case,
    delivered: u64,
}

impl Delivering {
    /// Starts it and warms it up.
    pub(super) async fn start(context: &Context, case: Case, syncs: impl FnOnce(&Stage) -> Vec<Sync>) -> Self {
        let stage = Stage::start(&context.options.dir, case.plan.clone()).await;
        stage.serve(syncs(&stage)).await;
        let idle_bytes = rss_bytes(stage.nodes[0].id());
        let mut delivering = Self { stage, idle_bytes, case, delivered: 0 };
        delivering.phase(context.options.warm_up(), None).await;
        delivering
    }

    /// Sends so many events, at a rate or as fast as they are delivered, and waits until everything has arrived and was reported.
    /// There are a few more if their types do not go up evenly.
    pub(super) async fn phase(&mut self, count: u64, rate: Option<f64>) -> Phase {
        let case = &self.case;
        let count = count.next_multiple_of(case.types as u64);
        let expected = (count as f64 * case.requests).round() as u64;
        self.stage.sink.reset().await;
        let ahead = Pace::Ahead { events: AHEAD, requests: case.requests, sink: self.stage.sink.admin() };
        let load = Load {
            nodes: self.stage.node_urls(),
            shape: case.shape,
            event_type: "t".to_owned(),
            types: case.types,
            count,
            pace: rate.map_or(ahead, Pace::Rate),
        };
        let mut child = load.start();
        let mut processes = self.stage.processes();
        processes.push(("load".to_owned(), child.id()));
        let watch = Watch::begin(&processes, self.stage.folder());
        let sent: Sent = child.says().await;
        assert_eq!(sent.count, count, "all events are taken");
        let stats = self.stage.sink.wait_for(expected, |stats| stats.ok.count).await;
        assert_eq!(stats.ok.count, expected, "each event comes once to each sync that takes it");
        self.delivered += expected;
        let each = self.delivered.checked_div(case.takers);
        if let Some(each) = each {
            // Some of them: asking a thousand costs the control plane more than what they have reported.
            self.stage.reported((0..case.takers).rev().step_by(ASKED), each).await;
        }
        let processes = watch.end(expected);
        if let Some(each) = each {
            self.stage.reported(0..case.takers, each).await;
        }
        Phase { sent, stats, processes }
    }
}

/// What a case came to.
pub(super) struct Outcome {
    /// At full load.
    pub(super) full: Measured,
    /// At half of it.
    pub(super) half: Measured,
    /// Events a second then.
    pub(super) half_rate: f64,
    /// As in [`Delivering`].
    pub(super) idle_bytes: u64,
}

/// Full load, then half of it, beside the yardstick.
pub(super) async fn measure(context: &mut Context, case: Case, syncs: impl FnOnce(&Stage) -> Vec<Sync>) -> Outcome {
    let mut delivering = Delivering::start(context, case, syncs).await;
    let events = (context.options.events() as f64 / delivering.case.requests.max(1.0)).ceil() as u64;
    let full = delivering.phase(events, None).await;
    delivering.stage.sink.reset().await;
    let body_bytes = usize::try_from(full.stats.ok.bytes / full.stats.ok.count).expect("a body that fits");
    let bare = context.post(&delivering.stage, body_bytes).await;
    let half = (full.sent.count as f64 / full.seconds() / 2.0).max(1.0);
    let rate = delivering.case.half_rate.unwrap_or(half);
    let half = delivering.phase((rate * context.options.seconds()).ceil() as u64, Some(rate)).await;
    Outcome {
        full: measured(&delivering.case, "full load", &full, bare),
        half: measured(&delivering.case, "half load", &half, bare),
        half_rate: rate,
        idle_bytes: delivering.idle_bytes,
    }
}

/// A phase at full load, compared with nothing yet.
pub(super) fn measured_full(scenario: &str, name: &str, phase: &Phase) -> Measured {
    Measured {
        scenario: scenario.to_owned(),
        case: name.to_owned(),
        unit: "deliveries".to_owned(),
        count: phase.stats.ok.count,
        seconds: phase.seconds(),
        processes: phase.processes.clone(),
        ..Measured::default()
    }
}

fn measured(case: &Case, load: &str, phase: &Phase, bare: Done) -> Measured {
    let mut measured = measured_full(case.scenario, &case.name(load), phase);
    let goal = |goal| case.judged.then_some(goal);
    let cpu = measured.cpu("node") / bare.cpu_per_thousand_ms;
    measured = measured.ratio("node's CPU ÷ bare client's", cpu, goal(Goal::AtMost(2.0)));
    // All that the control plane does meanwhile is to take in reports. Reporting is to take 0.15 of the node's time in both planes
    // together; the node's own part, which only a profile tells, is 0.05.
    let reports = measured.cpu("control plane") / measured.cpu("node");
    if load == "full load" {
        measured = measured.ratio("control plane's CPU ÷ node's", reports, goal(Goal::AtMost(0.10)));
        let rate = measured.rate() / bare.rate();
        return measured.ratio("deliveries/s ÷ bare requests/s", rate, goal(Goal::AtLeast(0.45)));
    }
    // At full load it would say how many are under way, and no more.
    let latency = phase.stats.ok.latency;
    measured.latency = Some(latency);
    measured = measured.fact("first byte, p50", latency.p50, "ms", goal(Goal::AtMost(2.0)));
    measured.fact("first byte, p99", latency.p99, "ms", goal(Goal::AtMost(10.0)))
}
