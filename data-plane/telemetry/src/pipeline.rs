//! The thread of telemetry: it reads the metrics and empties the queues, on a runtime of its own, so that a backend that hangs, or a
//! large reading, takes nothing from those who deliver.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{
    Resource,
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter as _, reader::MetricReader as _},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    config::TelemetryConfig,
    export::{self, Health, Logs, Spans},
    logs,
    meters::{Meters, Reader, Readings},
    outbox::Outbox,
    scrape,
    telemetry::{AllCounts, Inner, Parts, Sources, TelemetryError},
};

/// How long a source may take.
const SOURCE_LIMIT: Duration = Duration::from_secs(5);

/// What the thread is told.
pub(crate) enum Order {
    /// These are the metrics to read.
    Serve(Weak<Inner>),
    /// Export all that is there.
    Flush(oneshot::Sender<()>),
    /// Be gone.
    Stop(oneshot::Sender<()>),
}

/// The way in, and what the thread has made.
type Started = (mpsc::UnboundedSender<Order>, Parts);

/// Starts the thread.
pub(crate) async fn start(config: TelemetryConfig, resource: Resource) -> Result<Started, TelemetryError> {
    let (ready, made) = oneshot::channel();
    let run = move || {
        logs::on_telemetry_thread();
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(ready.send(Err(TelemetryError::Thread(error)))),
        };
        let gone = runtime.block_on(async {
            match prepare(config, resource).await {
                Ok((prepared, parts)) => {
                    let (control, orders) = mpsc::unbounded_channel();
                    ready.send(Ok((control, parts))).ok()?;
                    serve(prepared, orders).await
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    None
                }
            }
        });
        // A name that is being resolved, or an export, is not waited for. What is left here holds nothing of the sources afterwards.
        runtime.shutdown_background();
        if let Some(gone) = gone {
            let _ = gone.send(());
        }
    };
    std::thread::Builder::new().name("telemetry".to_owned()).spawn(run).map_err(TelemetryError::Thread)?;
    made.await.unwrap_or_else(|_| Err(TelemetryError::Exporter("its thread has ended".to_owned())))
}

/// What the thread works with.
struct Prepared {
    metrics: Option<(MetricExporter, Reader)>,
    interval: Duration,
    scrape: Option<(TcpListener, Reader)>,
    /// What empties the queues.
    running: JoinSet<()>,
}

async fn prepare(config: TelemetryConfig, resource: Resource) -> Result<(Prepared, Parts), TelemetryError> {
    let counts = AllCounts::default();
    let mut running = JoinSet::new();
    let metrics = match &config.metrics {
        Some(target) => {
            let exporter = export::metrics(target)?;
            let reader = Reader::new(exporter.temporality());
            Some((exporter, reader))
        }
        None => None,
    };
    let scrape = match config.scrape {
        Some(address) => {
            let failed = |error| TelemetryError::Scrape { address, error };
            Some((TcpListener::bind(address).await.map_err(failed)?, Reader::new(Temporality::Cumulative)))
        }
        None => None,
    };
    let spans = match &config.traces {
        Some(target) => {
            let exporter = Spans::new(target, &resource)?;
            let (outbox, run) = Outbox::new(config.queue, counts.traces.clone(), exporter);
            running.spawn(run);
            Some(outbox)
        }
        None => None,
    };
    let logs = match &config.logs {
        Some(target) => {
            let exporter = Logs::new(target, &resource)?;
            let (outbox, run) = Outbox::new(config.queue, counts.logs.clone(), exporter);
            running.spawn(run);
            Some(outbox)
        }
        None => None,
    };
    let readers: Vec<_> = [metrics.as_ref().map(|(_, reader)| reader), scrape.as_ref().map(|(_, reader)| reader)]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let meters = Meters::new(resource, &readers, config.explicit_buckets, config.labels);
    let scraped_at: Option<SocketAddr> = scrape.as_ref().and_then(|(listener, _)| listener.local_addr().ok());
    let parts = Parts { meters, sources: Sources::default(), counts, spans, logs, scraped_at };
    Ok((Prepared { metrics, interval: config.interval, scrape, running }, parts))
}

/// Gives whom to tell that the thread has let everything go.
async fn serve(prepared: Prepared, mut orders: mpsc::UnboundedReceiver<Order>) -> Option<oneshot::Sender<()>> {
    let Prepared { metrics, interval, scrape, mut running } = prepared;
    let Some(Order::Serve(inner)) = orders.recv().await else { return None };
    let readings = Arc::new(Mutex::new(inner));
    if let Some((listener, reader)) = scrape {
        let readings = readings.clone();
        let read = move || {
            let (readings, reader) = (readings.clone(), reader.clone());
            async move { collect(&readings, &reader).await }
        };
        running.spawn(scrape::serve(listener, read));
    }
    let (export_now, asked) = mpsc::channel(1);
    if let Some((exporter, reader)) = metrics {
        running.spawn(export_metrics(exporter, reader, interval, readings.clone(), asked));
    }
    while let Some(order) = orders.recv().await {
        match order {
            Order::Serve(_) => {}
            // Beside the loop, so that whoever has stopped waiting holds nobody else up.
            Order::Flush(reply) => {
                let (readings, export_now) = (readings.clone(), export_now.clone());
                tokio::spawn(async move {
                    flush(&readings, &export_now).await;
                    let _ = reply.send(());
                });
            }
            Order::Stop(reply) => return Some(reply),
        }
    }
    None
}

/// The metrics that are read; one reading at a time.
type Shared = Arc<Mutex<Weak<Inner>>>;

async fn flush(readings: &Shared, export_now: &mpsc::Sender<oneshot::Sender<()>>) {
    let (spans, logs) = match readings.lock().await.upgrade() {
        Some(inner) => (inner.spans(), inner.logs()),
        None => return,
    };
    let (reply, exported) = oneshot::channel();
    let metrics = async {
        if export_now.send(reply).await.is_ok() {
            let _ = exported.await;
        }
    };
    let traces = async {
        if let Some(spans) = spans {
            spans.flush().await;
        }
    };
    let logs = async {
        if let Some(logs) = logs {
            logs.flush().await;
        }
    };
    tokio::join!(metrics, traces, logs);
}

async fn export_metrics(
    exporter: MetricExporter,
    reader: Reader,
    every: Duration,
    readings: Shared,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let health = Health::new("metrics");
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, when there is nothing yet.
    ticks.tick().await;
    loop {
        let reply = tokio::select! {
            _ = ticks.tick() => None,
            reply = asked.recv() => match reply {
                Some(reply) => Some(reply),
                None => return,
            },
        };
        let Some(metrics) = collect(&readings, &reader).await else { return };
        let ok = health.heard(exporter.export(&metrics).await);
        if let Some(inner) = readings.lock().await.upgrade() {
            inner.counts.metrics.exported(1, ok);
        }
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

/// Asks the sources and reads the metrics; `None` when the process has let them go.
async fn collect(readings: &Shared, reader: &Reader) -> Option<ResourceMetrics> {
    let shared = readings.lock().await;
    let inner = shared.upgrade()?;
    let sources: Vec<_> =
        inner.sources.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, source)| source.clone()).collect();
    let mut read = Readings::default();
    for source in sources {
        let _ = timeout(SOURCE_LIMIT, source.read(&mut read)).await;
    }
    inner.counts.read(&mut read);
    inner.meters.set(read);
    let mut metrics = ResourceMetrics::default();
    reader.collect(&mut metrics).ok()?;
    Some(metrics)
}
