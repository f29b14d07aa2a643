//! Forgets what is too old or too much, in small steps, so that the store never grows without bound and reports never wait for it.

use std::time::Duration;

use crate::{
    api::Context,
    changelog::KEPT_REVISIONS,
    figures::rollup::Resolution,
    reports::{Fate, slot},
    store::StoreError,
};

/// What is kept of the nodes' reports. Failures are kept longer than successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRetention {
    /// How long attempts and endings with a 2xx are kept.
    pub successes: Duration,
    /// How long the others are kept; at least as long.
    pub failures: Duration,
    /// Bytes that the store's file may use: beyond, the oldest reports go early, successes first.
    pub max_bytes: u64,
}

impl Default for ReportRetention {
    /// 7 days, 30 days, 20 GiB.
    fn default() -> Self {
        Self { successes: 7 * DAY, failures: 30 * DAY, max_bytes: 20 << 30 }
    }
}

const DAY: Duration = Duration::from_secs(86_400);
/// How long minutes are kept: four hours can be asked for from any moment on.
const MINUTES: Duration = Duration::from_secs(6 * 3_600);
/// How long hours are kept.
const HOURS: Duration = Duration::from_secs(90 * 86_400);
const PAUSE: Duration = Duration::from_secs(60);
const STEP: i64 = 500;
/// The same of chunks, each of which may have hundreds of reports.
const CHUNKS: i64 = 8;
/// Runs of fingerprints that are merged or forgotten in one step.
const RUNS: i64 = 8;
/// After so many slots one counts as over: few reports come later.
const SLOTS_OPEN: i64 = 2;

/// Runs until the control plane stops.
pub(crate) async fn run(context: Context) {
    let stopping = context.stopping.clone();
    stopping.run_until_cancelled_owned(forget_for_ever(context)).await;
}

async fn forget_for_ever(context: Context) {
    loop {
        match forget(&context).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old reports forgotten"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "old reports could not be forgotten: trying again");
            }
        }
        context.clock.sleep(PAUSE, "retention").await;
    }
}

/// Forgets all that is to go; gives how many reports that was.
async fn forget(context: &Context) -> Result<u64, StoreError> {
    let store = &context.store;
    if let Err(error) = store.write_figures().await {
        // The reports that they are of are kept meanwhile.
        tracing::error!(error = &error as &dyn std::error::Error, "figures are not written yet");
    }
    store.trim_change_log(KEPT_REVISIONS).await?;
    let before = |kept: Duration| {
        let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        context.clock.now_ms().saturating_sub(kept_ms)
    };
    while store.forget_audit_before(before(context.audit_retention), STEP).await? > 0 {}
    while store.forget_rollups(Resolution::Minute, before(MINUTES), STEP).await? > 0 {}
    while store.forget_rollups(Resolution::Hour, before(HOURS), STEP).await? > 0 {}
    let ReportRetention { successes, failures, max_bytes } = context.report_retention;
    while store.forget_dropped(before(failures), STEP).await? > 0 {}
    let over = slot(context.clock.now_ms()) - SLOTS_OPEN;
    let mut count = 0;
    for (fate, kept) in [(Fate::Succeeded, successes), (Fate::Failed, failures.max(successes))] {
        count += forget_reports(context, fate, before(kept), 0).await?;
    }
    for fate in Fate::ALL {
        count += forget_reports(context, fate, i64::MAX, max_bytes).await?;
    }
    while store.tidy_marks(over, RUNS).await? > 0 {}
    Ok(count)
}

/// Forgets reports of a fate from before `before_ms`, step by step, for as long as the store uses more than `max_bytes`.
async fn forget_reports(context: &Context, fate: Fate, before_ms: i64, max_bytes: u64) -> Result<u64, StoreError> {
    // From the very first on each time: of a node that was away reports come from before what has been forgotten.
    let (mut from_ms, mut count) = (i64::MIN, 0);
    while max_bytes == 0 || context.store.used_bytes().await? > max_bytes {
        let (forgotten, last_ms) = context.store.forget_reports(fate, from_ms, before_ms, CHUNKS).await?;
        if forgotten == 0 {
            break;
        }
        count += forgotten;
        from_ms = last_ms;
    }
    Ok(count)
}
