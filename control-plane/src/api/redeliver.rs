//! `RedeliverDeadLetters`: has all nodes reopen dead letters at once, says first how many were found, then how far it has
//! come. A caller that goes away ends the telling; what the nodes have begun they finish.

use std::{collections::BTreeMap, time::Duration};

use sluice_proto::{
    delivery::v1::{RedeliverDeadLettersRequest, RedeliverDeadLettersResponse, UnreachableNode},
    node::v1::{
        CommandResult, Redeliver, RedeliverProgress, command::Command as What, command_result::Result as Outcome,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Context,
    commands::{NoAnswer, outcome},
    dead_letters::Query,
    deliveries::Parent,
    end_with,
};
use crate::{
    commands::{Call, Word},
    error::Error,
};

/// Reopening may take so long on a node; what it has not reopened then stays.
const DEADLINE: Duration = Duration::from_secs(3_600);
/// A node that says nothing about it for so long, also by way of a new stream, is named as unreachable.
const SILENCE: Duration = Duration::from_secs(30);
/// Answers that wait for the caller to read them.
const QUEUE: usize = 8;

type Answers = mpsc::Sender<Result<RedeliverDeadLettersResponse, Status>>;

/// Begins to reopen.
pub(super) async fn redeliver(
    context: &Context,
    request: RedeliverDeadLettersRequest,
) -> Result<ReceiverStream<Result<RedeliverDeadLettersResponse, Status>>, Error> {
    let (query, parent) = Query::of(context, &request.parent, request.filter).await?;
    if let Parent::Sync(name) = &parent {
        context.sync(name).await?;
    }
    let what = What::Redeliver(Redeliver { parent: query.parent, filter: Some(query.filter) });
    let (outgoing, answers) = mpsc::channel(QUEUE);
    let (said, news) = mpsc::channel(QUEUE);
    let mut parts = BTreeMap::new();
    for node in context.nodes.names() {
        parts.insert(node.clone(), Part::default());
        let call = context.command(&node, what.clone(), DEADLINE);
        context.streams.spawn(follow(context.clone(), node, call, said.clone()));
    }
    drop(said);
    let telling = Telling { context: context.clone(), parts, outgoing };
    context.streams.spawn(async move {
        let outgoing = telling.outgoing.clone();
        if let Err(error) = telling.run(news).await {
            end_with(&outgoing, error).await;
        }
    });
    Ok(ReceiverStream::new(answers))
}

/// What one node has said.
struct Said {
    node: String,
    what: Result<Progress, UnreachableNode>,
}

struct Progress {
    at: RedeliverProgress,
    last: bool,
}

/// Hands on what a node says until it has said all, or nobody listens.
async fn follow(context: Context, node: String, call: Result<Call, NoAnswer>, said: mpsc::Sender<Said>) {
    let mut call = match call {
        Ok(call) => call,
        Err(no_answer) => {
            let what = Err(no_answer.of(&node));
            // Nobody listens any more: nothing to do.
            let _ = said.send(Said { node, what }).await;
            return;
        }
    };
    loop {
        let word = tokio::select! {
            biased;
            () = context.stopping.cancelled() => return,
            () = said.closed() => return,
            word = call.next() => Ok(word),
            () = context.clock.sleep(SILENCE, "node's progress") => Err(NoAnswer::Silent(SILENCE)),
        };
        let what = word.and_then(progress).map_err(|no_answer| no_answer.of(&node));
        let is_last = !matches!(&what, Ok(progress) if !progress.last);
        if said.send(Said { node: node.clone(), what }).await.is_err() || is_last {
            return;
        }
    }
}

fn progress(word: Word) -> Result<Progress, NoAnswer> {
    let (result, last): (CommandResult, bool) = match word {
        Word::News(result) => (result, false),
        Word::Last(result) => (result, true),
    };
    match outcome(result)? {
        Outcome::Redeliver(at) => Ok(Progress { at, last }),
        _ => Err(NoAnswer::Nonsense),
    }
}

/// How far one node has come.
#[derive(Default)]
struct Part {
    at: RedeliverProgress,
    has_counted: bool,
    unreachable: Option<UnreachableNode>,
}

/// Tells the caller the sum of what the nodes say.
struct Telling {
    context: Context,
    parts: BTreeMap<String, Part>,
    outgoing: Answers,
}

impl Telling {
    async fn run(mut self, mut news: mpsc::Receiver<Said>) -> Result<(), Error> {
        let mut has_begun = false;
        loop {
            let said = tokio::select! {
                said = self.context.unless_stopping(news.recv()) => said?,
                () = self.outgoing.closed() => return Ok(()),
            };
            let Some(said) = said else { break };
            self.note(said);
            if !self.parts.values().all(|part| part.has_counted) {
                continue;
            }
            // The first answer is the count.
            let answer = if has_begun {
                self.sum(false)
            } else {
                RedeliverDeadLettersResponse { redelivered_count: 0, ..self.sum(false) }
            };
            has_begun = true;
            if !self.send(answer).await? {
                return Ok(());
            }
        }
        self.send(self.sum(true)).await?;
        Ok(())
    }

    fn note(&mut self, Said { node, what }: Said) {
        let Some(part) = self.parts.get_mut(&node) else { return };
        part.has_counted = true;
        match what {
            Ok(progress) => part.at = progress.at,
            Err(unreachable) => part.unreachable = Some(unreachable),
        }
    }

    fn sum(&self, complete: bool) -> RedeliverDeadLettersResponse {
        let mut sum = RedeliverDeadLettersResponse { complete, ..Default::default() };
        for part in self.parts.values() {
            sum.found_count = sum.found_count.saturating_add(part.at.found_count);
            sum.redelivered_count = sum.redelivered_count.saturating_add(part.at.redelivered_count);
            sum.unreachable_nodes.extend(part.unreachable.clone());
        }
        sum
    }

    /// Whether somebody still listens.
    async fn send(&self, answer: RedeliverDeadLettersResponse) -> Result<bool, Error> {
        Ok(self.context.unless_stopping(self.outgoing.send(Ok(answer))).await?.is_ok())
    }
}
