//! `sluice sync rollout`: node by node, whether a sync's newest revision is served.

use sluice_client::proto::sync::v1::{ListSyncRolloutsRequest, RolloutState, SyncRollout};

use crate::{
    cli::Format,
    context::{Context, call},
    exit::{Exit, Failure},
    output::{enum_word, note, print, table, time},
    proto_json::Printed,
    violation::Shown,
};

pub(crate) async fn run(context: &Context, name: &str) -> Result<(), Failure> {
    let parent = context.sync_name(name)?.to_string();
    let mut client = context.syncs().await?;
    let mut rollouts = Vec::<SyncRollout>::new();
    let mut page_token = String::new();
    loop {
        let request = ListSyncRolloutsRequest { parent: parent.clone(), page_size: 1_000, page_token };
        let page = client.list_sync_rollouts(call(request)).await?.into_inner();
        rollouts.extend(page.rollouts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
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
