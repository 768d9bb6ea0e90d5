//! What recovery sees in a segment: how far it is whole, and what follows that.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::time::Duration;

use crate::error::{Corruption, Result};
use crate::frame::{GROUP_ALIGN, GROUP_HEADER_SIZE, GroupHeader, place};
use crate::lsn::Lsn;
use crate::reader::{Identity, Next, SegmentReader};
use crate::replay::Replay;
use crate::segment::FIRST_GROUP;

/// How many bytes are searched at once; a multiple of [`GROUP_ALIGN`].
const CHUNK: u64 = 64 << 10;
/// From one place where a group may begin to the next.
const STEP: usize = 8;
const _: () = assert!(STEP as u64 == GROUP_ALIGN);
/// Overlap of two chunks: a header that begins in the last bytes of one is seen whole in the next.
const OVERLAP: u64 = GROUP_HEADER_SIZE as u64 - GROUP_ALIGN;
const _: () = assert!(CHUNK.is_multiple_of(GROUP_ALIGN) && OVERLAP.is_multiple_of(GROUP_ALIGN));

/// The whole groups at the front of a segment.
#[derive(Clone, Debug)]
pub(crate) struct ValidPrefix {
    /// The last record of the last whole group; `None` if not even a first group header was found.
    pub(crate) last: Option<Lsn>,
    /// Where the next group would begin.
    pub(crate) end: u64,
    /// What keeps the next group from being one, and where; `None` if there are only zeros.
    pub(crate) bad: Option<(u64, Corruption)>,
    pub(crate) unproven: Unproven,
    /// When the last whole group was written; 0 if that is not known.
    pub(crate) time: u64,
    /// When the last group was begun to be written, whole or not; 0 if that is not known.
    pub(crate) begun: u64,
    /// Bytes between the groups that are not zero as they should be.
    pub(crate) unclean: Vec<Range<u64>>,
}

impl ValidPrefix {
    /// Of a segment without groups.
    pub(crate) fn empty() -> Self {
        Self {
            last: None,
            end: FIRST_GROUP,
            bad: None,
            unproven: Unproven::default(),
            time: 0,
            begun: 0,
            unclean: Vec::new(),
        }
    }
}

/// The groups at the end of a segment that no group after them states to be durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unproven {
    /// The last record and the offset of each, oldest first.
    groups: VecDeque<(Lsn, u64)>,
}

/// More groups are not distinguished: the oldest then counts as part of the next.
const UNPROVEN_GROUPS: usize = 1024;

impl Unproven {
    fn see(&mut self, header: &GroupHeader, offset: u64) {
        self.prove(header.durable_lsn);
        self.groups.push_back((header.last_lsn(), offset));
        if self.groups.len() > UNPROVEN_GROUPS
            && let Some((_, oldest)) = self.groups.pop_front()
            && let Some((_, offset)) = self.groups.front_mut()
        {
            *offset = oldest;
        }
    }

    fn prove(&mut self, durable: Lsn) {
        while self
            .groups
            .front()
            .is_some_and(|&(last, _)| last <= durable)
        {
            self.groups.pop_front();
        }
    }

    /// Where the first one begins that `durable` does not prove either.
    pub(crate) fn start(mut self, durable: Lsn) -> Option<u64> {
        self.prove(durable);
        self.groups.front().map(|&(_, offset)| offset)
    }
}

/// Passes over the groups wholly below `low`, the first retained record, in the segment that holds
/// it: nothing but their headers is looked at. If even a header is damaged, continues at the group
/// that holds `low`, or ends right before it, wherever that is found: a header that can be read is
/// at its place. Returns false if there is none; then nothing in the segment can be read, and `low`
/// is what must come next.
pub(crate) fn pass_over(reader: &mut SegmentReader, low: Lsn) -> Result<bool> {
    while reader.expected() != Some(low) {
        match reader.look()? {
            Next::Some(group) if group.last_lsn() < low => {
                reader.next_group()?;
                reader.skip_group();
            }
            Next::Some(group) if group.first_lsn <= low => {
                reader.expect(group.first_lsn);
                break;
            }
            _ => {
                let Some((offset, group)) = find(reader, low)? else {
                    reader.expect(low);
                    return Ok(false);
                };
                reader.jump(offset, &group);
            }
        }
    }
    Ok(true)
}

/// Searches for the group that holds `low` or ends right before it.
fn find(reader: &mut SegmentReader, low: Lsn) -> Result<Option<(u64, GroupHeader)>> {
    let from = reader.offset();
    first_header(reader, from, |header| {
        header.first_lsn <= low && low <= header.last_lsn().next()
    })
}

/// Bytes that are read to see where a place of a segment is in the log.
const PROBE: u64 = 4 << 10;
/// Probes that are made at most: a search that takes more has found groups larger than they are.
const MAX_PROBES: u32 = 9;
/// What is nearer is read through.
const NEAR: u64 = 8 << 10;

/// Continues at the group that holds record `wanted`, or at one before it, as near as some probes find:
/// a group header is at its place if its check holds, so a segment is searched like a book. `reader`
/// is at its beginning, with record `first`; what follows `after` is in another segment.
///
/// Where nothing is found, `reader` stays: it then reads through.
pub(crate) fn seek(reader: &mut SegmentReader, first: Lsn, wanted: Lsn, after: Lsn) -> Result<()> {
    let mut low = (reader.offset(), first);
    let mut high = (reader.parts().1.len(), after);
    let mut found = None;
    for probe in 0..MAX_PROBES {
        if wanted <= low.1 || high.0.saturating_sub(low.0) <= NEAR {
            break;
        }
        let at = if probe.is_multiple_of(3) && probe > 0 {
            // Where records are of very different sizes, halves are better.
            low.0 + (high.0 - low.0) / 2
        } else {
            expected_at(low, high, wanted).max(low.0 + GROUP_ALIGN)
        };
        let at = at / GROUP_ALIGN * GROUP_ALIGN;
        match probe_at(reader, at, low.1, high.1)? {
            Some((offset, group)) if group.first_lsn <= wanted => {
                low = (offset, group.first_lsn);
                found = Some((offset, group));
                if group.last_lsn() >= wanted {
                    break;
                }
            }
            Some((_, group)) => high = (at, group.first_lsn),
            // Zeros, or the inside of a large group.
            None => high.0 = at,
        }
    }
    reader.parts().1.forget();
    if let Some((offset, group)) = found {
        reader.jump(offset, &group);
    }
    Ok(())
}

/// As [`seek`], but continues before the first group that was written at `time` or later, if it is one of those
/// with the records `lsns`.
pub(crate) fn seek_time(
    reader: &mut SegmentReader,
    lsns: Range<Lsn>,
    time: Duration,
) -> Result<()> {
    let (mut low, mut high) = (reader.offset(), reader.parts().1.len());
    let mut found = None;
    while high.saturating_sub(low) > NEAR {
        let at = (low + (high - low) / 2) / GROUP_ALIGN * GROUP_ALIGN;
        match probe_at(reader, at, lsns.start, lsns.end)? {
            Some((offset, group)) if Duration::from_millis(group.time) < time => {
                low = offset;
                found = Some((offset, group));
            }
            // Later ones, or zeros, or the inside of a large group.
            _ => high = at,
        }
    }
    reader.parts().1.forget();
    if let Some((offset, group)) = found {
        reader.jump(offset, &group);
    }
    Ok(())
}

/// Where `wanted` is if all records have one size; a little before that, so that what follows is read
/// through.
fn expected_at(low: (u64, Lsn), high: (u64, Lsn), wanted: Lsn) -> u64 {
    let bytes = u128::from(high.0 - low.0);
    let records = u128::from(high.1.0.saturating_sub(low.1.0).max(1));
    let ahead = bytes * u128::from(wanted.0 - low.1.0) / records;
    let ahead = u64::try_from(ahead.min(bytes)).expect("no more than the bytes of a segment");
    (low.0 + ahead).saturating_sub(NEAR / 2).min(high.0 - 1)
}

/// The first group that begins in the probe at `offset`, if it is one between `low` and `high`.
fn probe_at(
    reader: &mut SegmentReader,
    offset: u64,
    low: Lsn,
    high: Lsn,
) -> Result<Option<(u64, GroupHeader)>> {
    let (identity, source) = reader.parts();
    let len = source.len();
    source.forget();
    let bytes = source.get(offset, PROBE)?;
    let mut found = None;
    let searched = search(bytes, offset, len, identity, &mut |offset, header| {
        let is_between = header.first_lsn >= low && header.last_lsn() < high;
        if is_between && identity.accepts(header, 0) {
            found = Some((offset, *header));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    Ok(if searched.is_break() { found } else { None })
}

/// Searches from byte `from` on for the first group that holds a record from `lsn` on.
pub(crate) fn find_from(
    reader: &mut SegmentReader,
    from: u64,
    lsn: Lsn,
) -> Result<Option<(u64, GroupHeader)>> {
    first_header(reader, from, |header| header.last_lsn() >= lsn)
}

/// The first group header from byte `from` on that may come next and `is_wanted`, with its offset.
fn first_header(
    reader: &mut SegmentReader,
    from: u64,
    is_wanted: impl Fn(&GroupHeader) -> bool,
) -> Result<Option<(u64, GroupHeader)>> {
    let (number, epoch, epochs) = {
        let identity = reader.identity();
        (identity.number, reader.epoch(), identity.epochs)
    };
    let mut found = None;
    headers_until(reader, from, |offset, header| {
        if is_wanted(header) && epochs.accept(header, number, epoch) {
            found = Some((offset, *header));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Reads the whole groups of `reader`'s segment, from its position on, and shows their records to
/// `replay`.
pub(crate) fn valid_prefix(
    reader: &mut SegmentReader,
    mut replay: Option<&mut Replay<'_>>,
) -> Result<ValidPrefix> {
    let mut prefix = ValidPrefix {
        last: reader.expected().map(Lsn::previous),
        end: reader.offset(),
        ..ValidPrefix::empty()
    };
    loop {
        let header = match reader.next_group()? {
            Next::Some(header) => header,
            Next::End => return Ok(prefix),
            Next::Bad { offset, reason } => {
                prefix.bad = Some((offset, reason));
                return Ok(prefix);
            }
        };
        prefix.begun = header.time;
        let shown = replay
            .as_mut()
            .filter(|replay| replay.wants(header.last_lsn()));
        if shown.is_some() {
            reader.hold_group(prefix.end, &header)?;
        }
        prefix.last.get_or_insert(header.first_lsn.previous());
        if let Some(bad) = check_records(reader)? {
            prefix.bad = Some(bad);
            return Ok(prefix);
        }
        // Only now: a group is there as a whole or not at all.
        if let Some(replay) = shown {
            reader.show_group(prefix.end, &header, replay)?;
        }
        prefix.unproven.see(&header, prefix.end);
        prefix.last = Some(header.last_lsn());
        prefix.time = header.time;
        prefix.end = reader.offset();
        if let Some(offset) = reader.padding()? {
            prefix.unclean.push(offset..prefix.end);
        }
    }
}

/// Reads the records of the group that was entered, to its end; what is wrong with them, and where.
pub(crate) fn check_records(reader: &mut SegmentReader) -> Result<Option<(u64, Corruption)>> {
    loop {
        match reader.next_record()? {
            Next::Some(_) => {}
            Next::End => return Ok(None),
            Next::Bad { offset, reason } => return Ok(Some((offset, reason))),
        }
    }
}

/// What follows the valid prefix of a segment, as far as it can be made out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remainder {
    /// The end of the last byte that is not zero, as an offset in the segment.
    pub(crate) nonzero_end: Option<u64>,
    /// The highest durable LSN that a group header states.
    pub(crate) durable: Lsn,
    /// The highest record that a group header claims to hold.
    pub(crate) last: Lsn,
    /// The highest epoch of a group header.
    pub(crate) epoch: u32,
    /// A group header was found that no truncation removed.
    pub(crate) groups: bool,
}

/// Searches the segment of `reader` from byte `from` on, at every place where a group may begin, for group headers.
/// What a truncation removed counts for nothing.
///
/// The header alone is a witness: its check holds, so it was written, and what it says was true then.
pub(crate) fn remainder(reader: &mut SegmentReader, from: u64) -> Result<Remainder> {
    let mut found = Remainder::default();
    found.nonzero_end = each_header(reader, from, |_, header| found.see(header))?;
    Ok(found)
}

/// Shows every group header from byte `from` on that no truncation removed to `see`, with its offset.
/// Returns the end of what is not zero.
fn each_header(
    reader: &mut SegmentReader,
    from: u64,
    mut see: impl FnMut(u64, &GroupHeader),
) -> Result<Option<u64>> {
    headers_until(reader, from, |offset, header| {
        see(offset, header);
        ControlFlow::Continue(())
    })
}

/// As [`each_header`], until `see` breaks off; what is returned is then of what was read so far.
pub(crate) fn headers_until(
    reader: &mut SegmentReader,
    from: u64,
    mut see: impl FnMut(u64, &GroupHeader) -> ControlFlow<()>,
) -> Result<Option<u64>> {
    let (identity, source) = reader.parts();
    let mut end_of_all = None;
    let len = source.len();
    let mut offset = from;
    while offset < len {
        let bytes = source.get(offset, CHUNK)?;
        if bytes.is_empty() {
            break;
        }
        let read = bytes.len() as u64;
        if let Some(end) = nonzero_end(bytes) {
            end_of_all = Some(offset + end as u64);
            if search(bytes, offset, len, identity, &mut see).is_break() {
                break;
            }
        }
        offset += if offset + read < len {
            read.saturating_sub(OVERLAP).max(1)
        } else {
            read
        };
    }
    Ok(end_of_all)
}

fn search(
    bytes: &[u8],
    start: u64,
    len: u64,
    identity: &Identity,
    see: &mut impl FnMut(u64, &GroupHeader) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut rest = bytes;
    let mut offset = start;
    while rest.len() >= GROUP_HEADER_SIZE {
        let room = len.saturating_sub(offset + GROUP_HEADER_SIZE as u64);
        let at = place(identity.log_id, identity.number, offset);
        let header = GroupHeader::decode(rest, at, room, identity.layout);
        if let Some(header) = header.filter(|header| !identity.has_truncated(header)) {
            see(offset, &header)?;
        }
        rest = rest.split_at_checked(STEP).map_or(&[], |(_, rest)| rest);
        offset += GROUP_ALIGN;
    }
    ControlFlow::Continue(())
}

impl Remainder {
    fn see(&mut self, header: &GroupHeader) {
        self.groups = true;
        self.durable = self.durable.max(header.durable_lsn);
        self.last = self.last.max(header.last_lsn());
        self.epoch = self.epoch.max(header.epoch);
    }

    /// Adds what is in a later segment; `nonzero_end` stays that of this one.
    pub(crate) fn add(&mut self, later: &Self) {
        self.groups |= later.groups;
        self.durable = self.durable.max(later.durable);
        self.last = self.last.max(later.last);
        self.epoch = self.epoch.max(later.epoch);
    }
}

/// The end of the last byte of `bytes` that is not zero. Most of a segment is zeros, so whole blocks
/// are judged at once.
fn nonzero_end(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 256;
    let is_nonzero = |block: &[u8]| block.iter().fold(0, |or, &byte| or | byte) != 0;
    let block = bytes.chunks(BLOCK).rposition(is_nonzero)?;
    let start = block * BLOCK;
    let last = bytes.get(start..)?.iter().rposition(|&byte| byte != 0)?;
    Some(start + last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_is_not_zero() {
        assert_eq!(nonzero_end(&[]), None);
        assert_eq!(nonzero_end(&[0; 1000]), None);
        for at in [0, 1, 255, 256, 511, 999] {
            let mut bytes = [0; 1000];
            bytes[at] = 1;
            assert_eq!(nonzero_end(&bytes), Some(at + 1), "{at}");
        }
    }
}
