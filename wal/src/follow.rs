//! [`Follow`]: reading durable records as they come.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::log::Log;
use crate::lsn::{Lsn, Record};
use crate::records::Records;

/// Reads durable records in order, and waits for the next one. Made by
/// [`Wal::follow`](crate::Wal::follow).
///
/// Only durable records are given out, so no crash takes one back: what was sent elsewhere stays
/// true. It holds no lock, and holds open what it has still to read.
#[derive(Debug)]
pub struct Follow<'a> {
    log: &'a Log,
    records: Records,
    /// Why it came to its end.
    failed: Option<Error>,
}

impl<'a> Follow<'a> {
    pub(crate) fn new(log: &'a Log, from: Lsn) -> Self {
        Self {
            log,
            records: log.durable_records(from),
            failed: None,
        }
    }

    /// The position of the record that comes next.
    pub fn position(&self) -> Lsn {
        self.records.position()
    }

    /// Where the record stands that was given out last; `None` before the first.
    pub fn location(&self) -> Option<Location> {
        self.records.location()
    }

    /// The next durable record; waits for it for at most `timeout`. `None` if none has come by then.
    ///
    /// # Cost
    /// One read of 4 KiB for each time it has caught up with the log, of up to 256 KiB while it has
    /// not.
    ///
    /// # Errors
    /// [`Error::Truncated`]: the record was given up before it was read; begin again.
    /// [`Error::Corrupt`], [`Error::Disk`]: as [`Wal::records`](crate::Wal::records).
    /// [`Error::Poisoned`]: every durable record was read, and after a failure there will be no more.
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
            if let Some(record) = self.records.next() {
                return record.map(Some);
            }
            let next = self.position();
            let left = timeout.saturating_sub(begin.elapsed());
            let is_over = || {
                self.can_extend()
                    || self.log.gate.ends_before(next.0)
                    || self.log.check_open().is_err()
            };
            if !self.log.gate.moved().wait_until(is_over, Some(left)) {
                return Ok(None);
            }
            if !self.can_extend() {
                // It was closed, or poisoned; and everything durable was read.
                self.log.check_open()?;
                self.log.check_healthy()?;
            }
            self.extend()?;
        }
    }

    /// There is a record to see, or the log was truncated.
    fn can_extend(&self) -> bool {
        let view = self.log.view();
        self.log.durable_end(&view) > self.position() || self.records.is_cut()
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
}
