//! A board for tests: four syncs, one of each kind, and two nodes, seen twice within two seconds.

use std::time::Duration;

use prost_types::Timestamp;
use sluice_client::proto::{
    delivery::v1::{Attempt, AttemptError, AttemptOutcome, SyncMetrics},
    node::v1::{DeliveryLedger, EventLedger, Node, NodeLedger},
    sync::v1::{Destination, FailureReason, HealthState, Rollout, Sync, SyncHealth},
};

use super::{
    app::App,
    board::{Board, Reading},
};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;

pub(super) fn app() -> App {
    App::new("http://127.0.0.1:7600, projects/default".into(), Duration::from_secs(2), "10m".into())
}

pub(super) fn board() -> Board {
    let mut board = Board::default();
    board.take(reading(0, 1_000, 400));
    board.take(reading(2, 1_300, 520));
    board
}

/// The second reading has the attempts of `crm`.
fn reading(at: u64, accepted: i64, delivered: i64) -> Reading {
    let failing = SyncHealth {
        state: HealthState::Failing.into(),
        failing_since: ago(312),
        last_success_time: ago(400),
        reasons: vec![
            reason("HTTP 503", "answered 503 Service Unavailable\u{1b}]0;owned\u{7}", 41),
            reason("TIMEOUT", "no answer within 10 s", 2),
        ],
    };
    let healthy = SyncHealth { state: HealthState::Healthy.into(), ..SyncHealth::default() };
    let syncs = vec![
        Sync { health: Some(failing), ..sync("crm", true) },
        Sync { disable_reason: "it did nothing but fail for 3 days".into(), ..sync("old", false) },
        Sync { health: Some(healthy), ..sync("orders", true) },
        sync("signups", true),
    ];
    let orders = SyncMetrics {
        name: name("orders"),
        delivered_count: 31_106,
        not_delivered_count: 3,
        delivery_rate: 31_106.0 / 31_109.0,
        latency_p50_seconds: 0.0042,
        latency_p95_seconds: 0.5,
        latency_p99_seconds: 1.34,
        delivered_first_attempt_count: 31_000,
        delivered_after_retry_count: 106,
        attempt_count: 31_300,
        pending_count: 7,
        ..SyncMetrics::default()
    };
    let crm = SyncMetrics {
        name: name("crm"),
        not_delivered_count: 12,
        expired_count: 12,
        waiting_since_time: ago(11_040),
        pending_count: 1_234,
        ..SyncMetrics::default()
    };
    let ledger = NodeLedger {
        node: "nodes/n1".into(),
        events: vec![EventLedger { matched_count: accepted, ..EventLedger::default() }],
        deliveries: vec![
            DeliveryLedger {
                sync: name("orders"),
                delivered_count: delivered,
                pending_count: 7,
                ..DeliveryLedger::default()
            },
            DeliveryLedger { sync: name("crm"), pending_count: 1_234, ..DeliveryLedger::default() },
        ],
    };
    let node = |id: &str, connected| Node {
        name: format!("nodes/{id}"),
        connected,
        state_change_time: ago(198_000),
        revision: 41,
        pending_count: if connected { 1_241 } else { 0 },
        in_flight_count: if connected { 32 } else { 0 },
        spool_bytes: 5 << 20,
        behind_since_time: if connected { ago(3) } else { None },
        ..Node::default()
    };
    Reading {
        at: Duration::from_secs(at),
        now_ms: NOW * 1_000,
        syncs: Some(syncs),
        metrics: vec![orders, crm],
        nodes: vec![node("n1", true), node("n2", false)],
        revision: 42,
        ledgers: Some(vec![ledger]),
        attempts: Some((name("crm"), vec![attempt(3), attempt(2)])),
        ..Reading::default()
    }
}

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: NOW - seconds, nanos: 0 })
}

fn name(id: &str) -> String {
    format!("projects/default/syncs/{id}")
}

fn sync(id: &str, enabled: bool) -> Sync {
    let destination = Destination { url: format!("https://{id}.example.com/hook?key=hush"), ..Destination::default() };
    let rollout = Rollout { serving_count: 1, pending_count: 1, ..Rollout::default() };
    Sync {
        name: name(id),
        enabled,
        destination: Some(destination),
        rollout: Some(rollout),
        revision: 41,
        ..Sync::default()
    }
}

fn reason(reason: &str, message: &str, count: i64) -> FailureReason {
    FailureReason { reason: reason.into(), message: message.into(), last_time: ago(1), count }
}

fn attempt(number: i32) -> Attempt {
    Attempt {
        delivery: format!("{}/deliveries/00ff", name("crm")),
        event_type: "Purchase\u{1b}[31m".into(),
        node: "nodes/n1".into(),
        round: 1,
        attempt: number,
        outcome: AttemptOutcome::RetryNow.into(),
        http_status: 503,
        error: AttemptError::Status.into(),
        error_message: "answered 503 Service Unavailable".into(),
        start_time: ago(1),
        duration: Some(prost_types::Duration { seconds: 0, nanos: 12_000_000 }),
        ..Attempt::default()
    }
}
