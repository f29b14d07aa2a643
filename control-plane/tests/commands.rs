//! What operators ask of single nodes, and the protocol of command streams.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use sluice_proto::node::v1::{
    CommandResult, CommandsOpen, DrainNodeRequest, DrainNodeResponse, GetLedgerRequest, GetSpoolStatsRequest,
    NodeLedger, SpoolStats, command::Command as What, command_result::Result as Outcome,
    serve_commands_request::Message,
};
use tonic::{Code, Status};

use self::support::{Plane, commanded::CommandStream, fields, reason};

#[tokio::test]
async fn a_nodes_spool_ledger_and_drain_are_asked_of_that_node() {
    let plane = Plane::start().await;
    let (_a, mut a) = plane.commanded("a").await;
    let (_b, _never_asked) = plane.commanded("b").await;
    let name = || "nodes/a".to_owned();

    let mut client = plane.nodes();
    let stats = tokio::spawn(async move { client.get_spool_stats(GetSpoolStatsRequest { name: name() }).await });
    let command = a.next().await;
    assert!(matches!(command.command, Some(What::ReadSpoolStats(_))));
    a.last(&command, Outcome::SpoolStats(SpoolStats { node: name(), pending_count: 7, ..Default::default() })).await;
    assert_eq!(stats.await.unwrap().unwrap().into_inner().pending_count, 7);

    let mut client = plane.nodes();
    let drain = tokio::spawn(async move { client.drain_node(DrainNodeRequest { name: name() }).await });
    let command = a.next().await;
    assert!(matches!(command.command, Some(What::Drain(_))));
    a.last(&command, Outcome::Drain(DrainNodeResponse { safe_to_delete: true, ..Default::default() })).await;
    assert!(drain.await.unwrap().unwrap().into_inner().safe_to_delete);

    let mut client = plane.nodes();
    let ledger = tokio::spawn(async move { client.get_ledger(GetLedgerRequest { name: name() }).await });
    let command = a.next().await;
    a.last(&command, Outcome::Ledger(NodeLedger { node: name(), ..Default::default() })).await;
    assert_eq!(ledger.await.unwrap().unwrap().into_inner().ledgers.len(), 1);
}

#[tokio::test]
async fn every_ledger_is_read_and_who_gave_none_is_named() {
    let plane = Plane::start().await;
    let (_a, mut a) = plane.commanded("a").await;
    let (_b, mut b) = plane.commanded("b").await;
    let mut client = plane.nodes();
    let asked = tokio::spawn(async move { client.get_ledger(GetLedgerRequest { name: "nodes/-".into() }).await });
    let command = a.next().await;
    a.last(&command, Outcome::Ledger(NodeLedger { node: "nodes/a".into(), ..Default::default() })).await;
    let command = b.next().await;
    b.last(&command, Outcome::Drain(DrainNodeResponse::default())).await;
    let answer = asked.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.ledgers.iter().map(|ledger| ledger.node.as_str()).collect::<Vec<_>>(), ["nodes/a"]);
    assert_eq!(answer.unreachable_nodes[0].reason, "its answer does not fit the question");
}

#[tokio::test]
async fn a_node_that_is_unknown_or_gone_is_told_apart() {
    let plane = Plane::start().await;
    let drain = async |name: &str| -> Status {
        plane.nodes().drain_node(DrainNodeRequest { name: name.into() }).await.unwrap_err()
    };
    assert_eq!(fields(&drain("a").await), ["name"]);
    assert_eq!(fields(&drain("nodes/-").await), ["name"], "one at a time");
    assert_eq!(reason(&drain("nodes/a").await), (Code::NotFound, "NODE_NOT_FOUND".into()));
    drop(plane.commanded("a").await);
    plane.gone("a").await;
    let status = drain("nodes/a").await;
    assert_eq!(reason(&status), (Code::Unavailable, "NODE_UNREACHABLE".into()));
    assert_eq!(status.message(), "nodes/a gave no answer: not connected");
}

#[tokio::test]
async fn command_streams_that_break_the_protocol_are_refused() {
    let plane = Plane::start().await;
    let open = |node: &str| Message::Open(CommandsOpen { node: node.into(), instance: "1".into() });
    for first in [Message::Result(CommandResult::default()), open("a"), open("nodes/A")] {
        let status = CommandStream::begin(plane.channel.clone(), first).await.receive().await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "PROTOCOL_VIOLATION".into()));
    }
    let mut stream = CommandStream::begin(plane.channel.clone(), open("nodes/a")).await;
    stream.say(open("nodes/a")).await;
    assert_eq!(reason(&stream.receive().await.unwrap_err()).1, "PROTOCOL_VIOLATION");
}

#[tokio::test]
async fn a_newer_command_stream_replaces_the_older_and_all_end_when_the_control_plane_stops() {
    let mut plane = Plane::start().await;
    let (_catalog, mut older) = plane.commanded("a").await;
    let mut client = plane.nodes();
    tokio::spawn(async move { client.get_ledger(GetLedgerRequest { name: "nodes/a".into() }).await });
    older.next().await;
    let mut newer = CommandStream::open(plane.channel.clone(), "a").await;
    assert_eq!(reason(&older.receive().await.unwrap_err()), (Code::Aborted, "SESSION_REPLACED".into()));
    newer.next().await;
    plane.stop().await;
    assert_eq!(reason(&newer.receive().await.unwrap_err()), (Code::Unavailable, "STOPPING".into()));
}
