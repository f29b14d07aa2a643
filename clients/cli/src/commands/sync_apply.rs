//! `sluice sync apply`: makes the stored syncs what the manifests say, all or nothing.

use sluice_client::proto::sync::v1::{AppliedSync, ApplyResult, ApplySyncsRequest, Sync, SyncRollout};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    cli::Format,
    commands::sync::{ApplyArgs, hint_if_disabled},
    context::{Context, call},
    diff::{Change, changes},
    exit::{Exit, Failure},
    manifest::{self, Document},
    output::{enum_word, note, print, say},
    rollout::{self, Followed},
    violation::{self, Shown},
};

/// What became of a document, for programs.
#[derive(serde::Serialize)]
struct Report {
    name: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
    /// Traps in the template, as they are printed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving_count: Option<i32>,
    /// What each node makes of it, if the nodes were waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<NodeReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What a node makes of a sync, for programs.
#[derive(serde::Serialize)]
struct NodeReport {
    node: String,
    state: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<String>,
}

impl From<&SyncRollout> for NodeReport {
    fn from(rollout: &SyncRollout) -> Self {
        Self {
            node: rollout.node.clone(),
            state: enum_word(rollout.state().as_str_name(), "ROLLOUT_STATE_"),
            violations: rollout.violations.iter().map(|violation| Shown(violation.clone()).to_string()).collect(),
        }
    }
}

pub(crate) async fn run(context: &Context, args: ApplyArgs) -> Result<(), Failure> {
    // Everything that is wrong with the documents themselves is said before anything needs a server.
    let Documents { project, labels, syncs } = read(context, &args)?;
    let request = ApplySyncsRequest {
        parent: format!("projects/{project}"),
        syncs,
        prune: args.prune,
        prune_filter: args.prune_filter.clone().unwrap_or_default(),
        validate_only: args.dry_run,
        request_id: Uuid::new_v4().to_string(),
    };
    let mut client = context.syncs().await?.max_encoding_message_size(usize::MAX).max_decoding_message_size(usize::MAX);
    let applied = match client.apply_syncs(call(request)).await {
        Ok(applied) => applied.into_inner().syncs,
        Err(status) => return Err(refused(&status, &labels)),
    };

    let mut run = Run { context, dry_run: args.dry_run, reports: Vec::new(), exit: None };
    let deadline = args.wait.deadline().filter(|_| !args.dry_run);
    for one in applied {
        let (result, changed) = (one.result(), changed(&one)?);
        let warnings: Vec<_> = one.warnings.iter().map(|warning| Shown::warning(warning).to_string()).collect();
        let Some(sync) = one.sync else { continue };
        for warning in &warnings {
            note(&format!("warning: {}: {warning}", sync.name));
        }
        let until = deadline.filter(|_| result != ApplyResult::Deleted);
        match rollout::follow(&mut client, sync.clone(), until).await {
            Ok(followed) => {
                run.done(result, changed, warnings, &followed, until.is_some())?;
                if let Some(failure) = &followed.failure {
                    run.failed(&sync.name, failure);
                }
            }
            // It is stored, only what the nodes make of it is not known.
            Err(failure) => {
                let unknown = Followed { sync, nodes: Vec::new(), failure: None };
                run.done(result, changed, warnings, &unknown, false)?;
                run.failed(&unknown.sync.name, &failure);
            }
        }
    }
    run.end()
}

struct Documents {
    project: String,
    labels: Vec<String>,
    syncs: Vec<Sync>,
}

fn read(context: &Context, args: &ApplyArgs) -> Result<Documents, Failure> {
    let mut project = None;
    let (mut labels, mut syncs, mut wrong) = (Vec::new(), Vec::new(), false);
    let mut refuse = |label: &str, failure: Failure| {
        note(&format!("error: {}", failure.context(label).text()));
        wrong = true;
    };
    for path in &manifest::files(&args.files)? {
        for Document { label, sync } in manifest::read(context, path)? {
            let named = sync.and_then(|sync| manifest::name_of(&sync).map(|name| (sync, name)));
            match named {
                Ok((sync, name)) => {
                    if project.get_or_insert_with(|| name.project.clone()) == &name.project {
                        labels.push(label);
                        syncs.push(sync);
                    } else {
                        let message = "is of another project than those before it: apply each project by itself";
                        refuse(&label, Failure::invalid(message, Vec::new()));
                    }
                }
                Err(failure) => refuse(&label, failure),
            }
        }
    }
    if wrong {
        note("nothing was applied");
        return Err(Failure::told(Exit::Invalid));
    }
    let project = match project {
        Some(project) => project,
        None => context.project()?.project,
    };
    Ok(Documents { project, labels, syncs })
}

/// What the control plane said, with the documents' names in place of their numbers.
fn refused(status: &Status, labels: &[String]) -> Failure {
    if status.code() != Code::InvalidArgument {
        return Failure::from(status.clone());
    }
    let details = violation::of_status(status).into_iter().map(|mut shown| {
        let (label, field) = document(&shown.0.field, labels);
        shown.0.field = field;
        match label {
            Some(label) => format!("{label}: {shown}"),
            None => shown.to_string(),
        }
    });
    Failure::invalid("nothing was applied", details.collect())
}

/// The document that `syncs[3].destination.url` is about, and the field within it.
fn document<'l>(field: &str, labels: &'l [String]) -> (Option<&'l str>, String) {
    let parts = field.strip_prefix("syncs[").and_then(|rest| rest.split_once(']'));
    let found = parts.and_then(|(index, rest)| Some((labels.get(index.parse::<usize>().ok()?)?, rest)));
    match found {
        Some((label, rest)) => (Some(label), rest.trim_start_matches('.').to_owned()),
        None => (None, field.to_owned()),
    }
}

fn changed(applied: &AppliedSync) -> Result<Vec<Change>, Failure> {
    match (&applied.previous, &applied.sync, applied.result()) {
        (Some(previous), Some(sync), ApplyResult::Updated) => changes(previous, sync, &applied.changed_secrets),
        _ => Ok(Vec::new()),
    }
}

struct Run<'a> {
    context: &'a Context,
    dry_run: bool,
    reports: Vec<Report>,
    exit: Option<Exit>,
}

impl Run<'_> {
    fn done(
        &mut self,
        result: ApplyResult,
        changes: Vec<Change>,
        warnings: Vec<String>,
        followed: &Followed,
        waited: bool,
    ) -> Result<(), Failure> {
        let sync = &followed.sync;
        if self.context.format == Format::Table {
            let would = if self.dry_run && result != ApplyResult::Unchanged { "would be " } else { "" };
            let line = format!("{}  {would}{}  {}", sync.name, word(result), rollout::served(followed, waited));
            say(line.trim_end())?;
            for Change { field, before, after, lines } in &changes {
                if lines.is_empty() {
                    say(format!("  {field}: {} → {}", or_none(before), or_none(after)))?;
                } else {
                    say(format!("  {field}:"))?;
                    lines.iter().try_for_each(|line| say(format!("    {line}")))?;
                }
            }
            if result != ApplyResult::Deleted {
                hint_if_disabled(sync)?;
            }
        }
        let exists = result != ApplyResult::Deleted && !self.dry_run;
        self.reports.push(Report {
            name: sync.name.clone(),
            result: word(result),
            changes,
            warnings,
            revision: exists.then_some(sync.revision),
            serving_count: sync.rollout.as_ref().filter(|_| exists).map(|rollout| rollout.serving_count),
            nodes: followed.nodes.iter().map(Into::into).collect(),
            error: None,
        });
        Ok(())
    }

    /// The sync is stored, but not served everywhere.
    fn failed(&mut self, name: &str, failure: &Failure) {
        self.exit = self.exit.or(Some(failure.exit));
        note(&format!("error: {}", failure.clone().context(name).text()));
        if let Some(report) = self.reports.iter_mut().find(|report| report.name == name) {
            report.error = Some(failure.text());
        }
    }

    fn end(self) -> Result<(), Failure> {
        if self.context.format != Format::Table {
            print(self.context.format, &self.reports, || Ok(String::new()))?;
        } else if self.dry_run {
            say("nothing was stored: a dry run")?;
        }
        self.exit.map_or(Ok(()), |exit| Err(Failure::told(exit)))
    }
}

fn word(result: ApplyResult) -> &'static str {
    match result {
        ApplyResult::Created => "created",
        ApplyResult::Updated => "updated",
        ApplyResult::Deleted => "deleted",
        ApplyResult::Unchanged | ApplyResult::Unspecified => "unchanged",
    }
}

fn or_none(value: &str) -> &str {
    if value.is_empty() { "(none)" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_is_told_of_its_document() {
        let labels = ["a".to_owned(), "b".to_owned()];
        assert_eq!(document("syncs[1].destination.url", &labels), (Some("b"), "destination.url".to_owned()));
        assert_eq!(document("syncs[0]", &labels), (Some("a"), String::new()));
        for other in ["prune_filter", "syncs[7].name", "syncs[x]"] {
            assert_eq!(document(other, &labels), (None, other.to_owned()));
        }
    }
}
