//! Logs: on standard error, for people or as JSON, and to OTLP where that is set up, with the ids of the trace that they were written
//! in. What is logged can change while the process runs: a filter in a file is read again on SIGHUP.

use std::{
    cell::Cell,
    io::IsTerminal as _,
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use opentelemetry::{InstrumentationScope, logs::Severity};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider},
};
use serde::Deserialize;
use thiserror::Error;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{DynFilterFn, dynamic_filter_fn},
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use crate::{export::Record, outbox::Outbox};

/// Says that the filter is in the file whose path follows.
const IN_FILE: char = '@';

/// How the log on standard error is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Default for LogFormat {
    /// Text on a terminal, where people read it; JSON anywhere else.
    fn default() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// What is logged, and how that changes.
#[derive(Clone, Debug)]
pub struct Levels {
    file: Option<PathBuf>,
    handle: Option<reload::Handle<EnvFilter, Registry>>,
}

/// Why the filter cannot be used.
#[derive(Debug, Error)]
pub enum FilterError {
    /// Its file cannot be read.
    #[error("the log filter in {path} cannot be read: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is no filter.
    #[error("`{text}` is not a log filter such as info or sluice_node=debug,info: {error}")]
    Invalid {
        /// What it says.
        text: String,
        /// What is wrong with it.
        error: tracing_subscriber::filter::ParseError,
    },
}

/// Sends what `tracing` collects to standard error, and to OTLP as long as a [`Telemetry`](crate::Telemetry) takes it. `filter` is
/// text such as `info`, or `@` and the path of a file that holds such text. `RUST_LOG`, if set and valid, replaces text. A second
/// call changes nothing.
///
/// # Errors
/// If `filter` cannot be used.
pub fn init(filter: &str, format: LogFormat) -> Result<Levels, FilterError> {
    let file = filter.strip_prefix(IN_FILE).map(PathBuf::from);
    let env_filter = match &file {
        Some(path) => read(path)?,
        None => match EnvFilter::try_from_default_env() {
            Ok(filter) => filter,
            Err(_) => parse(filter)?,
        },
    };
    let (env_filter, handle) = reload::Layer::new(env_filter);
    let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let text = match format {
        LogFormat::Text => text.boxed(),
        LogFormat::Json => text.json().boxed(),
    };
    let subscriber =
        tracing_subscriber::registry().with(env_filter).with(text.with_filter(not_of_the_exporters())).with(to_otlp());
    // An error means that somebody has set a subscriber already: theirs stays.
    let handle = subscriber.try_init().is_ok().then_some(handle);
    Ok(Levels { file, handle })
}

/// The way of log records to OTLP, for a subscriber of your own.
pub fn to_otlp<S: Subscriber + for<'span> LookupSpan<'span>>() -> impl Layer<S> {
    let provider = SdkLoggerProvider::builder().with_log_processor(Forward).build();
    OpenTelemetryTracingBridge::new(&provider).with_filter(worth_exporting())
}

impl Levels {
    /// Reads the filter's file again. What is wrong with it is logged, and the old one stays.
    pub fn read_again(&self) {
        let (Some(file), Some(handle)) = (&self.file, &self.handle) else {
            tracing::info!("nothing to read again: the log filter is not in a file");
            return;
        };
        match read(file) {
            Ok(filter) => {
                let shown = filter.to_string();
                if handle.reload(filter).is_ok() {
                    tracing::info!(filter = shown, "the log filter was read again");
                }
            }
            Err(error) => tracing::error!(%error, "the log filter stays as it was"),
        }
    }

    /// Reads it again at each SIGHUP. Never ends.
    #[cfg(unix)]
    pub async fn follow_hangups(self) {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
        while hangups.recv().await.is_some() {
            self.read_again();
        }
    }

    /// There is no such signal here.
    #[cfg(not(unix))]
    pub async fn follow_hangups(self) {}
}

fn read(path: &PathBuf) -> Result<EnvFilter, FilterError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| FilterError::File { path: path.display().to_string(), error })?;
    parse(text.trim())
}

fn parse(text: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::try_new(text).map_err(|error| FilterError::Invalid { text: text.to_owned(), error })
}

thread_local! {
    static EXPORTS: Cell<bool> = const { Cell::new(false) };
}

/// What this thread logs is of the exporters from now on: it would feed itself.
pub(crate) fn on_telemetry_thread() {
    EXPORTS.set(true);
}

type Filter<S> = DynFilterFn<S, fn(&Metadata<'_>, &Context<'_, S>) -> bool>;

/// What the libraries of the exporters say about their connections is left out; what we say of them ourselves is not.
fn not_of_the_exporters<S: Subscriber>() -> Filter<S> {
    dynamic_filter_fn(|metadata, _| !EXPORTS.get() || metadata.target().starts_with("sluice"))
}

/// Nothing of the exporters at all, and nothing of the libraries that carry gRPC.
fn worth_exporting<S: Subscriber>() -> Filter<S> {
    dynamic_filter_fn(|metadata, _| {
        let target = metadata.target();
        !EXPORTS.get()
            && !["h2", "hyper", "tonic", "tower", "opentelemetry"].iter().any(|name| target.starts_with(name))
    })
}

/// Where log records go. One for the process, as the subscriber is.
static SINK: LazyLock<ArcSwapOption<Outbox<Record>>> = LazyLock::new(ArcSwapOption::empty);

/// Log records go there from now on.
pub(crate) fn take(logs: Option<Outbox<Record>>) {
    SINK.store(logs.map(Arc::new));
}

/// They don't any longer, unless somebody else takes them by now.
pub(crate) fn give_back(logs: &Outbox<Record>) {
    let current = SINK.load_full();
    if current.as_ref().is_some_and(|current| current.is(logs)) {
        SINK.store(None);
    }
}

#[derive(Debug)]
struct Forward;

impl LogProcessor for Forward {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if let Some(logs) = &*SINK.load() {
            logs.put((record.clone(), scope.clone()));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn event_enabled(&self, _level: Severity, _target: &str, _name: Option<&str>) -> bool {
        SINK.load().is_some()
    }
}
