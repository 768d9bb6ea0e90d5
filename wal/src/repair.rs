//! Cutting a damaged log ([format], section 9).
//!
//! Everything is read, from the first retained segment on. At the first damage the log is cut: a
//! mark with a new epoch, which begins at the cut, makes everything behind it stale, whatever is
//! still there. What follows is the ordinary recovery. So a crash inside a repair leaves the old
//! log, still damaged, or the cut one; segments that could not be removed yet are found by the next
//! repair.
//!
//! [format]: crate::format

use std::ops::Range;

use durable_io::Dir;

use crate::error::{Corruption, Error, Result};
use crate::frame::Epochs;
use crate::lsn::Lsn;
use crate::mark::{Mark, MarkFile};
use crate::names;
use crate::scan::{self, Behind};
use crate::segment::{BadHeader, FIRST_GROUP, SegmentHeader, write_blank};
use crate::survey::{ANY_EPOCH, Listing, Loaded, log_id_of};

/// Cuts the log in `dir`, which is locked, at its first damage. Returns the records that were
/// dropped, as far as they are known; `None` if there is no damage, and nothing was changed.
/// `size` is for a new segment if no header tells the log's segment size.
pub(crate) fn repair(dir: &Dir, size: u64) -> Result<Option<Range<Lsn>>> {
    let listing = Listing::read(dir)?;
    let found = match MarkFile::open(dir) {
        Ok(Some(file)) => Some(Basis {
            mark: *file.mark(),
            epoch: file.mark().epochs.current,
            is_lost: false,
        }),
        Ok(None) => rebuild(dir, &listing)?,
        Err(Error::Corrupt {
            reason: Corruption::MarkLost,
            ..
        }) => {
            let rebuilt = rebuild(dir, &listing)?;
            if rebuilt.is_none() {
                // No record is left, and no mark that would say that there was one.
                dir.remove(names::MARK)?;
                return Ok(Some(Lsn(1)..Lsn(1)));
            }
            rebuilt
        }
        Err(error) => return Err(error),
    };
    let Some(basis) = found else { return Ok(None) };
    let walk = walk(dir, &listing, &basis.mark)?;
    if !basis.is_lost && !walk.is_damaged(&basis.mark) {
        return Ok(None);
    }
    cut(dir, &listing, &basis, &walk, size).map(Some)
}

/// What a repair starts from.
#[derive(Debug)]
struct Basis {
    mark: Mark,
    /// The highest epoch so far.
    epoch: u32,
    /// The mark was made up from the segments.
    is_lost: bool,
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
        if let (None, Ok(_), Some(low)) = (&lowest, &loaded.header, loaded.first_lsn()) {
            let durable = low.previous();
            let epochs = ANY_EPOCH;
            lowest = Some(Mark {
                log_id,
                durable,
                low_segment: number,
                low,
                epochs,
            });
        }
        epoch = epoch.max(loaded.behind(FIRST_GROUP)?.epoch);
    }
    Ok(lowest.map(|mark| Basis {
        mark,
        epoch,
        is_lost: true,
    }))
}

/// How far the log can be read.
#[derive(Debug)]
struct Walk {
    /// The last record before the first damage, or of the log.
    last: Lsn,
    /// The highest segment that can be kept; `None` if not even the lowest.
    keep: Option<u64>,
    /// What stands behind.
    behind: Behind,
    /// A segment is missing or incomplete that must not be.
    is_broken: bool,
    /// The segment size, if a header tells.
    size: Option<u64>,
}

impl Walk {
    fn is_damaged(&self, mark: &Mark) -> bool {
        self.is_broken
            || self.behind.durable.max(mark.durable) > self.last
            || self.behind.epoch > mark.epochs.current
    }
}

fn walk(dir: &Dir, listing: &Listing, mark: &Mark) -> Result<Walk> {
    let mut walk = Walk {
        last: mark.low.previous(),
        keep: None,
        behind: Behind::default(),
        is_broken: false,
        size: None,
    };
    // Segments below the mark's are dead, and removed by the recovery.
    let numbers = listing
        .segments
        .iter()
        .copied()
        .filter(|&number| number >= mark.low_segment);
    let top = listing.segments.last().copied().unwrap_or(0);
    let mut expected = mark.low_segment;
    let mut is_reading = true;
    for number in numbers {
        let mut loaded = Loaded::open(dir, number, mark.log_id, mark.epochs)?;
        if let Err((_, bad @ BadHeader::Newer(_))) = loaded.header {
            return Err(bad.into_error(loaded.file.path()));
        }
        let is_complete = loaded.header.is_ok();
        walk.size = walk.size.or(loaded.header.ok().map(|header| header.size));
        let is_next = number == expected && is_complete;
        if is_reading && is_next && walk.continues_in(&loaded, mark) {
            let front = scan::front(&mut loaded.reader)?;
            walk.last = front.last.unwrap_or(walk.last);
            // What stood behind the segment before is not the log's end: this one follows it.
            walk.behind = loaded.behind(front.cut)?;
            walk.keep = Some(number);
        } else {
            is_reading = false;
            let behind = loaded.behind(FIRST_GROUP)?;
            // Only the newest may be incomplete, and only if it was never used.
            let is_spare = loaded
                .header
                .err()
                .is_some_and(|(_, bad)| bad.may_be_unfinished())
                && number == top
                && number > mark.low_segment
                && !behind.groups;
            walk.is_broken |= number != expected || !(is_complete || is_spare);
            walk.behind.add(&behind);
        }
        expected = number.saturating_add(1);
    }
    walk.is_broken |= walk.keep.is_none();
    Ok(walk)
}

impl Walk {
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

/// Makes the log end at `walk.last`.
fn cut(dir: &Dir, listing: &Listing, basis: &Basis, walk: &Walk, size: u64) -> Result<Range<Lsn>> {
    let low = basis.mark.low;
    let is_usable = walk.last >= low.previous();
    let last = walk.last.max(low.previous());
    let epochs = Epochs {
        current: basis.epoch.max(walk.behind.epoch).saturating_add(1),
        first_lsn: last.next(),
    };
    let mut mark = Mark {
        durable: last,
        epochs,
        ..basis.mark
    };
    let keep = if let Some(keep) = walk.keep.filter(|_| is_usable) {
        keep
    } else {
        mark.low_segment = begin_anew(dir, listing, &mark, walk.size.unwrap_or(size))?;
        mark.low_segment
    };
    // Durable: the new epoch. Only now may anything behind the cut be removed or overwritten: until
    // here the damage can still be seen.
    MarkFile::create(dir, &mark)?;
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

/// Makes an empty segment above all others, durably, for a log whose lowest segment cannot go on;
/// returns its number.
fn begin_anew(dir: &Dir, listing: &Listing, mark: &Mark, size: u64) -> Result<u64> {
    let top = listing.segments.last().copied().unwrap_or(0);
    let number = top.max(mark.low_segment).saturating_add(1);
    let log_id = mark.log_id;
    let header = SegmentHeader {
        log_id,
        number,
        size,
    };
    let file = write_blank(dir, &header)?;
    // Durable: the new segment. Only now may the mark name it: the lowest segment must be complete.
    drop(file.sync_data()?);
    // Durable: its name. Only now may the mark name it: a missing segment is a loss.
    dir.sync()?;
    Ok(number)
}
