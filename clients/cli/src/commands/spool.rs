//! `sluice spool`: looks into a node's spool, through the control plane or in its data folder.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use sluice_client::proto::node::v1::{GetSpoolStatsRequest, SpoolStats};
use sluice_node::spool::inspect::{self, VerifyReport};

use crate::{
    context::{Context, call},
    duration,
    exit::{Exit, Failure},
    output::{bytes, count, print, table, thousands},
    proto_json::Printed,
};

/// The spool's file in a data folder.
const FILE: &str = "spool.db";

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// Show what a node's spool holds and how much room it has
    #[command(after_help = "\
Examples:
  sluice spool stats node-1                                # asks the node, through the control plane
  sluice spool stats --data-dir /var/lib/sluice/node       # reads the folder, whether or not the node runs
  sluice spool stats node-1 -o json | jq .shares")]
    Stats(StatsArgs),
    /// Check every record of a spool and the counts it keeps
    #[command(after_help = "\
Examples:
  sluice spool verify --data-dir /var/lib/sluice/node
  sluice spool verify --data-dir sluice-data/node -o json | jq .problems

Reads all of it and writes nothing; the node may run meanwhile. What the last second brought may be in the journal alone: it is checked,
and counted as commits. Each damaged record is named. A node goes on with a damaged
spool: it serves what is whole, and counts and reports what is not. The exit code is 1 if anything is wrong.")]
    Verify {
        /// The node's data folder
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
}

/// Whose figures.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct StatsArgs {
    /// The node, such as `node-1`
    #[arg(value_name = "NODE")]
    name: Option<String>,
    /// The data folder of a node on this machine
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, command: SpoolCommand) -> Result<(), Failure> {
    match command {
        SpoolCommand::Stats(StatsArgs { name: Some(name), .. }) => {
            let name = super::nodes::node_name(&name)?;
            let request = GetSpoolStatsRequest { name };
            let stats = context.nodes().await?.get_spool_stats(call(request)).await?.into_inner();
            print_stats(context, &stats)
        }
        SpoolCommand::Stats(StatsArgs { data_dir, .. }) => {
            let folder = spool_folder(&data_dir.unwrap_or_default())?;
            let stats = inspect::stats(&folder).map_err(|error| unreadable(&folder, &error))?;
            let now_ms = sluice_host::clock::Clock::system().now_ms();
            print_stats(context, &sluice_node::commands::spool_stats(&stats, "", now_ms))
        }
        SpoolCommand::Verify { data_dir } => {
            let folder = spool_folder(&data_dir)?;
            let report = inspect::verify(&folder).map_err(|error| unreadable(&folder, &error))?;
            print_report(context, &report)
        }
    }
}

/// The folder that holds the spool: this one, or its `node` as `sluice dev` lays it out.
fn spool_folder(folder: &Path) -> Result<PathBuf, Failure> {
    let candidates = [folder.to_owned(), folder.join("node")];
    candidates.into_iter().find(|folder| folder.join(FILE).is_file()).ok_or_else(|| {
        let folder = folder.display();
        Failure::new(Exit::Conflict, format!("{folder} holds no spool: give the --data-dir of a node"))
    })
}

fn unreadable(folder: &Path, error: &dyn std::error::Error) -> Failure {
    let mut failure = Failure::failed(format!("the spool in {} cannot be read: {error}", folder.display()));
    let mut cause = error.source();
    while let Some(inner) = cause {
        failure.details.push(inner.to_string());
        cause = inner.source();
    }
    failure
}

/// A report as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Report<'a> {
    whole: bool,
    event_count: u64,
    delivery_count: u64,
    dead_letter_count: u64,
    report_count: u64,
    producer_count: u64,
    catalog_entry_count: u64,
    /// Of them the counts before know nothing yet.
    journal_commit_count: u64,
    problem_count: u64,
    problems: &'a [String],
}

fn print_report(context: &Context, report: &VerifyReport) -> Result<(), Failure> {
    let value = Report {
        whole: report.is_whole(),
        event_count: report.events,
        delivery_count: report.deliveries,
        dead_letter_count: report.dead_letters,
        report_count: report.reports,
        producer_count: report.producers,
        catalog_entry_count: report.catalog_entries,
        journal_commit_count: report.commits_in_journal,
        problem_count: report.problem_count,
        problems: &report.problems,
    };
    print(context.format, &value, || Ok(show_report(report)))?;
    if report.is_whole() {
        return Ok(());
    }
    let mut failure = Failure::failed(format!("{} in the spool", count(report.problem_count, "problem")));
    failure.details.clone_from(&report.problems);
    let unnamed = report.problem_count.saturating_sub(report.problems.len() as u64);
    if unnamed > 0 {
        failure.details.push(format!("and {} more", thousands(unnamed)));
    }
    Err(failure)
}

fn show_report(report: &VerifyReport) -> String {
    let rows = [
        ("events", report.events),
        ("open deliveries", report.deliveries),
        ("dead letters", report.dead_letters),
        ("reports not acked", report.reports),
        ("producers", report.producers),
        ("syncs", report.catalog_entries),
        ("journal commits", report.commits_in_journal),
    ];
    let rows = table(&[], rows.map(|(name, number)| vec![name.to_owned(), thousands(number)]));
    if report.is_whole() { format!("{rows}\n\nevery record is whole and the counts agree") } else { rows }
}

fn print_stats(context: &Context, stats: &SpoolStats) -> Result<(), Failure> {
    let printed = Printed::new("sluice.node.v1.SpoolStats", stats)?;
    print(context.format, &printed, || Ok(show(stats)))
}

fn show(stats: &SpoolStats) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let both = |count: i64, size: i64| format!("{} ({})", thousands(number(count)), bytes(number(size)));
    let window = stats.deduplication_window.and_then(duration::received);
    let rows = [
        ("open deliveries", both(stats.pending_count, stats.pending_bytes)),
        ("dead letters", both(stats.dead_letter_count, stats.dead_letter_bytes)),
        ("  not exported", thousands(number(stats.unexported_count))),
        ("reports not acked", both(stats.unacked_report_count, stats.unacked_report_bytes)),
        ("reports dropped", thousands(number(stats.dropped_report_count))),
        (
            "deduplication",
            match window {
                Some(window) => {
                    format!("{} keys, back {}", thousands(number(stats.deduplication_count)), duration::show(window))
                }
                None => "no keys".to_owned(),
            },
        ),
        ("files", bytes(number(stats.file_bytes))),
        ("room for events", bytes(number(stats.max_bytes))),
        ("free on the disk", bytes(number(stats.disk_free_bytes))),
        ("damaged records", thousands(number(stats.damaged_count))),
    ];
    let mut text = table(&[], rows.map(|(name, value)| vec![name.to_owned(), value]));
    if !stats.shares.is_empty() {
        let shares = stats.shares.iter().map(|share| {
            vec![
                share.sync.rsplit_once('/').map_or(share.sync.as_str(), |(_, id)| id).to_owned(),
                both(share.pending_count, share.pending_bytes),
                both(share.dead_letter_count, share.dead_letter_bytes),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&table(&["SYNC", "OPEN DELIVERIES", "DEAD LETTERS"], shares));
    }
    text
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::node::v1::SpoolShare;

    use super::*;

    #[test]
    fn figures_are_shown_in_all_and_by_sync() {
        let shown = show(&SpoolStats {
            pending_count: 1_234,
            pending_bytes: 2 << 20,
            deduplication_count: 7,
            deduplication_window: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            shares: vec![SpoolShare { sync: "projects/default/syncs/orders".into(), ..SpoolShare::default() }],
            ..SpoolStats::default()
        });
        for part in ["1,234 (2.0 MiB)", "7 keys, back 10 min 0 s", "orders"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(show(&SpoolStats::default()).contains("no keys"));
    }

    #[test]
    fn a_report_says_what_was_checked_and_that_all_is_well() {
        let report = VerifyReport { events: 1_234, ..VerifyReport::default() };
        assert!(show_report(&report).starts_with("events             1,234\n"), "{}", show_report(&report));
        assert!(show_report(&report).ends_with("every record is whole and the counts agree"));
        let report = VerifyReport { problem_count: 1, ..report };
        assert!(!show_report(&report).contains("whole"));
    }
}
