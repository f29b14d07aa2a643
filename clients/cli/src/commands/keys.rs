//! `sluice keys`: the API keys of the control plane.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};
use sluice_client::proto::{
    access::v1::{CreateKeyRequest, GetCallerRequest, Key, KeyLimits, ListKeysRequest, RevokeKeyRequest, Role},
    name::{KeyName, is_valid_id},
};

use crate::{
    cli::Format,
    context::{Context, call},
    exit::Failure,
    output::{enum_word, note, print, say, table, time},
    proto_json::Printed,
};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key and print its text, which is never shown again
    #[command(after_help = "\
Examples:
  sluice keys create --role ingest --display-name 'checkout service'
  sluice keys create --role node --out node.key
  sluice keys create --role viewer --all-projects --expires-in 90d

What the roles may do:
  admin    everything but the next two lines
  editor   read and change syncs, test them, redeliver dead letters
  viewer   read; secrets are never shown
  ingest   send events to the nodes, for one project
  node     be a data-plane node

The first admin key is in the control plane's data folder: --api-key-file data/control-plane/admin.key")]
    Create(CreateArgs),
    /// List keys, without their texts
    #[command(after_help = "\
Examples:
  sluice keys list
  sluice keys list --show-inactive -o json | jq '.[] | select(.last_use_time == null)'")]
    List(ListArgs),
    /// Revoke a key at once, for good
    #[command(after_help = "\
Example:
  sluice keys revoke key-1f0c9a7b

Connected nodes refuse it within a second; a node without connection as soon as it is back.")]
    Revoke(RevokeArgs),
    /// Show who the key at hand is
    #[command(
        name = "whoami",
        after_help = "\
Example:
  SLUICE_API_KEY=sluice_… sluice keys whoami"
    )]
    WhoAmI,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArg {
    /// Everything but to take events in and to be a node
    Admin,
    /// Read and change
    Editor,
    /// Read
    Viewer,
    /// Send events
    Ingest,
    /// Be a node
    Node,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Editor => Self::Editor,
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Ingest => Self::Ingest,
            RoleArg::Node => Self::Node,
        }
    }
}

/// Which key to make.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it may do
    #[arg(long, value_name = "ROLE")]
    role: RoleArg,
    /// Id of the key [default: made by the control plane]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    display_name: String,
    /// Not bound to the project of --project; keys of nodes never are
    #[arg(long)]
    all_projects: bool,
    /// Refused from then on, such as 90d or 12h [default: never]
    #[arg(long, value_name = "DURATION", value_parser = crate::duration::parse)]
    expires_in: Option<Duration>,
    /// Calls in a second, on the control plane and on each node [default: not bounded]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    calls_per_second: i32,
    /// Events in a second, on each node [default: not bounded]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    events_per_second: i32,
    /// Bytes of events in a second, on each node [default: not bounded]
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    bytes_per_second: i64,
    /// Streams of events at once, on each node [default: not bounded]
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    max_streams: i32,
    /// Write the text to this new file, for its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Which keys to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Those that were revoked or have expired, too
    #[arg(long)]
    show_inactive: bool,
}

/// Which key to revoke.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id or full name
    #[arg(value_name = "KEY")]
    name: String,
}

pub(crate) async fn run(context: &Context, command: KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Create(args) => create(context, args).await,
        KeysCommand::List(args) => list(context, args).await,
        KeysCommand::Revoke(args) => revoke(context, args).await,
        KeysCommand::WhoAmI => who_am_i(context).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<(), Failure> {
    // Before there is a key that would be lost.
    let mut file = args.out.as_deref().map(new_file).transpose()?;
    let project = match args.all_projects || args.role == RoleArg::Node {
        true => String::new(),
        false => context.project()?.to_string(),
    };
    let key = Key {
        role: Role::from(args.role).into(),
        display_name: args.display_name,
        project,
        expire_time: args.expires_in.and_then(|wait| SystemTime::now().checked_add(wait)).map(Into::into),
        limits: Some(KeyLimits {
            calls_per_second: args.calls_per_second,
            events_per_second: args.events_per_second,
            bytes_per_second: args.bytes_per_second,
            max_streams: args.max_streams,
        }),
        ..Key::default()
    };
    let request = CreateKeyRequest { key_id: args.id.unwrap_or_default(), key: Some(key), validate_only: false };
    let created = match context.access().await?.create_key(call(request)).await {
        Ok(created) => created.into_inner(),
        Err(status) => {
            if let (Some(path), Some(_)) = (&args.out, file.take()) {
                // It is ours, and empty.
                let _ = std::fs::remove_file(path);
            }
            return Err(status.into());
        }
    };
    let name = created.key.as_ref().map(|key| key.name.clone()).unwrap_or_default();
    if let (Some(path), Some(mut file)) = (&args.out, file) {
        writeln!(file, "{}", created.text).and_then(|()| file.sync_all()).map_err(|error| {
            Failure::failed(format!("{} cannot be written: {error}; revoke {name}", path.display()))
        })?;
        return say(format!("{name} is in {}", path.display()));
    }
    match context.format {
        Format::Table => {
            note(&format!("{name}: keep its text, it is not shown again"));
            say(created.text)
        }
        _ => {
            print(context.format, &Printed::new("sluice.access.v1.CreateKeyResponse", &created)?, || Ok(String::new()))
        }
    }
}

fn new_file(path: &Path) -> Result<std::fs::File, Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| Failure::failed(format!("--out: {} cannot be made: {error}", path.display())))
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Failure> {
    let mut client = context.access().await?;
    let mut keys = Vec::<Key>::new();
    let mut page_token = String::new();
    loop {
        let request =
            ListKeysRequest { page_size: 1_000, page_token, project: String::new(), show_inactive: args.show_inactive };
        let page = client.list_keys(call(request)).await?.into_inner();
        keys.extend(page.keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let printed: Vec<_> = keys.iter().map(|key| Printed::new("sluice.access.v1.Key", key)).collect::<Result<_, _>>()?;
    print(context.format, &printed, || Ok(show(&keys)))
}

fn show(keys: &[Key]) -> String {
    if keys.is_empty() {
        return "no key; make one with `sluice keys create --role ROLE`".to_owned();
    }
    let now = prost_types::Timestamp::from(SystemTime::now());
    let rows = keys.iter().map(|key| {
        let expired =
            key.expire_time.as_ref().is_some_and(|time| (time.seconds, time.nanos) <= (now.seconds, now.nanos));
        vec![
            key.name.trim_start_matches("keys/").to_owned(),
            enum_word(key.role().as_str_name(), "ROLE_"),
            match key.project.as_str() {
                "" => "every".to_owned(),
                project => project.trim_start_matches("projects/").to_owned(),
            },
            match (&key.revoke_time, expired) {
                (Some(_), _) => "revoked",
                (None, true) => "expired",
                (None, false) => "active",
            }
            .to_owned(),
            format!("{}…", key.hint),
            time(key.last_use_time.as_ref()),
            time(key.expire_time.as_ref()),
            key.display_name.clone(),
        ]
    });
    table(&["KEY", "ROLE", "PROJECT", "STATE", "BEGINS", "LAST USE", "EXPIRES", "FOR"], rows)
}

async fn revoke(context: &Context, args: RevokeArgs) -> Result<(), Failure> {
    let name = match is_valid_id(&args.name) {
        true => format!("keys/{}", args.name),
        false => {
            let name: Result<KeyName, _> = args.name.parse();
            name.map_err(|error| Failure::usage(format!("{error}; the id alone will do, such as `key-1f0c9a7b`")))?
                .to_string()
        }
    };
    let request = RevokeKeyRequest { name, validate_only: false };
    let key = context.access().await?.revoke_key(call(request)).await?.into_inner();
    print(context.format, &Printed::new("sluice.access.v1.Key", &key)?, || Ok(format!("{} is revoked", key.name)))
}

async fn who_am_i(context: &Context) -> Result<(), Failure> {
    let caller = context.access().await?.get_caller(call(GetCallerRequest {})).await?.into_inner();
    print(context.format, &Printed::new("sluice.access.v1.Caller", &caller)?, || {
        if caller.name.is_empty() {
            return Ok("anybody: the control plane runs open".to_owned());
        }
        let role = enum_word(caller.role().as_str_name(), "ROLE_");
        let project = if caller.project.is_empty() { "every project" } else { &caller.project };
        Ok(format!("{}, {role} of {project}", caller.name))
    })
}
