//! A producer that speaks the protocol by hand, right or wrong.

use bytes::Bytes;
use sluice_proto::event::v1::{
    Ack, Batch, Event, Open, Opened, StreamEventsRequest, StreamEventsResponse,
    stream_events_request::Message as Request, stream_events_response::Message as Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::cluster::Cluster;

/// A producer that speaks the protocol by hand.
pub struct Producer {
    requests: mpsc::Sender<StreamEventsRequest>,
    responses: Streaming<StreamEventsResponse>,
}

impl Producer {
    /// Opens a stream; gives what the node says.
    pub async fn open(cluster: &Cluster, id: &str, first_sequence: u64) -> (Self, Opened) {
        let mut producer = Self::connect(cluster).await;
        producer.send(Request::Open(Open { producer_id: id.to_owned(), first_sequence })).await;
        match producer.next().await.unwrap() {
            Response::Opened(opened) => (producer, opened),
            other => panic!("{other:?}"),
        }
    }

    /// A stream that is not opened yet.
    pub async fn connect(cluster: &Cluster) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let responses = cluster.events().await.stream_events(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        Self { requests, responses }
    }

    /// Sends a message.
    pub async fn send(&self, message: Request) {
        // The stream may have ended already; what the node said tells.
        let _ = self.requests.send(StreamEventsRequest { message: Some(message) }).await;
    }

    /// Sends a batch.
    pub async fn batch(&self, first_sequence: u64, events: impl IntoIterator<Item = Bytes>) {
        let events = events.into_iter().map(|json| Event { json, ..Event::default() }).collect();
        self.send(Request::Batch(Batch { first_sequence, events })).await;
    }

    /// What the node says next.
    ///
    /// # Errors
    /// How the stream ended; `OK` if it ended well.
    pub async fn next(&mut self) -> Result<Response, Status> {
        let response = self.responses.message().await?;
        response.and_then(|response| response.message).ok_or_else(|| Status::ok("the stream has ended"))
    }

    /// What the node says next, which must be an ack.
    pub async fn ack(&mut self) -> Ack {
        match self.next().await.unwrap() {
            Response::Ack(ack) => ack,
            other => panic!("{other:?}"),
        }
    }

    /// How the stream is refused, whatever is said before.
    pub async fn refusal(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}
