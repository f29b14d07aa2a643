//! Room on the disk: how much is free, and a file that keeps some for changes of state once the rest is used up.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::spool::store::StoreError;

/// Bytes beside the reserve that must be free before events are taken: room for the log and its copying back.
const MARGIN_BYTES: u64 = 32 << 20;

/// How long an answer of the system counts.
const FRESH: Duration = Duration::from_secs(1);

/// Bytes of events after which it is asked again.
const FRESH_BYTES: u64 = 4 << 20;

/// Tells how many bytes are free at a path.
pub(super) type FreeSpace = Arc<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// The disk of one spool.
pub(super) struct Disk {
    folder: PathBuf,
    reserve_bytes: u64,
    has_reserve: bool,
    free: FreeSpace,
    fresh: Duration,
    /// When it was asked, what it said, and what was taken in since.
    asked: Option<(Instant, u64, u64)>,
    /// A commit has failed for want of room.
    refused: bool,
}

impl Disk {
    /// The disk that `folder` is on; the reserve is made at once if there is room for it.
    pub(super) fn new(folder: &Path, reserve_bytes: u64, free: Option<FreeSpace>) -> Self {
        let fresh = if free.is_some() { Duration::ZERO } else { FRESH };
        let mut disk = Self {
            folder: folder.to_owned(),
            reserve_bytes,
            has_reserve: false,
            free: free.unwrap_or_else(|| Arc::new(free_bytes)),
            fresh,
            asked: None,
            refused: false,
        };
        disk.has_reserve = fs::metadata(disk.reserve()).is_ok_and(|file| file.len() == reserve_bytes);
        disk.recover();
        disk
    }

    /// Whether events of so many bytes may be taken in.
    pub(super) fn has_room(&mut self, bytes: u64) -> bool {
        if let Some((at, free, taken)) = self.asked
            && at.elapsed() < self.fresh
            && taken < FRESH_BYTES
        {
            let taken = taken.saturating_add(bytes);
            self.asked = Some((at, free, taken));
            return !self.refused && self.enough(free, taken);
        }
        let Some(free) = self.ask() else { return !self.refused };
        self.asked = Some((Instant::now(), free, bytes));
        !self.refused && self.enough(free, bytes)
    }

    /// Whether there is so little room that a failed commit may have failed for it.
    pub(super) fn is_full(&mut self) -> bool {
        self.ask().is_some_and(|free| free < MARGIN_BYTES)
    }

    /// A commit has failed for want of room: the reserve is given up, and no events are taken until there is room again.
    pub(super) fn give_up_reserve(&mut self) {
        if !self.refused {
            tracing::error!("the disk is full: no events are taken until there is room");
        }
        self.refused = true;
        self.asked = None;
        if self.has_reserve {
            self.has_reserve = false;
            if let Err(error) = fs::remove_file(self.reserve()) {
                tracing::error!(%error, "the spool's reserve cannot be given up");
            }
        }
    }

    /// Makes the reserve again once there is room.
    pub(super) fn recover(&mut self) {
        if self.has_reserve && !self.refused {
            return;
        }
        let Some(free) = self.ask() else { return };
        if !self.enough(free, 0) {
            return;
        }
        if !self.has_reserve && self.reserve_bytes > 0 {
            if let Err(error) = make_reserve(&self.reserve(), self.reserve_bytes) {
                tracing::warn!(%error, "the spool's reserve cannot be made");
                // What of it there is would stand in the way.
                let _ = fs::remove_file(self.reserve());
                return;
            }
            self.has_reserve = true;
        }
        if self.refused {
            self.refused = false;
            tracing::info!("there is room on the disk again: events are taken");
        }
        self.asked = None;
    }

    /// Whether there is something to recover.
    pub(super) fn is_short(&self) -> bool {
        self.refused || (self.reserve_bytes > 0 && !self.has_reserve)
    }

    fn enough(&self, free: u64, taken: u64) -> bool {
        let missing = if self.has_reserve { 0 } else { self.reserve_bytes };
        free.saturating_sub(taken) >= MARGIN_BYTES + missing
    }

    fn ask(&self) -> Option<u64> {
        (self.free)(&self.folder)
            .inspect_err(|error| tracing::warn!(%error, "cannot tell how much room is on the spool's disk"))
            .ok()
    }

    fn reserve(&self) -> PathBuf {
        self.folder.join("reserve")
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("folder", &self.folder).field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// Bytes that are free on the disk of `path`.
pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(path)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(u64::MAX)
    }
}

/// Bytes of the spool's files in `folder`.
pub(super) fn file_bytes(folder: &Path) -> Result<u64, StoreError> {
    let names = ["spool.db", "spool.db-wal", "spool.db-shm", super::journal::FILE, "reserve"];
    Ok(names.iter().filter_map(|name| fs::metadata(folder.join(name)).ok()).map(|file| file.len()).sum())
}

/// A file whose blocks are really there.
fn make_reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    #[cfg(target_os = "linux")]
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok() {
        return file.sync_all();
    }
    let piece = vec![0x5a; 1 << 20];
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let part = piece.get(..left.min(piece.len())).unwrap_or(&piece);
        file.write_all(part)?;
        left -= part.len();
    }
    file.sync_all()
}
