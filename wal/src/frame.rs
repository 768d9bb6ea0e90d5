//! Groups and records as bytes ([format], section 5). Pure: no I/O.
//!
//! [format]: crate::format

use durable_io::checksum::{Place, checksum_at};
use durable_io::codec::{Decoder, put};

use crate::batch::Batch;
use crate::delivery::Callback;
use crate::error::{Error, Result};
use crate::expectation::Expectation;
use crate::location::Location;
use crate::lsn::Lsn;

/// Bytes of a group header.
pub(crate) const GROUP_HEADER_SIZE: usize = 32;
/// Bytes of a record before its payload.
pub(crate) const RECORD_HEADER_SIZE: usize = 8;
/// The invariant of an item's bytes.
const ROOM_FOR_HEADER: &str = "an item begins with room for a group header";
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

/// What one call appends: its records as bytes, with the payload's checksum where the record's check
/// will be. The expensive part, computed before any lock is taken.
#[derive(Debug)]
pub(crate) struct Item {
    /// Room for a group header, and the records.
    bytes: Vec<u8>,
    count: u32,
    is_submitted: bool,
    callback: Option<Callback>,
    /// What it is built on.
    expected: Option<Expectation>,
    /// What became of it; `None` before it was its turn.
    outcome: Option<Result<Location>>,
}

impl Item {
    /// The item that appends `payloads`, or their size if it is larger than `limit` bytes.
    pub(crate) fn new(payloads: &[&[u8]], limit: u64) -> Result<Self, u64> {
        let headers = payloads.len() as u64 * RECORD_HEADER_SIZE as u64;
        let size = payloads.iter().fold(headers, |size, payload| {
            size.saturating_add(payload.len() as u64)
        });
        // Before anything is copied.
        if size > limit {
            return Err(size);
        }
        let capacity = usize::try_from(size).expect("the payloads are in memory");
        let mut batch = Batch::with_capacity(capacity);
        for payload in payloads {
            batch.push(payload);
        }
        Self::of(batch, limit)
    }

    /// The item that appends `batch`, or its size if that is above `limit`, which is no more than a
    /// segment has.
    pub(crate) fn of(batch: Batch, limit: u64) -> Result<Self, u64> {
        if batch.size() > limit {
            return Err(batch.size());
        }
        Ok(Self {
            bytes: batch.bytes,
            count: batch.count,
            is_submitted: false,
            callback: None,
            expected: batch.expected,
            outcome: None,
        })
    }

    /// One without records, which asks for a sync of what comes before it.
    pub(crate) fn sync() -> Self {
        Self::of(Batch::new(), 0).expect("it has no bytes")
    }

    /// True if it has no records.
    pub(crate) fn is_sync(&self) -> bool {
        self.count == 0
    }

    /// There is nothing to write of it, and `next` is the next record.
    pub(crate) fn pass(&mut self, next: Lsn) {
        self.outcome = Some(Ok(Location::nothing(next)));
    }

    /// It was not written.
    pub(crate) fn fail(&mut self, error: Error) {
        self.outcome = Some(Err(error));
    }

    /// Nobody waits for it.
    pub(crate) fn submitted(mut self) -> Self {
        self.is_submitted = true;
        self
    }

    pub(crate) fn is_submitted(&self) -> bool {
        self.is_submitted
    }

    pub(crate) fn with_callback(mut self, callback: Callback) -> Self {
        self.callback = Some(callback);
        self
    }

    pub(crate) fn at(mut self, expected: Expectation) -> Self {
        self.expected = Some(expected);
        self
    }

    /// True if it may be written when `found` is what an append gets now.
    pub(crate) fn accepts(&self, found: Expectation) -> bool {
        self.expected.is_none_or(|expected| expected == found)
    }

    /// Refuses it, since `found` is not what it was built on; returns whether it was built on a state
    /// that differs from `found` by its position only.
    pub(crate) fn refuse(&mut self, found: Expectation) -> bool {
        let expected = self
            .expected
            .expect("only what expects something is refused");
        self.outcome = Some(Err(Error::Refused { expected, found }));
        expected.refusals == found.refusals
    }

    pub(crate) fn take_callback(&mut self) -> Option<Callback> {
        self.callback.take()
    }

    /// Where its first record was written, or why it was not; `None` before that is known.
    pub(crate) fn outcome(&self) -> Option<&Result<Location>> {
        self.outcome.as_ref()
    }

    /// The records.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(GROUP_HEADER_SIZE..).expect(ROOM_FOR_HEADER)
    }

    /// The group that holds this item only.
    pub(crate) fn group(&mut self, header: &[u8; GROUP_HEADER_SIZE]) -> &[u8] {
        put(&mut self.bytes, 0, header);
        &self.bytes
    }

    /// Bytes of the records.
    pub(crate) fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    pub(crate) fn count(&self) -> u64 {
        u64::from(self.count)
    }

    /// Bytes of payload alone.
    pub(crate) fn payload_bytes(&self) -> u64 {
        self.size() - self.count() * RECORD_HEADER_SIZE as u64
    }

    /// Puts the checks in, now that it is known where the first record goes.
    pub(crate) fn bind(&mut self, log_id: u64, mut first: Location) {
        const WHOLE: &str = "an item has whole records";
        let records = self.bytes.get_mut(GROUP_HEADER_SIZE..);
        let mut rest = records.expect(ROOM_FOR_HEADER);
        (first.len, _) = decode_record_header(rest).expect(WHOLE);
        let mut at = first;
        while !rest.is_empty() {
            let (header, after) = rest.split_at_mut(RECORD_HEADER_SIZE);
            let (len, payload_sum) = decode_record_header(header).expect(WHOLE);
            at.len = len;
            let place = place(log_id, at.segment, u64::from(at.offset));
            let check = record_check(place, at.epoch, at.lsn, len, payload_sum);
            put(header, 4, &check.to_le_bytes());
            let (_payload, next) = after.split_at_mut(len as usize);
            rest = next;
            at = at.following(0);
        }
        self.outcome = Some(Ok(first));
    }
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

/// Which epochs are good where ([format], section 6): what separates bytes written before a truncation from
/// bytes written after it.
///
/// [format]: crate::format
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// The epoch in which the log is written now.
    pub(crate) current: u32,
    /// The first record of that epoch: where the last truncation was.
    pub(crate) first_lsn: Lsn,
    /// The last segment that may hold groups of earlier epochs. The numbers above it are given again
    /// after a truncation, and a new file can show what was in an old one.
    pub(crate) segment: u64,
}

impl Epochs {
    /// The epoch that begins after record `last`, above `highest`; up to `segment` there may be groups of
    /// earlier ones.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is no higher number.
    pub(crate) fn begin(highest: u32, last: Lsn, segment: u64) -> Result<Self> {
        let current = highest.checked_add(1).ok_or(Error::TooLarge {
            what: "number of truncations",
            size: u64::from(u32::MAX),
            limit: u64::from(u32::MAX) - 1,
        })?;
        Ok(Self {
            current,
            first_lsn: last.next(),
            segment,
        })
    }

    /// True if a group of segment `number` may follow one of epoch `previous` (0 for none).
    pub(crate) fn accept(&self, group: &GroupHeader, number: u64, previous: u32) -> bool {
        if group.first_lsn >= self.first_lsn {
            group.epoch == self.current
        } else {
            number <= self.segment && group.epoch < self.current && group.epoch >= previous
        }
    }

    /// True for a group of segment `number` that a truncation removed.
    pub(crate) fn is_stale(&self, group: &GroupHeader, number: u64) -> bool {
        group.epoch < self.current && (group.first_lsn >= self.first_lsn || number > self.segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: u32, first: u64) -> GroupHeader {
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

    #[test]
    fn an_item_above_the_limit_is_refused_with_its_size() {
        assert_eq!(Item::new(&[b"abc", b""], 18).err(), Some(19));
        assert_eq!(
            Item::new(&[b"abc", b""], 19)
                .map(|item| item.payload_bytes())
                .ok(),
            Some(3)
        );
    }

    #[test]
    fn a_truncation_separates_the_epochs() {
        let epochs = Epochs {
            current: 3,
            first_lsn: Lsn(10),
            segment: 4,
        };
        let cases = [
            (header(3, 10), 0, true, false),
            (header(2, 10), 0, false, true),
            (header(4, 10), 0, false, false),
            (header(2, 9), 0, true, false),
            (header(3, 9), 0, false, false),
            (header(1, 9), 2, false, false),
        ];
        for (group, previous, accepted, stale) in cases {
            assert_eq!(epochs.accept(&group, 4, previous), accepted, "{group:?}");
            assert_eq!(epochs.is_stale(&group, 4), stale, "{group:?}");
            // After the segment of the truncation there is nothing older.
            let is_current = group == header(3, 10);
            assert_eq!(epochs.accept(&group, 5, previous), is_current, "{group:?}");
            assert_eq!(epochs.is_stale(&group, 5), group.epoch < 3, "{group:?}");
        }
    }
}
