//! What is sent to one node next: the [`Session`] decides, [`Updates`] has it. It holds one message at a time and a share of what
//! the others send, however slow the node is: what changes meanwhile goes into the next delta.

use sluice_proto::node::v1::sync_catalog_response::Message;

use crate::{
    changelog::Position,
    session::{Session, Step},
    store::StoreError,
    updates::{SharedSnapshot, Since, Updates},
};

const TOO_LARGE: &str = "the changes are too large for one message";

/// One node's feed.
pub(crate) struct Feed {
    updates: Updates,
    /// What the node says goes here.
    pub(crate) session: Session,
    newest: Position,
    /// A snapshot that is being sent, and its next chunk.
    sending: Option<(SharedSnapshot, usize)>,
    /// A snapshot that has been sent and not acked: its chunks may still be on their way, and who joins now shares them.
    sent: Option<SharedSnapshot>,
}

impl Feed {
    /// Of a node that says hello and holds `held`, while the store stands at `newest`.
    pub(crate) fn new(updates: Updates, held: Position, newest: Position) -> Self {
        Self { updates, session: Session::new(held), newest, sending: None, sent: None }
    }

    /// Where the store stands, as far as is known here.
    pub(crate) fn newest(&self) -> &Position {
        &self.newest
    }

    /// The store has moved; or it had already been seen there before this was told.
    pub(crate) fn see(&mut self, published: &Position) {
        if published.revision > self.newest.revision {
            self.newest = published.clone();
        }
    }

    /// The node lives and serves this.
    pub(crate) fn heartbeat(&mut self, serves: &Position) {
        // While a snapshot is on its way to it, it serves something else.
        if self.sending.is_none() {
            self.session.heartbeat(serves, &self.newest);
        }
    }

    /// The next message, if the node lacks anything and nothing is awaited of it.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, StoreError> {
        if self.sending.is_some() {
            return Ok(self.next_chunk());
        }
        if !self.session.is_waiting() {
            self.sent = None;
        }
        match self.session.next(&self.newest) {
            Step::Nothing => Ok(None),
            Step::Snapshot { reason } => self.snapshot(reason).await,
            Step::Delta { from } => match self.updates.since(from, self.newest.revision).await? {
                Since::Unknown => self.snapshot(Session::UNKNOWN_REVISION).await,
                Since::TooLarge => self.snapshot(TOO_LARGE).await,
                Since::Delta(delta) => match self.session.judge(&delta.hash_then) {
                    Err(reason) => self.snapshot(reason).await,
                    Ok(()) => {
                        self.newest = delta.position();
                        self.session.sent_delta(delta.position());
                        Ok(Some(Message::Delta(delta.message())))
                    }
                },
            },
        }
    }

    /// One that others send already does as well, unless the changes since are what is too large, or it has not helped.
    async fn snapshot(&mut self, reason: &'static str) -> Result<Option<Message>, StoreError> {
        let may_be_older = reason != TOO_LARGE && self.session.is_well();
        let snapshot = self.updates.snapshot(self.newest.revision, may_be_older).await?;
        tracing::info!(reason, revision = snapshot.position().map(|position| position.revision), "snapshot begun");
        self.sending = Some((snapshot, 0));
        Ok(self.next_chunk())
    }

    fn next_chunk(&mut self) -> Option<Message> {
        let (snapshot, index) = self.sending.take()?;
        let chunk = snapshot.chunk(index)?;
        if chunk.complete {
            let position = snapshot.position().cloned().unwrap_or_default();
            self.see(&position);
            self.session.sent_snapshot(position);
            self.sent = Some(snapshot);
        } else {
            self.sending = Some((snapshot, index + 1));
        }
        Some(Message::Snapshot(chunk))
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests {
    use sluice_host::sealing::SecretsKey;
    use sluice_proto::{name::SyncName, node::v1::SnapshotChunk, sync::v1::Sync};

    use super::*;
    use crate::{
        audit::Actor,
        publish::Publisher,
        store::{Change, Store},
        updates::CHUNK_BYTES,
    };

    /// A store with so many syncs, each of which makes a chunk of its own.
    async fn store(syncs: usize) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(folder.path(), &SecretsKey::random(), Publisher::new(sluice_host::clock::Clock::system()))
                .await
                .unwrap();
        for number in 0..syncs {
            put(&store, number).await;
        }
        (folder, store)
    }

    async fn put(store: &Store, number: usize) {
        let name = SyncName { project: "default".into(), sync: format!("s{number}") };
        let (uid, display_name) = (format!("uid {number}"), "x".repeat(CHUNK_BYTES));
        let put = move |_: Option<&Sync>, revision| {
            let sync = Sync { uid, display_name, revision, etag: format!("etag {revision}"), ..Sync::default() };
            Ok::<_, StoreError>(Change::Put(Box::new(sync)))
        };
        store.change_sync(&name, None, Actor::system("test", 0), put).await.unwrap();
    }

    async fn chunk(feed: &mut Feed) -> SnapshotChunk {
        match feed.next().await.unwrap() {
            Some(Message::Snapshot(chunk)) => chunk,
            other => panic!("{other:?} is no chunk"),
        }
    }

    #[tokio::test]
    async fn bug_heartbeats_during_a_long_snapshot_count_as_missing_acks() {
        let (_folder, store) = store(3).await;
        let newest = store.newest().await.unwrap();
        let mut feed = Feed::new(Updates::new(store.clone()), Position::default(), newest.clone());
        for index in 0..3 {
            for _ in 0..20 {
                feed.heartbeat(&Position::default());
            }
            assert_eq!(chunk(&mut feed).await.index, index);
        }
        assert!(feed.next().await.unwrap().is_none(), "its ack is awaited");
        feed.session.acked(newest);
        assert!(feed.next().await.unwrap().is_none());
        store.close().await;
    }

    #[tokio::test]
    async fn sessions_that_lack_the_same_share_its_bytes() {
        let (_folder, store) = store(2).await;
        let (updates, then) = (Updates::new(store.clone()), store.newest().await.unwrap());
        let place = |chunk: &SnapshotChunk| chunk.resources[0].encoded_sync().as_ptr();
        let mut joining = [0; 2].map(|_| Feed::new(updates.clone(), Position::default(), then.clone()));
        let first = chunk(&mut joining[0]).await;
        // One that joins after a change shares the older snapshot, and gets the change afterwards.
        put(&store, 2).await;
        let newest = store.newest().await.unwrap();
        joining[1].see(&newest);
        let second = chunk(&mut joining[1]).await;
        assert_eq!((second.revision, place(&second)), (then.revision, place(&first)));
        assert!(chunk(&mut joining[1]).await.complete);
        joining[1].session.acked(then.clone());
        let mut known = Feed::new(updates.clone(), then, newest.clone());
        let deltas = [joining[1].next().await.unwrap(), known.next().await.unwrap()].map(|message| match message {
            Some(Message::Delta(delta)) => (delta.revision, delta.upserts[0].encoded_sync().as_ptr()),
            other => panic!("{other:?} is no delta"),
        });
        assert_eq!(deltas[0], deltas[1]);
        assert_eq!(deltas[0].0, newest.revision);
        store.close().await;
    }
}
