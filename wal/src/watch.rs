//! [`Watch`]: reading a log that another process writes.

use durable_io::Dir;

use crate::directory_scan::{DirEntries, OpenedSegment, missing};
use crate::error::{Corruption, Error, Result};
use crate::lsn::{Lsn, Record};
use crate::reader::{Next, SegmentReader};
use crate::scan::{self, check_records};
use crate::segment::BadHeader;
use crate::slot::Superblock;
use crate::source::Unreadable;
use crate::superblock::read_superblock;

/// Reads the records of a log in order while another process may be writing it, without its lock. Made by
/// [`Options::watch`](crate::Options::watch).
///
/// It sees what the writer has written, whole groups only, as soon as that is in the system's cache: so what no
/// death of the writer takes back, but a power loss may, if it was not durable yet. It never waits: whoever has it asks
/// again when there may be more.
///
/// Half of a group beside a living writer is not damage, but a group that is being written: it is read again with the
/// next call. Only what the superblock says was durable, and what is not there all the same, is damage.
#[derive(Debug)]
pub struct Watch {
    dir: Dir,
    superblock: Superblock,
    /// Stands at the group that comes next, or in one that is whole; `None` before a segment was entered.
    reader: Option<SegmentReader>,
    next: Lsn,
}

impl Watch {
    pub(crate) fn open(dir: Dir, from: Lsn) -> Result<Self> {
        let superblock = read_superblock(&dir)?;
        Ok(Self {
            dir,
            next: from.max(superblock.low),
            superblock,
            reader: None,
        })
    }

    /// The position of the record that comes next.
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// The next record; `None` if there is none yet.
    ///
    /// # Cost
    /// As that of [`Follow::next`](crate::Follow::next). One read of the superblock if there is none. To find
    /// the first record, and after a truncation of the end, the headers of the groups before it in its
    /// segment are read.
    ///
    /// # Errors
    /// [`Error::Truncated`]: the writer gave up the record, or truncated one that was given out here; begin again.
    /// [`Error::Corrupt`]: durable records cannot be read. [`Error::Disk`]. The call can be repeated.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.next_of_group()? {
                return Ok(Some(record));
            }
            if !self.enter_group()? && !self.go_on()? {
                return Ok(None);
            }
        }
    }

    /// The next record of the group that was entered, which was whole.
    fn next_of_group(&mut self) -> Result<Option<Record>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        loop {
            match reader.next_record()? {
                Next::Some(record) if record.lsn < self.next => {}
                // Of a group that is about to lose its end.
                Next::Some(record) if self.superblock.has_truncated(record.lsn, reader.epoch()) => {
                    self.reader = None;
                    return Ok(None);
                }
                Next::Some(record) => {
                    let payload = reader.payload(record)?.to_vec();
                    let lsn = record.lsn;
                    self.next = lsn.next();
                    return Ok(Some(Record { lsn, payload }));
                }
                Next::End => return Ok(None),
                // It was whole a moment ago.
                Next::Bad { .. } => {
                    self.reader = None;
                    return Ok(None);
                }
            }
        }
    }

    /// Enters the group with the next record, if it is whole.
    fn enter_group(&mut self) -> Result<bool> {
        let Some(reader) = &mut self.reader else {
            return Ok(false);
        };
        while let Next::Some(group) = reader.look()? {
            let at = reader.offset();
            reader.enter(group);
            if group.last_lsn() < self.next {
                reader.skip_group();
                continue;
            }
            let bad = check_records(reader)?;
            // Back to its beginning, to be given out or to be read again.
            reader.jump(at, &group);
            if bad.is_none() && !self.superblock.has_truncated(self.next, group.epoch) {
                reader.enter(group);
                return Ok(true);
            }
            break;
        }
        // What was read may change.
        reader.parts().1.forget();
        Ok(false)
    }

    /// Where the next record is not found: looks for it anew, as the superblock says; false if it is not there yet.
    fn go_on(&mut self) -> Result<bool> {
        let is_truncated = self.reread_superblock()?;
        let is_durable = self.superblock.durable >= self.next;
        if let Some(reader) = &self.reader
            && !is_truncated
            && !is_durable
            // An empty segment may have given way to a larger one.
            && !reader.is_at_first_group()
            && !self.begins(reader.identity().number + 1)?
        {
            return Ok(false);
        }
        // Only now: what the superblock calls durable was there before it said so.
        self.reader = self.find()?;
        if self.enter_group()? {
            return Ok(true);
        }
        // The writer may have truncated it meanwhile.
        if !is_durable || self.reread_superblock()? {
            return Ok(is_durable);
        }
        let reason = Corruption::LostRecords {
            first: self.next,
            last: self.superblock.durable,
        };
        Err(match &self.reader {
            Some(reader) => reader.identity().corrupt(reader.offset(), reason),
            None => missing(&self.dir, self.superblock.low_segment),
        })
    }

    /// Reads the superblock again; returns whether the end of the log was truncated since.
    fn reread_superblock(&mut self) -> Result<bool> {
        let superblock = read_superblock(&self.dir)?;
        let is_truncated = superblock.epochs != self.superblock.epochs;
        let is_other = superblock.log_id != self.superblock.log_id;
        if is_other
            || superblock.low > self.next
            || is_truncated && self.next > superblock.epochs.first_lsn
        {
            return Err(Error::Truncated);
        }
        self.superblock = superblock;
        Ok(is_truncated)
    }

    /// True if segment `number` begins with the next record.
    fn begins(&self, number: u64) -> Result<bool> {
        let opened = self.load(number)?;
        Ok(opened.is_some_and(|opened| opened.first_lsn() == Some(self.next)))
    }

    /// Segment `number`; `None` if it is not there, or being made.
    fn load(&self, number: u64) -> Result<Option<OpenedSegment>> {
        let of_log = (self.superblock.log_id, self.superblock.epochs);
        match OpenedSegment::open(&self.dir, number, of_log, Unreadable::Fails) {
            Err(Error::Disk(error)) if error.is_not_found() => Ok(None),
            Ok(opened) => match opened.header {
                Err((_, bad @ BadHeader::Newer(_))) => Err(bad.into_error(opened.file.path())),
                Err(_) => Ok(None),
                Ok(_) => Ok(Some(opened)),
            },
            Err(error) => Err(error),
        }
    }

    /// A reader of the segment that holds the next record, or will; `None` if it is not there.
    fn find(&self) -> Result<Option<SegmentReader>> {
        let entries = DirEntries::read(&self.dir)?;
        let numbers = entries.segments.into_iter().rev();
        for number in numbers.take_while(|&number| number >= self.superblock.low_segment) {
            let is_lowest = number == self.superblock.low_segment;
            let Some(mut opened) = self.load(number)? else {
                continue;
            };
            if is_lowest {
                // It may begin with records that were truncated, whole or not.
                scan::pass_over(&mut opened.reader, self.superblock.low)?;
            }
            if is_lowest || opened.first_lsn().is_some_and(|first| first <= self.next) {
                return Ok(Some(opened.reader));
            }
        }
        Ok(None)
    }
}
