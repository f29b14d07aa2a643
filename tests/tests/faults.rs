//! The faults themselves: what is not synced is lost, what is synced stays, and each control does what it says.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use sluice_tests::faults::{Faults, Io, POWER_CUT};
use tempfile::TempDir;

/// A folder with a synced file `old` of four sectors of `o`, and the probe to run there.
struct Bench {
    folder: TempDir,
    faults: Faults,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("old"), [b'o'; 2_048]).unwrap();
        let faults = Faults::of(&data);
        Self { folder, faults }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Runs the probe; gives its exit code and what it said.
    fn run(&self, words: &[&str]) -> (i32, Vec<String>) {
        self.run_in(words, &self.faults.env())
    }

    /// Runs the probe until the power goes at its call `call`.
    fn cut(&self, words: &[&str], call: u64, seed: u64) {
        let (code, said) = self.run_in(words, &self.faults.env_with_cut(call, seed));
        assert_eq!(code, POWER_CUT, "{said:?}");
    }

    fn run_in(&self, words: &[&str], env: &[(&str, std::ffi::OsString)]) -> (i32, Vec<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fault-probe"));
        command.args(words).current_dir(self.data()).envs(env.iter().cloned());
        let output = command.output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect();
        (output.status.code().unwrap(), said)
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.data().join(name)).ok()
    }
}

/// Each sector is what it was, what it was written as, or torn: new at the beginning, old for the rest.
fn fates(content: &[u8], old: u8, new: u8) -> [usize; 3] {
    let mut fates = [0; 3];
    for sector in content.chunks(512) {
        let new_bytes = sector.iter().take_while(|byte| **byte == new).count();
        assert!(sector[new_bytes..].iter().all(|byte| *byte == old), "{sector:?}");
        match new_bytes {
            0 => fates[0] += 1,
            512 => fates[1] += 1,
            _ => fates[2] += 1,
        }
    }
    fates
}

#[test]
fn what_is_synced_survives_a_power_cut() {
    for seed in 0..20 {
        let bench = Bench::new();
        // Calls: two writes and a sync; create, append, two syncs; then the one at which the power goes.
        let words =
            "write old 100 1000 n append old 3000 a sync old create new append new 700 x sync new sync . remove old";
        bench.cut(&words.split(' ').collect::<Vec<_>>(), 8, seed);
        let old = bench.read("old").expect("the cut came before the removal");
        assert_eq!(old.len(), 5_048);
        assert!(old[..100].iter().all(|byte| *byte == b'o'));
        assert!(old[100..1_100].iter().all(|byte| *byte == b'n'));
        assert!(old[2_048..].iter().all(|byte| *byte == b'a'));
        assert_eq!(bench.read("new"), Some(vec![b'x'; 700]));
    }
}

#[test]
fn what_is_not_synced_is_kept_lost_or_torn_by_sector() {
    let mut fate_counts = [0; 3];
    for seed in 0..60 {
        let bench = Bench::new();
        bench.cut(&["write", "old", "0", "2048", "n", "read", "old", "sync", "old"], 2, seed);
        let old = bench.read("old").unwrap();
        assert_eq!(old.len(), 2_048);
        let fates = fates(&old, b'o', b'n');
        for (sum, count) in fate_counts.iter_mut().zip(fates) {
            *sum += count;
        }
        let log = bench.faults.cut_log();
        assert!(log.contains(&format!("call 2 (fsync old), seed {seed}: ")), "{log}");
    }
    assert!(fate_counts.iter().all(|count| *count > 10), "{fate_counts:?}");
}

#[test]
fn a_file_that_grew_has_some_length_in_between_and_may_hold_zeros() {
    let mut lengths = Vec::new();
    for seed in 0..60 {
        let bench = Bench::new();
        bench.cut(&["append", "old", "2048", "a", "sync", "old"], 2, seed);
        let old = bench.read("old").unwrap();
        assert!((2_048..=4_096).contains(&old.len()), "{}", old.len());
        assert!(old[..2_048].iter().all(|byte| *byte == b'o'), "what was synced is whole");
        assert!(old[2_048..].iter().all(|byte| matches!(byte, b'a' | 0)));
        lengths.push(old.len());
    }
    assert!(lengths.contains(&2_048) && lengths.contains(&4_096), "{lengths:?}");
    assert!(lengths.iter().any(|length| (2_049..4_096).contains(length)), "{lengths:?}");
}

#[test]
fn a_truncation_that_was_not_synced_may_never_have_happened() {
    let mut whole = 0;
    for seed in 0..40 {
        let bench = Bench::new();
        bench.cut(&["truncate", "old", "600", "append", "old", "400", "a", "sync", "old"], 3, seed);
        let old = bench.read("old").unwrap();
        if old.len() == 2_048 {
            assert!(old.iter().all(|byte| *byte == b'o'));
            whole += 1;
        } else {
            assert!((600..=1_000).contains(&old.len()), "{}", old.len());
            assert!(old[..512].iter().all(|byte| *byte == b'o'));
        }
    }
    assert!((5..35).contains(&whole), "{whole}");
}

#[test]
fn names_need_a_sync_of_their_folder() {
    let mut seen = [0; 4];
    for seed in 0..60 {
        let bench = Bench::new();
        let words = "create new append new 100 n sync new rename new old create other sync other";
        bench.cut(&words.split(' ').collect::<Vec<_>>(), 6, seed);
        let (old, new, other) = (bench.read("old").unwrap(), bench.read("new"), bench.read("other"));
        // From the newest back: the second file, the rename, the first file.
        match (old.len(), new, other) {
            (2_048, None, None) => seen[0] += 1,
            (2_048, Some(new), None) if new == [b'n'; 100] => seen[1] += 1,
            (100, None, None) => seen[2] += 1,
            (100, None, Some(other)) if other.is_empty() => seen[3] += 1,
            strange => panic!("seed {seed}: {strange:?}"),
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn the_same_seed_loses_the_same() {
    let content = |seed| {
        let bench = Bench::new();
        bench.cut(&["write", "old", "0", "2048", "n", "append", "old", "2048", "a", "sync", "old"], 3, seed);
        bench.read("old").unwrap()
    };
    for seed in 0..10 {
        assert_eq!(content(seed), content(seed));
    }
    assert!((0..10).any(|seed| content(seed) != content(seed + 10)));
}

#[test]
fn a_full_disk_takes_no_growth_and_gives_what_was_freed() {
    let bench = Bench::new();
    fs::write(bench.data().join("reserve"), vec![b'r'; 64 << 10]).unwrap();
    bench.faults.fill_disk();
    let full = format!("error {}", 28);
    let words = "write old 0 2048 n append old 65536 a truncate reserve 0 append old 40000 a append old 40000 a";
    let (code, said) = bench.run(&words.split(' ').collect::<Vec<_>>());
    assert_eq!((code, said), (0, vec!["ok".into(), full.clone(), "ok".into(), "ok".into(), full]));
    bench.faults.give_room();
    let (_, said) = bench.run(&["append", "old", "65536", "a"]);
    assert_eq!(said, ["ok"]);
}

#[test]
fn io_fails_as_often_as_asked() {
    let bench = Bench::new();
    let words = ["write", "old", "0", "1", "n", "sync", "old", "read", "old"];
    for (io, failed) in [(Io::Write, 0), (Io::Sync, 1), (Io::Read, 2)] {
        let mut expected = vec!["ok".to_owned(); 3];
        expected[failed] = "error 5".to_owned();
        bench.faults.fail(io);
        assert_eq!(bench.run(&words).1, expected, "{io:?}");
        bench.faults.fail_next(io, 2);
        for _ in 0..2 {
            assert!(bench.faults.is_failing(io));
            assert_eq!(bench.run(&words).1, expected, "{io:?}");
        }
        assert!(!bench.faults.is_failing(io));
        assert_eq!(bench.run(&words).1, ["ok", "ok", "ok"]);
        bench.faults.fail(io);
        bench.faults.mend(io);
        assert_eq!(bench.run(&words).1, ["ok", "ok", "ok"]);
    }
}

#[test]
fn the_wall_clock_is_off_by_as_much_as_asked() {
    let bench = Bench::new();
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    for off_by in [86_400_000, -86_400_000, 1, 0] {
        bench.faults.set_clock_off_by(off_by);
        let before = now();
        let (_, said) = bench.run(&["now"]);
        let said: i64 = said[0].parse().unwrap();
        assert!((before..=now()).contains(&(said - off_by)), "{off_by}: {said}");
    }
}

#[test]
fn files_elsewhere_are_left_alone() {
    let bench = Bench::new();
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::write(&elsewhere, "e").unwrap();
    bench.faults.fill_disk();
    bench.faults.fail(Io::Write);
    let path = elsewhere.to_str().unwrap();
    assert_eq!(bench.run(&["append", path, "100000", "a", "sync", path]).1, ["ok", "ok"]);
    assert_eq!(fs::metadata(Path::new(path)).unwrap().len(), 100_001);
}
