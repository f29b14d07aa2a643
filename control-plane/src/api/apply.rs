//! `ApplySyncs`: makes many syncs what they are said to be, all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use sluice_host::sealing::Sealer;
use sluice_pipeline::{
    advice,
    sync::{Rules, compile},
    violation::{Violation, reason},
};
use sluice_proto::{
    name::SyncName,
    sync::v1::{AppliedSync, ApplyResult, ApplySyncsRequest, ApplySyncsResponse, Sync, SyncHealth},
};
use uuid::Uuid;

use super::{
    Context, mask,
    once::{done, once},
    project_name, rolled_out,
    syncs::{check_etag, finish, prepare},
};
use crate::{
    audit::Actor,
    error::{Error, shorten, violation},
    secrets,
    store::Step,
    sync_filter::SyncFilter,
};

const MAX_SYNCS: usize = 10_000;

/// Answers an apply.
pub(super) async fn apply(
    context: &Context,
    request: ApplySyncsRequest,
    actor: Actor,
) -> Result<ApplySyncsResponse, Error> {
    let ApplySyncsRequest { parent, syncs, prune, prune_filter, validate_only, request_id } = request;
    let project = project_name("parent", &parent)?.project;
    let filter = SyncFilter::parse("prune_filter", &prune_filter)?;
    if !prune && !prune_filter.is_empty() {
        return Err(Error::invalid(
            "prune_filter",
            reason::INVALID_VALUE,
            "it says what `prune` deletes, which is not set",
        ));
    }
    let names = names(&project, &syncs)?;
    context.require_project(&project).await?;

    let now_ms = context.clock.now_ms();
    let digest = digest(&syncs, prune);
    let once = once(&request_id, &project, now_ms, "ApplySyncs", &[&digest, prune_filter.as_bytes()])?;
    let plan = Plan {
        rules: context.rules.clone(),
        max_syncs: context.max_syncs_per_project,
        now_ms,
        prune: prune.then_some(filter),
        project: project.clone(),
        sealer: context.store.sealer().clone(),
    };
    let applied = if validate_only {
        let revision = context.store.newest().await?.revision.saturating_add(1);
        let current = all(context, &project).await?;
        plan.steps(names, syncs, current, revision)?.1
    } else {
        let wanted = (names.clone(), syncs.clone());
        let written = context.store.change_syncs(&project, once, actor, move |current, revision| {
            plan.steps(wanted.0, wanted.1, current, revision)
        });
        match done(written.await?)? {
            Ok(applied) => applied,
            // It was done before: told as it is now.
            Err(_) => unchanged(context, names).await?,
        }
    };
    if !validate_only {
        let count = |result: ApplyResult| applied.iter().filter(|one| one.result == i32::from(result)).count();
        tracing::info!(
            project,
            created_count = count(ApplyResult::Created),
            updated_count = count(ApplyResult::Updated),
            deleted_count = count(ApplyResult::Deleted),
            "syncs applied"
        );
    }
    let uids: Vec<_> = applied.iter().map(|one| one.sync.uid.as_str()).collect();
    let mut healths = context.store.healths(&uids).await?;
    let tell = |one: Applied| {
        let health = healths.remove(&one.sync.uid).unwrap_or_default();
        tell(context, one, health)
    };
    let syncs = applied.into_iter().map(tell).collect();
    Ok(ApplySyncsResponse { syncs })
}

/// The names, each of this project and there once.
fn names(project: &str, syncs: &[Sync]) -> Result<Vec<SyncName>, Error> {
    if syncs.len() > MAX_SYNCS {
        let description = format!("{} syncs; at most {MAX_SYNCS} are taken at once", syncs.len());
        return Err(Error::invalid("syncs", reason::TOO_MANY, description));
    }
    let (mut names, mut violations, mut seen) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (index, sync) in syncs.iter().enumerate() {
        let field = format!("syncs[{index}].name");
        match sync.name.parse::<SyncName>() {
            Err(invalid) => violations.push(violation(field, reason::INVALID_NAME, shorten(&invalid.to_string(), 300))),
            Ok(name) if name.project != project => {
                let description = format!("`{name}` is not of projects/{project}, which `parent` names");
                violations.push(violation(field, reason::INVALID_NAME, description));
            }
            Ok(name) => match seen.insert(name.sync.clone(), index) {
                Some(first) => {
                    let description = format!("`{name}` is `syncs[{first}]` too: name each sync once");
                    violations.push(violation(field, reason::INVALID_NAME, description));
                }
                None => names.push(name),
            },
        }
    }
    if violations.is_empty() { Ok(names) } else { Err(Error::Invalid(violations)) }
}

fn digest(syncs: &[Sync], prune: bool) -> Vec<u8> {
    let mut bytes = vec![u8::from(prune)];
    for sync in syncs {
        let mut sync = sync.clone();
        secrets::mask(&mut sync);
        bytes.extend(sync.encode_length_delimited_to_vec());
    }
    bytes
}

async fn all(context: &Context, project: &str) -> Result<Vec<Sync>, Error> {
    Ok(context.store.syncs(project, "", i64::MAX).await?)
}

async fn unchanged(context: &Context, names: Vec<SyncName>) -> Result<Vec<Applied>, Error> {
    let mut applied = Vec::new();
    for name in names {
        if let Some(sync) = context.store.sync(&name).await? {
            applied.push(Applied::new(ApplyResult::Unchanged, Some(sync.clone()), sync));
        }
    }
    Ok(applied)
}

/// What was done to one sync, secrets in clear.
struct Applied {
    result: i32,
    previous: Option<Sync>,
    sync: Sync,
}

impl Applied {
    fn new(result: ApplyResult, previous: Option<Sync>, sync: Sync) -> Self {
        Self { result: result.into(), previous, sync }
    }
}

fn tell(context: &Context, applied: Applied, health: SyncHealth) -> AppliedSync {
    let Applied { result, previous, sync } = applied;
    let changed_secrets = previous.as_ref().map(|previous| secrets::changed(previous, &sync)).unwrap_or_default();
    let previous = previous.map(|mut previous| {
        secrets::mask(&mut previous);
        previous
    });
    let is_written = result == i32::from(ApplyResult::Created) || result == i32::from(ApplyResult::Updated);
    let compiled = is_written.then(|| compile(&sync, &context.rules).ok()).flatten();
    let warnings = compiled.map(|compiled| advice::warnings(&compiled)).unwrap_or_default();
    let sync = Sync { health: Some(health), ..rolled_out(context, sync) };
    let warnings = warnings.into_iter().map(Into::into).collect();
    AppliedSync { result, sync: Some(sync), previous, changed_secrets, warnings }
}

/// How to bring a project's syncs to what is wanted.
struct Plan {
    rules: std::sync::Arc<Rules>,
    max_syncs: usize,
    now_ms: i64,
    /// Which of the others are deleted; none: no pruning.
    prune: Option<SyncFilter>,
    project: String,
    sealer: Sealer,
}

impl Plan {
    /// The steps, and what each sync comes to; every violation of every sync at once.
    fn steps(
        &self,
        names: Vec<SyncName>,
        wanted: Vec<Sync>,
        current: Vec<Sync>,
        first_revision: i64,
    ) -> Result<(Vec<Step>, Vec<Applied>), Error> {
        let mut by_name: BTreeMap<String, Sync> = current.into_iter().map(|sync| (sync.name.clone(), sync)).collect();
        let before_count = by_name.len();
        let named: BTreeSet<&str> = wanted.iter().map(|sync| sync.name.as_str()).collect();
        let gone: Vec<Sync> = match &self.prune {
            Some(filter) => {
                let taken = by_name.values().filter(|sync| !named.contains(sync.name.as_str()) && filter.takes(sync));
                taken.cloned().collect()
            }
            None => Vec::new(),
        };

        let (mut steps, mut applied, mut violations) = (Vec::new(), Vec::new(), Vec::new());
        let mut revision = first_revision;
        let mut created_count = 0;
        for (index, (name, sync)) in names.into_iter().zip(wanted).enumerate() {
            let stored = by_name.remove(&sync.name);
            let draft = match self.draft(sync, stored.as_ref()) {
                Ok(draft) => draft,
                Err(Error::Invalid(found)) => {
                    violations.extend(found.into_iter().map(|found| below(index, found)));
                    continue;
                }
                Err(error) => return Err(error),
            };
            match stored {
                Some(stored) if stored == draft => {
                    applied.push(Applied::new(ApplyResult::Unchanged, Some(stored.clone()), stored));
                }
                stored => {
                    let sync = finish(draft, stored.as_ref(), revision, self.now_ms, &self.sealer);
                    revision = revision.saturating_add(1);
                    created_count += usize::from(stored.is_none());
                    let result = if stored.is_none() { ApplyResult::Created } else { ApplyResult::Updated };
                    steps.push(Step::Put(name, Box::new(sync.clone())));
                    applied.push(Applied::new(result, stored, sync));
                }
            }
        }
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        let after_count = before_count + created_count - gone.len();
        if created_count > 0 && after_count > self.max_syncs {
            return Err(Error::too_many_syncs(&self.project, self.max_syncs));
        }
        for sync in gone {
            if let Ok(name) = sync.name.parse() {
                steps.push(Step::Delete(name, sync.uid.clone()));
                applied.push(Applied::new(ApplyResult::Deleted, Some(sync.clone()), sync));
            }
        }
        Ok((steps, applied))
    }

    fn draft(&self, sync: Sync, stored: Option<&Sync>) -> Result<Sync, Error> {
        let mut draft = match stored {
            Some(stored) => {
                check_etag(stored, &sync.etag)?;
                let mut base = stored.clone();
                secrets::mask(&mut base);
                mask::merge(&[], &sync, &base).map_err(Error::Invalid)?
            }
            None if !sync.etag.is_empty() => return Err(Error::StaleEtag { kind: "sync", name: sync.name }),
            None => mask::merge(
                &[],
                &sync,
                &Sync { name: sync.name.clone(), uid: Uuid::new_v4().to_string(), ..Sync::default() },
            )
            .map_err(Error::Invalid)?,
        };
        let violations = prepare(&mut draft, stored, &self.rules);
        if violations.is_empty() { Ok(draft) } else { Err(Error::Invalid(violations)) }
    }
}

/// The violation, of the sync with that index.
fn below(index: usize, found: Violation) -> Violation {
    let field = if found.field.is_empty() || found.field == "sync" {
        format!("syncs[{index}]")
    } else {
        format!("syncs[{index}].{}", found.field)
    };
    Violation { field, ..found }
}
