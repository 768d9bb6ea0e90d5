//! Reading the record at a [`Location`].

use std::sync::Arc;

use durable_io::checksum::checksum;

use crate::error::{Corruption, Error, Result};
use crate::frame::{RECORD_HEADER_SIZE, decode_record_header, place, record_check};
use crate::location::Location;
use crate::log::Log;
use crate::lsn::Record;
use crate::open_files::Segment;
use crate::records::{Records, Snapshot};

impl Log {
    /// The record at `location`: one read.
    pub(crate) fn read(&self, location: Location) -> Result<Record> {
        let (snapshot, segment) = self.find(location)?;
        let Location {
            lsn,
            segment: number,
            offset,
            len,
            epoch,
            ..
        } = location;
        let corrupt = |reason| Error::Corrupt {
            path: segment.path(),
            offset: u64::from(offset),
            reason,
        };
        let size = RECORD_HEADER_SIZE as u64 + u64::from(len);
        // Before anything is allocated: the location may come from a disk.
        if u64::from(offset) + size > segment.header.size {
            return Err(corrupt(Corruption::Length));
        }
        let size = usize::try_from(size).expect("less than a segment, which was in memory");
        let mut bytes = vec![0; size];
        let file = segment.file();
        let read = file.and_then(|file| Ok(file.read_exact_at(&mut bytes, u64::from(offset))?));
        // What was read counts only if no truncation wrote to it meanwhile.
        snapshot.check_not_truncated()?;
        read?;
        let payload = bytes.split_off(RECORD_HEADER_SIZE);
        let place = place(self.id, number, u64::from(offset));
        let check = record_check(place, epoch, lsn, len, checksum(&payload));
        if decode_record_header(&bytes) != Some((len, check)) {
            return Err(corrupt(Corruption::Checksum));
        }
        snapshot.check_epoch(location)?;
        Ok(Record { lsn, payload })
    }

    /// The records from `location` on, all that can be read.
    pub(crate) fn records_at(&self, location: Location) -> Result<Records> {
        let (snapshot, segment) = self.find(location)?;
        snapshot.check_epoch(location)?;
        let mut records = self.records(location.lsn);
        let reader = snapshot.reader_at(&segment, location);
        // What was read counts only if no truncation wrote to it meanwhile.
        snapshot.check_not_truncated()?;
        records.enter_at(reader?);
        Ok(records)
    }

    /// The log as it is now, and the segment of it that `location` names.
    fn find(&self, location: Location) -> Result<(Snapshot, Arc<Segment>)> {
        let view = self.view();
        let snapshot = self.snapshot(&view, self.end_of(&view));
        if location.lsn < snapshot.low || location.lsn >= snapshot.end {
            return Err(Error::Truncated);
        }
        let segments = &view.segments;
        let at = segments.partition_point(|segment| segment.number < location.segment);
        let found = segments.get(at);
        let found = found.filter(|segment| segment.number == location.segment);
        Ok((snapshot, Arc::clone(found.ok_or(Error::Truncated)?)))
    }
}

impl Snapshot {
    /// An older record with this LSN was truncated.
    fn check_epoch(&self, location: Location) -> Result<()> {
        let is_newer = location.lsn >= self.epochs.first_lsn;
        if is_newer != (location.epoch == self.epochs.current) {
            return Err(Error::Truncated);
        }
        Ok(())
    }
}
