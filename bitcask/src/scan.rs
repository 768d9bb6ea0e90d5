//! Reading a data file from front to back: group by group, each checked as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use durable_io::File;
use durable_io::checksum::Place;

use crate::data_file::DataFile;
use crate::error::{Corruption, Error, Result};
use crate::keydir::Hasher;
use crate::manifest::FileEntry;
use crate::record::FIRST_GROUP;
use crate::record::{
    GROUP_ALIGN, GROUP_HEADER, GROUP_HEADER_SIZE, GroupHeader, Kind, RECORD_HEADER_SIZE, Record,
    RecordHeader, align_group, decode_record, digest,
};

/// The largest read.
const READ: u64 = 256 << 10;

/// What the index needs of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) hash: u64,
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
}

/// Bytes of a data file, by offset.
#[derive(Debug)]
enum Source {
    Sealed(Arc<DataFile>),
    /// Through a buffer: bytes that may still be written.
    Buffered {
        file: File,
        len: u64,
        bytes: Vec<u8>,
        start: u64,
        /// Sectors that could not be read, by offset, if that is no reason to stop; they are taken for bytes
        /// that pass no check.
        unread: Option<BTreeMap<u64, durable_io::Error>>,
    },
}

/// What a disk reads or refuses as one, at the least.
const SECTOR: u64 = 512;

/// Reads the bytes at `offset` sector by sector, around those that cannot be read.
fn read_around(
    file: &File,
    bytes: &mut [u8],
    offset: u64,
    unread: &mut BTreeMap<u64, durable_io::Error>,
) {
    let mut rest = bytes;
    let mut at = offset;
    while !rest.is_empty() {
        let len = in_memory(SECTOR - at % SECTOR).min(rest.len());
        let (sector, behind) = rest.split_at_mut(len);
        if let Err(error) = file.read_exact_at(sector, at) {
            sector.fill(0xff);
            unread.insert(at / SECTOR * SECTOR, error);
        }
        rest = behind;
        at += len as u64;
    }
}

/// A part of what is in memory, or goes there, as a length.
fn in_memory(n: u64) -> usize {
    usize::try_from(n).expect("no more is read at a time than there is memory for")
}

impl Source {
    /// `len` bytes at `offset`, or as many as there are before the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Sealed(file) => file.bytes_at(offset, len),
            Self::Buffered {
                file,
                len: file_len,
                bytes,
                start,
                unread,
            } => {
                let left = file_len.saturating_sub(offset);
                let wanted = left.min(len as u64);
                if offset < *start || offset + wanted > *start + bytes.len() as u64 {
                    // If the read fails the buffer holds nothing.
                    bytes.clear();
                    let mut read = vec![0; in_memory(left.min(READ.max(wanted)))];
                    match (file.read_exact_at(&mut read, offset), unread) {
                        (Err(_), Some(unread)) => read_around(file, &mut read, offset, unread),
                        (read, _) => read?,
                    }
                    *bytes = read;
                    *start = offset;
                }
                let at = in_memory(offset - *start);
                let held = bytes.get(at..at + in_memory(wanted));
                Ok(Cow::Borrowed(held.expect("the buffer holds what was read")))
            }
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Sealed(file) => file.path(),
            Self::Buffered { file, .. } => file.path(),
        }
    }
}

/// What stands at the place of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A whole group.
    Group(GroupHeader),
    /// Zeros, or too little room for a group.
    End,
    /// Something else, from this offset on.
    Bad { offset: u64, reason: Corruption },
}

/// A scan over the groups of one data file.
#[derive(Debug)]
pub(crate) struct Scan {
    source: Source,
    id: u64,
    number: u64,
    /// Where the next group is, and where groups may end.
    pub(crate) offset: u64,
    end: u64,
    /// Over the groups so far.
    pub(crate) digest: u32,
    /// The highest durable offset that they state.
    pub(crate) witness: u64,
}

impl Scan {
    /// All groups of a sealed file.
    pub(crate) fn sealed(file: &Arc<DataFile>) -> Self {
        Self {
            id: file.id,
            number: file.number,
            offset: FIRST_GROUP,
            end: file.end(),
            source: Source::Sealed(Arc::clone(file)),
            digest: 0,
            witness: 0,
        }
    }

    /// The groups within the first `len` bytes of `file`; its length bounds what is read.
    pub(crate) fn open(file: File, entry: &FileEntry, len: u64) -> Self {
        Self {
            source: Source::Buffered {
                file,
                len,
                bytes: Vec::new(),
                start: 0,
                unread: None,
            },
            id: entry.id,
            number: entry.number,
            offset: FIRST_GROUP,
            end: len,
            digest: 0,
            witness: 0,
        }
    }

    /// From now on what cannot be read is taken for damage: see [`unread`](Scan::unread).
    pub(crate) fn read_around(mut self) -> Self {
        if let Source::Buffered { unread, .. } = &mut self.source {
            *unread = Some(BTreeMap::new());
        }
        self
    }

    /// What could not be read: the first sector of each stretch.
    pub(crate) fn unread(&self) -> Vec<Error> {
        let Source::Buffered {
            unread: Some(unread),
            ..
        } = &self.source
        else {
            return Vec::new();
        };
        let is_first = |at: u64| at < SECTOR || !unread.contains_key(&(at - SECTOR));
        let first = unread.iter().filter(|(at, _)| is_first(**at));
        first.map(|(_, error)| Error::Disk(error.clone())).collect()
    }

    fn place(&self, offset: u64) -> Place {
        Place {
            id: self.id,
            number: self.number,
            offset,
        }
    }

    /// Reads the next group and goes behind it; `visit` gets its records, before all of them are
    /// checked.
    pub(crate) fn step(&mut self, mut visit: impl FnMut(u64, Record<'_>)) -> Result<Step> {
        let (at, left) = (self.offset, self.left());
        if left < GROUP_HEADER {
            return Ok(Step::End);
        }
        let place = self.place(at);
        let bad = |offset, reason| Ok(Step::Bad { offset, reason });
        let (header, check) = {
            let bytes = self.source.get(at, GROUP_HEADER_SIZE)?;
            match GroupHeader::decode(&bytes, place) {
                Some(found) => found,
                None if bytes.iter().all(|&byte| byte == 0) => return Ok(Step::End),
                None => return bad(at, Corruption::Checksum),
            }
        };
        // Also a group whose records are damaged has a header that speaks.
        self.witness = self.witness.max(header.durable);
        if u64::from(header.bytes) > left - GROUP_HEADER {
            return bad(at, Corruption::Length);
        }
        let mut offset = at + GROUP_HEADER;
        let bytes = self.source.get(offset, header.bytes as usize)?;
        let mut rest = &*bytes;
        for _ in 0..header.count {
            let place = Place { offset, ..place };
            match decode_record(rest, place) {
                Ok(record) => {
                    let size = record.size();
                    visit(offset, record);
                    offset += size as u64;
                    rest = rest
                        .get(size..)
                        .expect("a record is decoded of its own bytes");
                }
                Err(reason) => return bad(offset, reason),
            }
        }
        if !rest.is_empty() {
            return bad(at, Corruption::Length);
        }
        self.offset = align_group(offset);
        self.digest = digest(self.digest, check);
        Ok(Step::Group(header))
    }

    /// Reads the next group, goes behind it, and puts its records into `found`.
    pub(crate) fn index(&mut self, hasher: &Hasher, found: &mut Vec<Indexed>) -> Result<Step> {
        found.clear();
        let step = self.step(|offset, record| {
            found.push(Indexed {
                hash: hasher.hash(record.key),
                offset,
                kind: record.kind,
            });
        })?;
        if !matches!(step, Step::Group(_)) {
            found.clear();
        }
        Ok(step)
    }

    /// Bytes from here to where groups may end.
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.offset)
    }

    /// The group header that stands here, if it is valid.
    pub(crate) fn header(&mut self) -> Result<Option<GroupHeader>> {
        if self.left() < GROUP_HEADER {
            return Ok(None);
        }
        let place = self.place(self.offset);
        let bytes = self.source.get(self.offset, GROUP_HEADER_SIZE)?;
        Ok(GroupHeader::decode(&bytes, place).map(|(header, _)| header))
    }

    /// Visits the record that stands here, if one does; returns its size.
    pub(crate) fn record_here(&mut self, visit: impl FnOnce(Record<'_>)) -> Result<Option<u64>> {
        let (left, place) = (self.left(), self.place(self.offset));
        let header = {
            let bytes = self.source.get(self.offset, RECORD_HEADER_SIZE)?;
            RecordHeader::decode(&bytes)
        };
        let Some(size) = header.filter(|it| it.is_likely() && it.size() <= left) else {
            return Ok(None);
        };
        let bytes = self.source.get(self.offset, in_memory(size.size()))?;
        Ok(decode_record(&bytes, place).ok().map(|record| {
            let size = record.size() as u64;
            visit(record);
            size
        }))
    }

    /// The next offset from here on at which a valid group header stands, and that header. Goes there.
    pub(crate) fn seek(&mut self) -> Result<Option<GroupHeader>> {
        while self.left() >= GROUP_HEADER {
            if let Some(header) = self.header()? {
                return Ok(Some(header));
            }
            self.offset += GROUP_ALIGN;
        }
        Ok(None)
    }

    /// Writes the bytes of `range` again to where they stand in `file`, also under the eyes of a snapshot
    /// that an earlier handle left.
    pub(crate) fn write_again(&mut self, file: &File, range: Range<u64>) -> Result<()> {
        const CHUNK: u64 = 64 << 10;
        let mut at = range.start;
        while at < range.end {
            let len = CHUNK.min(range.end - at);
            let bytes = self.source.get(at, in_memory(len))?;
            file.write_again_at(&bytes, at)?;
            at += len;
        }
        Ok(())
    }

    /// Where the first byte of `range` is that is not zero.
    pub(crate) fn first_nonzero(&mut self, range: Range<u64>) -> Result<Option<u64>> {
        let len = range.end.saturating_sub(range.start);
        let bytes = self.source.get(range.start, in_memory(len))?;
        let at = bytes.iter().position(|&byte| byte != 0);
        Ok(at.map(|at| range.start + at as u64))
    }

    /// Forgets what was read, which may have been written to since.
    pub(crate) fn forget(&mut self) {
        if let Source::Buffered { bytes, .. } = &mut self.source {
            bytes.clear();
        }
    }

    /// Continues behind the first bytes of what stands here.
    pub(crate) fn skip(&mut self) {
        self.offset += GROUP_ALIGN;
    }

    /// The end of what is not zero from here on, if anything is not.
    pub(crate) fn nonzero_end(&mut self) -> Result<Option<u64>> {
        const CHUNK: u64 = 64 << 10;
        let mut nonzero = None;
        let mut at = self.offset;
        while at < self.end {
            let len = CHUNK.min(self.end - at);
            let bytes = self.source.get(at, in_memory(len))?;
            let last = bytes.iter().rposition(|&byte| byte != 0);
            nonzero = last.map(|last| at + last as u64 + 1).or(nonzero);
            at += len;
        }
        Ok(nonzero)
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: Corruption) -> Error {
        Error::corrupt(self.source.path(), offset, reason)
    }
}
