//! What a process costs: its memory and its files.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

/// Resident memory of a process; 0 if it is gone.
#[must_use]
pub fn rss_bytes(process: u32) -> u64 {
    status_bytes(process, "VmRSS:")
}

/// The most that its resident memory has been; 0 if it is gone.
#[must_use]
pub fn peak_rss_bytes(process: u32) -> u64 {
    status_bytes(process, "VmHWM:")
}

fn status_bytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1_024
}

/// Bytes that the disk which holds `path` has been given so far, by everybody; none where the system does not tell. What it counts for a
/// process (`/proc/PID/io`) is what was made dirty in memory, whole folios of many pages since Linux 6.16, whatever of it is written.
#[must_use]
pub fn disk_written_bytes(path: &Path) -> Option<u64> {
    let device = fs::metadata(path).ok()?.dev();
    // As makedev(3) puts them together.
    let (major, minor) = ((device >> 8) & 0xfff | (device >> 32) & !0xfff, device & 0xff | (device >> 12) & !0xff);
    // Block layer statistics: the seventh field counts sectors of 512 bytes.
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(6)?.parse::<u64>().ok().map(|sectors| sectors * 512)
}

/// Time that a process has had on processors so far, to 10 ms; none if it is gone.
#[must_use]
pub fn cpu_time(process: u32) -> Duration {
    // proc(5): the name may hold spaces; utime and stime are the 14th and 15th field, in ticks of which Linux has 100 a second.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Bytes of all files below a folder. A file that goes away meanwhile counts nothing.
#[must_use]
pub fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}
