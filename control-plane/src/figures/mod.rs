//! What the figures of a sync are made of: counts by the minute and by the hour, latencies as mergeable histograms, and its health.
//! Pure: the store keeps them.

pub(crate) mod cover;
pub(crate) mod health;
pub(crate) mod histogram;
pub(crate) mod rollup;
