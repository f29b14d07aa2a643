//! What a process costs: its memory and its files.

use std::{fs, path::Path, time::Duration};

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

/// Bytes that a process has given to disks so far; 0 if it is gone.
#[must_use]
pub fn written_bytes(process: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:")).unwrap_or_default();
    line.trim().parse().unwrap_or_default()
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
