//! The pipeline as the node and the control plane use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod catalog;
mod delivery;
mod filter;
mod request;
mod support;
mod sync;
mod url;
