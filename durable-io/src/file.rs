//! [`File`]: positional reads and writes, barriers, and read-only maps. No cursor: `&self` everywhere.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::{Deref, Range};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::backend::{FileBackend, MapBytes};
use crate::error::{Error, Op, Result, is_no_space};
use crate::latch::Latch;
use crate::mapped::{Changing, Entered, Ranges};
use crate::process::Process;
use crate::site::{Barrier, Site};

#[cfg(test)]
mod tests;

/// How many bytes [`File::write_zeros`] hands to the kernel at once. Not more: the page cache keeps
/// what came at once in one folio, and each small write into it later walks all its blocks (ext4,
/// Linux 6.18: an append of 168 B takes 0.76 µs after chunks of 64 KiB, 1.7 µs after 1 MiB).
const ZERO_CHUNK: usize = 64 << 10;

/// An open file.
///
/// Cheap to clone; clones share one failure latch: after a failed write or sync, every later write
/// or sync through any clone is [`Error::Poisoned`]. Reads continue.
#[derive(Clone)]
pub struct File {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn FileBackend>,
    path: PathBuf,
    latch: Latch,
    /// This opening of the file, as a [`Synced`] knows it.
    number: u64,
    /// What of the file is mapped, by whatever handle; looked up by the first call that must know.
    ranges: OnceLock<Arc<Ranges>>,
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.inner.path)
            .finish_non_exhaustive()
    }
}

/// Proof that a sync of one file returned: the only thing that may move that file's durable watermark.
///
/// It cannot be made outside this crate, so a number that claims durability always has a returned
/// barrier after it; and it knows its file ([`is_of`](Synced::is_of)), so that the sync of one proves
/// nothing about another. Capture *what* is covered before the call: bytes written while the sync ran
/// are not.
#[must_use = "a sync was paid for: move the watermark, or drop this explicitly"]
#[derive(Debug)]
pub struct Synced {
    /// The number of the opening.
    of: u64,
}

impl Synced {
    /// True if it was `file`, or a clone of it, that was synced. Another opening of the same file is
    /// not: its failures are not reported to this one.
    pub fn is_of(&self, file: &File) -> bool {
        self.of == file.inner.number
    }
}

/// What the kernel may expect of a range ([`File::advise`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It will be read from front to back.
    Sequential,
    /// It will not be needed soon.
    DontNeed,
}

impl File {
    pub(crate) fn new(backend: Arc<dyn FileBackend>, path: PathBuf) -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        Self {
            inner: Arc::new(Inner {
                backend,
                path,
                latch: Latch::default(),
                number: OPENED.fetch_add(1, Ordering::Relaxed),
                ranges: OnceLock::new(),
            }),
        }
    }

    /// The path by which the file was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The error of a call that wrote or synced.
    fn failure(&self, op: Op, offset: Option<u64>, source: io::Error) -> Error {
        self.inner.latch.set();
        Error::io(op, &self.inner.path, offset, source)
    }

    /// The error of any other call.
    fn refusal(&self, op: Op, offset: Option<u64>, source: io::Error) -> Error {
        Error::refusal(op, &self.inner.path, offset, source)
    }

    /// The proof of a sync that has returned.
    fn synced(&self) -> Synced {
        Synced {
            of: self.inner.number,
        }
    }

    fn ranges(&self, op: Op) -> Result<&Arc<Ranges>> {
        if let Some(ranges) = self.inner.ranges.get() {
            return Ok(ranges);
        }
        // Two threads may both ask: they get the same answer.
        let ranges = retry_interrupted(|| self.inner.backend.ranges())
            .map_err(|source| self.refusal(op, None, source))?;
        Ok(self.inner.ranges.get_or_init(|| ranges))
    }

    /// For as long as the bytes of `range` are changed by `op`: none of them is mapped meanwhile.
    fn change(&self, op: Op, range: &Range<u64>) -> Result<Changing<'_>> {
        let changing = self.ranges(op)?.change(range);
        changing.ok_or_else(|| Error::Mapped {
            op,
            path: self.inner.path.clone(),
            offset: range.start,
        })
    }

    /// The length in bytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file's length is asked of the kernel and may fail"
    )]
    pub fn len(&self) -> Result<u64> {
        retry_interrupted(|| self.inner.backend.len())
            .map_err(|source| self.refusal(Op::Len, None, source))
    }

    /// Reads up to `buf.len()` bytes from byte `offset` on and returns how many there were before
    /// the end of the file.
    ///
    /// # Errors
    /// [`Error::Io`]; `buf` then holds nothing to rely on.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            match retry_interrupted(|| self.inner.backend.read_at(rest, at)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(source) => return Err(self.refusal(Op::Read, Some(at), source)),
            }
        }
        Ok(done)
    }

    /// Fills `buf` from byte `offset` on.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `UnexpectedEof` if the file ends first.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        let n = self.read_at(buf, offset)?;
        if n < buf.len() {
            let at = offset + n as u64;
            return Err(self.refusal(Op::Read, Some(at), io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Writes all of `buf` at byte `offset`. The kernel has it when this returns; the disk may not.
    ///
    /// # Errors
    /// [`Error::NoSpace`]: the first bytes of the range may be written, and nothing is poisoned. It is met
    /// where the range is beyond the end or a hole, and where a file system copies on write (btrfs) also
    /// where bytes are already. Whoever continues must cover what may be there.
    /// [`Error::Io`]: any part of the range may be written, and the file is poisoned.
    /// [`Error::Poisoned`], [`Error::Mapped`] if a part of the range is mapped: nothing was written.
    pub fn write_all_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        self.write_all_vectored_at(&mut [IoSlice::new(buf)], offset)
    }

    /// Writes all of `bufs`, one after the other, at byte `offset`: one system call for each 1024
    /// of them, if the kernel takes all. `bufs` holds nothing to rely on afterwards.
    ///
    /// # Errors
    /// As [`write_all_at`](File::write_all_at).
    pub fn write_all_vectored_at(&self, mut bufs: &mut [IoSlice<'_>], offset: u64) -> Result<()> {
        self.inner.latch.check(&self.inner.path)?;
        IoSlice::advance_slices(&mut bufs, 0);
        if bufs.is_empty() {
            return Ok(());
        }
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let _changing = self.change(Op::Write, &range(offset, len as u64))?;
        let mut at = offset;
        while !bufs.is_empty() {
            let result = retry_interrupted(|| self.inner.backend.write_at(bufs, at));
            let n = self.written(at, result)?;
            at += n as u64;
            IoSlice::advance_slices(&mut bufs, n);
        }
        Ok(())
    }

    /// Writes `buf` to where the very same bytes are already, so that the next sync writes them: after
    /// a sync that failed, perhaps in another process, the kernel may show bytes that the disk does not
    /// have and that no sync would write. Unlike [`write_all_at`](File::write_all_at) it may do so where
    /// the file is mapped, by a reader of an earlier handle: no byte changes.
    ///
    /// # Errors
    /// As [`write_all_at`](File::write_all_at); [`Error::Mapped`] if a part of the range is mapped and
    /// other bytes are there.
    pub fn write_again_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let refused = match self.write_all_at(buf, offset) {
            Err(refused @ Error::Mapped { .. }) => refused,
            other => return other,
        };
        let mut there = vec![0; buf.len()];
        self.read_exact_at(&mut there, offset)?;
        if there != buf {
            return Err(refused);
        }
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let write = || self.inner.backend.write_at(&[IoSlice::new(rest)], at);
            done += self.written(at, retry_interrupted(write))?;
        }
        Ok(())
    }

    /// Writes all of `buf` at byte `offset` and returns when that range, and only that range, is
    /// durable: one system call (`pwritev2` with `RWF_DSYNC`) where the system has it, a write and
    /// a sync where it does not ([`Capabilities`](crate::Capabilities) says which).
    ///
    /// # Errors
    /// As [`write_all_at`](File::write_all_at), but never [`Error::NoSpace`]: a disk that is full in the middle
    /// of a write that syncs poisons, as any failed sync does. An interruption by a signal too is an
    /// error, since nothing that syncs is ever repeated.
    #[track_caller]
    pub fn write_durable_at(&self, buf: &[u8], offset: u64) -> Result<Synced> {
        let site = Site::new(Location::caller(), Barrier::Write, "");
        self.inner.latch.check(&self.inner.path)?;
        let _changing = self.change(Op::Write, &range(offset, buf.len() as u64))?;
        let mut done = 0;
        while let Some(rest) = buf.get(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let result = self.inner.backend.write_durable_at(rest, at, &site);
            done += self.synchronously_written(at, result)?;
        }
        Ok(self.synced())
    }

    /// How many bytes one write call took. A call that failed or took none sets the latch, unless the disk
    /// is full: what this call had no space for is known to be as it was.
    fn written(&self, offset: u64, result: io::Result<usize>) -> Result<usize> {
        match result {
            Err(source) if is_no_space(&source) => {
                Err(self.refusal(Op::Write, Some(offset), source))
            }
            other => self.synchronously_written(offset, other),
        }
    }

    /// As [`written`](File::written), of a call that also syncs: where it was the sync that had no space
    /// nobody knows what is on the disk.
    fn synchronously_written(&self, offset: u64, result: io::Result<usize>) -> Result<usize> {
        let source = match result {
            Ok(0) => io::ErrorKind::WriteZero.into(),
            Ok(n) => return Ok(n),
            Err(source) => source,
        };
        Err(self.failure(Op::Write, Some(offset), source))
    }

    /// Reserves space for `len` bytes from byte `offset` on, so that a full disk is met here and
    /// not in a later write. Makes the file longer if need be; new bytes read as zeros. A `len` of 0
    /// does nothing.
    ///
    /// Reserved is not written: the first write into a reserved block still changes metadata. See
    /// [`write_zeros`](File::write_zeros). On a file system that cannot reserve only the length
    /// changes.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if the disk is full, [`Error::Resource`] for want of anything else: no byte
    /// of the file has changed and nothing is poisoned, but the file may be longer, by zeros.
    /// [`Error::Io`] (the file is then poisoned), [`Error::Poisoned`].
    pub fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.latch.check(&self.inner.path)?;
        if len == 0 {
            return Ok(());
        }
        retry_interrupted(|| self.inner.backend.allocate(offset, len))
            .map_err(|source| self.refusal_or_failure(Op::Allocate, Some(offset), source))
    }

    /// The error of a call that may have changed something, unless the system refused it.
    fn refusal_or_failure(&self, op: Op, offset: Option<u64>, source: io::Error) -> Error {
        let error = self.refusal(op, offset, source);
        if !error.changed_nothing() {
            self.inner.latch.set();
        }
        error
    }

    /// [`allocate`](File::allocate), then writes zeros over the whole range: later writes into it
    /// change no metadata, so a sync after them is cheap (`fdatasync` of a 4 KiB write into zeros
    /// takes about 0.7 of the time into a reserved block on ext4; see `benches/sync.rs`).
    ///
    /// # Errors
    /// As [`allocate`](File::allocate) and [`write_all_at`](File::write_all_at).
    ///
    /// # Cost
    /// `len` bytes written, from a buffer of at most 64 KiB.
    pub fn write_zeros(&self, offset: u64, len: u64) -> Result<()> {
        self.allocate(offset, len)?;
        let chunk = |left: u64| usize::try_from(left).map_or(ZERO_CHUNK, |n| n.min(ZERO_CHUNK));
        let mut zeros = vec![0; chunk(len)];
        let mut done = 0;
        while done < len {
            zeros.truncate(chunk(len - done));
            self.write_all_at(&zeros, offset + done)?;
            done += zeros.len() as u64;
        }
        Ok(())
    }

    /// Sets the length: truncates the file, or makes it longer with bytes that read as zeros.
    ///
    /// # Errors
    /// [`Error::Io`]: the length is the old or the new one, and the file is poisoned.
    /// [`Error::NoSpace`], [`Error::Resource`], [`Error::Poisoned`], [`Error::Mapped`] if there is a
    /// [`Map`] of a part beyond `len`: nothing changed.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.inner.latch.check(&self.inner.path)?;
        let _changing = self.change(Op::SetLen, &(len..u64::MAX))?;
        retry_interrupted(|| self.inner.backend.set_len(len))
            .map_err(|source| self.refusal_or_failure(Op::SetLen, None, source))
    }

    /// Sets the permission bits.
    pub(crate) fn set_mode(&self, mode: u32) -> Result<()> {
        retry_interrupted(|| self.inner.backend.set_mode(mode))
            .map_err(|source| self.refusal(Op::Create, None, source))
    }

    /// Makes the bytes written so far, and the length needed to read them, durable.
    ///
    /// It does *not* make the file's name durable: that is [`Dir::sync`](crate::Dir::sync).
    ///
    /// # Errors
    /// [`Error::Io`] if the kernel fails, for want of space too; the file is then poisoned and the sync is
    /// never tried again. [`Error::Poisoned`] afterwards.
    #[track_caller]
    pub fn sync_data(&self) -> Result<Synced> {
        self.sync_data_at(Site::new(Location::caller(), Barrier::Data, ""))
    }

    /// [`sync_data`](File::sync_data), counted as the barrier at `site` (of kind
    /// [`Barrier::Data`]).
    ///
    /// # Errors
    /// As [`sync_data`](File::sync_data).
    pub fn sync_data_at(&self, site: Site) -> Result<Synced> {
        self.sync_at(site)
    }

    /// Makes the bytes written so far and all metadata (times, permissions) durable. Engines want
    /// [`sync_data`](File::sync_data).
    ///
    /// # Errors
    /// As [`sync_data`](File::sync_data).
    #[track_caller]
    pub fn sync_all(&self) -> Result<Synced> {
        self.sync_at(Site::new(Location::caller(), Barrier::All, ""))
    }

    fn sync_at(&self, site: Site) -> Result<Synced> {
        self.inner.latch.check(&self.inner.path)?;
        match self.inner.backend.sync(&site) {
            Ok(()) => Ok(self.synced()),
            Err(source) => Err(self.failure(Op::Sync, None, source)),
        }
    }

    /// Asks the kernel to begin writing a range back, to spread the work before a later sync. A
    /// hint: it promises nothing. On Linux, whole pages of the range that are clean already leave
    /// the page cache.
    pub fn start_writeback(&self, offset: u64, len: u64) {
        // A length of 0 would mean "to the end of the file" to the kernel.
        if len > 0 {
            // Ignored: a hint that failed changes nothing, and the sync meets every real error.
            drop(self.inner.backend.start_writeback(offset, len));
        }
    }

    /// Tells the kernel how a range will be read. A hint: it promises nothing.
    pub fn advise(&self, offset: u64, len: u64, advice: Advice) {
        if len > 0 {
            // Ignored: a hint that failed changes nothing.
            drop(self.inner.backend.advise(offset, len, advice));
        }
    }

    /// Maps bytes that will never be written again, read-only.
    ///
    /// As long as the map lives, by whatever handle and name of the file in this process, its bytes cannot
    /// be written and the file cannot be truncated before their end: [`Error::Mapped`]. The file may be
    /// appended to beyond the range, and unlinked; to truncate it, write a new one. What is out of reach are
    /// other ways to the file than this crate, and other processes: the lock of a store keeps its
    /// files its own.
    ///
    /// It waits for writes to the file that are under way in other threads.
    ///
    /// # Errors
    /// [`Error::Io`], of kind `UnexpectedEof` if the file ends before the range does;
    /// [`Error::Resource`].
    pub fn map(&self, range: Range<u64>) -> Result<Map> {
        let refused = |source| self.refusal(Op::Map, Some(range.start), source);
        if range.start > range.end {
            return Err(refused(io::ErrorKind::UnexpectedEof.into()));
        }
        // Entered before the length is asked for, so that nobody truncates the file in between.
        let entered = if range.is_empty() {
            None
        } else {
            Some(self.ranges(Op::Map)?.enter(&range, Process::current()?))
        };
        if range.end > self.len()? {
            return Err(refused(io::ErrorKind::UnexpectedEof.into()));
        }
        let map = || self.inner.backend.map(range.clone());
        let bytes = retry_interrupted(map).map_err(refused)?;
        Ok(Map {
            bytes,
            _entered: entered,
        })
    }
}

/// The range of `len` bytes from `offset` on.
fn range(offset: u64, len: u64) -> Range<u64> {
    // Beyond the largest offset nothing is mapped, and the kernel refuses the write.
    offset..offset.saturating_add(len)
}

/// Bytes of a file in memory, read-only.
pub struct Map {
    /// Ends with the map, so nobody can look at the bytes any more by the time they may change. Dropped
    /// before the bytes: these keep the inode's number from another file, which would be taken for this
    /// one.
    _entered: Option<Entered>,
    bytes: MapBytes,
}

impl Deref for Map {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.bytes {
            MapBytes::Os(map) => map,
            #[cfg(feature = "sim")]
            MapBytes::Copied(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Repeats `call` while a signal interrupts it. Never used for a sync: nothing repeats a sync.
pub(crate) fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
