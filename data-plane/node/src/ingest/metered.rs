//! Reads no more of producers than the node has room for. A gRPC message is charged to the node's budget when its header has
//! come and before its first byte is read; until there is room, HTTP/2 flow control holds the producer back.
//!
//! A message is charged as a whole, so that whoever has begun one can end it: no two wait for each other.

use std::{
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Frame;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::PollSemaphore;
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::budget::{Account, Budget};
use crate::ingest::{MAX_BATCH_BYTES, MAX_MESSAGE_BYTES};

/// How long a message may take to come, once it is begun: it holds room that others wait for.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Compressed or not, and the length.
const HEADER_BYTES: usize = 5;

/// A service whose requests are charged. Each call finds its [`Account`] among the request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Metered<S> {
    service: S,
    budget: Budget,
}

impl<S> Metered<S> {
    pub(crate) fn new(service: S, budget: Budget) -> Self {
        Self { service, budget }
    }
}

impl<S: NamedService> NamedService for Metered<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let account = self.budget.account();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(account.clone());
        let body = Body::new(MeteredBody::new(body, &self.budget, account));
        self.service.call(Request::from_parts(head, body))
    }
}

/// A request's body that is passed on message by message.
struct MeteredBody {
    body: Body,
    room: PollSemaphore,
    account: Account,
    /// Came and was not passed on.
    waiting: Bytes,
    /// Of the next message, as far as it has come.
    header: Vec<u8>,
    /// Bytes of the message under way that were not passed on.
    left: usize,
    /// When the message under way must have come.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl MeteredBody {
    fn new(body: Body, budget: &Budget, account: Account) -> Self {
        let header = Vec::with_capacity(HEADER_BYTES);
        Self { body, room: budget.waiting_line(), account, waiting: Bytes::new(), header, left: 0, deadline: None }
    }

    /// What has come of the message under way, if something has.
    fn pass_on(&mut self) -> Option<Bytes> {
        let count = self.left.min(self.waiting.len());
        if count == 0 {
            return None;
        }
        self.left -= count;
        if self.left == 0 {
            self.deadline = None;
        }
        Some(self.waiting.split_to(count))
    }

    /// Charges the message whose header has come; gives the header.
    fn begin(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        let length = self.header.iter().skip(1).fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        if length > MAX_MESSAGE_BYTES {
            return Poll::Ready(Err(Status::out_of_range(format!(
                "a message of {length} bytes; at most {MAX_MESSAGE_BYTES} are taken: send batches of at most \
                 {MAX_BATCH_BYTES} bytes and events of at most 1 MiB"
            ))));
        }
        let permit = ready!(self.room.poll_acquire_many(context, u32::try_from(length).unwrap_or(u32::MAX)));
        // The semaphore is never closed.
        if let Some(permit) = permit {
            permit.forget();
            self.account.charge(length);
        }
        self.left = length;
        self.deadline = (length > 0).then(|| Box::pin(sleep(MESSAGE_TIMEOUT)));
        Poll::Ready(Ok(Bytes::from(std::mem::replace(&mut self.header, Vec::with_capacity(HEADER_BYTES)))))
    }
}

impl hyper::body::Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(part) = this.pass_on() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if this.left == 0 {
                let missing = HEADER_BYTES - this.header.len();
                let part = this.waiting.split_to(missing.min(this.waiting.len()));
                this.header.extend_from_slice(&part);
                if this.header.len() == HEADER_BYTES {
                    return Poll::Ready(Some(ready!(this.begin(context)).map(Frame::data)));
                }
            }
            // Nothing waits here.
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(frame)) => frame?,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    if let Some(deadline) = &mut this.deadline {
                        ready!(deadline.as_mut().poll(context));
                        let seconds = MESSAGE_TIMEOUT.as_secs();
                        let late = format!("a message was begun and did not come whole within {seconds} s");
                        return Poll::Ready(Some(Err(Status::deadline_exceeded(late))));
                    }
                    return Poll::Pending;
                }
            };
            match frame.into_data() {
                Ok(data) => this.waiting = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }
}
