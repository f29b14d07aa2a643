//! The pure core of Sluice: everything that *decides*.
//!
//! What it never does: it opens no socket and no file, resolves no name, reads no clock, rolls no dice, reads no environment,
//! starts no task and never waits. Time (`now_ms`, milliseconds since 1970-01-01T00:00:00Z) and chance (`unit_random`, zero to
//! one) are arguments; what comes back says what to do, and when. The node does it. `clippy.toml` beside this crate holds
//! the ban.
//!
//! | module | what it decides |
//! |---|---|
//! | [`event`] | whether bytes are an event, and its ids |
//! | [`sync`], [`destination`], [`violation`] | whether a stored sync is valid, all faults at once; its compiled form |
//! | [`address`] | whether an address is one of the public internet |
//! | [`sync::Rules`] | what the operator allows of destinations |
//! | [`trusted_ca`] | which certificates a destination trusts beside the system's |
//! | [`filter`] | whether a sync takes an event, and why |
//! | [`catalog`] | which syncs a node serves at a revision; snapshots and deltas |
//! | [`subscription`], [`pulse`] | what a node makes of the control plane's messages, and of its silence |
//! | [`request`], [`profile`] | the body and headers of a request |
//! | [`advice`] | which paths of an event a template lacks, and the traps in it |
//! | [`outcome`], [`retry_after`], [`excerpt`] | what an attempt came to |
//! | [`secret`] | the secrets of a sync, to be sealed where it is stored |
//! | [`schedule`], [`delivery`] | when a delivery is tried again, and when it has ended |
//! | [`breaker`] | whether a lane may make requests, or its endpoint is down |

pub mod address;
pub mod advice;
pub mod breaker;
pub mod catalog;
mod catalog_hash;
mod comparison;
mod condition;
mod decimal;
pub mod delivery;
pub mod destination;
mod duration;
pub mod event;
pub mod excerpt;
pub mod filter;
mod headers;
mod id;
pub mod limits;
mod matching;
pub mod outcome;
mod pattern;
mod policy;
pub mod profile;
mod property;
pub mod pulse;
pub mod request;
pub mod retry_after;
mod rules;
pub mod schedule;
pub mod secret;
mod set;
mod snapshot;
pub mod subscription;
pub mod sync;
pub mod trusted_ca;
pub mod violation;
