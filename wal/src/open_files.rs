//! [`Segment`] and [`OpenFiles`]: the segments of a log, of which only some have their file open.
//!
//! The active one stays open. Of the sealed ones those are that were opened last, up to a number: a log can
//! have more segments than a process may open files.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use durable_io::{Dir, File};

use crate::error::{Error, Result};
use crate::lsn::Lsn;
use crate::names;
use crate::preallocated::Ready;
use crate::segment::SegmentHeader;

/// A segment of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) header: SegmentHeader,
    /// Its first record, or the one that will be.
    pub(crate) first_lsn: Lsn,
    files: Arc<OpenFiles>,
    /// `None` if it is closed. Changed only while the list of open files is locked.
    file: RwLock<Option<File>>,
    is_given_up: AtomicBool,
    /// When its newest group was written; 0 if that is not known.
    newest: AtomicU64,
}

/// The sealed segments of a log that are open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    dir: Dir,
    max: usize,
    /// The one that was opened last is the last. Locked before the file of a segment.
    sealed: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    /// Of a log in `dir`; up to `max` sealed segments are open.
    pub(crate) fn new(dir: &Dir, max: usize) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.clone(),
            max,
            sealed: Mutex::default(),
        })
    }

    fn sealed(&self) -> MutexGuard<'_, VecDeque<Weak<Segment>>> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all of them, until one is read.
    pub(crate) fn close_all(&self) {
        Self::close_but(0, &mut self.sealed());
    }

    /// Closes the oldest of `sealed` until they are not more than `most`.
    fn close_but(most: usize, sealed: &mut VecDeque<Weak<Segment>>) {
        while sealed.len() > most {
            let oldest = sealed.pop_front().and_then(|segment| segment.upgrade());
            // One that is given up could not be opened again: it goes with its last reader.
            if let Some(oldest) = oldest.filter(|oldest| !oldest.is_given_up()) {
                oldest.put(None);
            }
        }
    }
}

impl Segment {
    /// The segment whose file is `file`, which stays open until it is [sealed](Self::seal).
    pub(crate) fn active(
        files: &Arc<OpenFiles>,
        header: SegmentHeader,
        first_lsn: Lsn,
        file: File,
    ) -> Arc<Self> {
        Arc::new(Self {
            number: header.number,
            header,
            first_lsn,
            files: Arc::clone(files),
            file: RwLock::new(Some(file)),
            is_given_up: AtomicBool::new(false),
            newest: AtomicU64::new(0),
        })
    }

    /// The segment that `ready` is, with records from `first_lsn` on, to be the active one after this one, or
    /// in its place.
    pub(crate) fn next(&self, first_lsn: Lsn, ready: &Ready) -> Arc<Self> {
        Self::active(&self.files, ready.header, first_lsn, ready.file.clone())
    }

    /// When its newest group was written, in milliseconds since the Unix epoch; `None` if that is not known.
    pub(crate) fn newest(&self) -> Option<u64> {
        let newest = self.newest.load(Ordering::Acquire);
        (newest > 0).then_some(newest)
    }

    /// Says that its newest group was written at `time`; 0 if that is not known.
    pub(crate) fn has_newest(&self, time: u64) {
        self.newest.store(time, Ordering::Release);
    }

    /// From now on it may be closed when others are opened.
    pub(crate) fn seal(self: &Arc<Self>) {
        let mut sealed = self.files.sealed();
        sealed.push_back(Arc::downgrade(self));
        OpenFiles::close_but(self.files.max, &mut sealed);
    }

    /// From now on it stays open, as the active one.
    ///
    /// # Errors
    /// Those of [`file`](Self::file); then it is as it was.
    pub(crate) fn hold(self: &Arc<Self>) -> Result<File> {
        let mut sealed = self.files.sealed();
        let file = self.get().map_or_else(|| self.open(), Ok)?;
        self.put(Some(file.clone()));
        sealed.retain(|other| other.as_ptr() != Arc::as_ptr(self));
        Ok(file)
    }

    /// Its file, opened if need be.
    ///
    /// # Errors
    /// [`Error::Truncated`] if it was given up in the meantime, and removed; [`Error::Disk`].
    pub(crate) fn file(self: &Arc<Self>) -> Result<File> {
        if let Some(file) = self.get() {
            return Ok(file);
        }
        let file = self.open()?;
        let mut sealed = self.files.sealed();
        // Another thread may have been first.
        if self.get().is_none() {
            self.put(Some(file.clone()));
            sealed.push_back(Arc::downgrade(self));
            OpenFiles::close_but(self.files.max, &mut sealed);
        }
        Ok(file)
    }

    /// The file of the active segment.
    pub(crate) fn held(&self) -> File {
        self.get().expect("the active segment is open")
    }

    /// Its file will be removed.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    /// Those of its log that are open.
    pub(crate) fn files(&self) -> &OpenFiles {
        &self.files
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.files.dir.path().join(names::segment(self.number))
    }

    fn open(&self) -> Result<File> {
        let opened = self.files.dir.open(&names::segment(self.number));
        opened.map_err(|error| match error {
            error if error.is_not_found() && self.is_given_up() => Error::Truncated,
            error => error.into(),
        })
    }

    fn get(&self) -> Option<File> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        file.clone()
    }

    fn put(&self, file: Option<File>) {
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
    }
}
