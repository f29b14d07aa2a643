//! `sluice nodes drain`: has a node take no more events, and says when its data may go.

use std::time::Duration;

use clap::Args;
use sluice_client::proto::node::v1::{DrainNodeRequest, DrainNodeResponse};
use tokio::time::{Instant, sleep};

use crate::{
    context::{Context, call},
    duration,
    exit::{Exit, Failure},
    output::{note, print, thousands},
    proto_json::Printed,
};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Which node, and how long to wait.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice nodes drain node-1                   # begin, and show what remains
  sluice nodes drain node-1 --until-empty
  sluice nodes drain node-1 --until-empty --timeout 4h30m

Producers are told to go elsewhere; the node delivers what it holds and takes nothing new until it is started again. It is safe
to delete, with its data, when it has no open deliveries, no dead letters that were not exported (`sluice dead-letters export`),
no reports that the control plane has not stored, and no producers. Exit code 5: it was not empty in time.")]
pub(crate) struct DrainArgs {
    /// The node, such as `node-1`
    #[arg(value_name = "NODE")]
    name: String,
    /// Wait until nothing remains, and show what does meanwhile
    #[arg(long)]
    until_empty: bool,
    /// How long to wait at most; without end if it is left out
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "until_empty")]
    timeout: Option<Duration>,
}

pub(crate) async fn run(context: &Context, args: DrainArgs) -> Result<(), Failure> {
    let name = super::nodes::node_name(&args.name)?;
    let mut client = context.nodes().await?;
    let until = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut told = String::new();
    loop {
        let remains = client.drain_node(call(DrainNodeRequest { name: name.clone() })).await?.into_inner();
        if remains.safe_to_delete || !args.until_empty {
            let printed = Printed::new("sluice.node.v1.DrainNodeResponse", &remains)?;
            return print(context.format, &printed, || Ok(verdict(&remains)));
        }
        let now = text(&remains);
        if now != told {
            note(&now);
            told = now;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Failure::new(Exit::Unavailable, format!("the node is not empty yet: {told}")));
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn verdict(remains: &DrainNodeResponse) -> String {
    let node = remains.node.strip_prefix("nodes/").unwrap_or(&remains.node);
    match remains.safe_to_delete {
        true => format!("{node} takes no more events and holds nothing: safe to delete"),
        false => format!("{node} takes no more events; {}", text(remains)),
    }
}

/// What remains: what is zero is left out.
fn text(remains: &DrainNodeResponse) -> String {
    let parts = [
        (remains.pending_count, "open delivery", "open deliveries"),
        (
            remains.unexported_dead_letter_count,
            "dead letter that was not exported",
            "dead letters that were not exported",
        ),
        (remains.unacked_report_count, "report that is not acked", "reports that are not acked"),
        (remains.open_stream_count, "producer", "producers"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| {
            let number = u64::try_from(number).unwrap_or(0);
            if number == 1 { format!("1 {one}") } else { format!("{} {many}", thousands(number)) }
        })
        .collect();
    if parts.is_empty() { "nothing remains".to_owned() } else { format!("remaining: {}", parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_shown_and_the_end_says_that_it_is_safe() {
        let mut remains = DrainNodeResponse {
            node: "nodes/n1".into(),
            pending_count: 1,
            unexported_dead_letter_count: 1_200,
            ..DrainNodeResponse::default()
        };
        assert_eq!(
            verdict(&remains),
            "n1 takes no more events; remaining: 1 open delivery, 1,200 dead letters that were not exported"
        );
        remains = DrainNodeResponse { node: "nodes/n1".into(), safe_to_delete: true, ..DrainNodeResponse::default() };
        assert!(verdict(&remains).ends_with("safe to delete"));
    }
}
