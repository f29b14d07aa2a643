//! Syncs do not slow each other: endpoints that hang, are down or overloaded, and templates that take long are their own
//! sync's affair.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use sluice_node::{config::Limits, spool::store::Ledger};
use sluice_proto::delivery::v1::EndingReason;
use sluice_tests::{
    cluster::{Cluster, sync_name},
    endpoint::Endpoint,
    events::{SyncBuilder as _, event, sync_to},
};

const HEALTHY: usize = 90;
const HUNG: usize = 10;

/// Fewer places than the syncs that hang would take together.
fn few_places() -> Limits {
    Limits { max_concurrency: 64, max_concurrency_per_host: 64 }
}

fn pending(ledger: &Ledger, is_of: impl Fn(&str) -> bool) -> i64 {
    ledger.deliveries.iter().filter(|(key, _)| is_of(&key.name)).map(|(_, counts)| counts.pending).sum()
}

fn is_hung(name: &str) -> bool {
    name.contains("/hung-")
}

/// A hundred syncs, of which ten hang already with all the requests that they may have under way.
async fn beside_ten_that_hang(cluster: &Cluster, healthy: &Endpoint, hung: &Endpoint) {
    for n in 0..HUNG {
        cluster.create(&format!("hung-{n}"), sync_to(&hung.url(&format!("/hung/{n}")))).await;
    }
    for n in 0..HEALTHY {
        let sync = sync_to(&healthy.url(&format!("/healthy/{n}"))).event_types(&["for-all"]);
        cluster.create(&format!("healthy-{n}"), sync).await;
    }
    hung.hold_path("/hung/");
    cluster.send((0..20).map(|n| event("for-the-hung", &n.to_string()))).await;
    hung.wait_for_count(HUNG).await;
}

#[tokio::test]
async fn ninety_syncs_get_everything_while_ten_endpoints_hang() {
    let cluster = Cluster::start_limited(few_places()).await;
    let (healthy, hung) = (Endpoint::start().await, Endpoint::start().await);
    beside_ten_that_hang(&cluster, &healthy, &hung).await;
    cluster.send((0..20).map(|n| event("for-all", &n.to_string()))).await;
    // The clock stands: no healthy delivery waits until a hung one times out.
    healthy.wait_for_count(HEALTHY * 20).await;
    let ledger = cluster.ledger().await;
    assert_eq!(pending(&ledger, is_hung), (HUNG * 40) as i64);

    hung.release();
    let ledger = cluster.settled().await;
    assert!(ledger.deliveries.iter().all(|(key, counts)| counts.delivered == if is_hung(&key.name) { 40 } else { 20 }));
    assert_eq!((healthy.count(), hung.count()), (HEALTHY * 20, HUNG * 40), "each was made once");
}

#[tokio::test]
async fn ten_that_hang_leave_places_of_the_host_that_they_share() {
    let cluster = Cluster::start_limited(few_places()).await;
    let host = Endpoint::start().await;
    beside_ten_that_hang(&cluster, &host, &host).await;
    cluster.send((0..5).map(|n| event("for-all", &n.to_string()))).await;
    sluice_tests::cluster::eventually("the healthy ones have got everything", async || {
        let ledger = cluster.ledger().await;
        (pending(&ledger, |name| !is_hung(name)) == 0).then_some(())
    })
    .await;
    assert_eq!(pending(&cluster.ledger().await, is_hung), (HUNG * 25) as i64);
    host.release();
    cluster.settled().await;
}

#[tokio::test]
async fn a_template_at_the_step_limit_slows_its_own_sync_only() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    let endless = r#"<#list 1..1000000000 as n><#assign m = n * 2></#list>{"n": ${m}}"#;
    cluster.create("endless", sync_to(&endpoint.url("/")).template(endless)).await;
    for n in 0..99 {
        let sync = sync_to(&endpoint.url("/")).event_types(&["for-all"]).template(r#"{"id": "${input.user_id}"}"#);
        cluster.create(&format!("healthy-{n}"), sync).await;
    }
    cluster.send((0..30).map(|n| event("for-the-endless", &n.to_string()))).await;
    cluster.send((0..5).map(|n| event("for-all", &n.to_string()))).await;
    endpoint.wait_for_count(99 * 5).await;
    let waiting = pending(&cluster.ledger().await, |name| name.ends_with("/endless"));
    assert!(waiting > 0, "all others came first");
    let ledger = cluster.settled().await;
    let (_, counts) = ledger.deliveries.iter().find(|(key, _)| *key.name == *sync_name("endless")).unwrap();
    assert_eq!((counts.discarded, endpoint.count()), (35, 99 * 5));
    let letters = cluster.dead_letters("endless").await;
    assert!(letters.iter().all(|letter| letter.reason() == EndingReason::Render));
}
