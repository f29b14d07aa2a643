//! What the demo shows at its end.

use sluice_client::proto::delivery::v1::SyncMetrics;

use crate::{
    commands::metrics::seconds,
    output::{self, thousands},
    receiver::Received,
};

/// What became of one sync.
pub(super) struct Row {
    pub(super) name: String,
    /// Events that it must take, by plain code.
    pub(super) matched: u64,
    pub(super) metrics: SyncMetrics,
    /// Whether what came agrees with what must have come.
    pub(super) agree: bool,
    pub(super) received: Received,
}

/// The figures of all syncs.
pub(super) fn table(accepted: u64, rows: &[Row]) -> String {
    let header = ["SYNC", "ACCEPTED", "MATCHED", "DELIVERED", "ATTEMPTS", "RECEIVED", "P50", "P95", "P99", "BODIES"];
    let count = |number: i64| thousands(u64::try_from(number).unwrap_or(0));
    let rows = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            thousands(accepted),
            thousands(row.matched),
            count(row.metrics.delivered_count),
            count(row.metrics.attempt_count),
            thousands(row.received.requests()),
            seconds(row.metrics.latency_p50_seconds),
            seconds(row.metrics.latency_p95_seconds),
            seconds(row.metrics.latency_p99_seconds),
            if row.agree { "all agree" } else { "DIFFER" }.to_owned(),
        ]
    });
    output::table(&header, rows)
}

/// The first body that came, shortened.
pub(super) fn first_body(row: &Row) -> String {
    const SHOWN_CHARACTERS: usize = 400;
    let Some((webhook_id, body)) = &row.received.first_body else {
        return format!("\n{}: nothing came", row.name);
    };
    let body = String::from_utf8_lossy(body);
    let mut shown: String = body.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < body.len() {
        shown.push('…');
    }
    format!("\nFirst body of {} (webhook-id {webhook_id}):\n{shown}", row.name)
}
