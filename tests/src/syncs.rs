//! Many syncs at once.

use sluice_client::{connect, sync_client};
use sluice_proto::sync::v1::{ApplySyncsRequest, GetSyncRequest, Sync};

use crate::process::asked_again;

/// Syncs in one call.
const AT_ONCE: usize = 1_000;

/// Stores the syncs, each with its full name, in their order; gives their uids.
pub async fn apply(control_plane: &str, syncs: Vec<Sync>) -> Vec<String> {
    let mut client = sync_client(connect(control_plane).await.unwrap());
    let mut uids = Vec::with_capacity(syncs.len());
    for some in syncs.chunks(AT_ONCE) {
        let request = ApplySyncsRequest {
            parent: "projects/default".to_owned(),
            syncs: some.to_vec(),
            ..ApplySyncsRequest::default()
        };
        let applied = client.apply_syncs(request).await.unwrap().into_inner().syncs;
        uids.extend(applied.into_iter().map(|applied| applied.sync.unwrap().uid));
    }
    uids
}

/// Waits until so many nodes serve a sync, and with it all that was stored before.
pub async fn served(control_plane: &str, name: &str, nodes: i32) {
    let mut client = sync_client(connect(control_plane).await.unwrap());
    asked_again(&format!("{nodes} nodes serve {name}"), async || {
        let sync = client.get_sync(GetSyncRequest { name: name.to_owned() }).await.unwrap().into_inner();
        sync.rollout.filter(|rollout| rollout.serving_count == nodes)
    })
    .await;
}
