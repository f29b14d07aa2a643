//! Exactly-once acceptance: whatever the order in which producers open streams, resend, leave gaps, break off and fence each
//! other, and in which the node restarts, an acked event is stored once, and one that was refused is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use sluice_proto::event::v1::{Ack, Event, SendEventsRequest, stream_events_response::Message as Response};
use sluice_tests::{
    cluster::Cluster,
    endpoint::Endpoint,
    events::{event, sync_to},
    producer::Producer,
    random::{Random, full, seed},
};
use tonic::Code;

const PRODUCERS: usize = 3;

/// Every seventh event or so is none.
fn is_bad(producer: usize, sequence: u64) -> bool {
    (sequence * 31 + producer as u64 * 7) % 11 == 3
}

/// The event that a producer has under this sequence.
fn content(producer: usize, sequence: u64) -> Bytes {
    if is_bad(producer, sequence) {
        Bytes::from_static(b"{\"event_type\":")
    } else {
        event("a", &user(producer, sequence))
    }
}

fn user(producer: usize, sequence: u64) -> String {
    format!("{producer}-{sequence}")
}

/// One producer, as it should be.
#[derive(Default)]
struct Model {
    /// The sequence that the node must expect next; none if it cannot know the producer.
    next: Option<u64>,
    /// What the node may have taken beyond that: batches whose acks were not waited for, by where they end.
    unsure: Vec<u64>,
    /// Where the producer began: nothing before that was sent.
    began: Option<u64>,
    stream: Option<Producer>,
    /// Streams that were fenced off.
    fenced: Vec<Producer>,
}

struct Run {
    cluster: Cluster,
    endpoint: Endpoint,
    random: Random,
    models: Vec<Model>,
    alone: BTreeSet<String>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
        cluster.create("all", sync_to(&endpoint.url("/"))).await;
        let models = (0..PRODUCERS).map(|_| Model::default()).collect();
        Self { cluster, endpoint, random: Random::new(seed), models, alone: BTreeSet::new() }
    }

    async fn step(&mut self) {
        let producer = self.random.between(0, PRODUCERS - 1);
        match self.random.between(0, 99) {
            0..15 => self.open(producer).await,
            15..60 => self.batches(producer, true).await,
            60..70 => self.batches(producer, false).await,
            70..78 => self.gap(producer).await,
            78..85 => self.send_as_fenced(producer).await,
            85..93 => self.unary(producer).await,
            93..97 => self.unary_alone().await,
            _ => self.restart().await,
        }
    }

    /// Opens a stream, which fences off the one before.
    async fn open(&mut self, producer: usize) {
        // What a producer says that has kept its position, that has lost it, or that is new.
        let next = self.models[producer].next;
        let first = match self.random.between(0, 2) {
            0 => next.unwrap_or(1),
            1 => 1,
            _ => next.unwrap_or(1).saturating_sub(self.random.between(0, 5) as u64).max(1),
        };
        let (stream, opened) = Producer::open(&self.cluster, &producer.to_string(), first).await;
        let model = &mut self.models[producer];
        assert_eq!(opened.known, model.next.is_some());
        model.learn(opened.next_sequence, first);
        model.fenced.extend(model.stream.replace(stream));
    }

    /// Sends some batches, new or sent again, without waiting in between; then waits for the acks, or breaks off.
    async fn batches(&mut self, producer: usize, waits: bool) {
        if self.models[producer].stream.is_none() {
            self.open(producer).await;
        }
        let count = self.random.between(1, 4);
        let mut sent = Vec::new();
        let mut next = self.models[producer].next.unwrap();
        for _ in 0..count {
            let first = next.saturating_sub(self.random.between(0, 4) as u64).max(1);
            let end = first + self.random.between(1, 6) as u64;
            next = next.max(end);
            sent.push((first, end));
        }
        let model = &mut self.models[producer];
        let stream = model.stream.as_mut().unwrap();
        for (first, end) in &sent {
            stream.batch(*first, (*first..*end).map(|sequence| content(producer, sequence))).await;
        }
        if !waits {
            model.unsure.extend(sent.iter().map(|(_, end)| *end));
            model.stream = None;
            return;
        }
        for (first, end) in sent {
            check_ack(producer, &stream.ack().await, first, end);
        }
        model.next = Some(next);
    }

    /// Leaves something out: the stream ends, and nothing of the batch is stored.
    async fn gap(&mut self, producer: usize) {
        let model = &mut self.models[producer];
        let (Some(mut stream), Some(next)) = (model.stream.take(), model.next) else { return };
        stream.batch(next + 1, [content(producer, next + 1)]).await;
        assert_eq!(stream.refusal().await.code(), Code::FailedPrecondition);
    }

    async fn send_as_fenced(&mut self, producer: usize) {
        let model = &mut self.models[producer];
        let (Some(mut stream), Some(next)) = (model.fenced.pop(), model.next) else { return };
        stream.batch(next, [content(producer, next)]).await;
        assert_eq!(stream.refusal().await.code(), Code::Aborted);
    }

    /// One call in a producer's name; it fences off a stream.
    async fn unary(&mut self, producer: usize) {
        if !self.models[producer].unsure.is_empty() {
            self.open(producer).await;
        }
        let next = self.models[producer].next;
        let leaves_gap = next.is_some() && self.random.between(0, 4) == 0;
        let first = match next {
            Some(next) if leaves_gap => next + 1,
            Some(next) => next.saturating_sub(self.random.between(0, 4) as u64).max(1),
            None => self.random.between(1, 50) as u64,
        };
        let end = first + self.random.between(1, 6) as u64;
        let request = SendEventsRequest {
            producer_id: producer.to_string(),
            first_sequence: first,
            events: (first..end).map(|n| Event { json: content(producer, n), ..Event::default() }).collect(),
        };
        let answer = self.cluster.events().await.send_events(request).await;
        let model = &mut self.models[producer];
        model.fenced.extend(model.stream.take());
        if leaves_gap {
            assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
            return;
        }
        let answer = answer.unwrap().into_inner();
        let ack = Ack { acked_sequence_inclusive: answer.acked_sequence_inclusive, rejections: answer.rejections };
        check_ack(producer, &ack, first, end);
        model.began.get_or_insert(first);
        model.next = Some(next.unwrap_or(first).max(end));
    }

    /// One call without a producer: each is an event of its own.
    async fn unary_alone(&mut self) {
        let user = format!("alone-{}", self.alone.len());
        let answer = self.cluster.send([event("a", &user)]).await;
        assert_eq!(answer.rejections, []);
        self.alone.insert(user);
    }

    async fn restart(&mut self) {
        for model in &mut self.models {
            model.stream = None;
            model.fenced.clear();
        }
        self.cluster.stop_node().await;
        self.cluster.start_node().await;
        self.cluster.serving().await;
    }

    /// Every event that the node has acked came to the endpoint once, whole and under an id of its own, and no other.
    async fn check(mut self) {
        for producer in 0..PRODUCERS {
            // What is not known yet is told now.
            self.open(producer).await;
        }
        let ledger = self.cluster.settled().await;
        let mut wanted: BTreeMap<String, Bytes> =
            self.alone.iter().map(|user| (user.clone(), event("a", user))).collect();
        for (producer, model) in self.models.iter().enumerate() {
            let (Some(began), Some(next)) = (model.began, model.next) else { continue };
            let good = (began..next).filter(|sequence| !is_bad(producer, *sequence));
            wanted.extend(good.map(|sequence| (user(producer, sequence), content(producer, sequence))));
        }
        assert_eq!(ledger.deliveries[0].1.delivered, wanted.len() as i64);
        let received = self.endpoint.received();
        let ids: BTreeSet<&str> = received.iter().map(|request| request.header("webhook-id")).collect();
        let mut bodies: HashMap<&Bytes, usize> = HashMap::new();
        for request in &received {
            *bodies.entry(&request.body).or_default() += 1;
        }
        assert_eq!((received.len(), ids.len()), (wanted.len(), wanted.len()));
        for (user, body) in &wanted {
            assert_eq!(bodies.get(body), Some(&1), "{user}");
        }
    }
}

impl Model {
    /// The node has told where it stands.
    fn learn(&mut self, told: u64, first: u64) {
        match self.next {
            None => assert_eq!(told, first),
            Some(next) => assert!(told == next || self.unsure.contains(&told), "{told} where {next} was expected"),
        }
        assert!(self.next.is_none_or(|next| told >= next), "nothing that was acked is forgotten");
        self.unsure.clear();
        self.began.get_or_insert(told);
        self.next = Some(told);
    }
}

fn check_ack(producer: usize, ack: &Ack, first: u64, end: u64) {
    assert_eq!(ack.acked_sequence_inclusive, end - 1);
    let rejected: Vec<u64> = ack.rejections.iter().map(|rejection| rejection.sequence).collect();
    assert!((first..end).filter(|sequence| is_bad(producer, *sequence)).eq(rejected), "each time that it is sent");
}

#[tokio::test]
async fn an_acked_event_is_stored_once_whatever_producers_and_node_do() {
    let (runs, steps) = if full() { (100, 300) } else { (5, 120) };
    for run in 0..runs {
        let seed = seed().wrapping_add(run);
        println!("seed {seed}");
        let mut run = Run::start(seed).await;
        for _ in 0..steps {
            run.step().await;
        }
        run.check().await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_fenced_before_it_is_noticed() {
    let (cluster, endpoint) = (Cluster::start().await, Endpoint::start().await);
    cluster.create("all", sync_to(&endpoint.url("/"))).await;
    let (mut old, _) = Producer::open(&cluster, "p", 1).await;
    old.batch(1, [event("a", "1")]).await;
    old.ack().await;
    // The connection is gone for the producer, not for the node.
    let (mut new, opened) = Producer::open(&cluster, "p", 1).await;
    assert_eq!((opened.known, opened.next_sequence), (true, 2));
    old.batch(2, [event("a", "2 of the old")]).await;
    new.batch(2, [event("a", "2")]).await;
    assert!(matches!(new.next().await.unwrap(), Response::Ack(_)));
    assert_eq!(old.refusal().await.code(), Code::Aborted);
    assert_eq!(cluster.settled().await.deliveries[0].1.delivered, 2);
    assert_eq!(endpoint.received()[1].body, event("a", "2"));
}
