//! Which project a request is about: one table. A caller whose key is bound to a project gets no further with any other.

use sluice_access::Caller;
use sluice_proto::{
    access::v1 as access,
    alert::v1 as alert,
    audit::v1 as audit,
    delivery::v1 as delivery,
    node::v1 as node,
    sync::v1::{self as sync, preview_sync_request, test_sync_request},
};
use tonic::{Request, Status};

use super::Context;
use crate::{
    audit::Actor,
    error::{Error, shorten},
};

/// What a request is about.
pub(super) enum Scope<'r> {
    /// The project in this name, or what lies below it.
    Name(&'r str),
    /// Something that belongs to no project, and that callers of any may know.
    Shared,
    /// All projects at once.
    Every,
    /// The handler judges it by what is stored.
    Judged,
}

/// A request that is about something.
pub(super) trait Scoped {
    /// About what.
    fn scope(&self) -> Scope<'_>;
}

/// The request's message, if its caller may act on what it is about.
///
/// # Errors
/// PERMISSION_DENIED if not.
pub(super) fn admit<T: Scoped>(request: Request<T>) -> Result<T, Status> {
    admit_caller(request).map(|(message, _)| message)
}

/// The same, with the caller.
pub(super) fn admit_caller<T: Scoped>(request: Request<T>) -> Result<(T, Caller), Status> {
    let caller = Caller::of(&request)?.clone();
    let message = request.into_inner();
    match message.scope() {
        Scope::Name(name) => caller.require_project(name)?,
        Scope::Every => caller.require_every_project()?,
        Scope::Shared | Scope::Judged => {}
    }
    Ok((message, caller))
}

/// The same, with who it is for the audit log.
pub(super) fn admit_actor<T: Scoped>(context: &Context, request: Request<T>) -> Result<(T, Actor), Status> {
    let actor = Actor::of(&request, Caller::of(&request)?, context.clock.now_ms());
    admit(request).map(|message| (message, actor))
}

/// The same for a command, which is written down before it is given.
pub(super) async fn admit_command<T: Scoped>(
    context: &Context,
    request: Request<T>,
    resource: impl FnOnce(&T) -> &str,
) -> Result<T, Status> {
    let (message, actor) = admit_actor(context, request)?;
    let entry = actor.entry(&shorten(resource(&message), 200), Vec::new());
    context.store.record(&entry).await.map_err(Error::from)?;
    Ok(message)
}

macro_rules! named {
    ($field:ident: $($message:ty),+ $(,)?) => {
        $(impl Scoped for $message {
            fn scope(&self) -> Scope<'_> {
                Scope::Name(&self.$field)
            }
        })+
    };
}

macro_rules! scoped {
    ($scope:ident: $($message:ty),+ $(,)?) => {
        $(impl Scoped for $message {
            fn scope(&self) -> Scope<'_> {
                Scope::$scope
            }
        })+
    };
}

named!(parent: audit::ListAuditEntriesRequest);
named!(parent: alert::CreateAlertRuleRequest, alert::ListAlertRulesRequest, alert::ListAlertsRequest);
named!(name: alert::GetAlertRuleRequest, alert::DeleteAlertRuleRequest);
named!(parent: sync::CreateSyncRequest, sync::ListSyncsRequest, sync::ListSyncRolloutsRequest, sync::ApplySyncsRequest);
named!(name: sync::GetSyncRequest, sync::DeleteSyncRequest, sync::EnableSyncRequest, sync::DisableSyncRequest);
named!(parent: delivery::ListAttemptsRequest, delivery::WatchAttemptsRequest, delivery::ListDeadLettersRequest);
named!(parent: delivery::CountDeadLettersRequest, delivery::RedeliverDeadLettersRequest);
named!(parent: delivery::ExportDeadLettersRequest, delivery::MarkDeadLettersExportedRequest);
named!(name: delivery::GetSyncMetricsRequest, delivery::GetSyncTimeSeriesRequest, delivery::GetDeadLetterRequest);
scoped!(Shared: node::ListNodesRequest);
scoped!(Every: node::GetLedgerRequest, node::GetSpoolStatsRequest, node::DrainNodeRequest, access::CreateProjectRequest);
scoped!(Shared: access::GetCallerRequest);
scoped!(Judged: access::CreateKeyRequest, access::GetKeyRequest, access::ListKeysRequest, access::RevokeKeyRequest);
scoped!(Judged: access::ListProjectsRequest);

impl Scoped for alert::UpdateAlertRuleRequest {
    fn scope(&self) -> Scope<'_> {
        Scope::Name(self.alert_rule.as_ref().map_or("", |rule| &rule.name))
    }
}

impl Scoped for sync::UpdateSyncRequest {
    fn scope(&self) -> Scope<'_> {
        Scope::Name(self.sync.as_ref().map_or("", |sync| &sync.name))
    }
}

/// A draft takes what it lacks, such as secrets, from the sync of its name.
fn draft(sync: &sync::Sync) -> Scope<'_> {
    if sync.name.is_empty() { Scope::Shared } else { Scope::Name(&sync.name) }
}

impl Scoped for sync::PreviewSyncRequest {
    fn scope(&self) -> Scope<'_> {
        match &self.subject {
            Some(preview_sync_request::Subject::Name(name)) => Scope::Name(name),
            Some(preview_sync_request::Subject::Sync(sync)) => draft(sync),
            None => Scope::Shared,
        }
    }
}

impl Scoped for sync::TestSyncRequest {
    fn scope(&self) -> Scope<'_> {
        match &self.subject {
            Some(test_sync_request::Subject::Name(name)) => Scope::Name(name),
            Some(test_sync_request::Subject::Sync(sync)) => draft(sync),
            None => Scope::Shared,
        }
    }
}
