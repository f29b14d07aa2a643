//! Sluice's control plane: stores syncs, pushes them to the nodes and collects their reports.
//!
//! | module | what it does |
//! |---|---|
//! | `api` | the gRPC services |
//! | `store` | what is kept: SQLite, and all SQL |
//! | `changelog`, `session` | pure: where a catalog stands, and what a node lacks |
//! | `recent` | pure: since when a node has been behind |
//! | `updates`, `feed` | what nodes are sent, made once for all; what goes to one node next |
//! | `publish`, `nodes` | who must hear of a commit, and who is connected |
//! | `commands` | what the nodes were told to do and have not answered |
//! | `audit` | pure: what is written down of a change |
//! | `reports` | pure: what nodes report, as it is kept and found |
//! | `figures` | pure: counts, latencies and health, added up from reports |
//! | `keys` | who may call: the keys that count now |
//! | `secrets`, `time`, `error` | what is never shown; instants; errors and their gRPC statuses |
//! | `sync_filter`, `sync_order` | pure: which syncs a list shows, in which order |
//! | `alerts` | what the alert rules find, and who is told |
//! | `auto_disable` | which syncs are disabled because they do nothing but fail |
//! | `telling` | what it tells OpenTelemetry |
//! | `retention` | what is forgotten, and when |
//!
//! [`start`] runs one in this process; the binary is little more.

mod alerts;
mod api;
mod audit;
mod auto_disable;
mod changelog;
mod commands;
mod config;
mod error;
mod feed;
mod figures;
mod keys;
mod nodes;
mod publish;
mod recent;
mod reports;
mod retention;
mod secrets;
mod server;
mod session;
mod store;
mod sync_filter;
mod sync_order;
mod telling;
mod time;
mod updates;

pub use self::{
    config::{Config, DEFAULT_AUDIT_RETENTION, DEFAULT_MAX_SYNCS_PER_PROJECT, DEFAULT_PORT},
    retention::ReportRetention,
    server::{ControlPlane, StartError, rotate_secrets_key, start},
    store::{Contents, CopyError, StoreError, backup, key_of, restore, verify},
};
