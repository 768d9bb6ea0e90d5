//! One data file: reading records of it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use durable_io::checksum::Place;
use durable_io::engine::{Contents, Lender};
use durable_io::{File, Map};

use crate::error::{Corruption, Error, Result};
use crate::manifest::FileEntry;
use crate::record::{RECORD_HEADER_SIZE, Record, RecordHeader, decode_record};

/// How much of an unmapped record is read at first: most records in one call.
const FIRST_READ: u64 = 1024;

/// How much of a file is of use, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Puts that were superseded.
    pub(crate) dead: AtomicU64,
    /// Tombstones.
    pub(crate) tombstones: AtomicU64,
}

impl Counts {
    pub(crate) fn load(&self) -> (u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.dead), load(&self.tombstones))
    }
}

/// A data file of the store, open for reading. What it may be asked for are records that the index
/// names.
#[derive(Debug)]
pub(crate) struct DataFile {
    pub(crate) number: u64,
    pub(crate) id: u64,
    /// Its index in the table of files.
    pub(crate) slot: u32,
    pub(crate) counts: Arc<Counts>,
    /// What the manifest says of a sealed file.
    pub(crate) sealed: Option<FileEntry>,
    path: PathBuf,
    /// A merge found that it cannot be read.
    is_damaged: AtomicBool,
    /// Where its groups end; of the active file, those that were written.
    end: AtomicU64,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Sealed(Contents),
    /// The active file: windows of it are mapped when nothing in them will be written any more.
    Active {
        file: File,
        window: u64,
        windows: Box<[OnceLock<Map>]>,
        tail: RwLock<Tail>,
    },
}

/// What was written behind the last whole window of the active file, so that what is read soon after
/// it was written needs no system call.
#[derive(Debug, Default)]
struct Tail {
    start: u64,
    bytes: Vec<u8>,
}

/// Windows are at least this large, in bytes, but for tiny files; and there are at most so many.
const WINDOW: u64 = 64 << 10;
const MOST_WINDOWS: u64 = 4096;
/// No tail is held in memory of files whose windows are larger than this, in bytes.
const LARGEST_TAIL: u64 = 1 << 20;
const TAIL_IS_SMALL: &str =
    "a tail begins in the last window, which is no larger than LARGEST_TAIL";

impl DataFile {
    /// A sealed file whose groups end at `end`.
    pub(crate) fn sealed(
        file: File,
        entry: &FileEntry,
        slot: u32,
        counts: Arc<Counts>,
    ) -> Arc<Self> {
        let path = file.path().to_owned();
        Arc::new(Self {
            number: entry.number,
            id: entry.id,
            slot,
            counts,
            sealed: Some(*entry),
            path,
            is_damaged: AtomicBool::new(false),
            end: AtomicU64::new(entry.end),
            bytes: Bytes::Sealed(Contents::new(file, entry.end)),
        })
    }

    /// The active file, whose groups end at `end`; `size` bytes of it are mapped as it grows.
    pub(crate) fn active(
        file: File,
        entry: &FileEntry,
        slot: u32,
        end: u64,
        size: u64,
    ) -> Arc<Self> {
        let window = (size / 4).clamp(512, WINDOW).max(size / MOST_WINDOWS);
        let windows = usize::try_from(size.div_ceil(window));
        let windows = windows.expect("windows are too large for many more than MOST_WINDOWS");
        Arc::new(Self {
            number: entry.number,
            id: entry.id,
            slot,
            counts: Arc::default(),
            sealed: None,
            path: file.path().to_owned(),
            is_damaged: AtomicBool::new(false),
            end: AtomicU64::new(end),
            bytes: Bytes::Active {
                file,
                window,
                windows: (0..windows).map(|_| OnceLock::new()).collect(),
                tail: RwLock::new(Tail {
                    start: end,
                    bytes: Vec::new(),
                }),
            },
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// True if a merge found that it cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    pub(crate) fn set_damaged(&self) {
        self.is_damaged.store(true, Ordering::Relaxed);
    }

    /// Where its groups end.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place {
            id: self.id,
            number: self.number,
            offset,
        }
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: Corruption) -> Error {
        Error::corrupt(&self.path, offset, reason)
    }

    /// The groups of the active file end at `end`, as opening found: nothing below is written any more.
    pub(crate) fn settle(&self, end: u64) {
        self.end.store(end, Ordering::Release);
        self.map_windows(0, end);
        if let Bytes::Active { window, tail, .. } = &self.bytes
            && *window <= LARGEST_TAIL
        {
            let start = end / window * window;
            let len = usize::try_from(end - start).expect(TAIL_IS_SMALL);
            // What cannot be read now is read when it is asked for.
            let bytes = self
                .bytes_at(start, len)
                .map_or_else(|_| Vec::new(), Cow::into_owned);
            *tail.write().unwrap_or_else(PoisonError::into_inner) = Tail { start, bytes };
        }
    }

    /// `parts` were written to the active file, one after the other, where its groups ended; they end
    /// at `end` now, behind zeros.
    pub(crate) fn grow<'p>(&self, parts: impl Iterator<Item = &'p [u8]>, end: u64) {
        let mut at = self.end.swap(end, Ordering::AcqRel);
        self.map_windows(at, end);
        let Bytes::Active { window, tail, .. } = &self.bytes else {
            return;
        };
        if *window > LARGEST_TAIL {
            return;
        }
        let start = end / window * window;
        let mut tail = tail.write().unwrap_or_else(PoisonError::into_inner);
        if tail.start < start {
            tail.start = start;
            tail.bytes.clear();
        }
        // A part that is missing, because it could not be read, stays so until the next window.
        if at < start || tail.start + tail.bytes.len() as u64 == at {
            for part in parts {
                // What is in a whole window is mapped.
                let mapped = start.saturating_sub(at).min(part.len() as u64);
                let mapped = usize::try_from(mapped).expect("no more than the part has");
                let (_mapped, unmapped) = part.split_at(mapped);
                tail.bytes.extend_from_slice(unmapped);
                at += part.len() as u64;
            }
            let len = usize::try_from(end - tail.start).expect(TAIL_IS_SMALL);
            tail.bytes.resize(len, 0);
        }
    }

    /// Maps the windows of the active file that end behind `before` and not behind `end`.
    fn map_windows(&self, before: u64, end: u64) {
        if let Bytes::Active {
            file,
            window,
            windows,
            ..
        } = &self.bytes
        {
            for nth in before / window..end / window {
                let slot = usize::try_from(nth).ok().and_then(|nth| windows.get(nth));
                let range = nth * window..(nth + 1) * window;
                // A window that cannot be mapped is read.
                if let Some((slot, map)) = slot.zip(file.map(range).ok()) {
                    // Nobody else sets it: there is one writer.
                    drop(slot.set(map));
                }
            }
        }
    }

    /// `len` bytes at `offset`, if they are in the tail.
    fn in_tail(&self, offset: u64, len: usize) -> Option<Vec<u8>> {
        let Bytes::Active { tail, .. } = &self.bytes else {
            return None;
        };
        let tail = tail.read().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset.checked_sub(tail.start)?).ok()?;
        let bytes = tail.bytes.get(start..start.checked_add(len)?)?;
        Some(bytes.to_vec())
    }

    /// The bytes from `offset` on that are mapped in one piece. All of them were written.
    pub(crate) fn mapped_from(&self, offset: u64) -> Option<&[u8]> {
        let (mapped, start): (&[u8], _) = match &self.bytes {
            Bytes::Sealed(contents) => (contents.mapped()?, offset),
            Bytes::Active {
                window, windows, ..
            } => {
                let nth = usize::try_from(offset / window).ok()?;
                (windows.get(nth)?.get()?, offset % window)
            }
        };
        mapped.get(usize::try_from(start).ok()?..)
    }

    /// `len` bytes at `offset`, if they are mapped in one piece.
    pub(crate) fn mapped(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.mapped_from(offset)?.get(..len)
    }

    fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::Sealed(contents) => contents.file(),
            Bytes::Active { file, .. } => Some(file),
        }
    }

    /// `len` bytes at `offset`, which the file has.
    pub(crate) fn bytes_at(&self, offset: u64, len: usize) -> Result<Cow<'_, [u8]>> {
        if let Some(bytes) = self.mapped(offset, len) {
            return Ok(Cow::Borrowed(bytes));
        }
        if let Some(bytes) = self.in_tail(offset, len) {
            return Ok(Cow::Owned(bytes));
        }
        let Some(file) = self.file() else {
            return Err(self.corrupt(offset, Corruption::Length));
        };
        // What a file lacks that was cut short stays zeros, for which no check holds. Behind the last
        // record nothing but zeros is lacking.
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, offset)?;
        Ok(Cow::Owned(bytes))
    }

    /// The bytes of the record at `offset`; nothing of them is checked but that they are in the file.
    pub(crate) fn record_bytes(&self, offset: u64) -> Result<Cow<'_, [u8]>> {
        let end = self.end();
        let room = end.saturating_sub(offset);
        let first = if let Some(header) = self.mapped(offset, RECORD_HEADER_SIZE) {
            Cow::Borrowed(header)
        } else if let Some(header) = self.in_tail(offset, RECORD_HEADER_SIZE) {
            Cow::Owned(header)
        } else {
            let len = usize::try_from(FIRST_READ.min(room)).expect("FIRST_READ is small");
            self.bytes_at(offset, len)?
        };
        let header = RecordHeader::decode(&first);
        let size = header.map(RecordHeader::size).filter(|&size| size <= room);
        let size = size.and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or_else(|| self.corrupt(offset, Corruption::Length))?;
        match first {
            Cow::Owned(mut bytes) if bytes.len() >= size => {
                bytes.truncate(size);
                Ok(Cow::Owned(bytes))
            }
            _ => self.bytes_at(offset, size),
        }
    }

    /// The key of the record at `offset` and its size, as its header says, whatever is damaged.
    pub(crate) fn unchecked(&self, offset: u64) -> Option<(Vec<u8>, u64)> {
        let room = self.end().checked_sub(offset)?;
        let key_at = RECORD_HEADER_SIZE as u64;
        let bytes = self.bytes_at(offset, RECORD_HEADER_SIZE.min(usize::try_from(room).ok()?));
        let header = RecordHeader::decode(&bytes.ok()?)?;
        if header.size() > room {
            return None;
        }
        let key = self.bytes_at(offset + key_at, header.key_len()).ok()?;
        Some((key.into_owned(), header.size()))
    }

    /// The checked record in `bytes`, which stand at `offset`.
    pub(crate) fn decode<'b>(&self, bytes: &'b [u8], offset: u64) -> Result<Record<'b>> {
        decode_record(bytes, self.place(offset)).map_err(|reason| self.corrupt(offset, reason))
    }
}

impl Lender for DataFile {
    fn lend(&self, range: Range<u64>) -> &[u8] {
        // No byte is in no map: it can be where a window ends and the next one is not mapped yet.
        if range.is_empty() {
            return &[];
        }
        let len = usize::try_from(range.end - range.start).ok();
        let bytes = len.and_then(|len| self.mapped(range.start, len));
        bytes.expect("a value is lent of bytes that are mapped")
    }
}
