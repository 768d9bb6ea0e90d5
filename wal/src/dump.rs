//! [`dump`]: the files of a log as text, for people who look into one.
//!
//! Everything is decoded by the functions that recovery uses. What they say of a place is shown, and
//! the reading continues after it, at the next group header that is found.

mod superblock;
mod text;

use std::fmt::{Arguments, Display};
use std::io::Write;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use durable_io::engine::{Chain, Hole, Text};
use durable_io::{Dir, Disk};

use crate::directory_scan::{DirEntries, OpenedSegment, log_id_of};
use crate::epochs::ANY_EPOCH;
use crate::epochs::Epochs;
use crate::error::{Corruption, Error, Result};
use crate::frame::{GROUP_ALIGN, GroupHeader};
use crate::lsn::Lsn;
use crate::names;
use crate::reader::{Found, Next, SegmentReader};
use crate::recover::{Preview, preview};
use crate::scan::headers_until;
use crate::segment::BadHeader;
use crate::slot::Superblock;
use crate::source::Unreadable;
use crate::stats::Tail;

use text::{Lsns, Newer};

/// How many bytes of a record are shown.
const SHOWN_BYTES: usize = 32;

/// How much [`dump()`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The superblock, the segments and their groups.
    Groups,
    /// The records too, each with its first bytes.
    Records,
}

/// Writes to `out`, as text, what is in the files of the log in `dir`: the superblock; each segment, in
/// order, with its groups and, if `detail` asks for them, its records; and what opening the log would
/// say. Each thing is shown with its offset in its file. Whatever is wrong has a line that begins with
/// `!`, the offset and the reason; after damage it continues at the next group that can be found, and
/// says how many bytes it passed over. The text is for people, and may change.
///
/// Nothing is changed, the right to read is enough, and the lock is not taken: if the log is open
/// elsewhere, what is shown may be in motion, and look damaged where it is not.
///
/// # Cost
/// All segments are read, one after the other, and then once more what opening reads. The memory is
/// that of an open, through a buffer of 256 KiB, or of one record if that is larger.
///
/// # Errors
/// [`Error::Disk`] if `dir` cannot be opened or listed; [`Error::Output`] if `out` fails. Damage is no
/// error, nor is a file that cannot be read: both are shown.
pub fn dump(disk: &Disk, dir: impl AsRef<Path>, detail: Detail, out: &mut dyn Write) -> Result<()> {
    let dir = disk.open_dir(dir)?.for_reading();
    let entries = DirEntries::read(&dir)?;
    let mut dump = Dump {
        dir,
        detail,
        out: Text::new(out),
        superblock: None,
        log_id: None,
        expected: None,
    };
    let path = dump.dir.path().display().to_string();
    dump.line(format_args!("log {path}"))?;
    let read = dump.superblock();
    dump.shown(read)?;
    dump.segments(&entries)?;
    dump.preview()
}

/// A dump that is being written.
struct Dump<'a> {
    dir: Dir,
    detail: Detail,
    out: Text<'a>,
    /// What the superblock says, if it can be read.
    superblock: Option<Superblock>,
    /// The log's id, by the superblock, or else by the first segment that says.
    log_id: Option<u64>,
    /// The record that must come next; `None` if damage hides which one.
    expected: Option<Lsn>,
}

impl Dump<'_> {
    fn line(&mut self, text: Arguments<'_>) -> Result<()> {
        Ok(self.out.line(text)?)
    }

    fn damage(&mut self, offset: u64, reason: impl Display) -> Result<()> {
        self.line(format_args!("! {offset}: {reason}"))
    }

    /// Shows the error of reading a file, if it is one; only an error of `out` ends the dump.
    fn shown(&mut self, read: Result<()>) -> Result<()> {
        match read {
            Err(error) if !matches!(error, Error::Output(_)) => {
                self.line(format_args!("! {}", Chain(&error)))
            }
            other => other,
        }
    }

    fn segments(&mut self, entries: &DirEntries) -> Result<()> {
        let lowest = entries.segments.first().copied().unwrap_or(1);
        let low = self
            .superblock
            .as_ref()
            .map_or(lowest, |superblock| superblock.low_segment);
        let id_of = |&number| log_id_of(&self.dir, number).ok().flatten();
        let by_segments = || entries.segments.iter().find_map(id_of);
        self.log_id = self
            .superblock
            .as_ref()
            .map(|superblock| superblock.log_id)
            .or_else(by_segments);
        let mut next = low;
        for &number in &entries.segments {
            if number > next {
                let last = number - 1;
                if last == next {
                    self.line(format_args!("\n! segment {last}: missing"))?;
                } else {
                    self.line(format_args!("\n! segments {next} to {last}: missing"))?;
                }
                self.expected = None;
            }
            next = next.max(number.saturating_add(1));
            let read = self.segment(number);
            self.shown(read)?;
        }
        if next == low && self.superblock.is_some() {
            self.line(format_args!("\n! segment {low}: missing"))?;
        }
        for name in &entries.temps {
            self.line(format_args!(
                "\n{name}: left over; the next open removes it"
            ))?;
        }
        Ok(())
    }

    fn segment(&mut self, number: u64) -> Result<()> {
        let name = names::segment(number);
        let is_dead = self
            .superblock
            .as_ref()
            .is_some_and(|superblock| number < superblock.low_segment);
        let dead = if is_dead { ", dead" } else { "" };
        self.line(format_args!("\nsegment {number}: {name}{dead}"))?;
        let id = match log_id_of(&self.dir, number) {
            Err(Error::UnsupportedVersion(newer)) => {
                return self.damage(0, Newer(newer.version));
            }
            // Not even its header; it will be shown as a hole.
            Err(error) if error.is_unreadable() => self.log_id,
            found => found?.or(self.log_id),
        };
        // Its own id, so that a segment of another log is shown for what it is; and any epoch, so that
        // stale groups are found too. Without an id nothing holds, and nothing will be found.
        let of_log = (id.unwrap_or(0), ANY_EPOCH);
        let mut opened = OpenedSegment::open(&self.dir, number, of_log, Unreadable::IsDamage)?;
        let len = opened.file.len()?;
        match opened.header {
            Ok(header) => {
                let usual = header.usual;
                let own = if len > usual {
                    ", for a large batch"
                } else {
                    ""
                };
                self.line(format_args!("  0: header; {len} bytes{own}, complete"))?;
            }
            Err((offset, BadHeader::Corrupt(reason))) => {
                self.line(format_args!("  {len} bytes, not complete"))?;
                self.damage(offset, reason)?;
            }
            Err((offset, BadHeader::Newer(version))) => self.damage(offset, Newer(version))?,
        }
        if let Some(size) = opened
            .said
            .map(|said| said.size)
            .filter(|&size| size != len)
        {
            self.line(format_args!("  by its header it has {size} bytes"))?;
        }
        let superblock = self.superblock.clone().filter(|_| id == self.log_id);
        if let Some(id) = id.filter(|_| id != self.log_id) {
            let reason = Corruption::ForeignLog;
            self.damage(0, format_args!("{reason}, of id {id:016x}"))?;
            self.expected = None;
        }
        self.groups(&mut opened.reader, superblock.as_ref())?;
        for hole in opened.holes() {
            let Hole { range, error } = hole;
            let bytes = range.end - range.start;
            let reason = format_args!("{bytes} bytes count as zeros; {}", Chain(error));
            self.damage(range.start, reason)?;
        }
        Ok(())
    }

    /// Shows what is in the segment of `reader` after its header. `superblock` is that of its log.
    fn groups(
        &mut self,
        reader: &mut SegmentReader,
        superblock: Option<&Superblock>,
    ) -> Result<()> {
        loop {
            let offset = reader.offset();
            let found = match reader.peek(offset)? {
                Found::Group(group) => match self.group(reader, superblock, group)? {
                    None => continue,
                    Some(bad) => Stop::Damage(bad),
                },
                Found::Bad(reason) => {
                    self.damage(offset, reason)?;
                    Stop::Damage(offset)
                }
                Found::End => Stop::End,
            };
            if !self.search(reader, offset, found)? {
                return Ok(());
            }
        }
    }

    /// Shows `group`, which is where `reader` is. Returns where it is damaged.
    fn group(
        &mut self,
        reader: &mut SegmentReader,
        superblock: Option<&Superblock>,
        group: GroupHeader,
    ) -> Result<Option<u64>> {
        let offset = reader.offset();
        let epochs = superblock.map_or(ANY_EPOCH, |superblock| superblock.epochs);
        let is_stale = epochs.is_stale(&group, reader.identity().number);
        let is_truncated = superblock.is_some_and(|superblock| group.last_lsn() < superblock.low);
        let state = match (is_stale, is_truncated) {
            (true, _) => ", stale",
            (false, true) => ", truncated",
            (false, false) => "",
        };
        if !is_stale {
            self.check_order(reader, &group, epochs)?;
            self.expected = Some(group.last_lsn().next());
        }
        let GroupHeader {
            bytes,
            count,
            epoch,
            durable_lsn,
            time,
            ..
        } = group;
        self.line(format_args!(
            "  {offset}: group, {}, count {count}, bytes {bytes}, epoch {epoch}, \
             durable LSN {durable_lsn}, time {time}{state}",
            Lsns(&group)
        ))?;
        reader.enter(group);
        let bad = self.records(reader)?;
        if bad.is_none()
            && let Some(at) = reader.padding()?
        {
            self.damage(at, Corruption::NotZero)?;
        }
        Ok(bad)
    }

    /// Shows what keeps `group`, which comes next in `reader`, from standing there.
    fn check_order(
        &mut self,
        reader: &SegmentReader,
        group: &GroupHeader,
        epochs: Epochs,
    ) -> Result<()> {
        let offset = reader.offset();
        let found = group.first_lsn;
        if let Some(expected) = self.expected.filter(|&expected| expected != found) {
            self.damage(offset, Corruption::Order { expected, found })?;
        }
        if !epochs.accept(group, reader.identity().number, reader.epoch()) {
            let epoch = group.epoch;
            self.damage(offset, format_args!("epoch {epoch} does not belong here"))?;
        }
        Ok(())
    }

    /// Checks the records of the group that `reader` entered, and shows them if that is asked for.
    /// Returns where they are damaged.
    fn records(&mut self, reader: &mut SegmentReader) -> Result<Option<u64>> {
        loop {
            let at = reader.offset();
            match reader.next_record()? {
                Next::Some(record) if self.detail == Detail::Records => {
                    let payload = reader.payload(record)?;
                    let len = payload.len();
                    let shown = payload.get(..SHOWN_BYTES).unwrap_or(payload);
                    let more = if len > shown.len() { "..." } else { "" };
                    self.line(format_args!(
                        "    {at}: LSN {}, {len} bytes, \"{}\"{more}",
                        record.lsn,
                        shown.escape_ascii()
                    ))?;
                }
                Next::Some(_) => {}
                Next::End => return Ok(None),
                Next::Bad { offset, reason } => {
                    self.damage(offset, reason)?;
                    return Ok(Some(offset));
                }
            }
        }
    }

    /// Searches for the next group after `from`, where no whole group is, moves `reader` to it,
    /// and says what was passed over. Returns false if there is none: the segment ends.
    fn search(&mut self, reader: &mut SegmentReader, from: u64, stop: Stop) -> Result<bool> {
        let begin = match stop {
            // Its header is right, and would be found again.
            Stop::Damage(bad) if bad > from => from + GROUP_ALIGN,
            _ => from,
        };
        let mut next = None;
        let nonzero_end = headers_until(reader, begin, |offset, group| {
            next = Some((offset, *group));
            ControlFlow::Break(())
        })?;
        let end = match next {
            Some((offset, _)) => offset,
            None => nonzero_end.unwrap_or(from),
        };
        let start = match stop {
            Stop::Damage(bad) => bad,
            Stop::End => {
                let unclean = first_nonzero(reader, from..end)?;
                match (unclean, next) {
                    (Some(at), _) => self.damage(at, Corruption::NotZero)?,
                    (None, Some(_)) => {
                        self.damage(from, "zeros, but a group follows them")?;
                    }
                    (None, None) => {
                        return self.line(format_args!("  {from}: end")).map(|()| false);
                    }
                }
                from
            }
        };
        self.expected = None;
        let passed = end.saturating_sub(start);
        match next {
            Some((offset, group)) => {
                self.line(format_args!("  {passed} bytes were passed over"))?;
                reader.jump(offset, &group);
            }
            None => self.line(format_args!(
                "  {passed} bytes were passed over; no group follows\n  {}: end",
                end.max(start)
            ))?,
        }
        Ok(next.is_some())
    }

    /// Shows what opening the log would say.
    fn preview(&mut self) -> Result<()> {
        match preview(&self.dir) {
            Ok(Preview::Create) => self.line(format_args!("\nopen: creates the log")),
            Ok(Preview::FinishTruncation) => {
                self.line(format_args!("\nopen: finishes the truncation first"))
            }
            Ok(Preview::Recover { records, tail }) => {
                let Range { start, end } = records;
                let held = format_args!("LSN {start} up to {end}, exclusive");
                match tail {
                    Tail::Clean => self.line(format_args!("\nopen: clean; {held}")),
                    Tail::Torn { bytes } => {
                        self.line(format_args!("\nopen: torn, {bytes} bytes go; {held}"))
                    }
                }
            }
            Err(error) => self.line(format_args!("\nopen: refused; {}", Chain(&error))),
        }
    }
}

/// Where reading group by group stops.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// There are zeros, or too few bytes for a group.
    End,
    /// At this byte something is damaged, which was shown.
    Damage(u64),
}

/// The first byte of `range` that is not zero.
fn first_nonzero(reader: &mut SegmentReader, range: Range<u64>) -> Result<Option<u64>> {
    const CHUNK: u64 = 64 << 10;
    let (_, source) = reader.parts();
    let mut at = range.start;
    while at < range.end {
        let bytes = source.get(at, CHUNK.min(range.end - at))?;
        if let Some(found) = bytes.iter().position(|&byte| byte != 0) {
            return Ok(Some(at + found as u64));
        }
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
