//! The edge of the active segment: how far it has been given space and zeros, a step ahead of the writer
//! ([format], section 3). After the edge the file is a hole, which reads as zeros, too.
//!
//! A group is written below the edge only. So a full disk is met when the edge moves, which changes
//! nothing (but where a file system copies on write, also by the group itself), and the sync of a group has
//! no metadata to write.
//!
//! [format]: crate::format

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use durable_io::File;
use durable_io::engine::Health;

use crate::limits::SEGMENT_ALIGN;

#[derive(Debug)]
pub(crate) struct Edge {
    /// Bytes that get zeros at once.
    step: u64,
    /// Bytes of the segment.
    size: AtomicU64,
    /// Where the edge is.
    at: AtomicU64,
    /// Where the next group is written.
    used: AtomicU64,
    /// A step is asked for.
    is_wanted: AtomicBool,
    /// The active segment. Held across I/O: zeros are written by one thread at a time, and never where
    /// a group is.
    file: Mutex<File>,
}

/// The edge of a segment of which only the bytes below `end` are known to have space.
pub(crate) fn rounded_up(end: u64) -> u64 {
    end.next_multiple_of(SEGMENT_ALIGN)
}

impl Edge {
    /// The edge at `at` in `file`, a segment of `size` bytes that is used up to `used`.
    pub(crate) fn new(file: File, at: u64, used: u64, size: u64, step: u64) -> Self {
        Self {
            step,
            size: AtomicU64::new(size),
            at: AtomicU64::new(at),
            used: AtomicU64::new(used),
            is_wanted: AtomicBool::new(false),
            file: Mutex::new(file),
        }
    }

    /// Continues at `at` in `file`, a segment of `size` bytes that is used up to `used`. The writer is held.
    pub(crate) fn begin(&self, health: &Health, (file, size): (File, u64), at: u64, used: u64) {
        let mut held = health.lock(&self.file);
        *held = file;
        self.size.store(size, Ordering::Release);
        self.at.store(at, Ordering::Release);
        self.used.store(used, Ordering::Release);
    }

    /// Says that the next group is written at `offset`; returns whether a step is to be asked for. The writer is
    /// held.
    pub(crate) fn has_used(&self, offset: u64) -> bool {
        self.used.store(offset, Ordering::Release);
        let at = self.at.load(Ordering::Acquire);
        at < self.size()
            && at.saturating_sub(offset) < self.step
            && !self.is_wanted.swap(true, Ordering::AcqRel)
    }

    fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Moves the edge to `end` or beyond, if it is not there.
    ///
    /// # Errors
    /// Of the disk; if it is full nothing has changed.
    pub(crate) fn reach(&self, health: &Health, end: u64) -> durable_io::Result<()> {
        // The writer is held, which alone gives the edge another file.
        while self.at.load(Ordering::Acquire) < end {
            self.advance(&health.lock(&self.file))?;
        }
        Ok(())
    }

    /// Keeps the edge where it is. Who closes the log does: the segment may be another process's then.
    pub(crate) fn hold(&self, health: &Health) -> MutexGuard<'_, File> {
        health.lock(&self.file)
    }

    /// True if a step is asked for, which is then taken back.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }

    /// Takes a step, if the edge is not a step ahead of the writer; returns whether it did. `file` is held.
    ///
    /// # Errors
    /// As [`reach`](Edge::reach). It is not tried again before it is asked for, or an append needs it.
    pub(crate) fn step(&self, file: &File) -> durable_io::Result<bool> {
        let (at, used) = (
            self.at.load(Ordering::Acquire),
            self.used.load(Ordering::Acquire),
        );
        if at >= self.size() || at.saturating_sub(used) >= self.step {
            return Ok(false);
        }
        self.advance(file)?;
        Ok(true)
    }

    /// Writes the zeros of one step. `file` is locked.
    fn advance(&self, file: &File) -> durable_io::Result<()> {
        let at = self.at.load(Ordering::Acquire);
        let end = self.size().min(at + self.step);
        // No barrier: what a power loss takes of them reads as zeros all the same.
        file.write_zeros(at, end - at)?;
        self.at.store(end, Ordering::Release);
        Ok(())
    }
}
