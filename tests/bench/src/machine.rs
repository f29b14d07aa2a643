//! On what, and of what, something was measured.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

/// The machine and the program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Model of its processors.
    pub processor: String,
    /// How many of them this process may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Version of Linux.
    pub kernel: String,
    /// Filesystem below the data.
    pub filesystem: String,
    /// How many processes wanted to run when it began, over one minute: more than none and the figures are noise.
    pub load_average: f64,
    /// Revision of the source, with `+` if files have changed since.
    pub revision: String,
    /// Profile of the build.
    pub profile: String,
}

impl Machine {
    /// This one, with data below `folder`.
    #[must_use]
    pub fn this(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib * 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: filesystem(&read("/proc/self/mounts"), folder),
            load_average: load.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or_default(),
            revision: revision(),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        }
    }
}

/// Type of the filesystem that holds a folder: that of the longest mount point above it.
fn filesystem(mounts: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounted.filter(|(at, _)| folder.starts_with(at)).max_by_key(|(at, _)| at.len());
    above.map_or_else(String::new, |(_, kind)| kind.to_owned())
}

fn revision() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { format!("{revision}+") } else { revision }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lies_on_the_mount_next_above() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmpfiles xfs rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/")), "ext4");
    }
}
