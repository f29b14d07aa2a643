//! What the tests across both planes share: a [`cluster`] in this process, a scripted [`endpoint`], [`events`] and builders
//! of syncs, and the real binaries as [`process`]es.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test support: a failure here is a failed test

pub mod cluster;
pub mod endpoint;
pub mod events;
pub mod process;
