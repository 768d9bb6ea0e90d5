//! Opening a log: what is whole, what is torn, what is damaged ([format], section 8).
//!
//! Reading comes first and decides; nothing is changed before the verdict.
//!
//! [format]: crate::format

use std::ops::Range;
use std::sync::Arc;

use durable_io::engine::{InvalidOption, Progress};
use durable_io::{Dir, Disk};

use crate::create::{How, check_no_superblock, create};
use crate::directory_scan::{DirEntries, DirectoryScan, OpenedSegment, scan_directory};
use crate::epochs::Epochs;
use crate::error::Result;
use crate::judge::{Judged, check_tail, judge};
use crate::log::Recovered;
use crate::lsn::Lsn;
use crate::names;
use crate::open_files::Segment;
use crate::preallocated::{PreallocatedSegment, Ready};
use crate::records::{Records, Snapshot};
use crate::replay::Replay;
use crate::segment::{FIRST_GROUP, SegmentHeader};
use crate::slot::Superblock;
use crate::source::Unreadable;
use crate::stats::{Recovery, Tail};
use crate::superblock::{SuperblockFile, superblock_lost};
use crate::truncate::remove_all;
use crate::truncate_end;

/// What there is of a log, and the verdict on it.
#[derive(Debug)]
pub(crate) struct Found {
    entries: DirEntries,
    superblock: SuperblockFile,
    scanned: DirectoryScan,
    judged: Judged,
}

impl Found {
    /// The first record, and the one after the last.
    pub(crate) fn bounds(&self) -> Range<Lsn> {
        self.superblock.current().low..self.judged.last.next()
    }

    /// What follows the last record.
    pub(crate) fn tail(&self) -> Tail {
        self.judged.tail()
    }

    /// The records from `from` on.
    pub(crate) fn records(&self, from: Lsn) -> Records {
        let bounds = self.bounds();
        let snapshot = Snapshot::at_open(self.superblock.current(), bounds.end);
        let from = from.max(bounds.start);
        let mut segments = retained(&self.scanned, &self.judged, self.superblock.current().low);
        let after = segments.partition_point(|segment| segment.first_lsn <= from);
        segments.drain(..after.saturating_sub(1));
        Records::new(snapshot, segments.into(), from)
    }
}

/// Looks at the log in `dir`, which is locked, judges it, and shows its records to `replay`. `None` if
/// there is none, or one whose creation was interrupted. Nothing is changed, but by the end of a truncation of
/// the log that was promised.
pub(crate) fn look(dir: &Dir, how: &How, replay: Option<&mut Replay<'_>>) -> Result<Option<Found>> {
    let mut entries = DirEntries::read(dir)?;
    let Some(mut superblock) = SuperblockFile::open(dir, Unreadable::Fails)? else {
        check_no_superblock(dir, &entries)?;
        return Ok(None);
    };
    if truncate_end::finish(dir, &entries, &mut superblock, false)? {
        entries = DirEntries::read(dir)?;
    }
    let scanned = scan_directory(dir, &entries, &superblock, how.open_segments, &how.progress)?;
    examine(entries, superblock, scanned, how, replay).map(Some)
}

/// The log that was just created in `dir`: there is nothing to be read.
fn look_at_new(dir: &Dir, how: &How) -> Result<Found> {
    let entries = DirEntries::read(dir)?;
    let superblock = SuperblockFile::open(dir, Unreadable::Fails)?
        .ok_or_else(|| superblock_lost(&dir.path().join(names::SUPERBLOCK)))?;
    let mut scanned = scan_directory(dir, &entries, &superblock, how.open_segments, &how.progress)?;
    scanned.active.is_new = true;
    examine(entries, superblock, scanned, how, None)
}

/// The verdict on what was surveyed.
fn examine(
    entries: DirEntries,
    superblock: SuperblockFile,
    mut scanned: DirectoryScan,
    how: &How,
    mut replay: Option<&mut Replay<'_>>,
) -> Result<Found> {
    if let Some(size) = how.segment_size.filter(|&size| size != scanned.usual) {
        return Err(InvalidOption {
            option: "segment_size",
            value: size,
            rule: "the log was created with segments of another size, in bytes, and keeps it: leave the option out",
        }
        .into());
    }
    if let Some(replay) = &mut replay {
        replay.begin(superblock.current());
        scanned.show_sealed(superblock.current(), replay)?;
    }
    let judged = judge(&mut scanned, &superblock, replay)?;
    if how.suspects {
        check_tail(&mut scanned.active, &judged, superblock.current())?;
    }
    Ok(Found {
        entries,
        superblock,
        scanned,
        judged,
    })
}

/// Makes what was `found` a log that is durable and ready to be written to; creates one if there was none.
pub(crate) fn settle(disk: &Disk, dir: &Dir, how: &How, found: Option<Found>) -> Result<Recovered> {
    let created = found.is_none();
    let Found {
        entries,
        mut superblock,
        mut scanned,
        judged,
    } = if let Some(mut found) = found {
        // Durable: the names as they were listed. Only now may they be relied on: a killed process
        // may have left a new segment, or a removed one, in the page cache only.
        dir.sync()?;
        found.superblock.settle()?;
        found
    } else {
        create(disk, dir, how)?;
        look_at_new(dir, how)?
    };
    let (removed_files, dead) = remove_dead(dir, &entries, superblock.current().low_segment);
    clean(&mut scanned, &judged, &mut superblock)?;
    let recovery = Recovery {
        tail: judged.tail(),
        records: judged
            .last
            .next()
            .0
            .saturating_sub(superblock.current().low.0),
        first_lsn: superblock.current().low,
        last_lsn: judged.last,
        durable_at_open: judged.last,
        durable_in_superblock: superblock.current().durable,
        note: superblock.current().note.to_vec(),
        removed_files,
        created,
        dropped: None,
        given_up: None,
        set_aside: Vec::new(),
    };
    let recovered = finish(dir, scanned, &judged, superblock, recovery);
    Ok(Recovered { dead, ..recovered })
}

/// What opening a log would do.
#[derive(Debug)]
pub(crate) enum Preview {
    /// There is none, or one whose creation was interrupted.
    Create,
    /// A truncation is to be finished first; what that leaves is not known before it is done.
    FinishTruncation,
    /// There is one, with these records.
    Recover { records: Range<Lsn>, tail: Tail },
}

/// What opening the log in `dir` would do, without doing it: nothing is changed.
///
/// # Errors
/// What opening it would say.
pub(crate) fn preview(dir: &Dir) -> Result<Preview> {
    let entries = DirEntries::read(dir)?;
    let Some(file) = SuperblockFile::open(dir, Unreadable::Fails)? else {
        check_no_superblock(dir, &entries)?;
        return Ok(Preview::Create);
    };
    if file.current().truncation.is_some() {
        return Ok(Preview::FinishTruncation);
    }
    let mut scanned = scan_directory(dir, &entries, &file, 0, &Progress::default())?;
    let judged = judge(&mut scanned, &file, None)?;
    Ok(Preview::Recover {
        records: file.current().low..judged.last.next(),
        tail: judged.tail(),
    })
}

/// Removes what the superblock has given up, and what replacements left; returns how many files went, and which
/// segments did not: they are in nobody's way.
fn remove_dead(dir: &Dir, entries: &DirEntries, low_segment: u64) -> (u64, Vec<u64>) {
    // No directory sync here: what comes back after a crash is removed by the next open.
    let dead = entries.segments.iter().copied();
    let dead: Vec<u64> = dead.take_while(|&number| number < low_segment).collect();
    let mut removed = dead.len() as u64;
    let left = remove_all(dir, dead);
    removed -= left.len() as u64;
    let temps = entries.temps.iter().filter(|name| dir.remove(name).is_ok());
    removed += temps.count() as u64;
    (
        removed,
        left.into_iter().map(|(number, _)| number).collect(),
    )
}

/// Makes durable what was read, and zeroes what follows the last group.
fn clean(
    scanned: &mut DirectoryScan,
    judged: &Judged,
    superblock: &mut SuperblockFile,
) -> Result<()> {
    write_again(&mut scanned.active, judged)?;
    // Durable: the records that were read, which a killed process may have left in the page cache
    // only. Only now may a superblock or a watermark claim them.
    drop(scanned.active.file.sync_data()?);
    if let Some(preallocated) = scanned.later.first() {
        // Written again for the same reason, before the sync below.
        preallocated
            .file
            .write_all_at(&preallocated.whole().encode(), 0)?;
    }
    for later in &scanned.later {
        // Durable: a whole segment, which a killed process may have left in the page cache only. Only
        // now may the next one be made: one that is not whole below another one is a loss.
        drop(later.file.sync_data()?);
    }
    let newest = scanned.later.first().unwrap_or(&scanned.active).number;
    let old = Superblock {
        newest: newest.max(superblock.current().newest),
        ..superblock.current().clone()
    };
    if judged.tail() == Tail::Clean {
        // Durable, by the barrier in it, unless the superblock says so: which segments are complete. Only now
        // may a group be written to them: the loss of a newest segment must be seen.
        superblock.seal(old)?;
    } else {
        let epochs = Epochs::begin(old.epochs.current, judged.last, scanned.active.number)?;
        // Durable, by the barrier in it: a new epoch. Only now may the tail be zeroed: if the sync of
        // the zeros fails, the next open may see them in the page cache although the disk has groups
        // there, which must not follow a new one.
        superblock.seal(Superblock {
            durable: judged.last,
            epochs,
            ..old
        })?;
        zero(&scanned.active, judged.end, judged.nonzero_end)?;
        for (later, found) in scanned.later.iter().zip(&judged.later) {
            zero(later, FIRST_GROUP, found.nonzero_end)?;
        }
    }
    Ok(())
}

/// Zeroes a segment from byte `from` on to `end`, if it is not zero there.
fn zero(segment: &OpenedSegment, from: u64, end: Option<u64>) -> Result<()> {
    if let Some(end) = end {
        segment.file.write_zeros(from, end - from)?;
        // Durable: zeros. Only now may a group be written there: where sectors are atomic, it is taken
        // for damaged rather than torn if none of them shows what was there before.
        drop(segment.file.sync_data()?);
    }
    Ok(())
}

/// Writes the groups again that nothing proves durable. A sync is not enough: one that failed in an
/// earlier process may have left pages that show what the disk does not have and count as written.
fn write_again(active: &mut OpenedSegment, judged: &Judged) -> Result<()> {
    let Some(from) = judged.unproven else {
        return Ok(());
    };
    let (_, source) = active.reader.parts();
    Ok(source.copy_to(&active.file, from..judged.end)?)
}

/// The retained segments, ascending; the last one is the active one.
fn retained(scanned: &DirectoryScan, judged: &Judged, low: Lsn) -> Vec<Arc<Segment>> {
    let active = &scanned.active;
    let first_lsn = match active.first_lsn() {
        _ if judged.end == FIRST_GROUP => judged.last.next(),
        Some(first_lsn) => first_lsn,
        // The first group is damaged, and the first retained record follows it; so the segment
        // begins at least one record before that, and whoever reads all of it meets the damage.
        None => low.previous(),
    };
    let file = active.file.clone();
    let active = Segment::active(&scanned.files, active.whole(), first_lsn, file);
    active.has_newest(judged.time);
    let sealed = scanned.sealed.iter().rev().cloned();
    sealed.chain([active]).collect()
}

fn finish(
    dir: &Dir,
    scanned: DirectoryScan,
    judged: &Judged,
    superblock: SuperblockFile,
    recovery: Recovery,
) -> Recovered {
    let segments = retained(&scanned, judged, superblock.current().low);
    let active = segments.last().cloned();
    let active = active.expect("the active segment is retained");
    let DirectoryScan {
        later,
        incomplete,
        usual,
        time,
        ..
    } = scanned;
    let top = later.first().map_or(active.number, |top| top.number);
    let header = SegmentHeader {
        number: incomplete.unwrap_or(top + 1),
        size: usual,
        usual,
        ..active.header
    };
    let found = later.into_iter().rev();
    let found = found.map(|later| Ready::found(later.file.clone(), later.whole()));
    let preallocated = PreallocatedSegment::absent(dir.clone(), header, found.collect());
    let &Superblock {
        log_id,
        low,
        epochs,
        ..
    } = superblock.current();
    Recovered {
        log_id,
        epochs,
        segment_size: usual,
        time: time.max(judged.begun).max(superblock.current().time),
        segments,
        active,
        offset: judged.end,
        low,
        next: judged.last.next(),
        preallocated,
        superblock,
        recovery,
        dead: Vec::new(),
    }
}
