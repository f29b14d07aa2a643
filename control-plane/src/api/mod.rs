//! The gRPC services: they take requests apart, ask the store and the pure parts, and put answers together.

pub(crate) mod alerts;
mod apply;
pub(crate) mod audit;
pub(crate) mod catalog;
pub(crate) mod commands;
pub(crate) mod dead_letters;
pub(crate) mod deliveries;
mod export;
pub(crate) mod keys;
mod list_syncs;
pub(crate) mod mask;
mod metrics;
pub(crate) mod nodes;
mod once;
pub(crate) mod page;
pub(crate) mod preview;
pub(crate) mod projects;
mod redeliver;
pub(crate) mod reports;
mod rollouts;
mod scope;
pub(crate) mod syncs;
mod test_sync;
mod watch;

pub(crate) use self::{metrics::minutes_from, syncs::finish, test_sync::send as send_test};

use std::{sync::Arc, time::Duration};

use sluice_access::Caller;
use sluice_host::clock::Clock;
use sluice_pipeline::sync::Rules;
use sluice_proto::{
    name::{InvalidName, ProjectName, SyncName},
    sync::v1::Sync,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Status;

use crate::{
    commands::Commands, error::Error, keys::Keys, nodes::Nodes, publish::Publisher, retention::ReportRetention,
    secrets, store::Store, updates::Updates,
};

/// A node's stream must begin within this time.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);

/// What the services share.
#[derive(Clone)]
pub(crate) struct Context {
    /// What is kept.
    pub(crate) store: Store,
    /// What nodes are sent.
    pub(crate) updates: Updates,
    /// Who is connected.
    pub(crate) nodes: Nodes,
    /// Who may call.
    pub(crate) keys: Keys,
    /// What the nodes were told to do.
    pub(crate) commands: Commands,
    /// What has just been committed.
    pub(crate) publisher: Publisher,
    /// The time.
    pub(crate) clock: Clock,
    /// What syncs may be.
    pub(crate) rules: Arc<Rules>,
    /// How long entries of the audit log are kept.
    pub(crate) audit_retention: Duration,
    /// What is kept of the nodes' reports.
    pub(crate) report_retention: ReportRetention,
    /// How many syncs a project may have.
    pub(crate) max_syncs_per_project: usize,
    /// Cancelled when the control plane stops: streams end.
    pub(crate) stopping: CancellationToken,
    /// The tasks of open streams.
    pub(crate) streams: TaskTracker,
}

impl Context {
    /// The sync with that name.
    async fn sync(&self, name: &SyncName) -> Result<Sync, Error> {
        self.store.sync(name).await?.ok_or_else(|| sync_not_found(name))
    }

    /// Whether there is such a project.
    async fn require_project(&self, project: &str) -> Result<(), Error> {
        if self.store.has_project(project).await? {
            return Ok(());
        }
        Err(Error::NotFound {
            kind: "project",
            name: format!("projects/{project}"),
            hint: ": a fresh install has projects/default",
        })
    }

    /// Does the work, unless its caller's key is revoked or expires first.
    async fn while_allowed<T>(
        &self,
        caller: &Caller,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            refusal = caller.until_refused(self.keys.watch(), &self.clock) => Err(refusal.into()),
            done = work => done,
        }
    }

    /// Gives what `wait` gives, unless the control plane stops first.
    async fn unless_stopping<T>(&self, wait: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Error::Stopping),
            given = wait => Ok(given),
        }
    }
}

/// The syncs as callers see them: without secrets, with rollout and health.
async fn shown_all(context: &Context, syncs: Vec<Sync>) -> Result<Vec<Sync>, Error> {
    let uids: Vec<_> = syncs.iter().map(|sync| sync.uid.as_str()).collect();
    let mut healths = context.store.healths(&uids).await?;
    let with_health = |sync: Sync| {
        let health = healths.remove(&sync.uid).unwrap_or_default();
        Sync { health: Some(health), ..rolled_out(context, sync) }
    };
    Ok(syncs.into_iter().map(with_health).collect())
}

/// The same for one.
async fn shown(context: &Context, sync: Sync) -> Result<Sync, Error> {
    shown_all(context, vec![sync.clone()]).await.map(|mut shown| shown.pop().unwrap_or(sync))
}

/// The sync without secrets, with its rollout.
fn rolled_out(context: &Context, mut sync: Sync) -> Sync {
    secrets::mask(&mut sync);
    let epoch = context.publisher.watch_revision().borrow().epoch.clone();
    sync.rollout = Some(context.nodes.rollout(&sync, &epoch));
    sync
}

fn sync_not_found(name: &SyncName) -> Error {
    Error::NotFound { kind: "sync", name: name.to_string(), hint: "" }
}

fn sync_name(name: &str) -> Result<SyncName, Error> {
    name.parse().map_err(|invalid: InvalidName| Error::name("name", &invalid))
}

fn project_name(field: &str, name: &str) -> Result<ProjectName, Error> {
    name.parse().map_err(|invalid: InvalidName| Error::name(field, &invalid))
}

/// Ends a stream with the error, if its receiver still listens.
async fn end_with<T>(outgoing: &mpsc::Sender<Result<T, Status>>, error: Error) {
    const LAST_WORD: Duration = Duration::from_secs(1);
    // A receiver that doesn't read misses it.
    let _ = tokio::time::timeout(LAST_WORD, outgoing.send(Err(error.into()))).await;
}
