//! The control plane, ended by SIGKILL at random while syncs change: what it has answered holds, nothing is half done, and the node
//! comes to serve the same catalog.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sluice_client::Connection;
use sluice_proto::{
    node::v1::ListNodesRequest,
    sync::v1::{
        ApplySyncsRequest, CreateSyncRequest, DeleteSyncRequest, ListSyncsRequest, Sync, UpdateSyncRequest,
        sync_service_client::SyncServiceClient,
    },
};
use sluice_tests::{
    events::sync_to,
    process::{Plane, asked_again},
    random::{Random, full, seed},
};
use tonic::{Code, Status};

const WRITERS: usize = 4;
/// Syncs of one writer.
const SYNCS: usize = 6;

/// What each sync of a writer is: its display name, or not there.
type State = BTreeMap<String, Option<String>>;

/// One who changes syncs of its own, and knows what was answered.
struct Writer {
    address: SocketAddr,
    random: Random,
    /// As it was answered last.
    known: State,
    /// As it is if the change that got no answer was made.
    perhaps: Option<State>,
    step: usize,
}

enum Step {
    Create(String),
    Update(String),
    Delete(String),
    /// All of them, to the same name.
    Apply,
}

impl Writer {
    fn new(address: SocketAddr, number: usize, seed: u64) -> Self {
        let ids = (0..SYNCS).map(|n| (format!("w{number}-s{n}"), None)).collect();
        Self { address, random: Random::new(seed), known: ids, perhaps: None, step: 0 }
    }

    fn next(&mut self) -> Step {
        self.step += 1;
        let index = self.random.between(0, SYNCS - 1);
        let (id, state) = self.known.iter().nth(index).unwrap();
        match (state, self.random.between(0, 9)) {
            (_, 0) => Step::Apply,
            (None, _) => Step::Create(id.clone()),
            (Some(_), 1..=3) => Step::Delete(id.clone()),
            (Some(_), _) => Step::Update(id.clone()),
        }
    }

    /// Makes one change; false: there was no answer.
    async fn change(&mut self, client: &mut SyncServiceClient<Connection>) -> bool {
        let step = self.next();
        let text = format!("step {}", self.step);
        let mut after = self.known.clone();
        let made: Result<(), Status> = match step {
            Step::Create(id) => {
                after.insert(id.clone(), Some(text.clone()));
                let request = CreateSyncRequest {
                    parent: "projects/default".to_owned(),
                    sync_id: id,
                    sync: Some(named("", &text)),
                    ..Default::default()
                };
                client.create_sync(request).await.map(drop)
            }
            Step::Update(id) => {
                after.insert(id.clone(), Some(text.clone()));
                let request = UpdateSyncRequest { sync: Some(named(&id, &text)), ..Default::default() };
                client.update_sync(request).await.map(drop)
            }
            Step::Delete(id) => {
                after.insert(id.clone(), None);
                client.delete_sync(DeleteSyncRequest { name: full_name(&id), ..Default::default() }).await.map(drop)
            }
            Step::Apply => {
                after.values_mut().for_each(|state| *state = Some(text.clone()));
                let request = ApplySyncsRequest {
                    parent: "projects/default".to_owned(),
                    syncs: after.keys().map(|id| named(id, &text)).collect(),
                    ..Default::default()
                };
                client.apply_syncs(request).await.map(drop)
            }
        };
        match made {
            Ok(()) => self.known = after,
            Err(status) => {
                let lost = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal];
                assert!(lost.contains(&status.code()), "{status:?}");
                self.perhaps = Some(after);
            }
        }
        self.perhaps.is_none()
    }

    /// The control plane is back: what it holds is what was answered, or that and the change that got no answer, whole.
    fn compare(&mut self, stored: &State) {
        let stored: State = self.known.keys().map(|id| (id.clone(), stored.get(id).cloned().flatten())).collect();
        match self.perhaps.take() {
            Some(perhaps) if stored == perhaps => self.known = perhaps,
            _ => assert_eq!(stored, self.known),
        }
    }

    /// Changes until the count is used up or the control plane is gone.
    async fn run(mut self, left: Arc<AtomicUsize>) -> Self {
        let Ok(connection) = sluice_client::connect(&format!("http://{}", self.address)).await else { return self };
        let mut client = sluice_client::sync_client(connection);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            if !self.change(&mut client).await {
                break;
            }
        }
        self
    }
}

fn full_name(id: &str) -> String {
    format!("projects/default/syncs/{id}")
}

fn named(id: &str, text: &str) -> Sync {
    let name = if id.is_empty() { String::new() } else { full_name(id) };
    Sync { name, display_name: text.to_owned(), ..sync_to("http://127.0.0.1:9/") }
}

async fn stored(address: SocketAddr) -> State {
    let connection = sluice_client::connect(&format!("http://{address}")).await.unwrap();
    let request = ListSyncsRequest { parent: "projects/default".to_owned(), page_size: 1_000, ..Default::default() };
    let syncs = sluice_client::sync_client(connection).list_syncs(request).await.unwrap().into_inner().syncs;
    syncs.into_iter().map(|sync| (sync.name.rsplit('/').next().unwrap().to_owned(), Some(sync.display_name))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_change_is_lost_and_none_is_half_done() {
    let (changes, seed) = (if full() { 10_000 } else { 600 }, seed());
    println!("seed {seed}: {changes} changes");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("control-plane");
    let mut control_plane = Plane::control_plane(&data, "127.0.0.1:0").await;
    let address = control_plane.address();
    let node = Plane::node(&folder.path().join("node"), "127.0.0.1:0", address).await;
    let left = Arc::new(AtomicUsize::new(changes));
    let mut writers: Vec<_> =
        (0..WRITERS).map(|number| Writer::new(address, number, seed.wrapping_add(1 + number as u64))).collect();
    let mut kills = 0;
    loop {
        let tasks: Vec<_> = writers.into_iter().map(|writer| tokio::spawn(writer.run(left.clone()))).collect();
        // Not a wait for something: the length of the life is the fault.
        tokio::time::sleep(Duration::from_millis(random.between(0, 400) as u64)).await;
        control_plane.kill().await;
        kills += 1;
        writers = Vec::new();
        for task in tasks {
            writers.push(task.await.unwrap());
        }
        control_plane = Plane::control_plane(&data, &address.to_string()).await;
        let stored = stored(address).await;
        writers.iter_mut().for_each(|writer| writer.compare(&stored));
        if left.load(Ordering::Relaxed) == 0 {
            break;
        }
    }
    println!("{kills} kills");
    let connection = sluice_client::connect(&format!("http://{address}")).await.unwrap();
    let (mut syncs, mut nodes) =
        (sluice_client::sync_client(connection.clone()), sluice_client::node_client(connection));
    let (node_revision, served) = asked_again("the node serves what the store holds", async || {
        let request =
            ListSyncsRequest { parent: "projects/default".to_owned(), page_size: 1_000, ..Default::default() };
        let listed = syncs.list_syncs(request).await.ok()?.into_inner().syncs;
        let node = nodes.list_nodes(ListNodesRequest::default()).await.ok()?.into_inner().nodes.pop()?;
        let served = listed.iter().all(|sync| sync.rollout.as_ref().is_some_and(|rollout| rollout.serving_count == 1));
        (node.connected && served).then_some((node.revision, listed.len()))
    })
    .await;
    println!("the node serves {served} syncs at revision {node_revision}");
    drop(node);
}
