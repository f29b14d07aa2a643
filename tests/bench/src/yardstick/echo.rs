//! What gRPC costs by itself: a server of the same service that acks every batch at once.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use sluice_client::MAX_MESSAGE_BYTES;
use sluice_proto::event::v1::{
    Ack, Opened, SendEventsRequest, SendEventsResponse, StreamEventsRequest, StreamEventsResponse,
    event_service_server::{EventService, EventServiceServer},
    stream_events_request, stream_events_response,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, transport::Server, transport::server::TcpIncoming};

use crate::child;

/// Where it listens.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listening {
    /// The address.
    pub(super) address: SocketAddr,
}

/// Serves until standard input ends.
pub(super) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    child::say(&Listening { address: listener.local_addr().expect("a bound listener") });
    let service = EventServiceServer::new(Echo).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    child::until_told().await;
}

struct Echo;

#[tonic::async_trait]
impl EventService for Echo {
    type StreamEventsStream = std::pin::Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        Ok(Response::new(Box::pin(request.into_inner().map(|request| request.map(answer)))))
    }

    async fn send_events(&self, _: Request<SendEventsRequest>) -> Result<Response<SendEventsResponse>, Status> {
        Ok(Response::new(SendEventsResponse::default()))
    }
}

fn answer(request: StreamEventsRequest) -> StreamEventsResponse {
    use stream_events_response::Message;
    let message = request.message.map(|message| match message {
        stream_events_request::Message::Open(open) => {
            Message::Opened(Opened { next_sequence: open.first_sequence, ..Opened::default() })
        }
        stream_events_request::Message::Batch(batch) => Message::Ack(Ack {
            acked_sequence_inclusive: (batch.first_sequence + batch.events.len() as u64).saturating_sub(1),
            rejections: Vec::new(),
        }),
    });
    StreamEventsResponse { message }
}
