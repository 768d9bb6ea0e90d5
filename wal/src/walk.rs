//! How far a damaged log can be read, and what its segments need that are kept ([format], section 9).
//!
//! [format]: crate::format

use std::ops::Range;

use durable_io::engine::Progress;
use durable_io::{Dir, File};

use crate::error::Result;
use crate::lsn::Lsn;
use crate::names;
use crate::scan::Behind;
use crate::segment::{BadHeader, FIRST_GROUP, open_or_create};
use crate::slot::Mark;
use crate::source::{Source, Unreadable};
use crate::survey::{Listing, Loaded};

/// How far the log can be read.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The last record before the first damage, or of the log.
    pub(crate) last: Lsn,
    /// Where the next group would begin in the last segment that was read.
    pub(crate) cut: u64,
    /// The highest segment that can be kept; `None` if not even the lowest.
    pub(crate) keep: Option<u64>,
    /// What stands behind.
    pub(crate) behind: Behind,
    /// A segment that must not be is missing, incomplete, or not to be read everywhere.
    is_broken: bool,
    /// Segments behind that with nothing in them.
    pub(crate) empty: Vec<u64>,
    /// The usual size of a segment, if a header tells.
    pub(crate) usual: Option<u64>,
    /// What the kept segments need.
    pub(crate) mends: Vec<Mend>,
}

impl Walk {
    pub(crate) fn is_damaged(&self, mark: &Mark) -> bool {
        self.is_broken
            || self.behind.durable.max(mark.durable) > self.last
            || self.behind.epoch > mark.epochs.current
    }

    /// How far the log in `dir` can be read that `mark` describes.
    pub(crate) fn of(
        dir: &Dir,
        listing: &Listing,
        mark: &Mark,
        progress: &Progress<(u64, u64)>,
    ) -> Result<Self> {
        let mut walk = Self {
            last: mark.low.previous(),
            cut: FIRST_GROUP,
            keep: None,
            behind: Behind::default(),
            is_broken: false,
            empty: Vec::new(),
            usual: None,
            mends: Vec::new(),
        };
        // Segments below the mark's are dead, and removed by the recovery.
        let numbers = listing.segments.iter().copied();
        let numbers: Vec<u64> = numbers
            .filter(|&number| number >= mark.low_segment)
            .collect();
        let all = numbers.len();
        let top = listing.segments.last().copied().unwrap_or(0);
        let mut expected = mark.low_segment;
        let mut is_reading = true;
        for (done, number) in numbers.into_iter().enumerate() {
            progress.tell((done as u64, all as u64));
            let of_log = (mark.log_id, mark.epochs);
            let mut loaded = match Loaded::open(dir, number, of_log, Unreadable::IsDamage) {
                Err(error) if error.is_unreadable() => {
                    (walk.is_broken, is_reading) = (true, false);
                    expected = number.saturating_add(1);
                    continue;
                }
                loaded => loaded?,
            };
            if let Err((_, bad @ BadHeader::Newer(_))) = loaded.header {
                return Err(bad.into_error(loaded.file.path()));
            }
            let is_complete = loaded.header.is_ok();
            walk.usual = walk.usual.or(loaded.said.map(|said| said.usual));
            is_reading &= number == expected && walk.continues_in(&loaded, mark);
            if let Some(said) = loaded.said.filter(|_| is_reading) {
                walk.is_broken |= !is_complete;
                walk.read(&mut loaded, mark, said.size)?;
            } else {
                is_reading = false;
                let behind = loaded.behind(FIRST_GROUP)?;
                // Only the newest may be incomplete, and only if it was never used.
                let is_spare = loaded
                    .header
                    .err()
                    .is_some_and(|(_, bad)| bad.may_be_unfinished())
                    && number == top
                    && number > mark.low_segment.max(mark.newest)
                    && !behind.groups;
                walk.is_broken |= number != expected || !(is_complete || is_spare);
                walk.behind.add(&behind);
                if behind.nonzero_end.is_none() && loaded.holes().is_empty() {
                    walk.empty.push(number);
                }
            }
            walk.is_broken |= !loaded.holes().is_empty();
            expected = number.saturating_add(1);
        }
        progress.tell((all as u64, all as u64));
        walk.is_broken |= walk.keep.is_none() || top < mark.newest;
        walk.mends
            .retain(|mend| !(mend.is_whole && mend.zero.is_empty()));
        Ok(walk)
    }

    /// Reads the groups of the segment `loaded`, which is `size` bytes long if it is whole.
    fn read(&mut self, loaded: &mut Loaded, mark: &Mark, size: u64) -> Result<()> {
        // What stood behind the segment before is not the log's end, and no record: this one follows.
        if let (Some(before), Some(end)) = (self.mends.last_mut(), self.behind.nonzero_end) {
            before.zero.push(self.cut..end);
        }
        let front = loaded.front(mark, None)?;
        self.last = front.last.unwrap_or(self.last);
        self.cut = front.cut;
        self.behind = loaded.behind(front.cut)?;
        self.keep = Some(loaded.number);
        let len = loaded.file.len()?;
        self.mends.push(Mend {
            number: loaded.number,
            size,
            is_whole: len == size && loaded.holes().is_empty(),
            zero: front.unclean,
        });
        Ok(())
    }

    /// True if the segment `loaded` goes on where the log was read to.
    fn continues_in(&self, loaded: &Loaded, mark: &Mark) -> bool {
        let first = loaded.first_lsn();
        if loaded.number == mark.low_segment {
            // It may begin below the first retained record, or hold nothing yet.
            return first.is_none_or(|first| first <= mark.low);
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
