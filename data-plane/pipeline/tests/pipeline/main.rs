//! The pipeline as the node and the control plane use it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod breaker;
mod catalog;
mod delivery;
mod delivery_properties;
mod filter;
mod request;
mod retry_after;
mod subscription;
mod support;
mod sync;
mod url;
