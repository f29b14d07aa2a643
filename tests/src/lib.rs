//! What the tests across both planes share: a [`cluster`] in this process, a scripted [`endpoint`], [`events`] and builders
//! of syncs; [`dynamic`] calls of any method; the real binaries as [`process`]es, the [`faults`] that befall them, and a [`scenario`] that compares what was
//! accepted with what came of it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test support: a failure here is a failed test
#![allow(clippy::disallowed_methods)] // tests are not guarded: they are what comes to the guard from outside

pub mod closed;
pub mod cluster;
pub mod dns;
pub mod dynamic;
pub mod endpoint;
pub mod events;
#[cfg(target_os = "linux")]
pub mod faults;
pub mod hostile;
pub mod ledger;
pub mod measure;
pub mod otlp;
pub mod process;
pub mod producer;
pub mod random;
pub mod reports;
pub mod scenario;
pub mod syncs;
