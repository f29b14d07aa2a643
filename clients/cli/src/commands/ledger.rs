//! `sluice ledger`: what nodes have counted, and whether it adds up.

use clap::Args;
use sluice_client::proto::node::v1::{DeliveryLedger, EventLedger, GetLedgerRequest, GetLedgerResponse, NodeLedger};

use crate::{
    context::{Context, call},
    exit::{Exit, Failure},
    output::{print, table},
    proto_json::Printed,
    unreachable,
};

/// Whose ledger.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice ledger                               # every node's
  sluice ledger node-1
  sluice ledger -o json | jq '.ledgers[].deliveries[] | select(.pending_count > 0)'

Exact at any moment, counted since a node's spool was made:
  events       received = rejected + duplicate + unmatched + matched
  deliveries   created + redelivered = delivered + expired + discarded + pending
  both         what events of a project have created = what its syncs have been given
The exit code is 1 if one of these does not hold, which is a defect, and 5 if a node gave no answer.")]
pub(crate) struct LedgerArgs {
    /// The node, such as `node-1`; every node if it is left out
    #[arg(value_name = "NODE")]
    name: Option<String>,
}

pub(crate) async fn run(context: &Context, args: LedgerArgs) -> Result<(), Failure> {
    let name = match args.name.as_deref() {
        None | Some("-") => "nodes/-".to_owned(),
        Some(node) => super::nodes::node_name(node)?,
    };
    let answer = context.nodes().await?.get_ledger(call(GetLedgerRequest { name })).await?.into_inner();
    let printed = Printed::new("sluice.node.v1.GetLedgerResponse", &answer)?;
    print(context.format, &printed, || Ok(show(&answer)))?;
    let wrong: Vec<String> = answer.ledgers.iter().flat_map(violations).collect();
    if !wrong.is_empty() {
        let mut failure = Failure::new(Exit::Failed, "the ledger does not add up");
        failure.details = wrong;
        return Err(failure);
    }
    unreachable::check(&answer.unreachable_nodes)
}

fn show(answer: &GetLedgerResponse) -> String {
    if answer.ledgers.is_empty() {
        return "no node has answered".to_owned();
    }
    answer.ledgers.iter().map(show_node).collect::<Vec<_>>().join("\n\n")
}

fn show_node(ledger: &NodeLedger) -> String {
    let number = |number: i64| number.to_string();
    let events = ledger.events.iter().map(|row| {
        let counts = [
            row.received_count,
            row.rejected_count,
            row.duplicate_count,
            row.unmatched_count,
            row.matched_count,
            row.created_count,
        ];
        let name = row.project.strip_prefix("projects/").unwrap_or(&row.project).to_owned();
        let holds = holds(event_sum(row)).to_owned();
        [vec![name], counts.map(number).into(), vec![holds]].concat()
    });
    let deliveries = ledger.deliveries.iter().map(|row| {
        let counts = [
            row.created_count,
            row.redelivered_count,
            row.delivered_count,
            row.expired_count,
            row.discarded_count,
            row.pending_count,
            row.dead_letter_count,
            row.removed_count,
        ];
        let name = row.sync.rsplit_once('/').map_or(row.sync.as_str(), |(_, id)| id).to_owned();
        let holds = holds(delivery_sum(row)).to_owned();
        [vec![name], counts.map(number).into(), vec![holds]].concat()
    });
    let node = ledger.node.strip_prefix("nodes/").unwrap_or(&ledger.node);
    let headline = if violations(ledger).is_empty() { "adds up" } else { "DOES NOT ADD UP" };
    let events =
        table(&["PROJECT", "RECEIVED", "REJECTED", "DUPLICATE", "UNMATCHED", "MATCHED", "CREATED", "HOLDS"], events);
    let deliveries = table(
        &[
            "SYNC",
            "CREATED",
            "REDELIVERED",
            "DELIVERED",
            "EXPIRED",
            "DISCARDED",
            "PENDING",
            "DEAD LETTERS",
            "REMOVED",
            "HOLDS",
        ],
        deliveries,
    );
    format!("node {node}: {headline}\n\n{events}\n\n{deliveries}")
}

fn holds(sums: [i64; 2]) -> &'static str {
    if sums[0] == sums[1] { "yes" } else { "NO" }
}

/// Both sides of the equation of events.
fn event_sum(row: &EventLedger) -> [i64; 2] {
    [row.received_count, row.rejected_count + row.duplicate_count + row.unmatched_count + row.matched_count]
}

/// Both sides of the equation of deliveries.
fn delivery_sum(row: &DeliveryLedger) -> [i64; 2] {
    [
        row.created_count + row.redelivered_count,
        row.delivered_count + row.expired_count + row.discarded_count + row.pending_count,
    ]
}

/// Every equation that does not hold, with both its sides.
fn violations(ledger: &NodeLedger) -> Vec<String> {
    let mut found = Vec::new();
    let node = &ledger.node;
    for row in &ledger.events {
        let [received, sum] = event_sum(row);
        if received != sum {
            let parts = "rejected + duplicate + unmatched + matched";
            found.push(format!("{node}, {}: received {received}, {parts} {sum}", row.project));
        }
        let within = format!("{}/", row.project);
        let created: i64 =
            ledger.deliveries.iter().filter(|sync| sync.sync.starts_with(&within)).map(|sync| sync.created_count).sum();
        if created != row.created_count {
            let counted = row.created_count;
            found.push(format!("{node}, {}: events created {counted} deliveries, syncs got {created}", row.project));
        }
    }
    for row in &ledger.deliveries {
        let [given, sum] = delivery_sum(row);
        if given != sum {
            let parts = "delivered + expired + discarded + pending";
            found.push(format!("{node}, {}: created + redelivered {given}, {parts} {sum}", row.sync));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> NodeLedger {
        let events = EventLedger {
            project: "projects/default".into(),
            received_count: 10,
            rejected_count: 1,
            duplicate_count: 2,
            unmatched_count: 3,
            matched_count: 4,
            created_count: 5,
        };
        let deliveries = DeliveryLedger {
            sync: "projects/default/syncs/orders".into(),
            created_count: 5,
            redelivered_count: 1,
            delivered_count: 2,
            expired_count: 1,
            discarded_count: 1,
            pending_count: 2,
            ..DeliveryLedger::default()
        };
        NodeLedger { node: "nodes/n1".into(), events: vec![events], deliveries: vec![deliveries] }
    }

    #[test]
    fn a_ledger_that_adds_up_says_so() {
        assert_eq!(violations(&ledger()), Vec::<String>::new());
        let shown = show(&GetLedgerResponse { ledgers: vec![ledger()], unreachable_nodes: Vec::new() });
        assert!(shown.starts_with("node n1: adds up\n") && !shown.contains("NO"), "{shown}");
    }

    #[test]
    fn every_equation_is_checked() {
        let mut wrong = ledger();
        wrong.events[0].received_count = 11;
        wrong.deliveries[0].created_count = 6;
        let found = violations(&wrong);
        assert_eq!(
            found,
            [
                "nodes/n1, projects/default: received 11, rejected + duplicate + unmatched + matched 10",
                "nodes/n1, projects/default: events created 5 deliveries, syncs got 6",
                "nodes/n1, projects/default/syncs/orders: created + redelivered 7, delivered + expired + discarded + \
                 pending 6",
            ]
        );
        assert!(show_node(&wrong).contains("DOES NOT ADD UP"));
    }
}
