//! Mending and cutting a damaged log ([format], section 9).
//!
//! Everything is read, from the first retained segment on. What is wrong where no record is, a file
//! cut short or bytes that should be zero, is mended: a whole copy replaces it. At the first damage
//! the log is cut: a mark with a new epoch, which begins at the cut, makes everything behind it stale,
//! whatever is still there. What follows is the ordinary recovery. So a crash inside a repair leaves
//! the old log, still damaged, or the cut one; segments that could not be removed yet are found by the
//! next repair.
//!
//! [format]: crate::format

use std::ops::Range;

use durable_io::engine::Progress;
use durable_io::{Dir, File};

use crate::cut::finish;
use crate::error::{Corruption, Error, Result};
use crate::frame::Epochs;
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkFile};
use crate::names;
use crate::scan::Behind;
use crate::segment::{BadHeader, FIRST_GROUP, SegmentHeader, open_or_create, write_blank};
use crate::source::Source;
use crate::survey::{ANY_EPOCH, Listing, Loaded, log_id_of};

/// Cuts the log in `dir`, which is locked, at its first damage. Returns the records that were
/// dropped, as far as they are known; `None` if nothing had to be cut. `size` is for a new segment
/// if no header tells the log's segment size.
pub(crate) fn repair(
    dir: &Dir,
    size: u64,
    zero_step: u64,
    progress: &Progress<(u64, u64)>,
) -> Result<Option<Range<Lsn>>> {
    let mut listing = Listing::read(dir)?;
    let found = match MarkFile::open(dir) {
        Ok(Some(mut file)) => {
            if finish(dir, &listing, &mut file, true)? {
                listing = Listing::read(dir)?;
            }
            Some(Basis {
                mark: *file.mark(),
                epoch: file.mark().epochs.current,
                sequence: file.sequence(),
                is_lost: false,
            })
        }
        Ok(None) => rebuild(dir, &listing)?,
        Err(Error::Corrupt {
            reason: Corruption::MarkLost,
            ..
        }) => match rebuild(dir, &listing)? {
            None => return clear(dir, &listing, true).map(Some),
            rebuilt => rebuilt,
        },
        Err(error) => return Err(error),
    };
    let Some(basis) = found else {
        // Segment 1 alone is a creation that was cut short.
        let is_lost = listing.segments.iter().any(|&number| number > 1);
        return is_lost.then(|| clear(dir, &listing, false)).transpose();
    };
    let walk = walk(dir, &listing, &basis.mark, progress)?;
    remove_left_overs(dir, &listing)?;
    for mend in &walk.mends {
        mend.apply(dir)?;
    }
    if !basis.is_lost && !walk.is_damaged(&basis.mark) {
        return Ok(None);
    }
    let new = (walk.size.unwrap_or(size), zero_step);
    cut(dir, &listing, &basis, &walk, new).map(Some)
}

/// Removes what repairs that were cut short left, before this one makes anything of its own.
fn remove_left_overs(dir: &Dir, listing: &Listing) -> Result<()> {
    if listing.remove_temps(dir)? > 0 {
        // Redundant: nothing relies on it. But without it what one repair after the other leaves, if each is
        // cut short, would pile up.
        dir.sync()?;
    }
    Ok(())
}

/// Removes what is left of a log of which no record is left, and no mark that would say where it
/// was: the recovery creates a new one. Until the last name is gone, a crash leaves a lost mark.
fn clear(dir: &Dir, listing: &Listing, has_mark: bool) -> Result<Range<Lsn>> {
    for &number in &listing.segments {
        dir.remove(&names::segment(number))?;
    }
    if has_mark {
        dir.remove(names::MARK)?;
    }
    Ok(Lsn(1)..Lsn(1))
}

/// What a repair starts from.
#[derive(Debug)]
struct Basis {
    mark: Mark,
    /// The highest epoch so far.
    epoch: u32,
    /// The sequence of the newest slot; 0 if none can be read.
    sequence: u64,
    /// The mark was made up from the segments.
    is_lost: bool,
}

/// What is wrong with a segment that is kept, but costs no record.
#[derive(Debug)]
struct Mend {
    number: u64,
    file: File,
    /// Its length, if it were whole.
    size: u64,
    is_whole: bool,
    /// What has to be made zero.
    zero: Vec<Range<u64>>,
}

impl Mend {
    /// Replaces the segment by a copy that is whole. Not in place: if the process was killed, the
    /// next one would see a whole segment that a power loss still takes back.
    fn apply(&self, dir: &Dir) -> Result<()> {
        let name = names::segment(self.number);
        let temp = names::temp(&name);
        let copy = open_or_create(dir, &temp)?;
        let replaced = self.fill(&copy).and_then(|()| {
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

    fn fill(&self, copy: &File) -> durable_io::Result<()> {
        // What the file does not have reads as zeros.
        Source::new(self.file.clone(), self.size).copy_to(copy, 0..self.size)?;
        if copy.len()? > self.size {
            copy.set_len(self.size)?;
        }
        for range in &self.zero {
            copy.write_zeros(range.start, range.end - range.start)?;
        }
        Ok(())
    }
}

/// The mark, and true; or one made up if it cannot be read, and false; `None` if nothing can be.
pub(crate) fn mark_or_guess(dir: &Dir, listing: &Listing) -> Result<Option<(Mark, bool)>> {
    match MarkFile::open(dir) {
        Ok(Some(file)) => Ok(Some((*file.mark(), true))),
        Ok(None) | Err(Error::Corrupt { .. }) => {
            Ok(rebuild(dir, listing)?.map(|basis| (basis.mark, false)))
        }
        Err(error) => Err(error),
    }
}

/// A mark made from what the segments say; `None` if none holds a group.
fn rebuild(dir: &Dir, listing: &Listing) -> Result<Option<Basis>> {
    let mut epoch = 0;
    let mut lowest: Option<Mark> = None;
    for &number in &listing.segments {
        let Some(log_id) = log_id_of(dir, number)? else {
            continue;
        };
        let mut loaded = Loaded::open(dir, number, log_id, ANY_EPOCH)?;
        if let (None, Some(_), Some(low)) = (&lowest, loaded.size, loaded.first_lsn()) {
            let durable = low.previous();
            lowest = Some(Mark {
                log_id,
                durable,
                low_segment: number,
                low,
                epochs: ANY_EPOCH,
                checkpoint: Lsn(0),
                cut: None,
                newest: 0,
            });
        }
        epoch = epoch.max(loaded.behind(FIRST_GROUP)?.epoch);
    }
    Ok(lowest.map(|mark| Basis {
        mark,
        epoch,
        sequence: 0,
        is_lost: true,
    }))
}

/// How far the log can be read.
#[derive(Debug)]
struct Walk {
    /// The last record before the first damage, or of the log.
    last: Lsn,
    /// Where the next group would begin in the last segment that was read.
    cut: u64,
    /// The highest segment that can be kept; `None` if not even the lowest.
    keep: Option<u64>,
    /// What stands behind.
    behind: Behind,
    /// A segment is missing or incomplete that must not be.
    is_broken: bool,
    /// The segment size, if a header tells.
    size: Option<u64>,
    /// What the kept segments need.
    mends: Vec<Mend>,
}

impl Walk {
    fn is_damaged(&self, mark: &Mark) -> bool {
        self.is_broken
            || self.behind.durable.max(mark.durable) > self.last
            || self.behind.epoch > mark.epochs.current
    }
}

fn walk(
    dir: &Dir,
    listing: &Listing,
    mark: &Mark,
    progress: &Progress<(u64, u64)>,
) -> Result<Walk> {
    let mut walk = Walk {
        last: mark.low.previous(),
        cut: FIRST_GROUP,
        keep: None,
        behind: Behind::default(),
        is_broken: false,
        size: None,
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
        let mut loaded = Loaded::open(dir, number, mark.log_id, mark.epochs)?;
        if let Err((_, bad @ BadHeader::Newer(_))) = loaded.header {
            return Err(bad.into_error(loaded.file.path()));
        }
        let is_complete = loaded.header.is_ok();
        walk.size = walk.size.or(loaded.size);
        is_reading &= number == expected && walk.continues_in(&loaded, mark);
        if let Some(size) = loaded.size.filter(|_| is_reading) {
            walk.is_broken |= !is_complete;
            walk.read(&mut loaded, mark, size)?;
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
        }
        expected = number.saturating_add(1);
    }
    progress.tell((all as u64, all as u64));
    walk.is_broken |= walk.keep.is_none() || top < mark.newest;
    walk.mends
        .retain(|mend| !(mend.is_whole && mend.zero.is_empty()));
    Ok(walk)
}

impl Walk {
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
            file: loaded.file.clone(),
            size,
            is_whole: len == size,
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

/// Makes the log end at `walk.last`. `new` are the size of a new segment and how much of it gets zeros.
fn cut(
    dir: &Dir,
    listing: &Listing,
    basis: &Basis,
    walk: &Walk,
    new: (u64, u64),
) -> Result<Range<Lsn>> {
    let low = basis.mark.low;
    let is_usable = walk.last >= low.previous();
    let last = walk.last.max(low.previous());
    let keep = walk.keep.filter(|_| is_usable);
    let highest = basis.epoch.max(walk.behind.epoch);
    let epochs = Epochs::begin(highest, last, keep.unwrap_or(0))?;
    let mut mark = Mark {
        durable: last,
        epochs,
        checkpoint: basis.mark.checkpoint.min(last),
        // One that could not be finished: what it was to cut is behind this one.
        cut: None,
        ..basis.mark
    };
    let keep = if let Some(keep) = keep {
        keep
    } else {
        mark.low_segment = begin_anew(dir, listing, &mark, new)?;
        mark.low_segment
    };
    mark.newest = keep;
    // Durable: the new epoch. Only now may anything behind the cut be removed or overwritten: until
    // here the damage can still be seen.
    MarkFile::create(dir, &mark, basis.sequence)?;
    // From the top, so that what a crash leaves has no hole if the file system keeps the order. The
    // recovery that follows makes the removals durable before a name is used again.
    for &number in listing
        .segments
        .iter()
        .rev()
        .filter(|&&number| number > keep)
    {
        dir.remove(&names::segment(number))?;
    }
    let known = walk
        .behind
        .last
        .max(walk.behind.durable)
        .max(basis.mark.durable);
    Ok(last.next()..known.max(last).next())
}

/// Makes an empty segment above all others, for a log whose lowest segment cannot go on; returns its
/// number.
fn begin_anew(dir: &Dir, listing: &Listing, mark: &Mark, new: (u64, u64)) -> Result<u64> {
    let (size, zero_step) = new;
    let top = listing.segments.last().copied().unwrap_or(0);
    let number = top.max(mark.low_segment).saturating_add(1);
    let log_id = mark.log_id;
    let header = SegmentHeader {
        log_id,
        number,
        size,
    };
    let file = write_blank(dir, &header, zero_step)?;
    // Redundant: if a crash left the mark without it, the log would be damaged as before, without a
    // record, and the next repair would make another one. It spares the user that repair.
    drop(file.sync_data()?);
    // Redundant: as above, for the name.
    dir.sync()?;
    Ok(number)
}
