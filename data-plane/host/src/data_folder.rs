//! A folder that belongs to one process at a time, and only to a process of the right kind.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Name of the file that marks a folder as ours and carries the lock.
const MARKER: &str = "sluice-data";

/// A data folder, locked as long as this lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Why a folder was refused.
#[derive(Debug, Error)]
pub enum DataFolderError {
    /// It holds files, but not our marker.
    #[error("the data folder {path} is not empty and not one of Sluice's: name an empty or new folder")]
    NotOurs {
        /// The folder.
        path: String,
    },
    /// It belongs to another kind of process.
    #[error("the data folder {path} belongs to a {found}, not to a {wanted}: give each its own folder")]
    OtherKind {
        /// The folder.
        path: String,
        /// What the marker says.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Another process holds it.
    #[error("the data folder {path} is in use by another process: stop that one, or name another folder")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The file system refused.
    #[error("the data folder {path} cannot be used")]
    Io {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl DataFolder {
    /// Opens `path` for a process of `kind` (such as `node`), creating it readable for its owner alone. It stays locked
    /// until the answer is dropped or the process ends. The mark is on disk before anything else is made there: one that a
    /// power cut has left half written, in a folder that holds nothing else, is written again.
    ///
    /// # Errors
    /// If it holds foreign files, belongs to another kind, is in use, or the file system refuses.
    pub fn open(path: &Path, kind: &'static str) -> Result<Self, DataFolderError> {
        let shown = || path.display().to_string();
        let io = |source| DataFolderError::Io { path: shown(), source };
        create_private(path).map_err(io)?;

        let marker = path.join(MARKER);
        if !marker.exists() && fs::read_dir(path).map_err(io)?.next().is_some() {
            return Err(DataFolderError::NotOurs { path: shown() });
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&marker).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataFolderError::Locked { path: shown() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let mut found = String::new();
        file.read_to_string(&mut found).map_err(io)?;
        let is_whole = found.ends_with('\n') && !found.contains('\0');
        let is_alone = || Ok(fs::read_dir(path)?.nth(1).is_none());
        match found.trim_end() {
            _ if !is_whole && is_alone().map_err(io)? => {
                file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
                writeln!(file, "{kind}").and_then(|()| file.sync_all()).map_err(io)?;
                sync_folder(path).map_err(io)?;
            }
            found if found == kind => {}
            found => {
                let found = found.escape_default().to_string();
                return Err(DataFolderError::OtherKind { path: shown(), found, wanted: kind });
            }
        }
        Ok(Self { path: path.to_owned(), _lock: file })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file for its owner alone, whole and on disk when this returns; a power cut leaves the file as it was, or none.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let beside = self.path.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // What a power cut has left there may be readable for others.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = options.open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, self.path.join(name))?;
        sync_folder(&self.path)
    }
}

/// Makes the names in a folder durable.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn what_is_written_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        // Made by the operator, readable for all.
        fs::create_dir(&path).unwrap();
        let folder = DataFolder::open(&path, "node").unwrap();
        fs::write(path.join("key.new"), "left over").unwrap();
        folder.write("key", b"secret").unwrap();
        folder.write("key", b"secret 2").unwrap();
        assert_eq!(fs::read(path.join("key")).unwrap(), b"secret 2");
        let mode = fs::metadata(path.join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_serves_one_process_of_one_kind() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = DataFolder::open(&path, "node").unwrap();
        assert!(matches!(DataFolder::open(&path, "node"), Err(DataFolderError::Locked { .. })));
        drop(first);
        let error = DataFolder::open(&path, "control plane").unwrap_err();
        assert!(error.to_string().contains("belongs to a node, not to a control plane"), "{error}");
        DataFolder::open(&path, "node").unwrap();
    }

    #[test]
    fn a_mark_that_is_half_written_is_written_again_if_nothing_else_is_there() {
        for half in ["", "no", "no\0\0\0", "node", "\0\0\0\0\0"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(MARKER), half).unwrap();
            DataFolder::open(folder.path(), "node").unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(MARKER)).unwrap(), "node\n");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARKER), "no\0\0\0").unwrap();
        fs::write(folder.path().join("spool.db"), "events").unwrap();
        let error = DataFolder::open(folder.path(), "node").unwrap_err();
        assert!(matches!(error, DataFolderError::OtherKind { .. }), "{error}");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::open(&folder.path().join("data"), "node").unwrap();
        for content in ["first", "second"] {
            data.write("name", content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(data.path().join("name")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_foreign_folder_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        let error = DataFolder::open(folder.path(), "node").unwrap_err();
        assert!(error.to_string().contains("not one of Sluice's"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_the_way_is_an_error_with_a_cause() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(DataFolder::open(&file, "node"), Err(DataFolderError::Io { .. })));
    }
}
