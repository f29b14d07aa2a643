//! One sync, one node, as they are shown. Texts that others wrote are made harmless here, at the door.

use prost_types::Timestamp;
use serde::Serialize;
use sluice_client::proto::{
    delivery::v1::SyncMetrics,
    node::v1::Node,
    sync::v1::{HealthState, Sync},
};

use crate::commands::attempts::plain;

/// A sync. What is `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct SyncRow {
    /// The last segment of its name.
    pub(crate) name: String,
    pub(crate) state: SyncState,
    /// Seconds since the first attempt that failed with none that succeeded since.
    pub(crate) failing_for_seconds: Option<f64>,
    pub(crate) delivered_per_second: Option<f64>,
    /// Of the window: delivered among all that ended, from 0 to 1; `None` if none ended.
    pub(crate) delivery_rate: Option<f64>,
    /// Of the window: expired and discarded.
    pub(crate) failed_count: Option<i64>,
    pub(crate) latency_p50_seconds: Option<f64>,
    pub(crate) latency_p99_seconds: Option<f64>,
    pub(crate) pending_count: Option<i64>,
    pub(crate) oldest_wait_seconds: Option<f64>,
    /// Why the latest attempts failed, or the sync is disabled; empty if all is well.
    pub(crate) reason: String,
}

/// What a sync is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyncState {
    /// All attempts fail.
    Failing,
    Disabled,
    /// Enabled, and the last attempt succeeded, or none was made yet.
    #[default]
    Enabled,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct NodeRow {
    /// The last segment of its name.
    pub(crate) name: String,
    pub(crate) state: NodeState,
    /// How long it has been connected, or gone.
    pub(crate) for_seconds: Option<f64>,
    pub(crate) revision: i64,
    /// Revisions that it is behind.
    pub(crate) lag: i64,
    /// Since the oldest of them was made; `None` if it is not behind.
    pub(crate) behind_seconds: Option<f64>,
    pub(crate) accepted_per_second: Option<f64>,
    pub(crate) pending_count: i64,
    pub(crate) spool_bytes: i64,
    pub(crate) in_flight_count: i64,
}

/// What a node is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeState {
    Gone,
    Draining,
    #[default]
    Connected,
}

impl SyncRow {
    /// What `sync` and `metrics` say at `now_ms`. The rate, and what the ledger says is pending, come from elsewhere.
    pub(crate) fn new(sync: &Sync, metrics: Option<&SyncMetrics>, now_ms: i64) -> Self {
        let health = sync.health.clone().unwrap_or_default();
        let failing = health.state() == HealthState::Failing;
        let state = match (sync.enabled, failing) {
            (false, _) => SyncState::Disabled,
            (true, true) => SyncState::Failing,
            (true, false) => SyncState::Enabled,
        };
        let reason = match (&*sync.disable_reason, health.reasons.first()) {
            ("", Some(reason)) if failing => reason.reason.as_str(),
            (disabled, _) => disabled,
        };
        let ended = metrics.filter(|metrics| metrics.delivered_count + metrics.not_delivered_count > 0);
        let delivered = metrics.filter(|metrics| metrics.delivered_count > 0);
        Self {
            name: id(&sync.name),
            state,
            failing_for_seconds: if failing { seconds_since(health.failing_since.as_ref(), now_ms) } else { None },
            delivered_per_second: None,
            delivery_rate: ended.map(|metrics| metrics.delivery_rate),
            failed_count: metrics.map(|metrics| metrics.not_delivered_count),
            latency_p50_seconds: delivered.map(|metrics| metrics.latency_p50_seconds),
            latency_p99_seconds: delivered.map(|metrics| metrics.latency_p99_seconds),
            pending_count: metrics.map(|metrics| metrics.pending_count),
            oldest_wait_seconds: metrics.and_then(|metrics| seconds_since(metrics.waiting_since_time.as_ref(), now_ms)),
            reason: plain(reason),
        }
    }
}

impl NodeRow {
    /// What `node` says at `now_ms`, where `newest` is the newest revision. The rate comes from elsewhere.
    pub(crate) fn new(node: &Node, newest: i64, now_ms: i64) -> Self {
        let state = match (node.connected, node.draining) {
            (false, _) => NodeState::Gone,
            (true, true) => NodeState::Draining,
            (true, false) => NodeState::Connected,
        };
        Self {
            name: id(&node.name),
            state,
            for_seconds: seconds_since(node.state_change_time.as_ref(), now_ms),
            revision: node.revision,
            lag: if node.connected { newest.saturating_sub(node.revision).max(0) } else { 0 },
            behind_seconds: seconds_since(node.behind_since_time.as_ref(), now_ms),
            accepted_per_second: None,
            pending_count: node.pending_count,
            spool_bytes: node.spool_bytes,
            in_flight_count: node.in_flight_count,
        }
    }
}

/// The last segment of a resource name.
pub(crate) fn id(name: &str) -> String {
    plain(name.rsplit_once('/').map_or(name, |(_, id)| id))
}

/// Clocks may differ: what lies ahead was just now.
fn seconds_since(time: Option<&Timestamp>, now_ms: i64) -> Option<f64> {
    let time = time?;
    let ms = time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos / 1_000_000));
    Some(now_ms.saturating_sub(ms).max(0) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{FailureReason, SyncHealth};

    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_sync_that_fails_says_since_when_and_why() {
        let reason =
            FailureReason { reason: "HTTP 503\u{1b}[2J\u{202e}".into(), message: "m".into(), ..Default::default() };
        let health = SyncHealth {
            state: HealthState::Failing.into(),
            failing_since: at(40),
            reasons: vec![reason],
            ..Default::default()
        };
        let sync =
            Sync { name: "projects/p/syncs/a".into(), enabled: true, health: Some(health), ..Default::default() };
        let row = SyncRow::new(&sync, None, 100_000);
        assert_eq!((row.name.as_str(), row.state, row.failing_for_seconds), ("a", SyncState::Failing, Some(60.0)));
        assert_eq!(row.reason, "HTTP 503 [2J ", "nothing in it moves the cursor");
        assert_eq!((row.failed_count, row.pending_count), (None, None));
        let disabled = Sync { enabled: false, disable_reason: "failing for 3 days".into(), ..sync };
        let row = SyncRow::new(&disabled, None, 100_000);
        assert_eq!((row.state, row.reason.as_str()), (SyncState::Disabled, "failing for 3 days"));
    }

    #[test]
    fn what_nothing_ended_for_has_no_rate_and_no_latency() {
        let idle =
            SyncMetrics { delivery_rate: 1.0, pending_count: 3, waiting_since_time: at(90), ..Default::default() };
        let row = SyncRow::new(&Sync::default(), Some(&idle), 100_000);
        assert_eq!((row.delivery_rate, row.latency_p50_seconds, row.failed_count), (None, None, Some(0)));
        assert_eq!((row.pending_count, row.oldest_wait_seconds), (Some(3), Some(10.0)));
        let busy = SyncMetrics { delivered_count: 1, latency_p50_seconds: 0.5, ..idle };
        let row = SyncRow::new(&Sync::default(), Some(&busy), 100_000);
        assert_eq!((row.delivery_rate, row.latency_p50_seconds), (Some(1.0), Some(0.5)));
    }

    #[test]
    fn a_node_that_is_gone_is_not_behind() {
        let node = Node {
            name: "nodes/n1".into(),
            connected: true,
            state_change_time: at(40),
            behind_since_time: at(99),
            revision: 5,
            ..Default::default()
        };
        let row = NodeRow::new(&node, 7, 100_000);
        assert_eq!((row.state, row.for_seconds), (NodeState::Connected, Some(60.0)));
        assert_eq!((row.lag, row.behind_seconds), (2, Some(1.0)));
        let gone = Node { connected: false, behind_since_time: None, ..node };
        let row = NodeRow::new(&gone, 7, 39_000);
        assert_eq!((row.state, row.lag, row.for_seconds), (NodeState::Gone, 0, Some(0.0)));
    }
}
