//! Disables syncs that have done nothing but fail for as long as they say.

use std::time::Duration;

use sluice_proto::{
    name::SyncName,
    sync::v1::{HealthState, Sync, SyncHealth},
};

use crate::{
    api::{Context, finish},
    audit::Actor,
    error::{Error, shorten},
    store::Change,
    time::millis,
};

const EVERY: Duration = Duration::from_secs(60);

/// What the audit log says did it.
const METHOD: &str = "disable_after_failing";

/// Runs until the control plane stops.
pub(crate) async fn run(context: Context) {
    let stopping = context.stopping.clone();
    stopping.run_until_cancelled_owned(look_for_ever(context)).await;
}

async fn look_for_ever(context: Context) {
    loop {
        context.clock.sleep(EVERY, "auto-disable").await;
        if let Err(error) = look(&context).await {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "syncs that fail could not be disabled: trying again");
        }
    }
}

async fn look(context: &Context) -> Result<(), Error> {
    for (sync, health) in context.store.failing_syncs().await? {
        let Some(reason) = due(&sync, &health) else { continue };
        let Ok(name) = sync.name.parse::<SyncName>() else { continue };
        let now_ms = context.clock.now_ms();
        let (sealer, told) = (context.store.sealer().clone(), reason.clone());
        // It may have been changed since: then it is looked at again.
        let etag = sync.etag.clone();
        let decide = move |current: Option<&Sync>, revision| match current {
            Some(current) if current.etag == etag => {
                let draft = Sync { enabled: false, disable_reason: told, ..current.clone() };
                Ok::<_, Error>(Change::Put(Box::new(finish(draft, Some(current), revision, now_ms, &sealer))))
            }
            _ => Ok(Change::Keep),
        };
        context.store.change_sync(&name, None, Actor::system(METHOD, now_ms), decide).await?;
        tracing::warn!(sync = %name, reason, "sync disabled: it has done nothing but fail");
    }
    Ok(())
}

/// Why the sync is to be disabled; none: it is not. Failures must have been seen for the whole time: one that failed once and had no
/// events since is left alone.
fn due(sync: &Sync, health: &SyncHealth) -> Option<String> {
    let after = sync.disable_after_failing.as_ref().filter(|_| sync.enabled)?;
    if health.state() != HealthState::Failing {
        return None;
    }
    let (since, last) = (health.failing_since.as_ref()?, health.reasons.first()?);
    let failed_ms = millis(last.last_time.as_ref()).saturating_sub(millis(Some(since)));
    if failed_ms < after.seconds.saturating_mul(1_000) {
        return None;
    }
    let message = if last.message.is_empty() { String::new() } else { format!(" ({})", shorten(&last.message, 200)) };
    Some(format!("nothing but failures since {since}, the last at {}: {}{message}", last.last_time?, last.reason))
}

#[cfg(test)]
mod tests {
    use sluice_proto::sync::v1::FailureReason;

    use super::*;
    use crate::time::timestamp;

    fn failing(from_s: i64, to_s: i64) -> SyncHealth {
        let last_time = Some(timestamp(to_s * 1_000));
        SyncHealth {
            state: HealthState::Failing.into(),
            failing_since: Some(timestamp(from_s * 1_000)),
            reasons: vec![FailureReason { reason: "HTTP 503".into(), last_time, ..Default::default() }],
            ..Default::default()
        }
    }

    fn sync(hours: i64) -> Sync {
        let after = (hours > 0).then_some(prost_types::Duration { seconds: 3_600 * hours, nanos: 0 });
        Sync { enabled: true, disable_after_failing: after, ..Sync::default() }
    }

    #[test]
    fn one_that_fails_for_as_long_as_it_says_is_due() {
        assert!(due(&sync(2), &failing(0, 7_199)).is_none());
        let reason = due(&sync(2), &failing(0, 7_200)).unwrap();
        assert!(reason.contains("since 1970-01-01T00:00:00Z") && reason.contains("HTTP 503"), "{reason}");
    }

    #[test]
    fn others_are_left_alone() {
        assert!(due(&sync(0), &failing(0, 1_000_000)).is_none(), "off by default");
        assert!(due(&Sync { enabled: false, ..sync(1) }, &failing(0, 1_000_000)).is_none());
        assert!(due(&sync(1), &SyncHealth::default()).is_none());
        assert!(due(&sync(1), &failing(0, 0)).is_none(), "one failure, and nothing since");
    }
}
