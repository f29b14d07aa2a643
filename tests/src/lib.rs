//! What the tests across both planes share: a [`cluster`] in this process, a scripted [`endpoint`], [`events`] and builders
//! of syncs; the real binaries as [`process`]es, the [`faults`] that befall them, and a [`scenario`] that compares what was
//! accepted with what came of it.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test support: a failure here is a failed test

pub mod cluster;
pub mod endpoint;
pub mod events;
#[cfg(target_os = "linux")]
pub mod faults;
pub mod ledger;
pub mod measure;
pub mod process;
pub mod random;
pub mod scenario;
