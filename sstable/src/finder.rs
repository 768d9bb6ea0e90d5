//! [`Finder`]: blocks of a table, where everything that leads to them is lost ([format], section 4).
//!
//! Each block begins with a magic, says how long it is, and has a check that knows the file and the place: what is
//! found is a block of this table, and in its place.
//!
//! [format]: crate::format

use durable_io::engine::{Hole, read_around};

use crate::error::{Error, Result};
use crate::frame::{self, BLOCK_HEADER_SIZE, BlockKind, MAGIC};
use crate::source::Source;

/// How much is read at once; more for a block that is larger.
const READ: usize = 256 << 10;
/// Where the magic stands in a block.
const MAGIC_AT: usize = 4;

/// A block that is whole, and its payload as it is stored.
#[derive(Debug)]
pub(crate) struct FoundBlock {
    pub(crate) kind: BlockKind,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Goes through a part of a file from block to block, around what cannot be read.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    at: u64,
    end: u64,
    /// Bytes of the file from `start` on.
    window: Vec<u8>,
    start: u64,
    holes: Vec<Hole>,
}

impl Finder {
    /// Over the bytes of `source` from `at` to `end`.
    pub(crate) fn new(source: &Source, at: u64, end: u64) -> Self {
        Self {
            at,
            end: end.min(source.len()),
            ..Self::default()
        }
    }

    /// The next block of the table `id` that is whole. A candidate that is not is passed: what it says of its
    /// length is no more believed than the rest.
    pub(crate) fn next(&mut self, source: &Source, id: u64) -> Result<Option<FoundBlock>> {
        while let Some(offset) = self.candidate(source)? {
            let header = self.get(source, offset, BLOCK_HEADER_SIZE)?;
            let guess = frame::guess(header);
            let fits = guess.filter(|(_, len)| *len <= self.end - offset);
            if let Some((kind, len)) = fits
                && let Ok(size) = usize::try_from(len)
                && frame::open(self.get(source, offset, size)?, kind, id, offset).is_ok()
            {
                self.at = offset + len;
                return Ok(Some(FoundBlock { kind, offset, len }));
            }
            self.at = offset + 1;
        }
        self.at = self.end;
        Ok(None)
    }

    /// Why something of the bytes from `start` to `end` cannot be read.
    pub(crate) fn hole(&self, start: u64, end: u64) -> Option<Error> {
        let mut holes = self.holes.iter();
        let hole = holes.find(|hole| hole.range.start < end && start < hole.range.end)?;
        Some(hole.error.clone().into())
    }

    /// The next place where a block may begin.
    fn candidate(&mut self, source: &Source) -> Result<Option<u64>> {
        let (mut at, end) = (self.at, self.end);
        while at + BLOCK_HEADER_SIZE as u64 <= end {
            let len = (end - at).min(READ as u64);
            let len = usize::try_from(len).expect("it is at most what is read at once");
            let bytes = self.get(source, at, len)?;
            let behind = bytes.get(MAGIC_AT..).expect("a header is longer");
            let found = behind.windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
            match found {
                Some(place) => {
                    let offset = at + place as u64;
                    return Ok((offset + BLOCK_HEADER_SIZE as u64 <= end).then_some(offset));
                }
                // The end may be the beginning of one.
                None => at += (len - MAGIC_AT - MAGIC.len() + 1) as u64,
            }
        }
        Ok(None)
    }

    /// `len` bytes at `offset`, which are in the file; what cannot be read is zero.
    fn get(&mut self, source: &Source, offset: u64, len: usize) -> Result<&[u8]> {
        let held = self.start..self.start + self.window.len() as u64;
        if offset < held.start || offset + len as u64 > held.end {
            let left = usize::try_from(source.len() - offset).expect("a file fits into memory");
            self.window.clear();
            self.window.resize(left.min(len.max(READ)), 0);
            self.start = offset;
            let file = source.file().expect("who reads around damage maps nothing");
            if let Err(error) = read_around(file, &mut self.window, offset, &mut self.holes) {
                self.window.clear();
                return Err(error.into());
            }
        }
        let at = usize::try_from(offset - self.start).expect("the window is in memory");
        let bytes = self.window.get(at..at + len);
        Ok(bytes.expect("the window has what was asked for"))
    }
}
