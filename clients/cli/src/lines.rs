//! Reads events from NDJSON, packed or plain, one line at a time, however long the file.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::manifest::is_stdin;

const BUFFER_BYTES: usize = 128 << 10;
/// First two bytes of gzip (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// An event, without its line break.
    Event {
        /// Number of the line, from 1.
        line: u64,
        /// The line.
        json: Bytes,
    },
    /// A line longer than can be sent, skipped.
    TooLong {
        /// Number of the line, from 1.
        line: u64,
        /// Its length.
        bytes: u64,
    },
}

/// The lines of a source.
pub(crate) struct Lines<R> {
    source: R,
    line: u64,
    limit: usize,
}

/// An opened file or standard input.
pub(crate) struct Input {
    /// Its lines.
    pub(crate) lines: Lines<Box<dyn BufRead + Send>>,
    /// Bytes of the file; `None` for standard input.
    pub(crate) total_bytes: Option<u64>,
    /// Bytes of the file read so far.
    pub(crate) read_bytes: Arc<AtomicU64>,
}

/// Opens `path` (`-`: standard input). It is unpacked if it begins like gzip or its name ends so. Lines above `limit`
/// bytes are skipped as [`Line::TooLong`].
pub(crate) fn open(path: &Path, limit: usize) -> io::Result<Input> {
    let read_bytes = Arc::new(AtomicU64::new(0));
    let (source, total_bytes): (Box<dyn Read + Send>, _) = if is_stdin(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let mut source = BufReader::with_capacity(BUFFER_BYTES, Counted { source, count: read_bytes.clone() });
    let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
        || source.fill_buf()?.starts_with(&GZIP);
    let source: Box<dyn BufRead + Send> = if packed {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(source)))
    } else {
        Box::new(source)
    };
    Ok(Input { lines: Lines::new(source, limit), total_bytes, read_bytes })
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(source: R, limit: usize) -> Self {
        Self { source, line: 0, limit }
    }

    /// The next line of any kind, as it is, and its length; `None` at the end. What is above the limit is not kept.
    fn read_line(&mut self) -> io::Result<Option<(Vec<u8>, u64)>> {
        let mut kept = Vec::new();
        let mut length = 0_u64;
        let mut any = false;
        loop {
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(any.then_some((kept, length)));
            }
            any = true;
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            length += piece.len() as u64;
            // One more than the limit for a carriage return.
            let room = (self.limit + 1).saturating_sub(kept.len()).min(piece.len());
            kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
            let used = piece.len() + usize::from(end.is_some());
            self.source.consume(used);
            if end.is_some() {
                return Ok(Some((kept, length)));
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (mut kept, mut length) = match self.read_line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            self.line += 1;
            if kept.len() as u64 == length && kept.last() == Some(&b'\r') {
                kept.pop();
                length -= 1;
            }
            if self.line == 1 && kept.starts_with(BYTE_ORDER_MARK) {
                kept.drain(..BYTE_ORDER_MARK.len());
                length -= BYTE_ORDER_MARK.len() as u64;
            }
            let line = self.line;
            if length > self.limit as u64 {
                return Some(Ok(Line::TooLong { line, bytes: length }));
            }
            if !kept.iter().all(u8::is_ascii_whitespace) {
                return Some(Ok(Line::Event { line, json: kept.into() }));
            }
        }
    }
}

/// Counts what is read through it.
struct Counted {
    source: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn event(line: u64, json: &'static str) -> Line {
        Line::Event { line, json: json.into() }
    }

    fn read(text: &[u8], limit: usize) -> Vec<Line> {
        // A tiny buffer, so that lines are put together from pieces.
        Lines::new(BufReader::with_capacity(3, text), limit).map(Result::unwrap).collect()
    }

    #[test]
    fn lines_are_counted_and_blank_ones_skipped() {
        assert_eq!(
            read(b"\xef\xbb\xbf{\"a\":1}\r\n\n  \t\n{\"b\":2}\n{}", 100),
            [event(1, "{\"a\":1}"), event(4, "{\"b\":2}"), event(5, "{}")]
        );
        assert_eq!(read(b"", 100), []);
        assert_eq!(read(b"\n\n", 100), []);
    }

    #[test]
    fn lines_above_the_limit_are_skipped_whole() {
        assert_eq!(
            read(b"12345\r\n123456\n1234567890123\n1\n", 5),
            [
                event(1, "12345"),
                Line::TooLong { line: 2, bytes: 6 },
                Line::TooLong { line: 3, bytes: 13 },
                event(4, "1")
            ]
        );
    }

    #[test]
    fn packed_files_are_known_by_their_beginning_also_in_several_members() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        let mut file = File::create(&path).unwrap();
        for part in ["{\"a\":1}\n{\"b\"", ":2}\n"] {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part.as_bytes()).unwrap();
            file.write_all(&encoder.finish().unwrap()).unwrap();
        }
        let input = open(&path, 100).unwrap();
        assert_eq!(input.total_bytes, Some(file.metadata().unwrap().len()));
        let lines: Vec<_> = input.lines.map(Result::unwrap).collect();
        assert_eq!(lines, [event(1, "{\"a\":1}"), event(2, "{\"b\":2}")]);
        assert_eq!(input.read_bytes.load(Ordering::Relaxed), file.metadata().unwrap().len());
    }

    #[test]
    fn a_packed_file_that_breaks_off_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson.gz");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"{\"a\":1}\n{\"b\":2}\n").unwrap();
        let packed = encoder.finish().unwrap();
        std::fs::write(&path, &packed[..packed.len() - 9]).unwrap();
        assert!(open(&path, 100).unwrap().lines.any(|line| line.is_err()));
        std::fs::write(&path, "not packed").unwrap();
        assert!(open(&path, 100).unwrap().lines.next().unwrap().is_err());
        assert!(open(folder.path(), 100).is_err());
    }
}
