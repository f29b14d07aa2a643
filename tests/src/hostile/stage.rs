//! A node with two syncs: one to a hostile endpoint, one to a healthy one that must not notice.

use std::{path::Path, time::Duration};

use sluice_node::http::ClientStats;
use sluice_proto::{
    delivery::v1::{Attempt, AttemptError, AttemptOutcome},
    sync::v1::Sync,
};

use super::HostileEndpoint;
use crate::{
    cluster::{Cluster, eventually},
    endpoint::Endpoint,
    events::{event, sync_to},
};

/// A cluster, the two endpoints, and a sync to each: `hostile` and `healthy`.
pub struct Stage {
    /// Both planes.
    pub cluster: Cluster,
    /// Answers 200.
    pub healthy: Endpoint,
    /// The other one.
    pub hostile: HostileEndpoint,
}

impl Stage {
    /// With this hostile endpoint.
    pub async fn with(hostile: HostileEndpoint) -> Self {
        Self::with_sync(hostile, None, |sync| sync).await
    }

    /// The same with a node that trusts the CA in this file.
    pub async fn trusting(ca_file: &Path, hostile: HostileEndpoint) -> Self {
        Self::with_sync(hostile, Some(ca_file), |sync| sync).await
    }

    /// The same with a sync to the hostile endpoint that is changed like this.
    pub async fn with_sync(hostile: HostileEndpoint, ca_file: Option<&Path>, change: impl Fn(Sync) -> Sync) -> Self {
        let (cluster, healthy) = (Cluster::start_trusting(ca_file).await, Endpoint::start().await);
        cluster.create("healthy", sync_to(&healthy.url("/"))).await;
        cluster.create("hostile", change(sync_to(&hostile.url()))).await;
        Self { cluster, healthy, hostile }
    }

    /// Sends an event to both; the healthy one gets it while the other one goes on.
    pub async fn send(&self) {
        let before = self.cluster.attempts("healthy").await.len();
        self.cluster.send([event("a", "u")]).await;
        let attempts = self.cluster.wait_for_attempts("healthy", before + 1).await;
        assert_eq!(attempts.last().unwrap().outcome(), AttemptOutcome::Delivered);
    }

    /// Waits for the only attempt at the hostile endpoint, which has failed like this: `words` are in its sentence.
    pub async fn failed(&self, error: AttemptError, words: &str) -> Attempt {
        let attempts = self.cluster.wait_for_attempts("hostile", 1).await;
        let [attempt] = &attempts[..] else { panic!("more than one attempt: {attempts:?}") };
        assert_eq!(attempt.error(), error, "{}", attempt.error_message);
        assert!(attempt.error_message.contains(words), "{}", attempt.error_message);
        assert!(attempt.error_message.contains(": "), "it does not say what to do: {}", attempt.error_message);
        assert_eq!((attempt.round, attempt.attempt), (1, 1));
        assert_eq!(attempt.outcome(), AttemptOutcome::RetryNextRound);
        phases(attempt);
        assert!(self.hostile.accepted() <= 1, "more connections than attempts");
        assert!(self.hostile.requests().len() <= 1, "more requests than attempts");
        attempt.clone()
    }

    /// Waits for the first delivery to the hostile endpoint.
    pub async fn delivered(&self) -> Attempt {
        let attempt = self.cluster.wait_for_attempts("hostile", 1).await.remove(0);
        assert_eq!(attempt.outcome(), AttemptOutcome::Delivered, "{}", attempt.error_message);
        phases(&attempt);
        attempt
    }

    /// Waits until no connection to the hostile endpoint is open on the node's side; the healthy one has one.
    pub async fn closed(&self) {
        eventually("the connection is closed", async || (self.open() == 1).then_some(())).await;
    }

    /// Connections that the node has open.
    #[must_use]
    pub fn open(&self) -> u64 {
        let ClientStats { opened, closed, .. } = self.stats();
        opened - closed
    }

    /// What the node's connections have come to.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        self.cluster.node().client_stats()
    }

    /// Waits until the node has read so many bytes more than `before`.
    pub async fn has_read(&self, before: u64, bytes: usize) {
        let enough = before + bytes as u64;
        eventually("the node has read it", async || (self.stats().read_bytes >= enough).then_some(())).await;
    }

    /// Moves the clock to the limit of this name; the attempt must end by then.
    pub async fn pass(&self, limit: &'static str, after: Duration) {
        let before = self.cluster.time.now_ms();
        let now = self.cluster.time.advance_to_next(limit).await;
        assert_eq!(now - before, i64::try_from(after.as_millis()).unwrap(), "{limit}");
    }
}

/// Checks that no phase of an attempt took a negative time, and that those of the exchange took no longer than all of it.
pub fn phases(attempt: &Attempt) {
    let timings = attempt.timings.expect("no timings");
    let nanos = |duration: Option<prost_types::Duration>| {
        let taken =
            duration.map_or(0, |duration| i128::from(duration.seconds) * 1_000_000_000 + i128::from(duration.nanos));
        assert!(taken >= 0, "a negative time: {timings:?}");
        taken
    };
    let parts = [timings.dns, timings.connect, timings.tls, timings.first_byte].map(nanos);
    let total = nanos(timings.total);
    assert!(timings.total.is_some() && parts.iter().sum::<i128>() <= total, "{timings:?}");
    if attempt.attempt == 1 {
        assert!(timings.queue.is_some() && timings.render.is_some(), "{timings:?}");
    }
    nanos(timings.queue);
    nanos(timings.render);
}
