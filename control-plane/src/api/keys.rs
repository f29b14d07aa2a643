//! `AccessService`: how admins manage API keys.

use sluice_access::{ApiKey, Caller};
use sluice_pipeline::violation::{Violation, reason};
use sluice_proto::{
    access::v1::{
        self as proto, CreateKeyRequest, CreateKeyResponse, GetCallerRequest, GetKeyRequest, Key, KeyLimits,
        ListKeysRequest, ListKeysResponse, RevokeKeyRequest, Role, access_service_server::AccessService,
    },
    name::{ID_RULE, InvalidName, KeyName, ProjectName, is_valid_id},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Context, page, scope::admit_caller};
use crate::{
    audit::Actor,
    error::{Error, shorten, violation},
    keys::{ADMIN_FILE_KEY, MAX_KEYS},
    time::{bound, millis, timestamp},
};

const MAX_DISPLAY_NAME: usize = 200;
const MINUTE_MS: i64 = 60_000;

/// The service.
pub(crate) struct KeyList(pub(crate) Context);

#[tonic::async_trait]
impl AccessService for KeyList {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<CreateKeyResponse>, Status> {
        let actor = Actor::of(&request, Caller::of(&request)?, self.0.clock.now_ms());
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.create(request, &caller, actor).await?))
    }

    async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<Key>, Status> {
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.shown(self.visible(&request.name, &caller).await?)))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.list(&request, &caller).await?))
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Result<Response<Key>, Status> {
        let actor = Actor::of(&request, Caller::of(&request)?, self.0.clock.now_ms());
        let (request, caller) = admit_caller(request)?;
        Ok(Response::new(self.revoke(&request, &caller, actor).await?))
    }

    async fn get_caller(&self, request: Request<GetCallerRequest>) -> Result<Response<proto::Caller>, Status> {
        let (_, caller) = admit_caller(request)?;
        Ok(Response::new(proto::Caller {
            name: caller.name().to_owned(),
            role: caller.role().into(),
            project: caller.project().map(|project| format!("projects/{project}")).unwrap_or_default(),
            expire_time: caller.grant().and_then(|grant| grant.expire_ms).map(timestamp),
        }))
    }
}

impl KeyList {
    async fn create(
        &self,
        request: CreateKeyRequest,
        caller: &Caller,
        actor: Actor,
    ) -> Result<CreateKeyResponse, Error> {
        let CreateKeyRequest { key_id, key, validate_only } = request;
        let now_ms = self.0.clock.now_ms();
        let id = if key_id.is_empty() { generated_id() } else { key_id };
        let name = format!("keys/{id}");
        let mut violations = Vec::new();
        if !is_valid_id(&id) || name == ADMIN_FILE_KEY {
            let description = format!("`{}` is not an id that is free: {ID_RULE}", shorten(&id, 80).escape_debug());
            violations.push(violation("key_id", reason::INVALID_NAME, description));
        }
        let Some(draft) = key else {
            violations.push(violation("key", reason::REQUIRED, "the request has no key"));
            return Err(Error::Invalid(violations));
        };
        violations.extend(wrong(&draft, now_ms));
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        caller.require_project(&draft.project)?;
        if let Some(project) = draft.project.strip_prefix("projects/") {
            self.0.require_project(project).await?;
        }
        if self.0.keys.count() >= MAX_KEYS {
            return Err(Error::QuotaExceeded {
                subject: "keys".to_owned(),
                what: "keys that are neither revoked nor expired",
                max: MAX_KEYS,
                remedy: "revoke some",
            });
        }
        let text = ApiKey::random();
        let key = Key {
            name: name.clone(),
            create_time: Some(timestamp(now_ms)),
            hint: text.hint().to_owned(),
            revoke_time: None,
            last_use_time: None,
            ..draft
        };
        let exists = || Error::AlreadyExists { kind: "key", name: name.clone() };
        if validate_only {
            return match self.0.store.key(&id).await? {
                Some(_) => Err(exists()),
                None => Ok(CreateKeyResponse { key: Some(key), text: String::new() }),
            };
        }
        let (store, hash, stored) = (self.0.store.clone(), text.hash(), key.clone());
        let change = async move { store.create_key(&id, &hash, &stored, &actor).await };
        if !self.0.keys.change(&self.0.store, change).await? {
            return Err(exists());
        }
        tracing::info!(key = name, role = ?key.role(), project = key.project, by = caller.name(), "key created");
        Ok(CreateKeyResponse { key: Some(key), text: text.text().to_owned() })
    }

    async fn list(&self, request: &ListKeysRequest, caller: &Caller) -> Result<ListKeysResponse, Error> {
        let asked = match request.project.as_str() {
            "" => None,
            project => {
                caller.require_project(project)?;
                let name: ProjectName =
                    project.parse().map_err(|invalid: InvalidName| Error::name("project", &invalid))?;
                Some(name.project)
            }
        };
        let project = asked.as_deref().or(caller.project());
        let size = page::size(request.page_size)?;
        let flags = [u8::from(request.show_inactive)];
        let list = page::ListOf::new(&[b"keys", project.unwrap_or_default().as_bytes(), &flags]);
        let after = list.place(&request.page_token)?.unwrap_or_default();
        let mut after = String::from_utf8_lossy(&after).into_owned();
        let now_ms = self.0.clock.now_ms();
        let mut keys = Vec::new();
        let step = i64::try_from(size.saturating_add(1)).unwrap_or(i64::MAX);
        loop {
            let found = self.0.store.keys(project, &after, step).await?;
            let Some(last) = found.last() else { break };
            last.name.trim_start_matches("keys/").clone_into(&mut after);
            keys.extend(found.into_iter().filter(|key| request.show_inactive || is_active(key, now_ms)));
            if keys.len() > size {
                break;
            }
        }
        let has_more = keys.len() > size;
        keys.truncate(size);
        let next_page_token = match keys.last() {
            Some(last) if has_more => list.token(last.name.trim_start_matches("keys/").as_bytes()),
            _ => String::new(),
        };
        Ok(ListKeysResponse { keys: keys.into_iter().map(|key| self.shown(key)).collect(), next_page_token })
    }

    async fn revoke(&self, request: &RevokeKeyRequest, caller: &Caller, actor: Actor) -> Result<Key, Error> {
        let key = self.visible(&request.name, caller).await?;
        if key.revoke_time.is_some() {
            return Ok(self.shown(key));
        }
        let key = Key { revoke_time: Some(timestamp(self.0.clock.now_ms())), ..key };
        if !request.validate_only {
            let (store, stored) = (self.0.store.clone(), Key { last_use_time: None, ..key.clone() });
            let id = key.name.trim_start_matches("keys/").to_owned();
            let change = async move { store.revoke_key(&id, &stored, &actor).await };
            self.0.keys.change(&self.0.store, change).await?;
            tracing::info!(key = key.name, by = caller.name(), "key revoked");
        }
        Ok(self.shown(key))
    }

    /// The key of that name, if the caller may see it; whether there is another it does not learn.
    async fn visible(&self, name: &str, caller: &Caller) -> Result<Key, Error> {
        let id = name.parse::<KeyName>().map_err(|invalid: InvalidName| Error::name("name", &invalid))?.key;
        let key = self.0.store.key(&id).await?.filter(|key| caller.require_project(&key.project).is_ok());
        let hint = match name {
            ADMIN_FILE_KEY => ": it is in the control plane's file; replace that and start again",
            _ => "",
        };
        key.ok_or_else(|| Error::NotFound { kind: "key", name: name.to_owned(), hint })
    }

    /// The key with its last use, to the minute.
    fn shown(&self, mut key: Key) -> Key {
        let stored_ms = millis(key.last_use_time.as_ref());
        let last_use_ms = stored_ms.max(self.0.keys.last_use_ms(&key.name));
        key.last_use_time = (last_use_ms > 0).then(|| timestamp(last_use_ms - last_use_ms.rem_euclid(MINUTE_MS)));
        key
    }
}

fn is_active(key: &Key, now_ms: i64) -> bool {
    let expired = key.expire_time.as_ref().is_some_and(|time| millis(Some(time)) <= now_ms);
    key.revoke_time.is_none() && !expired
}

/// What is wrong with a key that somebody wants made.
fn wrong(draft: &Key, now_ms: i64) -> Vec<Violation> {
    let mut violations = Vec::new();
    if draft.display_name.chars().count() > MAX_DISPLAY_NAME {
        let description = format!("longer than {MAX_DISPLAY_NAME} characters");
        violations.push(violation("key.display_name", reason::TOO_LONG, description));
    }
    let bound_to_project = match draft.project.as_str() {
        "" => false,
        project => {
            if let Err(invalid) = project.parse::<ProjectName>() {
                violations.push(violation("key.project", reason::INVALID_NAME, shorten(&invalid.to_string(), 300)));
            }
            true
        }
    };
    match Role::try_from(draft.role) {
        Ok(Role::Unspecified) | Err(_) => {
            let description = "none given: ROLE_ADMIN, ROLE_EDITOR, ROLE_VIEWER, ROLE_INGEST and ROLE_NODE are taken";
            violations.push(violation("key.role", reason::REQUIRED, description));
        }
        Ok(Role::Ingest) if !bound_to_project => {
            let description = "none given: events belong to one project, and so does a key for them";
            violations.push(violation("key.project", reason::REQUIRED, description));
        }
        Ok(Role::Node) if bound_to_project => {
            let description = "given: a node serves every project, and its key belongs to none";
            violations.push(violation("key.project", reason::INVALID_VALUE, description));
        }
        Ok(_) => {}
    }
    if let Some(time) = &draft.expire_time {
        match bound("key.expire_time", time) {
            Err(Error::Invalid(found)) => violations.extend(found),
            Ok(expire_ms) if expire_ms > now_ms => {}
            _ => violations.push(violation("key.expire_time", reason::OUT_OF_RANGE, "not in the future")),
        }
    }
    let KeyLimits { calls_per_second, events_per_second, bytes_per_second, max_streams } =
        draft.limits.unwrap_or_default();
    for (field, value) in [
        ("calls_per_second", calls_per_second.into()),
        ("events_per_second", events_per_second.into()),
        ("bytes_per_second", bytes_per_second),
        ("max_streams", i64::from(max_streams)),
    ] {
        if value < 0 {
            let description = "negative; 0, which is not bounded, and more are taken";
            violations.push(violation(format!("key.limits.{field}"), reason::OUT_OF_RANGE, description));
        }
    }
    violations
}

fn generated_id() -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("key-{}", id.get(..8).unwrap_or(&id))
}
