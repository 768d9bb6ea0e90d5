//! Mending and cutting a damaged log ([format], section 9).
//!
//! Everything is read, from the first retained segment on; what cannot be read is damage. What is wrong
//! where no record is, a file cut short or bytes that should be zero, is mended: a whole copy replaces it. At
//! the first damage the log is cut: a mark with a new epoch, which begins at the cut, makes everything behind
//! it stale, whatever is still there. What follows is the ordinary recovery. So a crash inside a repair leaves
//! the old log, still damaged, or the cut one; segments that could not be removed yet are found by the
//! next repair.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::Progress;
use durable_io::{Dir, replace_file_with};

use crate::cut::finish;
use crate::error::{Corruption, Error, Result};
use crate::frame::{Epochs, Layout};
use crate::limits::MAX_SEGMENT_SIZE;
use crate::lsn::Lsn;
use crate::mark::MarkFile;
use crate::names;
use crate::scan;
use crate::segment::{FIRST_GROUP, SegmentHeader, write_blank};
use crate::slot::Mark;
use crate::source::{Source, Unreadable};
use crate::survey::{ANY_EPOCH, Listing, Loaded, log_id_of};
use crate::walk::Walk;

/// What a repair took from a log.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// The records behind the cut, as far as they are known; `None` if nothing had to be cut.
    pub(crate) dropped: Option<Range<Lsn>>,
    /// The records up to the checkpoint, if one of them is damaged.
    pub(crate) given_up: Option<Range<Lsn>>,
    /// The files that keep what was in the segments that went.
    pub(crate) set_aside: Vec<String>,
}

/// Cuts the log in `dir`, which is locked, at its first damage behind the checkpoint, and gives up what is
/// before the checkpoint if that is damaged. `size` is for a new segment if no header tells the log's
/// segment size.
pub(crate) fn repair(
    dir: &Dir,
    size: u64,
    zero_step: u64,
    progress: &Progress<(u64, u64)>,
) -> Result<Repaired> {
    let mut listing = Listing::read(dir)?;
    let found = match MarkFile::open(dir, Unreadable::IsDamage) {
        Ok(Some(mut file)) => {
            if finish(dir, &listing, &mut file, true)? {
                listing = Listing::read(dir)?;
            }
            Some(Basis {
                mark: file.mark().clone(),
                epoch: file.mark().epochs.current,
                sequence: file.sequence(),
                is_lost: !file.is_readable(),
            })
        }
        Ok(None) => rebuild(dir, &listing)?,
        Err(Error::Corrupt {
            reason: Corruption::MarkLost,
            ..
        }) => match rebuild(dir, &listing)? {
            None => return clear(dir, &listing, true),
            rebuilt => rebuilt,
        },
        Err(error) => return Err(error),
    };
    let Some(mut basis) = found else {
        // Segment 1 alone is a creation that was cut short.
        if listing.segments.iter().any(|&number| number > 1) {
            return clear(dir, &listing, false);
        }
        return Ok(Repaired::default());
    };
    let mut walk = Walk::of(dir, &listing, &basis.mark, progress)?;
    let mut repaired = Repaired::default();
    let lowest = basis.mark.low_segment;
    if walk.last < basis.mark.checkpoint {
        let low = basis.mark.low;
        basis.mark = behind_checkpoint(dir, &listing, &basis.mark)?;
        repaired.given_up = Some(low..basis.mark.low);
        walk = Walk::of(dir, &listing, &basis.mark, progress)?;
    }
    remove_left_overs(dir, &listing)?;
    for mend in &walk.mends {
        mend.apply(dir)?;
    }
    let is_cut = basis.is_lost || walk.is_damaged(&basis.mark);
    if is_cut || repaired.given_up.is_some() {
        let new = (walk.usual.unwrap_or(size), zero_step);
        repaired.set_aside = set_aside(dir, &listing, &basis, &walk, lowest)?;
        let dropped = cut(dir, &listing, &basis, &walk, new)?;
        repaired.dropped = is_cut.then_some(dropped);
    }
    Ok(repaired)
}

/// `mark`, with all records up to the checkpoint given up: they are applied elsewhere, and those behind it
/// are not, so damage of the former is no reason to lose the latter.
fn behind_checkpoint(dir: &Dir, listing: &Listing, mark: &Mark) -> Result<Mark> {
    let low = mark.checkpoint.next();
    let of_log = (mark.log_id, mark.epochs);
    let numbers = listing.segments.iter().rev().copied();
    let mut low_segment = mark.low_segment;
    for number in numbers.take_while(|&number| number >= mark.low_segment) {
        let mut loaded = match Loaded::open(dir, number, of_log, Unreadable::IsDamage) {
            Err(error) if error.is_unreadable() => continue,
            loaded => loaded?,
        };
        if loaded.said.is_some() && scan::pass_over(&mut loaded.reader, low)? {
            low_segment = number;
            break;
        }
    }
    Ok(Mark {
        low_segment,
        low,
        ..mark.clone()
    })
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
fn clear(dir: &Dir, listing: &Listing, has_mark: bool) -> Result<Repaired> {
    for &number in &listing.segments {
        dir.remove(&names::segment(number))?;
    }
    if has_mark {
        dir.remove(names::MARK)?;
    }
    Ok(Repaired {
        dropped: Some(Lsn(1)..Lsn(1)),
        ..Repaired::default()
    })
}

/// What a repair starts from.
#[derive(Debug)]
struct Basis {
    mark: Mark,
    /// The highest epoch so far.
    epoch: u32,
    /// The sequence of the newest slot; 0 if none can be read.
    sequence: u64,
    /// The mark was made up from the segments, or a part of it cannot be read.
    is_lost: bool,
}

impl Basis {
    /// The highest epoch that anything in the log has.
    fn highest_epoch(&self, walk: &Walk) -> u32 {
        self.epoch.max(walk.behind.epoch)
    }
}

/// The mark, and true; or one made up if it cannot be read, and false; `None` if nothing can be.
pub(crate) fn mark_or_guess(dir: &Dir, listing: &Listing) -> Result<Option<(Mark, bool)>> {
    match MarkFile::open(dir, Unreadable::IsDamage) {
        Ok(Some(file)) => Ok(Some((file.mark().clone(), true))),
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
        let log_id = match log_id_of(dir, number) {
            Err(error) if error.is_unreadable() => continue,
            log_id => log_id?,
        };
        let Some(log_id) = log_id else { continue };
        let of_log = (log_id, ANY_EPOCH);
        let mut loaded = Loaded::open(dir, number, of_log, Unreadable::IsDamage)?;
        if let (None, Some(_), Some(low)) = (&lowest, loaded.said, loaded.first_lsn()) {
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
                time: 0,
                note: Arc::from([]),
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

/// Gives what is in the segments from `lowest` on that will go, wholly or behind the cut, to files of other
/// names, which are the user's; returns those. Until there is a new mark the log stays damaged.
fn set_aside(
    dir: &Dir,
    listing: &Listing,
    basis: &Basis,
    walk: &Walk,
    lowest: u64,
) -> Result<Vec<String>> {
    let mark = &basis.mark;
    let epoch = basis.highest_epoch(walk).saturating_add(1);
    let mut names = Vec::new();
    for &number in listing.segments.iter().filter(|&&number| number >= lowest) {
        match dir.open(&names::segment(number)) {
            Err(error) if error.is_unreadable() => {}
            // Durable: the damage, as it was read. Only now may anything be set aside for it: a power loss
            // that took it back would leave a log that lacks what is aside, and nothing else.
            file => drop(file?.sync_data()?),
        }
    }
    for &number in listing.segments.iter().rev() {
        let is_kept = walk
            .keep
            .is_some_and(|keep| (mark.low_segment..keep).contains(&number));
        let is_cut = walk.keep == Some(number);
        let is_empty = walk.empty.contains(&number) || is_cut && walk.behind.nonzero_end.is_none();
        if number < lowest || is_kept || is_empty {
            continue;
        }
        let name = names::segment(number);
        let aside = names::aside(number, epoch);
        // Its loss is seen, so it may go before the mark says that it went; of others only a copy does.
        let is_missed = number <= mark.newest || basis.sequence == 0;
        if is_missed && !is_cut {
            dir.rename(&name, &aside)?;
        } else if !copy(dir, &name, &aside)? {
            continue;
        }
        names.push(aside);
    }
    // Redundant: no record that is kept relies on it. But if a power loss brought the names back beside the new
    // mark, the next open would zero what is in them.
    dir.sync()?;
    Ok(names)
}

/// Copies the file `name`, as far as it can be read, to `aside`; false if there is nothing in it.
fn copy(dir: &Dir, name: &str, aside: &str) -> Result<bool> {
    let file = match dir.open(name) {
        Err(error) if error.is_unreadable() => return Ok(false),
        file => file?,
    };
    let len = file.len()?.min(MAX_SEGMENT_SIZE);
    let mut source = Source::new(file, len, Unreadable::IsDamage);
    // Redundant: as above, of its bytes and its name.
    replace_file_with(dir, aside, |copy| {
        copy.set_len(len)?;
        source.copy_to(copy, 0..len)
    })?;
    Ok(true)
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
    let epochs = Epochs::begin(basis.highest_epoch(walk), last, keep.unwrap_or(0))?;
    let mut mark = Mark {
        durable: last,
        epochs,
        checkpoint: basis.mark.checkpoint.min(last),
        // One that could not be finished: what it was to cut is behind this one.
        cut: None,
        ..basis.mark.clone()
    };
    let keep = if let Some(keep) = keep {
        keep
    } else {
        mark.low_segment = begin_anew(dir, listing, &mark, new)?;
        mark.low_segment
    };
    mark.newest = keep;
    // Redundant: the recovery that follows makes the new epoch durable, bytes and name of the mark, before it
    // zeroes or removes anything, and the old mark tells that what was set aside is missing. But of segments
    // that the old one does not name, which go right below, nothing else would.
    MarkFile::create(dir, &mark, basis.sequence)?;
    // From the top, so that what a crash leaves has no hole if the file system keeps the order. The
    // recovery that follows makes the removals durable before a name is used again.
    let left = Listing::read(dir)?.segments.into_iter().rev();
    for number in left.take_while(|&number| number > keep) {
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
        usual: size,
        layout: Layout::Timed { since: mark.time },
    };
    let file = write_blank(dir, &header, zero_step)?;
    // Redundant: if a crash left the mark without it, the log would be damaged as before, without a
    // record, and the next repair would make another one. It spares the user that repair.
    drop(file.sync_data()?);
    // Redundant: as above, for the name.
    dir.sync()?;
    Ok(number)
}
