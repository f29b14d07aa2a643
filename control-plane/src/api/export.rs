//! `ExportDeadLetters`: dead letters with their events, read from node after node as fast as the caller takes them.

use sluice_proto::delivery::v1::{ExportDeadLettersRequest, ExportDeadLettersResponse, UnreachableNode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Context,
    dead_letters::{Query, chunk},
    end_with,
};
use crate::error::Error;

/// Pieces that wait for the caller to read them.
const QUEUE: usize = 2;
/// Dead letters in one piece; a node ends it earlier where the events are large.
const PIECE: usize = 1_000;

type Answers = mpsc::Sender<Result<ExportDeadLettersResponse, Status>>;

/// Begins an export.
pub(super) async fn export(
    context: &Context,
    request: ExportDeadLettersRequest,
) -> Result<ReceiverStream<Result<ExportDeadLettersResponse, Status>>, Error> {
    let (query, _) = Query::of(context, &request.parent, request.filter).await?;
    let (outgoing, answers) = mpsc::channel(QUEUE);
    let export = Export { context: context.clone(), query, outgoing };
    context.streams.spawn(async move {
        let outgoing = export.outgoing.clone();
        if let Err(error) = export.run().await {
            end_with(&outgoing, error).await;
        }
    });
    Ok(ReceiverStream::new(answers))
}

struct Export {
    context: Context,
    query: Query,
    outgoing: Answers,
}

impl Export {
    async fn run(self) -> Result<(), Error> {
        let mut unreachable_nodes = Vec::new();
        for node in self.context.nodes.names() {
            match self.node(&node).await? {
                Read::All => {}
                Read::Unreachable(unreachable) => unreachable_nodes.push(unreachable),
                Read::CallerGone => return Ok(()),
            }
        }
        self.send(ExportDeadLettersResponse { dead_letters: Vec::new(), unreachable_nodes }).await?;
        Ok(())
    }

    async fn node(&self, node: &str) -> Result<Read, Error> {
        let mut cursor = 0;
        loop {
            let asked = self.context.ask(node, self.query.read(cursor, PIECE, true));
            let chunk = match self.context.unless_stopping(asked).await?.and_then(chunk) {
                Ok(chunk) => chunk,
                Err(no_answer) => return Ok(Read::Unreachable(no_answer.of(node))),
            };
            if !chunk.dead_letters.is_empty() {
                let piece = ExportDeadLettersResponse { dead_letters: chunk.dead_letters, ..Default::default() };
                if !self.send(piece).await? {
                    return Ok(Read::CallerGone);
                }
            }
            // A cursor that does not move on would never end.
            if chunk.next_cursor <= cursor {
                return Ok(Read::All);
            }
            cursor = chunk.next_cursor;
        }
    }

    /// Whether somebody still listens.
    async fn send(&self, piece: ExportDeadLettersResponse) -> Result<bool, Error> {
        Ok(self.context.unless_stopping(self.outgoing.send(Ok(piece))).await?.is_ok())
    }
}

/// What came of reading one node.
enum Read {
    /// It has given all.
    All,
    /// It has not.
    Unreachable(UnreachableNode),
    /// Nobody listens any more.
    CallerGone,
}
