//! Truncating the end of a log ([format], section 7): how it is planned, written down and done.
//!
//! [format]: crate::format

use std::ops::Range;

use durable_io::{Dir, File};

use crate::directory_scan::{DirEntries, OpenedSegment, missing};
use crate::error::{Corruption, Error, Result};
use crate::frame::{GROUP_HEADER_SIZE, GroupHeader, Layout, align_group, place};
use crate::lsn::Lsn;
use crate::names;
use crate::reader::{Next, SegmentReader};
use crate::slot::{Superblock, TailTruncation};
use crate::source::Unreadable;
use crate::superblock::{SuperblockFile, superblock_lost};

/// How the segment of `reader`, which is at its beginning, is truncated so that `first_gone` is the
/// first record that is not in it.
pub(crate) fn plan(reader: &mut SegmentReader, first_gone: Lsn) -> Result<TailTruncation> {
    let segment = reader.identity().number;
    while reader.expected() != Some(first_gone) {
        match reader.look()? {
            Next::Some(group) if group.last_lsn() < first_gone => {
                reader.next_group()?;
                reader.skip_group();
            }
            Next::Some(group) => return shorten(reader, &group, first_gone),
            Next::Bad { offset, reason } => return Err(reader.identity().corrupt(offset, reason)),
            Next::End => return Err(ends_early(reader)),
        }
    }
    Ok(TailTruncation {
        segment,
        offset: reader.offset(),
        header: [0; GROUP_HEADER_SIZE],
    })
}

/// The truncation inside `group`, which comes next.
fn shorten(
    reader: &mut SegmentReader,
    group: &GroupHeader,
    first_gone: Lsn,
) -> Result<TailTruncation> {
    let offset = reader.offset();
    let records_at = offset + GROUP_HEADER_SIZE as u64;
    reader.next_group()?;
    while reader.expected() != Some(first_gone) {
        match reader.next_record()? {
            Next::Some(_) => {}
            Next::Bad { offset, reason } => return Err(reader.identity().corrupt(offset, reason)),
            Next::End => return Err(ends_early(reader)),
        }
    }
    let fits = |n: u64| u32::try_from(n).expect("less than the group has");
    let header = GroupHeader {
        bytes: fits(reader.offset() - records_at),
        count: fits(first_gone.0 - group.first_lsn.0),
        ..*group
    };
    let identity = reader.identity();
    let place = place(identity.log_id, identity.number, offset);
    Ok(TailTruncation {
        segment: identity.number,
        offset,
        header: header.encode(place, identity.layout),
    })
}

fn ends_early(reader: &SegmentReader) -> Error {
    reader
        .identity()
        .corrupt(reader.offset(), Corruption::Length)
}

/// For the header of a truncation, of which only the length and the records are read: they are at the same place in
/// every layout.
pub(crate) const ANY_LAYOUT: Layout = Layout::Timed { since: 0 };

/// Where the records end that `truncation` leaves in its segment, of log `log_id`.
pub(crate) fn end(truncation: &TailTruncation, log_id: u64) -> u64 {
    let place = place(log_id, truncation.segment, truncation.offset);
    match GroupHeader::decode(&truncation.header, place, u64::MAX, ANY_LAYOUT) {
        Some(header) => truncation.offset + GROUP_HEADER_SIZE as u64 + u64::from(header.bytes),
        None => truncation.offset,
    }
}

/// Writes the bytes `range` of `file` to where they are: where a file system copies on write, what is
/// written there before the next sync then has its space. A truncation that has begun is not to meet a full disk.
pub(crate) fn claim(file: &File, range: Range<u64>) -> durable_io::Result<()> {
    const CHUNK: u64 = 64 << 10;
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from((range.end - at).min(CHUNK)).expect("a chunk fits into memory");
        let mut bytes = vec![0; len];
        let len = file.read_at(&mut bytes, at)?;
        if len == 0 {
            break;
        }
        bytes.truncate(len);
        file.write_again_at(&bytes, at)?;
        at += len as u64;
    }
    Ok(())
}

/// Does what `truncation` says, as often as it takes; the superblock says so, durably. `used` is where the bytes
/// of `file`, its segment, end that are not zero, and `above` are the segments after it, ascending.
pub(crate) fn apply(
    dir: &Dir,
    truncation: &TailTruncation,
    log_id: u64,
    file: &File,
    used: u64,
    above: &[u64],
) -> durable_io::Result<()> {
    let end = end(truncation, log_id);
    // Without a header, what is there is zeroed below; or the segment ends there.
    if end > truncation.offset {
        file.write_all_at(&truncation.header, truncation.offset)?;
    }
    if used > end {
        file.write_zeros(end, used - end)?;
    }
    // Durable: the shorter segment. Only now may the superblock forget the truncation, and a group be written
    // after it: what was truncated must not come back there.
    drop(file.sync_data()?);
    for &number in above.iter().rev() {
        dir.remove(&names::segment(number))?;
        // Durable: the removal. Only now may the one below be removed, since a hole in the numbers is
        // a loss, and the superblock forget the truncation: the number is given again.
        dir.sync()?;
    }
    Ok(())
}

/// Finishes a truncation that a crash or an error interrupted, if the superblock in `file` says so; returns whether
/// it did, which changes what `entries` has listed. When `repairing`, a segment that is too short is
/// truncated all the same, and one that is missing, or cannot be opened, or of which not even the header can be
/// read, is left to the repair, which drops it with all after it.
///
/// # Errors
/// [`Error::Corrupt`] if the segment is missing or damaged; nothing was changed.
pub(crate) fn finish(
    dir: &Dir,
    entries: &DirEntries,
    file: &mut SuperblockFile,
    repairing: bool,
) -> Result<bool> {
    let superblock = file.current().clone();
    let Some(truncation) = superblock.truncation else {
        return Ok(false);
    };
    if !entries.segments.contains(&truncation.segment) {
        return if repairing {
            Ok(false)
        } else {
            Err(missing(dir, truncation.segment))
        };
    }
    let unreadable = if repairing {
        Unreadable::IsDamage
    } else {
        Unreadable::Fails
    };
    let of_log = (superblock.log_id, superblock.epochs);
    let mut opened = match OpenedSegment::open(dir, truncation.segment, of_log, unreadable) {
        Err(error) if repairing && error.is_unreadable() => return Ok(false),
        opened => opened?,
    };
    let end = end(&truncation, superblock.log_id);
    match opened.header {
        Ok(header) if end <= header.size => {}
        // The check of the slot holds, and yet no log can have written it.
        Ok(_) => return Err(superblock_lost(file.path())),
        Err((offset, bad)) if !repairing => return Err(opened.damaged(offset, bad)),
        Err(_) if opened.said.is_none() => return Ok(false),
        Err(_) => {}
    }
    let from = align_group(end);
    let used = opened.remainder(from)?.nonzero_end.unwrap_or(from);
    let above: Vec<u64> = entries
        .segments
        .iter()
        .copied()
        .filter(|&number| number > truncation.segment)
        .collect();
    // The superblock first: a killed process may have left it in the page cache only.
    file.settle()?;
    apply(
        dir,
        &truncation,
        superblock.log_id,
        &opened.file,
        used,
        &above,
    )?;
    file.seal(Superblock {
        truncation: None,
        newest: truncation.segment,
        ..superblock
    })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncation_ends_after_the_records_of_its_header() {
        let whole_groups = TailTruncation {
            segment: 2,
            offset: 128,
            header: [0; GROUP_HEADER_SIZE],
        };
        assert_eq!(end(&whole_groups, 7), 128);
        let header = GroupHeader {
            bytes: 21,
            count: 2,
            epoch: 1,
            first_lsn: Lsn(5),
            durable_lsn: Lsn(4),
            time: 0,
        };
        let inside = TailTruncation {
            header: header.encode(place(7, 2, 128), ANY_LAYOUT),
            ..whole_groups
        };
        assert_eq!(end(&inside, 7), 128 + 32 + 21);
    }
}
