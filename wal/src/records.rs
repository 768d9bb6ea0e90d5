//! [`Records`]: reading the log from a position on, and `verify`.

use std::sync::Arc;
use std::vec;

use crate::error::{Corruption, Result};
use crate::lsn::{Lsn, Record};
use crate::reader::{Identity, Next, SegmentReader};
use crate::segment::{FIRST_GROUP, Segment, SegmentHeader};
use crate::source::Source;
use crate::stats::Verified;
use crate::{frame::Epochs, scan};

/// The records of a log in order, as of the call of [`Wal::records`](crate::Wal::records). Each is
/// checked before it is given out; the iterator ends after the first error.
///
/// It holds open what it reads, so truncation does not disturb it, and no lock.
#[derive(Debug)]
pub struct Records {
    /// The segments not yet entered.
    segments: vec::IntoIter<Arc<Segment>>,
    reader: Option<SegmentReader>,
    snapshot: Snapshot,
    /// The record to give out next.
    next: Lsn,
}

/// The part of the log that is read, and what all its segments share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) log_id: u64,
    pub(crate) epochs: Epochs,
    pub(crate) segment_size: u64,
    /// The first retained record.
    pub(crate) low: Lsn,
    /// The record after the last one.
    pub(crate) end: Lsn,
}

impl Records {
    /// The records from `from` on. `segments` are the ones to read, the first of which holds `from`;
    /// the last of them may still be written to.
    pub(crate) fn new(snapshot: Snapshot, segments: Vec<Arc<Segment>>, from: Lsn) -> Self {
        Self {
            segments: segments.into_iter(),
            reader: None,
            snapshot,
            next: from,
        }
    }

    fn read_next(&mut self) -> Result<Option<Record>> {
        if self.next >= self.snapshot.end {
            return Ok(None);
        }
        loop {
            let Some(reader) = &mut self.reader else {
                // The first record that must be there is in the next segment.
                let Some(segment) = self.segments.next() else {
                    return Ok(None);
                };
                let is_last = self.segments.as_slice().is_empty();
                self.reader = Some(self.snapshot.retained(&segment, is_last)?);
                continue;
            };
            match reader.next_record()? {
                Next::Some(record) if record.lsn < self.next => {}
                Next::Some(record) => {
                    self.next = record.lsn.next();
                    let payload = reader.payload(record)?.to_vec();
                    return Ok(Some(Record {
                        lsn: record.lsn,
                        payload,
                    }));
                }
                Next::Bad { offset, reason } => {
                    return Err(reader.identity().corrupt(offset, reason));
                }
                Next::End => {
                    let after = self
                        .segments
                        .as_slice()
                        .first()
                        .map(|segment| segment.first_lsn);
                    if enter_group(reader, after.unwrap_or(self.snapshot.end), self.next)? {
                        self.reader = None;
                    }
                }
            }
        }
    }
}

/// Enters the group with record `wanted`, passing over those before it. Returns true if the segment,
/// which holds everything below `after`, is read to its end; what stands behind that is not looked
/// at.
fn enter_group(reader: &mut SegmentReader, after: Lsn, wanted: Lsn) -> Result<bool> {
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
        let next = self.read_next();
        if next.is_err() {
            // Nothing behind damage can be believed to be next.
            self.next = self.snapshot.end;
        }
        next.transpose()
    }
}

impl Snapshot {
    fn identity(&self, segment: &Segment) -> Identity {
        Identity {
            path: segment.file.path().to_owned(),
            log_id: self.log_id,
            number: segment.number,
            epochs: self.epochs,
        }
    }

    /// A reader of what is retained in `segment`: damage below that does not matter.
    fn retained(&self, segment: &Segment, is_active: bool) -> Result<SegmentReader> {
        if segment.first_lsn > self.low {
            return self.reader(segment, is_active, Some(segment.first_lsn));
        }
        let mut reader = self.reader(segment, is_active, None)?;
        // If the first retained record is not found, reading goes on to what stands in its place.
        scan::pass_over(&mut reader, self.low)?;
        Ok(reader)
    }

    /// A reader of `segment`, which begins with record `expected`, if that is known. A sealed one
    /// will never be written again, so it can be mapped.
    fn reader(
        &self,
        segment: &Segment,
        is_active: bool,
        expected: Option<Lsn>,
    ) -> Result<SegmentReader> {
        let identity = self.identity(segment);
        let len = segment.file.len()?;
        if len != self.segment_size {
            return Err(identity.corrupt(len, Corruption::Length));
        }
        let source = if is_active {
            Source::buffered(segment.file.clone(), len)
        } else {
            Source::Map(segment.file.map(0..len)?)
        };
        Ok(SegmentReader::new(identity, source, expected))
    }

    /// Reads and checks every byte of `segment`; of the active one, up to the end of the snapshot.
    pub(crate) fn verify(
        &self,
        segment: &Segment,
        after: Option<Lsn>,
        verified: &mut Verified,
    ) -> Result<()> {
        let is_active = after.is_none();
        let mut reader = self.reader(segment, is_active, Some(segment.first_lsn))?;
        let header = reader.parts().1.get(0, FIRST_GROUP)?;
        SegmentHeader::decode(header, segment.number)
            .map_err(|bad| bad.into_error(segment.file.path()))?;
        let end = after.unwrap_or(self.end);
        while reader.expected().is_some_and(|expected| expected < end) {
            self.verify_group(&mut reader, end, verified)?;
        }
        verified.segments += 1;
        verified.bytes += reader.offset();
        if !is_active {
            let from = reader.offset();
            let rest = scan::behind(&mut reader, from)?;
            if rest.nonzero_end.is_some() {
                return Err(reader.identity().corrupt(from, Corruption::NotZero));
            }
            verified.bytes += self.segment_size - from;
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
