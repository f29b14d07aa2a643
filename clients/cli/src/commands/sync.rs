//! `sluice sync`: the stored definitions of which events go where, in which shape.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use sluice_client::proto::sync::v1::{
    DeleteSyncRequest, DisableSyncRequest, EnableSyncRequest, GetSyncRequest, ListSyncsRequest, Sync,
};

use crate::{
    commands::{
        sync_apply, sync_export, sync_preview, sync_rollout,
        sync_show::{event_types, health, payload, short_name, show, state, url},
        sync_test,
    },
    context::{Context, call},
    exit::Failure,
    output::{print, say, table},
    proto_json::Printed,
    rollout::{self, WaitArgs},
};

/// Type of a sync, for printing.
pub(crate) const SYNC: &str = "sluice.sync.v1.Sync";

/// What to do with syncs.
#[derive(Debug, Subcommand)]
pub(crate) enum SyncCommand {
    /// Make the stored syncs what files say, all or nothing
    #[command(after_help = APPLY_HELP)]
    Apply(ApplyArgs),
    /// Write the stored syncs as files that `apply` takes
    #[command(after_help = "\
Examples:
  sluice sync export > syncs.yaml
  sluice sync export --dir syncs/ --filter 'labels.team = crm'

Secrets are not written: applied again, the files leave them as they are stored.")]
    Export(ExportArgs),
    /// List the syncs of the project
    #[command(after_help = "\
Examples:
  sluice sync list
  sluice sync list --filter 'enabled = true AND labels.team = crm' --order-by 'update_time desc'
  sluice sync list -o json | jq -r '.[] | select(.enabled) | .name'

A filter joins comparisons by AND: enabled = true, labels.KEY = VALUE, labels:KEY, sync_id : TEXT, display_name : TEXT,
destination.url : TEXT, event_types : TYPE, create_time > \"2026-01-31T00:00:00Z\", update_time; `!=` and NOT turn them round.")]
    List(ListArgs),
    /// Show one sync
    #[command(after_help = "\
Examples:
  sluice sync get orders
  sluice sync get orders -o yaml > orders.yaml    # can be changed and applied again; secrets stay as they are stored")]
    Get {
        /// The sync, such as `orders`
        name: String,
    },
    /// Match new events and deliver what was held
    #[command(after_help = "\
Example:
  sluice sync enable orders")]
    Enable {
        /// The sync, such as `orders`
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Match nothing new and hold what is open, its retry window stopped
    #[command(after_help = "\
Example:
  sluice sync disable orders")]
    Disable {
        /// The sync, such as `orders`
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete a sync; its open deliveries end as discarded
    #[command(after_help = "\
Examples:
  sluice sync delete orders
  sluice sync delete orders --etag 0a1b…      # only if nobody has changed it since")]
    Delete {
        /// The sync, such as `orders`
        name: String,
        /// Delete only if the sync still has this etag
        #[arg(long, default_value = "", hide_default_value = true)]
        etag: String,
    },
    /// Show node by node whether a sync's newest revision is served
    #[command(after_help = "\
Examples:
  sluice sync rollout orders
  sluice sync rollout orders -o json | jq -r '.[] | select(.state != \"ROLLOUT_STATE_SERVING\") | .node'

Exit code 3 if a node refuses it: its last good version keeps serving there.")]
    Rollout {
        /// The sync, such as `orders`
        name: String,
    },
    /// Show what a sync makes of an event, without sending anything
    #[command(after_help = "\
Examples:
  sluice sync preview orders --event event.json
  sluice sync preview -f orders.yaml --event event.json     # a draft, before it is applied
  head -1 events.ndjson | sluice sync preview orders --event -

Shows whether the filter takes the event and why, the headers and the body; for a template that fails the line and
column. Exit code 3 if there is anything wrong.")]
    Preview(PreviewArgs),
    /// Have a node send one event to a sync's destination, now and once
    #[command(after_help = "\
Examples:
  sluice sync test orders --event event.json
  sluice sync test -f orders.yaml --event event.json     # a draft, before it is applied

The event is sent whether or not the filter takes it; nothing is stored or counted. Exit codes: 0 the endpoint answered with
2xx, 1 it did not, 3 there is nothing to send, 5 no node answers.")]
    Test(TestArgs),
}

const APPLY_HELP: &str = "\
Examples:
  sluice sync apply -f orders.yaml
  sluice sync apply -f syncs/ --prune --dry-run     # what a folder of files would change
  sluice sync apply -f crm.yaml -f chat.yaml --no-wait
  cat syncs.yaml | sluice sync apply -f -

A file holds one sync or many, YAML documents separated by `---` or JSON:

  name: orders                              # stands for projects/default/syncs/orders
  enabled: true
  destination:
    url: https://crm.example.com/hook
    headers:
      - name: Authorization
        secret: { value: 'Bearer ${env:CRM_TOKEN}' }
  events:
    filter:
      event_types: [Purchase]
      conditions:
        - property:
            root: PROPERTY_ROOT_EVENT_PROPERTIES
            path: [total]
            operator: PROPERTY_OPERATOR_GREATER
            values: ['100']
    template:                               # or `original: {}` for the event as it came
      source: |
        {\"user\": \"${(input.user_id!'unknown')?json_string}\"}

`${env:NAME}` and `${file:PATH}` are put in where a header value or the URL says so, and `${file:PATH}` as a whole
template; paths begin at the manifest. A sync that is there is replaced, fields that are left out get their defaults. All
documents are applied, or none. Exit codes: 3 a document is not valid, 4 an etag in a document is stale, 5 a node has not taken
a change in time (which is stored).";

/// What to apply.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// File of syncs, YAML or JSON, or a folder of such files (.yaml, .yml, .json); `-` is standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Show what would change, and store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete the project's syncs that no document names
    #[arg(long)]
    pub(crate) prune: bool,
    /// Of these, delete only those that this filter takes (see `sluice sync list --help`)
    #[arg(long, value_name = "FILTER", requires = "prune")]
    pub(crate) prune_filter: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those that this takes, such as `enabled = true AND labels.team = crm`
    #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
    filter: String,
    /// Order, such as `update_time desc, name`
    #[arg(long, value_name = "FIELDS", default_value = "", hide_default_value = true)]
    order_by: String,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write a file for each sync into this folder, made if it is not there; else all to standard output
    #[arg(long = "dir", value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Only those that this takes (see `sluice sync list --help`)
    #[arg(long, value_name = "FILTER")]
    pub(crate) filter: Option<String>,
    /// Write over files that are there
    #[arg(long, requires = "folder")]
    pub(crate) force: bool,
}

/// What to test.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub(crate) struct TestArgs {
    /// The sync, such as `orders`
    #[arg(group = "subject")]
    pub(crate) name: Option<String>,
    /// File with a draft, one sync as for `apply`
    #[arg(short, long, value_name = "FILE", group = "subject")]
    pub(crate) file: Option<PathBuf>,
    /// File with the event, a JSON object; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) event: PathBuf,
    /// Name of the node that sends it, such as `n1`; else any
    #[arg(long, value_name = "NAME")]
    pub(crate) via: Option<String>,
}

/// What to preview.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true))]
pub(crate) struct PreviewArgs {
    /// The sync, such as `orders`
    #[arg(group = "subject")]
    pub(crate) name: Option<String>,
    /// File with a draft, one sync as for `apply`
    #[arg(short, long, value_name = "FILE", group = "subject")]
    pub(crate) file: Option<PathBuf>,
    /// File with the event, a JSON object; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) event: PathBuf,
    /// Print the body as it would be sent instead of indented, and nothing else
    #[arg(long)]
    pub(crate) raw: bool,
}

pub(crate) async fn run(context: &Context, command: SyncCommand) -> Result<(), Failure> {
    match command {
        SyncCommand::Apply(args) => sync_apply::run(context, args).await,
        SyncCommand::Export(args) => sync_export::run(context, args).await,
        SyncCommand::List(args) => list(context, args).await,
        SyncCommand::Get { name } => get(context, &name).await,
        SyncCommand::Enable { name, wait } => set_enabled(context, &name, true, wait).await,
        SyncCommand::Disable { name, wait } => set_enabled(context, &name, false, wait).await,
        SyncCommand::Delete { name, etag } => delete(context, &name, etag).await,
        SyncCommand::Rollout { name } => sync_rollout::run(context, &name).await,
        SyncCommand::Preview(args) => sync_preview::run(context, args).await,
        SyncCommand::Test(args) => sync_test::run(context, args).await,
    }
}

/// All syncs of the project that the filter takes, in that order.
pub(crate) async fn all(context: &Context, filter: String, order_by: String) -> Result<Vec<Sync>, Failure> {
    let parent = context.project()?.to_string();
    let mut client = context.syncs().await?;
    let mut syncs = Vec::<Sync>::new();
    let mut page_token = String::new();
    loop {
        let (parent, filter, order_by) = (parent.clone(), filter.clone(), order_by.clone());
        let request = ListSyncsRequest { parent, page_size: 200, page_token, filter, order_by };
        let page = client.list_syncs(call(request)).await?.into_inner();
        syncs.extend(page.syncs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(syncs);
        }
    }
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Failure> {
    let parent = context.project()?;
    let is_filtered = !args.filter.is_empty();
    let syncs = all(context, args.filter, args.order_by).await?;
    let printed: Vec<_> = syncs.iter().map(|sync| Printed::new(SYNC, sync)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || {
        if syncs.is_empty() && is_filtered {
            return Ok(format!("{parent} has no syncs that the filter takes"));
        }
        if syncs.is_empty() {
            return Ok(format!("{parent} has no syncs; `sluice sync apply --help` shows how to make one"));
        }
        let rows = syncs.iter().map(|sync| {
            vec![
                short_name(sync),
                state(sync).to_owned(),
                url(sync),
                event_types(sync),
                payload(sync).to_owned(),
                sync.revision.to_string(),
                rollout::show(sync.rollout.as_ref()),
                health(sync),
            ]
        });
        Ok(table(&["SYNC", "STATE", "DESTINATION", "EVENTS", "PAYLOAD", "REVISION", "NODES", "HEALTH"], rows))
    })
}

async fn get(context: &Context, name: &str) -> Result<(), Failure> {
    let name = context.sync_name(name)?.to_string();
    let sync = context.syncs().await?.get_sync(call(GetSyncRequest { name })).await?.into_inner();
    print(context.format, &Printed::new(SYNC, &sync)?, || Ok(show(&sync)))
}

async fn set_enabled(context: &Context, name: &str, enabled: bool, wait: WaitArgs) -> Result<(), Failure> {
    let name = context.sync_name(name)?.to_string();
    let mut client = context.syncs().await?;
    let etag = String::new();
    let sync = if enabled {
        client.enable_sync(call(EnableSyncRequest { name, etag, ..Default::default() })).await
    } else {
        client.disable_sync(call(DisableSyncRequest { name, etag, ..Default::default() })).await
    };
    let deadline = wait.deadline();
    let followed = rollout::wait(&mut client, sync?.into_inner(), deadline).await?;
    let sync = &followed.sync;
    print(context.format, &Printed::new(SYNC, sync)?, || {
        let served = rollout::served(&followed, deadline.is_some());
        Ok(format!("{}  {}  {served}", sync.name, state(sync)).trim_end().to_owned())
    })
}

async fn delete(context: &Context, name: &str, etag: String) -> Result<(), Failure> {
    let name = context.sync_name(name)?.to_string();
    context
        .syncs()
        .await?
        .delete_sync(call(DeleteSyncRequest { name: name.clone(), etag, ..Default::default() }))
        .await?;
    print(context.format, &serde_json::json!({ "name": name, "result": "deleted" }), || Ok(format!("{name}  deleted")))
}

/// Says that a sync waits to be enabled.
pub(crate) fn hint_if_disabled(sync: &Sync) -> Result<(), Failure> {
    if sync.enabled {
        return Ok(());
    }
    say(format!("  it is disabled and matches nothing until `sluice sync enable {}`", short_name(sync)))
}
