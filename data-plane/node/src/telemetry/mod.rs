//! What a node tells OpenTelemetry. Nothing here is on the path of an event but a few counters and prepared recorders, and, for
//! events whose trace is kept, their spans.

mod meters;
mod source;
mod spans;

pub use self::{
    meters::{Meters, SyncMeters},
    source::NodeSource,
    spans::{Acceptance, Accepted, RoundTrace, Texts},
};
