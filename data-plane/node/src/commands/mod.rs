//! The command stream: dials the control plane, does what operators ask, and answers. A command without a last answer comes
//! again on the next stream, with the same id; one that changes something is not done twice.
//!
//! `desk` remembers what changes something, `answer` does the work, `trial` sends an operator's test, `translate` speaks the
//! wire's language.

mod answer;
mod desk;
mod translate;
mod trial;

use std::{sync::Arc, time::Duration};

use sluice_host::clock::Clock;
use sluice_pipeline::{catalog::Catalog, sync::Rules};
use sluice_proto::node::v1::{
    Command, CommandResult, CommandsOpen, ServeCommandsRequest, ServeCommandsResponse, SpoolStats,
    command::Command as What, node_session_service_client::NodeSessionServiceClient,
    serve_commands_request::Message as ToControlPlane,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use self::{answer::Worker, desk::Desk, trial::Trials};
use crate::{
    control::Identity,
    dial::Dial,
    drain::Drain,
    http::WebhookClient,
    redial::Redial,
    spool::{Spool, store::Stats},
    stop,
};

/// Answers that wait for the control plane to read them: with dead letters in them up to a MiB each.
const QUEUE: usize = 4;

/// A stream lives so long at most, so that nodes spread over control planes again.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// Largest message.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// A spool's figures as nodes tell them, for whoever looks into one from outside. `node` is the resource name, `now_ms` the time
/// in milliseconds since the epoch.
#[must_use]
pub fn spool_stats(stats: &Stats, node: &str, now_ms: i64) -> SpoolStats {
    translate::stats(stats, node, now_ms)
}

/// Serves commands.
pub struct Commands {
    /// Where the control plane is.
    pub dial: Dial,
    /// Who this is.
    pub identity: Identity,
    /// What commands are about.
    pub spool: Spool,
    /// Which syncs exist.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// Whether the node drains.
    pub drain: Drain,
    /// Sends tests.
    pub client: WebhookClient,
    /// What syncs may be.
    pub rules: Rules,
    /// All time comes from it.
    pub clock: Clock,
}

#[derive(Debug, Error)]
enum CommandsError {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("no connection")]
    Connect(#[from] sluice_client::Error),
    #[error("the stream has ended")]
    Ended,
}

impl Commands {
    /// Runs until `stop` turns true, dialling again with growing waits. Changes that were begun go on between streams; the
    /// stop breaks them off.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self { dial, identity, spool, catalog, drain, client, rules, clock } = self;
        let trials = Trials::new(&identity.node, &identity.instance, client, rules, clock.clone());
        let worker = Arc::new(Worker::new(&identity.node, spool, catalog, drain, trials, clock.clone()));
        let mut dialler = Dialler { dial, identity, clock, worker: worker.clone(), desk: Desk::new(worker) };
        tokio::select! {
            () = dialler.serve() => {}
            () = stop::asked(&mut stop) => {}
        }
        dialler.desk.close().await;
    }
}

struct Dialler {
    dial: Dial,
    identity: Identity,
    clock: Clock,
    worker: Arc<Worker>,
    desk: Desk,
}

impl Dialler {
    async fn serve(&mut self) {
        let mut redial = Redial::default();
        loop {
            if let Err(error) = self.session(&mut redial).await {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the command stream has broken off");
            }
            redial.wait(&self.clock).await;
        }
    }

    async fn session(&mut self, redial: &mut Redial) -> Result<(), CommandsError> {
        let connection = self.dial.connect().await?;
        let mut client = NodeSessionServiceClient::new(connection)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (requests, outgoing) = mpsc::channel(QUEUE);
        let open = CommandsOpen { node: self.identity.node.clone(), instance: self.identity.instance.clone() };
        // The first message waits in the stream before it is opened: it leaves without waiting for the server's headers.
        send(&requests, ToControlPlane::Open(open)).await?;
        let responses = client.serve_commands(ReceiverStream::new(outgoing)).await?.into_inner();
        redial.reset();
        self.follow(responses, &requests).await
    }

    async fn follow(
        &mut self,
        mut responses: Streaming<ServeCommandsResponse>,
        requests: &mpsc::Sender<ServeCommandsRequest>,
    ) -> Result<(), CommandsError> {
        let lifetime = self.clock.sleep(LIFETIME, "command stream lifetime");
        tokio::pin!(lifetime);
        // Dropped with the stream: what it did not carry is asked for again on the next.
        let mut answers = JoinSet::new();
        loop {
            tokio::select! {
                response = responses.message() => {
                    let response = response?.ok_or(CommandsError::Ended)?;
                    let Some(command) = response.command else { continue };
                    if changes_something(&command) {
                        answers.spawn(hand_on(self.desk.take(command), requests.clone()));
                    } else {
                        answers.spawn(read(self.worker.clone(), command, requests.clone()));
                    }
                }
                Some(_) = answers.join_next() => {}
                () = &mut lifetime => return Ok(()),
            }
        }
    }
}

fn changes_something(command: &Command) -> bool {
    match &command.command {
        Some(What::Redeliver(_) | What::MarkExported(_) | What::Drain(_) | What::SendTest(_)) => true,
        Some(What::ReadDeadLetters(_) | What::ReadLedger(_) | What::ReadSpoolStats(_)) | None => false,
    }
}

/// Answers a question. Few are answered at once, and each only when the one before has left: what they hold is bounded.
async fn read(worker: Arc<Worker>, command: Command, requests: mpsc::Sender<ServeCommandsRequest>) {
    let _place = worker.read_place().await;
    let result = worker.read(command).await;
    // The stream has ended: the question comes again.
    let _ = send(&requests, ToControlPlane::Result(result)).await;
}

/// Sends what a change comes to, piece by piece; pieces that newer ones overtake are left out.
async fn hand_on(mut results: watch::Receiver<Option<CommandResult>>, requests: mpsc::Sender<ServeCommandsRequest>) {
    loop {
        let newest = results.borrow_and_update().clone();
        if let Some(result) = newest {
            let is_last = result.last;
            if send(&requests, ToControlPlane::Result(result)).await.is_err() || is_last {
                return;
            }
        }
        if results.changed().await.is_err() {
            return;
        }
    }
}

async fn send(requests: &mpsc::Sender<ServeCommandsRequest>, message: ToControlPlane) -> Result<(), CommandsError> {
    requests.send(ServeCommandsRequest { message: Some(message) }).await.map_err(|_| CommandsError::Ended)
}
