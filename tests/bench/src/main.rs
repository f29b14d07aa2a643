//! The bench: all scenarios, or one; and the parts of it that run as processes of their own.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failure here is a failed run

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use sluice_bench::{
    batches, load,
    machine::Machine,
    report::{Report, markdown, plot, table},
    scenario::{Context, Options, Scenario},
    sink, stage,
    yardstick::{self, Yardstick},
};

/// Measures the real binaries beside yardsticks of the same run; see docs/benchmarks.md.
#[derive(Parser)]
#[command(name = "sluice-bench", version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every scenario, one after the other
    All,
    /// Name the scenarios
    List,
    /// Write what a run has measured as markdown
    Report {
        /// File that the run has written
        file: PathBuf,
        /// Page whose figures it replaces, such as docs/benchmarks.md
        #[arg(long, value_name = "FILE")]
        into: Option<PathBuf>,
    },
    #[command(flatten)]
    One(Scenario),
    /// Part of the bench: receives
    #[command(hide = true)]
    Sink(sink::Args),
    /// Part of the bench: sends
    #[command(hide = true)]
    Load(load::Args),
    /// Part of the bench: sends in batches
    #[command(hide = true)]
    Batches(batches::Args),
    /// Part of the bench: what it is compared with
    #[command(hide = true, subcommand)]
    Yardstick(Yardstick),
}

/// The one of the programs that are measured, so that the yardsticks have no worse.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let Cli { options, command } = Cli::parse();
    match command {
        Command::All => measure(options, &Scenario::ALL).await,
        Command::One(scenario) => measure(options, &[scenario]).await,
        Command::List => list(),
        Command::Report { file, into } => tell(&file, into.as_deref()),
        Command::Sink(args) => sink::run(args).await,
        Command::Load(args) => load::run(args).await,
        Command::Batches(args) => batches::run(args).await,
        Command::Yardstick(yardstick) => yardstick::run(yardstick).await,
    }
}

async fn measure(options: Options, scenarios: &[Scenario]) {
    stage::build();
    fs::create_dir_all(&options.dir).expect("a folder that can be written to");
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
    let machine = Machine::this(&options.dir);
    let mut context = Context::new(options.clone());
    for _ in 0..options.runs {
        for scenario in scenarios {
            context.run(*scenario).await;
        }
    }
    let report = Report { machine, began_seconds: began, quick: options.quick, measured: context.into_measured() };
    println!("{}", table::text(&report));
    let file = options.dir.join(format!("{began}.json"));
    fs::write(&file, serde_json::to_string_pretty(&report).expect("plain data")).expect("room on the disk");
    println!("{}", file.display());
    for plot in plot::draw(&report, &options.dir.join(began.to_string())).expect("room on the disk") {
        println!("{}", plot.display());
    }
}

fn tell(file: &Path, into: Option<&Path>) {
    let text = fs::read_to_string(file).expect("the file can be read");
    let report: Report = serde_json::from_str(&text).expect("a run of this bench");
    let Some(into) = into else {
        print!("{}", markdown::page(&report));
        return;
    };
    let page = fs::read_to_string(into).expect("the page can be read");
    let page = markdown::replace(&page, &report).expect("a page with a place for figures");
    fs::write(into, page).expect("the page can be written");
}

fn list() {
    for command in Cli::command().get_subcommands() {
        let own = ["all", "list", "report"].contains(&command.get_name());
        if !command.is_hide_set() && !own {
            println!("{:<16} {}", command.get_name(), command.get_about().map(ToString::to_string).unwrap_or_default());
        }
    }
}
