//! `sluice demo`: everything at work in some seconds, and a check of every single delivery.

mod check;
mod events;
mod expected;
mod report;
mod syncs;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use clap::Args;
use sluice_client::{
    Publisher,
    proto::{
        delivery::v1::{
            GetSyncMetricsRequest, MetricsWindow, SyncMetrics, WatchAttemptsRequest, WatchAttemptsResponse,
            delivery_service_client::DeliveryServiceClient, get_sync_metrics_request::Period,
        },
        name::DEFAULT_PROJECT,
        sync::v1::{CreateSyncRequest, Sync, sync_service_client::SyncServiceClient},
    },
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::{Request, Streaming};

use crate::{
    commands::attempts,
    context::call,
    demo::{
        check::{Expectation, disagreements},
        report::Row,
        syncs::DemoSync,
    },
    duration,
    exit::{Exit, Failure},
    local::{LocalPlanes, Ports},
    output::{count, say, thousands},
    receiver::Receiver,
    rollout,
    sending::{DRAW_INTERVAL, Display, Total},
};

/// For how long the nodes may take to serve the syncs.
const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(15);
/// For how long a delivery may be missing after the last event is acked.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
/// For how long the figures may lag behind the deliveries.
const METRICS_TIMEOUT: Duration = Duration::from_secs(20);
/// How often it is looked at what became of missing deliveries.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a delivery is shown.
const SHOW_INTERVAL: Duration = Duration::from_millis(150);
/// How many are shown at most.
const SHOWN: usize = 12;

/// What to show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice demo
  sluice demo --events 20000 --seed 7

Starts a control plane and a node with their data in a temporary folder, and a webhook receiver; creates two syncs, one
that sends large purchases as they came and one that sends everything through a FreeMarker template; streams generated
events through gRPC. Then it compares what the receiver got, by webhook-id and SHA-256 of the body, with what plain code
makes of the same events. Exit code 0 only if every delivery agrees.")]
pub(crate) struct DemoArgs {
    /// How many events to send
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    events: u32,
    /// Which events: the same number gives the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    sluice_telemetry::logs::init("error", sluice_telemetry::logs::LogFormat::Text)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let cannot = |error: std::io::Error| Failure::new(Exit::CannotStart, format!("the demo cannot start: {error}"));
    let folder = tempfile::tempdir().map_err(cannot)?;
    let receiver = Receiver::start().await.map_err(cannot)?;
    let planes = LocalPlanes::start(folder.path(), Ports { control_plane: 0, node: 0 }).await?;
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    let shown = tokio::select! {
        shown = show(&planes, &receiver, &args) => shown,
        _ = &mut interrupted => Err(Failure::failed("interrupted")),
    };
    planes.stop().await;
    shown
}

async fn show(planes: &LocalPlanes, receiver: &Receiver, args: &DemoArgs) -> Result<(), Failure> {
    let started = Instant::now();
    say(format!(
        "Started on this machine, with data in a temporary folder:\n  control plane  {}\n  node           {}\n  \
         receiver       {}\n",
        planes.control_plane_url(),
        planes.node_url(),
        receiver.url("/"),
    ))?;
    let channel = sluice_client::connect(&planes.control_plane_url()).await?;
    let token = format!("Bearer {}", uuid::Uuid::new_v4().simple());
    let syncs = create(channel.clone(), receiver, &token).await?;
    let events = events::generate(args.seed, args.events);
    say(format!("\nStreaming {} to the node, Amplitude's export shape:", count(events.len() as u64, "event")))?;

    let mut deliveries = sluice_client::delivery_client(channel);
    let live = watch(&mut deliveries).await?;
    let (producer_id, rejected) = publish(planes, &events, live).await?;
    let rows = expect(&syncs, &events, &producer_id, &token)?;
    wait_for_deliveries(&mut deliveries, receiver, &rows).await?;
    let mut shown = Vec::new();
    let mut problems = Vec::new();
    if rejected > 0 {
        problems.push(format!("{} rejected", count(rejected, "event")));
    }
    for (sync, expectation) in rows {
        let metrics = metrics(&mut deliveries, &sync.sync.name, expectation.deliveries()).await?;
        let received = receiver.received(sync.kind.path());
        let found = disagreements(&expectation, &received);
        if metrics.delivered_count != signed(expectation.deliveries()) {
            let counted = metrics.delivered_count;
            problems.push(format!("{}: the metrics count {counted} deliveries", sync.sync.name));
        }
        let name = sync.kind.id().to_owned();
        problems.extend(found.iter().map(|problem| format!("{name}: {problem}")));
        shown.push(Row { name, matched: expectation.deliveries(), metrics, agree: found.is_empty(), received });
    }
    say(format!("\n{}", report::table(events.len() as u64 - rejected, &shown)))?;
    for row in &shown {
        say(report::first_body(row))?;
    }
    if !problems.is_empty() {
        return Err(Failure {
            exit: Exit::Failed,
            message: "the deliveries do not agree".to_owned(),
            details: problems,
        });
    }
    say(format!(
        "\nEvery delivery agrees: {} by webhook-id and SHA-256 of the body, and the Authorization header of {}. {}.",
        thousands(shown.iter().map(|row| row.matched).sum()),
        DemoSync::Templated.id(),
        duration::show(started.elapsed()),
    ))
}

/// A sync as it is stored.
struct Stored {
    kind: DemoSync,
    sync: Sync,
}

async fn create(channel: sluice_client::Connection, receiver: &Receiver, token: &str) -> Result<Vec<Stored>, Failure> {
    let mut client: SyncServiceClient<sluice_client::Connection> = sluice_client::sync_client(channel);
    let mut stored = Vec::new();
    say("Two syncs:")?;
    for kind in DemoSync::ALL {
        let request = CreateSyncRequest {
            parent: format!("projects/{DEFAULT_PROJECT}"),
            sync_id: kind.id().to_owned(),
            sync: Some(kind.sync(&receiver.url(kind.path()), token)),
            validate_only: false,
            ..Default::default()
        };
        let sync = client.create_sync(call(request)).await?.into_inner();
        let followed = rollout::wait(&mut client, sync, Some(Instant::now() + ROLLOUT_TIMEOUT)).await?;
        say(format!("  {:<19} {}; {}", kind.id(), kind.says(), rollout::served(&followed, true)))?;
        stored.push(Stored { kind, sync: followed.sync });
    }
    Ok(stored)
}

/// Attempts as they happen, from now on.
async fn watch(
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
) -> Result<Streaming<WatchAttemptsResponse>, Failure> {
    let request = WatchAttemptsRequest { parent: format!("projects/{DEFAULT_PROJECT}/syncs/-"), filter: None };
    Ok(client.watch_attempts(Request::new(request)).await?.into_inner())
}

/// Streams the events and shows some deliveries meanwhile. Gives the producer id and how many events were refused.
async fn publish(
    planes: &LocalPlanes,
    events: &[Bytes],
    mut live: Streaming<WatchAttemptsResponse>,
) -> Result<(String, u64), Failure> {
    let publisher = Publisher::builder(&planes.node_url()).connect().await?;
    let producer_id = publisher.producer_id().to_owned();
    let progress = publisher.progress();
    let mut display = Display::new(Total::Events(events.len() as u64));
    let mut work = pin!(async {
        for event in events {
            publisher.send(event.clone()).await?;
        }
        publisher.finish().await
    });
    let mut draw = interval(DRAW_INTERVAL);
    draw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = Shown { count: 0, last: None };
    let mut summary = None;
    // A moment longer than the sending, so that deliveries are seen even if it is over at once.
    let mut watched_until = None;
    let summary = loop {
        if let Some(ended) = summary.take_if(|_| shown.enough() || watched_until.is_some_and(|at| Instant::now() >= at))
        {
            break ended;
        }
        tokio::select! {
            ended = &mut work, if summary.is_none() => {
                summary = Some(ended?);
                let state = progress.borrow().clone();
                display.update(state.acked, state.acked, &state);
                watched_until = Some(Instant::now() + Duration::from_secs(2));
            }
            response = live.message() => match response {
                Ok(Some(response)) => {
                    for attempt in response.attempts {
                        if shown.next(Instant::now()) {
                            display.show(&format!("  {}", attempts::line(&attempt)))?;
                        }
                    }
                }
                // Only what is shown suffers; the check does not rest on it.
                Ok(None) | Err(_) => sleep(DRAW_INTERVAL).await,
            },
            // It also ends the loop: there may be nothing more to show.
            _ = draw.tick() => {
                if summary.is_none() {
                    let state = progress.borrow().clone();
                    display.update(state.acked, state.acked, &state);
                }
            }
        }
    };
    display.clear();
    Ok((producer_id, summary.rejected_count()))
}

/// Which of the many deliveries are shown.
struct Shown {
    count: usize,
    last: Option<Instant>,
}

impl Shown {
    fn next(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= SHOW_INTERVAL);
        if self.enough() || !due {
            return false;
        }
        self.count += 1;
        self.last = Some(now);
        true
    }

    fn enough(&self) -> bool {
        self.count >= SHOWN
    }
}

/// What the receiver must get, computed without the engine.
fn expect<'a>(
    syncs: &'a [Stored],
    events: &[Bytes],
    producer_id: &str,
    token: &str,
) -> Result<Vec<(&'a Stored, Expectation)>, Failure> {
    syncs
        .iter()
        .map(|stored| {
            let authorization = stored.kind.authorization(token);
            let bodies = expected::deliveries(stored.kind, &stored.sync.uid, producer_id, events)?;
            Ok((stored, Expectation { bodies, authorization }))
        })
        .collect()
}

/// Waits until the receiver has got as much as it must, or every delivery has ended in another way. What is missing
/// after that, or after a minute, is told by the check.
async fn wait_for_deliveries(
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
    receiver: &Receiver,
    rows: &[(&Stored, Expectation)],
) -> Result<(), Failure> {
    let expected: u64 = rows.iter().map(|(_, expectation)| expectation.deliveries()).sum();
    let until = Instant::now() + DELIVERY_TIMEOUT;
    let mut arrived = receiver.count();
    while Instant::now() < until {
        let all = arrived.wait_for(|arrived| *arrived >= expected);
        if timeout(SETTLE_INTERVAL, all).await.is_ok() {
            return Ok(());
        }
        let mut open = 0;
        for (stored, expectation) in rows {
            let metrics = read_metrics(client, &stored.sync.name).await?;
            open += (signed(expectation.deliveries()) - ended(&metrics)).max(0);
        }
        if open == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// The figures of a sync, once they count `expected` deliveries that have ended, or as they are after a while.
async fn metrics(
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
    name: &str,
    expected: u64,
) -> Result<SyncMetrics, Failure> {
    let until = Instant::now() + METRICS_TIMEOUT;
    loop {
        let metrics = read_metrics(client, name).await?;
        if ended(&metrics) >= signed(expected) || Instant::now() >= until {
            return Ok(metrics);
        }
        sleep(DRAW_INTERVAL).await;
    }
}

async fn read_metrics(
    client: &mut DeliveryServiceClient<sluice_client::Connection>,
    name: &str,
) -> Result<SyncMetrics, Failure> {
    let period = Some(Period::Window(MetricsWindow::TenMinutes.into()));
    let request = GetSyncMetricsRequest { name: name.to_owned(), period };
    Ok(client.get_sync_metrics(call(request)).await?.into_inner())
}

/// Deliveries that have ended, well or not.
fn ended(metrics: &SyncMetrics) -> i64 {
    metrics.delivered_count + metrics.not_delivered_count
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
