//! The other half of a hand-written node: its command stream, and dead letters that it holds.

use std::time::Duration;

use sluice_proto::{
    delivery::v1::{DeadLetter, DeadLetterFilter, EndingOutcome, EndingReason},
    node::v1::{
        Command, CommandResult, CommandsOpen, DeadLetterChunk, ListNodesRequest, ReadDeadLetters, ServeCommandsRequest,
        ServeCommandsResponse, command::Command as What, command_result::Result as Outcome,
        node_session_service_client::NodeSessionServiceClient, serve_commands_request::Message,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{FakeNode, Held, Plane, START_MS, name, timestamp};

/// A node's command stream.
pub(crate) struct CommandStream {
    outgoing: mpsc::Sender<ServeCommandsRequest>,
    incoming: Streaming<ServeCommandsResponse>,
}

impl CommandStream {
    pub(crate) async fn open(channel: Channel, node: &str) -> Self {
        let open = CommandsOpen { node: format!("nodes/{node}"), instance: format!("{node}-1") };
        Self::begin(channel, Message::Open(open)).await
    }

    pub(crate) async fn begin(channel: Channel, first: Message) -> Self {
        let (outgoing, requests) = mpsc::channel(16);
        outgoing.send(ServeCommandsRequest { message: Some(first) }).await.unwrap();
        let mut client = NodeSessionServiceClient::new(channel);
        let incoming = client.serve_commands(ReceiverStream::new(requests)).await.unwrap().into_inner();
        Self { outgoing, incoming }
    }

    pub(crate) async fn receive(&mut self) -> Result<Option<Command>, Status> {
        let next = tokio::time::timeout(Duration::from_secs(20), self.incoming.message());
        Ok(next.await.expect("a command in time")?.map(|response| response.command.unwrap()))
    }

    pub(crate) async fn next(&mut self) -> Command {
        self.receive().await.unwrap().expect("a command")
    }

    pub(crate) async fn say(&self, message: Message) {
        // A stream that has ended shows in what is received.
        let _ = self.outgoing.send(ServeCommandsRequest { message: Some(message) }).await;
    }

    async fn result(&self, result: CommandResult) {
        self.say(Message::Result(result)).await;
    }

    pub(crate) async fn news(&self, command: &Command, outcome: Outcome) {
        self.result(CommandResult { id: command.id.clone(), result: Some(outcome), ..Default::default() }).await;
    }

    pub(crate) async fn last(&self, command: &Command, outcome: Outcome) {
        let result = CommandResult { id: command.id.clone(), last: true, result: Some(outcome), ..Default::default() };
        self.result(result).await;
    }

    pub(crate) async fn refuse(&self, command: &Command, code: Code, message: &str) {
        let (id, message) = (command.id.clone(), message.to_owned());
        self.result(CommandResult { id, last: true, code: code.into(), message, result: None }).await;
    }

    /// Answers questions about these dead letters until the stream ends.
    pub(crate) fn serve(mut self, letters: Vec<DeadLetter>) {
        tokio::spawn(async move {
            while let Ok(Some(response)) = self.incoming.message().await {
                let command = response.command.unwrap();
                match &command.command {
                    Some(What::ReadDeadLetters(read)) => {
                        self.last(&command, Outcome::DeadLetters(chunk(&letters, read))).await;
                    }
                    other => panic!("{other:?} instead of a question"),
                }
            }
        });
    }
}

/// What a node that holds these answers: at most three at a time where the events come along.
fn chunk(letters: &[DeadLetter], read: &ReadDeadLetters) -> DeadLetterChunk {
    let filter = read.filter.clone().unwrap_or_default();
    let matching: Vec<_> =
        letters.iter().enumerate().filter(|(_, letter)| takes(&read.parent, &filter, letter)).collect();
    if read.count_only {
        let event_bytes = matching.iter().map(|(_, letter)| letter.event_bytes).sum();
        return DeadLetterChunk { count: matching.len() as i64, event_bytes, ..Default::default() };
    }
    let limit = if read.with_events { read.limit.min(3) } else { read.limit } as usize;
    let mut after = matching.into_iter().filter(|(index, _)| *index as i64 >= read.cursor_exclusive);
    let taken: Vec<_> = after.by_ref().take(limit).collect();
    let next_cursor = match (after.next(), taken.last()) {
        (Some(_), Some((index, _))) => *index as i64 + 1,
        _ => 0,
    };
    let shown = |letter: &DeadLetter| match read.with_events {
        true => letter.clone(),
        false => DeadLetter { event_json: Default::default(), ..letter.clone() },
    };
    let dead_letters = taken.into_iter().map(|(_, letter)| shown(letter)).collect();
    DeadLetterChunk { dead_letters, next_cursor, ..Default::default() }
}

fn takes(parent: &str, filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let (sync, id) = letter.delivery.split_once("/deliveries/").unwrap();
    (parent.ends_with("/-") || parent == sync)
        && (filter.delivery_ids.is_empty() || filter.delivery_ids.iter().any(|wanted| wanted == id))
        && (filter.reasons.is_empty() || filter.reasons.contains(&letter.reason))
}

impl Plane {
    /// A connected node with a command stream.
    pub(crate) async fn commanded(&self, node: &str) -> (FakeNode, CommandStream) {
        let mut catalog = self.node(node, &Held::default()).await;
        catalog.welcome().await;
        (catalog, CommandStream::open(self.channel.clone(), node).await)
    }

    /// A connected node that answers questions about these dead letters.
    pub(crate) async fn holding(&self, node: &str, letters: Vec<DeadLetter>) -> FakeNode {
        let (catalog, commands) = self.commanded(node).await;
        commands.serve(letters);
        catalog
    }

    /// Waits until the control plane knows that the node has gone.
    pub(crate) async fn gone(&self, node: &str) {
        let node = format!("nodes/{node}");
        loop {
            let nodes = self.nodes().list_nodes(ListNodesRequest::default()).await.unwrap().into_inner().nodes;
            if nodes.iter().any(|listed| listed.name == node && !listed.connected) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The `number`-th dead letter of the sync with this id, on this node.
pub(crate) fn letter(node: &str, id: &str, number: u32) -> DeadLetter {
    let event_json = format!("{{\"event_type\":\"order\",\"number\":{number}}}");
    DeadLetter {
        delivery: format!("{}/deliveries/{number:032x}", name(id)),
        sync_uid: format!("uid of {id}"),
        node: format!("nodes/{node}"),
        event_id: format!("{:032x}", number + 0xe000),
        event_type: "order".into(),
        outcome: EndingOutcome::Expired.into(),
        reason: EndingReason::RoundsUsedUp.into(),
        accept_time: Some(timestamp(START_MS)),
        end_time: Some(timestamp(START_MS + 1)),
        schedule: 1,
        attempt_count: 10,
        event_bytes: event_json.len() as i64,
        event_json: event_json.into(),
        exported: false,
    }
}

/// So many of them.
pub(crate) fn letters(node: &str, id: &str, numbers: std::ops::Range<u32>) -> Vec<DeadLetter> {
    numbers.map(|number| letter(node, id, number)).collect()
}
