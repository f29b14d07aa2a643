//! A node that drains takes nothing new, delivers what it holds, and says when it is safe to delete; one that is told to stop
//! finishes what is in flight.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sluice_client::Publisher;
use sluice_proto::{
    delivery::v1::{ExportDeadLettersRequest, MarkDeadLettersExportedRequest},
    event::v1::{Event, Open, SendEventsRequest, StreamEventsRequest, stream_events_request, stream_events_response},
    node::v1::{DrainNodeRequest, DrainNodeResponse, GetSpoolStatsRequest, ListNodesRequest, SpoolStats},
    sync::v1::{CreateSyncRequest, GetSyncRequest, Sync},
};
use sluice_tests::{
    cluster::{Cluster, eventually},
    endpoint::{Endpoint, Received, status},
    events::{SyncBuilder as _, event, sync_to},
    process::{Plane, Setup, asked_again},
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn drain(cluster: &Cluster) -> DrainNodeResponse {
    let mut nodes = sluice_client::node_client(cluster.control_channel().await);
    eventually("the node answers", async || {
        let asked = nodes.drain_node(DrainNodeRequest { name: "nodes/n1".into() }).await;
        // For a node that waits before it dials again.
        cluster.time.advance(Duration::from_millis(100));
        asked.ok().map(tonic::Response::into_inner)
    })
    .await
}

#[tokio::test]
async fn a_draining_node_takes_nothing_new_and_delivers_what_it_holds() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    endpoint.always(status(400));
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("signup", "1"), event("signup", "2")]).await;
    endpoint.wait_for(2).await;

    let (requests, outgoing) = mpsc::channel(4);
    let open = Open { producer_id: "p".into(), first_sequence: 1 };
    let message = Some(stream_events_request::Message::Open(open));
    requests.send(StreamEventsRequest { message }).await.unwrap();
    let outgoing = ReceiverStream::new(outgoing);
    let mut stream = cluster.events().await.stream_events(outgoing).await.unwrap().into_inner();
    let said = stream.message().await.unwrap().unwrap().message.unwrap();
    assert!(matches!(said, stream_events_response::Message::Opened(_)));

    let remains = drain(&cluster).await;
    assert_eq!((remains.node.as_str(), remains.pending_count, remains.safe_to_delete), ("nodes/n1", 2, false));
    let said = stream.message().await.unwrap().unwrap().message.unwrap();
    assert!(matches!(said, stream_events_response::Message::Closing(_)), "producers are told to go elsewhere");
    assert!(stream.message().await.unwrap().is_none());
    let refused = SendEventsRequest { events: vec![Event::default()], ..Default::default() };
    let status_of = cluster.events().await.send_events(refused).await.unwrap_err();
    assert_eq!((status_of.code(), status_of.message()), (Code::Unavailable, "this node drains: go to another"));
    let channel = sluice_client::connect(&cluster.node_url()).await.unwrap();
    eventually("health says so", async || {
        let request = HealthCheckRequest { service: String::new() };
        let health = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        (health.status() == ServingStatus::NotServing).then_some(())
    })
    .await;
    // The list says so at once.
    let mut nodes = sluice_client::node_client(cluster.control_channel().await);
    let nodes = nodes.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
    assert!(nodes[0].connected && nodes[0].draining);

    endpoint.always(status(200));
    // To the second round, a minute after the first.
    cluster.time.advance(Duration::from_secs(90));
    eventually("what it held is delivered", async || drain(&cluster).await.safe_to_delete.then_some(())).await;

    cluster.stop_node().await;
    cluster.start_node().await;
    cluster.serving().await;
    cluster.send([event("signup", "3")]).await;
    let all = cluster.settled().await;
    assert_eq!(all.deliveries[0].1.delivered, 3, "a restart ends the drain");
}

#[tokio::test]
async fn dead_letters_keep_a_node_until_they_are_exported() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/")).template("${input.no_such_thing}")).await;
    cluster.send([event("signup", "1"), event("signup", "2")]).await;
    cluster.settled().await;
    let remains = eventually("only the dead letters remain", async || {
        let remains = drain(&cluster).await;
        (remains.unacked_report_count == 0 && remains.open_stream_count == 0).then_some(remains)
    })
    .await;
    assert_eq!((remains.pending_count, remains.unexported_dead_letter_count, remains.safe_to_delete), (0, 2, false));

    let mut client = cluster.deliveries().await;
    let parent = "projects/default/syncs/-".to_owned();
    let request = ExportDeadLettersRequest { parent: parent.clone(), filter: None };
    let mut stream = client.export_dead_letters(request).await.unwrap().into_inner();
    let letters = stream.message().await.unwrap().unwrap().dead_letters;
    assert!(!drain(&cluster).await.safe_to_delete, "sent is not kept yet");
    let deliveries = letters.into_iter().map(|letter| letter.delivery).collect();
    client.mark_dead_letters_exported(MarkDeadLettersExportedRequest { parent, deliveries }).await.unwrap();
    assert!(drain(&cluster).await.safe_to_delete);
}

#[tokio::test]
async fn reports_that_the_control_plane_lacks_keep_a_node() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.stop_control_plane().await;
    cluster.send([event("signup", "1")]).await;
    cluster.settled().await;
    cluster.node().drain();
    cluster.start_control_plane().await;
    eventually("the reports have arrived, and it is safe", async || {
        cluster.time.advance(Duration::from_millis(100));
        let mut nodes = sluice_client::node_client(cluster.control_channel().await);
        let remains = nodes.drain_node(DrainNodeRequest { name: "nodes/n1".into() }).await.ok()?.into_inner();
        assert_eq!(remains.safe_to_delete, remains.unacked_report_count == 0);
        remains.safe_to_delete.then_some(())
    })
    .await;
    cluster.wait_for_attempts("s", 1).await;
}

/// The real processes, a sync that takes its time, and events that are on their way to it.
struct InFlight {
    _folder: TempDir,
    control_plane: Plane,
    node: Plane,
    endpoint: Endpoint,
    node_folder: PathBuf,
}

const HELD: usize = 5;

/// A sync whose requests may take long.
fn patient(url: &str) -> Sync {
    let mut sync = sync_to(url);
    sync.destination.as_mut().unwrap().timeout = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    sync
}

async fn in_flight(stop_grace: &str) -> InFlight {
    let folder = tempfile::tempdir().unwrap();
    let node_folder = folder.path().join("node");
    let endpoint = Endpoint::start().await;
    let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
    let setup = Setup { args: vec!["--stop-grace".into(), stop_grace.into()], ..Setup::default() };
    let node = Plane::node_with(&node_folder, "127.0.0.1:0", control_plane.address(), &setup).await.unwrap();
    let mut syncs = sluice_client::sync_client(sluice_client::connect(&control_plane.url()).await.unwrap());
    let request = CreateSyncRequest {
        parent: "projects/default".into(),
        sync_id: "s".into(),
        sync: Some(patient(&endpoint.url("/"))),
        validate_only: false,
        ..Default::default()
    };
    syncs.create_sync(request).await.unwrap();
    serving(&control_plane).await;
    endpoint.hold();
    let publisher = Publisher::builder(&node.url()).connect().await.unwrap();
    for n in 0..HELD {
        publisher.send(event("signup", &n.to_string())).await.unwrap();
    }
    publisher.finish().await.unwrap();
    endpoint.wait_for_count(HELD).await;
    InFlight { _folder: folder, control_plane, node, endpoint, node_folder }
}

/// Waits until the node serves the sync.
async fn serving(control_plane: &Plane) {
    let mut syncs = sluice_client::sync_client(sluice_client::connect(&control_plane.url()).await.unwrap());
    asked_again("the node serves the sync", async || {
        let name = "projects/default/syncs/s".to_owned();
        let sync = syncs.get_sync(GetSyncRequest { name }).await.ok()?.into_inner();
        (sync.rollout.unwrap_or_default().serving_count == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_what_is_in_flight_finish_and_exits_0() {
    let InFlight { _folder, control_plane, node, endpoint, node_folder } = in_flight("30").await;
    node.signal("TERM").await;
    // It takes nothing new from then on.
    asked_again("the node listens no more", async || sluice_client::connect(&node.url()).await.is_err().then_some(()))
        .await;
    endpoint.release();
    let mut node = node;
    assert_eq!(node.ended().await.code(), Some(0));

    let _node = Plane::node(&node_folder, "127.0.0.1:0", control_plane.address()).await;
    let stats = stats(&control_plane).await;
    assert_eq!((stats.pending_count, endpoint.count()), (0, HELD), "each was made once, and nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_after_the_grace_is_made_again() {
    let InFlight { _folder, control_plane, node, endpoint, node_folder } = in_flight("0").await;
    assert_eq!(node.terminate().await.code(), Some(0));
    made_again(&control_plane, &endpoint, &node_folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_exits_at_once_with_0_and_loses_nothing() {
    let InFlight { _folder, control_plane, mut node, endpoint, node_folder } = in_flight("3600").await;
    let began = Instant::now();
    node.signal("TERM").await;
    asked_again("the node listens no more", async || sluice_client::connect(&node.url()).await.is_err().then_some(()))
        .await;
    node.signal("INT").await;
    assert_eq!(node.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(30), "it did not wait for the requests");
    made_again(&control_plane, &endpoint, &node_folder).await;
}

/// After the next start every delivery is made again, with the same `webhook-id`.
async fn made_again(control_plane: &Plane, endpoint: &Endpoint, node_folder: &Path) {
    let ids = |requests: &[Received]| {
        let mut ids: Vec<_> = requests.iter().map(|request| request.header("webhook-id").to_owned()).collect();
        ids.sort_unstable();
        ids
    };
    let first = ids(&endpoint.received());
    endpoint.release();
    let _node = Plane::node(node_folder, "127.0.0.1:0", control_plane.address()).await;
    endpoint.wait_for_count(2 * HELD).await;
    assert_eq!(ids(&endpoint.received()[HELD..]), first);
    asked_again("all are delivered", async || (stats(control_plane).await.pending_count == 0).then_some(())).await;
}

async fn stats(control_plane: &Plane) -> SpoolStats {
    let mut nodes = sluice_client::node_client(sluice_client::connect(&control_plane.url()).await.unwrap());
    asked_again("the node tells its figures", async || {
        let asked = nodes.get_spool_stats(GetSpoolStatsRequest { name: "nodes/n1".into() }).await;
        asked.ok().map(tonic::Response::into_inner)
    })
    .await
}
