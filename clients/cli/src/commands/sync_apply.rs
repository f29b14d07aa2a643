//! `sluice sync apply`: makes the stored syncs what the manifests say.

use prost_types::FieldMask;
use sluice_client::proto::sync::v1::{
    CreateSyncRequest, GetSyncRequest, Sync, UpdateSyncRequest, sync_service_client::SyncServiceClient,
};
use tonic::{Code, transport::Channel};

use crate::{
    cli::Format,
    commands::sync::{ApplyArgs, hint_if_disabled},
    context::{Context, call},
    diff::{Change, changes},
    exit::{Exit, Failure},
    manifest::{self, Document},
    output::{note, print, say},
    rollout,
};

/// What became of a document.
struct Applied {
    result: Outcome,
    changes: Vec<Change>,
    sync: Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Created,
    Updated,
    Unchanged,
    Failed,
}

/// What became of a document, for programs.
#[derive(serde::Serialize)]
struct Report {
    name: String,
    result: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving_count: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(context: &Context, args: ApplyArgs) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for file in &args.files {
        documents.extend(manifest::read(context, file)?);
    }
    // Everything that is wrong with the documents themselves is said before anything needs a server.
    let mut run = Run { context, reports: Vec::new(), exits: Vec::new() };
    let mut valid = Vec::new();
    for Document { label, sync } in documents {
        match sync.and_then(|sync| manifest::name_of(&sync).map(|name| (sync, name))) {
            Ok((sync, name)) => valid.push((label, sync, name)),
            Err(failure) => run.failed(label, &failure),
        }
    }
    if !valid.is_empty() {
        let mut client = context.syncs().await?;
        let mut applied = Vec::new();
        for (label, sync, name) in valid {
            match apply(&mut client, sync, &name.project, &name.sync).await {
                Ok(done) => applied.push((label, done)),
                Err(failure) => run.failed(label, &failure),
            }
        }
        let deadline = args.wait.deadline();
        for (label, Applied { result, changes, sync }) in applied {
            match rollout::wait(&mut client, sync.clone(), deadline).await {
                Ok(sync) => run.done(result, changes, &sync, deadline.is_some())?,
                Err(failure) => {
                    run.done(result, changes, &sync, false)?;
                    run.failed(label, &failure);
                }
            }
        }
    }
    run.end()
}

/// Creates the sync, or replaces what can be set of the one that is there.
async fn apply(
    client: &mut SyncServiceClient<Channel>,
    sync: Sync,
    project: &str,
    id: &str,
) -> Result<Applied, Failure> {
    let before = match client.get_sync(call(GetSyncRequest { name: sync.name.clone() })).await {
        Ok(before) => before.into_inner(),
        Err(status) if status.code() == Code::NotFound => {
            let request = CreateSyncRequest {
                parent: format!("projects/{project}"),
                sync_id: id.to_owned(),
                sync: Some(sync),
                validate_only: false,
                ..Default::default()
            };
            let sync = client.create_sync(call(request)).await?.into_inner();
            return Ok(Applied { result: Outcome::Created, changes: Vec::new(), sync });
        }
        Err(status) => return Err(status.into()),
    };
    // An etag in the document is the version that its author has seen.
    let etag = if sync.etag.is_empty() { before.etag.clone() } else { sync.etag.clone() };
    let written = Sync { etag, ..sync };
    let request = UpdateSyncRequest {
        sync: Some(written.clone()),
        update_mask: Some(FieldMask { paths: vec!["*".to_owned()] }),
        validate_only: false,
        ..Default::default()
    };
    let after = client.update_sync(call(request)).await?.into_inner();
    let changes = changes(&before, &after, &written)?;
    let unchanged = before.etag == after.etag;
    let result = if unchanged { Outcome::Unchanged } else { Outcome::Updated };
    Ok(Applied { result, changes, sync: after })
}

struct Run<'a> {
    context: &'a Context,
    reports: Vec<Report>,
    exits: Vec<Exit>,
}

impl Run<'_> {
    fn done(&mut self, result: Outcome, changes: Vec<Change>, sync: &Sync, waited: bool) -> Result<(), Failure> {
        if self.context.format == Format::Table {
            let served = rollout::served(sync, waited);
            let line = match result {
                Outcome::Created => format!("{}  created  {served}", sync.name),
                Outcome::Updated => {
                    let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
                    format!("{}  updated ({})  {served}", sync.name, fields.join(", "))
                }
                Outcome::Unchanged | Outcome::Failed => format!("{}  unchanged  {served}", sync.name),
            };
            say(line.trim_end())?;
            for Change { field, before, after } in &changes {
                say(format!("  {field}: {} → {}", or_none(before), or_none(after)))?;
            }
            hint_if_disabled(sync)?;
        }
        self.reports.push(Report {
            name: sync.name.clone(),
            result,
            changes,
            revision: Some(sync.revision),
            serving_count: sync.rollout.as_ref().map(|rollout| rollout.serving_count),
            error: None,
        });
        Ok(())
    }

    fn failed(&mut self, label: String, failure: &Failure) {
        self.exits.push(failure.exit);
        note(&format!("error: {}", failure.clone().context(&label).text()));
        match self.reports.iter_mut().find(|report| report.name == label) {
            Some(report) => report.error = Some(failure.text()),
            None => self.reports.push(Report {
                name: label,
                result: Outcome::Failed,
                changes: Vec::new(),
                revision: None,
                serving_count: None,
                error: Some(failure.text()),
            }),
        }
    }

    fn end(self) -> Result<(), Failure> {
        if self.context.format != Format::Table {
            print(self.context.format, &self.reports, || Ok(String::new()))?;
        }
        match worst(&self.exits) {
            None => Ok(()),
            Some(exit) => Err(Failure::told(exit)),
        }
    }
}

/// The exit code of a run with several failures: invalid input before all others, then the first one.
fn worst(exits: &[Exit]) -> Option<Exit> {
    exits.iter().find(|exit| **exit == Exit::Invalid).or(exits.first()).copied()
}

fn or_none(value: &str) -> &str {
    if value.is_empty() { "(none)" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_input_decides_the_exit_code() {
        assert_eq!(worst(&[]), None);
        assert_eq!(worst(&[Exit::Conflict, Exit::Unavailable]), Some(Exit::Conflict));
        assert_eq!(worst(&[Exit::Conflict, Exit::Invalid]), Some(Exit::Invalid));
    }
}
