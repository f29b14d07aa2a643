//! The commands, a file each.

pub(crate) mod attempts;
pub(crate) mod dev;
pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod nodes;
pub(crate) mod sync;
mod sync_apply;
mod sync_preview;
