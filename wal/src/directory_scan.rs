//! Looking at a log's directory without changing it: which segments there are, and what each is
//! ([format], section 8, steps 2 and 3).
//!
//! [format]: crate::format

use std::sync::Arc;

use durable_io::engine::{Hole, Progress};
use durable_io::{Dir, File};

use crate::epochs::Epochs;
use crate::error::{Corruption, Error, Result};
use crate::frame::Layout;
use crate::frame::SEGMENT_HEADER_SIZE;
use crate::limits::MAX_SEGMENT_SIZE;
use crate::lsn::Lsn;
use crate::names;
use crate::open_files::{OpenFiles, Segment};
use crate::reader::{Found, Identity, SegmentReader};
use crate::records::{Records, Snapshot, Truncations};
use crate::replay::Replay;
use crate::scan::{self, Remainder, ValidPrefix};
use crate::segment::{BadHeader, FIRST_GROUP, SegmentHeader, layout_of};
use crate::slot::Superblock;
use crate::source::{Source, Unreadable};
use crate::superblock::SuperblockFile;

/// The names in the directory that are ours.
#[derive(Debug, Default)]
pub(crate) struct DirEntries {
    /// Numbers of segments, ascending.
    pub(crate) segments: Vec<u64>,
    /// What a replacement that was interrupted left; nothing relies on it.
    pub(crate) temps: Vec<String>,
}

impl DirEntries {
    pub(crate) fn read(dir: &Dir) -> Result<Self> {
        let mut entries = Self::default();
        for entry in dir.list()? {
            match names::parse_segment(&entry.name) {
                Some(number) => entries.segments.push(number),
                None if names::is_temp(&entry.name) => entries.temps.push(entry.name),
                None => {}
            }
        }
        // The order of a listing is the file system's; nothing may depend on it.
        entries.segments.sort_unstable();
        Ok(entries)
    }

    /// Removes what replacements left; returns how many. No sync.
    pub(crate) fn remove_temps(&self, dir: &Dir) -> Result<u64> {
        for name in &self.temps {
            dir.remove(name)?;
        }
        Ok(self.temps.len() as u64)
    }
}

/// One segment, opened and looked at.
#[derive(Debug)]
pub(crate) struct OpenedSegment {
    pub(crate) number: u64,
    pub(crate) file: File,
    pub(crate) reader: SegmentReader,
    /// The header of a complete segment; else what is wrong, and where.
    pub(crate) header: Result<SegmentHeader, (u64, BadHeader)>,
    /// What the header says, also if the file has another size.
    pub(crate) said: Option<SegmentHeader>,
    /// What is where the first group belongs.
    pub(crate) first: Found,
    /// It was just made: there is nothing to be read in it.
    pub(crate) is_new: bool,
}

impl OpenedSegment {
    /// Opens segment `number` of the log that `log_id` and `epochs` describe: one read.
    pub(crate) fn open(
        dir: &Dir,
        number: u64,
        (log_id, epochs): (u64, Epochs),
        unreadable: Unreadable,
    ) -> Result<Self> {
        let file = dir.open(&names::segment(number))?;
        let len = file.len()?;
        // No segment is longer, whatever the file is: this bounds what is searched.
        let mut source = Source::new(file.clone(), len.min(MAX_SEGMENT_SIZE), unreadable);
        let mut said = None;
        let bytes = source.get(0, FIRST_GROUP)?;
        let mut layout = layout_of(bytes);
        let header = match SegmentHeader::decode(bytes, number) {
            Ok(header) if header.log_id != log_id => {
                Err((0, BadHeader::Corrupt(Corruption::ForeignLog)))
            }
            Ok(header) => {
                said = Some(header);
                layout = header.layout;
                // A file that is too short is looked at as a repair will make it.
                if header.size != len {
                    source.resize(header.size);
                }
                let is_whole = header.size == len;
                let bad = (len.min(header.size), BadHeader::Corrupt(Corruption::Length));
                is_whole.then_some(header).ok_or(bad)
            }
            Err(bad) => Err((0, bad)),
        };
        let identity = Identity {
            path: file.path().to_owned(),
            log_id,
            number,
            epochs,
            layout,
        };
        let mut reader = SegmentReader::new(identity, source, None);
        let first = reader.peek(FIRST_GROUP)?;
        Ok(Self {
            number,
            file,
            reader,
            header,
            said,
            first,
            is_new: false,
        })
    }

    /// The whole groups at the front of the segment; of the one that holds the first retained record,
    /// from that one on; their records are shown to `replay`. If nothing that is retained can be read
    /// there, all of it is remainder.
    pub(crate) fn valid_prefix(
        &mut self,
        superblock: &Superblock,
        replay: Option<&mut Replay<'_>>,
    ) -> Result<ValidPrefix> {
        if self.is_new {
            return Ok(ValidPrefix::empty());
        }
        let reached = self.number != superblock.low_segment
            || scan::pass_over(&mut self.reader, superblock.low)?;
        let mut prefix = scan::valid_prefix(&mut self.reader, replay)?;
        if !reached {
            prefix.end = FIRST_GROUP;
        }
        Ok(prefix)
    }

    /// The header of one that is known to be complete.
    pub(crate) fn whole(&self) -> SegmentHeader {
        self.header.expect("a segment of a survey is complete")
    }

    /// The first record, if the header of the first group says one.
    pub(crate) fn first_lsn(&self) -> Option<Lsn> {
        match self.first {
            Found::Group(group) if self.reader.identity().accepts(&group, 0) => {
                Some(group.first_lsn)
            }
            _ => None,
        }
    }

    /// What of it could not be read so far.
    pub(crate) fn holes(&mut self) -> &[Hole] {
        self.reader.parts().1.holes()
    }

    pub(crate) fn remainder(&mut self, from: u64) -> Result<Remainder> {
        if self.is_new {
            return Ok(Remainder::default());
        }
        scan::remainder(&mut self.reader, from)
    }

    pub(crate) fn damaged(&self, offset: u64, bad: BadHeader) -> Error {
        match bad {
            BadHeader::Corrupt(reason) => self.reader.identity().corrupt(offset, reason),
            BadHeader::Newer(_) => bad.into_error(self.file.path()),
        }
    }
}

/// The log id in the header of segment `number`, if that can be read.
pub(crate) fn log_id_of(dir: &Dir, number: u64) -> Result<Option<u64>> {
    let mut bytes = [0; SEGMENT_HEADER_SIZE];
    let file = dir.open(&names::segment(number))?;
    let read = file.read_at(&mut bytes, 0)?;
    match SegmentHeader::decode(bytes.split_at(read).0, number) {
        Ok(header) => Ok(Some(header.log_id)),
        Err(bad @ BadHeader::Newer(_)) => Err(bad.into_error(file.path())),
        Err(BadHeader::Corrupt(_)) => Ok(None),
    }
}

/// The retained segments, looked at from the newest down.
#[derive(Debug)]
pub(crate) struct DirectoryScan {
    /// Those of the sealed segments that are open.
    pub(crate) files: Arc<OpenFiles>,
    /// Sealed segments, descending.
    pub(crate) sealed: Vec<Arc<Segment>>,
    pub(crate) active: OpenedSegment,
    /// Complete segments above the active one, descending.
    pub(crate) later: Vec<OpenedSegment>,
    /// The newest segment, if it is incomplete: a preallocated segment that was being made.
    pub(crate) incomplete: Option<u64>,
    /// Bytes of the log's segments that are not made for one large batch.
    pub(crate) usual: u64,
    /// When the newest one with a time was made; 0 if none has one.
    pub(crate) time: u64,
}

impl DirectoryScan {
    /// Shows the records of the sealed segments to `replay`. Those of the active one are shown while it is judged.
    pub(crate) fn show_sealed(
        &self,
        superblock: &Superblock,
        replay: &mut Replay<'_>,
    ) -> Result<()> {
        // With sealed segments the active one begins with a group.
        let Some(end) = self.active.first_lsn() else {
            return Ok(());
        };
        let snapshot = Snapshot::at_open(superblock, end);
        // Descending: those up to the one that holds the first record.
        let below = self
            .sealed
            .iter()
            .position(|segment| segment.first_lsn <= replay.from());
        let count = below.map_or(self.sealed.len(), |at| at + 1);
        let segments = self.sealed.iter().take(count).rev().cloned();
        let mut records = Records::new(snapshot, segments.collect(), replay.from());
        while !replay.has_stopped()
            && let Some((location, payload)) = records.read()?
        {
            replay.show(location, payload);
        }
        Ok(())
    }
}

impl Snapshot {
    /// The records below `end` of the log that `superblock` describes, which nobody writes.
    pub(crate) fn at_open(superblock: &Superblock, end: Lsn) -> Self {
        Self {
            truncations: Truncations::default(),
            truncations_seen: 0,
            log_id: superblock.log_id,
            epochs: superblock.epochs,
            low: superblock.low,
            end,
        }
    }
}

/// Opens every segment that `superblock` retains, and keeps up to `open_segments` sealed ones open. Nothing is changed.
pub(crate) fn scan_directory(
    dir: &Dir,
    entries: &DirEntries,
    superblock: &SuperblockFile,
    open_segments: usize,
    progress: &Progress<(u64, u64)>,
) -> Result<DirectoryScan> {
    let &Superblock {
        log_id,
        low_segment,
        low,
        epochs,
        newest,
        ..
    } = superblock.current();
    let top = check_numbers(dir, entries, low_segment, newest)?;
    let files = OpenFiles::new(dir, open_segments);
    let mut incomplete = None;
    let mut common = None;
    let mut time = 0;
    let mut later = Vec::new();
    let mut sealed: Vec<Arc<Segment>> = Vec::new();
    let mut active: Option<OpenedSegment> = None;
    // All that are retained are there.
    let all = entries
        .segments
        .iter()
        .filter(|&&number| number >= low_segment)
        .count();
    for (done, number) in (low_segment..=top).rev().enumerate() {
        progress.report((done as u64, all as u64));
        let mut opened = OpenedSegment::open(dir, number, (log_id, epochs), Unreadable::Fails)?;
        let header = match opened.header {
            Ok(header) => header,
            Err((offset, bad)) => {
                // A segment is complete and durable before a group goes into it and before the next
                // one is created, and before the superblock names it, so only a preallocated segment may be incomplete.
                let may_be_preallocated =
                    number == top && number > low_segment.max(newest) && bad.may_be_unfinished();
                if !may_be_preallocated || opened.remainder(FIRST_GROUP)?.groups {
                    return Err(opened.damaged(offset, bad));
                }
                incomplete = Some(number);
                continue;
            }
        };
        if *common.get_or_insert(header.usual) != header.usual {
            return Err(opened.damaged(0, BadHeader::Corrupt(Corruption::Length)));
        }
        if let Layout::Timed { since } = header.layout {
            time = time.max(since);
        }
        let first_lsn = opened.first_lsn();
        if let Some(active) = &active {
            let after = sealed.last().map(|s| s.first_lsn).or(active.first_lsn());
            let low = (number == low_segment).then_some(low);
            let first_lsn = sealed_first(&mut opened, after, low)?;
            let segment = Segment::active(&files, header, first_lsn, opened.file);
            segment.seal();
            sealed.push(segment);
        } else if first_lsn.is_some() || number == low_segment {
            active = Some(opened);
        } else {
            later.push(opened);
        }
    }
    progress.report((all as u64, all as u64));
    match (active, common) {
        (Some(active), Some(usual)) => Ok(DirectoryScan {
            files,
            sealed,
            active,
            later,
            incomplete,
            usual,
            time,
        }),
        _ => Err(missing(dir, low_segment)),
    }
}

/// The highest segment number, not below `newest`; every number from `low` up to it must be there. Those
/// below are dead.
fn check_numbers(dir: &Dir, entries: &DirEntries, low: u64, newest: u64) -> Result<u64> {
    let mut expected = low;
    for &number in entries.segments.iter().filter(|&&number| number >= low) {
        if number != expected {
            return Err(missing(dir, expected));
        }
        expected = expected.saturating_add(1);
    }
    let top = entries.segments.last().copied();
    top.filter(|&top| top >= low.max(newest))
        .ok_or_else(|| missing(dir, expected))
}

pub(crate) fn missing(dir: &Dir, number: u64) -> Error {
    let path = dir.path().join(names::segment(number));
    Error::Corrupt {
        path,
        offset: 0,
        reason: Corruption::MissingSegment { number },
    }
}

/// The first record of a sealed segment, which must be below `after`, that of the next one. `low` is
/// the first retained record if that is in this segment: damage before it does not matter.
fn sealed_first(opened: &mut OpenedSegment, after: Option<Lsn>, low: Option<Lsn>) -> Result<Lsn> {
    let first_lsn = match (opened.first_lsn(), low) {
        (Some(first_lsn), _) => first_lsn,
        (None, Some(low)) if after == Some(low) => return Ok(low),
        (None, Some(low)) if scan::pass_over(&mut opened.reader, low)? => low,
        // It was synced before the next segment was written to, so its first group was whole.
        (None, _) => {
            let identity = opened.reader.identity();
            return Err(identity.corrupt(FIRST_GROUP, Corruption::Checksum));
        }
    };
    let identity = opened.reader.identity();
    match after {
        Some(after) if first_lsn >= after => {
            let reason = Corruption::Order {
                expected: after.previous(),
                found: first_lsn,
            };
            Err(identity.corrupt(FIRST_GROUP, reason))
        }
        _ => Ok(first_lsn),
    }
}

impl BadHeader {
    /// True if a crash while the segment was being made can leave this.
    pub(crate) fn may_be_unfinished(self) -> bool {
        !matches!(self, Self::Newer(_) | Self::Corrupt(Corruption::ForeignLog))
    }
}
