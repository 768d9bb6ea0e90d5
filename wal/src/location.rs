//! [`Location`]: where a record stands, for stores that keep an index of a log.

use durable_io::checksum::checksum;
use durable_io::codec::Decoder;

use crate::error::{Corruption, Error, Result};
use crate::frame::{RECORD_HEADER_SIZE, decode_record_header, place, record_check};
use crate::log::Log;
use crate::lsn::{Lsn, Record};

/// Where a record stands in the files of its log: what an index of a log keeps, so that
/// [`Wal::read`](crate::Wal::read) finds the record in one read. From
/// [`Records::location`](crate::Records::location) or [`Follow::location`](crate::Follow::location).
///
/// It holds until the record is truncated, and may be kept across opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    pub(crate) lsn: Lsn,
    pub(crate) segment: u64,
    /// Of the record's header.
    pub(crate) offset: u32,
    /// Of the payload.
    pub(crate) len: u32,
    pub(crate) epoch: u32,
}

impl Location {
    /// Bytes of a location on a disk.
    pub const SIZE: usize = 28;

    /// The record.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The location as bytes, for an index on a disk: LSN, segment number (8 bytes each), offset,
    /// payload length, epoch (4 bytes each), little-endian.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let wide = [self.lsn.0, self.segment].map(u64::to_le_bytes);
        let narrow = [self.offset, self.len, self.epoch].map(u32::to_le_bytes);
        let all = wide.as_flattened().iter().chain(narrow.as_flattened());
        for (to, from) in out.iter_mut().zip(all) {
            *to = *from;
        }
        out
    }

    /// The location that [`to_bytes`](Location::to_bytes) gave. Nothing is checked before it is read
    /// from.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut decoder = Decoder::new(bytes);
        let wide = [(); 2].map(|()| decoder.u64().unwrap_or_default());
        let narrow = [(); 3].map(|()| decoder.u32().unwrap_or_default());
        let ([lsn, segment], [offset, len, epoch]) = (wide, narrow);
        Self {
            lsn: Lsn(lsn),
            segment,
            offset,
            len,
            epoch,
        }
    }
}

impl Log {
    /// The record at `location`: one read.
    pub(crate) fn read(&self, location: Location) -> Result<Record> {
        let Location {
            lsn,
            segment: number,
            offset,
            len,
            epoch,
        } = location;
        let (snapshot, segment) = {
            let view = self.view();
            let snapshot = self.snapshot(&view, self.end_of(&view));
            let segments = &view.segments;
            let at = segments.partition_point(|segment| segment.number < number);
            (snapshot, segments.get(at).cloned())
        };
        if lsn < snapshot.low || lsn >= snapshot.end {
            return Err(Error::Truncated);
        }
        let Some(segment) = segment.filter(|segment| segment.number == number) else {
            return Err(Error::Truncated);
        };
        let corrupt = |reason| Error::Corrupt {
            path: segment.file.path().to_owned(),
            offset: u64::from(offset),
            reason,
        };
        let size = RECORD_HEADER_SIZE as u64 + u64::from(len);
        // Before anything is allocated: the location may come from a disk.
        if u64::from(offset) + size > snapshot.segment_size {
            return Err(corrupt(Corruption::Length));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let read = segment.file.read_exact_at(&mut bytes, u64::from(offset));
        // What was read counts only if no cut wrote to it meanwhile.
        snapshot.check_uncut()?;
        read?;
        let payload = bytes.split_off(RECORD_HEADER_SIZE);
        let place = place(self.id, number, u64::from(offset));
        let check = record_check(place, epoch, lsn, len, checksum(&payload));
        if decode_record_header(&bytes) != Some((len, check)) {
            return Err(corrupt(Corruption::Checksum));
        }
        // An older record with this LSN was cut off.
        if (lsn >= snapshot.epochs.first_lsn) != (epoch == snapshot.epochs.current) {
            return Err(Error::Truncated);
        }
        Ok(Record { lsn, payload })
    }
}
