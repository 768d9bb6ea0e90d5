//! Which segments a log has and since when: to give up what is too much or too old, and to find what was
//! written at some time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::frame::Layout;
use crate::log::Log;
use crate::lsn::Lsn;
use crate::open_files::Segment;
use crate::reader::Next;
use crate::records::{Snapshot, enter_group};
use crate::scan;
use crate::wal::Wal;

/// A retained segment, as [`Wal::segments`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The positions of its retained records.
    pub lsns: Range<Lsn>,
    /// Bytes of its file, which the newest one has not all used.
    pub bytes: u64,
    /// When its newest group was written, since the Unix epoch; `None` if there is none, or if the segment was
    /// made by a version of this crate that wrote no times.
    pub newest: Option<Duration>,
}

impl Wal {
    /// The retained segments, from the oldest on; the last one is being written.
    ///
    /// Times are those of the log's disk ([`Disk::unix_time`](crate::Disk::unix_time)), to a millisecond, one
    /// for each group. They never decrease from record to record, whatever the machine's clock does.
    ///
    /// # Cost
    /// For each sealed segment of an earlier handle, once, that of finding its last record ([`Wal::records`]).
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt), [`Error::Disk`](crate::Error::Disk) if the last group of a
    /// segment cannot be read; [`Error::Truncated`](crate::Error::Truncated) if the log was truncated
    /// meanwhile.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let held = self.log.held()?;
        let info = |at: usize| {
            Ok(SegmentInfo {
                lsns: held.lsns(at),
                bytes: held.segment(at).header.size,
                newest: held.newest(at)?.map(Duration::from_millis),
            })
        };
        (0..held.segments.len()).map(info).collect()
    }

    /// Gives up the oldest segments until the files of those that stay have no more than `bytes` bytes, and
    /// returns the first position that is left. The segment that is being written stays, whatever its size.
    /// What was not applied elsewhere yet is removed, too.
    ///
    /// # Durability
    /// As [`truncate_before`](Wal::truncate_before).
    ///
    /// # Errors
    /// As [`truncate_before`](Wal::truncate_before).
    pub fn retain_bytes(&self, bytes: u64) -> Result<Lsn> {
        let held = self.log.held()?;
        let sizes = held.segments.iter().map(|segment| segment.header.size);
        let first = first_within(&sizes.collect::<Vec<_>>(), bytes);
        self.retain_from(&held, first)
    }

    /// Gives up the segments in which every group was written before `time`, since the Unix epoch, and returns
    /// the first position that is left. The segment that is being written stays: [`rotate`](Wal::rotate)
    /// before, to be able to give up all that is old. What was not applied elsewhere yet is removed, too. A segment
    /// without times is removed only together with a later one.
    ///
    /// # Durability
    /// As [`truncate_before`](Wal::truncate_before).
    ///
    /// # Cost
    /// As [`truncate_before`](Wal::truncate_before); and as [`segments`](Wal::segments), for some of them: a
    /// binary search.
    ///
    /// # Errors
    /// As [`truncate_before`](Wal::truncate_before), and [`segments`](Wal::segments).
    pub fn retain_since(&self, time: Duration) -> Result<Lsn> {
        let held = self.log.held()?;
        let first = held.first_since(time)?;
        let first = if first == held.untimed() { 0 } else { first };
        self.retain_from(&held, first)
    }

    fn retain_from(&self, held: &Held, first: usize) -> Result<Lsn> {
        let first = first.min(held.segments.len() - 1);
        self.truncate_before(held.lsns(first).start)?;
        Ok(self.bounds().start)
    }

    /// The first retained record that was written at `time`, since the Unix epoch, or later; the end of the log
    /// if there is none. Records without times are taken for older than all others.
    ///
    /// # Cost
    /// A binary search among the segments, as [`segments`](Wal::segments), and at most 64 KiB read in one.
    ///
    /// # Errors
    /// As [`segments`](Wal::segments).
    pub fn first_since(&self, time: Duration) -> Result<Lsn> {
        let held = self.log.held()?;
        let at = held.first_since(time)?;
        if at == held.segments.len() {
            return Ok(held.snapshot.end);
        }
        let found = held.first_in(at, time);
        held.snapshot.check_not_truncated()?;
        found
    }
}

/// The first of segments of these `sizes`, the oldest first, that stays if they may have `most` bytes.
fn first_within(sizes: &[u64], most: u64) -> usize {
    let mut left = most;
    let stay = sizes.iter().rev().take_while(|&&size| {
        let rest = left.checked_sub(size);
        left = rest.unwrap_or(left);
        rest.is_some()
    });
    sizes.len() - stay.count()
}

/// The retained segments at some time.
struct Held {
    snapshot: Snapshot,
    segments: Vec<Arc<Segment>>,
}

impl Log {
    fn held(&self) -> Result<Held> {
        let view = self.view();
        let held = Held {
            snapshot: self.snapshot(&view, self.end_of(&view)),
            segments: view.segments.clone(),
        };
        drop(view);
        held.snapshot.check_not_truncated()?;
        Ok(held)
    }
}

impl Held {
    fn segment(&self, at: usize) -> &Arc<Segment> {
        self.segments.get(at).expect("one of them")
    }

    /// The record after those of segment `at`.
    fn after(&self, at: usize) -> Lsn {
        let next = self.segments.get(at + 1);
        next.map_or(self.snapshot.end, |next| {
            next.first_lsn.min(self.snapshot.end)
        })
    }

    fn lsns(&self, at: usize) -> Range<Lsn> {
        let first = self.segment(at).first_lsn.max(self.snapshot.low);
        first.min(self.after(at))..self.after(at)
    }

    /// How many of them have no times: they are the oldest.
    fn untimed(&self) -> usize {
        let is_untimed = |segment: &Arc<Segment>| segment.header.layout == Layout::Plain;
        self.segments.partition_point(is_untimed)
    }

    /// When the newest group of segment `at` was written, in milliseconds.
    fn newest(&self, at: usize) -> Result<Option<u64>> {
        let segment = self.segment(at);
        let after = self.after(at);
        let is_known = segment.newest().is_some() || segment.header.layout == Layout::Plain;
        if is_known || after <= segment.first_lsn {
            return Ok(segment.newest());
        }
        let found = self.last_time(segment, after);
        self.snapshot.check_not_truncated()?;
        segment.has_newest(found?);
        Ok(segment.newest())
    }

    fn last_time(&self, segment: &Arc<Segment>, after: Lsn) -> Result<u64> {
        let last = after.previous();
        let mut reader = self.snapshot.retained(segment, last, after)?;
        enter_group(&mut reader, after, last)?;
        Ok(reader.time())
    }

    /// The first segment with a group that was written at `time` or later; how many there are if none has.
    fn first_since(&self, time: Duration) -> Result<usize> {
        let (mut low, mut high) = (self.untimed(), self.segments.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let newest = self.newest(middle)?.map(Duration::from_millis);
            if newest.is_some_and(|newest| newest >= time) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }

    /// The first record of segment `at`, which has one, that was written at `time` or later.
    fn first_in(&self, at: usize, time: Duration) -> Result<Lsn> {
        let lsns = self.lsns(at);
        let mut reader = self
            .snapshot
            .retained(self.segment(at), lsns.start, lsns.end)?;
        scan::seek_time(&mut reader, lsns.clone(), time)?;
        while reader.expected().is_none_or(|next| next < lsns.end) {
            match reader.next_group()? {
                Next::Some(group) if Duration::from_millis(group.time) >= time => {
                    return Ok(group.first_lsn.max(lsns.start));
                }
                Next::Some(_) => reader.skip_group(),
                Next::Bad { offset, reason } => {
                    return Err(reader.identity().corrupt(offset, reason));
                }
                Next::End => break,
            }
        }
        Ok(lsns.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_segments_stay_as_far_as_they_fit() {
        let sizes = [8, 1, 2, 4];
        for (most, first) in [(0, 4), (3, 4), (4, 3), (6, 2), (7, 1), (14, 1), (15, 0)] {
            assert_eq!(first_within(&sizes, most), first, "{most} bytes");
        }
    }
}
