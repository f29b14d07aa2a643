//! `ListSyncRollouts`: what each node makes of a sync's newest revision.

use sluice_proto::{
    name::{InvalidName, SyncName},
    sync::v1::{ListSyncRolloutsRequest, ListSyncRolloutsResponse},
};

use super::{Context, page};
use crate::error::Error;

/// Answers a list.
pub(super) async fn list(
    context: &Context,
    request: &ListSyncRolloutsRequest,
) -> Result<ListSyncRolloutsResponse, Error> {
    let name: SyncName = request.parent.parse().map_err(|invalid: InvalidName| Error::name("parent", &invalid))?;
    let size = page::size(request.page_size)?;
    let list = page::ListOf::new(&[b"rollouts", request.parent.as_bytes()]);
    let after = list.place(&request.page_token)?.unwrap_or_default();
    let sync = context.sync(&name).await?;

    let epoch = context.publisher.watch_revision().borrow().epoch.clone();
    let after = String::from_utf8_lossy(&after);
    let mut rollouts = context.nodes.rollouts(&sync, &epoch, &after, size.saturating_add(1));
    let has_more = rollouts.len() > size;
    rollouts.truncate(size);
    let next_page_token = match rollouts.last() {
        Some(last) if has_more => list.token(last.node.as_bytes()),
        _ => String::new(),
    };
    Ok(ListSyncRolloutsResponse { rollouts, next_page_token })
}
