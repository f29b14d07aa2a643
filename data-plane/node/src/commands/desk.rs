//! Commands that change something: each is done once, however often it comes, and goes on when its stream breaks off.

use std::{collections::VecDeque, sync::Arc};

use sluice_proto::node::v1::{Command, CommandResult};
use tokio::{sync::watch, task::JoinSet};

use super::answer::Worker;

/// Commands that are remembered; beyond, the oldest are forgotten.
const REMEMBERED: usize = 1_024;

/// What a command has come to so far; nothing at first.
pub(super) type Results = watch::Receiver<Option<CommandResult>>;

/// Gives commands to the worker and remembers what they came to.
pub(super) struct Desk {
    worker: Arc<Worker>,
    known: VecDeque<(String, Results)>,
    under_way: JoinSet<()>,
}

impl Desk {
    /// A desk at which nothing was done yet.
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        Self { worker, known: VecDeque::new(), under_way: JoinSet::new() }
    }

    /// Begins a command, unless it is known by its id already; gives what it comes to.
    pub(super) fn take(&mut self, command: Command) -> Results {
        if let Some((_, results)) = self.known.iter().find(|(id, _)| *id == command.id) {
            return results.clone();
        }
        while self.under_way.try_join_next().is_some() {}
        let (said, results) = watch::channel(None);
        self.known.push_back((command.id.clone(), results.clone()));
        if self.known.len() > REMEMBERED {
            self.known.pop_front();
        }
        let worker = self.worker.clone();
        self.under_way.spawn(async move { worker.change(command, &said).await });
        results
    }

    /// Breaks off what is under way: pieces that are committed stay.
    pub(super) async fn close(&mut self) {
        self.under_way.shutdown().await;
    }
}
