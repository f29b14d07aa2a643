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
