//! Mending and truncating a damaged log ([format], section 9).
//!
//! Everything is read, from the first retained segment on; what cannot be read is damage. What is wrong
//! where no record is, a file that is too short or bytes that should be zero, is mended: a whole copy replaces it. At
//! the first damage the log is truncated: a superblock with a new epoch, which begins at the new end, makes
//! everything after it stale, whatever is still there. What follows is the ordinary recovery. So a crash
//! inside a repair leaves the old log, still damaged, or the truncated one; segments that could not be
//! removed yet are found by the next repair.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::Progress;
use durable_io::{Dir, replace_file_with};

use crate::directory_scan::{DirEntries, OpenedSegment, log_id_of};
use crate::epochs::ANY_EPOCH;
use crate::epochs::Epochs;
use crate::error::{Corruption, Error, Result};
use crate::frame::Layout;
use crate::limits::MAX_SEGMENT_SIZE;
use crate::lsn::Lsn;
use crate::names;
use crate::scan;
use crate::segment::{FIRST_GROUP, SegmentHeader, write_blank};
use crate::slot::Superblock;
use crate::source::{Source, Unreadable};
use crate::superblock::SuperblockFile;
use crate::truncate_end::finish;
use crate::walk::Walk;

/// What a repair took from a log.
#[derive(Debug, Default)]
pub(crate) struct Repaired {
    /// The records after the new end, as far as they are known; `None` if nothing had to be truncated.
    pub(crate) dropped: Option<Range<Lsn>>,
    /// The records up to the checkpoint, if one of them is damaged.
    pub(crate) given_up: Option<Range<Lsn>>,
    /// The files that keep what was in the segments that were removed.
    pub(crate) set_aside: Vec<String>,
}

/// Truncates the log in `dir`, which is locked, at its first damage after the checkpoint, and gives up what is
/// before the checkpoint if that is damaged. `size` is for a new segment if no header says the log's
/// segment size.
pub(crate) fn repair(
    dir: &Dir,
    size: u64,
    zero_step: u64,
    progress: &Progress<(u64, u64)>,
) -> Result<Repaired> {
    let mut entries = DirEntries::read(dir)?;
    let found = match SuperblockFile::open(dir, Unreadable::IsDamage) {
        Ok(Some(mut file)) => {
            if finish(dir, &entries, &mut file, true)? {
                entries = DirEntries::read(dir)?;
            }
            Some(Basis {
                superblock: file.current().clone(),
                epoch: file.current().epochs.current,
                sequence: file.sequence(),
                is_lost: !file.is_readable(),
            })
        }
        Ok(None) => rebuild(dir, &entries)?,
        Err(Error::Corrupt {
            reason: Corruption::SuperblockLost,
            ..
        }) => match rebuild(dir, &entries)? {
            None => return clear(dir, &entries, true),
            rebuilt => rebuilt,
        },
        Err(error) => return Err(error),
    };
    let Some(mut basis) = found else {
        // Segment 1 alone is a creation that was interrupted.
        if entries.segments.iter().any(|&number| number > 1) {
            return clear(dir, &entries, false);
        }
        return Ok(Repaired::default());
    };
    let mut walk = Walk::of(dir, &entries, &basis.superblock, progress)?;
    let mut repaired = Repaired::default();
    let lowest = basis.superblock.low_segment;
    if walk.last < basis.superblock.checkpoint {
        let low = basis.superblock.low;
        basis.superblock = after_checkpoint(dir, &entries, &basis.superblock)?;
        repaired.given_up = Some(low..basis.superblock.low);
        walk = Walk::of(dir, &entries, &basis.superblock, progress)?;
    }
    remove_left_overs(dir, &entries)?;
    for mend in &walk.mends {
        mend.apply(dir)?;
    }
    let ends_early = basis.is_lost || walk.is_damaged(&basis.superblock);
    if ends_early || repaired.given_up.is_some() {
        let new = (walk.usual.unwrap_or(size), zero_step);
        repaired.set_aside = set_aside(dir, &entries, &basis, &walk, lowest)?;
        let dropped = truncate_at(dir, &entries, &basis, &walk, new)?;
        repaired.dropped = ends_early.then_some(dropped);
    }
    Ok(repaired)
}

/// `superblock`, with all records up to the checkpoint given up: they are applied elsewhere, and those after it
/// are not, so damage of the former is no reason to lose the latter.
fn after_checkpoint(
    dir: &Dir,
    entries: &DirEntries,
    superblock: &Superblock,
) -> Result<Superblock> {
    let low = superblock.checkpoint.next();
    let of_log = (superblock.log_id, superblock.epochs);
    let numbers = entries.segments.iter().rev().copied();
    let mut low_segment = superblock.low_segment;
    for number in numbers.take_while(|&number| number >= superblock.low_segment) {
        let mut opened = match OpenedSegment::open(dir, number, of_log, Unreadable::IsDamage) {
            Err(error) if error.is_unreadable() => continue,
            opened => opened?,
        };
        if opened.said.is_some() && scan::pass_over(&mut opened.reader, low)? {
            low_segment = number;
            break;
        }
    }
    Ok(Superblock {
        low_segment,
        low,
        ..superblock.clone()
    })
}

/// Removes what repairs that were interrupted left, before this one makes anything of its own.
fn remove_left_overs(dir: &Dir, entries: &DirEntries) -> Result<()> {
    if entries.remove_temps(dir)? > 0 {
        // Redundant: nothing relies on it. But without it what one repair after the other leaves, if each is
        // interrupted, would pile up.
        dir.sync()?;
    }
    Ok(())
}

/// Removes what is left of a log of which no record is left, and no superblock that would say where it
/// was: the recovery creates a new one. Until the last name is gone, a crash leaves a lost superblock.
fn clear(dir: &Dir, entries: &DirEntries, has_superblock: bool) -> Result<Repaired> {
    for &number in &entries.segments {
        dir.remove(&names::segment(number))?;
    }
    if has_superblock {
        dir.remove(names::SUPERBLOCK)?;
    }
    Ok(Repaired {
        dropped: Some(Lsn(1)..Lsn(1)),
        ..Repaired::default()
    })
}

/// What a repair starts from.
#[derive(Debug)]
struct Basis {
    superblock: Superblock,
    /// The highest epoch so far.
    epoch: u32,
    /// The sequence of the newest slot; 0 if none can be read.
    sequence: u64,
    /// The superblock was made up from the segments, or a part of it cannot be read.
    is_lost: bool,
}

impl Basis {
    /// The highest epoch that anything in the log has.
    fn highest_epoch(&self, walk: &Walk) -> u32 {
        self.epoch.max(walk.remainder.epoch)
    }
}

/// The superblock, and true; or one made up if it cannot be read, and false; `None` if nothing can be.
pub(crate) fn superblock_or_guess(
    dir: &Dir,
    entries: &DirEntries,
) -> Result<Option<(Superblock, bool)>> {
    match SuperblockFile::open(dir, Unreadable::IsDamage) {
        Ok(Some(file)) => Ok(Some((file.current().clone(), true))),
        Ok(None) | Err(Error::Corrupt { .. }) => {
            Ok(rebuild(dir, entries)?.map(|basis| (basis.superblock, false)))
        }
        Err(error) => Err(error),
    }
}

/// A superblock made from what the segments say; `None` if none holds a group.
fn rebuild(dir: &Dir, entries: &DirEntries) -> Result<Option<Basis>> {
    let mut epoch = 0;
    let mut lowest: Option<Superblock> = None;
    for &number in &entries.segments {
        let log_id = match log_id_of(dir, number) {
            Err(error) if error.is_unreadable() => continue,
            log_id => log_id?,
        };
        let Some(log_id) = log_id else { continue };
        let of_log = (log_id, ANY_EPOCH);
        let mut opened = OpenedSegment::open(dir, number, of_log, Unreadable::IsDamage)?;
        if let (None, Some(_), Some(low)) = (&lowest, opened.said, opened.first_lsn()) {
            let durable = low.previous();
            lowest = Some(Superblock {
                log_id,
                durable,
                low_segment: number,
                low,
                epochs: ANY_EPOCH,
                checkpoint: Lsn(0),
                truncation: None,
                newest: 0,
                time: 0,
                note: Arc::from([]),
            });
        }
        epoch = epoch.max(opened.remainder(FIRST_GROUP)?.epoch);
    }
    Ok(lowest.map(|superblock| Basis {
        superblock,
        epoch,
        sequence: 0,
        is_lost: true,
    }))
}

/// Gives what is in the segments from `lowest` on that will go, wholly or after the new end, to files of other
/// names, which are the user's; returns those. Until there is a new superblock the log stays damaged.
fn set_aside(
    dir: &Dir,
    entries: &DirEntries,
    basis: &Basis,
    walk: &Walk,
    lowest: u64,
) -> Result<Vec<String>> {
    let superblock = &basis.superblock;
    let epoch = basis.highest_epoch(walk).saturating_add(1);
    let mut names = Vec::new();
    for &number in entries.segments.iter().filter(|&&number| number >= lowest) {
        match dir.open(&names::segment(number)) {
            Err(error) if error.is_unreadable() => {}
            // Durable: the damage, as it was read. Only now may anything be set aside for it: a power loss
            // that took it back would leave a log that lacks what is aside, and nothing else.
            file => drop(file?.sync_data()?),
        }
    }
    for &number in entries.segments.iter().rev() {
        let is_kept = walk
            .keep
            .is_some_and(|keep| (superblock.low_segment..keep).contains(&number));
        let is_last = walk.keep == Some(number);
        let is_empty =
            walk.empty.contains(&number) || is_last && walk.remainder.nonzero_end.is_none();
        if number < lowest || is_kept || is_empty {
            continue;
        }
        let name = names::segment(number);
        let aside = names::aside(number, epoch);
        // Its loss is seen, so it may go before the superblock says that it went; of others only a copy does.
        let is_missed = number <= superblock.newest || basis.sequence == 0;
        if is_missed && !is_last {
            dir.rename(&name, &aside)?;
        } else if !copy(dir, &name, &aside)? {
            continue;
        }
        names.push(aside);
    }
    // Redundant: no record that is kept relies on it. But if a power loss brought the names back beside the new
    // superblock, the next open would zero what is in them.
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
fn truncate_at(
    dir: &Dir,
    entries: &DirEntries,
    basis: &Basis,
    walk: &Walk,
    new: (u64, u64),
) -> Result<Range<Lsn>> {
    let low = basis.superblock.low;
    let is_usable = walk.last >= low.previous();
    let last = walk.last.max(low.previous());
    let keep = walk.keep.filter(|_| is_usable);
    let epochs = Epochs::begin(basis.highest_epoch(walk), last, keep.unwrap_or(0))?;
    let mut superblock = Superblock {
        durable: last,
        epochs,
        checkpoint: basis.superblock.checkpoint.min(last),
        // One that could not be finished: what it was to remove is after this one.
        truncation: None,
        ..basis.superblock.clone()
    };
    let keep = if let Some(keep) = keep {
        keep
    } else {
        superblock.low_segment = begin_anew(dir, entries, &superblock, new)?;
        superblock.low_segment
    };
    superblock.newest = keep;
    // Redundant: the recovery that follows makes the new epoch durable, bytes and name of the superblock, before it
    // zeroes or removes anything, and the old superblock tells that what was set aside is missing. But of segments
    // that the old one does not name, which go right below, nothing else would.
    SuperblockFile::create(dir, &superblock, basis.sequence)?;
    // From the top, so that what a crash leaves has no hole if the file system keeps the order. The
    // recovery that follows makes the removals durable before a name is used again.
    let left = DirEntries::read(dir)?.segments.into_iter().rev();
    for number in left.take_while(|&number| number > keep) {
        dir.remove(&names::segment(number))?;
    }
    let known = walk
        .remainder
        .last
        .max(walk.remainder.durable)
        .max(basis.superblock.durable);
    Ok(last.next()..known.max(last).next())
}

/// Makes an empty segment above all others, for a log whose lowest segment cannot continue; returns its
/// number.
fn begin_anew(
    dir: &Dir,
    entries: &DirEntries,
    superblock: &Superblock,
    new: (u64, u64),
) -> Result<u64> {
    let (size, zero_step) = new;
    let top = entries.segments.last().copied().unwrap_or(0);
    let number = top.max(superblock.low_segment).saturating_add(1);
    let log_id = superblock.log_id;
    let header = SegmentHeader {
        log_id,
        number,
        size,
        usual: size,
        layout: Layout::Timed {
            since: superblock.time,
        },
    };
    let file = write_blank(dir, &header, zero_step)?;
    // Redundant: if a crash left the superblock without it, the log would be damaged as before, without a
    // record, and the next repair would make another one. It spares the user that repair.
    drop(file.sync_data()?);
    // Redundant: as above, for the name.
    dir.sync()?;
    Ok(number)
}
