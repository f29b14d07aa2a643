//! `SyncService`: how operators manage syncs.

use prost::Message as _;
use sluice_pipeline::{
    sync::{Rules, compile, etag, required_features},
    violation::{Violation, reason},
};
use sluice_proto::{
    name::{ID_RULE, SyncName, is_valid_id},
    sync::v1::{
        CreateSyncRequest, DeleteSyncRequest, DisableSyncRequest, EnableSyncRequest, GetSyncRequest, ListSyncsRequest,
        ListSyncsResponse, PreviewSyncRequest, PreviewSyncResponse, Sync, UpdateSyncRequest,
        sync_service_server::SyncService,
    },
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Context, mask, page, preview, project_name, sync_name, sync_not_found};
use crate::{
    error::{Error, shorten, violation},
    secrets,
    store::Change,
    time::timestamp,
};

/// The largest sync, in bytes on the wire: it must fit into a message to the nodes.
const MAX_SYNC_BYTES: usize = 1 << 20;
/// Syncs that are read at once while a page is filled.
const READ_AHEAD: usize = 20;

/// The service.
pub(crate) struct Syncs(pub(crate) Context);

#[tonic::async_trait]
impl SyncService for Syncs {
    async fn create_sync(&self, request: Request<CreateSyncRequest>) -> Result<Response<Sync>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn get_sync(&self, request: Request<GetSyncRequest>) -> Result<Response<Sync>, Status> {
        Ok(Response::new(self.get(&request.into_inner()).await?))
    }

    async fn list_syncs(&self, request: Request<ListSyncsRequest>) -> Result<Response<ListSyncsResponse>, Status> {
        Ok(Response::new(self.list(&request.into_inner()).await?))
    }

    async fn update_sync(&self, request: Request<UpdateSyncRequest>) -> Result<Response<Sync>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn delete_sync(&self, request: Request<DeleteSyncRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn enable_sync(&self, request: Request<EnableSyncRequest>) -> Result<Response<Sync>, Status> {
        let EnableSyncRequest { name, etag } = request.into_inner();
        Ok(Response::new(self.switch(&name, etag, true).await?))
    }

    async fn disable_sync(&self, request: Request<DisableSyncRequest>) -> Result<Response<Sync>, Status> {
        let DisableSyncRequest { name, etag } = request.into_inner();
        Ok(Response::new(self.switch(&name, etag, false).await?))
    }

    async fn preview_sync(
        &self,
        request: Request<PreviewSyncRequest>,
    ) -> Result<Response<PreviewSyncResponse>, Status> {
        Ok(Response::new(preview::preview(&self.0, request.into_inner()).await?))
    }
}

impl Syncs {
    async fn create(&self, request: CreateSyncRequest) -> Result<Sync, Error> {
        let CreateSyncRequest { parent, sync_id, sync, validate_only } = request;
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

        let (now_ms, shown_name) = (self.0.clock.now_ms(), name.to_string());
        let created = self.change(&name, validate_only, move |current, revision| {
            if current.is_some() {
                return Err(Error::AlreadyExists { name: shown_name });
            }
            Ok(Change::Put(Box::new(finish(draft, None, revision, now_ms))))
        });
        let created = created.await?.ok_or_else(|| sync_not_found(&name))?;
        if !validate_only {
            tracing::info!(sync = created.name, uid = created.uid, revision = created.revision, "sync created");
        }
        Ok(self.shown(created))
    }

    async fn get(&self, request: &GetSyncRequest) -> Result<Sync, Error> {
        Ok(self.shown(self.0.sync(&sync_name(&request.name)?).await?))
    }

    async fn list(&self, request: &ListSyncsRequest) -> Result<ListSyncsResponse, Error> {
        let project = project_name("parent", &request.parent)?.project;
        let mut room = page::Room::new(page::size(request.page_size)?);
        let list = page::ListOf::new(&[b"syncs", project.as_bytes()]);
        let after = list.place(&request.page_token)?.unwrap_or_default();
        let mut after = String::from_utf8_lossy(&after).into_owned();
        self.0.require_project(&project).await?;

        let mut syncs = Vec::new();
        let next_page_token = loop {
            let read = self.0.store.syncs(&project, &after, i64::try_from(READ_AHEAD).unwrap_or(1)).await?;
            let is_last = read.len() < READ_AHEAD;
            let before = syncs.len();
            let read_count = read.len();
            for sync in read {
                if !room.takes(sync.encoded_len()) {
                    break;
                }
                if let Some((_, id)) = sync.name.rsplit_once('/') {
                    after = id.to_owned();
                }
                syncs.push(self.shown(sync));
            }
            if syncs.len() - before < read_count {
                break list.token(after.as_bytes());
            }
            if is_last {
                break String::new();
            }
        };
        Ok(ListSyncsResponse { syncs, next_page_token })
    }

    async fn update(&self, request: UpdateSyncRequest) -> Result<Sync, Error> {
        let UpdateSyncRequest { sync, update_mask, validate_only } = request;
        let Some(sync) = sync else {
            return Err(Error::invalid("sync", reason::REQUIRED, "the request has no sync"));
        };
        let name = sync_name(&sync.name)?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let (now_ms, rules, shown_name) = (self.0.clock.now_ms(), self.0.rules.clone(), name.clone());

        let updated = self.change(&name, validate_only, move |current, revision| {
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
            Ok(Change::Put(Box::new(finish(draft, Some(current), revision, now_ms))))
        });
        let updated = updated.await?.ok_or_else(|| sync_not_found(&name))?;
        if !validate_only {
            tracing::info!(sync = updated.name, uid = updated.uid, revision = updated.revision, "sync updated");
        }
        Ok(self.shown(updated))
    }

    async fn delete(&self, request: DeleteSyncRequest) -> Result<(), Error> {
        let name = sync_name(&request.name)?;
        let shown_name = name.clone();
        let deleted = self.change(&name, false, move |current, _| {
            let current = current.ok_or_else(|| sync_not_found(&shown_name))?;
            check_etag(current, &request.etag)?;
            Ok(Change::Delete)
        });
        deleted.await?;
        tracing::info!(sync = %name, "sync deleted");
        Ok(())
    }

    async fn switch(&self, name: &str, etag: String, enabled: bool) -> Result<Sync, Error> {
        let name = sync_name(name)?;
        let (now_ms, rules, shown_name) = (self.0.clock.now_ms(), self.0.rules.clone(), name.clone());
        let switched = self.change(&name, false, move |current, revision| {
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
            Ok(Change::Put(Box::new(finish(draft, Some(current), revision, now_ms))))
        });
        let switched = switched.await?.ok_or_else(|| sync_not_found(&name))?;
        tracing::info!(sync = switched.name, revision = switched.revision, enabled, "sync switched");
        Ok(self.shown(switched))
    }

    /// Changes the stored sync as `decide` says, or only tells what that would give.
    async fn change<D>(&self, name: &SyncName, validate_only: bool, decide: D) -> Result<Option<Sync>, Error>
    where
        D: FnOnce(Option<&Sync>, i64) -> Result<Change, Error> + Send + 'static,
    {
        if !validate_only {
            return self.0.store.change_sync(name, decide).await;
        }
        let revision = self.0.store.newest().await?.revision.saturating_add(1);
        let current = self.0.store.sync(name).await?;
        Ok(match decide(current.as_ref(), revision)? {
            Change::Keep => current,
            Change::Put(sync) => Some(*sync),
            Change::Delete => None,
        })
    }

    /// The sync as callers see it: without secrets, with its rollout.
    fn shown(&self, mut sync: Sync) -> Sync {
        secrets::mask(&mut sync);
        let epoch = self.0.publisher.watch_revision().borrow().epoch.clone();
        sync.rollout = Some(self.0.nodes.rollout(&sync, &epoch));
        sync
    }
}

/// Brings what a caller wrote into the form in which it is stored, but for what [`finish`] adds; gives what is wrong with
/// it.
fn prepare(draft: &mut Sync, stored: Option<&Sync>, rules: &Rules) -> Vec<Violation> {
    draft.rollout = None;
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
fn finish(draft: Sync, before: Option<&Sync>, revision: i64, now_ms: i64) -> Sync {
    let mut sync = Sync {
        revision,
        create_time: Some(before.and_then(|before| before.create_time).unwrap_or_else(|| timestamp(now_ms))),
        update_time: Some(timestamp(now_ms)),
        rollout: None,
        ..draft
    };
    sync.etag = etag(&sync);
    sync
}

fn check_etag(current: &Sync, given: &str) -> Result<(), Error> {
    match given.is_empty() || given == current.etag {
        true => Ok(()),
        false => Err(Error::StaleEtag { name: current.name.clone() }),
    }
}

fn generated_id() -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("sync-{}", id.get(..8).unwrap_or(&id))
}
