//! Waits until every connected node serves a sync's newest revision.

use std::time::Duration;

use clap::Args;
use sluice_client::proto::sync::v1::{GetSyncRequest, Rollout, Sync, sync_service_client::SyncServiceClient};
use tokio::time::{Instant, sleep};

use crate::{
    context::call,
    duration,
    exit::{Exit, Failure},
    output::count,
    violation::Shown,
};

const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Whether and for how long to wait.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct WaitArgs {
    /// How long to wait until every connected node serves the change
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    wait: Duration,
    /// Do not wait for the nodes
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

impl WaitArgs {
    /// Until when to wait, from now on; `None`: not at all.
    pub(crate) fn deadline(self) -> Option<Instant> {
        (!self.no_wait).then(|| Instant::now() + self.wait)
    }
}

/// Waits until `until` (`None`: not at all). Gives the sync as it was last read.
///
/// A node that refuses the sync is a failure; so are nodes that do not answer in time, with exit code 5.
pub(crate) async fn wait(
    client: &mut SyncServiceClient<sluice_client::Connection>,
    sync: Sync,
    until: Option<Instant>,
) -> Result<Sync, Failure> {
    let Some(until) = until else { return Ok(sync) };
    loop {
        let request = GetSyncRequest { name: sync.name.clone() };
        let read = client.get_sync(call(request)).await?.into_inner();
        let rollout = read.rollout.clone().unwrap_or_default();
        // A later change by somebody else carries this one.
        if read.revision >= sync.revision && rollout.pending_count == 0 {
            return refusals(&rollout).map_or(Ok(read), Err);
        }
        if Instant::now() >= until {
            let message = format!(
                "stored, but {} not answered in time, {} serving; see `sluice nodes list`",
                if rollout.pending_count == 1 {
                    "1 node has".to_owned()
                } else {
                    format!("{} nodes have", rollout.pending_count)
                },
                rollout.serving_count
            );
            return Err(Failure::new(Exit::Unavailable, message));
        }
        sleep(POLL_INTERVAL.min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// How far a sync has come, for people.
pub(crate) fn show(rollout: Option<&Rollout>) -> String {
    let Some(rollout) = rollout else { return "-".to_owned() };
    let Rollout { serving_count, pending_count, refusing_count, .. } = rollout;
    let mut parts = Vec::new();
    if *serving_count > 0 || (*pending_count == 0 && *refusing_count == 0) {
        parts.push(format!("{serving_count} serving"));
    }
    if *pending_count > 0 {
        parts.push(format!("{pending_count} pending"));
    }
    if *refusing_count > 0 {
        parts.push(format!("{refusing_count} refusing"));
    }
    parts.join(", ")
}

/// The end of the line that reports a change.
pub(crate) fn served(sync: &Sync, waited: bool) -> String {
    let serving = sync.rollout.as_ref().map_or(0, |rollout| rollout.serving_count);
    if !waited {
        String::new()
    } else if serving == 0 {
        "no node is connected".to_owned()
    } else {
        format!("served by {}", count(unsigned(serving), "node"))
    }
}

fn refusals(rollout: &Rollout) -> Option<Failure> {
    if rollout.refusing_count == 0 {
        return None;
    }
    let message = format!(
        "stored, but {} it; the last good version keeps serving there",
        if rollout.refusing_count == 1 {
            "1 node refuses".to_owned()
        } else {
            format!("{} nodes refuse", rollout.refusing_count)
        }
    );
    let mut failure = Failure::failed(message);
    for refusal in &rollout.refusals {
        for violation in &refusal.violations {
            failure.details.push(format!("{}: {}", refusal.node, Shown(violation.clone())));
        }
    }
    Some(failure)
}

fn unsigned(count: i32) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use sluice_client::proto::sync::v1::{Refusal, Violation};

    use super::*;

    #[test]
    fn a_rollout_is_shown_in_words() {
        let rollout = |serving_count, pending_count, refusing_count| Rollout {
            serving_count,
            pending_count,
            refusing_count,
            refusals: Vec::new(),
        };
        assert_eq!(show(Some(&rollout(2, 0, 0))), "2 serving");
        assert_eq!(show(Some(&rollout(0, 0, 0))), "0 serving");
        assert_eq!(show(Some(&rollout(0, 1, 2))), "1 pending, 2 refusing");
        assert_eq!(show(None), "-");
    }

    #[test]
    fn refusals_name_the_node_and_the_field() {
        let violation = Violation { field: "events".into(), description: "unknown".into(), ..Violation::default() };
        let failure = refusals(&Rollout {
            refusing_count: 1,
            refusals: vec![Refusal { node: "nodes/a".into(), violations: vec![violation] }],
            ..Rollout::default()
        })
        .unwrap();
        assert_eq!(
            failure.text(),
            "stored, but 1 node refuses it; the last good version keeps serving there\n  nodes/a: events: unknown"
        );
        assert_eq!(refusals(&Rollout::default()), None);
    }
}
