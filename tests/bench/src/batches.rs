//! Sends events in batches of a fixed size, with so many batches under way: what intake alone can take. A process of its own.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sluice_client::{connect, event_client};
use sluice_proto::event::v1::{
    Batch, Event, Open, StreamEventsRequest, stream_events_request::Message, stream_events_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    child::{self, Child},
    clock::now_ns,
    event::Shape,
    sink::{Latency, histogram},
};

/// What is sent, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who takes it
    #[arg(long)]
    to: String,
    /// Which event
    #[arg(long, value_enum)]
    shape: Shape,
    /// Events in a batch
    #[arg(long)]
    batch: u64,
    /// Batches under way
    #[arg(long)]
    under_way: usize,
    /// How many events
    #[arg(long)]
    count: u64,
}

/// What was sent and acked.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Acked {
    /// Events.
    pub count: u64,
    /// From the first batch to the last ack.
    pub seconds: f64,
    /// From when a batch was sent to its ack.
    pub latency: Latency,
}

/// Starts to send events of type `t0`.
#[must_use]
pub fn start(to: &str, shape: Shape, batch: u64, under_way: usize, count: u64) -> Child {
    let (batch, under_way, count) = (batch.to_string(), under_way.to_string(), count.to_string());
    let arguments = ["batches", "--to", to, "--shape", shape.name(), "--batch", &batch];
    Child::start(&[&arguments[..], &["--under-way", &under_way, "--count", &count]].concat())
}

/// Sends all, says [`Acked`], and waits until it is told to end.
pub async fn run(args: Args) {
    let (sender, requests) = mpsc::channel(args.under_way + 1);
    let open = Open { producer_id: format!("batches-{}", now_ns()), first_sequence: 1 };
    sender.send(StreamEventsRequest { message: Some(Message::Open(open)) }).await.expect("an open stream");
    let mut client = event_client(connect(&args.to).await.expect("who takes events"));
    let mut answers = client.stream_events(ReceiverStream::new(requests)).await.expect("a stream").into_inner();
    answers.message().await.expect("a stream").expect("opened");

    let event = Event { json: args.shape.maker("t0").event(0, 0), ..Event::default() };
    let events = vec![event; usize::try_from(args.batch).expect("a batch that fits")];
    let batches = args.count.div_ceil(args.batch);
    let mut latency = histogram();
    let mut under_way = VecDeque::with_capacity(args.under_way);
    let (began_ns, mut sent, mut acked) = (now_ns(), 0, 0);
    while acked < batches * args.batch {
        while sent < batches && under_way.len() < args.under_way {
            let batch = Batch { first_sequence: 1 + sent * args.batch, events: events.clone() };
            let last = batch.first_sequence + args.batch - 1;
            under_way.push_back((last, now_ns()));
            sender.send(StreamEventsRequest { message: Some(Message::Batch(batch)) }).await.expect("an open stream");
            sent += 1;
        }
        let answer = answers.message().await.expect("a stream").expect("acks").message;
        let Some(stream_events_response::Message::Ack(ack)) = answer else { panic!("{answer:?} is not an ack") };
        assert!(ack.rejections.is_empty(), "events are refused: {:?}", ack.rejections);
        acked = ack.acked_sequence_inclusive;
        while let Some((_, sent_ns)) = under_way.pop_front_if(|(last, _)| *last <= acked) {
            latency.saturating_record(((now_ns() - sent_ns) / 1_000).max(1));
        }
    }
    let seconds = (now_ns() - began_ns) as f64 / 1e9;
    child::say(&Acked { count: acked, seconds, latency: Latency::of(&latency) });
    child::until_told().await;
}
