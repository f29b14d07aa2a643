//! Both planes tell what they serve, so that any gRPC client can use them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use sluice_client::Connection;
use sluice_tests::cluster::Cluster;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

async fn services(channel: Connection) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    match answers.message().await.unwrap().unwrap().message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_services_of_both_planes_are_listed() {
    let cluster = Cluster::start().await;
    let control_plane = services(cluster.control_channel().await).await;
    for service in [
        "sluice.sync.v1.SyncService",
        "sluice.delivery.v1.DeliveryService",
        "sluice.node.v1.NodeService",
        "grpc.health.v1.Health",
    ] {
        assert!(control_plane.iter().any(|listed| listed == service), "{service}: {control_plane:?}");
    }
    let node = services(sluice_client::connect(&cluster.node_url()).await.unwrap()).await;
    for service in ["sluice.event.v1.EventService", "grpc.health.v1.Health"] {
        assert!(node.iter().any(|listed| listed == service), "{service}: {node:?}");
    }
}
