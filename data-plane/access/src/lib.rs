//! Who may call what: [`key`]s, the [`Keyring`] that knows them, the [`roles`] of every method, and the [`Gate`] before every
//! gRPC service of both planes. What is not allowed is refused: an unknown method, too.
//!
//! The gate knows the method and the key. That a call stays within its key's project only its handler can tell, which asks
//! [`Caller::require_project`].

pub mod caller;
pub mod gate;
pub mod key;
pub mod keyring;
pub mod limit;
mod refusal;
pub mod roles;
pub mod serving;

pub use self::{
    caller::Caller,
    gate::{Access, Called, Gate},
    key::{ApiKey, KeyHash},
    keyring::{Grant, Keyring},
    refusal::Refusal,
    serving::AccessMode,
};
