//! `SyncService`: how operators manage syncs.

use prost::Message as _;
use sluice_host::sealing::Sealer;
use sluice_pipeline::{
    sync::{Rules, compile, etag, required_features},
    violation::{Violation, reason},
};
use sluice_proto::{
    name::{ID_RULE, SyncName, is_valid_id},
    sync::v1::{
        ApplySyncsRequest, ApplySyncsResponse, CreateSyncRequest, DeleteSyncRequest, DisableSyncRequest,
        EnableSyncRequest, GetSyncRequest, ListSyncRolloutsRequest, ListSyncRolloutsResponse, ListSyncsRequest,
        ListSyncsResponse, PreviewSyncRequest, PreviewSyncResponse, Sync, TestSyncRequest, TestSyncResponse,
        UpdateSyncRequest, sync_service_server::SyncService,
    },
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Context, apply, list_syncs, mask,
    once::{done, once},
    preview, project_name, rollouts,
    scope::{admit, admit_actor, admit_command},
    shown, sync_name, sync_not_found, test_sync,
};
use crate::{
    audit::Actor,
    error::{Error, shorten, violation},
    secrets,
    store::{Change, Once},
    time::timestamp,
};

/// The largest sync, in bytes on the wire: it must fit into a message to the nodes.
const MAX_SYNC_BYTES: usize = 1 << 20;

/// The service.
pub(crate) struct Syncs(pub(crate) Context);

#[tonic::async_trait]
impl SyncService for Syncs {
    async fn create_sync(&self, request: Request<CreateSyncRequest>) -> Result<Response<Sync>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.create(request, actor).await?))
    }

    async fn get_sync(&self, request: Request<GetSyncRequest>) -> Result<Response<Sync>, Status> {
        Ok(Response::new(self.get(&admit(request)?).await?))
    }

    async fn list_syncs(&self, request: Request<ListSyncsRequest>) -> Result<Response<ListSyncsResponse>, Status> {
        Ok(Response::new(list_syncs::list(&self.0, &admit(request)?).await?))
    }

    async fn update_sync(&self, request: Request<UpdateSyncRequest>) -> Result<Response<Sync>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.update(request, actor).await?))
    }

    async fn delete_sync(&self, request: Request<DeleteSyncRequest>) -> Result<Response<()>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(self.delete(request, actor).await?))
    }

    async fn enable_sync(&self, request: Request<EnableSyncRequest>) -> Result<Response<Sync>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        let EnableSyncRequest { name, etag, validate_only, request_id } = request;
        Ok(Response::new(self.switch(Switch { name, etag, validate_only, request_id, enabled: true }, actor).await?))
    }

    async fn disable_sync(&self, request: Request<DisableSyncRequest>) -> Result<Response<Sync>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        let DisableSyncRequest { name, etag, validate_only, request_id } = request;
        Ok(Response::new(self.switch(Switch { name, etag, validate_only, request_id, enabled: false }, actor).await?))
    }

    async fn list_sync_rollouts(
        &self,
        request: Request<ListSyncRolloutsRequest>,
    ) -> Result<Response<ListSyncRolloutsResponse>, Status> {
        Ok(Response::new(rollouts::list(&self.0, &admit(request)?).await?))
    }

    async fn preview_sync(
        &self,
        request: Request<PreviewSyncRequest>,
    ) -> Result<Response<PreviewSyncResponse>, Status> {
        Ok(Response::new(preview::preview(&self.0, admit(request)?).await?))
    }

    async fn test_sync(&self, request: Request<TestSyncRequest>) -> Result<Response<TestSyncResponse>, Status> {
        let request = admit_command(&self.0, request, test_sync::subject).await?;
        Ok(Response::new(test_sync::test(&self.0, request).await?))
    }

    async fn apply_syncs(&self, request: Request<ApplySyncsRequest>) -> Result<Response<ApplySyncsResponse>, Status> {
        let (request, actor) = admit_actor(&self.0, request)?;
        Ok(Response::new(apply::apply(&self.0, request, actor).await?))
    }
}

/// Asks to enable or disable a sync.
struct Switch {
    name: String,
    etag: String,
    validate_only: bool,
    request_id: String,
    enabled: bool,
}

impl Syncs {
    async fn create(&self, request: CreateSyncRequest, actor: Actor) -> Result<Sync, Error> {
        let CreateSyncRequest { parent, sync_id, sync, validate_only, request_id } = request;
        let mut violations = Vec::new();
        let project = match project_name("parent", &parent) {
            Ok(project) => Some(project),
            Err(Error::Invalid(found)) => {
                violations.extend(found);
                None
            }
            Err(error) => return Err(error),
        };
        let id = match sync_id.as_str() {
            "" => generated_id(),
            id => id.to_owned(),
        };
        if !is_valid_id(&id) {
            let description = format!("`{}` is not an id: {ID_RULE}", shorten(&id, 80).escape_debug());
            violations.push(violation("sync_id", reason::INVALID_NAME, description));
        }
        // What is wrong with the content is told at once, whatever is wrong with its name.
        let valid_id = if is_valid_id(&id) { id } else { generated_id() };
        let project = project.map_or_else(|| "default".to_owned(), |project| project.project);
        let name = SyncName { project, sync: valid_id };

        let mut draft = match sync {
            Some(sync) => Sync { uid: Uuid::new_v4().to_string(), name: name.to_string(), ..sync },
            None => {
                violations.push(violation("sync", reason::REQUIRED, "the request has no sync"));
                return Err(Error::Invalid(violations));
            }
        };
        violations.extend(prepare(&mut draft, None, &self.0.rules));
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        self.0.require_project(&name.project).await?;
        let now_ms = self.0.clock.now_ms();
        let mut without_secrets = Sync { name: String::new(), uid: String::new(), ..draft.clone() };
        secrets::mask(&mut without_secrets);
        let parts = [sync_id.as_bytes(), &without_secrets.encode_to_vec()];
        let once = once(&request_id, &name.project, now_ms, "CreateSync", &parts)?;
        self.check_room(&name.project).await?;

        let (shown_name, sealer) = (name.to_string(), self.0.store.sealer().clone());
        let created = self.change(&name, validate_only, once, actor, move |current, revision| {
            if current.is_some() {
                return Err(Error::AlreadyExists { kind: "sync", name: shown_name });
            }
            Ok(Change::Put(Box::new(finish(draft, None, revision, now_ms, &sealer))))
        });
        let created = created.await?.ok_or_else(|| sync_not_found(&name))?;
        if !validate_only {
            tracing::info!(sync = created.name, uid = created.uid, revision = created.revision, "sync created");
        }
        shown(&self.0, created).await
    }

    async fn get(&self, request: &GetSyncRequest) -> Result<Sync, Error> {
        let sync = self.0.sync(&sync_name(&request.name)?).await?;
        shown(&self.0, sync).await
    }

    /// Whether the project may have one sync more. Two at once may find the same last room: the limit is a soft one.
    async fn check_room(&self, project: &str) -> Result<(), Error> {
        let max = self.0.max_syncs_per_project;
        match usize::try_from(self.0.store.sync_count(project).await?).is_ok_and(|count| count < max) {
            true => Ok(()),
            false => Err(Error::too_many_syncs(project, max)),
        }
    }

    async fn update(&self, request: UpdateSyncRequest, actor: Actor) -> Result<Sync, Error> {
        let UpdateSyncRequest { sync, update_mask, validate_only, request_id } = request;
        let Some(sync) = sync else {
            return Err(Error::invalid("sync", reason::REQUIRED, "the request has no sync"));
        };
        let name = sync_name(&sync.name)?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let (now_ms, rules, shown_name) = (self.0.clock.now_ms(), self.0.rules.clone(), name.clone());
        let sealer = self.0.store.sealer().clone();
        let mut without_secrets = sync.clone();
        secrets::mask(&mut without_secrets);
        let parts = [without_secrets.encode_to_vec(), paths.join(",").into_bytes()];
        let once = once(&request_id, &name.project, now_ms, "UpdateSync", &[&parts[0], &parts[1]])?;

        let updated = self.change(&name, validate_only, once, actor, move |current, revision| {
            let current = current.ok_or_else(|| sync_not_found(&shown_name))?;
            check_etag(current, &sync.etag)?;
            let mut base = current.clone();
            secrets::mask(&mut base);
            let mut draft = mask::merge(&paths, &sync, &base).map_err(Error::Invalid)?;
            let violations = prepare(&mut draft, Some(current), &rules);
            if !violations.is_empty() {
                return Err(Error::Invalid(violations));
            }
            if draft == *current {
                return Ok(Change::Keep);
            }
            Ok(Change::Put(Box::new(finish(draft, Some(current), revision, now_ms, &sealer))))
        });
        let updated = updated.await?.ok_or_else(|| sync_not_found(&name))?;
        if !validate_only {
            tracing::info!(sync = updated.name, uid = updated.uid, revision = updated.revision, "sync updated");
        }
        shown(&self.0, updated).await
    }

    async fn delete(&self, request: DeleteSyncRequest, actor: Actor) -> Result<(), Error> {
        let DeleteSyncRequest { name, etag, validate_only, request_id } = request;
        let name = sync_name(&name)?;
        let parts = [name.sync.as_bytes(), etag.as_bytes()];
        let once = once(&request_id, &name.project, self.0.clock.now_ms(), "DeleteSync", &parts)?;
        let shown_name = name.clone();
        let decide = move |current: Option<&Sync>, _| {
            let current = current.ok_or_else(|| sync_not_found(&shown_name))?;
            check_etag(current, &etag)?;
            Ok(Change::Delete)
        };
        if validate_only {
            self.try_out(&name, decide).await?;
        } else if done(self.0.store.change_sync(&name, once, actor, decide).await?)?.is_ok() {
            tracing::info!(sync = %name, "sync deleted");
        }
        Ok(())
    }

    async fn switch(&self, switch: Switch, actor: Actor) -> Result<Sync, Error> {
        let Switch { name, etag, validate_only, request_id, enabled } = switch;
        let name = sync_name(&name)?;
        let (now_ms, rules, shown_name) = (self.0.clock.now_ms(), self.0.rules.clone(), name.clone());
        let sealer = self.0.store.sealer().clone();
        let method = if enabled { "EnableSync" } else { "DisableSync" };
        let parts = [name.sync.as_bytes(), etag.as_bytes()];
        let once = once(&request_id, &name.project, now_ms, method, &parts)?;
        let switched = self.change(&name, validate_only, once, actor, move |current, revision| {
            let current = current.ok_or_else(|| sync_not_found(&shown_name))?;
            check_etag(current, &etag)?;
            if current.enabled == enabled {
                return Ok(Change::Keep);
            }
            let draft = Sync { enabled, ..current.clone() };
            // The brake works whatever the rules have become since.
            if enabled {
                compile(&draft, &rules).map_err(Error::Invalid)?;
            }
            Ok(Change::Put(Box::new(finish(draft, Some(current), revision, now_ms, &sealer))))
        });
        let switched = switched.await?.ok_or_else(|| sync_not_found(&name))?;
        if !validate_only {
            tracing::info!(sync = switched.name, revision = switched.revision, enabled, "sync switched");
        }
        shown(&self.0, switched).await
    }

    /// Changes the stored sync as `decide` says, or only tells what that would give. A request that was done before gets the sync
    /// as it is now.
    async fn change<D>(
        &self,
        name: &SyncName,
        validate_only: bool,
        once: Option<Once>,
        actor: Actor,
        decide: D,
    ) -> Result<Option<Sync>, Error>
    where
        D: FnOnce(Option<&Sync>, i64) -> Result<Change, Error> + Send + 'static,
    {
        if validate_only {
            return self.try_out(name, decide).await;
        }
        match done(self.0.store.change_sync(name, once, actor, decide).await?)? {
            Ok(sync) => Ok(sync),
            Err(resource) => Ok(Some(self.0.sync(&sync_name(&resource)?).await?)),
        }
    }

    /// What `decide` would give; stores nothing.
    async fn try_out<D>(&self, name: &SyncName, decide: D) -> Result<Option<Sync>, Error>
    where
        D: FnOnce(Option<&Sync>, i64) -> Result<Change, Error>,
    {
        let revision = self.0.store.newest().await?.revision.saturating_add(1);
        let current = self.0.store.sync(name).await?;
        Ok(match decide(current.as_ref(), revision)? {
            Change::Keep => current,
            Change::Put(sync) => Some(*sync),
            Change::Delete => None,
        })
    }
}

/// Brings what a caller wrote into the form in which it is stored, but for what [`finish`] adds; gives what is wrong with
/// it.
pub(super) fn prepare(draft: &mut Sync, stored: Option<&Sync>, rules: &Rules) -> Vec<Violation> {
    (draft.rollout, draft.health) = (None, None);
    draft.disable_reason = stored.map(|stored| stored.disable_reason.clone()).unwrap_or_default();
    draft.required_features = required_features(draft);
    let mut violations = secrets::keep(draft, stored);
    if draft.encoded_len() > MAX_SYNC_BYTES {
        let description = format!("{} bytes; at most {MAX_SYNC_BYTES} are taken", draft.encoded_len());
        violations.push(violation("sync", reason::TOO_LONG, description));
    }
    if let Err(found) = compile(draft, rules) {
        // A secret that must be given again is also found empty: said once.
        let told: Vec<_> = violations.iter().map(|violation| violation.field.clone()).collect();
        violations.extend(found.into_iter().filter(|violation| !told.contains(&violation.field)));
    }
    violations
}

/// Sets what the control plane sets with every change.
pub(crate) fn finish(draft: Sync, before: Option<&Sync>, revision: i64, now_ms: i64, sealer: &Sealer) -> Sync {
    let disable_reason = if draft.enabled { String::new() } else { draft.disable_reason.clone() };
    let mut sync = Sync {
        disable_reason,
        revision,
        create_time: Some(before.and_then(|before| before.create_time).unwrap_or_else(|| timestamp(now_ms))),
        update_time: Some(timestamp(now_ms)),
        rollout: None,
        health: None,
        ..draft
    };
    // It covers secrets: without the key nobody can find out by trying which ones.
    sync.etag = sealer.fingerprint(&etag(&sync));
    sync
}

pub(super) fn check_etag(current: &Sync, given: &str) -> Result<(), Error> {
    match given.is_empty() || given == current.etag {
        true => Ok(()),
        false => Err(Error::StaleEtag { kind: "sync", name: current.name.clone() }),
    }
}

fn generated_id() -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("sync-{}", id.get(..8).unwrap_or(&id))
}
