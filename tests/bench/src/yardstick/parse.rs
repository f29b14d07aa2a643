//! What others do with an event first.

use std::hint::black_box;

use super::{Done, Stopwatch};
use crate::event::Shape;

/// What is read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which event
    #[arg(long, value_enum)]
    shape: Shape,
    /// How often
    #[arg(long)]
    count: u64,
}

/// Reads the event so often, on one thread.
pub(super) fn run(args: &Args) -> Done {
    let event = args.shape.maker("t0").event(0, 0);
    let stopwatch = Stopwatch::start();
    for _ in 0..args.count {
        black_box(serde_json::from_slice::<serde_json::Value>(black_box(&event)).expect("an event"));
    }
    stopwatch.stop(args.count)
}
