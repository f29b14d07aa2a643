//! Faults of the machine below one folder of one process: a power cut, a full disk, failing IO, a clock that is off. The work
//! is done by a small C library that is preloaded into the process: see `tests/faults/fault.h`.

use std::{
    ffi::OsString,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Exit code of a process whose power went.
pub const POWER_CUT: i32 = 137;

/// Faults of what runs on one data folder. They outlive its process: switch them off again.
pub struct Faults {
    folder: PathBuf,
    control: PathBuf,
}

/// A kind of IO that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Syncing a file or a folder.
    Sync,
}

impl Io {
    fn file(self) -> &'static str {
        match self {
            Self::Read => "eio-read",
            Self::Write => "eio-write",
            Self::Sync => "eio-fsync",
        }
    }
}

impl Faults {
    /// No faults yet. `folder` need not be there, the folder that it lies in must.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let name = folder.file_name().unwrap();
        // The library compares real paths.
        let parent = folder.parent().unwrap().canonicalize().unwrap();
        let mut control = name.to_owned();
        control.push("-faults");
        let control = parent.join(control);
        fs::create_dir_all(&control).unwrap();
        Self { folder: parent.join(name), control }
    }

    /// What the environment of a process must hold to be open to these faults.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", library().into()),
            ("SLUICE_FAULT_DIR", self.folder.clone().into()),
            ("SLUICE_FAULT_CTL", self.control.clone().into()),
        ]
    }

    /// The same for a process whose power goes at the call `call` (from 1) of those that change or sync a file; `seed` decides
    /// what it loses.
    #[must_use]
    pub fn env_with_cut(&self, call: u64, seed: u64) -> Vec<(&'static str, OsString)> {
        let mut env = self.env();
        env.push(("SLUICE_FAULT_CUT_AT", call.to_string().into()));
        env.push(("SLUICE_FAULT_SEED", seed.to_string().into()));
        env
    }

    /// What the cuts have done, one line each.
    #[must_use]
    pub fn cut_log(&self) -> String {
        fs::read_to_string(self.control.join("cut.log")).unwrap_or_default()
    }

    /// The disk is full: nothing can grow.
    pub fn fill_disk(&self) {
        self.write("full", "");
    }

    /// There is room again.
    pub fn give_room(&self) {
        self.remove("full");
    }

    /// The next `count` such calls fail with EIO.
    pub fn fail_next(&self, io: Io, count: u32) {
        self.write(io.file(), count);
    }

    /// Such calls fail with EIO until [`Faults::mend`].
    pub fn fail(&self, io: Io) {
        self.write(io.file(), "");
    }

    /// Such calls work again.
    pub fn mend(&self, io: Io) {
        self.remove(io.file());
    }

    /// Whether [`Faults::fail_next`] has not failed as many calls yet as it should.
    #[must_use]
    pub fn is_failing(&self, io: Io) -> bool {
        self.control.join(io.file()).exists()
    }

    /// The wall clock is off by so many milliseconds, whatever it was off by before.
    pub fn set_clock_off_by(&self, milliseconds: i64) {
        self.write("clock", milliseconds);
    }

    /// At once and whole: the process may read at any moment.
    fn write(&self, name: &str, text: impl Display) {
        let path = self.control.join(name);
        let beside = self.control.join(format!("{name}.new"));
        fs::write(&beside, text.to_string()).unwrap();
        fs::rename(&beside, &path).unwrap();
    }

    fn remove(&self, name: &str) {
        match fs::remove_file(self.control.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{name}: {error}"),
            _ => {}
        }
    }
}

/// The library, compiled when it is not there or older than its source.
fn library() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(compile).clone()
}

fn compile() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults");
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("libsluice_faults.so");
    let files = ["shim.c", "power.c", "clock.c", "fault.h"].map(|name| source.join(name));
    if files.iter().all(|file| modified(file) < modified(&path)) {
        return path;
    }
    // Tests run beside each other: each compiles to a file of its own, the last one stays.
    let beside = path.with_extension(format!("{}.so", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-std=gnu11", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-o"]);
    compiler.arg(&beside).args(&files[..3]).args(["-ldl", "-lpthread"]);
    let output = compiler.output().expect("a C compiler named `cc` is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&beside, &path).unwrap();
    path
}
