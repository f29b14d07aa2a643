//! Forgets what is too old, in small steps, so that the store never grows without bound and reports never wait for it.

use std::time::Duration;

use crate::{api::Context, changelog::KEPT_REVISIONS, store::StoreError};

/// How long attempts and endings are kept.
const KEPT_MS: i64 = 14 * 24 * 60 * 60 * 1_000;
const PAUSE: Duration = Duration::from_secs(60);
const STEP: i64 = 500;

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

async fn forget(context: &Context) -> Result<u64, StoreError> {
    context.store.trim_change_log(KEPT_REVISIONS).await?;
    let now_ms = context.clock.now_ms();
    let before_ms = now_ms.saturating_sub(KEPT_MS);
    let mut count = 0;
    while context.store.forget_audit_before(now_ms.saturating_sub(context.audit_kept_ms), STEP).await? > 0 {}
    loop {
        let forgotten = context.store.forget_before(before_ms, STEP).await?;
        count += forgotten;
        if forgotten == 0 {
            return Ok(count);
        }
    }
}
