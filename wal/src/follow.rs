//! [`Follow`]: reading durable records as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durable_io::engine::Signal;

use crate::error::{Error, Result};
use crate::location::Location;
use crate::log::Log;
use crate::lsn::{Lsn, Record};
use crate::records::Records;

/// Reads durable records in order, and waits for the next one. Made by
/// [`Wal::follow`](crate::Wal::follow).
///
/// Only durable records are given out, so no crash takes one back: what was sent elsewhere stays
/// true. It holds no lock, and holds open what it has still to read. It borrows nothing: it can live beside an
/// `Arc` of the log, or in a thread of its own; when the log is closed or dropped, it ends with
/// [`Error::Closed`]. [`handle`](Follow::handle) wakes and cancels it from elsewhere, and with the feature
/// `stream` its `into_stream` makes it one of `futures`.
#[derive(Debug)]
pub struct Follow {
    log: Arc<Log>,
    records: Records,
    handle: FollowHandle,
    /// Why it came to its end.
    failed: Option<Error>,
}

/// Wakes or cancels a [`Follow`], from any thread. Made by [`Follow::handle`].
#[derive(Clone, Debug)]
pub struct FollowHandle {
    flags: Arc<Flags>,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Flags {
    is_woken: AtomicBool,
    is_cancelled: AtomicBool,
}

impl FollowHandle {
    /// Makes the call of [`Follow::next`] that waits, or else the next one that would, return `None` without
    /// waiting any longer.
    pub fn wake(&self) {
        self.flags.is_woken.store(true, Ordering::SeqCst);
        self.signal.wake();
    }

    /// Makes the call of [`Follow::next`] that waits, and every later one, return [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.flags.is_cancelled.store(true, Ordering::SeqCst);
        self.signal.wake();
    }

    fn is_cancelled(&self) -> bool {
        self.flags.is_cancelled.load(Ordering::SeqCst)
    }

    fn is_woken(&self) -> bool {
        self.flags.is_woken.load(Ordering::SeqCst)
    }

    /// True if it was woken since the last time.
    fn take_wake(&self) -> bool {
        self.flags.is_woken.swap(false, Ordering::SeqCst)
    }
}

impl Follow {
    pub(crate) fn new(log: &Arc<Log>, from: Lsn) -> Self {
        Self {
            log: Arc::clone(log),
            records: log.durable_records(from),
            handle: FollowHandle {
                flags: Arc::default(),
                signal: Arc::clone(log.gate.moved()),
            },
            failed: None,
        }
    }

    /// The position of the record that comes next.
    pub fn position(&self) -> Lsn {
        self.records.position()
    }

    /// The location of the record that was given out last; `None` before the first.
    pub fn location(&self) -> Option<Location> {
        self.records.location()
    }

    /// What wakes and cancels this, from elsewhere.
    pub fn handle(&self) -> FollowHandle {
        self.handle.clone()
    }

    /// The next durable record; waits for it for at most `timeout`. `None` if none has come by then, or if it
    /// was [woken](FollowHandle::wake).
    ///
    /// # Cost
    /// One read of 4 KiB for each time it has caught up with the log, of up to 256 KiB while it has
    /// not.
    ///
    /// # Errors
    /// [`Error::Truncated`]: the record was given up before it was read; begin again.
    /// [`Error::Corrupt`], [`Error::Disk`]: as [`Wal::records`](crate::Wal::records).
    /// [`Error::Poisoned`]: every durable record was read, and after a failure there will be no more.
    /// [`Error::Closed`]: the log was closed, or dropped. [`Error::Cancelled`].
    /// An error comes again with every later call.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Record>> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let next = self.wait_for_next(timeout);
        self.failed = next.as_ref().err().cloned();
        next
    }

    fn wait_for_next(&mut self, timeout: Duration) -> Result<Option<Record>> {
        let begin = Instant::now();
        loop {
            if self.handle.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(record) = self.records.next() {
                return record.map(Some);
            }
            let left = timeout.saturating_sub(begin.elapsed());
            let signal = self.log.gate.moved();
            if !signal.wait_until(|| self.has_news(), Some(left)) {
                return Ok(None);
            }
            if !self.can_extend() {
                if self.handle.take_wake() && !self.handle.is_cancelled() {
                    return Ok(None);
                }
                // It was closed, or poisoned; and everything durable was read.
                self.log.check_open()?;
                self.log.check_healthy()?;
                continue;
            }
            self.extend()?;
        }
    }

    /// True if there is no reason to wait.
    fn has_news(&self) -> bool {
        self.can_extend()
            || self.handle.is_woken()
            || self.handle.is_cancelled()
            || self.log.gate.ends_before(self.position().0)
            || self.log.check_open().is_err()
    }

    /// There is a record to see, or the log was truncated.
    fn can_extend(&self) -> bool {
        let view = self.log.view();
        self.log.durable_end(&view) > self.position() || self.records.is_truncated()
    }

    /// Sees what has become durable since.
    fn extend(&mut self) -> Result<()> {
        let view = self.log.view();
        if view.low > self.position() {
            return Err(Error::Truncated);
        }
        let later = self.log.snapshot(&view, self.log.durable_end(&view));
        self.records.extend(later, &view.segments)
    }

    /// As [`next`](Follow::next), but instead of waiting has `waker` woken when there is news.
    #[cfg(feature = "stream")]
    pub(crate) fn poll(&mut self, waker: &std::task::Waker) -> std::task::Poll<Result<Record>> {
        use std::task::Poll;
        loop {
            match self.next(Duration::ZERO) {
                Ok(Some(record)) => return Poll::Ready(Ok(record)),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(None) => {}
            }
            // Registered first: what comes after this look wakes it.
            self.log.gate.moved().register(waker);
            if !self.has_news() {
                return Poll::Pending;
            }
        }
    }
}
