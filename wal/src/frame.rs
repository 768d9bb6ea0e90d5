//! Groups and records as bytes ([format], section 5). Pure: no I/O.
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::{Decoder, put};

use crate::lsn::Lsn;

/// Bytes of a segment header; the first group follows.
pub(crate) const SEGMENT_HEADER_SIZE: usize = 64;

/// Bytes of a group header.
pub(crate) const GROUP_HEADER_SIZE: usize = 32;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER_SIZE: usize = 8;

/// Groups begin at multiples of this.
pub(crate) const GROUP_ALIGN: u64 = 8;

/// Where bytes of segment `number` of log `id` are.
pub(crate) fn place(id: u64, number: u64, offset: u64) -> Place {
    Place { id, number, offset }
}

/// How a group header says what was durable, and when it was written: by the version of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Version 1: the durable LSN as it is, and no time.
    Plain,
    /// Version 2: how far the durable LSN is behind, and the time from that of the segment on.
    Timed {
        /// In milliseconds, as [`GroupHeader::time`].
        since: u64,
    },
}

/// Bits of a distance from the first LSN to the durable one; the others of its 64 are of the time.
const DISTANCE_BITS: u32 = 24;
const DISTANCE_MAX: u64 = (1 << DISTANCE_BITS) - 1;
const TIME_MAX: u64 = u64::MAX >> DISTANCE_BITS;

impl Layout {
    /// The last field of `header`.
    fn encode(self, header: &GroupHeader) -> u64 {
        let Self::Timed { since } = self else {
            return header.durable_lsn.0;
        };
        let distance = header.first_lsn.0 - header.durable_lsn.0;
        // Too far to be said: then nothing is, which is true, too.
        let distance = if distance > DISTANCE_MAX { 0 } else { distance };
        // A segment that is used for more than 34 years stops the clock.
        let time = header.time.saturating_sub(since).min(TIME_MAX);
        time << DISTANCE_BITS | distance
    }

    /// The durable LSN and the time that `field` says, of a group that begins with `first_lsn`; `None` if
    /// it contradicts that.
    fn decode(self, field: u64, first_lsn: Lsn) -> Option<(Lsn, u64)> {
        let Self::Timed { since } = self else {
            return Some((Lsn(field), 0));
        };
        let durable = match field & DISTANCE_MAX {
            0 => 0,
            distance => first_lsn.0.checked_sub(distance)?,
        };
        Some((Lsn(durable), since.saturating_add(field >> DISTANCE_BITS)))
    }
}

/// The header of a group: the unit of atomicity, and of one sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Bytes of records that follow, without padding.
    pub(crate) bytes: u32,
    /// Records that follow, at least 1.
    pub(crate) count: u32,
    /// The epoch in which the group was written.
    pub(crate) epoch: u32,
    /// The first record.
    pub(crate) first_lsn: Lsn,
    /// The last record that a *returned* sync covered when this was written.
    pub(crate) durable_lsn: Lsn,
    /// When the group was written, in milliseconds since the Unix epoch, never below that of the group before;
    /// 0 if that is not known.
    pub(crate) time: u64,
}

impl GroupHeader {
    pub(crate) fn encode(&self, place: Place, layout: Layout) -> [u8; GROUP_HEADER_SIZE] {
        let mut out = [0; GROUP_HEADER_SIZE];
        let (check, body) = out.split_at_mut(4);
        put(body, 0, &self.bytes.to_le_bytes());
        put(body, 4, &self.count.to_le_bytes());
        put(body, 8, &self.epoch.to_le_bytes());
        put(body, 12, &self.first_lsn.0.to_le_bytes());
        put(body, 20, &layout.encode(self).to_le_bytes());
        put(check, 0, &checksum_at(place, body).to_le_bytes());
        out
    }

    /// The header at `place`, or `None` if its check fails or its numbers contradict each other.
    /// `room` is how many bytes the segment has after the header.
    pub(crate) fn decode(bytes: &[u8], place: Place, room: u64, layout: Layout) -> Option<Self> {
        let mut decoder = Decoder::new(bytes.get(..GROUP_HEADER_SIZE)?);
        let check = decoder.u32()?;
        let body = decoder.rest();
        let [bytes, count, epoch] = [decoder.u32()?, decoder.u32()?, decoder.u32()?];
        let first_lsn = Lsn(decoder.u64()?);
        let (durable_lsn, time) = layout.decode(decoder.u64()?, first_lsn)?;
        let header = Self {
            bytes,
            count,
            epoch,
            first_lsn,
            durable_lsn,
            time,
        };
        // The cheap rules come first: they turn away almost every wrong header when a whole segment
        // is searched for right ones.
        (header.is_consistent(room) && checksum_at(place, body) == check).then_some(header)
    }

    fn is_consistent(&self, room: u64) -> bool {
        let record_headers = u64::from(self.count) * RECORD_HEADER_SIZE as u64;
        self.count > 0
            && self.epoch > 0
            && u64::from(self.bytes) <= room
            && u64::from(self.bytes) >= record_headers
            && self.durable_lsn < self.first_lsn
            && self
                .first_lsn
                .0
                .checked_add(u64::from(self.count))
                .is_some()
    }

    /// The last record of the group.
    pub(crate) fn last_lsn(&self) -> Lsn {
        self.first_lsn.plus(u64::from(self.count)).previous()
    }
}

/// The offset at which the next group begins if one ends at `end`.
pub(crate) fn align_group(end: u64) -> u64 {
    end.next_multiple_of(GROUP_ALIGN)
}

/// The check of a record: its place, its group's epoch, its LSN, its length and its payload.
pub(crate) fn record_check(place: Place, epoch: u32, lsn: Lsn, len: u32, payload_sum: u32) -> u32 {
    let mut covered = [0; 20];
    put(&mut covered, 0, &epoch.to_le_bytes());
    put(&mut covered, 4, &lsn.0.to_le_bytes());
    put(&mut covered, 12, &len.to_le_bytes());
    put(&mut covered, 16, &payload_sum.to_le_bytes());
    checksum_at(place, &covered)
}

/// The length and the check at the front of a record.
pub(crate) fn decode_record_header(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut decoder = Decoder::new(bytes);
    Some((decoder.u32()?, decoder.u32()?))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn header(epoch: u32, first: u64) -> GroupHeader {
        GroupHeader {
            bytes: 9,
            count: 1,
            epoch,
            first_lsn: Lsn(first),
            durable_lsn: Lsn(0),
            time: 0,
        }
    }

    const LAYOUT: Layout = Layout::Timed { since: 0 };

    #[test]
    fn a_header_is_read_back_only_at_its_place() {
        let at = place(7, 2, 64);
        let bytes = header(1, 5).encode(at, LAYOUT);
        assert_eq!(
            GroupHeader::decode(&bytes, at, 16, LAYOUT),
            Some(header(1, 5))
        );
        for other in [place(8, 2, 64), place(7, 3, 64), place(7, 2, 72)] {
            assert_eq!(GroupHeader::decode(&bytes, other, 16, LAYOUT), None);
        }
        assert_eq!(
            GroupHeader::decode(&bytes, at, 8, LAYOUT),
            None,
            "the segment ends before the group"
        );
        assert_eq!(GroupHeader::decode(&[0; 32], at, 16, LAYOUT), None);
    }

    #[test]
    fn a_header_holds_the_durable_lsn_if_that_is_near_enough() {
        let at = place(7, 2, 64);
        let layout = Layout::Timed { since: 1000 };
        let far = DISTANCE_MAX + 1;
        let cases = [
            (5, 4, 4),
            (5, 0, 0),
            (far, 1, 1),
            (far + 1, 1, 0),
            (u64::MAX - 1, u64::MAX - 2, u64::MAX - 2),
        ];
        for (first, durable, said) in cases {
            let header = GroupHeader {
                durable_lsn: Lsn(durable),
                time: 1500,
                ..header(1, first)
            };
            let read = GroupHeader::decode(&header.encode(at, layout), at, 16, layout);
            let said = GroupHeader {
                durable_lsn: Lsn(said),
                ..header
            };
            assert_eq!(read, Some(said));
            let plain = header.encode(at, Layout::Plain);
            let read = GroupHeader::decode(&plain, at, 16, Layout::Plain);
            assert_eq!(read, Some(GroupHeader { time: 0, ..header }));
        }
    }

    #[test]
    fn a_time_is_not_before_that_of_its_segment_and_stops_after_34_years() {
        let layout = Layout::Timed { since: 1000 };
        let cases = [
            (0, 1000),
            (1000, 1000),
            (1001, 1001),
            (u64::MAX, 1000 + TIME_MAX),
        ];
        for (time, said) in cases {
            let field = layout.encode(&GroupHeader {
                time,
                ..header(1, 5)
            });
            assert_eq!(layout.decode(field, Lsn(5)), Some((Lsn(0), said)));
        }
    }
}
