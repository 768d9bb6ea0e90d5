//! One segment, read group by group and record by record, everything checked before it is believed
//! ([format], section 5).
//!
//! [format]: crate::format

use std::path::PathBuf;

use durable_io::checksum::checksum;

use crate::epochs::Epochs;
use crate::error::{Corruption, Error, Result};
use crate::frame::{
    GROUP_HEADER_SIZE, GroupHeader, Layout, RECORD_HEADER_SIZE, align_group, decode_record_header,
    place, record_check,
};
use crate::location::Location;
use crate::lsn::Lsn;
use crate::replay::Replay;
use crate::segment::{FIRST_GROUP, offset_in_segment};
use crate::source::Source;

const GROUP_HEADER: u64 = GROUP_HEADER_SIZE as u64;
const RECORD_HEADER: u64 = RECORD_HEADER_SIZE as u64;

/// What a segment is, to whoever reads it.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) path: PathBuf,
    pub(crate) log_id: u64,
    pub(crate) number: u64,
    pub(crate) epochs: Epochs,
    /// Of its group headers.
    pub(crate) layout: Layout,
}

impl Identity {
    /// True if `group` may be in this segment after one of epoch `previous`, 0 for none.
    pub(crate) fn accepts(&self, group: &GroupHeader, previous: u32) -> bool {
        self.epochs.accept(group, self.number, previous)
    }

    /// True if a truncation removed `group`.
    pub(crate) fn has_truncated(&self, group: &GroupHeader) -> bool {
        self.epochs.is_stale(group, self.number)
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: Corruption) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            offset,
            reason,
        }
    }
}

/// What is at a place where a group may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Group(GroupHeader),
    /// Zeros, or too few bytes for a group.
    End,
    /// Something that is no group header.
    Bad(Corruption),
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    Some(T),
    /// The log ends here, or continues in the next segment.
    End,
    /// What is at `offset` cannot follow.
    Bad {
        offset: u64,
        reason: Corruption,
    },
}

/// A record, checked; [`SegmentReader::payload`] gives its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) lsn: Lsn,
    /// Of the payload.
    offset: u64,
    len: u32,
}

/// A position in a segment, moving forward.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    identity: Identity,
    source: Source,
    /// What is read next: a record of `group`, or a group header.
    offset: u64,
    /// The record that must come next; `None` before the first group of a segment whose first record
    /// is not known from elsewhere.
    expected: Option<Lsn>,
    /// The group that is being read, what it has left, and where its bytes end.
    group: Option<(GroupHeader, u32, u64)>,
    /// Where that group begins, or the one before.
    group_at: u64,
    /// The epoch of the group before; 0 for none.
    epoch: u32,
    /// Where the bytes of the group before end.
    left_at: u64,
    /// When the group was written that was entered last.
    time: u64,
}

impl SegmentReader {
    pub(crate) fn new(identity: Identity, source: Source, expected: Option<Lsn>) -> Self {
        Self {
            identity,
            source,
            offset: FIRST_GROUP,
            expected,
            group: None,
            group_at: FIRST_GROUP,
            epoch: 0,
            left_at: FIRST_GROUP,
            time: 0,
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The record that must come next.
    pub(crate) fn expected(&self) -> Option<Lsn> {
        self.expected
    }

    /// Where the next group begins, if no group is being read.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The epoch of the group before; 0 for none.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// When the group was written that was entered last; 0 if that is not known.
    pub(crate) fn time(&self) -> u64 {
        self.time
    }

    /// True if nothing after its beginning was read yet.
    pub(crate) fn is_at_first_group(&self) -> bool {
        self.offset == FIRST_GROUP && self.group.is_none()
    }

    /// What is read, and where it comes from.
    pub(crate) fn parts(&mut self) -> (&Identity, &mut Source) {
        (&self.identity, &mut self.source)
    }

    /// What is at `offset`, for itself: whether it may be there is for the caller to say.
    pub(crate) fn peek(&mut self, offset: u64) -> Result<Found> {
        let room = self.source.len().saturating_sub(offset + GROUP_HEADER);
        let place = place(self.identity.log_id, self.identity.number, offset);
        let bytes = self.source.get(offset, GROUP_HEADER)?;
        if bytes.len() < GROUP_HEADER_SIZE || bytes.iter().all(|&byte| byte == 0) {
            return Ok(Found::End);
        }
        Ok(
            match GroupHeader::decode(bytes, place, room, self.identity.layout) {
                Some(header) => Found::Group(header),
                None => Found::Bad(Corruption::Checksum),
            },
        )
    }

    /// The next group, if it may be there. Only between groups.
    pub(crate) fn look(&mut self) -> Result<Next<GroupHeader>> {
        let offset = self.offset;
        let header = match self.peek(offset)? {
            Found::Group(header) => header,
            Found::End => return Ok(Next::End),
            Found::Bad(reason) => return Ok(Next::Bad { offset, reason }),
        };
        let expected = self.expected.unwrap_or(header.first_lsn);
        if header.first_lsn != expected || !self.identity.accepts(&header, self.epoch) {
            let reason = Corruption::Order {
                expected,
                found: header.first_lsn,
            };
            return Ok(Next::Bad { offset, reason });
        }
        Ok(Next::Some(header))
    }

    /// Enters the next group. Only between groups.
    pub(crate) fn next_group(&mut self) -> Result<Next<GroupHeader>> {
        let next = self.look()?;
        if let Next::Some(header) = next {
            self.enter(header);
        }
        Ok(next)
    }

    /// Enters the group `header`, which comes next, whether or not it may be there. Only between
    /// groups.
    pub(crate) fn enter(&mut self, header: GroupHeader) {
        self.group_at = self.offset;
        self.offset += GROUP_HEADER;
        self.expected = Some(header.first_lsn);
        self.epoch = header.epoch;
        self.time = header.time;
        self.group = Some((header, header.count, self.offset + u64::from(header.bytes)));
    }

    /// Continues at `offset`, where a group begins that was found by a search.
    pub(crate) fn jump(&mut self, offset: u64, group: &GroupHeader) {
        self.group = None;
        self.offset = offset;
        self.left_at = offset;
        self.expected = Some(group.first_lsn);
    }

    /// Continues at the record at `location`, whose group's header is read and checked; the record
    /// itself is not.
    pub(crate) fn enter_at(&mut self, location: Location) -> Result<()> {
        let group_at = u64::from(location.group);
        let offset = u64::from(location.offset);
        let header = match self.peek(group_at)? {
            Found::Group(header) => header,
            Found::End => return Err(self.identity.corrupt(group_at, Corruption::Checksum)),
            Found::Bad(reason) => return Err(self.identity.corrupt(group_at, reason)),
        };
        let held = header.first_lsn..=header.last_lsn();
        if !held.contains(&location.lsn) || header.epoch != location.epoch {
            let reason = Corruption::Order {
                expected: location.lsn,
                found: header.first_lsn,
            };
            return Err(self.identity.corrupt(group_at, reason));
        }
        self.jump(group_at, &header);
        self.enter(header);
        let end = self.offset + u64::from(header.bytes);
        if !(self.offset..end).contains(&offset) {
            return Err(self.identity.corrupt(offset, Corruption::Length));
        }
        let record = decode_record_header(self.source.get(offset, RECORD_HEADER)?);
        if record.map(|(len, _)| len) != Some(location.len) {
            return Err(self.identity.corrupt(offset, Corruption::Length));
        }
        let left = header.last_lsn().0 - location.lsn.0 + 1;
        let left = u32::try_from(left).expect("no more than the group has");
        self.offset = offset;
        self.expected = Some(location.lsn);
        self.group = Some((header, left, end));
        Ok(())
    }

    /// Makes `lsn` the record that must come next.
    pub(crate) fn expect(&mut self, lsn: Lsn) {
        self.expected = Some(lsn);
    }

    /// Reads all of the group `header` at `at`, so that [`show_group`](SegmentReader::show_group)
    /// finds it in memory.
    pub(crate) fn hold_group(&mut self, at: u64, header: &GroupHeader) -> Result<()> {
        self.source
            .get(at, GROUP_HEADER + u64::from(header.bytes))?;
        Ok(())
    }

    /// Shows the records of the group `header` at `at`, which were checked, to `replay`.
    pub(crate) fn show_group(
        &mut self,
        at: u64,
        header: &GroupHeader,
        replay: &mut Replay<'_>,
    ) -> Result<()> {
        let mut location = Location {
            lsn: header.first_lsn,
            segment: self.identity.number,
            offset: offset_in_segment(at + GROUP_HEADER),
            len: 0,
            epoch: header.epoch,
            group: offset_in_segment(at),
        };
        let bytes = self
            .source
            .get(at, GROUP_HEADER + u64::from(header.bytes))?;
        let mut rest = bytes.get(GROUP_HEADER_SIZE..).unwrap_or(&[]);
        for _ in 0..header.count {
            let found = rest.split_at_checked(RECORD_HEADER_SIZE);
            let found = found.and_then(|(record, after)| {
                let (len, _) = decode_record_header(record)?;
                Some((len, after.split_at_checked(len as usize)?))
            });
            // Only if it reads otherwise than before.
            let Some((len, (payload, after))) = found else {
                let offset = u64::from(location.offset);
                return Err(self.identity.corrupt(offset, Corruption::Length));
            };
            location.len = len;
            replay.show(location, payload);
            location = location.following(0);
            rest = after;
        }
        Ok(())
    }

    /// The next record of the group that was entered; [`Next::End`] after its last.
    pub(crate) fn next_record(&mut self) -> Result<Next<Checked>> {
        let Some((header, left, end)) = self.group else {
            return Ok(Next::End);
        };
        let offset = self.offset;
        let bad = |reason| Ok(Next::Bad { offset, reason });
        if left == 0 {
            if offset != end {
                return bad(Corruption::Length);
            }
            self.leave_group(end);
            return Ok(Next::End);
        }
        let lsn = header.first_lsn.plus(u64::from(header.count - left));
        let Some((len, check)) = decode_record_header(self.source.get(offset, RECORD_HEADER)?)
        else {
            return bad(Corruption::Length);
        };
        let payload_at = offset + RECORD_HEADER;
        // Before the payload is read: a length that was not checked yet must not reach beyond the
        // group, whose length was.
        if payload_at + u64::from(len) > end {
            return bad(Corruption::Length);
        }
        let payload = self.source.get(payload_at, u64::from(len))?;
        if payload.len() != len as usize {
            return bad(Corruption::Length);
        }
        let place = place(self.identity.log_id, self.identity.number, offset);
        if record_check(place, header.epoch, lsn, len, checksum(payload)) != check {
            return bad(Corruption::Checksum);
        }
        self.offset = payload_at + u64::from(len);
        self.expected = Some(lsn.next());
        self.group = Some((header, left - 1, end));
        Ok(Next::Some(Checked {
            lsn,
            offset: payload_at,
            len,
        }))
    }

    /// Passes over the next record of the group that was entered, as far as its length can be
    /// believed; false if it cannot.
    pub(crate) fn skip_record(&mut self) -> Result<bool> {
        let Some((header, left, end)) = self.group.filter(|&(_, left, _)| left > 0) else {
            return Ok(false);
        };
        let bytes = self.source.get(self.offset, RECORD_HEADER)?;
        let Some((len, _)) = decode_record_header(bytes) else {
            return Ok(false);
        };
        let next = self.offset + RECORD_HEADER + u64::from(len);
        if next > end {
            return Ok(false);
        }
        self.offset = next;
        self.group = Some((header, left - 1, end));
        Ok(true)
    }

    /// Passes over the records of the group that was entered, unread.
    pub(crate) fn skip_group(&mut self) {
        if let Some((header, _, end)) = self.group {
            self.expected = Some(header.last_lsn().next());
            self.leave_group(end);
        }
    }

    /// The first byte that is not zero between the group that was just left and the next one.
    pub(crate) fn padding(&mut self) -> Result<Option<u64>> {
        let bytes = self.source.get(self.left_at, self.offset - self.left_at)?;
        let found = bytes.iter().position(|&byte| byte != 0);
        Ok(found.map(|at| self.left_at + at as u64))
    }

    fn leave_group(&mut self, end: u64) {
        self.left_at = end;
        self.offset = align_group(end);
        self.group = None;
    }

    /// Where `record` is, which was the last one read.
    pub(crate) fn location(&self, record: Checked) -> Location {
        Location {
            lsn: record.lsn,
            segment: self.identity.number,
            offset: offset_in_segment(record.offset - RECORD_HEADER),
            len: record.len,
            epoch: self.epoch,
            group: offset_in_segment(self.group_at),
        }
    }

    /// The payload of `record`, which was the last one read.
    pub(crate) fn payload(&mut self, record: Checked) -> Result<&[u8]> {
        Ok(self.source.get(record.offset, u64::from(record.len))?)
    }
}
