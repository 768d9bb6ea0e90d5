//! Creating a log, and what a creation that was interrupted may leave ([format], section 8, step 1).
//!
//! [format]: crate::format

use std::sync::Arc;

use durable_io::engine::Progress;
use durable_io::{Dir, Disk};

use crate::clock::millis;
use crate::directory_scan::{DirEntries, OpenedSegment, log_id_of};
use crate::epochs::ANY_EPOCH;
use crate::epochs::Epochs;
use crate::error::Result;
use crate::frame::Layout;
use crate::lsn::Lsn;
use crate::names;

use crate::segment::{FIRST_GROUP, SegmentHeader, write_blank};
use crate::slot::Superblock;
use crate::source::Unreadable;
use crate::superblock::{SuperblockFile, superblock_lost};

/// How a log is opened, as far as recovery is concerned.
#[derive(Debug)]
pub(crate) struct How {
    /// The segment size that was asked for.
    pub(crate) segment_size: Option<u64>,
    /// That of a log that is created.
    pub(crate) new_size: u64,
    /// The first record of a log that is created.
    pub(crate) first_lsn: Lsn,
    /// A tail that no power loss leaves on a disk with atomic sectors is refused.
    pub(crate) suspects: bool,
    /// How far ahead of the appends a segment gets space and zeros.
    pub(crate) zero_step: u64,
    /// How many sealed segments are open at once.
    pub(crate) open_segments: usize,
    pub(crate) progress: Progress<(u64, u64)>,
}

/// Makes a log where there is no superblock: there never was a log, or its creation was interrupted.
pub(crate) fn create(disk: &Disk, dir: &Dir, how: &How) -> Result<()> {
    let first = how.first_lsn;
    // What a creation that was interrupted left: gone, with the sync below, before this one writes its superblock.
    DirEntries::read(dir)?.remove_temps(dir)?;
    let log_id = disk.unique_id()?;
    let since = millis(disk.unix_time());
    let header = SegmentHeader {
        log_id,
        number: 1,
        size: how.new_size,
        usual: how.new_size,
        layout: Layout::Timed { since },
    };
    let file = write_blank(dir, &header, how.zero_step)?;
    // Durable: the first segment. Only now may a superblock exist: recovery takes an incomplete active
    // segment beside a superblock for damage.
    drop(file.sync_data()?);
    // Durable: its name. Only now may a superblock exist: recovery takes a missing segment for a loss.
    dir.sync()?;
    let epochs = Epochs {
        current: 1,
        first_lsn: first,
        segment: 0,
    };
    let superblock = Superblock {
        log_id,
        durable: first.previous(),
        low_segment: 1,
        low: first,
        epochs,
        checkpoint: Lsn(0),
        truncation: None,
        newest: 1,
        time: since,
        note: Arc::from([]),
    };
    // Durable: the superblock, by both barriers of the procedure. Only now does the log exist, and a group
    // without a superblock is a loss of the superblock.
    Ok(SuperblockFile::create(dir, &superblock, 0)?)
}

/// Refuses a log that had a superblock.
pub(crate) fn check_no_superblock(dir: &Dir, entries: &DirEntries) -> Result<()> {
    for &number in &entries.segments {
        // The superblock is created before the first append and the second segment, so it was there.
        if number != 1 || holds_group(dir, number)? {
            return Err(superblock_lost(&dir.path().join(names::SUPERBLOCK)));
        }
    }
    Ok(())
}

fn holds_group(dir: &Dir, number: u64) -> Result<bool> {
    let Some(log_id) = log_id_of(dir, number)? else {
        return Ok(false);
    };
    let mut opened = OpenedSegment::open(dir, number, (log_id, ANY_EPOCH), Unreadable::Fails)?;
    Ok(opened.remainder(FIRST_GROUP)?.groups)
}
