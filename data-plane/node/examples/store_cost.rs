//! What the store costs per delivered event, beside the yardstick: a plain file that gets the same records with the same
//! number of fsyncs. `cargo run --release -p sluice-node --example store_cost [EVENTS]`
//!
//! Each step is one commit: a batch of events is accepted, the batch before is settled as delivered with two reports each,
//! and the reports of the one before that are acked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../benches/steps/mod.rs"]
mod steps;

use std::{fs::File, io::Write as _, path::Path, time::Instant};

use sluice_node::{
    report::Reporter,
    spool::{SpoolLimits, SqliteFactory, store::StoreFactory as _},
};

use steps::{REPORT_BYTES, Steps, event};

fn main() {
    let events = std::env::args().nth(1).map_or(200_000, |text| text.parse().expect("a number of events"));
    println!("{:<14} {:>6} {:>12} {:>14}", "store", "batch", "events/s", "us CPU/event");
    for batch in [64, 256] {
        let folder = tempfile::tempdir_in(".").unwrap();
        measure("append", batch, events, || append(folder.path(), batch, events));
        let folder = tempfile::tempdir_in(".").unwrap();
        let factory = SqliteFactory::new(folder.path(), Reporter::new("nodes/n1", "i1"), SpoolLimits::default());
        let steps = Steps::new(factory.writer().unwrap());
        measure("spool", batch, events, || through(steps, batch, events));
    }
}

fn measure(name: &str, batch: usize, events: usize, work: impl FnOnce()) {
    let (start, cpu) = (Instant::now(), cpu_ns());
    work();
    let (took, cpu) = (start.elapsed().as_secs_f64(), (cpu_ns() - cpu) as f64);
    println!("{name:<14} {batch:>6} {:>12.0} {:>14.2}", events as f64 / took, cpu / 1_000.0 / events as f64);
}

/// CPU time of this thread (Linux).
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Through the trait, as the node does it; the last batch is settled, too.
fn through(mut steps: Steps, batch: usize, events: usize) {
    for _ in 0..events.div_ceil(batch) {
        steps.step(batch as u64);
    }
    steps.step(0);
}

/// The same records at the end of a file: events with their checksum, completions, reports, acks. A new file after 64 MiB.
fn append(folder: &Path, batch: usize, events: usize) {
    let path = folder.join("log");
    let mut file = File::create(&path).unwrap();
    let (mut next, mut written, mut open) = (1_u64, 0, 0_u64..0);
    let mut buffer = Vec::new();
    while next <= events as u64 || !open.is_empty() {
        buffer.clear();
        for delivery in open.clone() {
            buffer.extend_from_slice(&delivery.to_le_bytes());
            buffer.resize(buffer.len() + 2 * (REPORT_BYTES + 4), b'r');
        }
        open = 0..0;
        if next <= events as u64 {
            for sequence in next..next + batch as u64 {
                let event = event(sequence);
                buffer.extend_from_slice(&event.id.0);
                buffer.extend_from_slice(&event.accept_ms.to_le_bytes());
                buffer.extend_from_slice(&crc32c::crc32c(&event.json).to_le_bytes());
                buffer.extend_from_slice(&event.json);
            }
            open = next..next + batch as u64;
            next += batch as u64;
        }
        let crc = crc32c::crc32c(&buffer);
        file.write_all(&buffer).unwrap();
        file.write_all(&crc.to_le_bytes()).unwrap();
        file.sync_data().unwrap();
        written += buffer.len();
        if written > 64 << 20 {
            std::fs::remove_file(&path).unwrap();
            file = File::create(&path).unwrap();
            written = 0;
        }
    }
}
