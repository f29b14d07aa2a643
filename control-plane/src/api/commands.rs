//! `ServeCommands`: carries commands to the nodes and their answers back; and how the other services ask nodes.

use std::{fmt, time::Duration};

use sluice_access::Caller;
use sluice_proto::{
    delivery::v1::UnreachableNode,
    name::NodeName,
    node::v1::{
        CommandResult, CommandsOpen, ServeCommandsRequest, ServeCommandsResponse, command::Command as What,
        command_result::Result as Outcome, serve_commands_request::Message,
    },
};
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{Code, Status, Streaming};

use super::{Context, FIRST_MESSAGE, end_with};
use crate::{
    commands::{Call, Session, Word},
    error::{Error, shorten},
};

/// A node that does not answer a question within this time is named as unreachable.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// A node that reads nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(40);
const MAX_REASON_BYTES: usize = 300;

/// Serves one stream to its end.
pub(super) async fn serve(
    context: Context,
    caller: Caller,
    incoming: Streaming<ServeCommandsRequest>,
    outgoing: mpsc::Sender<Result<ServeCommandsResponse, Status>>,
) {
    let served = run(&context, &caller, incoming, &outgoing);
    if let Err(error) = context.while_allowed(&caller, served).await {
        tracing::info!(reason = %error, "command stream ended");
        end_with(&outgoing, error).await;
    }
}

async fn run(
    context: &Context,
    caller: &Caller,
    mut incoming: Streaming<ServeCommandsRequest>,
    outgoing: &mpsc::Sender<Result<ServeCommandsResponse, Status>>,
) -> Result<(), Error> {
    let open = tokio::select! {
        message = context.unless_stopping(incoming.message()) => match message? {
            Ok(Some(ServeCommandsRequest { message: Some(Message::Open(open)) })) => open,
            Ok(Some(_)) => return Err(Error::Protocol("the first message of a command stream must be `open`")),
            Ok(None) | Err(_) => return Ok(()),
        },
        () = context.clock.sleep(FIRST_MESSAGE, "command stream's first message") => {
            return Err(Error::Silent { seconds: FIRST_MESSAGE.as_secs() });
        }
    };
    let CommandsOpen { node, instance } = open;
    if node.parse::<NodeName>().is_err() {
        return Err(Error::Protocol("`open.node` is not of the form nodes/{node}"));
    }
    caller.require_node(&node)?;
    tracing::info!(node, instance = shorten(&instance, 100), "command stream opened");
    let session = context.commands.join(&node);
    tokio::select! {
        biased;
        () = context.stopping.cancelled() => Err(Error::Stopping),
        () = session.replaced.cancelled() => Err(Error::Replaced),
        ended = hear(&session, &mut incoming) => ended,
        ended = tell(context, &session, outgoing) => ended,
    }
}

async fn hear(session: &Session, incoming: &mut Streaming<ServeCommandsRequest>) -> Result<(), Error> {
    loop {
        match incoming.message().await {
            Ok(Some(ServeCommandsRequest { message: Some(Message::Result(result)) })) => session.answered(result),
            Ok(Some(ServeCommandsRequest { message: Some(Message::Open(_)) })) => {
                return Err(Error::Protocol("`open` comes first on a command stream, and only there"));
            }
            // Something that a newer node says.
            Ok(Some(ServeCommandsRequest { message: None })) => {}
            Ok(None) | Err(_) => return Ok(()),
        }
    }
}

async fn tell(
    context: &Context,
    session: &Session,
    outgoing: &mpsc::Sender<Result<ServeCommandsResponse, Status>>,
) -> Result<(), Error> {
    loop {
        let command = session.next().await;
        tokio::select! {
            sent = outgoing.send(Ok(ServeCommandsResponse { command: Some(command) })) => if sent.is_err() {
                return Ok(());
            },
            () = context.clock.sleep(SILENCE, "node to read commands") => {
                return Err(Error::Silent { seconds: SILENCE.as_secs() });
            }
        }
    }
}

/// Why a node gave no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// It is not connected.
    Gone,
    /// It said nothing in time.
    Silent(Duration),
    /// Too many other commands wait for it.
    Busy,
    /// It answered that it could not.
    Refused {
        /// With which code.
        code: Code,
        /// What it said.
        message: String,
    },
    /// It answered something else than what was asked for.
    Nonsense,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("not connected"),
            Self::Silent(bound) => write!(f, "no answer within {} s", bound.as_secs()),
            Self::Busy => f.write_str("too many commands wait for it"),
            Self::Refused { code: Code::Unimplemented, .. } => {
                f.write_str("its version does not know this command: upgrade it")
            }
            Self::Refused { message, .. } if !message.is_empty() => f.write_str(&shorten(message, MAX_REASON_BYTES)),
            Self::Refused { code, .. } => f.write_str(code.description()),
            Self::Nonsense => f.write_str("its answer does not fit the question"),
        }
    }
}

impl NoAnswer {
    /// The node, named in an answer.
    pub(super) fn of(&self, node: &str) -> UnreachableNode {
        UnreachableNode { node: node.to_owned(), reason: self.to_string() }
    }

    /// The error of a call that is about this node alone.
    pub(super) fn error(self, node: &str) -> Error {
        Error::NodeUnreachable { name: node.to_owned(), reason: self.to_string() }
    }
}

impl Context {
    /// Gives a command to a node that is connected, to be answered within `patience`.
    pub(super) fn command(&self, node: &str, what: What, patience: Duration) -> Result<Call, NoAnswer> {
        if !self.nodes.is_connected(node) {
            return Err(NoAnswer::Gone);
        }
        let now_ms = self.clock.now_ms();
        let patience_ms = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        self.commands.give(node, what, now_ms, now_ms.saturating_add(patience_ms)).map_err(|_| NoAnswer::Busy)
    }

    /// Asks one node; what it answers last.
    pub(super) async fn ask(&self, node: &str, what: What) -> Result<Outcome, NoAnswer> {
        let mut call = self.command(node, what, PATIENCE)?;
        let last = async {
            loop {
                if let Word::Last(last) = call.next().await {
                    return outcome(last);
                }
            }
        };
        tokio::select! {
            biased;
            last = last => last,
            () = self.clock.sleep(PATIENCE, "node's answer") => Err(NoAnswer::Silent(PATIENCE)),
        }
    }

    /// Asks every node that is known the same, at once; gives their answers in the order of their names.
    pub(super) async fn ask_all(&self, what: &What) -> Result<(Vec<(String, Outcome)>, Vec<UnreachableNode>), Error> {
        let mut asked = JoinSet::new();
        for node in self.nodes.names() {
            let (context, what) = (self.clone(), what.clone());
            asked.spawn(async move {
                let answer = context.ask(&node, what).await;
                (node, answer)
            });
        }
        let mut said = self.unless_stopping(asked.join_all()).await?;
        said.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let (mut answers, mut unreachable) = (Vec::new(), Vec::new());
        for (node, answer) in said {
            match answer {
                Ok(answer) => answers.push((node, answer)),
                Err(no_answer) => unreachable.push(no_answer.of(&node)),
            }
        }
        Ok((answers, unreachable))
    }
}

/// What a last result holds, or that it failed.
pub(super) fn outcome(result: CommandResult) -> Result<Outcome, NoAnswer> {
    match (Code::from(result.code), result.result) {
        (Code::Ok, Some(outcome)) => Ok(outcome),
        (Code::Ok, None) => Err(NoAnswer::Nonsense),
        (code, _) => Err(NoAnswer::Refused { code, message: result.message }),
    }
}
