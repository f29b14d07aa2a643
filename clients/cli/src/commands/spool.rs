//! `sluice spool`: looks into a node's spool.

use clap::Subcommand;
use sluice_client::proto::node::v1::{GetSpoolStatsRequest, SpoolStats};

use crate::{
    context::{Context, call},
    duration,
    exit::Failure,
    output::{bytes, print, table, thousands},
    proto_json::Printed,
};

/// What to look at.
#[derive(Debug, Subcommand)]
pub(crate) enum SpoolCommand {
    /// Show what a node's spool holds and how much room it has
    #[command(after_help = "\
Examples:
  sluice spool stats node-1
  sluice spool stats node-1 -o json | jq .shares")]
    Stats {
        /// The node, such as `node-1`
        #[arg(value_name = "NODE")]
        name: String,
    },
}

pub(crate) async fn run(context: &Context, command: SpoolCommand) -> Result<(), Failure> {
    match command {
        SpoolCommand::Stats { name } => {
            let name = super::nodes::node_name(&name)?;
            let request = GetSpoolStatsRequest { name };
            let stats = context.nodes().await?.get_spool_stats(call(request)).await?.into_inner();
            print_stats(context, &stats)
        }
    }
}

fn print_stats(context: &Context, stats: &SpoolStats) -> Result<(), Failure> {
    let printed = Printed::new("sluice.node.v1.SpoolStats", stats)?;
    print(context.format, &printed, || Ok(show(stats)))
}

fn show(stats: &SpoolStats) -> String {
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let both = |count: i64, size: i64| format!("{} ({})", thousands(number(count)), bytes(number(size)));
    let window = stats.deduplication_window.and_then(|window| std::time::Duration::try_from(window).ok());
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
}
