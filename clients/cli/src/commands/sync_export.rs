//! `sluice sync export`: writes the stored syncs as manifests that `apply` takes.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use serde_json::Value;
use sluice_client::proto::sync::v1::Sync;

use crate::{
    cli::Format,
    commands::{
        sync::{ExportArgs, SYNC, all},
        sync_show::short_name,
    },
    context::Context,
    diff::OUTPUT_ONLY,
    exit::{Exit, Failure},
    output::{count, manifest_text, say, write},
    proto_json::Printed,
};

pub(crate) async fn run(context: &Context, args: ExportArgs) -> Result<(), Failure> {
    let syncs = all(context, args.filter.unwrap_or_default(), String::new()).await?;
    let format = if context.format == Format::Json { Format::Json } else { Format::Yaml };
    let Some(folder) = args.folder else {
        return match format {
            Format::Json => write_all(&syncs, "[\n", ",\n", "\n]\n", format),
            Format::Table | Format::Yaml => write_all(&syncs, "---\n", "---\n", "", format),
        };
    };
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::failed(format!("the folder {} cannot be made: {error}", folder.display())))?;
    for sync in &syncs {
        let extension = if format == Format::Json { "json" } else { "yaml" };
        let path = folder.join(format!("{}.{extension}", short_name(sync)));
        put(&path, &manifest_text(format, &settable(sync)?)?, args.force)?;
    }
    say(format!("{} written to {}", count(syncs.len() as u64, "sync"), folder.display()))
}

fn write_all(syncs: &[Sync], before: &str, between: &str, after: &str, format: Format) -> Result<(), Failure> {
    if syncs.is_empty() {
        return write(if format == Format::Json { b"[]\n" } else { b"" });
    }
    let mut text = before.to_owned();
    for (index, sync) in syncs.iter().enumerate() {
        text.push_str(if index > 0 { between } else { "" });
        let one = manifest_text(format, &settable(sync)?)?;
        text.push_str(if format == Format::Json { one.trim_end() } else { &one });
    }
    text.push_str(after);
    write(text.as_bytes())
}

/// What a manifest says of the sync: all that can be set, secrets as they are stored.
fn settable(sync: &Sync) -> Result<Value, Failure> {
    let mut tree = Printed::new(SYNC, sync)?.to_value()?;
    if let Value::Object(fields) = &mut tree {
        fields.retain(|name, _| !OUTPUT_ONLY.contains(&name.as_str()));
    }
    Ok(tree)
}

fn put(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already: give --force to write over it", path.display());
            Err(Failure::new(Exit::Conflict, message))
        }
        Err(error) => Err(Failure::failed(format!("{} cannot be written: {error}", path.display()))),
    }
}
