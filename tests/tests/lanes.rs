//! Whatever happens to syncs, endpoints, limits and the node, and in whatever order: no lane stands still for ever, and what
//! was accepted has an end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_proto::{
    delivery::v1::{DeadLetterFilter, RedeliverDeadLettersRequest},
    event::v1::{Event, SendEventsRequest},
    sync::v1::{BacklogPolicy, Limits},
};
use sluice_tests::{
    cluster::{Cluster, eventually},
    endpoint::{Endpoint, status},
    events::{event, sync_to},
    random::{Random, full, seed},
};
use tonic::Code;

const SYNCS: usize = 3;
/// One run takes a second or two.
const BOUND: Duration = Duration::from_secs(240);

struct Run {
    cluster: Cluster,
    random: Random,
    endpoints: Vec<Endpoint>,
    enabled: [bool; SYNCS],
    sent: usize,
    trace: Vec<String>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let cluster = Cluster::start().await;
        let mut endpoints = Vec::new();
        for at in 0..SYNCS {
            let endpoint = Endpoint::start().await;
            cluster.create(&id(at), sync_to(&endpoint.url("/"))).await;
            endpoints.push(endpoint);
        }
        let random = Random::new(seed);
        Self { cluster, random, endpoints, enabled: [true; SYNCS], sent: 0, trace: vec![format!("seed {seed}")] }
    }

    async fn step(&mut self) {
        let at = self.random.between(0, SYNCS - 1);
        match self.random.between(0, 99) {
            0..30 => self.send().await,
            30..50 => self.behave(at),
            50..60 => self.limit(at).await,
            60..68 => self.switch(at).await,
            68..72 => self.make_anew(at).await,
            72..76 => self.restart().await,
            76..80 => self.redeliver().await,
            _ => self.pass_time(),
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.trace.push(what.into());
    }

    async fn send(&mut self) {
        let count = self.random.between(1, 40);
        let events = (self.sent..self.sent + count).map(|n| event("a", &n.to_string()));
        let events = events.map(|json| Event { json, ..Event::default() }).collect();
        let request = SendEventsRequest { events, ..SendEventsRequest::default() };
        let refused = match self.cluster.events().await.send_events(request).await {
            Ok(_) => false,
            Err(status) if status.code() == Code::ResourceExhausted => true,
            Err(status) => panic!("{status}"),
        };
        self.sent += count;
        self.note(format!("send {count}, refused: {refused}"));
    }

    fn behave(&mut self, at: usize) {
        let how = self.random.between(0, 6);
        let endpoint = &self.endpoints[at];
        match how {
            0 => endpoint.hold(),
            1 => endpoint.release(),
            2 => endpoint.always(status(400)),
            3 => endpoint.always(status(500)),
            4 => endpoint.always(status(503).header("retry-after", "45")),
            _ => endpoint.always(status(200)),
        }
        self.note(format!("endpoint {at} does {how}"));
    }

    async fn limit(&mut self, at: usize) {
        let random = &mut self.random;
        let max_backlog = [0, 10, 30][random.between(0, 2)];
        let policy = [BacklogPolicy::DiscardOldest, BacklogPolicy::RefuseEvents][random.between(0, 1)];
        let limits = Limits {
            max_concurrency: random.between(1, 8) as i32,
            max_requests_per_second: [0.0, 20.0][random.between(0, 1)],
            max_backlog,
            backlog_policy: if max_backlog == 0 { BacklogPolicy::Unspecified } else { policy }.into(),
        };
        self.note(format!("sync {at} gets {limits:?}"));
        self.set_limits(at, limits).await;
    }

    async fn set_limits(&self, at: usize, limits: Limits) {
        let mut sync = self.cluster.get(&id(at)).await;
        sync.destination.as_mut().unwrap().limits = Some(limits);
        self.cluster.redialling(self.cluster.update(sync)).await;
    }

    async fn switch(&mut self, at: usize) {
        self.enabled[at] = !self.enabled[at];
        let enabled = self.enabled[at];
        self.note(format!("sync {at} enabled: {enabled}"));
        let id = id(at);
        if enabled {
            self.cluster.redialling(self.cluster.enable(&id)).await;
        } else {
            self.cluster.redialling(self.cluster.disable(&id)).await;
        }
    }

    /// Another sync under the same name: what is open of the old one ends.
    async fn make_anew(&mut self, at: usize) {
        self.note(format!("sync {at} is made anew"));
        self.cluster.delete(&id(at)).await;
        let sync = sync_to(&self.endpoints[at].url("/"));
        self.cluster.redialling(self.cluster.create(&id(at), sync)).await;
        self.enabled[at] = true;
    }

    async fn restart(&mut self) {
        self.note("restart");
        // A stop waits for requests under way, by the machine's clock.
        self.endpoints.iter().for_each(Endpoint::release);
        self.cluster.stop_node().await;
        self.cluster.start_node().await;
        self.cluster.serving().await;
    }

    async fn redeliver(&mut self) {
        self.note("redeliver");
        let request = RedeliverDeadLettersRequest {
            parent: "projects/default/syncs/-".into(),
            filter: Some(DeadLetterFilter::default()),
        };
        let redeliver = async {
            // A node that has just started may not serve commands yet.
            if let Ok(told) = self.cluster.deliveries().await.redeliver_dead_letters(request).await {
                let mut told = told.into_inner();
                while let Ok(Some(_)) = told.message().await {}
            }
        };
        // It may have lost its command stream too.
        self.cluster.redialling(redeliver).await;
    }

    fn pass_time(&mut self) {
        let ms = [100, 1_000, 5_000, 30_000, 120_000, 3_600_000][self.random.between(0, 5)];
        self.note(format!("{ms} ms pass"));
        self.cluster.time.advance(Duration::from_millis(ms));
    }

    /// Everything is well again: then everything must end.
    async fn check(&mut self) {
        for at in 0..SYNCS {
            self.endpoints[at].always(status(200));
            self.endpoints[at].release();
            self.set_limits(at, Limits::default()).await;
            if !self.enabled[at] {
                self.cluster.redialling(self.cluster.enable(&id(at))).await;
            }
        }
        let rounds = async {
            loop {
                tokio::select! {
                    _ = self.cluster.next_round() => {}
                    _ = self.cluster.time.advance_to_next("quick retry") => {}
                }
            }
        };
        let ledger = tokio::select! {
            ledger = self.cluster.settled() => ledger,
            () = rounds => unreachable!("it goes on for ever"),
        };
        let delivered: i64 = ledger.deliveries.iter().map(|(_, counts)| counts.delivered).sum();
        let mut bodies: BTreeMap<String, BTreeSet<bytes::Bytes>> = BTreeMap::new();
        for request in self.endpoints.iter().flat_map(Endpoint::received) {
            bodies.entry(request.header("webhook-id").to_owned()).or_default().insert(request.body);
        }
        assert!(bodies.values().all(|bodies| bodies.len() == 1), "an id stands for one body");
        assert!(delivered <= bodies.len() as i64, "what counts as delivered came");
        let dead: i64 = ledger.deliveries.iter().map(|(_, counts)| counts.dead_letters).sum();
        let ended: i64 = ledger.deliveries.iter().map(|(_, counts)| counts.created).sum();
        assert_eq!(delivered + dead, ended, "each delivery has come or is a dead letter: {ledger:?}");
        eventually("nothing is left in memory", async || {
            (self.cluster.node().figures().in_memory() == 0).then_some(())
        })
        .await;
    }
}

fn id(at: usize) -> String {
    format!("s{at}")
}

/// What was done is told when the test fails.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.trace.join("\n"));
        }
    }
}

#[tokio::test]
async fn no_lane_stands_still_for_ever() {
    let (runs, steps) = if full() { (30, 100) } else { (5, 60) };
    for run in 0..runs {
        let mut run = Run::start(seed().wrapping_add(run)).await;
        let whole = async {
            for _ in 0..steps {
                run.step().await;
            }
            run.check().await;
        };
        // Something waits for a time that nobody lets come: what was done until then is told.
        assert!(tokio::time::timeout(BOUND, whole).await.is_ok(), "it has not ended within {BOUND:?}");
    }
}
