//! The journal: what was committed and the tables do not have yet. A commit that makes no row of its own, as nearly every one does, is
//! one entry at its end and one sync; the tables take it over about once a second, and what has gone by then never reaches them.
//!
//! Entries lie one behind the other, each from a multiple of [`ALIGN`] on. Those of one generation belong to the state of the tables
//! that names it: with the commit that takes them over the next generation begins, again at the start of the file. So
//! whatever a crash leaves behind what counts is of another generation, torn, or was never acked.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::record::Reader;
use crate::spool::store::StoreError;

/// Name of the file in a node's data folder.
pub(super) const FILE: &str = "spool.journal";

/// Bytes after which the tables take over; less where these may not have many times that.
const MAX_BYTES: u64 = 16 << 20;
const TABLES_PART: u64 = 8;

/// So many times as much, and no more, while there is no room in the tables.
const STRETCH: u64 = 4;

/// Memory for entries that is kept from one to the next.
const KEPT_BYTES: usize = 512 << 10;

/// Each entry begins at a multiple of it.
const ALIGN: usize = 512;

/// Magic, length of what follows the head, checksum of all but these two, generation, number.
const HEAD: usize = 4 + 4 + 4 + 8 + 8;

const MAGIC: [u8; 4] = *b"SlJ1";

/// The file, as its one writer has it.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// Checksums begin with it, so that another spool's file counts as empty.
    seed: u32,
    generation: i64,
    max_bytes: u64,
    /// Where the next entry goes.
    end: u64,
    next_number: u64,
    /// An entry may be there that was not to be: it goes with its generation.
    is_suspect: bool,
    /// Room for entries.
    buffer: Vec<u8>,
}

/// What a file holds of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Entries.
    pub(super) entries: u64,
    /// Places where an entry was and cannot be read.
    pub(super) damaged: u64,
    /// The newest generation of which there is a whole entry; one that is later than the tables' is of a state that they do not have.
    pub(super) newest: i64,
}

impl Journal {
    /// Opens the file in `folder`, or makes it. `generation` is what the tables name, `table_bytes` how long they may get; 0: as long as
    /// they like.
    pub(super) fn open(folder: &Path, spool_id: &str, generation: i64, table_bytes: u64) -> Result<Self, StoreError> {
        let max_bytes = if table_bytes == 0 { MAX_BYTES } else { MAX_BYTES.min(table_bytes / TABLES_PART) };
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(StoreError::Journal)?;
        #[cfg(unix)]
        // Its name has to outlive a power cut, too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(StoreError::Journal)?;
        let seed = crc32c::crc32c(spool_id.as_bytes());
        // What is there belongs to nobody before it is replayed.
        let length = file.metadata().map_err(StoreError::Journal)?.len();
        Ok(Self {
            file,
            seed,
            generation,
            max_bytes,
            end: length,
            next_number: 0,
            is_suspect: length > 0,
            buffer: Vec::new(),
        })
    }

    /// The generation that entries are of.
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// Whether the tables have all that is committed, and an entry may follow.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0 && !self.is_suspect
    }

    /// Whether it is long enough for the tables to take over; `is_stretched`: although they have no room.
    pub(super) fn is_full(&self, is_stretched: bool) -> bool {
        self.end >= if is_stretched { self.max_bytes.saturating_mul(STRETCH) } else { self.max_bytes }
    }

    /// Whether it will be full before long.
    pub(super) fn is_filling(&self) -> bool {
        self.end >= self.max_bytes / 4 * 3
    }

    /// An empty entry to fill, for [`Journal::append`].
    pub(super) fn entry(&mut self) -> Entry {
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.clear();
        bytes.resize(HEAD, 0);
        Entry { bytes, at: self.end }
    }

    /// Writes the entry and syncs it; gives how long that took. After an error nothing more is appended before
    /// [`Journal::restart`].
    pub(super) fn append(&mut self, entry: Entry) -> Result<Duration, StoreError> {
        let Entry { mut bytes, at } = entry;
        if self.is_suspect || at != self.end {
            return Err(StoreError::Journal(io::Error::other("an entry before it could not be written")));
        }
        let length = u32::try_from(bytes.len() - HEAD).map_err(|_| StoreError::TooLarge)?;
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(&self.generation.to_le_bytes());
        head.extend_from_slice(&self.next_number.to_le_bytes());
        if let Some(place) = bytes.get_mut(12..HEAD) {
            place.copy_from_slice(&head);
        }
        let crc = crc32c::crc32c_append(self.seed, bytes.get(12..).unwrap_or_default());
        if let Some(place) = bytes.get_mut(..12) {
            let (magic, rest) = place.split_at_mut(4);
            magic.copy_from_slice(&MAGIC);
            let (length_place, crc_place) = rest.split_at_mut(4);
            length_place.copy_from_slice(&length.to_le_bytes());
            crc_place.copy_from_slice(&crc.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        self.is_suspect = true;
        write_at(&self.file, &bytes, self.end).map_err(StoreError::Journal)?;
        let began = Instant::now();
        self.file.sync_data().map_err(StoreError::Journal)?;
        let took = began.elapsed();
        self.is_suspect = false;
        self.end += bytes.len() as u64;
        self.next_number += 1;
        if bytes.capacity() <= KEPT_BYTES {
            self.buffer = bytes;
        }
        Ok(took)
    }

    /// Reads what lies there, as [`Entry::at`] gave it.
    pub(super) fn read(&self, at: u64, bytes: usize) -> Result<Vec<u8>, StoreError> {
        let mut found = vec![0; bytes];
        read_at(&self.file, &mut found, at).map_err(StoreError::Journal)?;
        Ok(found)
    }

    /// The tables have taken over, and name this generation.
    pub(super) fn restart(&mut self, generation: i64) {
        self.generation = generation;
        self.end = 0;
        self.next_number = 0;
        self.is_suspect = false;
    }

    /// Gives every whole entry of its generation to `each`, in order; one that could not be written is none of them.
    pub(super) fn replay(&self, each: impl FnMut(&[u8]) -> Result<(), StoreError>) -> Result<Found, StoreError> {
        walk(&self.file, self.seed, self.generation, self.end, each)
    }
}

/// An entry under way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) bytes: Vec<u8>,
    at: u64,
}

impl Entry {
    /// Where the byte of this index will lie.
    pub(super) fn at(&self, index: usize) -> u64 {
        self.at + index as u64
    }
}

/// What the file in `folder` holds of a generation; none if there is no file.
pub(super) fn inspect(folder: &Path, spool_id: &str, generation: i64) -> Result<Option<Found>, StoreError> {
    let path: PathBuf = folder.join(FILE);
    match File::open(&path) {
        Ok(file) => {
            let length = file.metadata().map_err(StoreError::Journal)?.len();
            walk(&file, crc32c::crc32c(spool_id.as_bytes()), generation, length, |_| Ok(())).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::Journal(error)),
    }
}

fn walk(
    file: &File,
    seed: u32,
    generation: i64,
    length: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<Found, StoreError> {
    let mut found = Found { newest: generation, ..Found::default() };
    let mut buffer = Vec::new();
    let (mut at, mut expected) = (0, 0);
    while at < length {
        match entry_at(file, seed, at, length, &mut buffer) {
            Some(head) if head.generation == generation && head.number >= expected => {
                if head.number > expected {
                    // Others were before it: that they cannot be read is no crash's doing.
                    found.damaged += 1;
                }
                each(buffer.get(HEAD..).unwrap_or_default())?;
                found.entries += 1;
                expected = head.number + 1;
                at += head.bytes;
            }
            // None of ours lies within it: it would not be whole.
            Some(head) => {
                found.newest = found.newest.max(head.generation);
                at += head.bytes;
            }
            None => at += ALIGN as u64,
        }
    }
    Ok(found)
}

struct Head {
    generation: i64,
    number: u64,
    /// With the gap before the next one.
    bytes: u64,
}

/// The whole entry that begins there, if there is one; one on a part of the disk that cannot be read is none.
fn entry_at(file: &File, seed: u32, at: u64, length: u64, buffer: &mut Vec<u8>) -> Option<Head> {
    if length - at < HEAD as u64 {
        return None;
    }
    buffer.resize(HEAD, 0);
    read_at(file, buffer, at).ok()?;
    let mut reader = Reader(buffer);
    if reader.array() != Some(MAGIC) {
        return None;
    }
    let (payload, crc) = (reader.u32()?, reader.u32()?);
    let (generation, number) = (i64::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
    let whole = HEAD as u64 + u64::from(payload);
    if length - at < whole {
        return None;
    }
    buffer.resize(usize::try_from(whole).ok()?, 0);
    read_at(file, buffer, at).ok()?;
    let is_whole = crc32c::crc32c_append(seed, buffer.get(12..).unwrap_or_default()) == crc;
    is_whole.then_some(Head { generation, number, bytes: whole.next_multiple_of(ALIGN as u64) })
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.seek(io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(journal: &mut Journal, text: &str) -> Entry {
        let mut entry = journal.entry();
        entry.bytes.extend_from_slice(text.as_bytes());
        entry
    }

    fn texts(journal: &Journal) -> Vec<String> {
        let mut texts = Vec::new();
        journal
            .replay(|entry| {
                texts.push(String::from_utf8(entry.to_vec()).unwrap());
                Ok(())
            })
            .unwrap();
        texts
    }

    #[test]
    fn entries_of_the_generation_come_back_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), "one", 4, 0).unwrap();
        assert!(journal.is_empty());
        for text in ["a", &"b".repeat(2_000), "c"] {
            let mut entry = entry(&mut journal, text);
            let at = entry.at(HEAD);
            entry.bytes.push(b'!');
            journal.append(entry).unwrap();
            assert_eq!(journal.read(at, text.len()).unwrap(), text.as_bytes());
        }
        assert_eq!(texts(&journal).len(), 3);
        journal.restart(5);
        let second = entry(&mut journal, "second");
        journal.append(second).unwrap();
        assert_eq!(texts(&journal), ["second"]);

        let again = Journal::open(folder.path(), "one", 5, 0).unwrap();
        assert!(!again.is_empty(), "before it is replayed");
        assert_eq!(texts(&again), ["second"]);
        // What the second generation has not written over yet.
        let before = Journal::open(folder.path(), "one", 4, 0).unwrap().replay(|_| Ok(())).unwrap();
        assert_eq!(before.newest, 5);
        assert_eq!(texts(&Journal::open(folder.path(), "two", 5, 0).unwrap()), Vec::<String>::new());
    }

    #[test]
    fn nothing_follows_an_entry_that_could_not_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), "one", 1, 0).unwrap();
        let first = entry(&mut journal, "first");
        journal.append(first).unwrap();
        let (writable, read_only) = (journal.file, File::open(folder.path().join(FILE)).unwrap());
        journal.file = read_only;
        let refused = entry(&mut journal, "refused");
        assert!(journal.append(refused).unwrap_err().is_io());
        journal.file = writable;
        let late = entry(&mut journal, "late");
        assert!(journal.append(late).unwrap_err().is_io());
        assert_eq!(texts(&journal), ["first"]);
        journal.restart(2);
        let next = entry(&mut journal, "next");
        journal.append(next).unwrap();
        assert_eq!(texts(&journal), ["next"]);
    }

    #[test]
    fn it_is_full_at_a_part_of_what_the_tables_may_have() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), "one", 1, 16_000).unwrap();
        let some = entry(&mut journal, &"x".repeat(1_900));
        journal.append(some).unwrap();
        assert!(journal.is_full(false) && !journal.is_full(true));
    }
}
