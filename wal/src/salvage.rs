//! [`Salvage`]: everything that can still be read of a damaged log.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::vec;

use durable_io::Dir;
use durable_io::engine::StoreDir;

use crate::directory_scan::{DirEntries, OpenedSegment, missing};
use crate::error::{Corruption, Error, Result};
use crate::lsn::{Lsn, Record};
use crate::names;
use crate::reader::{Next, SegmentReader};
use crate::repair::superblock_or_guess;
use crate::scan;
use crate::segment::FIRST_GROUP;
use crate::slot::Superblock;
use crate::source::Unreadable;
use crate::superblock::superblock_lost;

/// The records of a log that can be read, whatever is damaged. Made by
/// [`Options::salvage`](crate::Options::salvage).
///
/// Records come in order, each checked. Where some are missing, an [`Error::Corrupt`] with
/// [`Corruption::LostRecords`] names them and the place of the damage, and reading continues after
/// it. So it does after a place that cannot be read (`EIO`), and past a segment that cannot be opened
/// (`EACCES`): each is an [`Error::Disk`], once. That the last segment is missing, as far as the superblock
/// knows of it, is an [`Error::Corrupt`] with [`Corruption::MissingSegment`]. After any other error nothing
/// follows.
#[derive(Debug)]
pub struct Salvage {
    dir: Dir,
    superblock: Superblock,
    segments: vec::IntoIter<u64>,
    /// The last segment that was entered, or reported as missing.
    segment: u64,
    reader: Option<SegmentReader>,
    /// The record that comes next if nothing is missing.
    next: Lsn,
    /// A record that was found, but something else is reported before.
    found: Option<Record>,
    /// What could not be read, and was not reported yet.
    unreadable: VecDeque<Error>,
    /// Where the first damage since the last record is.
    damage: Option<(PathBuf, u64)>,
    /// The last record that was durable, as far as anything says so.
    durable: Lsn,
    has_ended: bool,
    has_superblock: bool,
    /// After the last record is something that cannot be read.
    is_end_hidden: bool,
    /// Nobody may write meanwhile.
    _locked: StoreDir,
}

impl Salvage {
    pub(crate) fn open(locked: StoreDir) -> Result<Self> {
        let dir = locked.dir().clone();
        let entries = DirEntries::read(&dir)?;
        let Some((superblock, has_superblock)) = superblock_or_guess(&dir, &entries)? else {
            return Err(superblock_lost(&dir.path().join(names::SUPERBLOCK)));
        };
        let mut segments = entries.segments;
        segments.retain(|&number| number >= superblock.low_segment);
        Ok(Self {
            dir,
            next: superblock.low,
            durable: superblock.durable,
            superblock,
            segments: segments.into_iter(),
            segment: 0,
            reader: None,
            found: None,
            unreadable: VecDeque::new(),
            damage: None,
            has_ended: false,
            has_superblock,
            is_end_hidden: false,
            _locked: locked,
        })
    }

    /// True if the log's superblock could be read. Without it nothing but the records themselves says what was
    /// durable: the last ones can be missing without a word.
    pub fn has_superblock(&self) -> bool {
        self.has_superblock
    }

    /// True if bytes or a segment after the last record so far cannot be read: if no other follows, more may
    /// have been there than anything names. (What is damaged at the end of a log that was not closed is what
    /// a crash leaves of a group that was never acknowledged, as far as anybody can tell.)
    pub fn is_end_hidden(&self) -> bool {
        self.is_end_hidden
    }

    /// The position of the record that comes next, if none is missing before it; at first, that of the first
    /// retained record.
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    fn read_next(&mut self) -> Result<Option<Record>> {
        let found = match self.found.take() {
            Some(record) => Some(record),
            None => self.find()?,
        };
        if let Some(error) = self.unreadable.pop_front() {
            self.found = found;
            return Err(error);
        }
        match found {
            Some(record) if record.lsn > self.next => {
                let gap = self.gap(record.lsn.previous());
                self.found = Some(record);
                Err(gap)
            }
            Some(record) => {
                self.next = record.lsn.next();
                self.damage = None;
                self.is_end_hidden = false;
                Ok(Some(record))
            }
            None if self.durable >= self.next => Err(self.gap(self.durable)),
            None => Ok(None),
        }
    }

    /// The error that says that the records up to `last` are missing. What comes next is after them.
    fn gap(&mut self, last: Lsn) -> Error {
        let nowhere = || (self.dir.path().to_owned(), 0);
        let (path, offset) = self.damage.take().unwrap_or_else(nowhere);
        let first = self.next;
        self.next = last.next();
        Error::Corrupt {
            path,
            offset,
            reason: Corruption::LostRecords { first, last },
        }
    }

    /// The next record that can be read, from `next` on.
    fn find(&mut self) -> Result<Option<Record>> {
        loop {
            let Some(reader) = &mut self.reader else {
                if !self.enter_segment()? {
                    return Ok(None);
                }
                continue;
            };
            match reader.next_record()? {
                // Given up at the front, or by a truncation of the end that a crash interrupted.
                Next::Some(record)
                    if record.lsn < self.next
                        || self.superblock.has_truncated(record.lsn, reader.epoch()) => {}
                Next::Some(record) => {
                    let payload = reader.payload(record)?.to_vec();
                    let lsn = record.lsn;
                    return Ok(Some(Record { lsn, payload }));
                }
                Next::Bad { offset, .. } => {
                    let path = reader.identity().path.clone();
                    self.damage.get_or_insert((path, offset));
                    if !reader.skip_record()? {
                        reader.skip_group();
                    }
                }
                Next::End => self.enter_group()?,
            }
        }
    }

    /// Enters the next group that can be read, or leaves the segment.
    fn enter_group(&mut self) -> Result<()> {
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        if let Next::Some(_) = reader.next_group()? {
            return Ok(());
        }
        let from = reader.offset();
        let found = scan::find_from(reader, from, self.next)?;
        if found.is_none() {
            let holes = reader.parts().1.holes();
            self.is_end_hidden |= holes.iter().any(|hole| hole.range.end > from);
        }
        if found.is_some() || self.next <= self.durable {
            let path = reader.identity().path.clone();
            self.damage.get_or_insert((path, from));
        }
        match found {
            Some((offset, group)) => {
                reader.jump(offset, &group);
                reader.next_group()?;
            }
            None => self.reader = None,
        }
        Ok(())
    }

    /// Tells, once, that the last segment is missing that the superblock knows of, if it is.
    fn miss_last(&mut self) {
        let newest = self.superblock.newest.max(self.superblock.low_segment);
        if self.segment < newest {
            self.segment = newest;
            self.is_end_hidden = true;
            self.unreadable.push_back(missing(&self.dir, newest));
        }
    }

    /// Enters the next segment; false if there is none.
    fn enter_segment(&mut self) -> Result<bool> {
        let Some(number) = self.segments.next() else {
            self.miss_last();
            return Ok(false);
        };
        self.segment = number;
        let of_log = (self.superblock.log_id, self.superblock.epochs);
        let mut opened = match OpenedSegment::open(&self.dir, number, of_log, Unreadable::IsDamage)
        {
            Err(error) if error.is_unreadable() => {
                let path = self.dir.path().join(names::segment(number));
                self.damage.get_or_insert((path, 0));
                self.is_end_hidden = true;
                self.unreadable.push_back(error);
                return Ok(true);
            }
            opened => opened?,
        };
        if let Err((offset, _)) = opened.header {
            self.damage
                .get_or_insert((opened.file.path().to_owned(), offset));
        }
        // This reads all of it, and so meets every hole.
        let witness = opened.remainder(FIRST_GROUP)?.durable;
        let holes = opened.holes().iter().map(|hole| hole.error.clone());
        self.unreadable.extend(holes.map(Error::Disk));
        self.durable = self.durable.max(witness);
        self.reader = Some(opened.reader);
        Ok(true)
    }
}

impl Error {
    /// True if there may be more to be read after it.
    fn is_of_one_place(&self) -> bool {
        let is_gap = matches!(
            self,
            Self::Corrupt {
                reason: Corruption::LostRecords { .. } | Corruption::MissingSegment { .. },
                ..
            }
        );
        is_gap || self.is_unreadable()
    }
}

impl Iterator for Salvage {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let next = self.read_next().transpose();
        self.has_ended = match &next {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => !error.is_of_one_place(),
        };
        next
    }
}
