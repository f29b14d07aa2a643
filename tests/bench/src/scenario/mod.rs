//! What is measured.

mod deliver;
mod down;
mod growth;
mod hang;
mod ingest;
mod many_syncs;
mod original;
mod reports;
mod restart;
mod telemetry;
mod template;
mod ten_match;
mod tls;

use std::path::PathBuf;

use crate::{
    report::Measured,
    sink::Protocol,
    stage::Stage,
    yardstick::{self, Done},
};

/// A scenario, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Scenario {
    /// Events go out as they came, to one endpoint
    Original,
    /// The documented event through the documented template
    Template,
    /// Ten syncs take every event
    TenMatch,
    /// 10,000 syncs, of which one takes the event, beside ten
    ManySyncs,
    /// As original, over TLS
    Tls,
    /// As original, over HTTP/2 and TLS
    H2,
    /// One in ten of 1,000 endpoints hangs
    Hang,
    /// All endpoints are down: what waits grows, then drains
    Down,
    /// A restart while a million deliveries wait
    Restart,
    /// What it costs to tell OpenTelemetry
    Telemetry,
    /// Intake alone, beside appends to a plain file
    Ingest,
    /// More and more events, syncs, nodes
    Growth,
    /// What the control plane stores of what nodes report
    Reports,
}

impl Scenario {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 13] = [
        Self::Original,
        Self::Template,
        Self::TenMatch,
        Self::ManySyncs,
        Self::Tls,
        Self::H2,
        Self::Hang,
        Self::Down,
        Self::Restart,
        Self::Telemetry,
        Self::Ingest,
        Self::Growth,
        Self::Reports,
    ];
}

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Counts of a smoke test: everything runs once, the figures say nothing
    #[arg(long, global = true)]
    pub quick: bool,
    /// Events of each case at full load [default: 100000]
    #[arg(long, global = true, value_name = "COUNT")]
    events: Option<u64>,
    /// How long each case runs at half load [default: 10]
    #[arg(long, global = true, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Deliveries that wait when a node is started again [default: 1000000]
    #[arg(long, global = true, value_name = "COUNT")]
    waiting: Option<u64>,
    /// How often everything is measured
    #[arg(long, global = true, value_name = "COUNT", default_value_t = 1)]
    pub runs: usize,
    /// Folder for data and reports, on the disk that is to be measured
    #[arg(long, global = true, value_name = "DIR", default_value = "target/bench")]
    pub dir: PathBuf,
}

impl Options {
    fn pick<T>(&self, given: Option<T>, quick: T, full: T) -> T {
        given.unwrap_or(if self.quick { quick } else { full })
    }

    /// Events of each case at full load.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.pick(self.events, 300, 100_000)
    }

    /// Events that are not measured.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        (self.events() / 20).clamp(20, 5_000)
    }

    /// Deliveries that wait when a node is started again.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.pick(self.waiting, 500, 1_000_000)
    }

    /// Seconds of each case at half load.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.pick(self.seconds, 0.3, 10.0)
    }
}

/// A run under way.
pub struct Context {
    /// How much is measured.
    pub options: Options,
    measured: Vec<Measured>,
}

impl Context {
    /// A run of nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, measured: Vec::new() }
    }

    /// What was measured.
    #[must_use]
    pub fn into_measured(self) -> Vec<Measured> {
        self.measured
    }

    /// Runs a scenario.
    pub async fn run(&mut self, scenario: Scenario) {
        match scenario {
            Scenario::Original => original::run(self).await,
            Scenario::Template => template::run(self).await,
            Scenario::TenMatch => ten_match::run(self).await,
            Scenario::ManySyncs => many_syncs::run(self).await,
            Scenario::Tls => tls::run(self, "tls", Protocol::Tls).await,
            Scenario::H2 => tls::run(self, "h2", Protocol::H2).await,
            Scenario::Hang => hang::run(self).await,
            Scenario::Down => down::run(self).await,
            Scenario::Restart => restart::run(self).await,
            Scenario::Telemetry => telemetry::run(self).await,
            Scenario::Ingest => ingest::run(self).await,
            Scenario::Growth => growth::run(self).await,
            Scenario::Reports => reports::run(self).await,
        }
    }

    /// Keeps what was measured, and says so.
    fn add(&mut self, measured: Measured) {
        let ratios: Vec<String> =
            measured.ratios.iter().map(|ratio| format!("{} {:.2}", ratio.what, ratio.value)).collect();
        eprintln!(
            "{}, {}: {:.0} {} a second; {}",
            measured.scenario,
            measured.case,
            measured.rate(),
            measured.unit,
            ratios.join("; ")
        );
        self.measured.push(measured);
    }

    /// The bare POST of a body of this size to the stage's sink.
    async fn post(&mut self, stage: &Stage, body_bytes: usize) -> Done {
        let count = self.options.pick(None, 320, 100_000);
        let watch = crate::usage::Watch::begin(&[("sink".to_owned(), stage.sink.id())], stage.folder());
        let done = yardstick::post(&stage.sink, &stage.ca_file(), body_bytes, count).await;
        let name = match stage.sink.protocol() {
            Protocol::Http1 => "HTTP/1.1",
            Protocol::Tls => "HTTP/1.1 over TLS",
            Protocol::H2 => "HTTP/2 over TLS",
        };
        let mut processes = watch.end(done.count);
        processes.push(done.usage());
        self.yardstick(&format!("POST of {body_bytes} bytes, {name}"), "requests", done, processes);
        done
    }

    fn yardstick(&mut self, case: &str, unit: &str, done: Done, processes: Vec<crate::usage::Usage>) {
        self.add(Measured {
            scenario: "yardstick".to_owned(),
            case: case.to_owned(),
            unit: unit.to_owned(),
            count: done.count,
            seconds: done.seconds,
            processes,
            ..Measured::default()
        });
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
