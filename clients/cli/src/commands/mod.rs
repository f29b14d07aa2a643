//! The commands, a file each.

pub(crate) mod alerts;
pub(crate) mod attempts;
pub(crate) mod audit;
pub(crate) mod dead_letters;
mod dead_letters_export;
mod dead_letters_redeliver;
mod dead_letters_show;
pub(crate) mod dev;
pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod nodes;
mod nodes_drain;
pub(crate) mod projects;
pub(crate) mod secrets;
pub(crate) mod spool;
pub(crate) mod store;
pub(crate) mod sync;
mod sync_apply;
mod sync_export;
mod sync_preview;
mod sync_rollout;
mod sync_show;
mod sync_test;
pub(crate) mod top;
