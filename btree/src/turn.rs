//! [`Turn`]: one write transaction at a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::draft::Pages;
use crate::error::{Error, Result};
use crate::root::Root;
use crate::shrinking::Shrinking;
use crate::space::Space;

/// What only the one who writes has.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) space: Space,
    pub(crate) ledger: Ledger,
}

/// What is known of the last committed state.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) head: Arc<Root>,
    /// Its pages that are not in the file yet.
    pub(crate) dirty: Pages,
    pub(crate) next_version: u64,
    /// What versions are added to, to make stamps that no page had before the store was opened.
    pub(crate) base: u64,
    /// The pages of the free list that the meta slots name.
    pub(crate) free_list: Vec<u32>,
    /// What is being done to make the file shorter.
    pub(crate) shrinking: Shrinking,
}

impl Ledger {
    /// A version for a transaction or for the pages of a checkpoint.
    pub(crate) fn take_version(&mut self) -> u64 {
        let version = self.next_version;
        self.next_version += 1;
        version
    }

    /// A transaction has taken the versions up to `version`.
    pub(crate) fn pass(&mut self, version: u64) {
        self.next_version = self.next_version.max(version + 1);
    }
}

#[derive(Debug)]
pub(crate) struct Turn {
    seat: Mutex<Seat>,
    is_given: Condvar,
}

#[derive(Debug)]
struct Seat {
    /// `None` while somebody has taken it.
    writer: Option<Writer>,
    /// Who has.
    holder: Option<ThreadId>,
}

impl Turn {
    pub(crate) fn new(writer: Writer) -> Self {
        Self {
            seat: Mutex::new(Seat {
                writer: Some(writer),
                holder: None,
            }),
            is_given: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seat> {
        // Nothing under this lock can panic half-way through a change.
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// [`Error::Busy`] if `timeout` is over first. Without one, [`Error::StillOpen`] if this thread has taken
    /// it: it would wait for itself.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Result<Writer> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let me = thread::current().id();
        let mut seat = self.lock();
        loop {
            if let Some(writer) = seat.writer.take() {
                seat.holder = Some(me);
                return Ok(writer);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            seat = match left {
                Some(left) if left.is_zero() => return Err(Error::Busy),
                Some(left) => {
                    let woken = self.is_given.wait_timeout(seat, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None if seat.holder == Some(me) => return Err(Error::StillOpen),
                None => {
                    let woken = self.is_given.wait(seat);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    pub(crate) fn give(&self, writer: Writer) {
        let mut seat = self.lock();
        seat.writer = Some(writer);
        seat.holder = None;
        drop(seat);
        self.is_given.notify_one();
    }

    /// Looks at the writer, unless it is somebody's turn.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        self.lock().writer.as_mut().map(look)
    }
}
