//! `sluice sync rollout`: node by node, whether a sync's newest revision is served.

use sluice_client::proto::sync::v1::RolloutState;

use crate::{
    cli::Format,
    context::Context,
    exit::{Exit, Failure},
    output::{enum_word, note, print, table, time},
    proto_json::Printed,
    rollout,
    violation::Shown,
};

pub(crate) async fn run(context: &Context, name: &str) -> Result<(), Failure> {
    let parent = context.sync_name(name)?.to_string();
    let mut client = context.syncs().await?;
    let rollouts = rollout::nodes(&mut client, &parent).await?;
    let printed = rollouts.iter().map(|rollout| Printed::new("sluice.sync.v1.SyncRollout", rollout));
    let printed: Vec<_> = printed.collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if rollouts.is_empty() {
            return Ok("no node is connected".to_owned());
        }
        let rows = rollouts.iter().map(|rollout| {
            vec![
                rollout.node.clone(),
                enum_word(rollout.state().as_str_name(), "ROLLOUT_STATE_"),
                rollout.revision.to_string(),
                time(rollout.since_time.as_ref()),
            ]
        });
        Ok(table(&["NODE", "STATE", "REVISION", "SINCE (UTC)"], rows))
    })?;
    let refusing: Vec<_> = rollouts.iter().filter(|rollout| rollout.state() == RolloutState::Refused).collect();
    if context.format == Format::Table {
        for rollout in &refusing {
            for violation in &rollout.violations {
                note(&format!("{}: {}", rollout.node, Shown(violation.clone())));
            }
        }
    }
    if refusing.is_empty() { Ok(()) } else { Err(Failure::told(Exit::Invalid)) }
}
