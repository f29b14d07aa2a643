//! A bare HTTP/1.1 connection, for the bench's own questions.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("who listens is there");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self { sender, address }
    }

    /// Asks; gives the body of the answer.
    pub(crate) async fn get(&mut self, path: &str) -> Bytes {
        let request = Request::get(path).header("host", self.address.to_string()).body(Empty::new()).expect("a path");
        self.sender.ready().await.expect("an open connection");
        let response = self.sender.send_request(request).await.expect("an answer");
        response.into_body().collect().await.expect("all of the answer").to_bytes()
    }
}
