//! Bytes of a segment, by offset, through a buffer.
//!
//! Not through a map: a truncation of the log's end writes to segments that were sealed.

use std::ops::Range;

use durable_io::File;
use durable_io::engine::{Hole, read_around};

/// The first read of a segment: enough for its header and its first group header, and for the whole
/// of a tiny segment.
const FIRST_READ: u64 = 4 << 10;
/// The largest one.
const READ: u64 = 256 << 10;

const BELOW_4_GIB: &str = "a segment is smaller than 4 GiB";

/// What becomes of bytes that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Reading ends with the error.
    Fails,
    /// They read as zeros, and are known as [`Hole`]s: to whoever reads around damage.
    IsDamage,
}

/// A window on a file, moved by `read_at`.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    unreadable: Unreadable,
    /// In the order in which they were met.
    holes: Vec<Hole>,
    len: u64,
    bytes: Vec<u8>,
    /// Where in the file `bytes` begins.
    start: u64,
    /// How many of `bytes` are valid.
    filled: usize,
    /// How much to read next.
    ahead: u64,
}

impl Source {
    /// The first `len` bytes of `file`; those that the file does not have read as zeros. `len` bounds
    /// what is allocated: it must be the file's length, or have been checked.
    pub(crate) fn new(file: File, len: u64, unreadable: Unreadable) -> Self {
        Self {
            file,
            unreadable,
            holes: Vec::new(),
            len,
            bytes: Vec::new(),
            start: 0,
            filled: 0,
            ahead: FIRST_READ,
        }
    }

    /// Makes the source `len` bytes long.
    pub(crate) fn resize(&mut self, len: u64) {
        self.len = len;
        // What was read may end with the old length.
        self.forget();
    }

    /// Forgets what was read, which may have been written to since.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
        self.ahead = FIRST_READ;
    }

    /// What could not be read so far.
    pub(crate) fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `offset` on, or fewer if the source ends before.
    pub(crate) fn get(&mut self, offset: u64, len: u64) -> durable_io::Result<&[u8]> {
        let rest = self.len.saturating_sub(offset);
        let len = usize::try_from(len.min(rest)).expect(BELOW_4_GIB);
        let end = offset.saturating_add(len as u64);
        if offset < self.start || end > self.start + self.filled as u64 {
            self.fill(offset, len)?;
        }
        let at = usize::try_from(offset - self.start).expect(BELOW_4_GIB);
        let bytes = self.bytes.get(at..at + len);
        Ok(bytes.expect("what is asked for was read"))
    }

    /// Writes the bytes of `range` to the same place in `file`.
    pub(crate) fn copy_to(&mut self, file: &File, range: Range<u64>) -> durable_io::Result<()> {
        const CHUNK: u64 = 64 << 10;
        let mut at = range.start;
        while at < range.end {
            let bytes = self.get(at, CHUNK.min(range.end - at))?;
            if bytes.is_empty() {
                break;
            }
            file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    fn fill(&mut self, offset: u64, len: usize) -> durable_io::Result<()> {
        let rest = self.len.saturating_sub(offset);
        let want = self.ahead.max(len as u64).min(rest);
        let want = usize::try_from(want).expect(BELOW_4_GIB);
        if self.bytes.len() < want {
            self.bytes.resize(want, 0);
        }
        // If the read fails the buffer holds nothing.
        self.filled = 0;
        self.start = offset;
        let (bytes, _) = self.bytes.split_at_mut(want);
        match self.unreadable {
            Unreadable::IsDamage => read_around(&self.file, bytes, offset, &mut self.holes)?,
            Unreadable::Fails => {
                let read = self.file.read_at(bytes, offset)?;
                bytes.split_at_mut(read).1.fill(0);
            }
        }
        self.filled = want;
        self.ahead = READ.min(self.ahead * 8);
        Ok(())
    }
}
