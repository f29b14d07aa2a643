//! `sluice audit`: who changed what.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use sluice_client::proto::{
    audit::v1::{AuditEntry, ListAuditEntriesRequest},
    name::is_valid_id,
};

use crate::{
    context::{Context, call},
    duration,
    exit::Failure,
    output::{print, time},
    proto_json::Printed,
};

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who changed what, the newest first
    #[command(after_help = "\
Examples:
  sluice audit list --since 24h
  sluice audit list --sync orders                     # the history of a sync, field by field
  sluice audit list --all-projects -o json | jq '.[] | select(.actor == \"keys/ci\")'")]
    List(ListArgs),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what was done to this sync
    #[arg(long, value_name = "SYNC", conflicts_with = "resource")]
    sync: Option<String>,
    /// Only what was done to the resource of this full name, such as keys/ci
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only what this key did, such as keys/ci
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only what was done within this time, such as 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    since: Option<Duration>,
    /// Of every project, and what belongs to none, such as keys and nodes
    #[arg(long)]
    all_projects: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
}

pub(crate) async fn run(context: &Context, command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::List(args) = command;
    let parent = if args.all_projects { "projects/-".to_owned() } else { context.project()?.to_string() };
    let resource = match (args.sync, args.resource) {
        (Some(sync), _) => context.sync_name(&sync)?.to_string(),
        (None, resource) => resource.unwrap_or_default(),
    };
    let actor = args.actor.map(|actor| if is_valid_id(&actor) { format!("keys/{actor}") } else { actor });
    let since = args.since.and_then(|since| SystemTime::now().checked_sub(since));
    let mut request = ListAuditEntriesRequest {
        parent,
        resource,
        actor: actor.unwrap_or_default(),
        start_time_inclusive: since.map(Into::into),
        ..ListAuditEntriesRequest::default()
    };
    let mut client = context.audit().await?;
    let mut entries = Vec::<AuditEntry>::new();
    while entries.len() < args.limit {
        request.page_size = i32::try_from((args.limit - entries.len()).min(1_000)).unwrap_or(1_000);
        let page = client.list_audit_entries(call(request.clone())).await?.into_inner();
        entries.extend(page.entries);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let printed: Vec<_> =
        entries.iter().map(|entry| Printed::new("sluice.audit.v1.AuditEntry", entry)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || Ok(show(&entries)))
}

fn show(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "nothing was changed".to_owned();
    }
    let lines = entries.iter().flat_map(|entry| {
        let method = entry.method.rsplit('/').next().unwrap_or_default();
        let actor = if entry.actor.is_empty() { "anybody" } else { &entry.actor };
        let from =
            if entry.actor_address.is_empty() { String::new() } else { format!(" from {}", entry.actor_address) };
        let head = format!("{}  {method} {}  by {actor}{from}", time(entry.time.as_ref()), entry.resource);
        let changes = entry.changes.iter().map(|change| match (&*change.before, &*change.after) {
            ("", "") => format!("    {}", change.field),
            ("", after) => format!("  + {}: {after}", change.field),
            (before, "") => format!("  - {}: {before}", change.field),
            (before, after) => format!("  ~ {}: {before} -> {after}", change.field),
        });
        std::iter::once(head).chain(changes.collect::<Vec<_>>())
    });
    lines.collect::<Vec<_>>().join("\n")
}
