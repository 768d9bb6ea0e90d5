//! [`Location`] and [`Appended`]: where records are, for stores that keep an index of a log.

use std::ops::Range;

use durable_io::codec::Decoder;

use crate::frame::RECORD_HEADER_SIZE;
use crate::lsn::Lsn;

const RECORD_HEADER: u32 = 8;
const _: () = assert!(RECORD_HEADER as usize == RECORD_HEADER_SIZE);

/// Where a record is in the files of its log: what an index of a log keeps, so that
/// [`Wal::read`](crate::Wal::read) finds the record in one read, and
/// [`Wal::records_at`](crate::Wal::records_at) it and those after it. From an append, or from
/// [`Records`](crate::Records) and [`Follow`](crate::Follow).
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
    /// Of the header of the record's group.
    pub(crate) group: u32,
}

impl Location {
    /// Bytes of a location on a disk.
    pub const SIZE: usize = 32;

    /// The record.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Bytes of the record's payload.
    pub fn payload_len(&self) -> u32 {
        self.len
    }

    /// The location as bytes, for an index on a disk: LSN, segment number (8 bytes each), offset,
    /// payload length, epoch, offset of the group (4 bytes each), little-endian.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let wide = [self.lsn.0, self.segment].map(u64::to_le_bytes);
        let narrow = [self.offset, self.len, self.epoch, self.group].map(u32::to_le_bytes);
        let all = wide.as_flattened().iter().chain(narrow.as_flattened());
        for (to, from) in out.iter_mut().zip(all) {
            *to = *from;
        }
        out
    }

    /// The location that [`to_bytes`](Location::to_bytes) gave. Nothing is checked before it is read
    /// from.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        const WHOLE: &str = "two numbers of 8 bytes and four of 4 are 32 bytes";
        let mut decoder = Decoder::new(bytes);
        let wide = [(); 2].map(|()| decoder.u64().expect(WHOLE));
        let narrow = [(); 4].map(|()| decoder.u32().expect(WHOLE));
        let ([lsn, segment], [offset, len, epoch, group]) = (wide, narrow);
        Self {
            lsn: Lsn(lsn),
            segment,
            offset,
            len,
            epoch,
            group,
        }
    }

    /// No place, before record `next` was there.
    pub(crate) fn nothing(next: Lsn) -> Self {
        Self {
            lsn: next,
            segment: 0,
            offset: 0,
            len: 0,
            epoch: 0,
            group: 0,
        }
    }

    /// The record after this one in the same append, if its payload has `len` bytes.
    pub(crate) fn following(self, len: u32) -> Self {
        Self {
            lsn: self.lsn.next(),
            // A length that is not the one that was appended gives a location that reading refuses.
            offset: self
                .offset
                .saturating_add(RECORD_HEADER)
                .saturating_add(self.len),
            len,
            ..self
        }
    }
}

/// Where the records of one append are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the first record; of an empty append only the LSN means something.
    first: Location,
    count: u64,
}

impl Appended {
    pub(crate) fn new(first: Location, count: u64) -> Self {
        Self { first, count }
    }

    /// An append of no records when `next` was the next one.
    pub(crate) fn nothing(next: Lsn) -> Self {
        Self {
            first: Location::nothing(next),
            count: 0,
        }
    }

    /// The positions of the records.
    pub fn lsns(&self) -> Range<Lsn> {
        self.first.lsn..self.first.lsn.plus(self.count)
    }

    /// Where the first record is; `None` if there are no records.
    pub fn first(&self) -> Option<Location> {
        (self.count > 0).then_some(self.first)
    }

    /// Where each record is. The log keeps no list of them: `payload_lens` are the bytes of their
    /// payloads, as they were appended. Ends with the shorter of the two.
    pub fn locations(
        &self,
        payload_lens: impl IntoIterator<Item = usize>,
    ) -> impl Iterator<Item = Location> {
        let mut before: Option<Location> = None;
        let first = self.first;
        let count = usize::try_from(self.count).expect("the records were in memory");
        payload_lens.into_iter().take(count).map(move |len| {
            let len = u32::try_from(len).expect("a record is smaller than 4 GiB");
            let location = match before {
                Some(before) => before.following(len),
                None => Location { len, ..first },
            };
            before = Some(location);
            location
        })
    }
}
