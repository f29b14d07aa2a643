//! Sends events: open-loop at a rate, or as fast as they are delivered. A process of its own, with the published client.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sluice_client::Publisher;

use crate::{
    child::{self, Child},
    clock::now_ns,
    event::Shape,
    http,
};

/// At a rate, events go out by so many portions a second; those of a portion are to be sent at the same moment.
const PORTIONS: u64 = 1_000;
/// Between two looks at how many were delivered.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What is sent, and where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Nodes, which get the events by turns
    #[arg(long, value_delimiter = ',', required = true)]
    node: Vec<String>,
    /// Which event
    #[arg(long, value_enum)]
    shape: Shape,
    /// Types of the events, by turns: this text and a number
    #[arg(long, default_value = "t")]
    event_type: String,
    /// How many types there are
    #[arg(long, default_value_t = 1)]
    types: usize,
    /// How many events
    #[arg(long)]
    count: u64,
    /// How many in a second, whatever becomes of them; without it as fast as they are taken
    #[arg(long)]
    rate: Option<f64>,
    /// How many may be under way between here and the sink, if it is not at a rate
    #[arg(long, requires = "sink")]
    ahead: Option<u64>,
    /// Where the sink tells what it has counted
    #[arg(long)]
    sink: Option<SocketAddr>,
    /// How many requests each event makes, on average
    #[arg(long, default_value_t = 1.0)]
    requests: f64,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// Events; all of them were taken.
    pub count: u64,
    /// When the first one was to be sent.
    pub began_ns: u64,
    /// When the last one was acked.
    pub ended_ns: u64,
}

impl Sent {
    /// From the first event to the last ack.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.ended_ns - self.began_ns) as f64 / 1e9
    }
}

/// An order to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// To these nodes, by turns.
    pub nodes: Vec<String>,
    /// This event.
    pub shape: Shape,
    /// Of types that begin so,
    pub event_type: String,
    /// of which there are so many, `t0` and so on, by turns.
    pub types: usize,
    /// So often.
    pub count: u64,
    /// At this pace.
    pub pace: Pace,
}

/// How fast.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many events a second.
    Rate(f64),
    /// So that at most so many are under way, each of which makes so many requests.
    Ahead {
        /// Events under way.
        events: u64,
        /// Requests that each makes, on average.
        requests: f64,
        /// Whom to ask how many have come.
        sink: SocketAddr,
    },
    /// As fast as they are taken.
    Taken,
}

impl Load {
    /// So many small events of type `t0`, as fast as they are taken.
    #[must_use]
    pub fn small(nodes: Vec<String>, count: u64) -> Self {
        Self { nodes, shape: Shape::Small, event_type: "t".to_owned(), types: 1, count, pace: Pace::Taken }
    }

    /// Starts to send.
    #[must_use]
    pub fn start(&self) -> Child {
        let nodes = self.nodes.join(",");
        let (count, types) = (self.count.to_string(), self.types.to_string());
        let mut arguments = vec!["load", "--node", &nodes, "--shape", self.shape.name(), "--count", &count];
        arguments.extend(["--event-type", &self.event_type, "--types", &types]);
        let more: Vec<String> = match self.pace {
            Pace::Rate(rate) => vec!["--rate".into(), rate.to_string()],
            Pace::Ahead { events, requests, sink } => vec![
                "--ahead".into(),
                events.to_string(),
                "--requests".into(),
                requests.to_string(),
                "--sink".into(),
                sink.to_string(),
            ],
            Pace::Taken => Vec::new(),
        };
        arguments.extend(more.iter().map(String::as_str));
        Child::start(&arguments)
    }
}

/// Sends all, says [`Sent`], and waits until it is told to end.
pub async fn run(args: Args) {
    let makers: Vec<_> =
        (0..args.types).map(|number| args.shape.maker(&format!("{}{number}", args.event_type))).collect();
    let mut publishers = Vec::with_capacity(args.node.len());
    for node in &args.node {
        publishers.push(Publisher::builder(node).connect().await.expect("a node that takes events"));
    }
    let delivered = match (args.ahead, args.sink) {
        (Some(_), Some(sink)) => Some(follow(sink).await),
        _ => None,
    };
    let began_ns = now_ns();
    for number in 0..args.count {
        let intended_ns = match args.rate {
            Some(rate) => began_ns + intended(number, rate),
            None => {
                if let (Some(delivered), Some(ahead)) = (&delivered, args.ahead) {
                    while number as f64 >= delivered.load(Ordering::Relaxed) as f64 / args.requests + ahead as f64 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                now_ns()
            }
        };
        // Not the runtime's timer, which counts in milliseconds; what runs there has other threads.
        let wait = intended_ns.saturating_sub(now_ns());
        if wait > 0 {
            std::thread::sleep(Duration::from_nanos(wait));
        }
        let at = usize::try_from(number).expect("a count that fits");
        let event = makers[at % makers.len()].event(intended_ns, began_ns + number);
        publishers[at % publishers.len()].send(event).await.expect("a node that takes events");
    }
    let mut count = 0;
    for publisher in publishers {
        let summary = publisher.finish().await.expect("all are acked");
        assert_eq!(summary.rejected_count(), 0, "events are refused: {:?}", summary.first_rejections);
        count += summary.acked;
    }
    child::say(&Sent { count, began_ns, ended_ns: now_ns() });
    child::until_told().await;
}

/// Nanoseconds after the start at which an event is to be sent.
fn intended(number: u64, rate: f64) -> u64 {
    let portion = (number as f64 / rate * PORTIONS as f64) as u64;
    portion * (1_000_000_000 / PORTIONS)
}

/// Follows how many requests the sink has had since now.
async fn follow(sink: SocketAddr) -> Arc<AtomicU64> {
    let mut connection = http::Connection::open(sink).await;
    let delivered = Arc::new(AtomicU64::new(0));
    let told = delivered.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            let answer = connection.get("/count").await;
            let count = std::str::from_utf8(&answer).ok().and_then(|text| text.parse().ok()).expect("a number");
            told.store(count, Ordering::Relaxed);
        }
    });
    delivered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_intended_in_portions_of_a_millisecond() {
        assert_eq!([0, 1, 2, 3].map(|number| intended(number, 2_000.0)), [0, 0, 1_000_000, 1_000_000]);
        assert_eq!(intended(5_000, 5_000.0), 1_000_000_000);
    }
}
