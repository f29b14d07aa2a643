//! Sluice's data-plane node: takes events in through gRPC, keeps them, matches, renders and delivers them as webhooks, and
//! reports every attempt. The IO shell around `sluice-pipeline`, which decides.
//!
//! | module | concern |
//! |---|---|
//! | [`ingest`], [`keys`] | events in; an ack means on disk; from whom |
//! | [`spool`] | the durable record: one writer with group commit |
//! | [`lanes`], [`dispatcher`] | which deliveries are in memory; when each is made |
//! | [`attempt`] | one round: render, request, classify, record |
//! | [`http`], [`guard`] | the webhook client and the only way to its sockets |
//! | [`dial`], [`control`], [`uplink`] | the control plane; catalog in, reports out |
//! | [`commands`], [`drain`] | what operators ask of the node |
//! | [`telemetry`] | what it tells OpenTelemetry |

pub mod attempt;
pub mod commands;
pub mod config;
pub mod control;
pub mod dial;
pub mod dispatcher;
pub mod drain;
mod error;
mod exchange;
pub mod guard;
pub mod http;
pub mod ingest;
pub mod keys;
pub mod lanes;
mod node;
mod redial;
pub mod renders;
pub mod report;
pub mod spool;
mod stop;
pub mod telemetry;
pub mod uplink;

pub use self::{
    config::Config,
    error::StartError,
    node::{Node, STOP_GRACE, start},
};
