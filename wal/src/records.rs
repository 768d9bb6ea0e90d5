//! [`Records`]: reading the log from a position on, and `verify`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::epochs::ANY_EPOCH;
use crate::epochs::Epochs;
use crate::error::{Corruption, Error, Result};
use crate::location::Location;
use crate::lsn::{Lsn, Record};
use crate::open_files::Segment;
use crate::reader::{Checked, Identity, Next, SegmentReader};
use crate::scan;
use crate::segment::{FIRST_GROUP, SegmentHeader};
use crate::source::{Source, Unreadable};
use crate::stats::Verified;

/// The records of a log in order, as of the call of [`Wal::records`](crate::Wal::records). Each is
/// checked before it is given out; the iterator ends after the first error.
///
/// It holds no lock, and holds open what it reads, so that
/// [`Wal::truncate_before`](crate::Wal::truncate_before) does not disturb it;
/// [`Wal::truncate_after`](crate::Wal::truncate_after) ends it with [`Error::Truncated`]. It may outlive
/// the handle.
#[derive(Debug)]
pub struct Records {
    /// The segments not yet entered.
    segments: VecDeque<Arc<Segment>>,
    reader: Option<SegmentReader>,
    snapshot: Snapshot,
    /// The record to give out next.
    next: Lsn,
    /// The one that was given out last.
    given: Option<Checked>,
    /// Nothing after damage can be believed to be next.
    has_failed: bool,
}

/// How often a truncation of the log's end began or ended since it was opened: odd while one is being done.
/// What was read counts only if that has not changed, and was not odd: a truncation writes to segments while
/// others read them.
pub(crate) type Truncations = Arc<AtomicU64>;

/// In place of their number, in what is taken when the log is closed.
pub(crate) const CLOSED: u64 = u64::MAX;
const _: () = assert!(CLOSED % 2 == 1);

/// The part of the log that is read, and what all its segments share.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) truncations: Truncations,
    /// Their number when this was taken.
    pub(crate) truncations_seen: u64,
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    /// The first retained record.
    pub(crate) low: Lsn,
    /// The record after the last one.
    pub(crate) end: Lsn,
}

impl Records {
    /// The records from `from` on. `segments` are the ones to read, the first of which holds `from`;
    /// the last of them may still be written to.
    pub(crate) fn new(snapshot: Snapshot, segments: VecDeque<Arc<Segment>>, from: Lsn) -> Self {
        Self {
            segments,
            reader: None,
            snapshot,
            next: from,
            given: None,
            has_failed: false,
        }
    }

    /// None, of a log that is to begin at `first`.
    pub(crate) fn none(first: Lsn) -> Self {
        let snapshot = Snapshot {
            truncations: Truncations::default(),
            truncations_seen: 0,
            log_id: 0,
            epochs: ANY_EPOCH,
            low: first,
            end: first,
        };
        Self::new(snapshot, VecDeque::new(), first)
    }

    /// The record to give out next.
    pub(crate) fn position(&self) -> Lsn {
        self.next
    }

    /// Begins at the record at which `reader` is, which is the next one to give out.
    pub(crate) fn enter_at(&mut self, reader: SegmentReader) {
        let number = reader.identity().number;
        self.segments.retain(|segment| segment.number > number);
        self.reader = Some(reader);
    }

    /// The location of the record that was given out last; `None` before the first and after the last.
    pub fn location(&self) -> Option<Location> {
        Some(self.reader.as_ref()?.location(self.given?))
    }

    /// When the record was written that was given out last, since the Unix epoch; `None` before the first and
    /// after the last, and if the log has no times there.
    pub fn time(&self) -> Option<Duration> {
        self.given?;
        let time = self.reader.as_ref()?.time();
        (time > 0).then(|| Duration::from_millis(time))
    }

    /// What was to be read was truncated, or may have been.
    pub(crate) fn is_truncated(&self) -> bool {
        self.snapshot.is_truncated()
    }

    /// Continues to the end of `later`, a later snapshot of the same log, whose segments are `segments`.
    pub(crate) fn extend(&mut self, later: Snapshot, segments: &[Arc<Segment>]) -> Result<()> {
        self.snapshot.check_not_truncated()?;
        self.snapshot = later;
        // One of which nothing was read may have given way to a larger one.
        self.reader.take_if(|reader| reader.is_at_first_group());
        let after = if let Some(reader) = &mut self.reader {
            reader.parts().1.forget();
            let number = reader.identity().number;
            segments.partition_point(|segment| segment.number <= number)
        } else {
            let next = self.next;
            let after = segments.partition_point(|segment| segment.first_lsn <= next);
            after.saturating_sub(1)
        };
        self.segments = segments.iter().skip(after).cloned().collect();
        Ok(())
    }

    /// The next record: where it is, which says its position, too, and its payload where it was
    /// read: the fast way through a log, without a copy. `None` after the last one.
    ///
    /// # Errors
    /// As the iterator's; `None` follows an error.
    pub fn read(&mut self) -> Result<Option<(Location, &[u8])>> {
        if self.has_failed || self.next >= self.snapshot.end {
            return Ok(None);
        }
        let found = self.find_next();
        // What was read counts only if it is still what is there.
        let found = self.snapshot.check_not_truncated().and(found);
        self.has_failed = found.is_err();
        self.given = *found.as_ref().unwrap_or(&None);
        match (found?, &mut self.reader) {
            (Some(record), Some(reader)) => {
                Ok(Some((reader.location(record), reader.payload(record)?)))
            }
            _ => Ok(None),
        }
    }

    fn find_next(&mut self) -> Result<Option<Checked>> {
        loop {
            let Some(reader) = &mut self.reader else {
                // The first record that must be there is in the next segment.
                let Some(segment) = self.segments.pop_front() else {
                    return Ok(None);
                };
                let after = self.segments.front().map(|segment| segment.first_lsn);
                let after = after.unwrap_or(self.snapshot.end);
                self.reader = Some(self.snapshot.retained(&segment, self.next, after)?);
                continue;
            };
            match reader.next_record()? {
                Next::Some(record) if record.lsn < self.next => {}
                Next::Some(record) => {
                    self.next = record.lsn.next();
                    return Ok(Some(record));
                }
                Next::Bad { offset, reason } => {
                    return Err(reader.identity().corrupt(offset, reason));
                }
                Next::End => {
                    let after = self.segments.front().map(|segment| segment.first_lsn);
                    let is_read =
                        enter_group(reader, after.unwrap_or(self.snapshot.end), self.next)?;
                    match after {
                        Some(_) if is_read => self.reader = None,
                        None if is_read => return Ok(None),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Enters the group with record `wanted`, passing over those before it. Returns true if the segment,
/// which holds everything below `after`, is read to its end; what follows that is not looked
/// at.
pub(crate) fn enter_group(reader: &mut SegmentReader, after: Lsn, wanted: Lsn) -> Result<bool> {
    while reader.expected().is_some_and(|expected| expected < after) {
        match reader.next_group()? {
            Next::Some(group) if group.last_lsn() < wanted => reader.skip_group(),
            Next::Some(_) => return Ok(false),
            Next::Bad { offset, reason } => return Err(reader.identity().corrupt(offset, reason)),
            Next::End => return check_end(reader, after).map(|()| true),
        }
    }
    Ok(true)
}

/// The segment that `reader` has read to its end must hold every record below `after`.
fn check_end(reader: &SegmentReader, after: Lsn) -> Result<()> {
    match reader.expected() {
        Some(expected) if expected < after => {
            let reason = Corruption::LostRecords {
                first: expected,
                last: after.previous(),
            };
            Err(reader.identity().corrupt(reader.offset(), reason))
        }
        _ => Ok(()),
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose()?;
        Some(next.map(|(location, payload)| Record {
            lsn: location.lsn,
            payload: payload.to_vec(),
        }))
    }
}

impl Snapshot {
    pub(crate) fn is_truncated(&self) -> bool {
        self.truncations_seen % 2 == 1
            || self.truncations.load(Ordering::Acquire) != self.truncations_seen
    }

    pub(crate) fn check_not_truncated(&self) -> Result<()> {
        match self.truncations_seen {
            CLOSED => Err(Error::Closed),
            _ if self.is_truncated() => Err(Error::Truncated),
            _ => Ok(()),
        }
    }

    fn identity(&self, segment: &Segment) -> Identity {
        Identity {
            path: segment.path(),
            log_id: self.log_id,
            number: segment.number,
            epochs: self.epochs,
            layout: segment.header.layout,
        }
    }

    /// A reader of what is retained in `segment`, which holds what is below `after`; it is at the
    /// group with `wanted`, or somewhere before it. Damage of what is not retained does not matter, nor
    /// does that of what is passed over.
    pub(crate) fn retained(
        &self,
        segment: &Arc<Segment>,
        wanted: Lsn,
        after: Lsn,
    ) -> Result<SegmentReader> {
        let first = segment.first_lsn;
        let mut reader = self.reader(segment, (first > self.low).then_some(first))?;
        scan::seek(&mut reader, first, wanted.max(self.low), after)?;
        if reader.expected().is_none_or(|expected| expected < self.low) {
            // If the first retained record is not found, reading continues to what is in its place.
            scan::pass_over(&mut reader, self.low)?;
        }
        Ok(reader)
    }

    /// A reader of `segment`, which begins with record `expected`, if that is known.
    fn reader(&self, segment: &Arc<Segment>, expected: Option<Lsn>) -> Result<SegmentReader> {
        let identity = self.identity(segment);
        let file = segment.file()?;
        let len = file.len()?;
        if len != segment.header.size {
            return Err(identity.corrupt(len, Corruption::Length));
        }
        let source = Source::new(file, len, Unreadable::Fails);
        Ok(SegmentReader::new(identity, source, expected))
    }

    /// A reader of `segment` that is at `location`.
    pub(crate) fn reader_at(
        &self,
        segment: &Arc<Segment>,
        location: Location,
    ) -> Result<SegmentReader> {
        let mut reader = self.reader(segment, None)?;
        reader.enter_at(location)?;
        Ok(reader)
    }

    /// Reads and checks every byte of `segments`, which are all that are retained.
    pub(crate) fn verify_all(&self, segments: &[Arc<Segment>]) -> Result<Verified> {
        let mut verified = Verified::default();
        let next = segments.iter().skip(1);
        let after = next.map(|next| Some(next.first_lsn)).chain([None]);
        for (segment, after) in segments.iter().zip(after) {
            self.verify(segment, after, &mut verified)?;
        }
        Ok(verified)
    }

    /// Reads and checks every byte of `segment`; of the active one, up to the end of the snapshot.
    fn verify(
        &self,
        segment: &Arc<Segment>,
        after: Option<Lsn>,
        verified: &mut Verified,
    ) -> Result<()> {
        let mut reader = self.reader(segment, Some(segment.first_lsn))?;
        let header = reader.parts().1.get(0, FIRST_GROUP)?;
        SegmentHeader::decode(header, segment.number)
            .map_err(|bad| bad.into_error(&segment.path()))?;
        let end = after.unwrap_or(self.end);
        while reader.expected().is_some_and(|expected| expected < end) {
            self.verify_group(&mut reader, end, verified)?;
        }
        verified.segments += 1;
        verified.bytes += reader.offset();
        if after.is_some() {
            let from = reader.offset();
            let rest = scan::remainder(&mut reader, from)?;
            if rest.nonzero_end.is_some() {
                return Err(reader.identity().corrupt(from, Corruption::NotZero));
            }
            verified.bytes += segment.header.size - from;
        }
        Ok(())
    }

    fn verify_group(
        &self,
        reader: &mut SegmentReader,
        end: Lsn,
        verified: &mut Verified,
    ) -> Result<()> {
        let corrupt = |reader: &SegmentReader, offset, reason| -> Result<()> {
            Err(reader.identity().corrupt(offset, reason))
        };
        let is_truncated = reader.expected().is_some_and(|lsn| lsn <= self.low);
        match reader.next_group()? {
            Next::Some(_) => verified.groups += 1,
            // Zeros where a header was: no record that is retained is lost by that alone.
            Next::End if is_truncated => {
                return corrupt(reader, reader.offset(), Corruption::Checksum);
            }
            Next::End => return check_end(reader, end),
            Next::Bad { offset, reason } => return corrupt(reader, offset, reason),
        }
        loop {
            match reader.next_record()? {
                Next::Some(_) => verified.records += 1,
                Next::End => break,
                Next::Bad { offset, reason } => return corrupt(reader, offset, reason),
            }
        }
        match reader.padding()? {
            Some(offset) => corrupt(reader, offset, Corruption::NotZero),
            None => Ok(()),
        }
    }
}
