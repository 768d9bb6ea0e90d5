//! [`Source`]: the file of a table, and blocks out of it that are checked.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crc32fast::Hasher;
use durable_io::engine::{Contents, UnsupportedVersion};
use durable_io::{Dir, File};

use crate::block::Layout;
use crate::cache::BlockCache;
use crate::compression::{self, Failure, decompress};
use crate::error::{Corruption, Error, Result};
use crate::footer::{FOOTER_SIZE, Footer, Refused, VERSION};
use crate::frame::{self, BLOCK_HEADER_SIZE, BlockHeader, BlockKind};

/// What a table has read since it was opened: what its answers cost. Where threads read at the same
/// moment some may not be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Blocks that were looked into: data blocks each time; a block of the index or of the filter when
    /// it is first used.
    pub blocks: u64,
    /// The sum of these as they are stored, in bytes.
    pub bytes: u64,
}

/// A file that will not change any more.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    contents: Contents,
    len: usize,
    cache: BlockCache,
    /// This table's number in the cache.
    number: u64,
    blocks_read: AtomicU64,
    bytes_read: AtomicU64,
    /// What was found damaged although there was an answer.
    damage: Mutex<Vec<Error>>,
}

/// The payload of a block.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// These bytes of the map.
    Mapped(Range<usize>),
    /// Decompressed, or read from a file that is not mapped.
    Held(Arc<[u8]>),
}

/// A data block that can be read.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) payload: Payload,
    pub(crate) layout: Layout,
}

impl Source {
    /// Opens the file `name` of `dir`, for which the right to read it is enough.
    pub(crate) fn open(dir: &Dir, name: &str, cache: &BlockCache) -> Result<Self> {
        let file = dir.open_read_only(name)?;
        let size = file.len()?;
        let path = file.path().to_owned();
        let len = usize::try_from(size).ok();
        let len = len.filter(|&len| len >= 2 * FOOTER_SIZE);
        let len = len.ok_or_else(|| Error::corrupt(&path, size, Corruption::Length))?;
        Ok(Self::new(path, Contents::new(file, size), len, cache))
    }

    /// Opens the file `name` of `dir`, whatever its length is, to read around damage: it is not mapped, so that a
    /// place that cannot be read is an error and not a signal.
    pub(crate) fn open_unmapped(dir: &Dir, name: &str) -> Result<Self> {
        let file = dir.open_read_only(name)?;
        let path = file.path().to_owned();
        let size = file.len()?;
        let len = usize::try_from(size);
        let len = len.map_err(|_too_large| Error::corrupt(&path, 0, Corruption::Length))?;
        Ok(Self::new(
            path,
            Contents::unmapped(file),
            len,
            &BlockCache::new(0),
        ))
    }

    fn new(path: PathBuf, contents: Contents, len: usize, cache: &BlockCache) -> Self {
        Self {
            path,
            contents,
            len,
            cache: cache.clone(),
            number: cache.new_table(),
            blocks_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            damage: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the file, in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// The file, if it is not mapped.
    pub(crate) fn file(&self) -> Option<&File> {
        self.contents.file()
    }

    pub(crate) fn is_mapped(&self) -> bool {
        self.contents.mapped().is_some()
    }

    /// The checksum of all bytes.
    pub(crate) fn checksum(&self) -> Result<u32> {
        const CHUNK: usize = 256 << 10;
        let mut hasher = Hasher::new();
        for start in (0..self.len).step_by(CHUNK) {
            hasher.update(&self.get(start..self.len.min(start + CHUNK))?);
        }
        Ok(hasher.finalize())
    }

    /// Bytes that the file has.
    pub(crate) fn get(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        Ok(self.contents.get(range)?)
    }

    /// Bytes of the map, which were found in it.
    #[inline]
    pub(crate) fn slice(&self, range: &Range<usize>) -> &[u8] {
        let map = self.contents.mapped();
        let bytes = map.and_then(|map| map.get(range.clone()));
        bytes.expect("what was found in the map is there")
    }

    /// The last bytes, at most `most`, of the block of `len` bytes at `offset`; none if it is not in the map.
    #[inline]
    pub(crate) fn mapped_end(&self, offset: u64, len: u64, most: u64) -> &[u8] {
        let end = offset.saturating_add(len);
        let range = usize::try_from(end - len.min(most))
            .ok()
            .zip(usize::try_from(end).ok());
        let bytes = self.contents.mapped().zip(range);
        bytes
            .and_then(|(map, (start, end))| map.get(start..end))
            .unwrap_or(&[])
    }

    #[cold]
    pub(crate) fn corrupt(&self, offset: u64, reason: Corruption) -> Error {
        Error::corrupt(&self.path, offset, reason)
    }

    /// Remembers damage that was got around.
    pub(crate) fn note(&self, error: Error) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |error: &Error| match error {
            Error::Corrupt { offset, .. } => Some(*offset),
            _ => None,
        };
        if damage.iter().all(|known| place(known) != place(&error)) {
            damage.push(error);
        }
    }

    pub(crate) fn damage(&self) -> Vec<Error> {
        let damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.clone()
    }

    pub(crate) fn reads(&self) -> Reads {
        Reads {
            blocks: self.blocks_read.load(Ordering::Relaxed),
            bytes: self.bytes_read.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn count(&self, bytes: u64) {
        // Not `fetch_add`: a locked instruction waits for the loads before it, and the next miss of the
        // processor's cache could not begin meanwhile (15 % of a point read).
        let add =
            |sum: &AtomicU64, n| sum.store(sum.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        add(&self.blocks_read, 1);
        add(&self.bytes_read, bytes);
    }

    /// What header and footer say, each alone.
    pub(crate) fn ends(&self) -> [Result<Footer>; 2] {
        let len = self.len;
        [0, len - FOOTER_SIZE].map(|at| {
            let footer = self.end(at)?;
            if footer.file_len != len as u64 {
                let end = footer.file_len.min(len as u64);
                return Err(self.corrupt(end, Corruption::Length));
            }
            Ok(footer)
        })
    }

    /// What the header or footer at `at`, which the file has, says, whatever the length of the file is.
    pub(crate) fn end(&self, at: usize) -> Result<Footer> {
        let offset = at as u64;
        let bytes = self.get(at..at + FOOTER_SIZE)?;
        let bytes = bytes.first_chunk().expect("so many were asked for");
        Footer::decode(bytes, offset).map_err(|refused| match refused {
            Refused::Corrupt(reason) => self.corrupt(offset, reason),
            Refused::Version(version) => Error::UnsupportedVersion(UnsupportedVersion {
                path: self.path.clone(),
                version,
                supported: VERSION,
            }),
        })
    }

    /// What header and footer say together: one of them is enough.
    pub(crate) fn footer(&self) -> Result<Footer> {
        match self.ends() {
            [Ok(header), Ok(footer)] => {
                if header != footer {
                    return Err(self.corrupt(0, Corruption::Contradiction));
                }
                Ok(footer)
            }
            [Err(error), Ok(footer)] | [Ok(footer), Err(error)] => {
                self.note(error);
                Ok(footer)
            }
            [Err(_), Err(error @ Error::UnsupportedVersion { .. })] | [Err(error), Err(_)] => {
                Err(error)
            }
        }
    }

    /// Where the payload of the block at `offset` is, in the file and behind a header.
    #[inline]
    fn payload_range(&self, offset: u64, len: u64) -> Result<Range<usize>> {
        let range = || {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len).ok()?)?;
            let payload = start.checked_add(BLOCK_HEADER_SIZE)?..end;
            (payload.start <= end && end <= self.len).then_some(payload)
        };
        range().ok_or_else(|| self.corrupt(offset, Corruption::Length))
    }

    /// Checks the block of `kind` at `offset`, and returns its header and its payload as it is stored.
    pub(crate) fn open_block(
        &self,
        kind: BlockKind,
        id: u64,
        offset: u64,
        len: u64,
    ) -> Result<(BlockHeader, Payload)> {
        let payload = self.payload_range(offset, len)?;
        self.count(len);
        let block = self.get(payload.start - BLOCK_HEADER_SIZE..payload.end)?;
        let header = frame::open(&block, kind, id, offset);
        let header = header.map_err(|reason| self.corrupt(offset, reason))?;
        Ok(match block {
            Cow::Borrowed(_) => (header, Payload::Mapped(payload)),
            Cow::Owned(block) => {
                let (_, payload) = block.split_at(BLOCK_HEADER_SIZE);
                (header, Payload::Held(payload.into()))
            }
        })
    }

    /// Like [`open_block`](Self::open_block), of a kind that is never compressed.
    pub(crate) fn open_plain(
        &self,
        kind: BlockKind,
        id: u64,
        offset: u64,
        len: u64,
    ) -> Result<(BlockHeader, Payload)> {
        let (header, payload) = self.open_block(kind, id, offset, len)?;
        if header.compression != compression::RAW {
            return Err(self.corrupt(offset, Corruption::Compression));
        }
        Ok((header, payload))
    }

    /// The data block at `offset`, if it is decompressed, or was read, already.
    pub(crate) fn cached(&self, offset: u64, len: u64) -> Option<Result<Loaded>> {
        let payload = Payload::Held(self.cache.get(self.number, offset)?);
        self.count(len);
        Some(self.loaded(payload, offset))
    }

    /// The uncompressed data block at `offset`, which was checked before.
    #[inline]
    pub(crate) fn checked(&self, offset: u64, len: u64) -> Result<Loaded> {
        let payload = self.payload_range(offset, len)?;
        self.count(len);
        self.loaded(Payload::Mapped(payload), offset)
    }

    /// The data block at `offset` with its header, checked now; decompressed if need be. What is not in the map is
    /// kept in the cache if `keeps`.
    pub(crate) fn unchecked(
        &self,
        id: u64,
        offset: u64,
        len: u64,
        keeps: bool,
    ) -> Result<(BlockHeader, Loaded)> {
        let (header, stored) = self.open_block(BlockKind::Data, id, offset, len)?;
        if header.compression == compression::RAW {
            if let (Payload::Held(block), true) = (&stored, keeps) {
                self.cache.insert(self.number, offset, block);
            }
            return Ok((header, self.loaded(stored, offset)?));
        }
        let raw = decompress(header.compression, self.payload(&stored), header.raw);
        let raw = raw.map_err(|failure| match failure {
            Failure::Corrupt(reason) => self.corrupt(offset, reason),
            #[cfg(not(feature = "zstd"))]
            Failure::Unsupported(name) => Error::UnsupportedCompression {
                path: self.path.clone(),
                name,
            },
        })?;
        let raw: Arc<[u8]> = raw.into();
        if keeps {
            self.cache.insert(self.number, offset, &raw);
        }
        Ok((header, self.loaded(Payload::Held(raw), offset)?))
    }

    #[inline]
    fn loaded(&self, payload: Payload, offset: u64) -> Result<Loaded> {
        let layout = Layout::parse(self.payload(&payload));
        let layout = layout.map_err(|reason| self.corrupt(offset, reason))?;
        Ok(Loaded { payload, layout })
    }

    /// The bytes of a payload.
    #[inline]
    pub(crate) fn payload<'a>(&'a self, payload: &'a Payload) -> &'a [u8] {
        match payload {
            Payload::Mapped(range) => self.slice(range),
            Payload::Held(bytes) => bytes,
        }
    }
}
