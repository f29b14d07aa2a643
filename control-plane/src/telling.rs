//! What the control plane tells OpenTelemetry beside its calls: the nodes, and how far each has come.

use sluice_host::clock::Clock;
use sluice_telemetry::{
    Source, Telemetry,
    instruments::{CATALOG_REVISION, CLOCK_JUMPS, NODE, NODES, ROLLOUT_BEHIND, ROLLOUT_LAG, ROLLOUT_REFUSED, STATE},
    labels::Names,
    meters::Readings,
};

use crate::{nodes::Nodes, publish::Publisher, time::millis};

/// Reads it when somebody asks.
pub(crate) struct ControlPlaneSource {
    pub(crate) telemetry: Telemetry,
    pub(crate) nodes: Nodes,
    pub(crate) publisher: Publisher,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl Source for ControlPlaneSource {
    #[allow(clippy::cast_precision_loss)]
    async fn read(&self, readings: &mut Readings) {
        let newest = self.publisher.watch_revision().borrow().revision;
        readings.add(&CATALOG_REVISION, &[], newest as f64);
        readings.count(&CLOCK_JUMPS, &[], self.clock.jumps());
        for state in ["connected", "draining", "gone"] {
            readings.add(&NODES, &[(STATE, state)], 0.0);
        }
        for node in self.nodes.list("", usize::MAX, |_| true, |serves| self.publisher.behind_since_ms(serves)) {
            if !node.connected {
                readings.add(&NODES, &[(STATE, "gone")], 1.0);
                continue;
            }
            readings.add(&NODES, &[(STATE, "connected")], 1.0);
            readings.add(&NODES, &[(STATE, "draining")], if node.draining { 1.0 } else { 0.0 });
            let label = self.telemetry.label(Names::Nodes, &node.name);
            let behind = newest.saturating_sub(node.revision).max(0);
            readings.highest(&ROLLOUT_LAG, &[(NODE, &label)], behind as f64);
            let since_ms = node.behind_since_time.as_ref().map(|time| millis(Some(time)));
            let behind_ms = since_ms.map_or(0, |ms| self.clock.now_ms().saturating_sub(ms).max(0));
            readings.highest(&ROLLOUT_BEHIND, &[(NODE, &label)], behind_ms as f64 / 1_000.0);
            readings.add(&ROLLOUT_REFUSED, &[(NODE, &label)], f64::from(node.refused_count));
        }
    }
}
