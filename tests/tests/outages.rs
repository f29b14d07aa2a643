//! One part is gone, the others go on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use sluice_node::{
    Node,
    spool::SpoolLimits,
    spool::store::{DeliveryCounts, Ledger},
};
use sluice_proto::{event::v1::Event, event::v1::SendEventsRequest};
use sluice_tests::{
    cluster::{Cluster, eventually, rules, sync_name},
    endpoint::{Endpoint, status},
    events::{event, export, sync_to},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

#[tokio::test]
async fn deliveries_go_on_without_the_control_plane_and_reports_arrive_once() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    cluster.send((0..20).map(|n| event("before", &n.to_string()))).await;
    endpoint.wait_for(20).await;
    cluster.stop_control_plane().await;
    cluster.send((0..300).map(|n| event("during", &n.to_string()))).await;
    endpoint.wait_for(320).await;
    // A restart of the node in between: it delivers from its own copy of the catalog.
    cluster.stop_node().await;
    cluster.start_node().await;
    cluster.send((0..80).map(|n| event("after a restart", &n.to_string()))).await;
    endpoint.wait_for(400).await;
    cluster.settled().await;

    cluster.start_control_plane().await;
    let attempts = eventually("every report has arrived", async || {
        cluster.time.advance(std::time::Duration::from_secs(1));
        let attempts = cluster.attempts("all").await;
        (attempts.len() >= 400).then_some(attempts)
    })
    .await;
    let deliveries: HashSet<_> = attempts.iter().map(|attempt| &attempt.delivery).collect();
    assert_eq!((attempts.len(), deliveries.len()), (400, 400));
    let metrics = eventually("every ending has arrived", async || {
        let metrics = cluster.metrics("all").await;
        (metrics.delivered_count >= 400).then_some(metrics)
    })
    .await;
    assert_eq!((metrics.delivered_count, metrics.attempt_count), (400, 400));
}

/// What a control plane that was gone for a week must learn: nothing is missing, nothing is there twice.
#[tokio::test]
async fn reports_of_a_week_without_the_control_plane_arrive_once() {
    const DAYS: usize = 7;
    const HOUR: Duration = Duration::from_secs(3_600);
    let (mut cluster, healthy, refusing) = (Cluster::start().await, Endpoint::start().await, Endpoint::start().await);
    refusing.always(status(400));
    cluster.create("healthy", sync_to(&healthy.url("/"))).await;
    cluster.create("refusing", sync_to(&refusing.url("/"))).await;
    cluster.stop_control_plane().await;
    for day in 1..=DAYS {
        cluster.send((0..40).map(|n| event("during", &format!("{day}-{n}")))).await;
        eventually("the healthy deliveries have ended", async || {
            let delivered = deliveries_of(&cluster.ledger().await, "healthy").delivered;
            (delivered == (40 * day) as i64).then_some(())
        })
        .await;
        // A little less than a week in all: the control plane keeps successes for seven days. So each hour's rounds end within it, or else
        // a busy machine would need more.
        for hour in 0..23 {
            if (day, hour) == (3, 1) || (day, hour) == (6, 0) {
                cluster.stop_node().await;
                cluster.start_node().await;
            }
            cluster.time.advance(HOUR);
            eventually("the hour's rounds end", async || {
                cluster.ledger().await;
                (cluster.node().figures().under_way() == 0).then_some(())
            })
            .await;
        }
        eventually("the day's deliveries have ended", async || {
            if cluster.node().figures().under_way() == 0 {
                cluster.time.advance(Duration::from_secs(60));
            }
            (deliveries_of(&cluster.ledger().await, "refusing").pending == 0).then_some(())
        })
        .await;
    }
    assert_eq!(healthy.count(), 40 * DAYS);

    cluster.start_control_plane().await;
    let ledger = cluster.settled().await;
    for id in ["healthy", "refusing"] {
        // The clock moves for a redial only: otherwise acks, which take their time on a busy machine, would count as late.
        let metrics = eventually("every ending has arrived", async || {
            let metrics = cluster.metrics(id).await;
            (metrics.delivered_count + metrics.expired_count >= 40 * DAYS as i64).then_some(metrics)
        });
        let metrics = cluster.redialling(metrics).await;
        let counts = deliveries_of(&ledger, id);
        assert_eq!((metrics.delivered_count, metrics.expired_count), (counts.delivered, counts.expired), "{id}");
        let attempts = cluster.attempts(id).await;
        assert_eq!(metrics.attempt_count, attempts.len() as i64, "{id}: within the bound each one is kept");
        let mut made: HashMap<&str, HashSet<(i32, i32)>> = HashMap::new();
        for attempt in &attempts {
            let first = made.entry(&attempt.delivery).or_default().insert((attempt.round, attempt.attempt));
            assert!(first, "{id}: an attempt was stored twice: {attempt:?}");
        }
        assert_eq!(made.len(), 40 * DAYS, "{id}");
        let letters = cluster.dead_letters(id).await;
        assert_eq!(letters.len() as i64, counts.expired, "{id}");
        for letter in letters {
            assert_eq!(made[&*letter.delivery].len(), letter.attempt_count as usize, "{id}: {letter:?}");
        }
    }
}

/// Beyond the bound on what a node keeps for a control plane that is gone, details are dropped; no count is.
#[tokio::test]
async fn reports_beyond_the_bound_arrive_as_counts() {
    const EVENTS: usize = 3_000;
    let spool = SpoolLimits { report_bytes: 256 << 10, ..SpoolLimits::default() };
    let (mut cluster, endpoint) = (Cluster::start_bounded(spool).await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    cluster.stop_control_plane().await;
    for n in 0..EVENTS / 500 {
        cluster.send((0..500).map(|m| event("during", &(n * 500 + m).to_string()))).await;
        cluster.settled().await;
        cluster.time.advance(Duration::from_secs(600));
    }
    let kept = eventually("the oldest are dropped", async || {
        let stats = cluster.node().spool_stats().await.unwrap();
        (stats.report_bytes <= 256 << 10).then_some(stats)
    })
    .await;
    assert!(kept.reports_dropped > 0, "{kept:?}");

    cluster.start_control_plane().await;
    let metrics = eventually("every count has arrived", async || {
        let metrics = cluster.metrics("all").await;
        (metrics.delivered_count >= EVENTS as i64 && metrics.attempt_count >= EVENTS as i64).then_some(metrics)
    });
    let metrics = cluster.redialling(metrics).await;
    assert_eq!((metrics.delivered_count, metrics.attempt_count), (EVENTS as i64, EVENTS as i64));
    let attempts = cluster.attempts("all").await.len();
    assert!((1..EVENTS).contains(&attempts), "{attempts} are known in detail");
}

fn deliveries_of(ledger: &Ledger, id: &str) -> DeliveryCounts {
    ledger.deliveries.iter().find(|(key, _)| *key.name == *sync_name(id)).map(|(_, counts)| *counts).unwrap_or_default()
}

#[tokio::test]
async fn a_node_without_a_catalog_does_not_serve() {
    let folder = tempfile::tempdir().unwrap();
    let node = lonely_node(folder.path(), "a").await;
    let channel = sluice_client::connect(&format!("http://{}", node.address())).await.unwrap();
    for service in ["sluice.event.v1.EventService", ""] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = HealthClient::new(channel.clone()).check(request).await.unwrap();
        assert_eq!(health.into_inner().status(), ServingStatus::NotServing, "`{service}`");
    }
    let events = vec![Event { json: event("a", "u"), ..Event::default() }];
    let request = SendEventsRequest { events, ..SendEventsRequest::default() };
    let refused = sluice_client::event_client(channel).send_events(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("no catalog yet"), "{refused}");
    node.stop().await;
}

async fn lonely_node(folder: &std::path::Path, name: &str) -> Node {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (clock, _) = sluice_host::clock::Clock::manual(0);
    sluice_node::start(sluice_node::Config::on_loopback(name, nobody, folder.join("node"), rules(), clock))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_dead_endpoint_holds_up_nobody_else() {
    let cluster = Cluster::start().await;
    let (good, bad) = (Endpoint::start().await, Endpoint::start().await);
    bad.always(status(503));
    cluster.create("good", sync_to(&good.url("/"))).await;
    cluster.create("bad", sync_to(&bad.url("/"))).await;
    let events = export();
    cluster.send(events.clone()).await;
    // The clock stands: the first attempts at the bad one wait for their second; more than its lane holds stay on disk.
    good.wait_for(events.len()).await;
    let ledger = cluster.ledger().await;
    let pending: i64 = ledger.deliveries.iter().map(|(_, counts)| counts.pending).sum();
    assert!(pending >= events.len() as i64, "{ledger:?}");
}

#[tokio::test]
async fn a_backlog_on_disk_is_delivered_once_and_whole() {
    let (mut cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    endpoint.always(status(400));
    let events = export();
    cluster.send(events.clone()).await;
    cluster.wait_for_attempts("all", events.len()).await;
    endpoint.always(status(200));
    cluster.stop_node().await;
    cluster.time.advance(std::time::Duration::from_secs(70));
    cluster.start_node().await;
    endpoint.wait_for(2 * events.len()).await;
    let ledger = cluster.settled().await;
    assert_eq!(ledger.deliveries[0].1.delivered, events.len() as i64);
    let by_id = endpoint.by_webhook_id();
    assert_eq!(by_id.len(), events.len());
    assert!(by_id.values().all(|requests| requests.len() == 2 && requests[0].body == requests[1].body));
}
