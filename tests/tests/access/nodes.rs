//! How nodes join: by key or by certificate.

use sluice_client::{Connection, Credentials};
use sluice_proto::{
    access::v1::Role,
    node::v1::{
        Hello, ListNodesRequest, SyncCatalogRequest, node_session_service_client::NodeSessionServiceClient,
        sync_catalog_request::Message,
    },
};
use sluice_tests::{closed::Closed, cluster::eventually};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

/// Says hello as this node, and hears the first answer.
async fn hello(connection: Connection, node: &str) -> Result<(), Status> {
    let hello = Hello { node: node.to_owned(), protocol_version: sluice_proto::PROTOCOL_VERSION, ..Hello::default() };
    let first = SyncCatalogRequest { message: Some(Message::Hello(hello)) };
    let requests = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut answers = NodeSessionServiceClient::new(connection).sync_catalog(requests).await?.into_inner();
    answers.message().await.map(drop)
}

fn with_certificate(closed: &Closed, node: &str) -> Credentials {
    let (cert, key) = closed.authority.node(node);
    closed.anonymous().certificate(cert, key)
}

#[tokio::test]
async fn a_node_joins_by_its_certificate() {
    let mut closed = Closed::start().await;
    closed.stop_node().await;
    closed.start_node(with_certificate(&closed, "n1")).await;
    let mut client = sluice_client::node_client(closed.control().await);
    eventually("the node is connected", async || {
        let nodes = client.list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
        nodes.iter().any(|node| node.name == "nodes/n1" && node.connected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_of_one_node_and_opens_nothing_else() {
    let closed = Closed::start().await;
    let connection = with_certificate(&closed, "n2").connect(&closed.control_url()).await.unwrap();
    hello(connection.clone(), "nodes/n2").await.unwrap();
    let refused = hello(connection.clone(), "nodes/n3").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("nodes/n2 is not nodes/n3"), "{refused}");
    let refused = sluice_client::node_client(connection).list_nodes(ListNodesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_none() {
    let closed = Closed::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = sluice_tests::closed::Authority::new(folder.path()).node("n1");
    let connected = closed.anonymous().certificate(cert, key).connect(&closed.control_url()).await;
    // The handshake's end may reach the client before the server's refusal: then the first call fails.
    if let Ok(connection) = connected {
        let refused = hello(connection, "nodes/n1").await.unwrap_err();
        assert_ne!(refused.code(), Code::PermissionDenied, "{refused}");
    }
}

#[tokio::test]
async fn a_node_whose_key_is_revoked_is_disconnected() {
    let closed = Closed::start().await;
    let (name, text) = closed.key(Role::Node, "").await;
    let connection = closed.with_key(&text).connect(&closed.control_url()).await.unwrap();
    let hello =
        Hello { node: "nodes/n2".to_owned(), protocol_version: sluice_proto::PROTOCOL_VERSION, ..Hello::default() };
    let first = SyncCatalogRequest { message: Some(Message::Hello(hello)) };
    let requests = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut answers = NodeSessionServiceClient::new(connection).sync_catalog(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    closed.revoke(&name).await;
    let ended = loop {
        if let Err(status) = answers.message().await {
            break status;
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
}
