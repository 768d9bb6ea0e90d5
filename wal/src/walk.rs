//! How far a damaged log can be read, and what its segments need that are kept ([format], section 9).
//!
//! [format]: crate::format

use std::ops::Range;

use durable_io::engine::Progress;
use durable_io::{Dir, File};

use crate::directory_scan::{DirEntries, OpenedSegment};
use crate::error::Result;
use crate::lsn::Lsn;
use crate::names;
use crate::scan::Remainder;
use crate::segment::{BadHeader, FIRST_GROUP, open_or_create};
use crate::slot::Superblock;
use crate::source::{Source, Unreadable};

/// How far the log can be read.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The last record before the first damage, or of the log.
    pub(crate) last: Lsn,
    /// Where the next group would begin in the last segment that was read.
    pub(crate) end: u64,
    /// The highest segment that can be kept; `None` if not even the lowest.
    pub(crate) keep: Option<u64>,
    /// What follows the last group that was read.
    pub(crate) remainder: Remainder,
    /// A segment that must not be is missing, incomplete, or not to be read everywhere.
    is_broken: bool,
    /// Segments after that one with nothing in them.
    pub(crate) empty: Vec<u64>,
    /// The usual size of a segment, if a header says.
    pub(crate) usual: Option<u64>,
    /// What the kept segments need.
    pub(crate) mends: Vec<Mend>,
}

impl Walk {
    pub(crate) fn is_damaged(&self, superblock: &Superblock) -> bool {
        self.is_broken
            || self.remainder.durable.max(superblock.durable) > self.last
            || self.remainder.epoch > superblock.epochs.current
    }

    /// How far the log in `dir` can be read that `superblock` describes.
    pub(crate) fn of(
        dir: &Dir,
        entries: &DirEntries,
        superblock: &Superblock,
        progress: &Progress<(u64, u64)>,
    ) -> Result<Self> {
        let mut walk = Self {
            last: superblock.low.previous(),
            end: FIRST_GROUP,
            keep: None,
            remainder: Remainder::default(),
            is_broken: false,
            empty: Vec::new(),
            usual: None,
            mends: Vec::new(),
        };
        // Segments below the superblock's are dead, and removed by the recovery.
        let numbers = entries.segments.iter().copied();
        let numbers: Vec<u64> = numbers
            .filter(|&number| number >= superblock.low_segment)
            .collect();
        let all = numbers.len();
        let top = entries.segments.last().copied().unwrap_or(0);
        let mut expected = superblock.low_segment;
        let mut is_reading = true;
        for (done, number) in numbers.into_iter().enumerate() {
            progress.report((done as u64, all as u64));
            let of_log = (superblock.log_id, superblock.epochs);
            let mut opened = match OpenedSegment::open(dir, number, of_log, Unreadable::IsDamage) {
                Err(error) if error.is_unreadable() => {
                    (walk.is_broken, is_reading) = (true, false);
                    expected = number.saturating_add(1);
                    continue;
                }
                opened => opened?,
            };
            if let Err((_, bad @ BadHeader::Newer(_))) = opened.header {
                return Err(bad.into_error(opened.file.path()));
            }
            let is_complete = opened.header.is_ok();
            walk.usual = walk.usual.or(opened.said.map(|said| said.usual));
            is_reading &= number == expected && walk.continues_in(&opened, superblock);
            if let Some(said) = opened.said.filter(|_| is_reading) {
                walk.is_broken |= !is_complete;
                walk.read(&mut opened, superblock, said.size)?;
            } else {
                is_reading = false;
                let remainder = opened.remainder(FIRST_GROUP)?;
                // Only the newest may be incomplete, and only if it was never used.
                let is_preallocated = opened
                    .header
                    .err()
                    .is_some_and(|(_, bad)| bad.may_be_unfinished())
                    && number == top
                    && number > superblock.low_segment.max(superblock.newest)
                    && !remainder.groups;
                walk.is_broken |= number != expected || !(is_complete || is_preallocated);
                walk.remainder.add(&remainder);
                if remainder.nonzero_end.is_none() && opened.holes().is_empty() {
                    walk.empty.push(number);
                }
            }
            walk.is_broken |= !opened.holes().is_empty();
            expected = number.saturating_add(1);
        }
        progress.report((all as u64, all as u64));
        walk.is_broken |= walk.keep.is_none() || top < superblock.newest;
        walk.mends
            .retain(|mend| !(mend.is_whole && mend.zero.is_empty()));
        Ok(walk)
    }

    /// Reads the groups of the segment `loaded`, which is `size` bytes long if it is whole.
    fn read(
        &mut self,
        opened: &mut OpenedSegment,
        superblock: &Superblock,
        size: u64,
    ) -> Result<()> {
        // What followed the segment before is not the log's end, and no record: this one follows.
        if let (Some(before), Some(end)) = (self.mends.last_mut(), self.remainder.nonzero_end) {
            before.zero.push(self.end..end);
        }
        let prefix = opened.valid_prefix(superblock, None)?;
        self.last = prefix.last.unwrap_or(self.last);
        self.end = prefix.end;
        self.remainder = opened.remainder(prefix.end)?;
        self.keep = Some(opened.number);
        let len = opened.file.len()?;
        self.mends.push(Mend {
            number: opened.number,
            size,
            is_whole: len == size && opened.holes().is_empty(),
            zero: prefix.unclean,
        });
        Ok(())
    }

    /// True if the segment `loaded` continues where the log was read to.
    fn continues_in(&self, opened: &OpenedSegment, superblock: &Superblock) -> bool {
        let first = opened.first_lsn();
        if opened.number == superblock.low_segment {
            // It may begin below the first retained record, or hold nothing yet.
            return first.is_none_or(|first| first <= superblock.low);
        }
        first == Some(self.last.next())
    }
}

/// What is wrong with a segment that is kept, but costs no record.
#[derive(Debug)]
pub(crate) struct Mend {
    number: u64,
    /// Its length, if it were whole.
    size: u64,
    is_whole: bool,
    /// What has to be made zero.
    zero: Vec<Range<u64>>,
}

impl Mend {
    /// Replaces the segment by a copy that is whole. Not in place: if the process was killed, the
    /// next one would see a whole segment that a power loss still takes back.
    pub(crate) fn apply(&self, dir: &Dir) -> Result<()> {
        let name = names::segment(self.number);
        let temp = names::temp(&name);
        let file = dir.open(&name)?;
        let copy = open_or_create(dir, &temp)?;
        let replaced = self.fill(file, &copy).and_then(|()| {
            // Durable: a whole segment. Only now may the name point at it: a retained segment must
            // be complete.
            drop(copy.sync_data()?);
            // The recovery that follows makes the name durable before it relies on it.
            dir.rename(&temp, &name)
        });
        if replaced.is_err() {
            // Best effort: the next open removes it.
            drop(dir.remove(&temp));
        }
        Ok(replaced?)
    }

    fn fill(&self, file: File, copy: &File) -> durable_io::Result<()> {
        // What the file does not have, or does not give, reads as zeros.
        Source::new(file, self.size, Unreadable::IsDamage).copy_to(copy, 0..self.size)?;
        if copy.len()? > self.size {
            copy.set_len(self.size)?;
        }
        for range in &self.zero {
            copy.write_zeros(range.start, range.end - range.start)?;
        }
        Ok(())
    }
}
