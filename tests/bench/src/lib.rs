//! Measures Sluice as users run it, the real binaries as processes, and in the same run the yardsticks: what the same work costs
//! when nothing else is done. Only the ratio of the two travels from machine to machine.
//!
//! A [`scenario`] puts planes and a [`sink`] on a [`stage`], lets [`load`] generators send [`event`]s and compares what the processes
//! [`usage`] was with a [`yardstick`]; [`report`] tells it. docs/benchmarks.md is the page for readers.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failure here is a failed run
#![allow(clippy::disallowed_methods)] // its sockets lead to its own processes

pub mod batches;
pub mod child;
pub mod clock;
pub mod event;
mod http;
pub mod load;
pub mod machine;
pub mod report;
pub mod scenario;
pub mod sink;
pub mod stage;
pub mod usage;
pub mod yardstick;
