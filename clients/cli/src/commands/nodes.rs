//! `sluice nodes`: the nodes that the control plane knows.

use clap::Subcommand;
use sluice_client::proto::{
    name::{NodeName, is_valid_id},
    node::v1::{ListNodesRequest, Node},
};

use crate::{
    commands::nodes_drain::{self, DrainArgs},
    context::{Context, call},
    exit::Failure,
    output::{print, table, thousands, time},
    proto_json::Printed,
};

/// What to do with nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodesCommand {
    /// List the nodes, what they serve and whether they are connected
    #[command(after_help = "\
Examples:
  sluice nodes list
  sluice nodes list -o json | jq '.[] | select(.connected | not)'

A node whose REVISION is behind has not taken the newest syncs yet; REFUSED counts the syncs that it cannot compile.")]
    List,
    /// Have a node take no more events while it delivers what it holds
    Drain(DrainArgs),
}

pub(crate) async fn run(context: &Context, command: NodesCommand) -> Result<(), Failure> {
    match command {
        NodesCommand::List => list(context).await,
        NodesCommand::Drain(args) => nodes_drain::run(context, args).await,
    }
}

/// The full name that `name` stands for: `node-1` is `nodes/node-1`.
pub(crate) fn node_name(name: &str) -> Result<String, Failure> {
    if is_valid_id(name) {
        return Ok(format!("nodes/{name}"));
    }
    let name: NodeName =
        name.parse().map_err(|error| Failure::usage(format!("{error}; the id alone will do, such as `node-1`")))?;
    Ok(name.to_string())
}

async fn list(context: &Context) -> Result<(), Failure> {
    let mut client = context.nodes().await?;
    let mut nodes = Vec::<Node>::new();
    let mut page_token = String::new();
    loop {
        let request = ListNodesRequest { page_size: 1_000, page_token };
        let page = client.list_nodes(call(request)).await?.into_inner();
        nodes.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let printed: Vec<_> =
        nodes.iter().map(|node| Printed::new("sluice.node.v1.Node", node)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || Ok(show(&nodes)))
}

fn show(nodes: &[Node]) -> String {
    if nodes.is_empty() {
        return "no node has connected; start one with `sluice-node` or `sluice dev`".to_owned();
    }
    let rows = nodes.iter().map(|node| {
        vec![
            node.name.strip_prefix("nodes/").unwrap_or(&node.name).to_owned(),
            match (node.connected, node.draining) {
                (true, false) => "connected",
                (true, true) => "draining",
                (false, _) => "gone",
            }
            .to_owned(),
            node.revision.to_string(),
            node.refused_count.to_string(),
            thousands(u64::try_from(node.pending_count).unwrap_or(0)),
            node.ingest_address.clone(),
            node.product_version.clone(),
            time(node.state_change_time.as_ref()),
        ]
    });
    table(&["NODE", "STATE", "REVISION", "REFUSED", "PENDING", "TAKES EVENTS AT", "VERSION", "SINCE"], rows)
}
