//! Logs by OTLP: with the ids of their trace, and at levels that change while the process runs. A process has one log, so these have
//! one process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use opentelemetry_proto::tonic::{common::v1::any_value::Value, logs::v1::LogRecord};
use sluice_proto::sync::v1::GetSyncRequest;
use sluice_telemetry::logs;
use sluice_tests::{
    cluster::{Cluster, sync_name},
    endpoint::Endpoint,
    events::{event, sync_to},
    otlp::Backend,
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn said(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|body| body.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

async fn refused_call(cluster: &Cluster) {
    let channel = cluster.control_channel().await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request = tonic::Request::new(GetSyncRequest { name: sync_name("s") });
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    let codec = tonic_prost::ProstCodec::<GetSyncRequest, GetSyncRequest>::default();
    let path = "/sluice.sync.v1.SyncService/NoSuchMethod".parse().unwrap();
    client.unary(request, path, codec).await.unwrap_err();
}

#[tokio::test]
async fn logs_have_the_ids_of_their_trace_and_levels_that_change() {
    let folder = tempfile::tempdir().unwrap();
    let filter = folder.path().join("filter");
    std::fs::write(&filter, "info\n").unwrap();
    let levels = logs::init(&format!("@{}", filter.display()), logs::LogFormat::Json).unwrap();
    let backend = Backend::start().await;
    // The node starts last: its log is exported.
    let (cluster, endpoint) = (Cluster::start_telling(backend.config_gzip()).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "u")]).await;
    cluster.settled().await;
    refused_call(&cluster).await;
    cluster.told().await;
    let records = backend.logs();
    assert!(records.iter().any(|record| said(record) == "the node runs"), "{records:?}");
    assert!(records.iter().all(|record| said(record) != "call refused"), "that is for debugging");

    std::fs::write(&filter, "sluice_access=debug,info\n").unwrap();
    levels.read_again();
    refused_call(&cluster).await;
    cluster.told().await;
    let records = backend.logs();
    let refused = records.iter().find(|record| said(record) == "call refused").unwrap();
    let spans = backend.spans("sluice-control-plane");
    let call = spans.iter().find(|span| span.span_id == refused.span_id).expect("the log names its call");
    assert_eq!(call.trace_id, refused.trace_id);
    assert_eq!(refused.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());

    // What is no filter changes nothing.
    std::fs::write(&filter, "sluice_access=loud").unwrap();
    levels.read_again();
    refused_call(&cluster).await;
    cluster.told().await;
    let refused = backend.logs().iter().filter(|record| said(record) == "call refused").count();
    assert_eq!(refused, 2);
    // The exporters' own libraries would feed themselves.
    std::fs::write(&filter, "trace").unwrap();
    levels.read_again();
    cluster.told().await;
    cluster.told().await;
    let carriers = ["h2", "hyper", "tonic", "tower", "opentelemetry"];
    let feeding: Vec<_> =
        backend.log_scopes().into_iter().filter(|scope| carriers.iter().any(|name| scope.starts_with(name))).collect();
    assert_eq!(feeding, [""; 0]);
}
