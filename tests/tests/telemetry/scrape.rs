use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use sluice_telemetry::TelemetryConfig;
use sluice_tests::{
    cluster::Cluster,
    endpoint::Endpoint,
    events::{event, sync_to},
};

async fn get(url: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let answer = client.get(url.parse().unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn prometheus_finds_the_same_without_a_backend() {
    let config = TelemetryConfig { scrape: Some("127.0.0.1:0".parse().unwrap()), ..TelemetryConfig::default() };
    let (cluster, endpoint) = (Cluster::start_telling(config).await, Endpoint::start().await);
    cluster.create("s", sync_to(&endpoint.url("/"))).await;
    cluster.send([event("a", "1"), event("a", "2")]).await;
    cluster.settled().await;

    let address = cluster.node().telemetry().scraped_at().unwrap();
    let (status, text) = get(&format!("http://{address}/metrics")).await;
    assert_eq!(status, 200);
    for line in [
        "sluice_events_total{sluice_outcome=\"matched\",sluice_project=\"default\"} 2",
        "sluice_deliveries_ended_total{sluice_outcome=\"delivered\",sluice_sync=\"projects/default/syncs/s\"} 2",
        "sluice_attempts_total{sluice_status_class=\"2xx\",sluice_sync=\"projects/default/syncs/s\"} 2",
        "sluice_attempt_duration_seconds_count{sluice_sync=\"projects/default/syncs/s\"} 2",
        "# TYPE sluice_spool_commit_duration_seconds histogram",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("target_info{") && text.contains("sluice_node=\"nodes/n1\""), "{text}");
    assert_eq!(get(&format!("http://{address}/")).await.0, 404);
}
