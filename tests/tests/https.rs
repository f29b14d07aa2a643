//! The HTTPS client, seen in reports: whom a sync trusts, what was spoken, and where the time went.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, time::Duration};

use sluice_proto::{
    delivery::v1::{Attempt, AttemptError, AttemptTimings},
    sync::v1::Sync,
};
use sluice_tests::{
    cluster::Cluster,
    endpoint::{Endpoint, status},
    events::{event, sync_to},
};
use tempfile::TempDir;

/// An endpoint with a CA of its own, and that CA.
async fn with_own_ca() -> (Endpoint, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("ca.pem");
    let endpoint = Endpoint::start_tls(&file).await;
    (endpoint, fs::read_to_string(file).unwrap())
}

fn trusting(url: &str, ca: &str) -> Sync {
    let mut sync = sync_to(url);
    sync.destination.as_mut().unwrap().trusted_ca_pem = ca.to_owned();
    sync
}

fn timings(attempt: &Attempt) -> AttemptTimings {
    let timings = attempt.timings.unwrap();
    let known = |part: Option<prost_types::Duration>| part.map_or(Duration::ZERO, |part| part.try_into().unwrap());
    let parts = [timings.dns, timings.connect, timings.tls, timings.first_byte];
    let sum: Duration = parts.into_iter().map(known).sum();
    assert!(sum <= known(timings.total), "the phases follow each other: {timings:?}");
    assert!(timings.queue.is_some() && timings.total.is_some(), "{timings:?}");
    timings
}

#[tokio::test]
async fn each_sync_trusts_its_own_authority_only() {
    let cluster = Cluster::start().await;
    let ((one, ca_of_one), (other, ca_of_other)) = (with_own_ca().await, with_own_ca().await);
    cluster.create("one", trusting(&one.url("/"), &ca_of_one)).await;
    cluster.create("other", trusting(&other.url("/"), &ca_of_other)).await;
    let wrong = cluster.create("wrong", trusting(&one.url("/wrong"), &ca_of_other)).await;
    cluster.create("none", sync_to(&other.url("/none"))).await;
    cluster.send([event("a", "1")]).await;
    one.wait_for_count(1).await;
    other.wait_for_count(1).await;
    for id in ["wrong", "none"] {
        let attempt = cluster.wait_for_attempts(id, 1).await.remove(0);
        assert_eq!((attempt.error(), attempt.http_status), (AttemptError::Tls, 0), "{attempt:?}");
        assert!(attempt.error_message.contains("certificate"), "{}", attempt.error_message);
    }

    // The right authority is given: what waits is delivered in its next round.
    let mended = trusting(&one.url("/mended"), &ca_of_one);
    cluster.update(Sync { name: wrong.name, etag: String::new(), ..mended }).await;
    cluster.disable("none").await;
    cluster.next_round().await;
    assert_eq!(one.wait_for(2).await[1].path, "/mended");
    cluster.redialling(cluster.wait_for_attempts("wrong", 2)).await;
}

#[tokio::test]
async fn reports_tell_what_was_spoken_and_where_the_time_went() {
    let cluster = Cluster::start().await;
    let (endpoint, ca) = with_own_ca().await;
    let plain = Endpoint::start().await;
    cluster.create("https", trusting(&endpoint.url("/"), &ca)).await;
    cluster.create("http", sync_to(&plain.url("/"))).await;
    for n in 1..=2 {
        cluster.send([event("a", &n.to_string())]).await;
        cluster.wait_for_attempts("https", n).await;
        cluster.wait_for_attempts("http", n).await;
    }
    let secure = cluster.attempts("https").await;
    assert_eq!([&*secure[0].http_version, &*secure[1].http_version], ["2", "2"]);
    assert_eq!([secure[0].connection_reused, secure[1].connection_reused], [false, true]);
    let first = timings(&secure[0]);
    assert!(first.dns.is_some() && first.connect.is_some() && first.tls.is_some(), "{first:?}");
    let second = timings(&secure[1]);
    assert_eq!((second.dns, second.connect, second.tls), (None, None, None), "the connection was there");
    let open = cluster.attempts("http").await;
    assert_eq!((&*open[0].http_version, open[0].connection_reused, open[1].connection_reused), ("1.1", false, true));
    assert_eq!(timings(&open[0]).tls, None);
    let stats = cluster.node().client_stats();
    assert_eq!((stats.requests, stats.reused, stats.opened), (4, 2, 2));
}

#[tokio::test]
async fn a_failure_says_what_to_do() {
    let cluster = Cluster::start().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing = Endpoint::start().await;
    refusing.always(status(404));
    cluster.create("connect", sync_to(&format!("http://{nobody}/"))).await;
    cluster.create("dns", sync_to("https://no-such-host.invalid/")).await;
    cluster.create("status", sync_to(&refusing.url("/"))).await;
    cluster.send([event("a", "1")]).await;
    for (id, error) in
        [("connect", AttemptError::Connect), ("dns", AttemptError::Dns), ("status", AttemptError::Status)]
    {
        let attempt = cluster.wait_for_attempts(id, 1).await.remove(0);
        assert_eq!(attempt.error(), error, "{attempt:?}");
        assert!(attempt.error_message.split(' ').count() > 5, "{id}: a sentence: {}", attempt.error_message);
    }
}
