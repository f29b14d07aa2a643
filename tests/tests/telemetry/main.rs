//! What both planes tell OpenTelemetry, as a backend of their own process takes it: metrics that agree with the ledger, traces that
//! hang together, and telemetry that costs nothing but itself when the backend is unwell.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod http;
mod metrics;
mod scrape;
mod traces;
mod unwell;
