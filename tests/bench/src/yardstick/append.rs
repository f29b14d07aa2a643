//! The least that durable intake can cost: events at the end of a file, one write and one fdatasync a batch.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{Done, Stopwatch};
use crate::event::Shape;

/// A file of this size is followed by another one.
const FILE_BYTES: usize = 64 << 20;

/// What is appended where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the file
    #[arg(long)]
    folder: PathBuf,
    /// Which event
    #[arg(long, value_enum)]
    shape: Shape,
    /// Events in a batch
    #[arg(long)]
    batch: usize,
    /// How many events
    #[arg(long)]
    count: u64,
}

/// Appends all of them; the file is gone afterwards.
pub(super) fn run(args: &Args) -> Done {
    let event = args.shape.maker("t0").event(0, 0);
    let path = args.folder.join("append");
    let batches = args.count.div_ceil(args.batch as u64);
    let stopwatch = Stopwatch::start();
    let (mut file, mut written) = (create(&path), 0);
    let mut buffer = Vec::new();
    for _ in 0..batches {
        buffer.clear();
        for _ in 0..args.batch {
            buffer.extend_from_slice(&(event.len() as u64).to_le_bytes());
            buffer.extend_from_slice(&event);
        }
        file.write_all(&buffer).expect("room on the disk");
        file.sync_data().expect("a disk");
        written += buffer.len();
        if written >= FILE_BYTES {
            (file, written) = (create(&path), 0);
        }
    }
    let done = stopwatch.stop(batches * args.batch as u64);
    std::fs::remove_file(&path).expect("our own file");
    done
}

fn create(path: &Path) -> File {
    File::create(path).expect("a folder that can be written to")
}
