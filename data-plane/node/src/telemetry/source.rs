//! What the parts of a node count already, read when somebody asks: nothing is counted twice, and what the metrics say is what the
//! ledger says.

use std::sync::Arc;

use sluice_host::clock::Clock;
use sluice_pipeline::catalog::Catalog;
use sluice_telemetry::{
    Source,
    instruments::{
        CATALOG_REVISION, CATALOG_SYNCS, CLOCK_JUMPS, CONNECTIONS_OPEN, CONNECTIONS_OPENED, DEAD_LETTERS,
        DELIVERIES_CREATED, DELIVERIES_ENDED, DELIVERIES_IN_MEMORY, DELIVERIES_PENDING, DELIVERIES_REDELIVERED, EVENTS,
        INGEST_CALLS, INGEST_HELD, LANE_OLDEST_WAIT, OUTCOME, PROJECT, REQUESTS_IN_FLIGHT, SPOOL_BYTES, SPOOL_DAMAGED,
        SPOOL_LIMIT, STATE, SYNC, UPLINK_DROPPED, UPLINK_PENDING,
    },
    labels::Names,
    meters::Readings,
};
use tokio::sync::watch;

use super::Meters;
use crate::{
    dispatcher::Figures,
    drain::Drain,
    http::WebhookClient,
    ingest::Budget,
    spool::{
        Spool,
        store::{Backlog, Ledger, Stats},
    },
};

/// Reads them.
pub struct NodeSource {
    pub(crate) meters: Arc<Meters>,
    pub(crate) spool: Spool,
    pub(crate) catalog: watch::Receiver<Arc<Catalog>>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) client: WebhookClient,
    pub(crate) budget: Budget,
    pub(crate) drain: Drain,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl Source for NodeSource {
    async fn read(&self, readings: &mut Readings) {
        // Before the spool, which may keep it waiting.
        self.in_memory(readings);
        self.meters.read(readings);
        let now_ms = self.clock.now_ms();
        let read =
            self.spool.read_long(move |reader| Ok((reader.ledger()?, reader.backlogs(now_ms)?, reader.stats()?)));
        match read.await {
            Ok((ledger, backlogs, stats)) => {
                self.ledger(&ledger, readings);
                self.backlogs(&backlogs, readings);
                spool(&stats, readings);
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the spool's figures could not be read");
            }
        }
    }
}

impl NodeSource {
    #[allow(clippy::cast_precision_loss)]
    fn in_memory(&self, readings: &mut Readings) {
        let catalog = self.catalog.borrow().clone();
        readings.add(&CATALOG_REVISION, &[], catalog.revision() as f64);
        readings.add(&CATALOG_SYNCS, &[], catalog.entries().len() as f64);
        readings.add(&REQUESTS_IN_FLIGHT, &[], self.figures.under_way() as f64);
        readings.add(&DELIVERIES_IN_MEMORY, &[], self.figures.in_memory() as f64);
        let stats = self.client.stats();
        readings.count(&CONNECTIONS_OPENED, &[], stats.opened);
        readings.add(&CONNECTIONS_OPEN, &[], stats.opened.saturating_sub(stats.closed) as f64);
        readings.add(&INGEST_HELD, &[], self.budget.in_use() as f64);
        readings.add(&INGEST_CALLS, &[], self.drain.sender_count() as f64);
        readings.count(&CLOCK_JUMPS, &[], self.clock.jumps());
    }

    #[allow(clippy::cast_precision_loss)]
    fn ledger(&self, ledger: &Ledger, readings: &mut Readings) {
        let telemetry = self.meters.telemetry();
        for (project, counts) in &ledger.projects {
            let project = telemetry.label(Names::Projects, project);
            let outcomes = [
                ("rejected", counts.rejected),
                ("duplicate", counts.duplicates),
                ("unmatched", counts.unmatched),
                ("matched", counts.matched),
            ];
            for (outcome, count) in outcomes {
                readings.tally(&EVENTS, &[(PROJECT, &project), (OUTCOME, outcome)], count);
            }
        }
        for (key, counts) in &ledger.deliveries {
            let label = telemetry.label(Names::Syncs, &key.name);
            let sync = [(SYNC, &*label)];
            readings.tally(&DELIVERIES_CREATED, &sync, counts.created);
            readings.tally(&DELIVERIES_REDELIVERED, &sync, counts.redelivered);
            let outcomes =
                [("delivered", counts.delivered), ("expired", counts.expired), ("discarded", counts.discarded)];
            for (outcome, count) in outcomes {
                readings.tally(&DELIVERIES_ENDED, &[(SYNC, &label), (OUTCOME, outcome)], count);
            }
            readings.add(&DELIVERIES_PENDING, &sync, counts.pending as f64);
            readings.add(&DEAD_LETTERS, &sync, counts.dead_letters as f64);
            // Those with open deliveries say more below.
            readings.highest(&LANE_OLDEST_WAIT, &sync, 0.0);
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn backlogs(&self, backlogs: &[Backlog], readings: &mut Readings) {
        for backlog in backlogs {
            let label = self.meters.telemetry().label(Names::Syncs, &backlog.key.name);
            let wait_ms = backlog.oldest_wait_ms.unwrap_or_default().max(0);
            readings.highest(&LANE_OLDEST_WAIT, &[(SYNC, &label)], wait_ms as f64 / 1_000.0);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn spool(stats: &Stats, readings: &mut Readings) {
    let bytes = [("file", stats.file_bytes), ("free", stats.disk_free_bytes), ("reports", stats.report_bytes)];
    for (state, bytes) in bytes {
        readings.add(&SPOOL_BYTES, &[(STATE, state)], bytes as f64);
    }
    readings.add(&SPOOL_LIMIT, &[], stats.max_bytes as f64);
    readings.count(&SPOOL_DAMAGED, &[], stats.damaged);
    readings.add(&UPLINK_PENDING, &[], stats.reports as f64);
    readings.count(&UPLINK_DROPPED, &[], stats.reports_dropped);
}
