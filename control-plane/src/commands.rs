//! Commands to nodes that are under way: who serves commands, what each node has still to answer, and where its answers go.
//! Memory only, never across an await: a command lives as long as its caller waits.
//!
//! A command without a last result is sent again on the node's next stream. One whose caller has gone is forgotten.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluice_proto::node::v1::{Command, CommandResult, command::Command as What};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::time::timestamp;

/// Commands that one node may have to answer at once.
const MAX_OPEN: usize = 1_000;

/// The commands. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Commands(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    /// Numbers sessions and commands.
    last: u64,
    /// By the nodes' names; only those with a session or an open command.
    nodes: BTreeMap<String, Desk>,
}

/// One node's commands.
#[derive(Default)]
struct Desk {
    session: Option<(u64, CancellationToken)>,
    /// By number, so in the order in which they were given.
    open: BTreeMap<u64, Open>,
    /// There may be something to send.
    wake: Arc<Notify>,
}

struct Open {
    command: Command,
    /// Session on which it was sent.
    sent_on: u64,
    news: watch::Sender<CommandResult>,
    last: Option<oneshot::Sender<CommandResult>>,
}

/// Too many commands wait for the node.
#[derive(Debug)]
pub(crate) struct Busy;

impl Commands {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a command to a node: it leaves at once if the node serves commands, else on its next stream. Times are
    /// milliseconds since the epoch.
    ///
    /// # Errors
    /// If too many wait for that node already.
    pub(crate) fn give(&self, node: &str, what: What, now_ms: i64, deadline_ms: i64) -> Result<Call, Busy> {
        let (news, news_seen) = watch::channel(CommandResult::default());
        let (last, last_seen) = oneshot::channel();
        let command = Command {
            id: Uuid::new_v4().simple().to_string(),
            issue_time: Some(timestamp(now_ms)),
            deadline: Some(timestamp(deadline_ms)),
            command: Some(what),
        };
        let mut registry = self.lock();
        registry.last += 1;
        let number = registry.last;
        let desk = registry.nodes.entry(node.to_owned()).or_default();
        if desk.open.len() >= MAX_OPEN {
            return Err(Busy);
        }
        desk.open.insert(number, Open { command, sent_on: 0, news, last: Some(last) });
        desk.wake.notify_one();
        Ok(Call { commands: self.clone(), node: node.to_owned(), number, news: news_seen, last: last_seen })
    }

    /// A command stream of the node has opened; an older one of the same node is told to end.
    pub(crate) fn join(&self, node: &str) -> Session {
        let replaced = CancellationToken::new();
        let mut registry = self.lock();
        registry.last += 1;
        let number = registry.last;
        let desk = registry.nodes.entry(node.to_owned()).or_default();
        if let Some((_, older)) = desk.session.replace((number, replaced.clone())) {
            older.cancel();
        }
        let wake = desk.wake.clone();
        Session { commands: self.clone(), node: node.to_owned(), number, wake, replaced }
    }

    /// Forgets a desk at which there is nothing.
    fn tidy(registry: &mut Registry, node: &str) {
        if registry.nodes.get(node).is_some_and(|desk| desk.session.is_none() && desk.open.is_empty()) {
            registry.nodes.remove(node);
        }
    }
}

/// One command stream of a node; dropping it says that it has ended.
pub(crate) struct Session {
    commands: Commands,
    node: String,
    number: u64,
    wake: Arc<Notify>,
    /// Cancelled when a newer stream of the same node has opened.
    pub(crate) replaced: CancellationToken,
}

impl Session {
    /// The next command that this stream has not sent; waits for one.
    pub(crate) async fn next(&self) -> Command {
        loop {
            if let Some(command) = self.unsent() {
                return command;
            }
            self.wake.notified().await;
        }
    }

    fn unsent(&self) -> Option<Command> {
        let mut registry = self.commands.lock();
        let desk = registry.nodes.get_mut(&self.node)?;
        let open = desk.open.values_mut().find(|open| open.sent_on < self.number)?;
        open.sent_on = self.number;
        Some(open.command.clone())
    }

    /// The node answers. What nobody waits for is left.
    pub(crate) fn answered(&self, result: CommandResult) {
        let mut registry = self.commands.lock();
        let Some(desk) = registry.nodes.get_mut(&self.node) else { return };
        let Some(open) = desk.open.values_mut().find(|open| open.command.id == result.id) else { return };
        if !result.last {
            open.news.send_replace(result);
        } else if let Some(last) = open.last.take() {
            // The caller takes the command off when it drops its end; one that has gone does not mind.
            let _ = last.send(result);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut registry = self.commands.lock();
        if let Some(desk) = registry.nodes.get_mut(&self.node)
            && desk.session.as_ref().is_some_and(|(number, _)| *number == self.number)
        {
            desk.session = None;
        }
        Commands::tidy(&mut registry, &self.node);
        // A command that this stream was woken for is the next one's.
        self.wake.notify_one();
    }
}

/// A command that waits for its answer; dropping it takes the command off.
pub(crate) struct Call {
    commands: Commands,
    node: String,
    number: u64,
    news: watch::Receiver<CommandResult>,
    last: oneshot::Receiver<CommandResult>,
}

/// What a node says to a command.
#[derive(Debug)]
pub(crate) enum Word {
    /// A piece of the answer, the newest one.
    News(CommandResult),
    /// The end of it.
    Last(CommandResult),
}

impl Call {
    /// What the node says next. Pieces that were overtaken by newer ones are left out. Never ends by itself: bound it. Not to
    /// be called again after the last one.
    pub(crate) async fn next(&mut self) -> Word {
        tokio::select! {
            biased;
            Ok(()) = self.news.changed() => Word::News(self.news.borrow_and_update().clone()),
            last = &mut self.last => match last {
                Ok(last) => Word::Last(last),
                // Only if the registry were gone, of which this holds a part.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut registry = self.commands.lock();
        if let Some(desk) = registry.nodes.get_mut(&self.node) {
            desk.open.remove(&self.number);
        }
        Commands::tidy(&mut registry, &self.node);
    }
}

#[cfg(test)]
mod tests {
    use sluice_proto::node::v1::ReadLedger;

    use super::*;

    fn ledger() -> What {
        What::ReadLedger(ReadLedger {})
    }

    fn result(id: &str, last: bool, message: &str) -> CommandResult {
        CommandResult { id: id.into(), last, message: message.into(), ..Default::default() }
    }

    #[tokio::test]
    async fn a_command_waits_for_the_node_and_its_answer_finds_the_caller() {
        let commands = Commands::default();
        let mut call = commands.give("nodes/a", ledger(), 1_000, 11_000).unwrap();
        let session = commands.join("nodes/a");
        let command = session.next().await;
        assert_eq!((command.issue_time, command.deadline), (Some(timestamp(1_000)), Some(timestamp(11_000))));
        assert!(session.unsent().is_none(), "sent once on a stream");
        session.answered(result("another", true, ""));
        session.answered(result(&command.id, true, "done"));
        assert!(matches!(call.next().await, Word::Last(last) if last.message == "done"));
    }

    #[tokio::test]
    async fn what_is_not_answered_is_sent_again_on_the_next_stream_with_the_same_id() {
        let commands = Commands::default();
        let mut call = commands.give("nodes/a", ledger(), 0, 0).unwrap();
        let first = commands.join("nodes/a");
        let command = first.next().await;
        first.answered(result(&command.id, false, "half"));
        let second = commands.join("nodes/a");
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        drop(first);
        assert_eq!(second.next().await, command);
        second.answered(result(&command.id, false, "more"));
        second.answered(result(&command.id, true, "all"));
        assert!(matches!(call.next().await, Word::News(news) if news.message == "more"), "only the newest piece");
        assert!(matches!(call.next().await, Word::Last(last) if last.message == "all"));
        drop(call);
        assert!(commands.join("nodes/a").unsent().is_none(), "answered: not sent again");
    }

    #[tokio::test]
    async fn a_command_whose_caller_has_gone_is_forgotten() {
        let commands = Commands::default();
        drop(commands.give("nodes/a", ledger(), 0, 0).unwrap());
        assert!(commands.lock().nodes.is_empty());
        let session = commands.join("nodes/a");
        assert!(session.unsent().is_none());
        drop(session);
        assert!(commands.lock().nodes.is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_ended_just_when_it_was_woken_loses_nothing() {
        let commands = Commands::default();
        let (first, second) = (commands.join("nodes/a"), commands.join("nodes/a"));
        let _call = commands.give("nodes/a", ledger(), 0, 0).unwrap();
        // The older stream takes the wake-up and is dropped before it looks.
        first.wake.notified().await;
        drop(first);
        assert!(matches!(second.next().await.command, Some(What::ReadLedger(_))));
    }

    #[test]
    fn so_many_commands_wait_for_a_node_and_no_more() {
        let commands = Commands::default();
        let calls: Vec<_> = (0..MAX_OPEN).map(|_| commands.give("nodes/a", ledger(), 0, 0).unwrap()).collect();
        assert!(commands.give("nodes/a", ledger(), 0, 0).is_err());
        assert!(commands.give("nodes/b", ledger(), 0, 0).is_ok(), "of another node");
        drop(calls);
        assert!(commands.give("nodes/a", ledger(), 0, 0).is_ok());
    }
}
