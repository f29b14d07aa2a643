//! Looking into the spool of a data folder from outside, for people and scripts. Reads only; the node may run meanwhile.

pub use super::sqlite::inspect::{VerifyReport, stats, verify};
