//! What a process of Sluice tells OpenTelemetry, and how it leaves the process: through bounded queues, from a thread of its own,
//! dropped and counted when nobody takes it. Knows nothing of events and syncs beyond their names.
//!
//! | module | concern |
//! |---|---|
//! | [`config`] | what the standard `OTEL_*` variables say |
//! | [`instruments`] | every metric that there is; [`docs`] makes the page of it |
//! | [`meters`], [`labels`] | values on their way to a reader; how many names become attributes |
//! | [`context`], [`sampling`], [`spans`] | W3C trace context; which traces are kept; finished spans |
//! | [`logs`] | to standard error and to OTLP; levels that change while the process runs |
//! | [`rpc`] | duration and span of each gRPC call that a server answers |
//! | [`prometheus`] | metrics as text, for those who scrape |

pub mod config;
pub mod context;
pub mod docs;
mod export;
mod http;
pub mod instruments;
pub mod labels;
pub mod logs;
pub mod meters;
mod outbox;
mod pipeline;
pub mod prometheus;
pub mod rpc;
pub mod sampling;
mod scrape;
pub mod spans;
mod telemetry;

pub use opentelemetry::{
    KeyValue,
    trace::{SpanContext, SpanKind},
};

pub use self::{
    config::TelemetryConfig,
    telemetry::{Registration, Source, Telemetry, TelemetryError},
};
