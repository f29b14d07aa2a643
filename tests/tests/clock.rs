//! The machine's clock is a day off, either way: what waits is due when it would have been.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashMap, time::Duration};

use sluice_proto::{
    event::v1::{Event, SendEventsRequest},
    sync::v1::RetryPolicy,
};
use sluice_tests::{
    cluster::sync_name,
    endpoint::{Endpoint, Received, status},
    events::{SyncBuilder as _, event, sync_to},
    faults::Faults,
    ledger,
    process::{Plane, Setup, asked_again},
    scenario::create,
};
use tempfile::TempDir;

const DAY_MS: i64 = 86_400_000;

/// Deliveries that wait.
const COUNT: usize = 40;

/// When the second round is due: 4 s after the first, less or more by a tenth.
const EARLIEST: Duration = Duration::from_millis(3_550);

/// A busy machine may be late, but not by the rest of the window.
const LATEST: Duration = Duration::from_secs(25);

/// A node with deliveries that wait for their second round; a third one is due in an hour.
struct Waiting {
    folder: TempDir,
    control_plane: Plane,
    node: Plane,
    faults: Faults,
    failing: Endpoint,
    healthy: Endpoint,
}

impl Waiting {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::of(&folder.path().join("node"));
        let control_plane = Plane::control_plane(&folder.path().join("control-plane"), "127.0.0.1:0").await;
        let node = start_node(&folder, &control_plane, &faults).await;
        let (failing, healthy) = (Endpoint::start().await, Endpoint::start().await);
        failing.always(status(400));
        let mut sync = sync_to(&failing.url("/")).event_types(&["a"]);
        let offsets = [4, 3_600].map(|seconds| prost_types::Duration { seconds, nanos: 0 });
        sync.retry_policy = Some(RetryPolicy { round_offsets: offsets.into(), ..RetryPolicy::default() });
        create(&control_plane.url(), "failing", sync).await;
        create(&control_plane.url(), "healthy", sync_to(&healthy.url("/")).event_types(&["b"])).await;
        let waiting = Self { folder, control_plane, node, faults, failing, healthy };
        waiting.send("a", COUNT).await;
        waiting.failing.wait_for_count(COUNT).await;
        waiting
    }

    async fn send(&self, event_type: &str, count: usize) {
        let event = |number: usize| Event { json: event(event_type, &number.to_string()), ..Event::default() };
        let request = SendEventsRequest { events: (0..count).map(event).collect(), ..SendEventsRequest::default() };
        let channel = sluice_client::connect(&self.node.url()).await.unwrap();
        sluice_client::event_client(channel).send_events(request).await.unwrap();
    }

    /// SIGTERM and a start with the clock off by so much.
    async fn restart_off_by(self, off_by_ms: i64) -> Self {
        assert_eq!(self.node.terminate().await.code(), Some(0));
        self.faults.set_clock_off_by(off_by_ms);
        let node = start_node(&self.folder, &self.control_plane, &self.faults).await;
        Self { node, ..self }
    }

    /// Every delivery makes its second round when it is due, none makes another or ends, and new events are delivered.
    async fn goes_on_as_before(self) {
        let received = self.failing.wait_for(2 * COUNT).await;
        let mut arrivals: HashMap<&str, Vec<&Received>> = HashMap::new();
        for request in &received {
            arrivals.entry(request.header("webhook-id")).or_default().push(request);
        }
        assert_eq!(arrivals.len(), COUNT);
        for (id, requests) in arrivals {
            assert_eq!(requests.len(), 2, "{id}");
            let gap = requests[1].arrived - requests[0].arrived;
            assert!((EARLIEST..LATEST).contains(&gap), "{id}: the second round came {gap:?} after the first");
        }
        self.send("b", 5).await;
        self.healthy.wait_for_count(5).await;
        let counted = asked_again("the healthy deliveries have ended", async || {
            let counted = ledger::of_all_nodes(&self.control_plane.url()).await?;
            (counted.syncs[&sync_name("healthy")].delivered_count == 5).then_some(counted)
        })
        .await;
        let counts = &counted.syncs[&sync_name("failing")];
        assert_eq!((counts.pending_count, counts.expired_count, counts.discarded_count), (COUNT as i64, 0, 0));
        assert_eq!(self.failing.count(), 2 * COUNT, "no round before its time");
    }
}

async fn start_node(folder: &TempDir, control_plane: &Plane, faults: &Faults) -> Plane {
    let setup = Setup { env: faults.env(), log: Some(folder.path().join("node.log")), ..Setup::default() };
    Plane::node_with(&folder.path().join("node"), "127.0.0.1:0", control_plane.address(), &setup).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_a_day_ahead_while_the_node_runs_moves_nothing() {
    let waiting = Waiting::start().await;
    waiting.faults.set_clock_off_by(DAY_MS);
    waiting.goes_on_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_a_day_back_while_the_node_runs_moves_nothing() {
    let waiting = Waiting::start().await;
    waiting.faults.set_clock_off_by(-DAY_MS);
    waiting.goes_on_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_day_ahead_after_a_restart_moves_nothing() {
    Waiting::start().await.restart_off_by(DAY_MS).await.goes_on_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_a_day_back_after_a_restart_moves_nothing() {
    Waiting::start().await.restart_off_by(-DAY_MS).await.goes_on_as_before().await;
}
